// SPDX-License-Identifier: MIT
#pragma once

#include "policy/names.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

/// A policy file as parsed. Everything but read() and load() is pure.
namespace cloister::policy {

struct Error {
    enum class Kind {
        missing,
        refused,
        system ///< the kernel refused a call that has nothing to do with the policy
    };
    Kind kind = Kind::refused;
    std::string file;
    unsigned line = 0; ///< from 1; 0: the file as a whole
    unsigned column = 0;
    std::string message;
    std::string source_line;
    /// "file:14:7: error: message", then the line and a caret under the column.
    [[nodiscard]] std::string text(std::string_view severity = "error") const;
};

struct Where {
    unsigned line = 0;
    unsigned column = 0;
};

enum class Op { any, eq, le, ge, in };

/// A number, or a parameter that is bound later.
struct Operand {
    std::uint64_t value = 0;
    std::optional<std::size_t> param; ///< index into Policy::params
    std::string text;                 ///< as written
};

struct Condition {
    Op op = Op::any;
    Operand operand;
    Where where;
};

struct Action {
    enum class Kind { kill_process, errno_code, allow }; ///< from the strictest on
    Kind kind = Kind::kill_process;
    std::uint16_t code = 0;
    friend bool operator==(const Action&, const Action&) = default;
    [[nodiscard]] std::uint32_t value() const; ///< what a filter returns for it
    [[nodiscard]] std::string text() const;    ///< as a policy writes it
};

struct Rule {
    Action action;
    const Prototype* prototype = nullptr;
    std::vector<Condition> conditions; ///< one for each parameter of the prototype
    std::string reason;
    Where where;
};

/// A set of calls, of a test line or of `ask`. Arguments left out stand for all values.
struct Pattern {
    std::optional<Abi> abi; ///< unset: every listed ABI that has the call
    std::string name;
    const Prototype* prototype = nullptr;          ///< null: no arguments are given
    std::vector<std::optional<Operand>> arguments; ///< one for each parameter of the prototype
};

struct Test {
    std::optional<Action> expected; ///< unset: the else action
    Pattern pattern;
    Where where;
};

/// An address that is known when the program is made. Never 0.
struct Param {
    std::string name; ///< without the $
    std::string reason;
    Where where;
};

struct Const {
    std::string name;
    Operand operand;
    std::string reason;
    Where where;
};

struct Policy {
    std::string file;
    std::string name;
    unsigned version = 0;
    std::string under; ///< empty: stands alone
    /// The parameter (index) that is the address behind its call site. Unset: it applies to calls from every
    /// instruction or, combined with others, from every instruction that is no call site.
    std::optional<std::size_t> at;
    std::vector<Arch> archs;
    Action otherwise; ///< the else action
    std::vector<Param> params;
    std::vector<Const> consts;
    std::vector<Rule> rules;
    std::vector<Test> tests;
    std::string text;
    std::string sha256; ///< of the text, in hex

    Where under_where;
    Where at_where;
    /// The name of that parameter, without the $; empty: none.
    [[nodiscard]] std::string_view at_name() const {
        return at ? std::string_view{params.at(*at).name} : std::string_view{};
    }
    [[nodiscard]] Error error_at(Where where, std::string message) const;
};

/// What is valid but perhaps not intended: '>=' on an argument of which the kernel reads 32 bits.
[[nodiscard]] std::vector<Error> warnings(const Policy& policy);

/// Addresses by parameter name, without the $.
using Bindings = std::map<std::string, std::uint64_t, std::less<>>;

/// The text of a regular file of at most max_file_size bytes that others cannot write to; by its path, or
/// open for reading at its start, when `path` is only its name in errors.
[[nodiscard]] tl::expected<std::string, Error> read(const std::filesystem::path& path);
[[nodiscard]] tl::expected<std::string, Error> read(int fd, const std::filesystem::path& path);

/// read() and parse().
[[nodiscard]] tl::expected<Policy, Error> load(const std::filesystem::path& path);
[[nodiscard]] tl::expected<Policy, Error> load(int fd, const std::filesystem::path& path);
[[nodiscard]] tl::expected<Policy, Error> parse(std::string_view text, std::string_view file_name);

/// "sendto fd=0 len=1", in the words of that policy.
[[nodiscard]] tl::expected<Pattern, Error> parse_pattern(const Policy& policy, std::string_view text);

/// The canonical form: one space between words, two before a condition. A wider gap than two
/// stays only where it lines up with another line of its kind. Comments stay; runs of blank lines become one.
[[nodiscard]] std::string format(const Policy& policy);

inline constexpr std::size_t max_file_size = 65536;
inline constexpr std::size_t max_line_length = 240;
inline constexpr std::size_t max_params = 8;
inline constexpr std::size_t max_rules = 1000;

} // namespace cloister::policy
