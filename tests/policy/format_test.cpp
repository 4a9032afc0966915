// SPDX-License-Identifier: MIT
#include "fixture.h"

namespace cloister::policy {
namespace {

class Format : public testing::TestWithParam<const char*> {};
TEST_P(Format, IsTheIdentityOnWhatIsShipped) {
    const auto policy = shipped(GetParam());
    EXPECT_EQ(format(policy), policy.text);
}
INSTANTIATE_TEST_SUITE_P(Each, Format,
                         testing::Values("setup", "clone", "listener", "echo", "discard", "daytime", "static",
                                         "metrics"));

TEST(FormatOf, ClosesGapsThatLineUpWithNothing) {
    EXPECT_EQ(
        format(parsed(
            "allow   shutdown     fd   ==  0 how  ==    SHUT_WR    :   why  so  \n\n\n\n# end  \n\n", head)),
        std::string{head} + "allow shutdown  fd ==  0  how  == SHUT_WR : why  so\n\n# end\n");
}

TEST(FormatOf, KeepsColumns) {
    const std::string lines = "allow read      fd == 0         buf any  count any : a\n"
                              "allow write     fd == 0x100000  buf any  count any : b\n";
    EXPECT_EQ(format(parsed(lines)), std::string{head} + lines);
}

TEST(FormatOf, AFormattedPolicyIsItself) {
    const std::string lines = "allow  read   fd == 0   buf any    count any :   a\n allow   write fd ==  1  "
                              "buf any count any : b\n";
    const auto once = format(parsed(lines));
    EXPECT_EQ(format(parsed(once, "")), once);
}

TEST(FormatOf, KeepsAtAmongTheColumnsOfTheHeader) {
    const std::string lines = "policy     p 1\nsyntax     1\nat         $here\narch       x86_64\n"
                              "else       kill-process\nparam      $here addr : x\n";
    EXPECT_EQ(format(parsed(lines, "")), lines);
    EXPECT_EQ(format(parsed("policy p 1\nsyntax 1\n at              $here\narch x86_64\nelse kill-process\n"
                            "param $here addr : x\n",
                            "")),
              "policy p 1\nsyntax 1\nat $here\narch x86_64\nelse kill-process\nparam $here addr : x\n");
}

// Formatting may not change what a policy says.
TEST(FormatOf, MeansTheSame) {
    auto spread = shipped("listener").text;
    for (std::size_t at = 0; (at = spread.find("  ", at)) != std::string::npos; at += 5) {
        spread.insert(at, "   ");
    }
    // Reasons and comments keep their spaces, so compare the rules.
    const auto before = shipped("listener");
    const auto after = parsed(format(parsed(spread, "")), "");
    EXPECT_EQ(after.at_name(), "listener_return");
    const auto program = compile(before, native_arch, addresses);
    ASSERT_TRUE(program);
    EXPECT_TRUE(prove(after, native_arch, addresses, *program));
}

} // namespace
} // namespace cloister::policy
