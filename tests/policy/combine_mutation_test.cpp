// SPDX-License-Identifier: MIT
// Each constant and jump of the combined program is changed in turn, as in mutation_test.cpp.
#include "combined_calls.h"
#include "mutants.h"

namespace cloister::policy {
namespace {

// Every edge, each argument moved to each side of what is compared, from its own place and from all around;
// every number, from each place and from elsewhere.
std::vector<seccomp_data> probes(const Combined& combined, Arch arch) {
    std::vector<seccomp_data> calls;
    const auto from = interesting_addresses(combined);
    for (const auto& edge : calls_at_the_edges(combined, arch)) {
        add_probes(calls, edge);
        for (const auto address : from) {
            calls.push_back(edge);
            calls.back().instruction_pointer = address;
        }
    }
    for (int number = -2; number < 520; ++number) {
        for (const auto* name : {"listener_return", "clone_return", "setup_return", "buffer"}) {
            const auto address = addresses.at(name);
            calls.push_back({number, audit_arch(abi_of(arch)), address, {}});
            calls.push_back({number | static_cast<int>(x32_bit), audit_arch(abi_of(arch)), address, {}});
            calls.push_back({number, audit_arch(Abi::i386), address, {}});
        }
    }
    return calls;
}

class CombinedMutants : public testing::TestWithParam<Arch> {};

TEST_P(CombinedMutants, AreCaughtOrAreEqual) {
    const auto combined = shipped_together();
    const auto program = compile(combined, GetParam(), addresses).value();
    const auto calls = probes(combined, GetParam());
    std::vector<std::optional<std::uint32_t>> right;
    for (const auto& call : calls) {
        right.push_back(run(program, call));
        ASSERT_EQ(right.back(), evaluate(combined, GetParam(), addresses, call).action.value());
    }
    auto prover = Prover::make(combined, GetParam(), addresses);
    ASSERT_TRUE(prover);
    Tally tally;
    for (std::size_t at = 0; at < program.size(); at += instrumented ? 7 : 1) {
        for (const auto& mutant : mutants_of(program, at)) {
            const auto& i = mutant[at];
            const auto name = fmt::format("instruction {}: jt {} jf {} k 0x{:x}", at, i.jt, i.jf, i.k);
            try {
                if (const auto call = prover->difference(mutant)) {
                    EXPECT_NE(run(mutant, call->data),
                              evaluate(combined, GetParam(), addresses, call->data).action.value())
                        << name;
                    ++tally.caught;
                    continue;
                }
            } catch (const std::invalid_argument&) {
                ++tally.refused; // not a program that the kernel would take
                continue;
            }
            ++tally.equal;
            for (std::size_t c = 0; c < calls.size(); ++c) {
                ASSERT_EQ(Action::of(run(mutant, calls[c]).value()), Action::of(right[c].value()))
                    << name << ' ' << describe(calls[c]);
            }
        }
    }
    tally.print(program.size(), calls.size());
    EXPECT_GT(3 * (tally.caught + tally.refused), tally.all());
}
INSTANTIATE_TEST_SUITE_P(Each, CombinedMutants, testing::Values(Arch::x86_64, Arch::aarch64),
                         [](const auto& test) { return std::string{to_string(test.param)}; });

// The texts too: a number or a parameter that is another is not what the program says.
TEST(CombinedMutantsOfTheText, AreCaught) {
    const auto combined = shipped_together();
    const auto program = compile(combined, native_arch, addresses).value();
    std::size_t caught = 0;
    const auto differs = [&](const Combined& mutant) {
        ++caught;
        return differ(prove(mutant, native_arch, addresses, program));
    };
    for (std::size_t p = 0; p <= combined.at_call_sites.size(); ++p) {
        auto mutant = combined;
        auto& policy = p < mutant.at_call_sites.size() ? mutant.at_call_sites[p] : mutant.elsewhere;
        for (std::size_t r = 0; r < policy.rules.size(); ++r) {
            for (std::size_t c = 0; c < policy.rules[r].conditions.size(); ++c) {
                auto& condition = policy.rules[r].conditions[c];
                if (condition.op == Op::any) {
                    continue;
                }
                const auto before = condition.operand;
                condition.operand = {before.param ? 12345 : before.value ^ 1U, std::nullopt, {}};
                EXPECT_TRUE(differs(mutant)) << policy.name << " line " << policy.rules[r].where.line;
                condition.operand = before;
            }
        }
    }
    EXPECT_GT(caught, 60U);
}

} // namespace
} // namespace cloister::policy
