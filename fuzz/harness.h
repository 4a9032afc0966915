// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

/// The entry point that libFuzzer and AFL++ share.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace cloister::fuzz {

/// A promise is broken. Both engines take the abort for a crash and keep the input.
[[noreturn]] inline void broken(const std::string& what) {
    std::fprintf(stderr, "broken: %s\n", what.c_str());
    std::abort();
}

/// An input, taken from its front. When it is used up it is all zeros.
class Input {
  public:
    Input(const std::uint8_t* data, std::size_t size) : next_{data}, end_{data + size} {}

    [[nodiscard]] bool empty() const { return next_ == end_; }
    std::uint8_t byte() { return empty() ? std::uint8_t{0} : *next_++; }
    /// `size` bytes, the lowest first.
    std::uint64_t number(unsigned size) {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < size; ++i) {
            value |= std::uint64_t{byte()} << (8 * i);
        }
        return value;
    }

  private:
    const std::uint8_t* next_;
    const std::uint8_t* end_;
};

} // namespace cloister::fuzz
