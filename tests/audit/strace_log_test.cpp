// SPDX-License-Identifier: MIT
#include "audit/strace_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cloister::audit {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TracedCall only_call(const std::string& text) {
    const auto log = parse_strace(text);
    EXPECT_EQ(log.calls.size(), 1U) << text;
    EXPECT_TRUE(log.not_understood.empty()) << log.not_understood.front().why;
    return log.calls.empty() ? TracedCall{} : log.calls.front();
}

TEST(StraceLog, HasTheSameCallWhateverStandsBeforeIt) {
    for (const auto* prefix :
         {"", "1234  ", "[pid  1234] ", "22:46:09 ", "22:46:09.323089 ", "1700000000.123456 ",
          "     0.000123 ", "1234  22:46:09.323089 ", "1234 [   0] ", "[   0] ", "1234 [00007f7f7f7f7f7f] ",
          "[pid 1234] 22:46:09 [   0] [00007f7f7f7f7f7f] "}) {
        const auto call = only_call(std::string{prefix} + "read(0x3, 0x7ffc, 0x340) = 0x340 <0.000012>\n");
        EXPECT_EQ(call.name, "read") << prefix;
        EXPECT_THAT(call.arguments, ElementsAre("0x3", "0x7ffc", "0x340")) << prefix;
    }
    EXPECT_EQ(only_call("1234  [ 257] openat(0xffffff9c, 0x7f, 0x80000, 0) = 0x3\n").number, 257U);
    EXPECT_EQ(only_call("syscall_0x1b7(0x1) = -1 ENOSYS (Function not implemented)").number, 0x1b7U);
}

TEST(StraceLog, PartsArgumentsOutsideOfStringsBracketsAndDecorations) {
    EXPECT_THAT(only_call(R"(write(1<pipe:[12]>, "a, \"b\") = 3", 11) = 11)").arguments,
                ElementsAre("1<pipe:[12]>", R"("a, \"b\") = 3")", "11"));
    EXPECT_THAT(
        only_call("recvfrom(3<TCP:[127.0.0.1:1->127.0.0.1:2]>, {a=1, b=[2, 3]}, f(4, 5)) = 0").arguments,
        ElementsAre("3<TCP:[127.0.0.1:1->127.0.0.1:2]>", "{a=1, b=[2, 3]}", "f(4, 5)"));
    EXPECT_THAT(only_call("f(1<<3, 2 < 3) = 0").arguments, ElementsAre("1<<3", "2 < 3"));
    EXPECT_TRUE(only_call("getpid() = 3").arguments.empty());
}

TEST(StraceLog, PutsInterruptedCallsTogetherByThread) {
    const auto log = parse_strace("10 read(0x3,  <unfinished ...>\n"
                                  "11 write(0x1, 0x2, 0x3 <unfinished ...>\n"
                                  "11 <... write resumed>) = 0x3\n"
                                  "10 <... read resumed>0x7f, 0x10) = 0\n"
                                  "12 ppoll(0x7f, 0x1, 0 <unfinished ...>\n"
                                  "13 +++ exited with 0 +++\n"
                                  "13 --- SIGCHLD {si_signo=SIGCHLD} ---\n"
                                  "strace: Process 14 attached\n");
    ASSERT_EQ(log.calls.size(), 3U);
    EXPECT_TRUE(log.not_understood.empty());
    EXPECT_EQ(log.calls[0].name, "write");
    EXPECT_EQ(log.calls[0].line, 2U);
    EXPECT_THAT(log.calls[0].arguments, ElementsAre("0x1", "0x2", "0x3"));
    EXPECT_EQ(log.calls[1].line, 1U);
    EXPECT_THAT(log.calls[1].arguments, ElementsAre("0x3", "0x7f", "0x10"));
    EXPECT_EQ(log.calls[2].name, "ppoll") << "it never came back";
}

TEST(StraceLog, KnowsProcessesOfAnotherAbi) {
    const auto log = parse_strace("strace: [ Process PID=10 runs in 32 bit mode. ]\n10 read(0, 0, 0) = 0\n"
                                  "[ Process PID=10 runs in 64 bit mode. ]\n10 read(0, 0, 0) = 0\n");
    ASSERT_EQ(log.calls.size(), 2U);
    EXPECT_EQ(log.calls[0].abi, policy::Abi::i386);
    EXPECT_EQ(log.calls[1].abi, policy::abi_of(policy::native_arch));
}

TEST(StraceLog, NamesLinesThatItDoesNotUnderstand) {
    const auto log =
        parse_strace("root:x:0:0\n10 <... read resumed>) = 0\nread(\"no end\nread(0, 0, 0) = 0\n");
    ASSERT_EQ(log.not_understood.size(), 3U);
    EXPECT_EQ(log.not_understood[0].number, 1U);
    EXPECT_THAT(log.not_understood[1].why, HasSubstr("whose beginning is not in the log"));
    EXPECT_THAT(log.not_understood[2].why, HasSubstr("the arguments of read have no end"));
    EXPECT_EQ(log.calls.size(), 1U);
}

TEST(StraceLog, CutAnywhereNeverCrashes) {
    const std::string text =
        "[pid 10] 1.2 [ 1] write(1<a[>, \"x\\\"\", {[(1, 2)]}, 3 /* 4 */ <unfinished ...>\n"
        "[pid 10] <... write resumed>) = ?\n[ Process PID=1 runs in x32 mode. ]";
    for (std::size_t size = 0; size <= text.size(); ++size) {
        (void)parse_strace(text.substr(0, size));
        (void)parse_strace(text.substr(size));
    }
}

TEST(ValueOf, IsTheRegisterWhereTheTextTellsIt) {
    EXPECT_EQ(value_of("0x7ffc50cbe8a0", false), 0x7ffc50cbe8a0U);
    EXPECT_EQ(value_of("0644", true), 0644U);
    EXPECT_EQ(value_of("3</etc/ld.so.cache>", true), 3U);
    EXPECT_EQ(value_of("NULL", false), 0U);
    EXPECT_EQ(value_of("O_RDONLY|O_CLOEXEC", true), 02000000U);
    EXPECT_EQ(value_of("0xffffff9c", true), 0xffffff9cU);
    EXPECT_EQ(value_of("-1", false), ~0ULL);
    EXPECT_EQ(value_of("8 /* of 9 */", false), 8U);
}

TEST(ValueOf, IsNotGuessed) {
    EXPECT_THAT(value_of("-1", true).error(), HasSubstr("upper half"));
    EXPECT_THAT(value_of("\"/etc/passwd\"", false).error(), HasSubstr("is no number"));
    EXPECT_THAT(value_of("O_RDONLY|O_UNHEARD_OF", true).error(), HasSubstr("is no number"));
    EXPECT_THAT(value_of("flags=CLONE_VM", false).error(), HasSubstr("written by name"));
    EXPECT_FALSE(value_of("", false));
    EXPECT_FALSE(value_of("1|", false));
    EXPECT_FALSE(value_of("0x1ffffffffffffffff", false)) << "more than 64 bits";
}

} // namespace
} // namespace cloister::audit
