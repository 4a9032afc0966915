// SPDX-License-Identifier: MIT
#pragma once

#include "fixture.h"

namespace cloister::policy {

/// The call, and each of its arguments moved to each side of what is compared, in each half. A mutant differs
/// from the program in one instruction, so one such step shows what it changes.
inline void add_probes(std::vector<seccomp_data>& calls, seccomp_data call) {
    calls.push_back(call);
    for (auto& argument : call.args) {
        const std::uint64_t v = argument;
        for (const std::uint64_t other : {v - 1, v + 1, v ^ 0x100000000, v | 0x8000000000000000,
                                          ~std::uint64_t{0}, std::uint64_t{0}, v ^ 2, v | 0xffffffff}) {
            argument = other;
            calls.push_back(call);
        }
        argument = v;
    }
}

inline std::vector<Program> mutants_of(const Program& program, std::size_t at) {
    std::vector<Program> mutants;
    const auto add = [&](auto change) {
        auto mutant = program;
        change(mutant[at]);
        if (std::memcmp(&mutant[at], &program[at], sizeof(sock_filter)) != 0) {
            mutants.push_back(std::move(mutant));
        }
    };
    const auto k = program[at].k;
    for (const auto other : {k + 1, k - 1, k ^ 0x80000000, k ^ 4, k ^ 8, ~k, 0U}) {
        add([other](sock_filter& i) { i.k = other; });
    }
    for (const auto step : {1, -1, 2, 3}) {
        add([step](sock_filter& i) { i.jt = static_cast<std::uint8_t>(i.jt + step); });
        add([step](sock_filter& i) { i.jf = static_cast<std::uint8_t>(i.jf + step); });
    }
    add([](sock_filter& i) { std::swap(i.jt, i.jf); });
    add([](sock_filter& i) { i.jt = i.jf; });
    add([](sock_filter& i) { i.jf = i.jt; });
    return mutants;
}

struct Tally {
    std::size_t caught = 0;
    std::size_t refused = 0;
    std::size_t equal = 0;
    [[nodiscard]] std::size_t all() const { return caught + refused + equal; }
    void print(std::size_t instructions, std::size_t calls) const {
        fmt::print(
            "{} instructions, {} mutants: {} caught with a witness, {} refused, {} equal (over {} calls "
            "each)\n",
            instructions, all(), caught, refused, equal, calls);
    }
};

} // namespace cloister::policy
