// SPDX-License-Identifier: MIT
// The proofs about texts: tests, overlaps, and one policy under another.
#include "fixture.h"

#include <random>

namespace cloister::policy {
namespace {

std::string check_of(const Policy& policy, const Policy* under = nullptr) {
    const auto checked = check(policy, under);
    return checked ? "holds" : placed(checked.error());
}

Policy parent(const std::string& lines) {
    return parsed(lines,
                  "policy q 1\nsyntax 1\narch x86_64 aarch64\nelse kill-process\nparam $buffer addr : x\n");
}
Policy child(const std::string& lines) {
    return parsed(lines,
                  "policy p 1\nsyntax 1\nunder q\narch x86_64\nelse kill-process\nparam $buffer addr : x\n");
}
std::string under(const std::string& child_lines, const std::string& parent_lines) {
    const auto q = parent(parent_lines);
    return check_of(child(child_lines), &q);
}

TEST(Check, HoldsForWhatIsShipped) {
    for (const auto* name :
         {"setup", "clone", "listener", "echo", "discard", "daytime", "static", "metrics"}) {
        EXPECT_EQ(check_of(shipped(name)), "holds") << name;
    }
}

TEST(Check, ATestCoversAllValuesOfOmittedArguments) {
    EXPECT_EQ(
        check_of(parsed("allow shutdown fd == 0  how <= 2 : x\ntest allow shutdown fd=0\n")),
        "7:1: this test does not hold: the policy says kill-process for shutdown(fd=0, how=3) on x86_64");
    EXPECT_EQ(check_of(parsed("allow shutdown fd == 0  how any : x\ntest allow shutdown fd=0\n")), "holds");
}

TEST(Check, AKillTestFindsTheOneCallThatIsAllowed) {
    EXPECT_EQ(
        check_of(parsed("allow shutdown fd == 41  how == 1 : x\ntest kill shutdown\n")),
        "7:1: this test does not hold: the policy says allow (line 6) for shutdown(fd=41, how=1) on x86_64");
}

TEST(Check, ProvesTestsForEveryAddress) {
    EXPECT_EQ(check_of(parsed("allow munmap addr == $buffer  len any : x\ntest kill munmap addr=0\n"
                              "test allow munmap addr=$buffer\n")),
              "holds")
        << "an address is never 0";
    EXPECT_EQ(check_of(parsed("allow munmap addr == $buffer  len any : x\ntest kill munmap addr=4096\n")),
              "7:1: this test does not hold: the policy says allow (line 6) for munmap(addr=4096, len=0) on "
              "x86_64, where "
              "$buffer = 0x1000");
    EXPECT_EQ(check_of(parsed("allow munmap addr <= $buffer  len any : x\ntest allow munmap addr=1 len=0\n")),
              "holds");
    EXPECT_EQ(
        check_of(parsed("allow munmap addr <= $buffer  len any : x\ntest allow munmap addr=2 len=0\n")),
        "7:1: this test does not hold: the policy says kill-process for munmap(addr=2, len=0) on x86_64, "
        "where $buffer = 0x1");
    EXPECT_EQ(check_of(parsed("allow munmap addr >= $buffer  len any : x\ntest kill munmap addr=0\n")),
              "holds");
}

TEST(Check, KillMeansTheElseAction) {
    const std::string lines = "allow getpid : x\nkill-process getuid\nerrno EPERM getgid : x\n";
    const auto head_errno = "policy p 1\nsyntax 1\narch x86_64\nelse errno ENOSYS\n";
    EXPECT_EQ(check_of(parsed(lines + "test kill openat\ntest errno ENOSYS openat\ntest errno EPERM getgid\n",
                              head_errno)),
              "holds");
    EXPECT_EQ(check_of(parsed(lines + "test kill getuid\n", head_errno)),
              "8:1: this test does not hold: the policy says kill-process (line 6) for getuid() on x86_64");
}

TEST(Check, ForeignAbisGetTheElseAction) {
    const std::string lines = "allow getpid : x\ntest kill x32:getpid\ntest kill i386:getpid\n";
    EXPECT_EQ(check_of(parsed(lines + "test allow x86_64:getpid\ntest allow aarch64:getpid\n")), "holds");
    EXPECT_EQ(check_of(parsed(lines + "test allow x86_64:getpid\ntest kill aarch64:getpid\n")),
              "10:1: this test does not hold: the policy says allow (line 6) for getpid() on aarch64");
    EXPECT_EQ(check_of(parsed(lines + "test kill aarch64:getpid\n",
                              "policy p 1\nsyntax 1\narch x86_64\nelse kill-process\n")),
              "holds")
        << "an ABI that is not listed is foreign too";
}

TEST(Check, ATestOfACallThatOneAbiLacksCoversTheOther) {
    EXPECT_EQ(check_of(parsed("allow getpid : x\ntest kill open\ntest kill fork\n")), "holds");
}

TEST(Check, OverlapsThatAgreeAreFineAndOthersAreNot) {
    EXPECT_EQ(check_of(parsed("allow close fd <= 3 : x\nallow close fd <= 5 : y\n")), "holds");
    EXPECT_EQ(check_of(parsed("allow close fd <= 3 : x\nerrno EBADF close fd >= 4 : y\n")), "holds");
    EXPECT_EQ(check_of(parsed("allow close fd <= 4 : x\nerrno EBADF close fd >= 4 : y\n")),
              "7:1: this rule says errno EBADF where line 6 says allow: close(fd=4) on x86_64");
}

TEST(Check, FindsOverlapsThatDependOnAnAddress) {
    EXPECT_EQ(
        check_of(parsed(
            "allow munmap addr == $buffer  len any : x\nerrno EPERM munmap addr == 4096  len == 1 : y\n")),
        "7:1: this rule says errno EPERM where line 6 says allow: munmap(addr=4096, len=1) on x86_64, where "
        "$buffer = "
        "0x1000");
}

TEST(Under, NarrowerOrEqualHolds) {
    EXPECT_EQ(under("allow close fd == 0 : x\n", "allow close fd <= 3 : x\n"), "holds");
    EXPECT_EQ(under("allow close fd <= 3 : x\n", "allow close fd <= 3 : x\n"), "holds");
    EXPECT_EQ(
        under("allow munmap addr == $buffer  len == 1 : x\n", "allow munmap addr == $buffer  len any : x\n"),
        "holds");
    EXPECT_EQ(
        under("allow read fd <= 1  buf any  count any : x\n",
              "allow read fd == 0  buf any  count any : x\nallow read fd == 1  buf any  count any : x\n"),
        "holds")
        << "a union covers what none of its rules covers alone";
}

TEST(Under, WiderShowsACall) {
    EXPECT_EQ(under("allow close fd <= 4 : x\n", "allow close fd <= 3 : x\n"),
              "7:1: 'p' is wider than 'q': it says allow for close(fd=4) on x86_64, which 'q' answers with "
              "kill-process");
    EXPECT_EQ(under("allow getpid : x\n", "allow getuid : x\n"),
              "7:1: 'p' is wider than 'q': it says allow for getpid() on x86_64, which 'q' answers with "
              "kill-process");
    EXPECT_EQ(
        under("allow munmap addr == 4096  len any : x\n", "allow munmap addr == $buffer  len any : x\n"),
        "7:1: 'p' is wider than 'q': it says allow for munmap(addr=4096, len=0) on x86_64, where $buffer = "
        "0x1, which "
        "'q' answers with kill-process");
}

TEST(Under, ErrnoLiesBetweenAllowAndKill) {
    EXPECT_EQ(under("errno EPERM getpid : x\n", "allow getpid : x\n"), "holds");
    EXPECT_EQ(under("errno EPERM getpid : x\n", "errno ENOSYS getpid : x\n"), "holds");
    EXPECT_EQ(
        under("errno EPERM getpid : x\n", "allow getuid : x\n"),
        "7:1: 'p' is wider than 'q': it says errno EPERM for getpid() on x86_64, which 'q' answers with "
        "kill-process");
    EXPECT_EQ(
        under("allow getpid : x\n", "errno EPERM getpid : x\n"),
        "7:1: 'p' is wider than 'q': it says allow for getpid() on x86_64, which 'q' answers with errno "
        "EPERM (line 6)");
}

TEST(Under, MustBeTheOneThatIsNamed) {
    const auto q = parent("");
    EXPECT_EQ(check_of(child("")), "3:7: the policy 'q' is needed to check this one");
    EXPECT_EQ(check_of(parsed(""), &q), "0:0: this policy is not under 'q'");
    const auto x86_only = parsed("", "policy q 1\nsyntax 1\narch x86_64\nelse kill-process\n");
    const auto both = parsed("", "policy p 1\nsyntax 1\nunder q\narch x86_64 aarch64\nelse kill-process\n");
    EXPECT_EQ(check_of(both, &x86_only), "3:7: 'q' does not list aarch64");
}

TEST(Under, MayNotHaveMoreParametersTogetherThanOnePolicy) {
    const auto params = [](const char* names) {
        std::string lines;
        for (const char* name = names; *name != '\0'; ++name) {
            lines += fmt::format("param ${} addr : x\n", *name);
        }
        return lines;
    };
    EXPECT_EQ(under(params("abcd"), params("abcefg")), "holds") << "$buffer and seven others";
    EXPECT_EQ(under(params("abcd"), params("efgh")), "3:7: more than 8 parameters together");
}

// Each rule of the cell's policy, made wider in one place, is caught.
TEST(Under, CatchesEachWideningOfTheShippedCell) {
    auto text = shipped("echo").text;
    auto lower = text;
    lower.replace(lower.find("echo 3"), 6, "lower 3");
    const auto parent = parsed(lower, "");
    text.insert(text.find("arch "), "under      lower\n");
    const auto rules = text.find("allow recvfrom");
    const auto tests = text.find("\ntest");
    ASSERT_EQ(check_of(parsed(text, ""), &parent), "holds");
    std::size_t widened = 0;
    for (auto at = rules; (at = text.find(" == ", at)) < tests; ++at) {
        auto wider = text.substr(0, tests + 1);
        wider.replace(at, 4, " >= ");
        EXPECT_NE(check_of(parsed(wider, ""), &parent).find("'echo' is wider than 'lower': it says allow "),
                  std::string::npos)
            << wider.substr(wider.rfind('\n', at), 60);
        ++widened;
    }
    EXPECT_EQ(widened, 13U);
}

// With a limit of nodes alone such a policy takes a minute and more.
TEST(Check, GivesUpAfterAFixedNumberOfSteps) {
    std::mt19937_64 random{1};
    std::string lines;
    for (unsigned i = 0; i < 20; ++i) {
        lines += "allow mmap";
        for (const auto* name : {"addr", "len", "prot", "flags", "fd", "off"}) {
            lines += random() % 3 == 0 ? fmt::format("  {} any", name)
                                       : fmt::format("  {} in 0x{:x}", name, random());
        }
        lines += " : x\n";
    }
    EXPECT_EQ(check_of(parsed(lines)),
              "0:0: cannot be proved: the decision diagram took more steps than its limit");
}

} // namespace
} // namespace cloister::policy
