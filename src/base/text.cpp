// SPDX-License-Identifier: MIT
#include "base/text.h"

#include <algorithm>
#include <cstring>

namespace cloister {
namespace {

std::string_view control(unsigned char code, Escape& escape) {
    switch (code) {
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        break;
    }
    constexpr std::string_view digits = "0123456789abcdef";
    std::memcpy(escape, "\\u00", 4);
    escape[4] = digits[code >> 4U];
    escape[5] = digits[code & 15U];
    return {escape, sizeof escape};
}

} // namespace

std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
    };
    const auto continued = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
        return byte(i) >= low && byte(i) <= high;
    };
    const unsigned lead = byte(0);
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xc2 && lead <= 0xdf) {
        return continued(1) ? 2 : 0;
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        return continued(1, lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf) && continued(2) ? 3 : 0;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        const bool second = continued(1, lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf);
        return second && continued(2) && continued(3) ? 4 : 0;
    }
    return 0;
}

std::string_view take_escaped(std::string_view& text, Escape& escape) {
    const std::size_t length = utf8_length(text);
    const std::string_view character{text.data(), std::max<std::size_t>(length, 1)};
    text.remove_prefix(character.size());
    const auto byte = [character](std::size_t i) { return static_cast<unsigned char>(character[i]); };
    if (length == 0) {
        return "\ufffd";
    }
    if (byte(0) < 0x20 || byte(0) == 0x7f) {
        return control(byte(0), escape);
    }
    if (byte(0) == 0xc2 && byte(1) < 0xa0) {
        return control(byte(1), escape);
    }
    if (byte(0) == '"') {
        return "\\\"";
    }
    return byte(0) == '\\' ? "\\\\" : character;
}

bool is_bare(std::string_view text) {
    if (text.empty()) {
        return false;
    }
    while (!text.empty()) {
        Escape escape;
        const std::string_view before = text;
        if (before[0] == ' ' || before[0] == '=' || take_escaped(text, escape).data() != before.data()) {
            return false;
        }
    }
    return true;
}

} // namespace cloister
