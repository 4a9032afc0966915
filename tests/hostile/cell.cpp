// SPDX-License-Identifier: MIT
//
// A cell that was taken over, from the moment when its client's first bytes arrive: its setup is the shipped
// one, its loop does what the client parameters.
#define cloister_cell_main shipped_cell_main
#include "cell/cell.cpp"
#undef cloister_cell_main

#include "jump.h"

namespace cloister::cell {
namespace {

using hostile::Deed;
using hostile::Order;

[[gnu::always_inline]] inline std::uint64_t do_it(const std::uint8_t* buffer, const Order& order) {
    const auto& a = order.arguments;
    auto* const place = reinterpret_cast<volatile std::uint64_t*>(a[0]);
    const auto argument = [&](int i) { return static_cast<long>(a[i]); };
    switch (order.deed) {
    case Deed::Where:
        return reinterpret_cast<std::uint64_t>(buffer);
    case Deed::SetupCallSite:
        return reinterpret_cast<std::uint64_t>(cloister_setup_call);
    case Deed::Peek:
        return *place;
    case Deed::Poke:
        *place = a[1];
        return 0;
    case Deed::Call:
        return static_cast<std::uint64_t>(sys::cell_call(argument(0), argument(1), argument(2), argument(3),
                                                         argument(4), argument(5), argument(6)));
    case Deed::Jump:
        return jump(order);
    case Deed::Spin:
        for (;;) {
            asm volatile("");
        }
    }
    return 0;
}

} // namespace

extern "C" CELL_CODE void cloister_cell_main(const Parameters* parameters, std::uint8_t* buffer) {
    confine(*parameters);
    auto* const order = reinterpret_cast<Order*>(buffer);
    for (;;) {
        const long received = sys::cell_call(SYS_recvfrom, connection, address(buffer), buffer_size, 0, 0, 0);
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
