// SPDX-License-Identifier: MIT
//
// A cell that was taken over, from the moment when its client's first bytes arrive: its birth is the shipped
// one, its loop does what the client orders.
#define cloister_cell_main shipped_cell_main
#include "cell/cell.cpp"
#undef cloister_cell_main

#include "monitor.h"

namespace cloister::cell {
namespace {

using hostile::Deed;
using hostile::Order;

[[gnu::always_inline]] inline std::uint64_t jump(const Order& order) {
    const auto& a = order.arguments;
    register std::uint64_t r10 asm("r10") = a[4];
    register std::uint64_t r8 asm("r8") = a[5];
    register std::uint64_t r9 asm("r9") = a[6];
    std::uint64_t result = a[0];
    std::uint64_t target = order.target;
    std::uint64_t rdi = a[1];
    std::uint64_t rsi = a[2];
    std::uint64_t rdx = a[3];
    asm volatile("call *%[target]"
                 : "+a"(result), [target] "+r"(target), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r10), "+r"(r8),
                   "+r"(r9)
                 :
                 : "rcx", "r11", "r12", "r13", "r14", "r15", "cc", "memory");
    return result;
}

[[gnu::always_inline]] inline std::uint64_t do_it(const std::uint8_t* buffer, const Order& order) {
    const auto& a = order.arguments;
    auto* const place = reinterpret_cast<volatile std::uint64_t*>(a[0]);
    const auto argument = [&](int i) { return static_cast<long>(a[i]); };
    switch (order.deed) {
    case Deed::Where:
        return reinterpret_cast<std::uint64_t>(buffer);
    case Deed::Ladder:
        return reinterpret_cast<std::uint64_t>(cloister_ladder);
    case Deed::Peek:
        return *place;
    case Deed::Poke:
        *place = a[1];
        return 0;
    case Deed::Call:
        return static_cast<std::uint64_t>(sys::directly(argument(0), argument(1), argument(2), argument(3),
                                                        argument(4), argument(5), argument(6)));
    case Deed::Jump:
        return jump(order);
    case Deed::Spin:
        for (;;) {
            asm volatile("pause");
        }
    }
    return 0;
}

} // namespace

extern "C" CELL_CODE void cloister_cell_main(const Orders* orders, std::uint8_t* buffer) {
    confine(*orders);
    auto* const order = reinterpret_cast<Order*>(buffer);
    for (;;) {
        const long received = sys::directly(SYS_recvfrom, connection, address(buffer), buffer_size, 0, 0, 0);
        if (received <= 0) {
            leave(Exit::Done);
        }
        if (received == static_cast<long>(sizeof(Order)) && order->magic == hostile::magic) {
            *reinterpret_cast<hostile::Reply*>(buffer) = do_it(buffer, *order);
            send_all(buffer, sizeof(hostile::Reply));
        } else {
            send_all(buffer, received);
        }
    }
}

} // namespace cloister::cell
