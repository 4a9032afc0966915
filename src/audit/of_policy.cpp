// SPDX-License-Identifier: MIT
// The only exporter's file that knows policy::Rule.
#include "audit/of_policy.h"

#include "audit/export_forms.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

namespace cloister::audit {
namespace {

constexpr std::uint64_t low_word = 0xffffffff;

Test test_of(const policy::Condition& condition, std::uint64_t value) {
    const auto whole = condition.half ? low_word : ~std::uint64_t{0};
    Test test;
    test.half = condition.half;
    test.value = value;
    switch (condition.op) {
    case policy::Op::ne:
        test.op = Test::Op::ne;
        break;
    case policy::Op::le:
        test.op = Test::Op::le;
        break;
    case policy::Op::ge:
        test.op = Test::Op::ge;
        break;
    case policy::Op::in:
        test = {0, Test::Op::masked, false, 0, ~value & whole};
        break;
    case policy::Op::masked:
    case policy::Op::not_masked: // the caller takes these values away
        test = {0, Test::Op::masked, false, value, condition.mask.value};
        break;
    case policy::Op::eq:
    case policy::Op::any:
        break;
    }
    return test;
}

Test comparable(const policy::Condition& condition) {
    auto test = test_of(condition, condition.operand.value);
    if (test.op == Test::Op::masked && test.mask == low_word) {
        return {0, Test::Op::eq, true, test.value, 0};
    }
    if (test.op == Test::Op::masked) {
        test.half = test.mask <= low_word; // then it is the same with 32 bits
    }
    return test;
}

// Whether `other`, of another ABI, says of the arguments what libseccomp makes of `native` there: the same,
// or of x32 the same of their lower halves.
bool corresponds(const policy::Rule& native, const policy::Rule& other) {
    const bool halves = other.abi == policy::Abi::x32;
    return native.name == other.name && native.action == other.action &&
           std::equal(native.conditions.begin(), native.conditions.end(), other.conditions.begin(),
                      other.conditions.end(),
                      [halves](const policy::Condition& a, const policy::Condition& b) {
                          if (a.op == policy::Op::any || b.op == policy::Op::any || a.operand.param ||
                              b.operand.param) {
                              return a.op == b.op && a.parameter == b.parameter &&
                                     a.operand.param == b.operand.param;
                          }
                          auto wanted = comparable(a);
                          if (halves) {
                              wanted.half = true;
                              wanted.value &= low_word;
                              wanted.mask &= low_word;
                          }
                          return a.parameter == b.parameter && wanted == comparable(b) &&
                                 (a.op == policy::Op::not_masked) == (b.op == policy::Op::not_masked);
                      });
}

/// Of rules that are for one ABI each, those that stand for all ABIs: one of the native ABI, with one for
/// every other that has the call.
struct Gathered {
    std::set<const policy::Rule*> for_all;
    std::set<const policy::Rule*> covered; ///< by one of these
};
Gathered gathered(const policy::Policy& policy, const std::vector<policy::Abi>& abis) {
    Gathered found;
    for (const auto& rule : policy.rules) {
        if (rule.abi != abis.front()) {
            continue;
        }
        std::vector<const policy::Rule*> others;
        const bool all = std::all_of(abis.begin() + 1, abis.end(), [&](policy::Abi abi) {
            const auto other =
                std::find_if(policy.rules.begin(), policy.rules.end(), [&](const policy::Rule& candidate) {
                    return candidate.abi == abi && corresponds(rule, candidate);
                });
            if (other != policy.rules.end()) {
                others.push_back(&*other);
            }
            return other != policy.rules.end() || !exists(abi, rule.name);
        });
        if (all) {
            found.for_all.insert(&rule);
            found.covered.insert(others.begin(), others.end());
        }
    }
    return found;
}

// The register of a condition, the same in each ABI of the policy that has the call.
std::optional<unsigned> register_of(const Model& model, const policy::Rule& rule, std::size_t parameter) {
    std::optional<unsigned> found;
    for (const auto abi : model.abis()) {
        if (!exists(abi, rule.name)) {
            continue;
        }
        const auto index = static_cast<unsigned>(rule.prototype->index(parameter, abi));
        if (!rule.prototype->has(parameter, abi) || found.value_or(index) != index) {
            return std::nullopt;
        }
        found = index;
    }
    return found;
}

} // namespace

Model model_of(const policy::Policy& policy, policy::Arch arch, const policy::Bindings& bindings,
               Exported& result) {
    Model model;
    model.name = policy.name;
    model.version = policy.version;
    model.arch = arch;
    model.otherwise = policy.otherwise;
    model.foreign = policy.foreign;
    if (arch == policy::Arch::x86_64) {
        model.also = policy.also;
    }
    const auto abis = model.abis();
    const auto together = gathered(policy, abis);
    for (const auto& rule : policy.rules) {
        if (together.covered.contains(&rule)) {
            continue;
        }
        Rule made{rule.action, {}, rule.reason, rule.where.line};
        auto& call = model.call(rule.name);
        if (rule.numbers || (rule.abi && !together.for_all.contains(&rule) &&
                             (abis.size() > 1 || *rule.abi != abis.front()))) {
            leave_out(model, call, made,
                      rule.numbers ? "the format has no ranges of numbers"
                                   : "the format has no rules for one ABI",
                      result);
            continue;
        }
        Tests excluded;
        for (const auto& condition : rule.conditions) {
            if (condition.op == policy::Op::any) {
                continue;
            }
            auto value = condition.operand.value;
            if (condition.operand.param) {
                const auto& param = policy.params.at(*condition.operand.param).name;
                const auto bound = bindings.find(param);
                if (bound == bindings.end()) {
                    apply_wider(model, call, made, fmt::format("${} is not bound and becomes 'any'", param),
                                result);
                    continue;
                }
                value = bound->second;
            }
            const auto in_register = register_of(model, rule, condition.parameter);
            if (!in_register) {
                apply_wider(model, call, made,
                            fmt::format("'{}' is not in the same register in all ABIs, and becomes 'any'",
                                        rule.parameter_of(condition).name),
                            result);
                continue;
            }
            auto test = test_of(condition, value);
            test.argument = *in_register;
            (condition.op == policy::Op::not_masked ? excluded : made.tests).push_back(test);
        }
        std::vector<Tests> sets{made.tests};
        for (const auto& test : excluded) {
            std::vector<Tests> rest;
            for (const auto& set : sets) {
                const auto pieces = without(set, {test});
                rest.insert(rest.end(), pieces.begin(), pieces.end());
            }
            sets = std::move(rest);
        }
        for (const auto& set : sets) {
            call.rules.push_back({made.action, set, made.reason, made.line});
        }
    }
    for (auto& call : model.calls) {
        std::stable_sort(call.rules.begin(), call.rules.end(),
                         [](const Rule& a, const Rule& b) { return stricter(a.action, b.action); });
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
