// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <string_view>

/// What the tables of names are made of.
namespace cloister::policy {

/// A text that lies in the table, which lives as long as the program. With a std::string_view, each would be
/// a relocation at each start of a program.
template <std::size_t capacity>
class Text {
  public:
    template <std::size_t size>
    consteval Text(const char (&literal)[size]) : length_{size - 1} {
        static_assert(size - 1 <= capacity);
        std::copy_n(std::begin(literal), size - 1, text_.begin());
    }
    constexpr operator std::string_view() const& { return {text_.data(), length_}; }
    operator std::string_view() const&& = delete; // of a copy, which ends before its view

  private:
    std::array<char, capacity> text_{};
    std::uint8_t length_;
};

/// The line with that name in a table that is sorted by name, or null.
template <typename Line, std::size_t size>
const Line* find(const Line (&table)[size], std::string_view name) {
    const auto* line =
        std::lower_bound(std::begin(table), std::end(table), name,
                         [](const Line& l, std::string_view n) { return std::string_view{l.name} < n; });
    return line == std::end(table) || std::string_view{line->name} != name ? nullptr : line;
}

} // namespace cloister::policy
