// SPDX-License-Identifier: MIT
#include "audit/bindings.h"

#include <cstddef>
#include <linux/seccomp.h>
#include <map>

namespace cloister::audit {

namespace {

// `compiled`: makes the program for such bindings.
template <class Compile>
std::optional<policy::Bindings> found_in(const policy::Program& program,
                                         const std::vector<const policy::Policy*>& policies,
                                         const Compile& compiled) {
    struct Half {
        std::string name;
        unsigned shift;
    };
    policy::Bindings markers;
    std::map<std::uint32_t, Half> halves;
    std::uint32_t next = 0x6d61'0000; // words that no policy contains
    for (const auto* policy : policies) {
        for (const auto& param : policy->params) {
            if (markers.find(param.name) == markers.end()) {
                const auto low = next++;
                const auto high = next++;
                halves[low] = {param.name, 0};
                halves[high] = {param.name, 32};
                markers[param.name] = std::uint64_t{high} << 32U | low;
            }
        }
    }
    const auto made = compiled(markers);
    if (!made || made->size() != program.size()) {
        return std::nullopt;
    }
    policy::Bindings found;
    std::map<std::uint32_t, std::uint32_t> words;
    for (std::size_t at = 0; at < program.size(); ++at) {
        const auto& ours = (*made)[at];
        const auto& is = program[at];
        if (ours.code != is.code || ours.jt != is.jt || ours.jf != is.jf) {
            return std::nullopt;
        }
        const auto half = halves.find(ours.k);
        if (half == halves.end()) {
            continue; // the same or not: the proof will tell
        }
        if (const auto [word, first] = words.emplace(ours.k, is.k); !first) {
            if (word->second != is.k) {
                return std::nullopt;
            }
        } else {
            found[half->second.name] |= std::uint64_t{is.k} << half->second.shift;
        }
    }
    return words.size() == halves.size() ? std::optional{found} : std::nullopt;
}

} // namespace

std::optional<policy::Bindings> bindings_in(const policy::Combined& policies, policy::Arch arch,
                                            const policy::Program& program) {
    return found_in(program, policy::all_of(policies), [&](const policy::Bindings& markers) {
        return policy::compile(policies, arch, markers);
    });
}

std::optional<policy::Bindings> bindings_in(const policy::Policy& policy, policy::Arch arch,
                                            const policy::Program& program) {
    return found_in(program, {&policy},
                    [&](const policy::Bindings& markers) { return policy::compile(policy, arch, markers); });
}

std::optional<policy::Bindings> call_sites_in(const policy::Combined& policies,
                                              const policy::Program& program) {
    constexpr std::uint32_t low = offsetof(seccomp_data, instruction_pointer);
    constexpr auto high = low + sizeof(std::uint32_t);
    policy::Bindings found;
    std::size_t at = 3; // behind the ABI (policy::assemble)
    const auto compared = [&](std::uint32_t offset) -> std::optional<std::uint32_t> {
        if (at + 1 >= program.size() || program[at].code != (BPF_LD | BPF_W | BPF_ABS) ||
            program[at].k != offset || program[at + 1].code != (BPF_JMP | BPF_JEQ | BPF_K)) {
            return std::nullopt;
        }
        at += 2;
        return program[at - 1].k;
    };
    for (const auto& policy : policies.at_call_sites) {
        const auto low_half = compared(low);
        const auto high_half = low_half ? compared(high) : std::nullopt;
        if (!high_half) {
            return std::nullopt;
        }
        found[std::string{policy.at_name()}] = std::uint64_t{*high_half} << 32U | *low_half;
        ++at; // the jump to its policy
    }
    return found;
}

} // namespace cloister::audit
