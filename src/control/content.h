// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

/// What a cell may read besides its own memory, if its handler was added with CONTENT: a sealed memory file
/// of the supervisor's, which the listener maps read-only to a place in its own program that is kept for it
/// (cell.ld).
namespace cloister::control {

struct Content {
    std::uint64_t size;          ///< of the bytes behind this, 1 … max_content
    std::uint64_t after_request; ///< 1: for a client that has sent an empty line; 0: at once
    [[gnu::always_inline]] [[nodiscard]] const std::uint8_t* bytes() const {
        return reinterpret_cast<const std::uint8_t*>(this + 1);
    }
};
inline constexpr std::size_t max_content = 16U << 20;

extern "C" {
[[gnu::visibility("hidden")]] extern const std::uint8_t cloister_content_gap[]; ///< before it: to be unmapped
[[gnu::visibility("hidden")]] extern const Content cloister_content;
[[gnu::visibility(
    "hidden")]] extern const std::uint8_t cloister_content_end[]; ///< of the place: &cloister_content if none
}

/// Bytes that there is room for, Content included; 0: the handler has none.
inline std::size_t content_room() {
    return static_cast<std::size_t>(cloister_content_end -
                                    reinterpret_cast<const std::uint8_t*>(&cloister_content));
}

} // namespace cloister::control
