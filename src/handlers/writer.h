// SPDX-License-Identifier: MIT
#pragma once

#include "cell/handler.h"

namespace cloister::cell {

/// Writes text into the buffer; `end` is behind what it has written.
struct Writer {
    std::uint8_t* end;
    CLOISTER_INLINE Writer& put(char c) {
        *end++ = static_cast<std::uint8_t>(c);
        return *this;
    }
    CLOISTER_INLINE Writer& text(const char* text) {
        while (*text != '\0') {
            put(*text++);
        }
        return *this;
    }
    CLOISTER_INLINE Writer& two_digits(std::uint64_t number, char behind = '\0') {
        put(static_cast<char>('0' + number / 10 % 10)).put(static_cast<char>('0' + number % 10));
        return behind == '\0' ? *this : put(behind);
    }
    /// Without a leading zero; at most 99.
    CLOISTER_INLINE Writer& number(std::uint64_t number) {
        return number < 10 ? put(static_cast<char>('0' + number)) : two_digits(number);
    }
};

} // namespace cloister::cell
