// SPDX-License-Identifier: MIT
#include "audit/stack.h"

#include "policy/evaluate.h"
#include "policy/prove.h"

#include <fmt/format.h>
#include <linux/seccomp.h>

namespace cloister::audit {
namespace {

using policy::Diagram;
using policy::Meaning;

/// The kernel compares actions as signed numbers: kill-process is negative, allow the largest.
std::int32_t strictness(std::uint32_t value) {
    return static_cast<std::int32_t>(value & SECCOMP_RET_ACTION_FULL);
}

template <class Work>
auto decided(const Work& work) -> Told<std::invoke_result_t<Work>> {
    try {
        return work();
    } catch (const std::invalid_argument& why) {
        return tl::unexpected{CannotTell{fmt::format("a filter cannot be decided: {}", why.what())}};
    } catch (const Diagram::TooLarge& why) {
        return tl::unexpected{CannotTell{fmt::format("the comparison cannot be decided: {}", why.what())}};
    } catch (const policy::Error& error) {
        return tl::unexpected{CannotTell{error.text()}};
    }
}

} // namespace

Meaning::Node meaning_of(Meaning& meaning, const Filters& oldest_first) {
    auto& diagram = meaning.diagram();
    auto decides = diagram.leaf(SECCOMP_RET_ALLOW);
    for (const auto& filter : oldest_first) {
        const auto newer = meaning.of_program(filter);
        const auto before = decides;
        decides = newer;
        for (const auto older : diagram.values(before)) {
            for (const auto returned : diagram.values(newer)) {
                if (strictness(older) < strictness(returned)) {
                    const auto both =
                        diagram.both(diagram.equals(before, older), diagram.equals(newer, returned));
                    decides = diagram.if_else(both, diagram.leaf(older), decides);
                }
            }
        }
    }
    return decides;
}

std::optional<std::uint32_t> decision(const Filters& oldest_first, const seccomp_data& call) {
    std::uint32_t decides = SECCOMP_RET_ALLOW;
    for (auto filter = oldest_first.rbegin(); filter != oldest_first.rend(); ++filter) {
        const auto returned = policy::run(*filter, call);
        if (!returned) {
            return std::nullopt;
        }
        if (strictness(*returned) < strictness(decides)) {
            decides = *returned;
        }
    }
    return decides;
}

Told<std::optional<Difference>> difference(const Filters& filters, const Filters& wanted) {
    return decided([&]() -> std::optional<Difference> {
        Meaning meaning{policy::Policy{}, {}, nullptr};
        const auto is = meaning_of(meaning, filters);
        const auto bits = meaning.diagram().find_difference(is, meaning_of(meaning, wanted));
        if (!bits) {
            return std::nullopt;
        }
        const auto call = meaning.call(*bits).data;
        return Difference{call, decision(wanted, call).value_or(0), decision(filters, call).value_or(0)};
    });
}

Told<std::optional<Difference>> difference(const Filters& filters, const policy::Policy& wanted,
                                           policy::Arch arch, const policy::Bindings& bindings) {
    return decided([&]() -> std::optional<Difference> {
        std::vector<std::string> params;
        for (const auto& param : wanted.params) {
            params.push_back(param.name);
        }
        Meaning meaning{wanted, params, &bindings};
        const auto is = meaning_of(meaning, filters);
        const auto bits = meaning.diagram().find_difference(is, meaning.of_text(wanted, arch));
        if (!bits) {
            return std::nullopt;
        }
        const auto call = meaning.call(*bits).data;
        return Difference{call, policy::evaluate(wanted, arch, bindings, call).action.value(),
                          decision(filters, call).value_or(0)};
    });
}

Told<std::optional<Difference>> difference(const Filters& filters, const policy::Combined& wanted,
                                           policy::Arch arch, const policy::Bindings& bindings) {
    if (filters.size() != 1) {
        return tl::unexpected{CannotTell{fmt::format(
            "the policies of a directory are one filter, and this process has {}", filters.size())}};
    }
    return decided([&]() -> std::optional<Difference> {
        auto prover = policy::Prover::make(wanted, arch, bindings);
        if (!prover) {
            throw policy::Error{prover.error()};
        }
        const auto found = prover->difference(filters.front());
        if (!found) {
            return std::nullopt;
        }
        return Difference{found->data, policy::evaluate(wanted, arch, bindings, found->data).action.value(),
                          decision(filters, found->data).value_or(0)};
    });
}

} // namespace cloister::audit
