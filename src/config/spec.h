// SPDX-License-Identifier: MIT
#pragma once

#include "config/model.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>

/// The one table of everything that can be configured: the options, the environment, the keys of the file,
/// --help and --show-config all follow it.
namespace cloister::config {

enum class Kind : std::uint8_t {
    flag,            ///< an option without a value
    address,         ///< text; several. Checked where interfaces can be looked up
    user,            ///< text. Checked where accounts can be looked up
    path,            ///< text, not empty; in a file absolute
    path_or_off,     ///< the same, or off
    name,            ///< text: [a-z0-9][a-z0-9-]{0,31}
    count,           ///< number: 1 to max_max_connections
    small_count,     ///< number: 1 to max_listeners
    time,            ///< number: milliseconds, 1ms to 24h
    time_or_off,     ///< the same, or 0: off
    rate,            ///< number: connections a second << 32 | burst, 1 to max_rate each
    prefixes,        ///< number: IPv4 << 8 | IPv6, in bits, 1 to 32 and 1 to 128
    prefixes_or_off, ///< the same, or 0: off
    percent,         ///< number: 0 to 90
    source,          ///< text; several. Addresses, ranges, users
    seconds,         ///< the same, whole seconds
    size,            ///< number: bytes, 4K to 64M, whole K; 0: auto
    choice,          ///< number: index among `choices`
};

/// An array in the file, an option that can be given again; in the environment with spaces in between.
constexpr bool is_list(Kind kind) {
    return kind == Kind::address || kind == Kind::source;
}
/// A whole number, in the file too.
constexpr bool is_count(Kind kind) {
    return kind == Kind::count || kind == Kind::small_count;
}
/// Value::number is it; else Value::text.
constexpr bool is_number(Kind kind) {
    return is_count(kind) || kind == Kind::time || kind == Kind::time_or_off || kind == Kind::seconds ||
           kind == Kind::size || kind == Kind::rate || kind == Kind::prefixes ||
           kind == Kind::prefixes_or_off || kind == Kind::percent || kind == Kind::choice;
}

/// Where it stands in a file.
enum class Scope : std::uint8_t {
    command, ///< nowhere: it is about one start
    daemon,  ///< above the first table
    service, ///< in a [[service]]
    limit,   ///< in a [[service]], or for all of them in [defaults]
};

struct Spec {
    Key key;
    const char* name; ///< of the option without its dashes, and in the file
    char letter;      ///< of the option; 0: none
    bool is_option;   ///< and in the environment: environment_name()
    Kind kind;
    Scope scope;
    const char* type;     ///< as help names its values; nullptr: a flag
    const char* range;    ///< what can be given, in words
    const char* standard; ///< as it would be given; nullptr: there is none, or it is `standard_is`
    const char* standard_is;
    const char* example; ///< of a value as the file has it
    const char* help;
    const char* choices[2] = {};
};

/// Of a list: how many elements it may have.
constexpr size_t most_of(const Spec& spec) {
    return spec.kind == Kind::address ? max_listening_sockets : max_exempt;
}

/// By key: specs()[key].key == key.
[[nodiscard]] std::span<const Spec, key_count> specs();
[[nodiscard]] const Spec& spec_of(Key key);
/// Null: there is none of that name.
[[nodiscard]] const Spec* find_spec(std::string_view name);
[[nodiscard]] inline bool in_file(const Spec& spec) {
    return spec.scope != Scope::command;
}
[[nodiscard]] inline bool of_service(const Spec& spec) {
    return spec.scope == Scope::service || spec.scope == Scope::limit;
}

/// CLOISTER_IDLE_TIMEOUT for "idle-timeout".
[[nodiscard]] std::string environment_name(std::string_view option);

/// The one of `names` that `given` is most like; empty if it is like none.
[[nodiscard]] std::string_view nearest(std::string_view given, std::span<const std::string_view> names);

/// A value, read but not looked up: a number or a text, as its Kind says.
struct Value {
    std::uint64_t number = 0;
    std::string text{};
    bool operator==(const Value&) const = default;
};

constexpr size_t max_text = 1023; ///< bytes of a text in a file

/// Why `value` can't be one of `spec`'s; nothing if it can, as far as that is known without looking anything
/// up.
[[nodiscard]] std::optional<std::string> why_not(const Spec& spec, const Value& value);

/// As the file has it: "1m", 1000, "256K", with its quotes.
[[nodiscard]] std::string spelled(const Spec& spec, const Value& value);

} // namespace cloister::config
