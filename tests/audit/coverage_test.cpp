// SPDX-License-Identifier: MIT
#include "audit/coverage.h"

#include "policy/compile.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cloister::audit {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto text = R"(policy p 1
syntax 1
arch x86_64 aarch64
else kill-process

allow read  fd <= 2  buf any  count <= 100 : read
allow write  fd == 1  buf any  count any : write
errno EPERM close  fd == 0 : refused
)";

Coverage of(const std::string& log) {
    const auto policy = policy::parse(text, "p.policy").value();
    const auto program = policy::compile(policy, policy::native_arch, {}).value();
    return coverage(policy, policy::native_arch, {}, program, parse_strace(log).calls);
}

TEST(CoverageOf, CountsRulesAndConditions) {
    const auto found =
        of("read(0x0, 0x7f, 0x10) = 0\nread(0x2, 0x7f, 0x20) = 0\nread(0x3, 0x7f, 0x65) = 0\n");
    EXPECT_EQ(found.calls, 3U);
    EXPECT_EQ(found.rules[0].used, 2U);
    EXPECT_EQ(found.rules[0].conditions[0].held, 2U);
    EXPECT_EQ(found.rules[0].conditions[0].failed, 1U);
    EXPECT_THAT(found.rules[0].conditions[2].values, ElementsAre(0x10, 0x20));
    EXPECT_EQ(found.rules[1].used, 0U);
    ASSERT_EQ(found.denied.size(), 1U);
    EXPECT_EQ(found.denied[0].call, "read");
    EXPECT_EQ(found.denied[0].line, 3U);
    EXPECT_EQ(found.undecided, 0U);
}

TEST(CoverageOf, CallsThatARuleOrElseDeniesAreNamedWithTheirAction) {
    const auto found = of("close(0) = 0\nsocket(0x1, 0x1, 0) = 3\nsocket(0x1, 0x1, 0) = 3\n");
    ASSERT_EQ(found.denied.size(), 2U);
    EXPECT_EQ(found.denied[0].action, "errno EPERM");
    EXPECT_EQ(found.denied[1].action, "kill-process");
    EXPECT_EQ(found.denied[1].times, 2U);
}

TEST(CoverageOf, AnArgumentThatIsNotKnownIsSaidAndDecidesNothing) {
    const auto found = of("write(FD, \"x\", 1) = 1\nread(0, \"x\", 1) = 1\n");
    EXPECT_EQ(found.rules[1].used, 0U);
    EXPECT_EQ(found.rules[1].possibly, 1U);
    EXPECT_EQ(found.undecided, 1U);
    EXPECT_EQ(found.rules[0].used, 1U) << "no condition looks at the string";
    ASSERT_EQ(found.unknown_arguments.size(), 1U);
    EXPECT_THAT(*found.unknown_arguments.begin(), HasSubstr("write fd: 'FD' is no number"));
}

TEST(CoverageOf, CountsTheOutcomesOfBranches) {
    const auto outcomes = [](const Coverage& found) {
        std::size_t used = 0;
        for (const auto& branch : found.branches) {
            used += static_cast<std::size_t>(branch.taken) + static_cast<std::size_t>(branch.passed);
        }
        return used;
    };
    const auto one = outcomes(of("read(0, 0, 0) = 0\n"));
    const auto two = outcomes(of("read(0, 0, 0) = 0\nwrite(0x1, 0, 0) = 0\n"));
    const auto all =
        of("read(0, 0, 0x65) = 0\nread(0, 0, 0) = 0\nread(0x7, 0, 0) = 0\nread(0x100000000, 0, 0) = 0\n");
    EXPECT_GT(one, 0U);
    EXPECT_GT(two, one);
    EXPECT_LT(outcomes(all), 2 * all.branches.size()) << "nothing was written";
}

TEST(CoverageOf, ACallOfAnotherAbiUsesNoRule) {
    const auto found = of("[ Process PID=10 runs in 32 bit mode. ]\n10 read(0, 0, 0) = 0\n");
    EXPECT_EQ(found.rules[0].used, 0U);
    ASSERT_EQ(found.denied.size(), 1U);
    EXPECT_EQ(found.denied[0].abi, policy::Abi::i386);
}

} // namespace
} // namespace cloister::audit
