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

enum class Op { any, eq, ne, le, ge, in, masked, not_masked };

/// A number, or a parameter that is bound later.
struct Operand {
    std::uint64_t value = 0;
    std::optional<std::size_t> param; ///< index into Policy::params
    std::string text;                 ///< as written
};

struct Condition {
    Op op = Op::any;
    bool half = false; ///< it compares the lower 32 bits of the argument, which count alone for the kernel
    std::size_t parameter = 0; ///< of the prototype
    Operand operand;
    Operand
        mask; ///< of Op::masked and not_masked: these bits of the argument are compared. Never a parameter
    Where where;
};

/// What the kernel does with a call: SECCOMP_RET_* of seccomp(2).
struct Action {
    /// From the strictest on, as the kernel ranks them.
    enum class Kind { kill_process, kill_thread, trap, errno_code, notify, trace, log, allow };
    Kind kind = Kind::kill_process;
    std::uint16_t code = 0; ///< of errno, trap and trace
    friend bool operator==(const Action&, const Action&) = default;
    [[nodiscard]] std::uint32_t value() const; ///< what a filter returns for it
    [[nodiscard]] std::string text() const;    ///< as a policy writes it
    /// The kernel makes the call, or another process may have it made.
    [[nodiscard]] bool permissive() const { return kind >= Kind::notify; }
    /// What a filter's return value means. Data that the kernel ignores are gone, an errno above 4095 is
    /// 4095, and an action that the kernel does not know is kill-process (kernel/seccomp.c,
    /// __seccomp_filter).
    [[nodiscard]] static Action of(std::uint32_t returned);
};

struct Rule {
    Action action;
    std::string name;       ///< of the call: the kernel's, or "syscall N"
    std::optional<Abi> abi; ///< it applies to calls of that one alone
    /// Of "syscall A..B", the first and the last number, as a filter sees them (x32's with their bit).
    std::optional<std::pair<std::uint32_t, std::uint32_t>> numbers;
    const Prototype* prototype = nullptr;
    std::vector<Condition>
        conditions; ///< in the order of the prototype; at least one for each of its parameters
    std::string reason;
    Where where;
    [[nodiscard]] const Parameter& parameter_of(const Condition& condition) const {
        return prototype->parameters.at(condition.parameter);
    }
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
    std::vector<Abi> also; ///< i386, x32: further ABIs of the same kernel as x86_64
    Action otherwise;      ///< the else action
    Action foreign;        ///< of calls of ABIs that are not listed
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
    /// The ABIs whose calls the rules apply to, in the filter for that processor.
    [[nodiscard]] std::vector<Abi> abis(Arch arch) const;
};

/// Whether cloisterd may put a process under it: an error that names what it cannot have. Rules and `else`
/// are allow, errno and kill-process, and there is no further ABI.
[[nodiscard]] tl::expected<void, Error> expect_enforceable(const Policy& policy);

/// What is valid but perhaps not intended: a permissive `else`; '>=' and '!=' on an argument of which the
/// kernel reads 32 bits.
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

inline constexpr std::size_t max_file_size = 262144;
inline constexpr std::size_t max_line_length = 240;
inline constexpr std::size_t max_params = 8;
inline constexpr std::size_t max_rules = 4000;

} // namespace cloister::policy
