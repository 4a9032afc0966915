// SPDX-License-Identifier: MIT
#include "audit/stack.h"

#include "audit/difference.h"

#include "policy/evaluate.h"
#include "policy/prove.h"

#include <fmt/format.h>
#include <linux/seccomp.h>

namespace cloister::audit {
namespace {

using policy::Diagram;
using policy::Meaning;

std::uint32_t decision(const Filters& filters, const seccomp_data& call) {
    return audit::decided(filters, policy::native_arch, {}, call).value();
}

template <class Work>
auto told(const Work& work) -> Told<std::invoke_result_t<Work>> {
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

Told<std::optional<Difference>> difference(const Filters& filters, const Filters& wanted) {
    return told([&]() -> std::optional<Difference> {
        Meaning meaning;
        const auto is = meaning.of_filters(filters);
        const auto bits = meaning.diagram().find_difference(is, meaning.of_filters(wanted));
        if (!bits) {
            return std::nullopt;
        }
        const auto call = meaning.call(*bits).data;
        return Difference{call, decision(wanted, call), decision(filters, call)};
    });
}

Told<std::optional<Difference>> difference(const Filters& filters, const policy::Policy& wanted,
                                           policy::Arch arch, const policy::Bindings& bindings) {
    return told([&]() -> std::optional<Difference> {
        std::vector<std::string> params;
        for (const auto& param : wanted.params) {
            params.push_back(param.name);
        }
        Meaning meaning{wanted, params, &bindings};
        const auto is = meaning.of_filters(filters);
        const auto bits = meaning.diagram().find_difference(is, meaning.of_text(wanted, arch));
        if (!bits) {
            return std::nullopt;
        }
        const auto call = meaning.call(*bits).data;
        return Difference{call, policy::evaluate(wanted, arch, bindings, call).action.value(),
                          decision(filters, call)};
    });
}

Told<std::optional<Difference>> difference(const Filters& filters, const policy::Combined& wanted,
                                           policy::Arch arch, const policy::Bindings& bindings) {
    if (filters.size() != 1) {
        return tl::unexpected{CannotTell{fmt::format(
            "the policies of a directory are one filter, and this process has {}", filters.size())}};
    }
    return told([&]() -> std::optional<Difference> {
        auto prover = policy::Prover::make(wanted, arch, bindings);
        if (!prover) {
            throw policy::Error{prover.error()};
        }
        const auto found = prover->difference(filters.front());
        if (!found) {
            return std::nullopt;
        }
        return Difference{found->data, policy::evaluate(wanted, arch, bindings, found->data).action.value(),
                          decision(filters, found->data)};
    });
}

} // namespace cloister::audit
