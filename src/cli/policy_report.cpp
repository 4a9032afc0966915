// SPDX-License-Identifier: MIT
#include "cli/policy_report.h"

#include <fmt/format.h>

namespace cloister::tool {
namespace {

using policy::Op;

constexpr std::string_view operator_text(Op op) {
    switch (op) {
    case Op::eq:
        return "==";
    case Op::le:
        return "<=";
    case Op::ge:
        return ">=";
    case Op::in:
        return "in";
    case Op::any:
        break;
    }
    return "any";
}

std::string operand_in_words(const policy::Policy& policy, const policy::Operand& operand) {
    if (operand.param) {
        return fmt::format("{} ({})", operand.text, policy.params.at(*operand.param).reason);
    }
    const auto value =
        operand.value < 65536 ? fmt::to_string(operand.value) : fmt::format("0x{:x}", operand.value);
    return operand.text == fmt::to_string(operand.value) || operand.text == value
               ? operand.text
               : fmt::format("{} ({})", operand.text, value);
}

// What no filter sees or can refuse: the limits of what the list above means.
constexpr std::string_view limits_x86_64 =
    "What no filter can stop: uretprobe (335) and uprobe (336), which the kernel exempts on x86_64; time "
    "read through\n"
    "the vDSO without entering the kernel; a tracer with CAP_SYS_ADMIN that suspends the filter\n"
    "(PTRACE_O_SUSPEND_SECCOMP).\n";
constexpr std::string_view limits_aarch64 = "What no filter can stop: time read through the vDSO without "
                                            "entering the kernel; a tracer with CAP_SYS_ADMIN that\n"
                                            "suspends the filter (PTRACE_O_SUSPEND_SECCOMP).\n";

std::string_view consequence(const policy::Action& action) {
    return action.kind == policy::Action::Kind::kill_process ? "ends the process at once" : "fails";
}

} // namespace

std::string in_words(const policy::Policy& policy, const policy::Parameter& parameter,
                     const policy::Condition& condition) {
    const auto value = operand_in_words(policy, condition.operand);
    switch (condition.op) {
    case Op::eq:
        return fmt::format("{} is {}", parameter.name, value);
    case Op::le:
        return fmt::format("{} is at most {}", parameter.name, value);
    case Op::ge:
        return fmt::format("{} is at least {}", parameter.name, value);
    case Op::in:
        return fmt::format("{} has no bits but {}", parameter.name, value);
    case Op::any:
        break;
    }
    return fmt::format("{} may be anything", parameter.name);
}

std::string as_written(const policy::Parameter& parameter, const policy::Condition& condition) {
    return condition.op == Op::any
               ? fmt::format("{} any", parameter.name)
               : fmt::format("{} {} {}", parameter.name, operator_text(condition.op), condition.operand.text);
}

std::string in_words(const policy::Policy& policy, policy::Arch arch) {
    auto text = fmt::format("{}, version {}, on {}\nSHA-256 of the text: {}\n", policy.name, policy.version,
                            to_string(arch), policy.sha256);
    if (!policy.under.empty()) {
        text += fmt::format("It is under the policy {}: a call must pass both.\n", policy.under);
    }
    text +=
        policy.at
            ? fmt::format("It holds for calls from one instruction only, the one in front of ${} ({}).\n",
                          policy.at_name(), policy.params.at(*policy.at).reason)
            : "It holds for calls from every instruction; combined with others, from every instruction but "
              "their call sites.\n";
    text += fmt::format(
        "Calls that are not listed, or not as listed, and every call of another ABI (i386, x32): {}. "
        "Such a call {}.\n",
        policy.otherwise.text(), consequence(policy.otherwise));
    const policy::Prototype* last = nullptr;
    for (const auto& rule : policy.rules) {
        const auto& prototype = *rule.prototype;
        if (&prototype != last) {
            text += fmt::format("\n{}, call number {}\n", prototype.name,
                                policy::number_of(policy::abi_of(arch), prototype.name).value());
        } else {
            text += "  or\n";
        }
        last = &prototype;
        text += fmt::format("  {}, line {}: {}\n", rule.action.text(), rule.where.line, rule.reason);
        for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
            text += fmt::format("    {}\n", in_words(policy, prototype.parameters[i], rule.conditions[i]));
        }
    }
    text += '\n';
    return text.append(arch == policy::Arch::x86_64 ? limits_x86_64 : limits_aarch64);
}

nlohmann::json as_json(const policy::Policy& policy, policy::Arch arch) {
    nlohmann::json rules = nlohmann::json::array();
    for (const auto& rule : policy.rules) {
        nlohmann::json arguments = nlohmann::json::array();
        for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
            const auto& condition = rule.conditions[i];
            nlohmann::json argument = {{"name", rule.prototype->parameters[i].name},
                                       {"op", operator_text(condition.op)}};
            if (condition.op != Op::any) {
                argument["text"] = condition.operand.text;
            }
            if (condition.op != Op::any && !condition.operand.param) {
                argument["value"] = condition.operand.value;
            }
            arguments.push_back(std::move(argument));
        }
        rules.push_back({{"call", rule.prototype->name},
                         {"number", policy::number_of(policy::abi_of(arch), rule.prototype->name).value()},
                         {"action", rule.action.text()},
                         {"arguments", std::move(arguments)},
                         {"reason", rule.reason},
                         {"line", rule.where.line}});
    }
    return {{"name", policy.name},
            {"version", policy.version},
            {"under", policy.under},
            {"at", policy.at_name()},
            {"sha256", policy.sha256},
            {"arch", to_string(arch)},
            {"else", policy.otherwise.text()},
            {"rules", rules},
            {"tests", policy.tests.size()}};
}

nlohmann::json as_json(const policy::Error& error) {
    return {{"file", error.file}, {"line", error.line}, {"column", error.column}, {"message", error.message}};
}

} // namespace cloister::tool
