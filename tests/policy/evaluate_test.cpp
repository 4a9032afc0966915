// SPDX-License-Identifier: MIT
// The two interpreters where the proofs lean on them: what they read, and what they refuse to guess.
#include "fixture.h"

#include <cstddef>

namespace cloister::policy {
namespace {

constexpr sock_filter load(std::uint32_t offset) {
    return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset);
}
constexpr sock_filter give(std::uint32_t value) {
    return BPF_STMT(BPF_RET | BPF_K, value);
}

/// A program of an instruction that jumps, which returns 1 if it is taken, else 0.
std::optional<std::uint32_t> taken(std::uint16_t jump, std::uint32_t k, int number) {
    const Program program = {load(0), BPF_JUMP(static_cast<std::uint16_t>(BPF_JMP | jump | BPF_K), k, 0, 1),
                             give(1), give(0)};
    return run(program, {.nr = number, .arch = 0, .instruction_pointer = 0, .args = {}});
}

TEST(Run, JumpsAsTheKernelDoes) {
    EXPECT_EQ(taken(BPF_JEQ, 7, 7), 1U);
    EXPECT_EQ(taken(BPF_JEQ, 7, 8), 0U);
    EXPECT_EQ(taken(BPF_JGT, 7, 7), 0U);
    EXPECT_EQ(taken(BPF_JGT, 7, 8), 1U);
    EXPECT_EQ(taken(BPF_JGE, 7, 6), 0U);
    EXPECT_EQ(taken(BPF_JGE, 7, 7), 1U);
    EXPECT_EQ(taken(BPF_JSET, 6, 9), 0U);
    EXPECT_EQ(taken(BPF_JSET, 6, 10), 1U);
    EXPECT_EQ(taken(BPF_JGT, 0x7fffffff, -1), 1U) << "without a sign";
    const Program over_one = {BPF_STMT(BPF_JMP | BPF_JA, 1), give(1), give(2)};
    EXPECT_EQ(run(over_one, {}), 2U);
}

TEST(Run, ReadsEachWordOfTheCallAndNothingBeyond) {
    const seccomp_data call{1, 2, 0x400000003, {5, 6, 7, 8, 9, 0xa0000000b}};
    const auto nothing_at = [&](std::uint32_t offset) { return !run(Program{load(offset), give(1)}, call); };
    const auto is_at = [&](std::uint32_t offset, std::uint32_t value) {
        return run(Program{load(offset), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1), give(1), give(0)},
                   call) == 1U;
    };
    EXPECT_TRUE(is_at(0, 1));
    EXPECT_TRUE(is_at(4, 2));
    EXPECT_TRUE(is_at(8, 3));
    EXPECT_TRUE(is_at(12, 4));
    EXPECT_TRUE(is_at(56, 0xb));
    EXPECT_TRUE(is_at(60, 0xa));
    EXPECT_TRUE(nothing_at(64));
    EXPECT_TRUE(nothing_at(0xfffffffc));
    EXPECT_TRUE(nothing_at(2));
}

TEST(Run, RefusesWhatItCannotInterpret) {
    EXPECT_FALSE(run({}, {}));
    EXPECT_FALSE(run(Program{load(0)}, {})) << "it runs off its end";
    EXPECT_FALSE(run(Program{BPF_STMT(BPF_JMP | BPF_JA, 5), give(1)}, {})) << "it jumps beyond its end";
    EXPECT_FALSE(run(Program{BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), give(1)}, {}));
    EXPECT_FALSE(run(Program{BPF_STMT(BPF_ST, 16), give(1)}, {}));
    EXPECT_FALSE(run(Program{BPF_STMT(BPF_RET | BPF_X, 0)}, {}));
    EXPECT_FALSE(run(Program{BPF_STMT(BPF_ALU | BPF_DIV | BPF_X, 0), give(1)}, {})) << "X is 0";
    EXPECT_FALSE(run(Program{BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 32), give(1)}, {}));
}

TEST(Evaluate, NoCallMatchesAnUnboundAddress) {
    const auto policy = parsed("allow munmap addr == $buffer  len any : x\n");
    seccomp_data call{};
    call.nr = static_cast<int>(*number_of(Abi::x86_64, "munmap"));
    call.arch = audit_arch(Abi::x86_64);
    EXPECT_EQ(evaluate(policy, Arch::x86_64, {}, call).action.text(), "kill-process");
    EXPECT_EQ(failing_condition(policy, policy.rules.at(0), Arch::x86_64, {}, call), 0U);
    call.args[0] = addresses.at("buffer");
    EXPECT_EQ(evaluate(policy, Arch::x86_64, {}, call).action.text(), "kill-process");
    EXPECT_EQ(evaluate(policy, Arch::x86_64, addresses, call).action.text(), "allow");
}

} // namespace
} // namespace cloister::policy
