// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace cloister::bench {

/// Random bytes that depend on their position: a table whose length is prime, repeated for ever. Sent
/// straight from the table and checked by memcmp, so that checking every byte costs little. A byte that is
/// lost, doubled, swapped or of another client (each starts at an offset of its own) is a mismatch; no buffer
/// size divides the period.
class Pattern {
  public:
    static constexpr std::size_t period = 1048573;
    static constexpr std::size_t longest_piece = std::size_t{1} << 18;

    Pattern() : bytes_(period + longest_piece) {
        std::uint64_t state = 0x9e3779b97f4a7c15;
        for (std::size_t i = 0; i < period; ++i) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes_[i] = static_cast<char>(state >> 32);
        }
        std::memcpy(bytes_.data() + period, bytes_.data(), longest_piece);
    }

    /// At least longest_piece bytes may be read from there.
    [[nodiscard]] const char* at(std::uint64_t position) const { return bytes_.data() + position % period; }

    [[nodiscard]] bool matches(std::uint64_t position, const char* data, std::size_t length) const {
        return std::memcmp(at(position), data, length) == 0;
    }

  private:
    std::vector<char> bytes_;
};

} // namespace cloister::bench
