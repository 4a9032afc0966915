// SPDX-License-Identifier: MIT
#pragma once

#include "fixture.h"

namespace cloister::policy {

/// Addresses at and around each place, with one word right and the other wrong, and those of no place at all.
inline std::vector<std::uint64_t> interesting_addresses(const Combined& combined) {
    std::vector<std::uint64_t> found = {
        0,
        1,
        ~std::uint64_t{0},
        0xffffffff,
        0xffffffff00000000,
        0xffffffffff600000, // the page of vsyscalls, and where its calls return to
        0xffffffffff600009,
        0x7fffffffffff};
    for (const auto& policy : combined.at_call_sites) {
        const auto place = addresses.find(policy.at_name())->second;
        found.insert(found.end(),
                     {place, place - 2, place - 1, place + 1, place + 2, place ^ std::uint64_t{1} << 32U,
                      place ^ std::uint64_t{1} << 63U, place ^ 0x80000000, place & 0xffffffff,
                      place & 0xffffffff00000000, place << 32U | place >> 32U, ~place});
        for (const auto& other : combined.at_call_sites) { // the high word of one, the low word of the other
            found.push_back((place & 0xffffffff00000000) |
                            (addresses.find(other.at_name())->second & 0xffffffff));
        }
    }
    return found;
}

/// A call that meets each condition of the rule, as near to its edge as can be, from where its policy speaks.
inline seccomp_data call_of(const Policy& policy, const Rule& rule, Arch arch) {
    seccomp_data call{};
    call.arch = audit_arch(abi_of(arch));
    call.nr = static_cast<int>(number_of(abi_of(arch), rule.prototype->name).value());
    call.instruction_pointer = policy.at ? addresses.find(policy.at_name())->second : 0x7f1234560123;
    for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
        const auto& operand = rule.conditions[i].operand;
        call.args[rule.prototype->index(i, arch)] =
            operand.param ? addresses.at(policy.params.at(*operand.param).name) : operand.value;
    }
    return call;
}

inline std::vector<seccomp_data> calls_at_the_edges(const Combined& combined, Arch arch) {
    std::vector<seccomp_data> calls;
    for (const auto* policy : all_of(combined)) {
        for (const auto& rule : policy->rules) {
            calls.push_back(call_of(*policy, rule, arch));
        }
    }
    return calls;
}

} // namespace cloister::policy
