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

constexpr std::uint16_t max_errno = 4095; // MAX_ERRNO of include/linux/err.h

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
    case Kind::log:
        return SECCOMP_RET_LOG;
    case Kind::trace:
        return SECCOMP_RET_TRACE | code;
    case Kind::notify:
        return SECCOMP_RET_USER_NOTIF;
    case Kind::errno_code:
        return SECCOMP_RET_ERRNO | code;
    case Kind::trap:
        return SECCOMP_RET_TRAP | code;
    case Kind::kill_thread:
        return SECCOMP_RET_KILL_THREAD;
    case Kind::kill_process:
        break;
    }
    return SECCOMP_RET_KILL_PROCESS;
}

std::string Action::text() const {
    const auto with_code = [this](std::string_view name) {
        return code == 0 ? std::string{name} : fmt::format("{} {}", name, code);
    };
    switch (kind) {
    case Kind::allow:
        return "allow";
    case Kind::log:
        return "log";
    case Kind::trace:
        return with_code("trace");
    case Kind::notify:
        return "notify";
    case Kind::errno_code:
        return "errno " + errno_name(code);
    case Kind::trap:
        return with_code("trap");
    case Kind::kill_thread:
        return "kill-thread";
    case Kind::kill_process:
        break;
    }
    return "kill-process";
}

Action Action::of(std::uint32_t returned) {
    const auto code = static_cast<std::uint16_t>(returned & SECCOMP_RET_DATA);
    switch (returned & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW:
        return {Kind::allow};
    case SECCOMP_RET_LOG:
        return {Kind::log};
    case SECCOMP_RET_TRACE:
        return {Kind::trace, code};
    case SECCOMP_RET_USER_NOTIF:
        return {Kind::notify};
    case SECCOMP_RET_ERRNO:
        return {Kind::errno_code, std::min(code, max_errno)};
    case SECCOMP_RET_TRAP:
        return {Kind::trap, code};
    case SECCOMP_RET_KILL_THREAD:
        return {Kind::kill_thread};
    default:
        return {Kind::kill_process};
    }
}

Error Policy::error_at(Where where, std::string message) const {
    return {.kind = Error::Kind::refused,
            .file = file,
            .line = where.line,
            .column = where.column,
            .message = std::move(message),
            .source_line = where.line == 0 ? std::string{} : printable(line_of(text, where.line))};
}

std::vector<Abi> Policy::abis(Arch arch) const {
    std::vector<Abi> all{abi_of(arch)};
    if (arch == Arch::x86_64) {
        all.insert(all.end(), also.begin(), also.end());
    }
    return all;
}

tl::expected<void, Error> expect_enforceable(const Policy& policy) {
    const auto fits = [](const Action& action) {
        return action.kind == Action::Kind::allow || action.kind == Action::Kind::errno_code ||
               action.kind == Action::Kind::kill_process;
    };
    if (!fits(policy.otherwise) || policy.otherwise.permissive()) {
        return tl::unexpected{policy.error_at(
            {}, fmt::format("its else action is {}: cloisterd confines nothing by it; write kill-process",
                            policy.otherwise.text()))};
    }
    if (policy.foreign != policy.otherwise) {
        return tl::unexpected{policy.error_at(
            {}, fmt::format("it says {} for other ABIs: cloisterd has one else action for all",
                            policy.foreign.text()))};
    }
    if (!policy.also.empty()) {
        return tl::unexpected{
            policy.error_at({}, fmt::format("it lists {}: cloisterd runs programs of x86_64 and aarch64 only",
                                            to_string(policy.also.front())))};
    }
    for (const auto& rule : policy.rules) {
        if (rule.name.find(' ') != rule.name.npos) {
            return tl::unexpected{policy.error_at(
                rule.where, fmt::format("cloisterd does not know what '{}' is: its policies name their calls",
                                        rule.name))};
        }
        for (const auto& condition : rule.conditions) {
            if (rule.parameter_of(condition).narrow() && condition.operand.value > 0xffffffff) {
                return tl::unexpected{policy.error_at(
                    condition.where,
                    fmt::format("'{}' does not fit '{}': the kernel reads only 32 bits of it and would "
                                "not see the rest",
                                condition.operand.text, rule.parameter_of(condition).name))};
            }
        }
        if (!fits(rule.action)) {
            return tl::unexpected{policy.error_at(
                rule.where,
                fmt::format("cloisterd puts no process under a rule that says {}: allow, errno and "
                            "kill-process are for it",
                            rule.action.text()))};
        }
    }
    return {};
}

std::vector<Error> warnings(const Policy& policy) {
    std::vector<Error> found;
    if (policy.otherwise.permissive()) {
        found.push_back(
            policy.error_at({}, fmt::format("its else action is {}: every call that no rule names is "
                                            "possible, those of newer kernels among them",
                                            policy.otherwise.text())));
    }
    for (const auto& rule : policy.rules) {
        for (const auto& condition : rule.conditions) {
            const auto& parameter = rule.parameter_of(condition);
            const bool upper_half_passes =
                condition.op == Op::ne || (condition.op == Op::ge && condition.operand.value != 0);
            const bool never = parameter.narrow() && !condition.half &&
                               (condition.operand.value > 0xffffffff || condition.mask.value > 0xffffffff);
            if (never) {
                found.push_back(policy.error_at(
                    condition.where,
                    fmt::format("the kernel reads only 32 bits of '{}' and does not see the rest of {}",
                                parameter.name,
                                condition.operand.value > 0xffffffff ? condition.operand.text
                                                                     : condition.mask.text)));
            }
            if (upper_half_passes && !condition.half && parameter.narrow()) {
                found.push_back(policy.error_at(
                    condition.where,
                    condition.op == Op::ge
                        ? fmt::format("the kernel reads 32 bits of '{}', and '>=' compares 64: "
                                      "0x100000000 passes here and is 0 to the kernel; '>=32' "
                                      "compares what it reads",
                                      parameter.name)
                        : fmt::format("the kernel reads 32 bits of '{}', and '!=' compares 64: "
                                      "0x{:x} passes here and is {} to the kernel; '!=32' "
                                      "compares what it reads",
                                      parameter.name, condition.operand.value + (1ULL << 32U),
                                      condition.operand.text)));
            }
        }
    }
    return found;
}

} // namespace cloister::policy
