// SPDX-License-Identifier: MIT
// Each constant and jump of the shipped programs is changed in turn. The proof must catch every change of
// meaning; what it calls equal is shown to be so by the interpreters.
#include "mutants.h"

namespace cloister::policy {
namespace {

struct Shipped {
    const char* name;
    Arch arch;
};
class Mutants : public testing::TestWithParam<Shipped> {};

// From the edge of each rule, each argument moved to each side of what is compared, in each half; each number
// and ABI. A mutant differs from the program in one instruction, so one such step shows what it changes.
std::vector<seccomp_data> probes(const Policy& policy, Arch arch) {
    std::vector<seccomp_data> calls;
    for (const auto& rule : policy.rules) {
        seccomp_data call{};
        call.arch = audit_arch(abi_of(arch));
        call.nr = static_cast<int>(number_of(abi_of(arch), rule.prototype->name).value());
        for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
            const auto& operand = rule.conditions[i].operand;
            call.args[rule.prototype->index(i, arch)] =
                operand.param ? addresses.at(policy.params.at(*operand.param).name) : operand.value;
        }
        add_probes(calls, call);
        for (const auto abi : {audit_arch(Abi::i386), audit_arch(Abi::x86_64), audit_arch(Abi::aarch64)}) {
            for (const auto bits : {0U, x32_bit}) {
                auto foreign = call;
                foreign.arch = abi;
                foreign.nr = static_cast<int>(static_cast<std::uint32_t>(call.nr) | bits);
                calls.push_back(foreign);
            }
        }
    }
    for (int number = -2; number < 520; ++number) {
        calls.push_back({number, audit_arch(abi_of(arch)), 0, {}});
        calls.push_back({number | static_cast<int>(x32_bit), audit_arch(abi_of(arch)), 0, {}});
        calls.push_back({number, audit_arch(Abi::i386), 0, {}});
    }
    return calls;
}

TEST_P(Mutants, AreCaughtOrAreEqual) {
    const auto policy = shipped(GetParam().name);
    const auto program = compile(policy, GetParam().arch, addresses).value();
    const auto calls = probes(policy, GetParam().arch);
    auto prover = Prover::make(policy, GetParam().arch, addresses);
    ASSERT_TRUE(prover);
    Tally tally;
    for (std::size_t at = 0; at < program.size(); at += instrumented ? 7 : 1) {
        for (const auto& mutant : mutants_of(program, at)) {
            const auto& i = mutant[at];
            const auto name = fmt::format("instruction {}: jt {} jf {} k 0x{:x}", at, i.jt, i.jf, i.k);
            try {
                if (const auto call = prover->difference(mutant)) {
                    // The witness is one: the interpreters disagree on it.
                    EXPECT_NE(run(mutant, call->data),
                              evaluate(policy, GetParam().arch, addresses, call->data).action.value())
                        << name;
                    ++tally.caught;
                    continue;
                }
            } catch (const std::invalid_argument&) {
                ++tally.refused; // not a program that the kernel would take
                continue;
            }
            ++tally.equal;
            for (const auto& call : calls) {
                ASSERT_EQ(Action::of(run(mutant, call).value()), Action::of(run(program, call).value()))
                    << name << ' ' << describe(call);
            }
        }
    }
    tally.print(program.size(), calls.size());
    EXPECT_GT(3 * (tally.caught + tally.refused), tally.all());
    // jt and jf of instructions that do not jump mean nothing, and mutants of dead halves stay equal; nothing
    // else may.
}
INSTANTIATE_TEST_SUITE_P(Each, Mutants,
                         testing::Values(Shipped{"echo", Arch::x86_64}, Shipped{"echo", Arch::aarch64},
                                         Shipped{"discard", Arch::x86_64}, Shipped{"discard", Arch::aarch64},
                                         Shipped{"daytime", Arch::x86_64}, Shipped{"daytime", Arch::aarch64},
                                         Shipped{"static", Arch::x86_64}, Shipped{"static", Arch::aarch64},
                                         Shipped{"metrics", Arch::x86_64}, Shipped{"metrics", Arch::aarch64},
                                         Shipped{"listener", Arch::x86_64},
                                         Shipped{"listener", Arch::aarch64}, Shipped{"setup", Arch::x86_64},
                                         Shipped{"setup", Arch::aarch64}, Shipped{"clone", Arch::x86_64},
                                         Shipped{"clone", Arch::aarch64}),
                         [](const auto& test) {
                             return fmt::format("{}_{}", test.param.name, to_string(test.param.arch));
                         });

// The text too: a policy in which one number is another is no longer what the program says.
TEST(MutantsOfTheText, AreCaught) {
    std::size_t caught = 0;
    for (const auto* name :
         {"setup", "clone", "listener", "echo", "discard", "daytime", "static", "metrics"}) {
        const auto policy = shipped(name);
        const auto program = compile(policy, native_arch, addresses).value();
        for (std::size_t r = 0; r < policy.rules.size(); ++r) {
            for (std::size_t c = 0; c < policy.rules[r].conditions.size(); ++c) {
                if (policy.rules[r].conditions[c].op == Op::any) {
                    continue;
                }
                auto mutant = policy;
                auto& operand = mutant.rules[r].conditions[c].operand;
                operand = {operand.param ? 12345 : operand.value ^ 1U, std::nullopt, {}};
                EXPECT_TRUE(differ(prove(mutant, native_arch, addresses, program)))
                    << name << " line " << mutant.rules[r].where.line;
                ++caught;
            }
        }
    }
    EXPECT_GT(caught, 60U);
}

} // namespace
} // namespace cloister::policy
