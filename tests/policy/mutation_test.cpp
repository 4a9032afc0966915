// SPDX-License-Identifier: MIT
// Each constant and jump of the shipped programs is changed in turn. The proof must catch every change of
// meaning; what it calls equal is shown to be so by the interpreters.
#include "fixture.h"

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
    const auto add = [&](seccomp_data call) {
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
    };
    for (const auto& rule : policy.rules) {
        seccomp_data call{};
        call.arch = audit_arch(abi_of(arch));
        call.nr = static_cast<int>(number_of(abi_of(arch), rule.prototype->name).value());
        for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
            const auto& operand = rule.conditions[i].operand;
            call.args[rule.prototype->index(i, arch)] =
                operand.param ? addresses.at(policy.params.at(*operand.param).name) : operand.value;
        }
        add(call);
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

std::vector<Program> mutants_of(const Program& program, std::size_t at) {
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

TEST_P(Mutants, AreCaughtOrAreEqual) {
    const auto policy = shipped(GetParam().name);
    const auto program = compile(policy, GetParam().arch, addresses).value();
    const auto calls = probes(policy, GetParam().arch);
    auto prover = Prover::make(policy, GetParam().arch, addresses);
    ASSERT_TRUE(prover);
    std::size_t caught = 0;
    std::size_t refused = 0;
    std::size_t equal = 0;
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
                    ++caught;
                    continue;
                }
            } catch (const std::invalid_argument&) {
                ++refused; // not a program that the kernel would take
                continue;
            }
            ++equal;
            for (const auto& call : calls) {
                ASSERT_EQ(run(mutant, call), run(program, call)) << name << ' ' << describe(call);
            }
        }
    }
    fmt::print(
        "{} instructions, {} mutants: {} caught with a witness, {} refused, {} equal (over {} calls each)\n",
        program.size(), caught + refused + equal, caught, refused, equal, calls.size());
    EXPECT_GT(3 * (caught + refused), caught + refused + equal);
    // jt and jf of instructions that do not jump mean nothing, and mutants of dead halves stay equal; nothing
    // else may.
}
INSTANTIATE_TEST_SUITE_P(
    Each, Mutants,
    testing::Values(Shipped{"connection", Arch::x86_64}, Shipped{"connection", Arch::aarch64},
                    Shipped{"listener", Arch::x86_64}, Shipped{"listener", Arch::aarch64}),
    [](const auto& test) { return fmt::format("{}_{}", test.param.name, to_string(test.param.arch)); });

// The text too: a policy in which one number is another is no longer what the program says.
TEST(MutantsOfTheText, AreCaught) {
    const auto policy = shipped("listener");
    const auto program = compile(policy, native_arch, addresses).value();
    std::size_t caught = 0;
    for (std::size_t r = 0; r < policy.rules.size(); ++r) {
        for (std::size_t c = 0; c < policy.rules[r].conditions.size(); ++c) {
            if (policy.rules[r].conditions[c].op == Op::any) {
                continue;
            }
            auto mutant = policy;
            auto& operand = mutant.rules[r].conditions[c].operand;
            operand = {operand.param ? 12345 : operand.value ^ 1U, std::nullopt, {}};
            EXPECT_FALSE(prove(mutant, native_arch, addresses, program))
                << "line " << mutant.rules[r].where.line;
            ++caught;
        }
    }
    EXPECT_GT(caught, 60U);
}

} // namespace
} // namespace cloister::policy
