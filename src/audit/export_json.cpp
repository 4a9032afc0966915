// SPDX-License-Identifier: MIT
//
// OCI: runtime-spec config-linux.md, "Seccomp". seccompiler: rust-vmm/seccompiler docs/json_format.md.
#include "audit/export_forms.h"
#include "audit/libseccomp_rules.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>

namespace cloister::audit {
namespace {

using nlohmann::ordered_json;
constexpr std::size_t max_alternatives = 256;

const char* oci_action(const Action& action) {
    switch (action.kind) {
    case Action::Kind::kill_process:
        return "SCMP_ACT_KILL_PROCESS";
    case Action::Kind::kill_thread:
        return "SCMP_ACT_KILL_THREAD";
    case Action::Kind::trap:
        return "SCMP_ACT_TRAP";
    case Action::Kind::errno_code:
        return "SCMP_ACT_ERRNO";
    case Action::Kind::notify:
        return "SCMP_ACT_NOTIFY";
    case Action::Kind::trace:
        return "SCMP_ACT_TRACE";
    case Action::Kind::log:
        return "SCMP_ACT_LOG";
    case Action::Kind::allow:
        break;
    }
    return "SCMP_ACT_ALLOW";
}

bool has_code(const Action& action) {
    return action.kind == Action::Kind::errno_code || action.kind == Action::Kind::trace;
}

ordered_json oci_test(const Test& test) {
    ordered_json json{{"index", test.argument}};
    switch (test.op) {
    case Test::Op::masked:
        json["value"] = test.mask;
        json["valueTwo"] = test.value;
        json["op"] = "SCMP_CMP_MASKED_EQ";
        return json;
    case Test::Op::eq:
        json["value"] = test.value;
        json["op"] = "SCMP_CMP_EQ";
        return json;
    case Test::Op::ne:
        json["value"] = test.value;
        json["op"] = "SCMP_CMP_NE";
        return json;
    case Test::Op::le:
        json["value"] = test.value;
        json["op"] = "SCMP_CMP_LE";
        return json;
    case Test::Op::ge:
        break;
    }
    json["value"] = test.value;
    json["op"] = "SCMP_CMP_GE";
    return json;
}

ordered_json entry(const Action& action, ordered_json names) {
    ordered_json json{{"names", std::move(names)}, {"action", oci_action(action)}};
    if (has_code(action)) {
        json["errnoRet"] = action.code;
    }
    return json;
}

ordered_json seccompiler_action(const Action& action) {
    switch (action.kind) {
    case Action::Kind::kill_process:
    case Action::Kind::notify: // there is none; the caller leaves it out
        return "kill_process";
    case Action::Kind::kill_thread:
        return "kill_thread";
    case Action::Kind::trap:
        return "trap";
    case Action::Kind::errno_code:
        return {{"errno", action.code}};
    case Action::Kind::trace:
        return {{"trace", action.code}};
    case Action::Kind::log:
        return "log";
    case Action::Kind::allow:
        break;
    }
    return "allow";
}

ordered_json seccompiler_test(const Test& test) {
    ordered_json json{{"index", test.argument}, {"type", test.half ? "dword" : "qword"}};
    switch (test.op) {
    case Test::Op::eq:
        json["op"] = "eq";
        break;
    case Test::Op::ne:
        json["op"] = "ne";
        break;
    case Test::Op::le:
        json["op"] = "le";
        break;
    case Test::Op::ge:
        json["op"] = "ge";
        break;
    case Test::Op::masked:
        json["op"] = {{"masked_eq", test.mask}};
        break;
    }
    json["val"] = test.value;
    return json;
}

// What of trap's number these formats cannot say.
void check_codes(const Model& model, Exported& result) {
    for (const auto& call : model.calls) {
        for (const auto& rule : call.rules) {
            if (rule.action.kind == Action::Kind::trap && rule.action.code != 0) {
                result.wider.push_back(fmt::format("{}: the number of 'trap' becomes 0", named(call, rule)));
            }
        }
    }
}

} // namespace

std::string oci_text(const Model& model, Exported& result) {
    check_codes(model, result);
    ordered_json json{{"defaultAction", oci_action(model.otherwise)}};
    if (has_code(model.otherwise)) {
        json["defaultErrnoRet"] = model.otherwise.code;
    }
    auto& architectures = json["architectures"] = ordered_json::array();
    for (const auto abi : model.abis()) {
        architectures.push_back(abi == policy::Abi::x86_64    ? "SCMP_ARCH_X86_64"
                                : abi == policy::Abi::aarch64 ? "SCMP_ARCH_AARCH64"
                                : abi == policy::Abi::i386    ? "SCMP_ARCH_X86"
                                                              : "SCMP_ARCH_X32");
    }
    auto& list = json["syscalls"] = ordered_json::array();
    std::vector<std::pair<Action, ordered_json>> groups; // of rules without conditions
    for (const auto& call : model.calls) {
        for (const auto& rule : call.rules) {
            if (call.name.starts_with("syscall ")) {
                leave_out(model, call, rule, "a profile has names alone, not numbers", result);
                continue;
            }
            if (rule.action.kind == Action::Kind::notify && call.name == "write") {
                result.notes.push_back("runc refuses a profile with SCMP_ACT_NOTIFY for write");
            }
            if (reaches_through_i386(model, call, rule)) {
                result.wider.push_back(
                    fmt::format("{}: libseccomp makes it apply to socketcall or ipc of i386, "
                                "too",
                                named(call, rule)));
            }
            if (rule.tests.empty()) {
                auto group = std::find_if(groups.begin(), groups.end(),
                                          [&](const auto& other) { return other.first == rule.action; });
                if (group == groups.end()) {
                    group = groups.insert(groups.end(), {rule.action, ordered_json::array()});
                }
                group->second.push_back(call.name);
                continue;
            }
            // Two conditions on one argument would be alternatives.
            const auto sets = one_test_each(rule.tests, max_alternatives);
            if (!sets) {
                leave_out(model, call, rule, "a profile takes conditions on one argument as alternatives",
                          result);
                continue;
            }
            for (const auto& tests : *sets) {
                auto made = entry(rule.action, ordered_json::array({call.name}));
                for (const auto& test : tests) {
                    made["args"].push_back(oci_test(test));
                }
                list.push_back(std::move(made));
            }
        }
    }
    for (auto group = groups.rbegin(); group != groups.rend(); ++group) {
        list.insert(list.begin(), entry(group->first, std::move(group->second)));
    }
    compare_foreign(model, true, {Action::Kind::kill_thread}, result);
    return json.dump(2) + '\n';
}

std::string seccompiler_text(const Model& model, Exported& result) {
    if (model.otherwise.kind == Action::Kind::notify) {
        result.refused.push_back("'else notify': the format has no such action");
        return {};
    }
    check_codes(model, result);
    // A filter has one action for all its rules: the mildest one, without which the program would not run.
    auto action = model.otherwise.kind == Action::Kind::allow ? Action{Action::Kind::kill_process}
                                                              : Action{Action::Kind::allow};
    bool first = true;
    for (const auto& call : model.calls) {
        for (const auto& rule : call.rules) {
            if (rule.action.kind != Action::Kind::notify && (first || stricter(action, rule.action))) {
                action = rule.action;
                first = false;
            }
        }
    }
    auto filter = ordered_json::array();
    for (const auto& call : model.calls) {
        for (const auto& rule : call.rules) {
            if (rule.action != action) {
                leave_out(model, call, rule,
                          fmt::format("a filter has one action for its rules, here {}", action.text()),
                          result);
                continue;
            }
            if (call.name.starts_with("syscall ")) {
                leave_out(model, call, rule, "the format has names alone, not numbers", result);
                continue;
            }
            ordered_json made{{"syscall", call.name}};
            for (const auto& test : rule.tests) {
                made["args"].push_back(seccompiler_test(test));
            }
            if (!rule.reason.empty()) {
                made["comment"] = rule.reason;
            }
            filter.push_back(std::move(made));
        }
    }
    compare_foreign(model, false, {Action::Kind::kill_process}, result);
    const ordered_json json{{model.name,
                             {{"mismatch_action", seccompiler_action(model.otherwise)},
                              {"match_action", seccompiler_action(action)},
                              {"filter", std::move(filter)}}}};
    return json.dump(2) + '\n';
}

} // namespace cloister::audit
