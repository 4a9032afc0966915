// SPDX-License-Identifier: MIT
#include "cli/policy_report.h"

#include <algorithm>
#include <fmt/format.h>

namespace cloister::tool {
namespace {

using policy::Op;

std::string operator_text(const policy::Condition& condition) {
    const auto name = [&]() -> std::string_view {
        switch (condition.op) {
        case Op::eq:
            return "==";
        case Op::ne:
            return "!=";
        case Op::le:
            return "<=";
        case Op::ge:
            return ">=";
        case Op::in:
            return "in";
        case Op::masked:
        case Op::not_masked:
            return "&";
        case Op::any:
            break;
        }
        return "any";
    }();
    return fmt::format("{}{}", name, condition.half ? "32" : "");
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
    using Kind = policy::Action::Kind;
    switch (action.kind) {
    case Kind::kill_process:
        return "ends the process at once";
    case Kind::kill_thread:
        return "ends the thread at once";
    case Kind::trap:
        return "is not made, and the process gets SIGSYS";
    case Kind::errno_code:
        return "fails";
    case Kind::notify:
        return "waits for the process that supervises this one, which may have it made";
    case Kind::trace:
        return "is made, unless the process is traced: then its tracer decides";
    case Kind::log:
        return "is made, and logged";
    case Kind::allow:
        break;
    }
    return "is made";
}

} // namespace

std::string in_words(const policy::Policy& policy, const policy::Parameter& parameter,
                     const policy::Condition& condition) {
    const auto value = operand_in_words(policy, condition.operand);
    const auto what =
        condition.half ? fmt::format("the lower half of {}", parameter.name) : std::string{parameter.name};
    switch (condition.op) {
    case Op::eq:
        return fmt::format("{} is {}", what, value);
    case Op::ne:
        return fmt::format("{} is not {}", what, value);
    case Op::le:
        return fmt::format("{} is at most {}", what, value);
    case Op::ge:
        return fmt::format("{} is at least {}", what, value);
    case Op::in:
        return fmt::format("{} has no bits but {}", what, value);
    case Op::not_masked:
        return fmt::format("{} does not have, of the bits {}, {}", what,
                           operand_in_words(policy, condition.mask), value);
    case Op::masked:
        return fmt::format("{} has, of the bits {}, {}", what, operand_in_words(policy, condition.mask),
                           value);
    case Op::any:
        break;
    }
    return fmt::format("{} may be anything", what);
}

std::string as_written(const policy::Parameter& parameter, const policy::Condition& condition) {
    const auto op = operator_text(condition);
    return condition.op == Op::any          ? fmt::format("{} any", parameter.name)
           : condition.op == Op::not_masked ? fmt::format("{} {} {} != {}", parameter.name, op,
                                                          condition.mask.text, condition.operand.text)
           : condition.op == Op::masked     ? fmt::format("{} {} {} == {}", parameter.name, op,
                                                          condition.mask.text, condition.operand.text)
                                        : fmt::format("{} {} {}", parameter.name, op, condition.operand.text);
}

namespace {

// "call number 20 (i386: 146)"
std::string numbers(const policy::Policy& policy, policy::Arch arch, const std::string& name) {
    std::string text;
    for (const auto abi : policy.abis(arch)) {
        if (const auto number = policy::number_of(abi, name)) {
            text += fmt::format("{}{}", text.empty() ? "" : ", ",
                                abi == policy::abi_of(arch) ? fmt::to_string(*number)
                                                            : fmt::format("{}: {}", to_string(abi), *number));
        }
    }
    return text;
}

} // namespace

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
    std::string others;
    for (const auto abi : {policy::Abi::i386, policy::Abi::x32}) {
        if (std::find(policy.also.begin(), policy.also.end(), abi) == policy.also.end()) {
            others += fmt::format("{}{}", others.empty() ? "" : ", ", to_string(abi));
        }
    }
    text += fmt::format(
        "Calls that are not listed, or not as listed, and every call of another ABI ({}): {}. "
        "Such a call {}.\n",
        others.empty() ? "there is none" : others, policy.otherwise.text(), consequence(policy.otherwise));
    std::string_view last;
    for (const auto& rule : policy.rules) {
        text += rule.name != last
                    ? fmt::format("\n{}, call number {}\n", rule.name, numbers(policy, arch, rule.name))
                    : "  or\n";
        last = rule.name;
        text += fmt::format("  {}, line {}: {}\n", rule.action.text(), rule.where.line, rule.reason);
        for (const auto& condition : rule.conditions) {
            text += fmt::format("    {}\n", in_words(policy, rule.parameter_of(condition), condition));
        }
    }
    text += '\n';
    return text.append(arch == policy::Arch::x86_64 ? limits_x86_64 : limits_aarch64);
}

nlohmann::json as_json(const policy::Policy& policy, policy::Arch arch) {
    nlohmann::json rules = nlohmann::json::array();
    for (const auto& rule : policy.rules) {
        nlohmann::json arguments = nlohmann::json::array();
        for (const auto& condition : rule.conditions) {
            nlohmann::json argument = {{"name", rule.parameter_of(condition).name},
                                       {"op", operator_text(condition)}};
            if (condition.op == Op::masked || condition.op == Op::not_masked) {
                argument["equal"] = condition.op == Op::masked;
                argument["mask"] = condition.mask.value;
            }
            if (condition.op != Op::any) {
                argument["text"] = condition.operand.text;
            }
            if (condition.op != Op::any && !condition.operand.param) {
                argument["value"] = condition.operand.value;
            }
            arguments.push_back(std::move(argument));
        }
        nlohmann::json by_abi = nlohmann::json::object();
        for (const auto abi : policy.abis(arch)) {
            if (const auto number = policy::number_of(abi, rule.name)) {
                by_abi[std::string{to_string(abi)}] = *number;
            }
        }
        const auto native = policy::number_of(policy::abi_of(arch), rule.name);
        rules.push_back({{"call", rule.name},
                         {"number", native ? nlohmann::json(*native) : nlohmann::json(nullptr)},
                         {"numbers", std::move(by_abi)},
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
