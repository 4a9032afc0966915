// SPDX-License-Identifier: MIT
#include "audit/coverage.h"

#include "policy/evaluate.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

namespace cloister::audit {
namespace {

using policy::Policy;

/// A call as the filter sees it, as far as it is known.
struct Seen {
    std::uint32_t arch = 0;
    std::optional<std::uint32_t> number;
    std::array<std::optional<std::uint64_t>, 6> arguments;
    [[nodiscard]] std::optional<std::uint32_t> word(std::uint32_t offset) const {
        constexpr auto first_argument = offsetof(seccomp_data, args);
        if (offset == offsetof(seccomp_data, nr)) {
            return number;
        }
        if (offset == offsetof(seccomp_data, arch)) {
            return arch;
        }
        if (offset < first_argument || offset >= sizeof(seccomp_data)) {
            return std::nullopt; // strace does not say where the call came from
        }
        const auto& argument = arguments.at((offset - first_argument) / 8);
        return argument ? std::optional{static_cast<std::uint32_t>(*argument >> (offset % 8 == 0 ? 0U : 32U))}
                        : std::nullopt;
    }
};

enum class Truth { no, yes, unknown };

Truth truth(bool value) {
    return value ? Truth::yes : Truth::no;
}

Truth holds(const policy::Condition& condition, const std::optional<std::uint64_t>& argument,
            std::uint64_t operand) {
    if (condition.op == policy::Op::any) {
        return Truth::yes;
    }
    return argument ? truth(policy::holds(condition, *argument, operand)) : Truth::unknown;
}

/// Follows the program as far as what it looks at is known.
void follow(const policy::Program& program, const Seen& call, std::vector<BranchUse>& branches) {
    std::optional<std::uint32_t> accumulator = 0;
    for (std::size_t at = 0; at < program.size(); ++at) {
        const auto& i = program[at];
        if (i.code == (BPF_LD | BPF_W | BPF_ABS)) {
            accumulator = call.word(i.k);
        } else if (i.code == (BPF_ALU | BPF_AND | BPF_K)) {
            accumulator = accumulator ? std::optional{*accumulator & i.k} : accumulator;
        } else if (i.code == (BPF_JMP | BPF_JA)) {
            at += i.k;
        } else if (BPF_CLASS(i.code) == BPF_JMP && BPF_SRC(i.code) == BPF_K && accumulator) {
            const auto a = *accumulator;
            const bool taken = BPF_OP(i.code) == BPF_JEQ   ? a == i.k
                               : BPF_OP(i.code) == BPF_JGT ? a > i.k
                               : BPF_OP(i.code) == BPF_JGE ? a >= i.k
                                                           : (a & i.k) != 0;
            const auto use = std::find_if(branches.begin(), branches.end(),
                                          [at](const BranchUse& b) { return b.at == at; });
            (taken ? use->taken : use->passed) = true;
            at += taken ? i.jt : i.jf;
        } else {
            return;
        }
    }
}

class Counter {
  public:
    Counter(const Policy& policy, policy::Arch arch, const policy::Bindings& bindings,
            const policy::Program& program)
        : policy_{policy}, arch_{arch}, bindings_{bindings}, program_{program} {
        for (const auto& rule : policy.rules) {
            coverage_.rules.push_back({0, 0, std::vector<ConditionUse>(rule.conditions.size())});
        }
        for (std::size_t at = 0; at < program.size(); ++at) {
            if (BPF_CLASS(program[at].code) == BPF_JMP && BPF_OP(program[at].code) != BPF_JA) {
                coverage_.branches.push_back({at});
            }
        }
    }

    void count(const TracedCall& call) {
        ++coverage_.calls;
        const auto seen = this->seen(call);
        follow(program_, seen, coverage_.branches);
        bool allowed = false;
        bool possibly_allowed = false;
        std::optional<policy::Action> strictest;
        for (std::size_t i = 0; i < policy_.rules.size(); ++i) {
            const auto& rule = policy_.rules[i];
            if (seen.arch != policy::audit_arch(policy::abi_of(arch_)) || !seen.number ||
                seen.number != policy::number_of(policy::abi_of(arch_), rule.prototype->name)) {
                continue;
            }
            const auto applies = count_rule(call, rule, seen, coverage_.rules[i]);
            const bool allows = rule.action.kind == policy::Action::Kind::allow;
            allowed = allowed || (applies == Truth::yes && allows);
            possibly_allowed = possibly_allowed || (applies == Truth::unknown && allows);
            if (applies == Truth::yes && !allows) {
                strictest = rule.action;
            }
        }
        if (strictest || !allowed) {
            deny(call, strictest.value_or(policy_.otherwise), !strictest && possibly_allowed);
        }
    }

    [[nodiscard]] Coverage take() { return std::move(coverage_); }

  private:
    static Seen seen(const TracedCall& call) {
        Seen seen;
        seen.arch = policy::audit_arch(call.abi);
        seen.number = call.number ? call.number : policy::number_of(call.abi, call.name);
        for (std::size_t i = 0; i < call.arguments.size() && i < seen.arguments.size(); ++i) {
            if (const auto value = value_of(call.arguments[i], is_int(call, i))) {
                seen.arguments.at(i) = *value;
            }
        }
        return seen;
    }

    static bool is_int(const TracedCall& call, std::size_t parameter) {
        const auto* prototype = policy::prototype_of(call.name);
        return prototype != nullptr && parameter < prototype->parameters.size() &&
               prototype->parameters[parameter].narrow();
    }

    void say_unknown(const TracedCall& call, const policy::Rule& rule, std::size_t parameter) {
        const auto index = rule.prototype->index(parameter, arch_);
        const auto why = index < call.arguments.size()
                             ? value_of(call.arguments[index], is_int(call, index)).error()
                             : std::string{"strace does not show it"};
        coverage_.unknown_arguments.insert(
            fmt::format("{} {}: {}", call.name, rule.prototype->parameters[parameter].name, why));
    }

    Truth count_rule(const TracedCall& traced, const policy::Rule& rule, const Seen& call, RuleUse& use) {
        auto all = Truth::yes;
        for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
            const auto& asked = rule.conditions[i];
            auto value = asked.operand.value;
            if (asked.operand.param) {
                const auto bound = bindings_.find(policy_.params.at(*asked.operand.param).name);
                value = bound == bindings_.end() ? 0 : bound->second;
            }
            const auto& argument = call.arguments.at(rule.prototype->index(asked.parameter, arch_));
            auto& condition = use.conditions[i];
            switch (holds(asked, argument, value)) {
            case Truth::yes:
                ++condition.held;
                if (argument && condition.values.size() < ConditionUse::max_values) {
                    condition.values.insert(*argument);
                }
                condition.largest = std::max(condition.largest, argument.value_or(0));
                break;
            case Truth::no:
                ++condition.failed;
                all = Truth::no;
                break;
            case Truth::unknown:
                ++condition.unknown;
                say_unknown(traced, rule, i);
                all = all == Truth::no ? all : Truth::unknown;
            }
        }
        use.used += all == Truth::yes ? 1 : 0;
        use.possibly += all == Truth::unknown ? 1 : 0;
        return all;
    }

    void deny(const TracedCall& call, const policy::Action& action, bool only_possibly) {
        coverage_.undecided += only_possibly ? 1 : 0;
        auto found =
            std::find_if(coverage_.denied.begin(), coverage_.denied.end(), [&](const Denied& denied) {
                return denied.call == call.name && denied.abi == call.abi && denied.action == action.text();
            });
        if (found == coverage_.denied.end()) {
            coverage_.denied.push_back({call.name, call.abi, action.text(), 0, 0, call.line,
                                        fmt::format("{}({})", call.name, fmt::join(call.arguments, ", "))});
            found = coverage_.denied.end() - 1;
        }
        ++(only_possibly ? found->possibly : found->times);
    }

    const Policy& policy_;
    policy::Arch arch_;
    const policy::Bindings& bindings_;
    const policy::Program& program_;
    Coverage coverage_;
};

} // namespace

Coverage coverage(const Policy& policy, policy::Arch arch, const policy::Bindings& bindings,
                  const policy::Program& program, const std::vector<TracedCall>& calls) {
    Counter counter{policy, arch, bindings, program};
    for (const auto& call : calls) {
        counter.count(call);
    }
    return counter.take();
}

} // namespace cloister::audit
