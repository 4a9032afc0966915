// SPDX-License-Identifier: MIT
#include "policy/prove.h"

#include "policy/evaluate.h"

#include "base/die.h"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <map>
#include <new>

namespace cloister::policy {
namespace {

std::vector<std::string> param_names(const Policy& policy, const Policy* other = nullptr) {
    std::vector<std::string> names;
    for (const auto& param : policy.params) {
        names.push_back(param.name);
    }
    for (const auto& param : other != nullptr ? other->params : std::vector<Param>{}) {
        if (std::find(names.begin(), names.end(), param.name) == names.end()) {
            names.push_back(param.name);
        }
    }
    return names;
}

/// The questions that check() asks of one ABI. Throws Error.
class Check {
  public:
    Check(const Policy& policy, const Policy* under, Arch arch)
        : policy_{policy}, under_{under}, arch_{arch}, params_{param_names(policy, under)}, meaning_{
                                                                                                policy,
                                                                                                params_,
                                                                                                nullptr} {}

    void run() {
        overlaps();
        text_ = meaning_.of_text(policy_, arch_);
        for (const auto& test : policy_.tests) {
            prove_test(test);
        }
        if (under_ != nullptr) {
            subset();
        }
    }

  private:
    Diagram& diagram() { return meaning_.diagram(); }

    [[nodiscard]] std::string show(const Call& call) const {
        auto text = describe(call.data);
        for (std::size_t i = 0; i < params_.size(); ++i) {
            const auto used = [&](const Policy& p) {
                const auto number = static_cast<std::uint32_t>(call.data.nr);
                return std::any_of(p.rules.begin(), p.rules.end(), [&](const Rule& rule) {
                    return number_of(abi_of(arch_), rule.prototype->name) == number &&
                           std::any_of(
                               rule.conditions.begin(), rule.conditions.end(), [&](const Condition& c) {
                                   return c.operand.param && p.params[*c.operand.param].name == params_[i];
                               });
                });
            };
            if (used(policy_) || (under_ != nullptr && used(*under_))) {
                text += fmt::format(", where ${} = 0x{:x}", params_[i], call.params[i]);
            }
        }
        return text;
    }

    [[nodiscard]] std::optional<Call> find(Meaning::Node condition) {
        const auto bits = diagram().find(diagram().both(meaning_.bound(), condition));
        return bits ? std::optional{meaning_.call(*bits)} : std::nullopt;
    }

    void overlaps() {
        std::vector<Meaning::Node> applies;
        for (std::size_t i = 0; i < policy_.rules.size(); ++i) {
            const auto& rule = policy_.rules[i];
            applies.push_back(meaning_.of_rule(policy_, rule, arch_));
            const auto numbered = [](const Rule& one) { return one.name.find(' ') != one.name.npos; };
            for (std::size_t j = i; j-- > 0;) {
                const auto& other = policy_.rules[j];
                const bool same_calls = other.name == rule.name || (numbered(other) && numbered(rule));
                if (!same_calls && !numbered(rule)) {
                    break; // those for one name stand next to each other; ranges of numbers need not
                }
                if (!same_calls || other.action == rule.action) {
                    continue;
                }
                if (const auto call = find(diagram().both(applies[i], applies[j]))) {
                    throw policy_.error_at(rule.where,
                                           fmt::format("this rule says {} where line {} says {}: {}",
                                                       rule.action.text(), other.where.line,
                                                       other.action.text(), show(*call)));
                }
            }
        }
    }

    void prove_test(const Test& test) {
        const auto abi = test.pattern.abi.value_or(abi_of(arch_));
        const auto listed = [abi](Arch arch) { return abi_of(arch) == abi; };
        if (abi != abi_of(arch_) && std::any_of(policy_.archs.begin(), policy_.archs.end(), listed)) {
            return; // it is about the filter for that ABI
        }
        const auto expected = test.expected.value_or(policy_.otherwise);
        const auto calls = meaning_.of_pattern(policy_, test.pattern, arch_);
        const auto [known, fresh] = says_.try_emplace(expected.value());
        if (fresh) {
            known->second = diagram().equals(text_, expected.value());
        }
        if (const auto call = find(diagram().if_else(known->second, 0, calls))) {
            throw policy_.error_at(test.where,
                                   fmt::format("this test does not hold: the policy says {} for {}",
                                               verdict(policy_, *call), show(*call)));
        }
    }

    // Of stacked filters the kernel takes the strictest action; of two errno codes the newer filter's. So the
    // policy takes effect as written exactly if it is nowhere more permissive than the one below.
    void subset() {
        const auto parent = meaning_.of_text(*under_, arch_);
        for (const auto action : diagram().values(text_)) {
            for (const auto other : diagram().values(parent)) {
                if (Action::of(action).kind <= Action::of(other).kind) {
                    continue;
                }
                const auto wider =
                    diagram().both(diagram().equals(text_, action), diagram().equals(parent, other));
                if (const auto call = find(wider)) {
                    throw wider_error(*call);
                }
            }
        }
    }

    [[nodiscard]] Verdict verdict_of(const Policy& policy, const Call& call) const {
        Bindings bindings;
        for (std::size_t i = 0; i < params_.size(); ++i) {
            bindings[params_[i]] = call.params[i];
        }
        return evaluate(policy, arch_, bindings, call.data);
    }
    [[nodiscard]] std::string verdict(const Policy& policy, const Call& call) const {
        const auto found = verdict_of(policy, call);
        return found.action.text() +
               (found.rule != nullptr ? fmt::format(" (line {})", found.rule->where.line) : "");
    }
    [[nodiscard]] Error wider_error(const Call& call) const {
        const auto* rule = verdict_of(policy_, call).rule;
        return policy_.error_at(
            rule != nullptr ? rule->where : policy_.under_where,
            fmt::format("'{}' is wider than '{}': it says {} for {}, which '{}' answers with {}",
                        policy_.name, under_->name, verdict_of(policy_, call).action.text(), show(call),
                        under_->name, verdict(*under_, call)));
    }

    const Policy& policy_;
    const Policy* under_;
    Arch arch_;
    std::vector<std::string> params_;
    Meaning meaning_;
    Meaning::Node text_ = 0;
    std::map<std::uint32_t, Meaning::Node> says_; ///< where the text says this
};

} // namespace

Error cannot_be_proved(const Policy& policy, const std::exception& why) {
    const bool no_memory = dynamic_cast<const std::bad_alloc*>(&why) != nullptr;
    Error error =
        policy.error_at({}, fmt::format("cannot be proved: {}", no_memory ? error_text(ENOMEM) : why.what()));
    error.kind = no_memory ? Error::Kind::system : error.kind;
    return error;
}

tl::expected<void, Error> check(const Policy& policy, const Policy* under) {
    try {
        if (policy.under != (under == nullptr ? std::string{} : under->name)) {
            throw policy.error_at(
                policy.under_where,
                under == nullptr ? fmt::format("the policy '{}' is needed to check this one", policy.under)
                                 : fmt::format("this policy is not under '{}'", under->name));
        }
        if (param_names(policy, under).size() > max_params) {
            throw policy.error_at(policy.under_where,
                                  fmt::format("more than {} parameters together", max_params));
        }
        for (const auto arch : policy.archs) {
            if (under != nullptr &&
                std::find(under->archs.begin(), under->archs.end(), arch) == under->archs.end()) {
                throw policy.error_at(policy.under_where,
                                      fmt::format("'{}' does not list {}", under->name, to_string(arch)));
            }
            Check{policy, under, arch}.run();
        }
        return {};
    } catch (Error& error) {
        return tl::unexpected{std::move(error)};
    } catch (const std::exception& error) {
        return tl::unexpected{cannot_be_proved(policy, error)};
    }
}

tl::expected<Prover, Error> Prover::make(const Policy& policy, Arch arch, const Bindings& bindings) {
    try {
        if (std::find(policy.archs.begin(), policy.archs.end(), arch) == policy.archs.end()) {
            throw policy.error_at({}, fmt::format("the policy does not list {}", to_string(arch)));
        }
        Meaning meaning{policy, param_names(policy), &bindings};
        const auto text = meaning.of_text(policy, arch);
        return Prover{std::move(meaning), text};
    } catch (Error& error) {
        return tl::unexpected{std::move(error)};
    } catch (const std::exception& error) {
        return tl::unexpected{cannot_be_proved(policy, error)};
    }
}

std::optional<Call> Prover::difference(std::span<const sock_filter> program) {
    meaning_.diagram().next_question();
    const auto bits = meaning_.diagram().find_difference(text_, meaning_.of_program(program));
    return bits ? std::optional{meaning_.call(*bits)} : std::nullopt;
}

Error difference_at(const Policy& policy, Arch arch, const Bindings& bindings, const seccomp_data& call,
                    std::span<const sock_filter> program, std::string_view described) {
    const auto said = evaluate(policy, arch, bindings, call);
    const auto returned = run(program, call);
    return policy.error_at(
        said.rule != nullptr ? said.rule->where : Where{},
        fmt::format("program and policy differ: for {} the program returns {}, the policy says {}", described,
                    returned ? describe_return(*returned) : "nothing", said.action.text()));
}

tl::expected<void, Error> prove(const Policy& policy, Arch arch, const Bindings& bindings,
                                std::span<const sock_filter> program) {
    auto prover = Prover::make(policy, arch, bindings);
    if (!prover) {
        return tl::unexpected{std::move(prover.error())};
    }
    try {
        const auto call = prover->difference(program);
        if (!call) {
            return {};
        }
        return tl::unexpected{
            difference_at(policy, arch, bindings, call->data, program, describe(call->data))};
    } catch (const std::exception& error) {
        return tl::unexpected{cannot_be_proved(policy, error)};
    }
}

tl::expected<Examples, Error> examples(const Policy& policy, const Pattern& pattern, Arch arch,
                                       const Bindings& bindings) {
    try {
        Meaning meaning{policy, param_names(policy), &bindings};
        auto& diagram = meaning.diagram();
        const auto calls = meaning.of_pattern(policy, pattern, arch);
        const auto allowed = diagram.equals(meaning.of_text(policy, arch), SECCOMP_RET_ALLOW);
        const auto find = [&](Meaning::Node node) {
            const auto bits = diagram.find(node);
            return bits ? std::optional{meaning.call(*bits)} : std::nullopt;
        };
        return Examples{find(diagram.both(calls, allowed)), find(diagram.if_else(allowed, 0, calls))};
    } catch (Error& error) {
        return tl::unexpected{std::move(error)};
    } catch (const Diagram::TooLarge& error) {
        return tl::unexpected{policy.error_at({}, error.what())};
    }
}

} // namespace cloister::policy
