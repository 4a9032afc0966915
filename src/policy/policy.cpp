// SPDX-License-Identifier: MIT
#include "policy/policy.h"

#include <algorithm>
#include <fmt/format.h>
#include <linux/seccomp.h>

namespace cloister::policy {
namespace {

std::string_view line_of(std::string_view text, unsigned number) {
    for (; number > 1; --number) {
        const auto end = text.find('\n');
        if (end == std::string_view::npos) {
            return {};
        }
        text.remove_prefix(end + 1);
    }
    return text.substr(0, text.find('\n'));
}

// Printable bytes only: the line may contain the bytes that the error is about.
std::string printable(std::string_view line) {
    std::string shown{line.substr(0, max_line_length)};
    std::replace_if(
        shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
    return shown;
}

std::string errno_name(std::uint16_t code) {
    for (const auto name : all_errnos()) {
        if (errno_named(name) == code) {
            return std::string{name};
        }
    }
    return fmt::to_string(code);
}

} // namespace

std::string Error::text(std::string_view severity) const {
    if (line == 0) {
        return fmt::format("{}: {}: {}", file, severity, message);
    }
    return fmt::format("{}:{}:{}: {}: {}\n{}\n{:>{}}", file, line, column, severity, message, source_line,
                       '^', column);
}

std::uint32_t Action::value() const {
    switch (kind) {
    case Kind::allow:
        return SECCOMP_RET_ALLOW;
    case Kind::errno_code:
        return SECCOMP_RET_ERRNO | code;
    case Kind::kill_process:
        break;
    }
    return SECCOMP_RET_KILL_PROCESS;
}

std::string Action::text() const {
    switch (kind) {
    case Kind::allow:
        return "allow";
    case Kind::errno_code:
        return "errno " + errno_name(code);
    case Kind::kill_process:
        break;
    }
    return "kill-process";
}

Error Policy::error_at(Where where, std::string message) const {
    return {.kind = Error::Kind::refused,
            .file = file,
            .line = where.line,
            .column = where.column,
            .message = std::move(message),
            .source_line = where.line == 0 ? std::string{} : printable(line_of(text, where.line))};
}

std::vector<Error> warnings(const Policy& policy) {
    std::vector<Error> found;
    for (const auto& rule : policy.rules) {
        for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
            const auto& condition = rule.conditions[i];
            const auto& parameter = rule.prototype->parameters[i];
            if (condition.op == Op::ge && condition.operand.value != 0 && parameter.narrow()) {
                found.push_back(policy.error_at(condition.where,
                                                fmt::format("the kernel reads 32 bits of '{}', and '>=' "
                                                            "compares 64: 0x100000000 passes here and is "
                                                            "0 to the kernel",
                                                            parameter.name)));
            }
        }
    }
    return found;
}

} // namespace cloister::policy
