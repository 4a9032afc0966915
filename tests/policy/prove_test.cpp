// SPDX-License-Identifier: MIT
// The proofs about bytes.
#include "fixture.h"

#include <cstddef>
#include <random>

namespace cloister::policy {
namespace {

struct Shipped {
    const char* name;
    Arch arch;
};
class ShippedProgram : public testing::TestWithParam<Shipped> {
  public:
    Policy policy = shipped(GetParam().name);
    Program program = compile(policy, GetParam().arch, addresses).value();
};
INSTANTIATE_TEST_SUITE_P(Each, ShippedProgram,
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

TEST_P(ShippedProgram, IsProvedEqualToItsText) {
    const auto proved = prove(policy, GetParam().arch, addresses, program);
    EXPECT_TRUE(proved) << proved.error().text();
}

TEST_P(ShippedProgram, IsTheSameEachTime) {
    const auto again = compile(policy, GetParam().arch, addresses).value();
    ASSERT_EQ(program.size(), again.size());
    EXPECT_EQ(std::memcmp(program.data(), again.data(), program.size() * sizeof(sock_filter)), 0);
}

TEST_P(ShippedProgram, IsNotEqualForAnotherAddressOrAbi) {
    const auto other = GetParam().arch == Arch::x86_64 ? Arch::aarch64 : Arch::x86_64;
    EXPECT_TRUE(differ(prove(policy, other, addresses, program)));
    for (const auto& param : policy.params) {
        for (const auto bit : {0U, 12U, 31U, 32U, 63U}) {
            auto moved = addresses;
            moved[param.name] ^= std::uint64_t{1} << bit;
            if (moved[param.name] == 0) { // a size of one bit
                continue;
            }
            // Alone, a policy holds wherever a call comes from: its place is no part of its meaning.
            const auto proved = prove(policy, GetParam().arch, moved, program);
            EXPECT_EQ(differ(proved), param.name != policy.at_name()) << param.name << " bit " << bit;
        }
    }
}

std::string prove_of(const Policy& policy, const Program& program, Arch arch = Arch::x86_64) {
    const auto proved = prove(policy, arch, addresses, program);
    return proved ? "equal" : placed(proved.error());
}

TEST(Prove, NeedsEveryAddressAndNoneIsZero) {
    const auto policy = shipped("echo");
    const auto program = compile(policy, native_arch, addresses).value();
    EXPECT_EQ(placed(compile(policy, native_arch, {}).error()), "10:27: the parameter $buffer is not bound");
    EXPECT_EQ(placed(prove(policy, native_arch, {}, program).error()),
              "0:0: the parameter $buffer is not bound");
    EXPECT_EQ(placed(prove(policy, native_arch, {{"buffer", 0}}, program).error()),
              "0:0: the parameter $buffer is bound to 0");
}

TEST(Prove, ShowsTheCallThatTellsTheTwoApart) {
    const auto policy = parsed("allow close fd == 7 : x\n");
    const auto wider = compile(parsed("allow close fd <= 7 : x\n"), Arch::x86_64, addresses).value();
    EXPECT_EQ(prove_of(policy, wider),
              "0:0: program and policy differ: for close(fd=0) on x86_64 the program "
              "returns allow, the policy says kill-process");
    const auto narrower = compile(parsed("allow getpid : x\n"), Arch::x86_64, addresses).value();
    EXPECT_EQ(prove_of(policy, narrower),
              "6:1: program and policy differ: for close(fd=7) on x86_64 the program "
              "returns kill-process, the policy says allow");
}

// A hand-written filter that compares 32 bits of a 64-bit register: the mistake of CVE-2019-10063 and its
// like.
TEST(Prove, CatchesATruncatedComparison) {
    const auto policy =
        parsed("allow close fd == 7 : x\n", "policy p 1\nsyntax 1\narch x86_64\nelse kill-process\n");
    const auto abi = audit_arch(Abi::x86_64);
    const Program truncated = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4),  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, abi, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 3, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 7, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, 0x80000000),  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    EXPECT_EQ(prove_of(policy, truncated),
              "0:0: program and policy differ: for close(fd=0x100000007) on x86_64 the "
              "program returns allow, the policy says kill-process");
    Program right = truncated;
    right.insert(right.begin() + 4,
                 {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 20), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2)});
    right[1].jf = 6;
    right[3].jf = 4;
    EXPECT_EQ(prove_of(policy, right), "equal");
    right[1] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, abi, 0, 0); // any ABI
    EXPECT_EQ(
        prove_of(policy, right),
        "0:0: program and policy differ: for call 3(argument 1=7) on ABI 0x0 the program returns allow, "
        "the policy says kill-process");
}

TEST(Prove, CatchesALeakThroughTheInstructionPointer) {
    const auto policy = parsed("", "policy p 1\nsyntax 1\narch x86_64\nelse kill-process\n");
    const Program back_door = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 12), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xdead, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW), BPF_STMT(BPF_RET | BPF_K, 0x80000000)};
    EXPECT_EQ(prove_of(policy, back_door),
              "0:0: program and policy differ: for call 0() on ABI 0x0 from 0xdead00000000 the "
              "program returns allow, the policy says kill-process");
}

TEST(Prove, FollowsMasks) {
    const auto policy = parsed("allow mprotect start any  len any  prot in PROT_READ|PROT_WRITE : x\n");
    const auto program = compile(policy, Arch::x86_64, addresses).value();
    EXPECT_EQ(prove_of(policy, program), "equal");
    const auto other = parsed("allow mprotect start any  len any  prot in PROT_READ|PROT_EXEC : x\n");
    EXPECT_EQ(prove_of(other, program),
              "0:0: program and policy differ: for mprotect(start=0, len=0, prot=2) on x86_64 the "
              "program returns allow, the policy says kill-process");
}

TEST(Prove, FollowsATestOfBits) {
    const auto by_bits = [](std::uint32_t bits) {
        return Program{
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, audit_arch(Abi::x86_64), 0, 6),
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 3, 0, 4),
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 20),
            BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0xffffffff, 2, 0),
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16),
            BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, 0x80000000),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
    };
    const auto policy =
        parsed("allow close fd in 0x5 : x\n", "policy p 1\nsyntax 1\narch x86_64\nelse kill-process\n");
    EXPECT_EQ(prove_of(policy, by_bits(~0x5U)), "equal");
    EXPECT_EQ(prove_of(policy, by_bits(~0x7U)),
              "0:0: program and policy differ: for close(fd=2) on x86_64 the "
              "program returns allow, the policy says kill-process");
}

TEST(Prove, NeedsAnAbiThatThePolicyLists) {
    const auto policy = parsed("", "policy p 1\nsyntax 1\narch x86_64\nelse kill-process\n");
    EXPECT_EQ(prove_of(policy, compile(policy, Arch::x86_64, {}).value(), Arch::aarch64),
              "0:0: the policy does not list aarch64");
}

TEST(Examples, NeedEveryAddress) {
    const auto policy = parsed("allow munmap addr == $buffer  len any : x\n");
    const auto pattern = parse_pattern(policy, "munmap").value();
    EXPECT_TRUE(examples(policy, pattern, native_arch, addresses));
    const auto unbound = examples(policy, pattern, native_arch, {});
    ASSERT_FALSE(unbound);
    EXPECT_EQ(placed(unbound.error()), "0:0: the parameter $buffer is not bound");
}

// Where a step of the proof is one too many, what was to be proved is unproved: no rule may stand for it.
TEST(Prove, GivesUpAfterAFixedNumberOfSteps) {
    std::mt19937_64 random{1};
    std::string lines;
    for (unsigned i = 0; i < 60; ++i) {
        lines += "allow recvfrom";
        for (const auto* name : {"fd", "buf", "len", "flags", "addr", "addrlen"}) {
            lines += random() % 3 == 0 ? fmt::format("  {} any", name)
                                       : fmt::format("  {} in 0x{:x}", name, random() & 0xffffffffU);
        }
        lines += " : x\n";
    }
    const auto policy = parsed(lines);
    const std::string gives_up = "0:0: cannot be proved: the decision diagram took more steps than its limit";
    EXPECT_EQ(prove_of(policy, {}), gives_up);
    const auto combined = combine({policy}).value();
    EXPECT_EQ(placed(prove(combined, native_arch, {{"buffer", 1}}, {}).error()), gives_up);
}

TEST(Prove, GivesUpAtAFixedNumberOfNodes) {
    Diagram diagram;
    const auto grow = [&] {
        for (std::uint32_t value = 0;; ++value) {
            (void)diagram.leaf(value);
        }
    };
    try {
        grow();
    } catch (const Diagram::TooLarge& error) {
        EXPECT_STREQ(error.what(), "the decision diagram grew beyond its limit");
    }
}

// libseccomp 2.5.4 gets many such unions wrong (GHSA-4q85-33p6-j5g6); one that it gets wrong must not pass.
TEST(Prove, DecidesEachUnionOfComparisonsOnOneArgument) {
    std::size_t refused = 0;
    const std::vector<std::uint64_t> values = {0,           1,           0x7fffffff,     0xffffffff,
                                               0x100000000, 0x100000001, 0x1234500000000};
    for (const auto* op : {"<=", ">=", "=="}) {
        for (const auto* other : {"<=", ">=", "in"}) {
            for (const auto a : values) {
                for (const auto b : values) {
                    const auto text = fmt::format(
                        "allow munmap addr {} {}  len any : x\nallow munmap addr {} {}  len any : y\n", op, a,
                        other, b);
                    if (std::string_view{op} == other && a == b) {
                        continue;
                    }
                    const auto policy = parsed(text);
                    const auto program = compile(policy, Arch::x86_64, addresses);
                    if (!program) {
                        continue;
                    }
                    // The truth by the interpreters, at every boundary of both.
                    bool same = true;
                    for (const auto v : values) {
                        for (const auto near : {v - 1, v, v + 1, v | 0x8000000000000000, v ^ 0x100000000}) {
                            const seccomp_data call{11, audit_arch(Abi::x86_64), 0, {near, 0, 0, 0, 0, 0}};
                            same = same && run(*program, call) ==
                                               evaluate(policy, Arch::x86_64, {}, call).action.value();
                        }
                    }
                    EXPECT_EQ(prove_of(policy, *program) == "equal", same) << text;
                    refused += same ? 0 : 1;
                }
            }
        }
    }
    RecordProperty("refused", static_cast<int>(refused));
    EXPECT_GT(refused, 0U) << "libseccomp " << libseccomp_version() << " compiles all of them right?";
}

struct Unprovable {
    const char* claim;
    Program program;
    const char* error;
};
class CannotProve : public testing::TestWithParam<Unprovable> {};
TEST_P(CannotProve, InstructionsOutsideTheFragment) {
    EXPECT_EQ(prove_of(parsed(""), GetParam().program),
              std::string{"0:0: cannot be proved: "} + GetParam().error);
}
const sock_filter kill_call = BPF_STMT(BPF_RET | BPF_K, 0x80000000);
INSTANTIATE_TEST_SUITE_P(
    Each, CannotProve,
    testing::Values(
        Unprovable{"Nothing", {}, "a program of 0 instructions"},
        Unprovable{"TooMuch", Program(4097, kill_call), "a program of 4097 instructions"},
        Unprovable{"NoReturn",
                   {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)},
                   "instruction 0 (code 0x20 jt 0 jf 0 k 0x0): the program runs off its end"},
        Unprovable{"UnalignedLoad",
                   {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), kill_call},
                   "instruction 0 (code 0x20 jt 0 jf 0 k 0x2): loads from outside seccomp_data"},
        Unprovable{"LoadBeyond",
                   {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), kill_call},
                   "instruction 0 (code 0x20 jt 0 jf 0 k 0x40): loads from outside seccomp_data"},
        Unprovable{"HalfWordLoad",
                   {BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), kill_call},
                   "instruction 0 (code 0x28 jt 0 jf 0 k 0x0): seccomp(2) takes no such instruction"},
        Unprovable{"MemoryBeyond",
                   {BPF_STMT(BPF_ST, 16), kill_call},
                   "instruction 0 (code 0x02 jt 0 jf 0 k 0x10): there is no such word of scratch memory"},
        Unprovable{"MemoryNotWritten",
                   {BPF_STMT(BPF_LD | BPF_MEM, 3), BPF_STMT(BPF_RET | BPF_A, 0)},
                   "the program reads word 3 of its scratch memory, which it may not have written"},
        Unprovable{"DivisionByZero",
                   {BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), kill_call},
                   "instruction 0 (code 0x34 jt 0 jf 0 k 0x0): divides by 0"},
        Unprovable{"ShiftTooFar",
                   {BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 32), kill_call},
                   "instruction 0 (code 0x74 jt 0 jf 0 k 0x20): shifts by more than 31 bits"},
        Unprovable{
            "ProductOfInputs",
            {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_STMT(BPF_MISC | BPF_TAX, 0),
             BPF_STMT(BPF_ALU | BPF_MUL | BPF_X, 0), kill_call},
            "instruction 2 (code 0x2c jt 0 jf 0 k 0x0): cannot be proved: it multiplies, divides or shifts "
            "by what is no fixed number, or divides by one that is no power of two"},
        Unprovable{"ReturnOfAnInput",
                   {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_STMT(BPF_RET | BPF_A, 0)},
                   "instruction 1 (code 0x16 jt 0 jf 0 k 0x0): returns too many values"},
        Unprovable{"JumpOut",
                   {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), kill_call},
                   "instruction 0 (code 0x15 jt 0 jf 1 k 0x0): jumps out of the program"},
        Unprovable{"LongJumpOut",
                   {BPF_STMT(BPF_JMP | BPF_JA, 0xffffffff), kill_call},
                   "instruction 0 (code 0x05 jt 0 jf 0 k 0xffffffff): jumps out of the program"},
        Unprovable{"EvenWhereItIsNeverReached",
                   {kill_call, BPF_STMT(BPF_MISC | 0x40, 0), kill_call},
                   "instruction 1 (code 0x47 jt 0 jf 0 k 0x0): seccomp(2) takes no such instruction"}),
    [](const auto& test) { return test.param.claim; });

} // namespace
} // namespace cloister::policy
