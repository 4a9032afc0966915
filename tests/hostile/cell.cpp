// SPDX-License-Identifier: MIT
//
// A cell that was taken over, from the moment when its client's first bytes arrive: its setup is the shipped
// one, its handler does what the client orders.
#include "control/live_content.h"
#include "handlers/connection.h"
#include "jump.h"

namespace cloister::cell {
namespace {

using hostile::Action;
using hostile::Order;

[[gnu::always_inline]] inline std::uint64_t do_it(const std::uint8_t* buffer, const Order& order) {
    const auto& a = order.arguments;
    auto* const place = reinterpret_cast<volatile std::uint64_t*>(a[0]);
    const auto argument = [&](int i) { return static_cast<long>(a[i]); };
    switch (order.action) {
    case Action::Where:
        return reinterpret_cast<std::uint64_t>(buffer);
    case Action::SetupCallSite:
        return reinterpret_cast<std::uint64_t>(cloister_setup_call);
    case Action::Content:
        return reinterpret_cast<std::uint64_t>(&control::cloister_content);
    case Action::Peek:
        return *place;
    case Action::Poke:
        *place = a[1];
        return 0;
    case Action::Call:
        return static_cast<std::uint64_t>(sys::cell_call(argument(0), argument(1), argument(2), argument(3),
                                                         argument(4), argument(5), argument(6)));
    case Action::Jump:
        return jump(order);
    case Action::Spin:
        for (;;) {
            asm volatile("");
        }
    }
    return 0;
}

} // namespace

#ifdef CLOISTER_HOSTILE_SILENT
constexpr bool may_send = false;
constexpr auto answer = control::Answer::Nothing;
#else
constexpr bool may_send = true;
#ifdef CLOISTER_HOSTILE_PAGE
constexpr auto answer = control::Answer::Page;
#else
constexpr auto answer = control::Answer::Same;
#endif
#endif

extern "C" CLOISTER_CELL_CODE void cloister_handle(std::uint8_t* buffer) {
    auto* const order = reinterpret_cast<Order*>(buffer);
    for (;;) {
        const long received = receive(buffer);
        if (received == 0) {
            leave(Exit::Done);
        }
        if (received == static_cast<long>(sizeof(Order)) && order->magic == hostile::magic) {
            const hostile::Reply reply = do_it(buffer, *order);
            if constexpr (may_send) {
                *reinterpret_cast<hostile::Reply*>(buffer) = reply;
                send(buffer, sizeof reply);
            } else if (reply != order->expected) { // that it survived is all that it can say
                leave(Exit::Stalled);
            }
        } else if constexpr (answer == control::Answer::Page) {
            const auto& page = control::live_content().page(control::live_content().newest_page());
            arch::copy(buffer, page.bytes, static_cast<long>(page.size)); // the self-test's, which is short
            send(buffer, static_cast<long>(page.size));
        } else if constexpr (may_send) {
            send(buffer, received);
        }
    }
}

} // namespace cloister::cell

CLOISTER_CONVERSATION{cloister::control::Conversation::make(cloister::cell::answer, "anything")};
