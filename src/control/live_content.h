// SPDX-License-Identifier: MIT
#pragma once

#include "control/content.h"

/// Content that the supervisor renews while cells read it: the metrics. It has several pages; a new one is
/// written where the oldest stood, and then becomes the newest. A reader that has copied from a page looks
/// whether that place may have been written again meanwhile; if so, it throws the copy away.
/// The supervisor has the only mapping that can be written through (F_SEAL_FUTURE_WRITE, fcntl(2)).
namespace cloister::control {

struct LiveContent {
    static constexpr std::uint64_t places = 4;
    static constexpr std::uint64_t longest = 512U << 10; ///< a page, in bytes

    struct Page {
        std::uint64_t size;
        std::uint8_t bytes[longest];
    };

    Content head;         ///< `size` is that of all behind it
    std::uint64_t newest; ///< counts the pages; that one stands in pages[newest % places]
    Page pages[places];

    [[gnu::always_inline]] [[nodiscard]] std::uint64_t newest_page() const {
        return __atomic_load_n(&newest, __ATOMIC_ACQUIRE);
    }
    [[gnu::always_inline]] [[nodiscard]] const Page& page(std::uint64_t number) const {
        return pages[number % places];
    }
    /// Whether what was read from that page before this call is of that page.
    [[gnu::always_inline]] [[nodiscard]] bool is_whole(std::uint64_t number) const {
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        // Page number + places is written when number + places - 1 is the newest.
        return __atomic_load_n(&newest, __ATOMIC_RELAXED) - number < places - 1;
    }
    /// Makes the bytes the newest page. For the one writer; at most `longest`.
    void publish(const void* bytes, std::uint64_t size) {
        const std::uint64_t number = newest + 1;
        Page& page = pages[number % places];
        __atomic_thread_fence(__ATOMIC_SEQ_CST); // `newest` is seen before what is written here
        page.size = size;
        __builtin_memcpy(page.bytes, bytes, size);
        __atomic_store_n(&newest, number, __ATOMIC_RELEASE);
    }
};
/// That of this program, whose conversation is of Answer::Page.
[[gnu::always_inline]] [[nodiscard]] inline const LiveContent& live_content() {
    const Content* place = &cloister_content;
    asm("" : "+r"(place)); // there is more than the compiler knows of
    return *reinterpret_cast<const LiveContent*>(place);
}
static_assert(sizeof(LiveContent) <= sizeof(Content) + max_content);

} // namespace cloister::control
