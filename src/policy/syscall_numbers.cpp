// SPDX-License-Identifier: MIT
#include "policy/names.h"
#include "policy/table.h"

#include <charconv>

namespace cloister::policy {
namespace {

struct Line {
    Text<31> name;
    std::array<std::int16_t, 4> numbers; ///< x86_64, aarch64, i386, x32 (without its bit); -1: absent
};

constexpr Line table[] = {
#include "policy/tables/syscall_numbers.inc"
};
constexpr std::size_t highest = [] {
    std::int16_t most = 0;
    for (const auto& line : table) {
        most = std::max(most, *std::max_element(line.numbers.begin(), line.numbers.end()));
    }
    return static_cast<std::size_t>(most);
}();

/// For each ABI and number the line in the table, plus 1; 0: no such call.
constexpr auto lines = [] {
    std::array<std::array<std::uint16_t, highest + 1>, 4> all{};
    for (std::size_t i = 0; i < std::size(table); ++i) {
        for (std::size_t abi = 0; abi < all.size(); ++abi) {
            if (const auto number = table[i].numbers[abi]; number >= 0) {
                all[abi][static_cast<std::size_t>(number)] = static_cast<std::uint16_t>(i + 1);
            }
        }
    }
    return all;
}();

constexpr std::string_view nameless = "syscall ";

constexpr std::uint32_t bit_of(Abi abi) {
    return abi == Abi::x32 ? x32_bit : 0U;
}

} // namespace

std::optional<std::uint32_t> number_of(Abi abi, std::string_view name) {
    if (const auto number = nameless_number(name)) {
        return *number | bit_of(abi);
    }
    const auto* line = find(table, name);
    if (line == nullptr) {
        return std::nullopt;
    }
    const auto number = line->numbers.at(static_cast<std::size_t>(abi));
    if (number < 0) {
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(number) | bit_of(abi);
}

std::optional<std::uint32_t> nameless_number(std::string_view name) {
    if (name.substr(0, nameless.size()) != nameless) {
        return std::nullopt;
    }
    name.remove_prefix(nameless.size());
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    const bool canonical =
        error == std::errc{} && end == name.data() + name.size() && (name[0] != '0' || name.size() == 1);
    return canonical ? std::optional{number} : std::nullopt;
}

std::string_view name_of(Abi abi, std::uint32_t number) {
    number ^= bit_of(abi); // a number of x32 without it gets one that is too high
    const auto line = number <= highest ? lines.at(static_cast<std::size_t>(abi))[number] : 0;
    return line == 0 ? std::string_view{} : table[line - 1].name;
}

std::string call_name(Abi abi, std::uint32_t number) {
    const auto name = name_of(abi, number);
    return name.empty() ? std::string{nameless} + std::to_string(number & ~bit_of(abi)) : std::string{name};
}

std::vector<std::string_view> all_names(Abi abi) {
    std::vector<std::string_view> names;
    for (const auto& line : table) {
        if (line.numbers.at(static_cast<std::size_t>(abi)) >= 0) {
            names.push_back(line.name);
        }
    }
    return names;
}

} // namespace cloister::policy
