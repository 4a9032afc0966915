// SPDX-License-Identifier: MIT
// Every error of the parser: its message, line and column.
#include "fixture.h"

namespace cloister::policy {
namespace {

struct Case {
    const char* claim;
    std::string text;
    const char* error; ///< "line:column: message"
};

std::string after_head(std::string_view line) {
    return fmt::format("{}{}\n", head, line);
}

class Refused : public testing::TestWithParam<Case> {};

TEST_P(Refused, WithLineColumnAndMessage) {
    const auto policy = parse(GetParam().text, "p");
    ASSERT_FALSE(policy) << "it was accepted";
    const auto& error = policy.error();
    EXPECT_EQ(placed(error), GetParam().error);
    EXPECT_EQ(error.kind, Error::Kind::refused);
}

const std::string header4 = "policy p 1\nsyntax 1\narch x86_64\nelse kill-process\n";

INSTANTIATE_TEST_SUITE_P(
    Header, Refused,
    testing::Values(
        Case{"EmptyFile", "", "1:1: the file ends before 'policy'"},
        Case{"OnlyComments", "# one\n\n", "2:1: the file ends before 'policy'"},
        Case{"NoSyntax", "policy p 1\n", "1:1: the file ends before 'syntax'"},
        Case{"NoArch", "policy p 1\nsyntax 1\n", "2:1: the file ends before 'arch'"},
        Case{"NoArchAfterUnder", "policy p 1\nsyntax 1\nunder q\n", "3:1: the file ends before 'arch'"},
        Case{"NoElse", "policy p 1\nsyntax 1\narch x86_64\n", "3:1: the file ends before 'else'"},
        Case{"OutOfOrder", "syntax 1\n", "1:1: expected 'policy' before 'syntax'"},
        Case{"ElseBeforeArch", "policy p 1\nsyntax 1\nelse kill-process\n",
             "3:1: expected 'arch' before 'else'"},
        Case{"RuleBeforeHeader", "policy p 1\nallow getpid : x\n", "2:1: expected 'syntax' before 'allow'"},
        Case{"PolicyTwice", header4 + "policy q 2\n", "5:1: 'policy' is already given on line 1"},
        Case{"ArchTwice", header4 + "arch aarch64\n", "5:1: 'arch' is already given on line 3"},
        Case{"UnderTooLate", header4 + "under q\n", "5:1: 'under' belongs to the header, before 'arch'"},
        Case{"NoName", "policy\n", "1:7: expected the name of a policy"},
        Case{"UpperCaseName", "policy P 1\n",
             "1:8: 'P' is not a name: lower-case letters, digits, '-' and '_'"},
        Case{"NoVersion", "policy p\n", "1:9: expected a version"},
        Case{"VersionZero", "policy p 0\n", "1:10: a version is between 1 and 2147483647"},
        Case{"VersionTooLarge", "policy p 2147483648\n", "1:10: a version is between 1 and 2147483647"},
        Case{"VersionWithText", "policy p 1a\n",
             "1:10: '1a' is not a number: write decimal, or 0x and lower-case hex"},
        Case{"TrailingText", "policy p 1 2\n", "1:12: unexpected '2' after the end of the statement"},
        Case{"ReasonInHeader", "policy p 1 : mine\n",
             "1:12: unexpected ':': only param, const and rules have a reason"},
        Case{"UnknownSyntax", "policy p 1\nsyntax 2\n", "2:8: syntax '2' is not known: only version 1 is"},
        Case{"NoSyntaxVersion", "policy p 1\nsyntax\n", "2:7: expected the version of the language, 1"},
        Case{"UnknownArch", "policy p 1\nsyntax 1\narch arm\n",
             "3:6: 'arm' cannot be listed: x86_64, aarch64, i386 and x32 can"},
        Case{"AbiOfAKernelThatIsNotListed", "policy p 1\nsyntax 1\narch aarch64 i386\n",
             "3:14: 'i386' is an ABI of the kernel for x86_64: list that, too"},
        Case{"AbiListedTwice", "policy p 1\nsyntax 1\narch x86_64 x32 x32\n", "3:17: 'x32' is listed twice"},
        Case{"ArchListedTwice", "policy p 1\nsyntax 1\narch x86_64 x86_64\n",
             "3:13: 'x86_64' is listed twice"},
        Case{"EmptyArch", "policy p 1\nsyntax 1\narch\n", "3:5: expected x86_64 or aarch64"},
        Case{"ElseAlone", "policy p 1\nsyntax 1\narch x86_64\nelse\n", "4:5: expected kill-process"},
        Case{"UnknownElse", "policy p 1\nsyntax 1\narch x86_64\nelse deny\n",
             "4:6: unknown action 'deny': kill-process, kill-thread, trap, errno, notify, trace, log, allow "
             "are known"},
        Case{"ErrnoTooLarge", "policy p 1\nsyntax 1\narch x86_64\nelse errno 4096\n",
             "4:12: an errno is at most 4095"},
        Case{"TrapTooLarge", "policy p 1\nsyntax 1\narch x86_64\nelse trap 65536\n",
             "4:11: what a filter hands over is at most 65535"},
        Case{"ActionWithANumberItDoesNotHave", "policy p 1\nsyntax 1\narch x86_64\nelse log 1\n",
             "4:10: unexpected '1' after the end of the statement"},
        Case{"UnknownErrno", "policy p 1\nsyntax 1\narch x86_64\nelse errno EPREM\n",
             "4:12: unknown error 'EPREM'. Did you mean EPERM?"}),
    [](const auto& test) { return test.param.claim; });

const std::string header2 = "policy p 1\nsyntax 1\n";
const std::string after_at = "arch x86_64\nelse kill-process\nparam $here addr : x\nparam $buffer addr : x\n";

INSTANTIATE_TEST_SUITE_P(
    Place, Refused,
    testing::Values(
        Case{"Nowhere", header2 + "at\n" + after_at, "3:3: expected a parameter, such as $listener_return"},
        Case{"WithoutDollar", header2 + "at here\n" + after_at,
             "3:4: 'here' is not a parameter: '$' and a lower-case name"},
        Case{"ANumber", header2 + "at 0x1000\n" + after_at,
             "3:4: '0x1000' is not a parameter: '$' and a lower-case name"},
        Case{"InUpperCase", header2 + "at $HERE\n" + after_at,
             "3:4: '$HERE' is not a parameter: '$' and a lower-case name"},
        Case{"DollarAlone", header2 + "at $\n" + after_at,
             "3:4: '$' is not a parameter: '$' and a lower-case name"},
        Case{"UnknownParam", header2 + "at         $hree\n" + after_at,
             "3:12: unknown parameter '$hree'. Did you mean $here?"},
        Case{"UnknownParamFarFromAny", header2 + "at $listener_return\n" + after_at,
             "3:4: unknown parameter '$listener_return'"},
        Case{"NoParamAtAll", header2 + "at $here\narch x86_64\nelse kill-process\n",
             "3:4: unknown parameter '$here'"},
        Case{"SumOfAParam", header2 + "at $here+2\n" + after_at,
             "3:4: '$here+2' is not a parameter: '$' and a lower-case name"},
        Case{"TwoPlaces", header2 + "at $here $buffer\n" + after_at,
             "3:10: unexpected '$buffer' after the end of the statement"},
        Case{"WithReason", header2 + "at $here : mine\n" + after_at,
             "3:10: unexpected ':': only param, const and rules have a reason"},
        Case{"WithEmptyReason", header2 + "at $here :\n" + after_at, "3:10: a reason is missing after ':'"},
        Case{"Twice", header2 + "at $here\nat $here\n" + after_at, "4:1: 'at' is already given on line 3"},
        Case{"TwiceApart", header2 + "at $here\narch x86_64\nat $buffer\nelse kill-process\n",
             "5:1: 'at' is already given on line 3"},
        Case{"TooEarly", "policy p 1\nat $here\nsyntax 1\n", "2:1: expected 'syntax' before 'at'"},
        Case{"TooLate", header2 + after_at + "at $here\n", "7:1: 'at' belongs to the header, before 'arch'"},
        Case{"AfterArch", header2 + "arch x86_64\nat $here\n",
             "4:1: 'at' belongs to the header, before 'arch'"},
        Case{"BeforeUnder", header2 + "at $here\nunder q\n" + after_at,
             "4:1: 'under' belongs to the header, before 'at'"},
        Case{"NoArchAfterAt", header2 + "at $here\n", "3:1: the file ends before 'arch'"},
        Case{"ElseAfterAt", header2 + "at $here\nelse kill-process\n", "4:1: expected 'arch' before 'else'"}),
    [](const auto& test) { return test.param.claim; });

INSTANTIATE_TEST_SUITE_P(
    Bytes, Refused,
    testing::Values(Case{"Nul", after_head(std::string_view{"allow\0 getpid : x", 17}), "6:6: a NUL byte"},
                    Case{"CarriageReturn", "policy p 1\r\nsyntax 1\r\n",
                         "1:11: a carriage return: lines end in a line feed alone"},
                    Case{"Tab", after_head("allow\tgetpid : x"), "6:6: a tab: write spaces"},
                    Case{"Utf8", after_head("allow getpid : caf\xc3\xa9"),
                         "6:19: byte 0xc3 is not printable ASCII"},
                    Case{"Utf8InComment", "# \xe2\x80\xae\n", "1:3: byte 0xe2 is not printable ASCII"},
                    Case{"Delete", after_head("\x7f"), "6:1: byte 0x7f is not printable ASCII"},
                    Case{"LongLine", after_head("#" + std::string(max_line_length, ' ')),
                         "6:241: the line is longer than 240 characters"}),
    [](const auto& test) { return test.param.claim; });

INSTANTIATE_TEST_SUITE_P(
    Declaration, Refused,
    testing::Values(
        Case{"UnknownStatement", after_head("alow getpid : x"),
             "6:1: unknown statement 'alow'. Did you mean allow?"},
        Case{"UnknownStatementFarFromAny", after_head("include other"), "6:1: unknown statement 'include'"},
        Case{"ReasonAlone", after_head(": x"), "6:1: expected a statement"},
        Case{"Continuation", after_head("\\"), "6:1: unknown statement '\\'"},
        Case{"ParamAlone", after_head("param"), "6:6: expected a parameter, such as $buffer"},
        Case{"ParamWithoutDollar", after_head("param stack addr : x"),
             "6:7: 'stack' is not a parameter: '$' and a lower-case name"},
        Case{"ParamOfUnknownType", after_head("param $n int : x"),
             "6:10: unknown type 'int': addr and size are known"},
        Case{"ParamWithoutType", after_head("param $n : x"), "6:10: expected the type, addr or size"},
        Case{"ParamWithoutReason", after_head("param $n addr"),
             "6:14: a reason is missing: write ' : ' and why"},
        Case{"ParamWithEmptyReason", after_head("param $n addr :"), "6:15: a reason is missing after ':'"},
        Case{"ParamTwice", after_head("param $buffer addr : x"),
             "6:7: '$buffer' is already defined on line 5"},
        Case{"NinthParam",
             after_head("param $a addr : x\nparam $b addr : x\nparam $c addr : x\nparam $d addr : x\n"
                        "param $e addr : x\nparam $f addr : x\nparam $g addr : x\nparam $h addr : x"),
             "13:7: more than 8 parameters"},
        Case{"ConstAlone", after_head("const"), "6:6: expected a constant, such as SIZE"},
        Case{"ConstInLowerCase", after_head("const size 1 : x"),
             "6:7: 'size' is not a constant: upper-case letters, digits and '_'"},
        Case{"ConstOfTheKernel", after_head("const MSG_NOSIGNAL 0 : x"),
             "6:7: 'MSG_NOSIGNAL' is a constant of the kernel, and is 0x4000"},
        Case{"ConstTwice", after_head("const A 1 : x\nconst A 1 : x"),
             "7:7: 'A' is already defined on line 6"},
        Case{"ConstWithoutValue", after_head("const A"), "6:8: expected a value"},
        Case{"ConstFromParam", after_head("const A $buffer : x"), "6:9: a constant cannot be a parameter"},
        Case{"ConstWithADash", after_head("const A-B 1 : x"),
             "6:7: 'A-B' is not a constant: upper-case letters, digits and '_'"},
        Case{"ConstNearAnOwnOne", after_head("const SIZE 1 : x\nconst B SIZZ : x"),
             "7:9: unknown constant 'SIZZ'. Did you mean SIZE?"},
        Case{"ConstUsedBeforeIt", after_head("const A B : x\nconst B 1 : x"), "6:9: unknown constant 'B'"},
        Case{"ConstWithoutReason", after_head("const A 1"), "6:10: a reason is missing: write ' : ' and why"},
        Case{"Octal", after_head("const A 010 : x"),
             "6:9: '010' starts with 0, which other languages read as octal"},
        Case{"UpperCaseHex", after_head("const A 0xFF : x"),
             "6:9: '0xFF' is not a number: write decimal, or 0x and lower-case hex"},
        Case{"NoHexDigits", after_head("const A 0x : x"),
             "6:9: '0x' is not a number: write decimal, or 0x and lower-case hex"},
        Case{"Negative", after_head("const A -1 : x"), "6:9: unknown constant '-1'"},
        Case{"SixtyFiveBits", after_head("const A 18446744073709551616 : x"),
             "6:9: '18446744073709551616' does not fit 64 bits"},
        Case{"SumOfSixtyFiveBits", after_head("const A 18446744073709551615+1 : x"),
             "6:9: '18446744073709551615+1' does not fit 64 bits"},
        Case{"SumWithoutNumber", after_head("const A 1+ : x"),
             "6:11: '' is not a number: write decimal, or 0x and lower-case hex"},
        Case{"SumOfUnions", after_head("const A 1|2+1 : x"),
             "6:9: '1|2' is not a number: write decimal, or 0x and lower-case hex"},
        Case{"EmptyTerm", after_head("const A 1||2 : x"), "6:11: expected a number or a constant"},
        Case{"MistypedConstant", after_head("const A MSG_NOSIGNL : x"),
             "6:9: unknown constant 'MSG_NOSIGNL'. Did you mean MSG_NOSIGNAL?"},
        Case{"MistypedConstantInUnion", after_head("const A 1|SIGTRM : x"),
             "6:11: unknown constant 'SIGTRM'. Did you mean SIGTERM?"}),
    [](const auto& test) { return test.param.claim; });

INSTANTIATE_TEST_SUITE_P(
    Rule, Refused,
    testing::Values(
        Case{"LibcName", after_head("allow recv fd == 0 : x"),
             "6:7: 'recv' is not a system call on x86_64; recv(3) issues recvfrom. Write recvfrom."},
        Case{"LibcNameSend", after_head("allow send fd == 0 : x"),
             "6:7: 'send' is not a system call on x86_64; send(3) issues sendto. Write sendto."},
        Case{"CallOfOneAbiOnly", after_head("allow open : x"),
             "6:7: 'open' is not a system call on aarch64; open(3) issues openat. Write openat."},
        Case{"CallOfOneAbiOnlyFork", after_head("allow fork : x"),
             "6:7: 'fork' is not a system call on aarch64; fork(3) issues clone. Write clone."},
        Case{"MistypedCall", after_head("allow recvfrm : x"),
             "6:7: 'recvfrm' is not a system call on x86_64. Did you mean recvfrom?"},
        Case{"NoSuchCall", after_head("allow frobnicate_the_wheel : x"),
             "6:7: 'frobnicate_the_wheel' is not a system call on x86_64"},
        Case{"NoCall", after_head("allow"), "6:6: expected a system call"},
        Case{"MissingArguments", after_head("allow close : x"),
             "6:13: expected the argument 'fd' of close ('fd any' if it may be anything)"},
        Case{"LeftOutArgument", after_head("allow shutdown how == 1 : x"),
             "6:16: expected the argument 'fd' of shutdown ('fd any' if it may be anything), found 'how'"},
        Case{"ArgumentsOutOfOrder", after_head("allow shutdown how == 1  fd == 0 : x"),
             "6:16: expected the argument 'fd' of shutdown ('fd any' if it may be anything), found 'how'"},
        Case{"ArgumentTooMany", after_head("allow close fd == 0  flags == 0 : x"),
             "6:22: unexpected 'flags': close has 1 argument"},
        Case{"HalfOfALargeNumber", after_head("allow munmap addr ==32 0x100000000  len any : x"),
             "6:24: '0x100000000' does not fit '==32', which compares 32 bits"},
        Case{"HalfOfAnAddress", after_head("allow munmap addr ==32 $buffer  len any : x"),
             "6:24: '$buffer' does not fit '==32', which compares 32 bits"},
        Case{"MaskWithoutValue", after_head("allow close fd & 3 : x"),
             "6:20: expected '==' or '!=', and the value of these bits"},
        Case{"MaskAndAnotherOperator", after_head("allow close fd & 3 <= 1 : x"),
             "6:20: expected '==' or '!=', and the value of the bits 3, found '<='"},
        Case{"ValueOutsideTheMask", after_head("allow close fd & 3 == 4 : x"),
             "6:23: '4' has bits that 3 has not"},
        Case{"MaskOfAnAddress", after_head("allow munmap addr & $buffer == 0  len any : x"),
             "6:21: '&' takes bits, not an address"},
        Case{"WordsAfterAnyForTheRest", after_head("allow close any fd == 3 : x"),
             "6:17: unexpected 'fd': close has 1 argument"},
        Case{"NumberOfACallThatHasAName", after_head("allow syscall 3 any : x"),
             "6:15: the call 3 of x86_64 has a name: write close"},
        Case{"AbiThatIsNotListed", after_head("allow i386:close any : x"),
             "6:7: 'i386' is not listed by 'arch'"},
        Case{"NoCallOfThatAbi", after_head("allow aarch64:fork : x"),
             "6:15: 'fork' is not a system call on aarch64; fork(3) issues clone. Write clone."},
        Case{"NumberThatIsTooLarge", after_head("allow syscall 0x80000000 any : x"),
             "6:15: a call's number has 32 bits, and without x32's bit 31"},
        Case{"CallWithoutItsNumber", after_head("allow syscall : x"),
             "6:15: expected the number of a system call, or two: 335..423"},
        Case{"UnknownOperator", after_head("allow close fd < 3 : x"),
             "6:16: unknown operator '<': ==, !=, <=, >=, in, & and any are known, and all but any with 32 "
             "behind it"},
        Case{"NoSpaces", after_head("allow close fd==0 : x"),
             "6:13: expected the argument 'fd' of close ('fd any' if it may be anything), found 'fd==0'"},
        Case{"NoOperator", after_head("allow close fd : x"), "6:16: expected ==, <=, >=, in, & or any"},
        Case{"NoValue", after_head("allow close fd == : x"), "6:19: expected a value"},
        Case{"NoReason", after_head("allow close fd == 0"), "6:20: a reason is missing: write ' : ' and why"},
        Case{"EmptyReason", after_head("allow close fd == 0 : "), "6:21: a reason is missing after ':'"},
        Case{"ReasonWithoutSpaces", after_head("allow close fd == 0: x"),
             "6:19: '0:' is not a number: write decimal, or 0x and lower-case hex"},
        Case{"NumbersWithAName", after_head("allow syscall 900..1001 any : x\nallow syscall 2..3 any : x"),
             "7:15: the call 3 of x86_64 has a name: write close"},
        Case{"NumbersInTheWrongOrder", after_head("allow syscall 1001..1000 any : x"),
             "6:15: the second number is smaller than the first"},
        Case{"HalfOfTheNumbers", after_head("allow syscall 1001.. any : x"),
             "6:21: '' is not a number: write decimal, or 0x and lower-case hex"},
        Case{"AddressInANarrowArgument", after_head("allow close fd == $buffer : x"),
             "6:19: '$buffer' does not fit 'fd': the kernel reads only 32 bits of it and would not see the "
             "rest"},
        Case{"BitsOfAnAddress", after_head("allow munmap addr in $buffer  len any : x"),
             "6:22: 'in' takes bits, not an address"},
        Case{"UnknownParam", after_head("allow munmap addr == $bufer  len any : x"),
             "6:22: unknown parameter '$bufer'. Did you mean $buffer?"},
        Case{"UnknownParamFarFromAny", after_head("allow munmap addr == $stack  len any : x"),
             "6:22: unknown parameter '$stack'"},
        Case{"SumOfAParam", after_head("allow munmap addr == $buffer+1  len any : x"),
             "6:22: unknown parameter '$buffer+1'. Did you mean $buffer?"},
        Case{"UnknownErrnoOfARule", after_head("errno EFOO getpid : x"), "6:7: unknown error 'EFOO'"},
        Case{"NoErrno", after_head("errno"), "6:6: expected the name of an error, such as EPERM"},
        Case{"ErrnoWithoutReason", after_head("errno EPERM getpid"),
             "6:19: a reason is missing: write ' : ' and why"},
        Case{"Repeated", after_head("allow close fd == 0 : x\nallow close fd == 0 : y"),
             "7:1: this rule repeats the conditions of line 6"},
        Case{"RepeatedInOtherWords", after_head("allow close fd == 0x10 : x\nallow close fd == 16 : y"),
             "7:1: this rule repeats the conditions of line 6"},
        Case{"ApartFromItsLike",
             after_head("allow close fd == 0 : x\nallow getpid : y\nallow close fd == 1 : z"),
             "8:7: the rules for close stand next to each other: another one is on line 6"}),
    [](const auto& test) { return test.param.claim; });

INSTANTIATE_TEST_SUITE_P(
    Test, Refused,
    testing::Values(Case{"NoVerdict", after_head("test"), "6:5: expected kill, or an action such as allow"},
                    Case{"UnknownVerdict", after_head("test deny close"),
                         "6:6: unknown verdict 'deny': kill, for the else action, and kill-process, "
                         "kill-thread, trap, errno, notify, trace, log, allow are known"},
                    Case{"NoCallToTest", after_head("test kill"), "6:10: expected a system call"},
                    Case{"UnknownCallToTest", after_head("test kill opnat"),
                         "6:11: 'opnat' is not a system call on x86_64. Did you mean openat?"},
                    Case{"UnknownAbi", after_head("test kill mips:read"),
                         "6:11: unknown ABI 'mips': x86_64, aarch64, x32 and i386 are known"},
                    Case{"NotACallOfThatAbi", after_head("test kill i386:accept"),
                         "6:16: 'accept' is not a system call on i386. "
                         "Did you mean accept4?"},
                    Case{"ArgumentsOfAForeignAbi", after_head("test kill x32:recvfrom fd=0"),
                         "6:24: a call of x32 has no arguments here: it is refused by its ABI"},
                    Case{"UnknownArgument", after_head("test kill shutdown haw=1"),
                         "6:20: shutdown has no argument 'haw'. Did you mean how?"},
                    Case{"ArgumentTwice", after_head("test kill close fd=1 fd=2"),
                         "6:22: 'fd' is given twice"},
                    Case{"ArgumentWithoutValue", after_head("test kill close fd"),
                         "6:17: expected ARGUMENT=VALUE, found 'fd'"},
                    Case{"ArgumentWithEmptyValue", after_head("test kill close fd="),
                         "6:20: expected a number or a constant"},
                    Case{"ReasonOfATest", after_head("test kill close : x"),
                         "6:17: unexpected ':': only param, const and rules have a reason"}),
    [](const auto& test) { return test.param.claim; });

TEST(ParseError, OfTheRuleBeyondTheLimit) {
    std::string rules;
    for (std::size_t i = 0; i < max_rules; ++i) {
        rules += fmt::format("allow close fd == {} : x\n", i);
    }
    ASSERT_TRUE(parse(std::string{head} + rules, "p"));
    const auto policy = parse(std::string{head} + rules + "allow getpid : x\n", "p");
    ASSERT_FALSE(policy);
    EXPECT_EQ(placed(policy.error()), "4006:1: more than 4000 rules");
}

TEST(ParseError, ShowsNoLineWhereTheTextHasNone) {
    EXPECT_EQ(parsed("").error_at({5, 1}, "x").source_line, "param $buffer addr : somewhere");
    EXPECT_EQ(parsed("").error_at({99, 1}, "x").source_line, "");
}

TEST(ParseError, ShowsTheLineAndACaretUnderTheColumn) {
    const auto policy = parse(after_head("allow recv fd == 0 : x"), "cell.policy");
    ASSERT_FALSE(policy);
    EXPECT_EQ(policy.error().text(), "cell.policy:6:7: error: 'recv' is not a system call on x86_64; recv(3) "
                                     "issues recvfrom. Write recvfrom.\n"
                                     "allow recv fd == 0 : x\n"
                                     "      ^");
}

TEST(ParseError, NeverPrintsAControlByte) {
    const auto policy = parse("policy p 1\x1b[2J\n", "p");
    ASSERT_FALSE(policy);
    EXPECT_EQ(policy.error().source_line, "policy p 1?[2J");
    EXPECT_EQ(placed(policy.error()), "1:11: byte 0x1b is not printable ASCII");
}

} // namespace
} // namespace cloister::policy
