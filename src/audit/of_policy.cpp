// SPDX-License-Identifier: MIT
// The only exporter's file that knows policy::Rule.
#include "audit/of_policy.h"

#include "audit/export_forms.h"

#include <algorithm>
#include <fmt/format.h>

namespace cloister::audit {
namespace {

Action action_of(const policy::Action& action) {
    using Kind = policy::Action::Kind;
    switch (action.kind) {
    case Kind::kill_process:
        return {Action::Kind::kill_process};
    case Kind::errno_code:
        return {Action::Kind::errno_code, action.code};
    case Kind::allow:
        break;
    }
    return {Action::Kind::allow};
}

Test test_of(const policy::Condition& condition, std::uint64_t value) {
    Test test;
    test.value = value;
    switch (condition.op) {
    case policy::Op::le:
        test.op = Test::Op::le;
        break;
    case policy::Op::ge:
        test.op = Test::Op::ge;
        break;
    case policy::Op::in:
        test.op = Test::Op::masked;
        test.mask = ~value;
        test.value = 0;
        break;
    case policy::Op::eq:
    case policy::Op::any:
        break;
    }
    return test;
}

} // namespace

Model model_of(const policy::Policy& policy, policy::Arch arch, const policy::Bindings& bindings,
               Exported& result) {
    Model model;
    model.name = policy.name;
    model.version = policy.version;
    model.arch = arch;
    model.otherwise = action_of(policy.otherwise);
    for (const auto& rule : policy.rules) {
        Rule made{action_of(rule.action), {}, rule.reason, rule.where.line};
        auto& call = model.call(rule.prototype->name);
        for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
            const auto& condition = rule.conditions[i];
            if (condition.op == policy::Op::any) {
                continue;
            }
            auto value = condition.operand.value;
            if (condition.operand.param) {
                const auto& param = policy.params.at(*condition.operand.param).name;
                const auto bound = bindings.find(param);
                if (bound == bindings.end()) {
                    apply_wider(model, call, made, fmt::format("${} is not bound and becomes 'any'", param), result);
                    continue;
                }
                value = bound->second;
            }
            auto test = test_of(condition, value);
            test.argument = static_cast<unsigned>(rule.prototype->index(i, arch));
            made.tests.push_back(test);
        }
        call.rules.push_back(std::move(made));
    }
    for (auto& call : model.calls) {
        std::stable_sort(call.rules.begin(), call.rules.end(),
                         [](const Rule& a, const Rule& b) { return a.action.stricter_than(b.action); });
        constexpr std::size_t many = 1000;
        if (!separate(call, many)) {
            result.refused.push_back(
                fmt::format("{}: without an unbound parameter its rules contradict each other", call.name));
        }
        std::erase_if(call.rules, [&](const Rule& rule) { return rule.action == model.otherwise; });
    }
    std::erase_if(model.calls, [](const Call& call) { return call.rules.empty(); });
    return model;
}

} // namespace cloister::audit
