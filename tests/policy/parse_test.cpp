// SPDX-License-Identifier: MIT
#include "fixture.h"

namespace cloister::policy {
namespace {

TEST(Parse, ReadsEveryStatementOfTheShippedCellPolicy) {
    const auto policy = shipped("echo");
    EXPECT_EQ(policy.name, "echo");
    EXPECT_EQ(policy.version, 3U);
    EXPECT_EQ(policy.under, "");
    EXPECT_FALSE(policy.at);
    EXPECT_EQ(policy.archs, (std::vector{Arch::x86_64, Arch::aarch64}));
    EXPECT_EQ(policy.otherwise, (Action{Action::Kind::kill_process}));
    ASSERT_EQ(policy.params.size(), 1U);
    EXPECT_EQ(policy.params[0].name, "buffer");
    ASSERT_EQ(policy.consts.size(), 1U);
    EXPECT_EQ(policy.consts[0].operand.value, 65536U);
    EXPECT_EQ(policy.rules.size(), 5U);
    EXPECT_EQ(policy.tests.size(), 12U);
    const auto& receive = policy.rules.at(0);
    EXPECT_EQ(receive.prototype->name, "recvfrom");
    EXPECT_EQ(receive.reason, "recv(): read what the client sent");
    EXPECT_EQ(receive.conditions.at(1).operand.param, 0U);
    EXPECT_EQ(receive.conditions.at(2).op, Op::le);
    EXPECT_EQ(policy.sha256.size(), 64U);
}

TEST(Parse, ReadsAtThoughItsParameterFollows) {
    const auto policy = parsed("policy p 1\nsyntax 1\nunder q\nat $here\narch x86_64\nelse kill-process\n"
                               "param $buffer addr : x\nparam $here addr : x\n",
                               "");
    EXPECT_EQ(policy.under, "q");
    EXPECT_EQ(policy.at, 1U);
    EXPECT_EQ(policy.at_name(), "here");
    EXPECT_EQ(policy.at_where.line, 4U);
    EXPECT_EQ(policy.at_where.column, 4U);
    EXPECT_EQ(shipped("listener").at_name(), "listener_return");
    EXPECT_EQ(shipped("echo").at_name(), "");
}

TEST(Parse, HashesTheTextAsItIs) {
    // echo -n '' | sha256sum and friends agree on this one
    EXPECT_EQ(parsed("").sha256, parsed("").sha256);
    EXPECT_NE(parsed("").sha256, parsed("\n").sha256);
}

struct Value {
    const char* text;
    std::uint64_t value;
};
class OperandIs : public testing::TestWithParam<Value> {};
TEST_P(OperandIs, ReadAsThisValue) {
    const auto policy = parsed(fmt::format("const TWO 2 : x\nconst A {} : x\n", GetParam().text));
    EXPECT_EQ(policy.consts.back().operand.value, GetParam().value);
}
INSTANTIATE_TEST_SUITE_P(Each, OperandIs,
                         testing::Values(Value{"0", 0}, Value{"65536", 65536}, Value{"0xff", 255},
                                         Value{"TWO", 2}, Value{"TWO+1", 3}, Value{"0x10+15", 31},
                                         Value{"WNOHANG|__WALL", 0x40000001}, Value{"1|TWO|0x4", 7},
                                         Value{"18446744073709551615", ~std::uint64_t{0}},
                                         Value{"0xffffffffffffffff", ~std::uint64_t{0}},
                                         Value{"SO_RCVTIMEO_OLD", 20}, Value{"CLONE_SETTLS|40", 0x80028}));

TEST(Parse, ReadsEveryOperatorAndAction) {
    const auto policy = parsed(
        "allow mmap addr == 0  len <= 4096  prot in PROT_READ|PROT_WRITE  flags any  fd >= 3  off any : x\n"
        "errno EPERM getpid : x\n"
        "kill-process getuid\n"
        "kill-process getgid : with a reason\n");
    const auto& conditions = policy.rules.at(0).conditions;
    const std::vector<Op> ops = {Op::eq, Op::le, Op::in, Op::any, Op::ge, Op::any};
    for (std::size_t i = 0; i < ops.size(); ++i) {
        EXPECT_EQ(conditions.at(i).op, ops.at(i));
    }
    EXPECT_EQ(policy.rules.at(1).action, (Action{Action::Kind::errno_code, 1}));
    EXPECT_EQ(policy.rules.at(1).action.text(), "errno EPERM");
    EXPECT_EQ(policy.rules.at(2).reason, "");
    EXPECT_EQ(policy.rules.at(3).reason, "with a reason");
}

TEST(Parse, ReadsParametersThatAreAddressesAndSizes) {
    const auto policy = parsed("param $size size : x\nallow munmap addr == $buffer  len == $size : x\n");
    ASSERT_EQ(policy.params.size(), 2U);
    EXPECT_EQ(policy.params[1].name, "size");
    EXPECT_EQ(policy.rules.at(0).conditions.at(1).operand.param, 1U);
}

TEST(Parse, TakesDigitsAndSeparatorsInNames) {
    const auto policy = parsed("const A_9 9 : x\nparam $b-2_c addr : x\n",
                               "policy p-1_a 1\nsyntax 1\narch x86_64\nelse kill-process\n");
    EXPECT_EQ(policy.name, "p-1_a");
    EXPECT_EQ(policy.consts.at(0).name, "A_9");
    EXPECT_EQ(policy.params.at(0).name, "b-2_c");
}

TEST(Parse, TakesAColonInsideAReasonAsText) {
    EXPECT_EQ(parsed("allow getpid : one : two\n").rules.at(0).reason, "one : two");
}

TEST(Parse, DoesNotNeedANewlineAtTheEnd) {
    EXPECT_EQ(parsed("allow getpid : x").rules.size(), 1U);
}

TEST(Parse, ReadsAPatternAndPointsIntoItWhenItIsWrong) {
    const auto policy = shipped("echo");
    const auto pattern = parse_pattern(policy, "sendto fd=0 buf=$buffer len=SIZE+1");
    ASSERT_TRUE(pattern);
    EXPECT_EQ(pattern->arguments.at(2)->value, 65537U);
    EXPECT_FALSE(pattern->arguments.at(3));
    const auto wrong = parse_pattern(policy, "sendto fd=0 size=1");
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().text(),
              "call:1:13: error: sendto has no argument 'size'\nsendto fd=0 size=1\n            ^");
}

TEST(Warnings, NameGreaterOrEqualOnA32BitArgument) {
    const auto policy = parsed("allow close fd >= 4 : x\nallow munmap addr >= 4  len any : x\n");
    const auto found = warnings(policy);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(placed(found[0]),
              "6:13: the kernel reads 32 bits of 'fd', and '>=' compares 64: 0x100000000 passes "
              "here and is 0 to the kernel; '>=32' compares what it reads");
}

} // namespace
} // namespace cloister::policy
