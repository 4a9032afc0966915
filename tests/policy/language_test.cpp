// SPDX-License-Identifier: MIT
// What policies of other programs need: further operators, actions, ABIs, and calls by number. The daemon
// enforces none of it.
#include "fixture.h"

namespace cloister::policy {
namespace {

constexpr std::string_view on_x86_64 = "policy p 1\nsyntax 1\narch x86_64\nelse kill-process\n";

seccomp_data call_of(std::string_view name, std::vector<std::uint64_t> arguments, Abi abi = Abi::x86_64) {
    seccomp_data call{};
    call.arch = audit_arch(abi);
    call.nr = static_cast<int>(number_of(abi, name).value());
    std::copy(arguments.begin(), arguments.end(), std::begin(call.args));
    return call;
}

/// Three opinions: of the interpreter of the text, of the diagram of the text, and of the compiled bytes.
std::string decided(const Policy& policy, const seccomp_data& call, bool compiles = true) {
    const auto says = evaluate(policy, Arch::x86_64, {}, call).action;
    Meaning meaning{policy, {}, nullptr};
    auto& diagram = meaning.diagram();
    std::vector<Diagram::Bit> point;
    const auto* words = reinterpret_cast<const std::uint32_t*>(&call);
    auto node = meaning.of_text(policy, Arch::x86_64);
    for (unsigned word = 0; word < 16; ++word) {
        for (unsigned bit = 0; bit < 32; ++bit) {
            const auto variable = diagram.choose(meaning.level(word, bit), 1, 0);
            const bool set = (words[word] >> bit & 1U) != 0;
            node = diagram.if_else(set ? variable : diagram.if_else(variable, 0, 1), node,
                                   diagram.leaf(says.value()));
        }
    }
    EXPECT_EQ(node, diagram.leaf(says.value())) << "the diagram disagrees on " << describe(call);
    if (compiles) {
        const auto program = compile(policy, Arch::x86_64, {});
        if (!program) {
            return program.error().text();
        }
        const auto returned = run(*program, call);
        EXPECT_EQ(returned, says.value()) << "the bytes disagree on " << describe(call);
        EXPECT_TRUE(prove(policy, Arch::x86_64, {}, *program));
    }
    return says.text();
}

struct Claim {
    const char* name;
    std::string condition; ///< of the first argument of munmap, 64 bits
    std::vector<std::uint64_t> yes;
    std::vector<std::uint64_t> no;
};
class Operator : public testing::TestWithParam<Claim> {};
TEST_P(Operator, HoldsForTheseValuesAndNoOthers) {
    const auto policy =
        parsed(fmt::format("allow munmap addr {}  any : x\n", GetParam().condition), on_x86_64);
    for (const auto value : GetParam().yes) {
        EXPECT_EQ(decided(policy, call_of("munmap", {value})), "allow") << value;
    }
    for (const auto value : GetParam().no) {
        EXPECT_EQ(decided(policy, call_of("munmap", {value})), "kill-process") << value;
    }
}
constexpr std::uint64_t high = 0x100000000;
INSTANTIATE_TEST_SUITE_P(
    Each, Operator,
    testing::Values(
        Claim{"Unequal", "!= 7", {6, 8, 0, 7 + high, ~0UL}, {7}},
        Claim{"HalfEqual", "==32 7", {7, 7 + high, 7 + 5 * high}, {0, 6, high, ~0UL}},
        Claim{"HalfUnequal", "!=32 7", {6, 8, high, ~0UL}, {7, 7 + high}},
        Claim{"HalfAtMost", "<=32 7", {0, 7, high, 7 + high}, {8, 8 + high, ~0UL}},
        Claim{"HalfAtLeast", ">=32 7", {7, 8, 7 + high, ~0UL}, {0, 6, 6 + high}},
        Claim{"HalfWithin", "in32 5", {0, 1, 4, 5, 5 + high}, {2, 7, 2 + high}},
        Claim{"Masked", "& 6 == 4", {4, 5, 12, 4 + high}, {0, 2, 6, 3}},
        Claim{"MaskedAbove", "& 0x300000000 == 0x100000000", {high, high + 9}, {0, 3 * high, 2 * high}},
        Claim{"HalfMasked", "&32 0x80000000 == 0x80000000", {0x80000000, ~0UL}, {0, high}},
        Claim{"NotMasked", "& 6 != 4", {0, 2, 6, 3, 6 + high}, {4, 5, 12, 4 + high}},
        Claim{"HalfNotMasked", "&32 3 != 0", {1, 2, 3, 7, 1 + high}, {0, 4, high}},
        Claim{"HalfNegative", "==32 0xffffffff", {0xffffffff, ~0UL}, {0, high}}),
    [](const auto& test) { return test.param.name; });

TEST(Language, AnArgumentMayHaveSeveralConditions) {
    const auto policy = parsed("allow munmap addr >= 3  addr <= 9  addr != 5  len == 1 : x\n", on_x86_64);
    for (const std::uint64_t value : {0U, 2U, 3U, 4U, 5U, 6U, 9U, 10U}) {
        const bool within = value >= 3 && value <= 9 && value != 5;
        EXPECT_EQ(decided(policy, call_of("munmap", {value, 1}), false), within ? "allow" : "kill-process")
            << value;
        EXPECT_EQ(decided(policy, call_of("munmap", {value, 2}), false), "kill-process");
    }
    EXPECT_EQ(placed(compile(policy, Arch::x86_64, {}).error()),
              "5:25: libseccomp takes one condition for an argument, so this rule cannot be compiled");
}

TEST(Language, EachActionIsCompiledAndProved) {
    for (const std::string action : {"kill-process", "kill-thread", "trap", "errno EPERM", "errno 4000",
                                     "notify", "trace 7", "log", "allow"}) {
        const auto* other = action == "allow" ? "kill-process" : "allow";
        const auto policy = parsed(fmt::format("{} munmap any : x\n", action),
                                   fmt::format("policy p 1\nsyntax 1\narch x86_64\nelse {}\n", other));
        EXPECT_EQ(decided(policy, call_of("munmap", {})), action);
        EXPECT_EQ(decided(policy, call_of("close", {})), other);
        const auto otherwise = parsed(fmt::format("{} munmap any : x\n", other),
                                      fmt::format("policy p 1\nsyntax 1\narch x86_64\nelse {}\n", action));
        EXPECT_EQ(decided(otherwise, call_of("close", {})), action);
    }
}

TEST(Language, RulesApplyToEachAbiThatIsListed) {
    const auto policy = parsed("allow close fd == 3 : x\nallow socketcall any : i386 alone has it\n",
                               "policy p 1\nsyntax 1\narch x86_64 i386 x32\nelse kill-process\n");
    for (const auto abi : {Abi::x86_64, Abi::i386, Abi::x32}) {
        EXPECT_EQ(decided(policy, call_of("close", {3}, abi), false), "allow") << to_string(abi);
        EXPECT_EQ(decided(policy, call_of("close", {4}, abi), false), "kill-process") << to_string(abi);
    }
    EXPECT_EQ(decided(policy, call_of("socketcall", {1}, Abi::i386), false), "allow");
    EXPECT_EQ(decided(parsed("allow close fd == 3 : x\n", on_x86_64), call_of("close", {3}, Abi::x32), false),
              "kill-process");
    EXPECT_EQ(placed(compile(policy, Arch::x86_64, {}).error()),
              "0:0: it lists i386: such a policy can be compared and proved, but not compiled");
}

TEST(Language, ARuleMayBeForOneAbiAlone) {
    const auto policy = parsed("allow i386:close fd ==32 3 : x\nallow close fd == 4 : x\n",
                               "policy p 1\nsyntax 1\narch x86_64 i386\nelse kill-process\n");
    EXPECT_EQ(decided(policy, call_of("close", {3}, Abi::i386), false), "allow");
    EXPECT_EQ(decided(policy, call_of("close", {4}, Abi::i386), false), "allow");
    EXPECT_EQ(decided(policy, call_of("close", {3}), false), "kill-process");
    EXPECT_EQ(decided(policy, call_of("close", {4}), false), "allow");
}

TEST(Language, OtherAbisMayHaveAnotherActionThanElse) {
    const auto policy = parsed("allow close any : x\n",
                               "policy p 1\nsyntax 1\narch x86_64\nelse errno EPERM abi kill-thread\n");
    EXPECT_EQ(decided(policy, call_of("close", {})), "allow");
    EXPECT_EQ(decided(policy, call_of("munmap", {})), "errno EPERM");
    EXPECT_EQ(decided(policy, call_of("close", {}, Abi::i386)), "kill-thread");
    EXPECT_EQ(decided(policy, call_of("close", {}, Abi::x32)), "kill-thread");
    EXPECT_EQ(decided(policy, {-1, audit_arch(Abi::x86_64), 0, {}}), "errno EPERM") << "-1 is no call of x32";
}

TEST(Language, ACallWithoutANameHasItsNumber) {
    const auto policy = parsed("allow syscall 999 arg1 == 3  any : x\n", on_x86_64);
    seccomp_data call{999, audit_arch(Abi::x86_64), 0, {3, 9, 9, 9, 9, 9}};
    EXPECT_EQ(decided(policy, call), "allow");
    call.args[0] = 4;
    EXPECT_EQ(decided(policy, call), "kill-process");
    const auto pattern = parse_pattern(policy, "999 arg1=3");
    ASSERT_TRUE(pattern) << pattern.error().text();
    EXPECT_EQ(pattern->name, "syscall 999");
    EXPECT_EQ(parse_pattern(policy, "syscall 3 fd=7")->name, "close") << "a number is as good as a name";
}

TEST(Language, ARangeOfNumbersIsForOneAbiEach) {
    const auto policy = parsed("allow syscall 900..999 arg1 any  arg2 == 1  any : x\nerrno 1 x32:syscall "
                               "0x40000400..0xfffffffe any : x\n",
                               "policy p 1\nsyntax 1\narch x86_64 i386 x32\nelse kill-process\n");
    for (const auto abi : {Abi::x86_64, Abi::i386}) {
        for (const int number : {899, 900, 950, 999, 1000}) {
            const auto* wanted = number >= 900 && number <= 999 ? "allow" : "kill-process";
            EXPECT_EQ(decided(policy, {number, audit_arch(abi), 0, {7, 1}}, false), wanted) << number;
            EXPECT_EQ(decided(policy, {number, audit_arch(abi), 0, {7, 2}}, false), "kill-process") << number;
        }
    }
    EXPECT_EQ(decided(policy, {0x40000400, audit_arch(Abi::x32), 0, {}}, false), "errno EPERM");
    EXPECT_EQ(decided(policy, {static_cast<int>(0x80000000), audit_arch(Abi::x32), 0, {}}, false),
              "errno EPERM");
    EXPECT_EQ(decided(policy, {-1, audit_arch(Abi::x32), 0, {}}, false), "kill-process") << "-1 is x86_64's";
    EXPECT_EQ(decided(policy, {0x400003ff, audit_arch(Abi::x32), 0, {}}, false), "kill-process");
}

TEST(Language, RangesOfNumbersMayNotContradictEachOther) {
    const auto checked = [](const std::string& rules) { return check(parsed(rules, on_x86_64), nullptr); };
    EXPECT_TRUE(
        checked("allow syscall 900..999 any : x\nallow close any : x\nerrno 1 syscall 1000..1001 any : x\n"));
    const auto refused =
        checked("allow syscall 900..999 any : x\nallow close any : x\nerrno 1 syscall 999 any : x\n");
    ASSERT_FALSE(refused);
    EXPECT_EQ(placed(refused.error()).substr(0, 55),
              "7:1: this rule says errno EPERM where line 5 says allow");
}

TEST(Language, CanonicalForm) {
    const auto text = std::string{on_x86_64} + "allow   munmap   addr & 6   == 4 addr !=32 7   any   : x\n"
                                               "trap 5   close fd ==32 3 : x\n"
                                               "errno 38   syscall 999   arg1 == 1 any : x\n";
    EXPECT_EQ(format(parsed(text, "")), std::string{on_x86_64} +
                                            "allow munmap  addr & 6 == 4  addr !=32 7  any : x\n"
                                            "trap 5 close  fd ==32 3 : x\n"
                                            "errno 38 syscall 999  arg1 == 1  any : x\n");
}

struct NotForTheDaemon {
    const char* name;
    const char* header;
    const char* rule;
    const char* error;
};
class Enforced : public testing::TestWithParam<NotForTheDaemon> {};
TEST_P(Enforced, IsRefused) {
    const auto policy = parsed(GetParam().rule, fmt::format("policy p 1\nsyntax 1\n{}", GetParam().header));
    ASSERT_TRUE(check(policy, nullptr)) << "it is a policy as such";
    const auto combined = combine({policy});
    ASSERT_FALSE(combined);
    EXPECT_EQ(placed(combined.error()), GetParam().error);
}
constexpr const char* strict = "arch x86_64\nelse kill-process\n";
INSTANTIATE_TEST_SUITE_P(
    Each, Enforced,
    testing::Values(
        NotForTheDaemon{
            "PermissiveElse", "arch x86_64\nelse allow\n", "kill-process close any\n",
            "0:0: its else action is allow: cloisterd confines nothing by it; write kill-process"},
        NotForTheDaemon{"LogElse", "arch x86_64\nelse log\n", "kill-process close any\n",
                        "0:0: its else action is log: cloisterd confines nothing by it; write kill-process"},
        NotForTheDaemon{"ForeignAbi", "arch x86_64 x32\nelse kill-process\n", "allow close any : x\n",
                        "0:0: it lists x32: cloisterd runs programs of x86_64 and aarch64 only"},
        NotForTheDaemon{"OtherAbis", "arch x86_64\nelse kill-process abi errno EPERM\n",
                        "allow close any : x\n",
                        "0:0: it says errno EPERM for other ABIs: cloisterd has one else action for all"},
        NotForTheDaemon{"MoreThan32Bits", strict, "allow close fd == 4294967296 : x\n",
                        "5:13: '4294967296' does not fit 'fd': the kernel reads only 32 bits of it and would "
                        "not see the rest"},
        NotForTheDaemon{
            "Numbers", strict, "allow syscall 900..999 any : x\n",
            "5:1: cloisterd does not know what 'syscall 900..999' is: its policies name their calls"},
        NotForTheDaemon{
            "Notify", strict, "notify close any : x\n",
            "5:1: cloisterd puts no process under a rule that says notify: allow, errno and kill-process are "
            "for it"},
        NotForTheDaemon{"Number", strict, "allow syscall 999 any : x\n",
                        "5:1: cloisterd does not know what 'syscall 999' is: its policies name their calls"}),
    [](const auto& test) { return test.param.name; });

} // namespace
} // namespace cloister::policy
