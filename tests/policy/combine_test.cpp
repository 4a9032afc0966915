// SPDX-License-Identifier: MIT
// One filter for all: what may be combined, and that the proof sees each way to combine wrongly.
#include "fixture.h"

namespace cloister::policy {
namespace {

Policy piece(const std::string& name, const std::string& at, const std::string& lines = "",
             const std::string& otherwise = "kill-process", const std::string& archs = "x86_64 aarch64") {
    const auto site = at.empty() ? "" : fmt::format("at ${}\n", at);
    const auto param = at.empty() ? "" : fmt::format("param ${} addr : x\n", at);
    auto policy = parse(fmt::format("policy {} 1\nsyntax 1\n{}arch {}\nelse {}\n{}{}", name, site, archs,
                                    otherwise, param, lines),
                        name + ".policy");
    if (!policy) {
        throw std::runtime_error{policy.error().text()};
    }
    return std::move(*policy);
}

std::string combination_of(std::vector<Policy> policies) {
    const auto combined = combine(std::move(policies));
    return combined ? "combined" : combined.error().text();
}

std::string without_source(const std::string& text) {
    return text.substr(0, text.find('\n'));
}

TEST(Combine, TakesOnePolicyForEachCallSiteAndOneForElsewhere) {
    const auto combined = shipped_together();
    ASSERT_EQ(combined.at_call_sites.size(), 3U);
    EXPECT_EQ(combined.at_call_sites[0].name, "clone");
    EXPECT_EQ(combined.at_call_sites[1].name, "listener");
    EXPECT_EQ(combined.at_call_sites[2].name, "setup");
    EXPECT_EQ(combined.elsewhere.name, "echo");
    EXPECT_EQ(combination_of({piece("a", "")}), "combined") << "one alone holds everywhere";
}

TEST(Combine, RefusesWhatWouldBeAmbiguous) {
    EXPECT_EQ(combination_of({}), ": error: there are no policies to combine");
    EXPECT_EQ(combination_of({piece("b", ""), piece("a", "")}),
              "b.policy: error: it has no 'at', and neither has 'a': only one can hold everywhere else");
    EXPECT_EQ(combination_of({piece("b", "here"), piece("a", "there")}),
              "a.policy:3:4: error: each of the policies has an 'at': one without is needed, which holds "
              "everywhere else\nat $there\n   ^");
    EXPECT_EQ(combination_of({piece("a", ""), piece("b", "here"), piece("b", "there")}),
              "b.policy: error: b.policy has the name 'b', too");
    EXPECT_EQ(combination_of({piece("a", ""), piece("b", "here"), piece("c", "here")}),
              "c.policy:3:4: error: 'b' is at $here, too\nat $here\n   ^");
    EXPECT_EQ(
        combination_of({piece("a", ""), piece("b", "here", "", "errno EPERM")}),
        "b.policy: error: its else action is errno EPERM, that of 'a' is kill-process: combined policies "
        "have the same");
}

TEST(Combine, RefusesCallsThatCouldRestoreALostCallSite) {
    for (const std::string call : {"mmap", "mremap", "mprotect", "madvise", "brk", "execve", "clone3",
                                   "rt_sigaction", "rt_sigreturn"}) {
        std::string line = "allow " + call;
        for (const auto& parameter : prototype_of(call)->parameters) {
            line += fmt::format("  {} == 0", parameter.name);
        }
        const auto expected = fmt::format(
            ":7:1: error: '{}' could bring back memory that a process has given up, and with it what is "
            "allowed there: policies that share a program can't allow it\n",
            call);
        const auto at_a_call_site = combination_of({piece("a", ""), piece("b", "here", line + " : x\n")});
        EXPECT_TRUE(at_a_call_site.starts_with("b.policy" + expected)) << at_a_call_site;
        EXPECT_EQ(
            combination_of({piece("a", ""), piece("b", "here", "errno EPERM" + line.substr(5) + " : x\n")}),
            "combined")
            << "what does nothing brings nothing back";
    }
    const auto elsewhere = combination_of({piece("a", "", "allow brk  brk any : x\n"), piece("b", "here")});
    EXPECT_TRUE(elsewhere.starts_with("a.policy:5:1: error: 'brk' could bring back memory")) << elsewhere;
    for (const auto* flags : {"any", "<= 17", "in 0x11", "== CLONE_VM|17"}) {
        const auto line = fmt::format(
            "allow clone  flags {}  stack any  parent_tid any  child_tid any  tls any : x\n", flags);
        const auto refused = combination_of({piece("a", ""), piece("b", "here", line)});
        EXPECT_TRUE(refused.starts_with("b.policy:7:1: error: policies that share a program can allow clone "
                                        "only with flags that are given by '==' and have no CLONE_VM: parent "
                                        "and child would lose their call sites together\n"))
            << refused;
    }
}

TEST(Combine, MakesTheSameBytesInWhateverOrder) {
    const auto one = compile(shipped_together(), native_arch, addresses).value();
    const auto combined = combine({shipped("setup"), shipped("clone"), shipped("echo"), shipped("listener")});
    const auto other = compile(combined.value(), native_arch, addresses).value();
    ASSERT_EQ(one.size(), other.size());
    EXPECT_EQ(std::memcmp(one.data(), other.data(), one.size() * sizeof(sock_filter)), 0);
}

TEST(Combine, KeepsEachProgramAsItWasAlone) {
    const auto combined = shipped_together();
    const auto made = assemble(combined, native_arch, addresses).value();
    ASSERT_EQ(made.parts.size(), 5U);
    EXPECT_EQ(made.parts[0].policy, nullptr);
    EXPECT_EQ(made.parts[1].policy, &combined.elsewhere);
    std::size_t next = made.parts[0].size;
    for (std::size_t i = 1; i < made.parts.size(); ++i) {
        const auto& part = made.parts[i];
        const auto alone = compile(*part.policy, native_arch, addresses).value();
        EXPECT_EQ(part.first, next);
        ASSERT_EQ(part.size, alone.size());
        EXPECT_EQ(std::memcmp(&made.program[part.first], alone.data(), alone.size() * sizeof(sock_filter)),
                  0);
        next += part.size;
    }
    EXPECT_EQ(next, made.program.size());
}

TEST(Combine, NeedsEachAddressOnceAndNoOther) {
    const auto combined = shipped_together();
    const auto program = compile(combined, native_arch, addresses).value();
    // Said by compiler and proof alike.
    const auto error = [&](const Bindings& bindings) {
        const auto compiled = compile(combined, native_arch, bindings);
        const auto proved = prove(combined, native_arch, bindings, program);
        EXPECT_FALSE(compiled || proved);
        EXPECT_EQ(compiled.error().text(), proved.error().text());
        auto text = without_source(compiled.error().text());
        return text.substr(text.rfind('/') + 1);
    };
    const auto with = [](const std::string& name, std::uint64_t value) {
        auto bindings = addresses;
        bindings[name] = value;
        return bindings;
    };
    auto without_stack = addresses;
    without_stack.erase("stack");
    EXPECT_EQ(error(without_stack), "clone.policy:8:12: error: the parameter $stack is not bound");
    auto without_listener_call = addresses;
    without_listener_call.erase("listener_return");
    EXPECT_EQ(error(without_listener_call),
              "listener.policy:8:12: error: the parameter $listener_return is not bound");
    EXPECT_EQ(error(with("setup_return", 0)),
              "setup.policy:7:12: error: the parameter $setup_return is bound to 0");
    EXPECT_EQ(error(with("roof", 1)),
              "echo.policy: error: neither it nor those that it is combined with have a parameter $roof");
    EXPECT_EQ(error(with("clone_return", addresses.at("listener_return"))),
              "listener.policy:5:12: error: $listener_return and $clone_return of 'clone' are both bound to "
              "0x55d2c0ffe017");
}

TEST(Combine, NeedsTheAbiOfEach) {
    const auto combined = combine({piece("a", ""), piece("b", "here", "", "kill-process", "x86_64")}).value();
    EXPECT_TRUE(compile(combined, Arch::x86_64, {{"here", 1}}));
    const auto compiled = compile(combined, Arch::aarch64, {{"here", 1}});
    ASSERT_FALSE(compiled);
    EXPECT_EQ(compiled.error().text(), "b.policy: error: the policy does not list aarch64");
}

TEST(Combine, RefusesMoreThanTheKernelTakes) {
    std::string lines;
    for (unsigned i = 0; i < 900; ++i) {
        lines += fmt::format("allow munmap addr == 0x{:x}  len == {} : x\n", i * 0x1000000001UL, i);
    }
    const auto combined = combine({piece("a", "", lines), piece("b", "here", lines)}).value();
    const auto compiled = compile(combined, native_arch, {{"here", 1}});
    ASSERT_FALSE(compiled);
    const auto alone = compile(combined.elsewhere, native_arch, {}).value().size();
    EXPECT_EQ(
        compiled.error().text(),
        fmt::format("a.policy: error: combined, the policies make {} instructions; the kernel takes 4096",
                    3 + 5 + 2 * alone));
}

// Conditional jumps reach 255 instructions; a policy may be longer.
TEST(Combine, JumpsFartherThan255Instructions) {
    std::string lines;
    for (unsigned i = 0; i < 200; ++i) {
        lines += fmt::format("allow munmap addr == 0x{:x}  len == {} : x\n", i * 0x1000000001UL, i);
    }
    const auto combined =
        combine({piece("a", "", lines), piece("b", "here", lines), piece("c", "there")}).value();
    const Bindings bindings = {{"here", 1}, {"there", 2}};
    const auto program = compile(combined, native_arch, bindings).value();
    EXPECT_GT(program.size(), 1000U);
    const auto proved = prove(combined, native_arch, bindings, program);
    EXPECT_TRUE(proved) << proved.error().text();
}

class CombinedProgram : public testing::TestWithParam<Arch> {
  public:
    [[nodiscard]] std::string prove_of(const Program& bytes, const Bindings& bindings = addresses) const {
        const auto proved = prove(combined, GetParam(), bindings, bytes);
        if (proved) {
            return "equal";
        }
        auto text = without_source(proved.error().text());
        return text.substr(text.rfind('/') + 1);
    }
    /// Whether it was refused for what it means, and for nothing else.
    [[nodiscard]] static bool tells_apart(const std::string& said) {
        return said.find(": program and policy differ: for ") != std::string::npos;
    }
    // Where the block of the prologue that asks for that call site begins: two words, each loaded and
    // compared.
    [[nodiscard]] static std::size_t block(std::size_t site) { return 3 + 5 * site; }

    Combined combined = shipped_together();
    Program program = compile(combined, GetParam(), addresses).value();
};
INSTANTIATE_TEST_SUITE_P(Each, CombinedProgram, testing::Values(Arch::x86_64, Arch::aarch64),
                         [](const auto& test) { return std::string{to_string(test.param)}; });

TEST_P(CombinedProgram, IsProvedEqualToItsTexts) {
    EXPECT_EQ(prove_of(program), "equal");
    EXPECT_LT(program.size(), 2048U) << "the room that a launch configuration has for it";
}

TEST_P(CombinedProgram, IsNotEqualForAnotherAddress) {
    for (const auto& [name, value] : addresses) {
        for (unsigned bit = 0; bit < 64; ++bit) {
            auto moved = addresses;
            moved[name] ^= std::uint64_t{1} << bit;
            const auto said = prove_of(program, moved);
            EXPECT_TRUE(moved[name] == 0 ? said.ends_with(" is bound to 0") : tells_apart(said))
                << name << " bit " << bit << ": " << said;
        }
    }
}

TEST_P(CombinedProgram, WithTwoCallSitesSwappedIsRefusedWithAWitness) {
    for (const auto* a : {"listener_return", "clone_return", "setup_return"}) {
        for (const auto* b : {"clone_return", "setup_return"}) {
            if (std::string_view{a} == b) {
                continue;
            }
            auto swapped = addresses;
            std::swap(swapped[a], swapped[b]);
            const auto wrong = compile(combined, GetParam(), swapped).value();
            const auto said = prove_of(wrong);
            EXPECT_TRUE(said.find(fmt::format("at ${} (0x", a)) != std::string::npos ||
                        said.find(fmt::format("at ${} (0x", b)) != std::string::npos)
                << said;
            EXPECT_EQ(prove_of(wrong, swapped), "equal");
        }
    }
}

TEST_P(CombinedProgram, ThatComparesOneWordOnlyIsRefusedWithAWitness) {
    for (std::size_t site = 0; site < 3; ++site) {
        for (const auto load : {block(site), block(site) + 2}) {
            auto wrong = program;
            wrong[load + 1].jf = 0; // whatever the word, it counts as the right one
            EXPECT_NE(prove_of(wrong).find("elsewhere (0x"), std::string::npos) << prove_of(wrong);
        }
    }
}

TEST_P(CombinedProgram, WithoutOneCallSiteIsRefusedWithAWitness) {
    for (std::size_t site = 0; site < 3; ++site) {
        auto wrong = program;
        wrong[block(site) + 1].jt = 3;
        const auto name = fmt::format("at ${} (0x", combined.at_call_sites[site].at_name());
        EXPECT_NE(prove_of(wrong).find(name), std::string::npos) << prove_of(wrong);
    }
}

TEST_P(CombinedProgram, ThatIsOneOfItsPartsAloneIsRefused) {
    for (const auto* policy : all_of(combined)) {
        const auto alone = compile(*policy, GetParam(), addresses).value();
        EXPECT_TRUE(tells_apart(prove_of(alone))) << policy->name << ": " << prove_of(alone);
    }
}

TEST_P(CombinedProgram, WithoutACheckOfTheAbiIsStillEqualForEachPartChecksItToo) {
    auto twice = program;
    twice[1].jf = 1;
    EXPECT_EQ(prove_of(twice), "equal");
}

// One call from one address, allowed by a program that is otherwise right.
TEST(CombinedWitness, NamesThePolicyTheCallAndWhereItComesFrom) {
    const auto combined = combine({piece("cell", "", "allow getpid : x\n"),
                                   piece("listener", "here", "allow getuid : x\nallow close fd == 7 : y\n")})
                              .value();
    const Bindings bindings = {{"here", 0x1234500001000}};
    const auto program = compile(combined, Arch::x86_64, bindings).value();
    const auto swapped = [&](std::uint32_t number, std::uint32_t other) {
        auto wrong = program;
        for (auto& i : wrong) {
            i.k = i.code == (BPF_JMP | BPF_JEQ | BPF_K) && i.k == number ? other : i.k;
        }
        const auto proved = prove(combined, Arch::x86_64, bindings, wrong);
        return proved ? "equal" : proved.error().text();
    };
    EXPECT_EQ(swapped(3, 4),
              "listener.policy:8:1: error: program and policy differ: for close(fd=7) on x86_64 at $here "
              "(0x1234500001000) the program returns kill-process, the policy says allow\n"
              "allow close fd == 7 : y\n^");
    EXPECT_EQ(swapped(39, 40),
              "cell.policy:5:1: error: program and policy differ: for getpid() on x86_64 elsewhere (0x0) the "
              "program returns kill-process, the policy says allow\nallow getpid : x\n^");
}

TEST(CombinedWitness, CallSitesWithEqualLowWordsAreDistinguished) {
    const auto combined = combine({piece("a", ""), piece("b", "here", "allow getuid : x\n"),
                                   piece("c", "there", "allow getpid : x\n")})
                              .value();
    for (const auto& [here, there] : {std::pair{0x100001000UL, 0x200001000UL},
                                      {0x200001000UL, 0x100001000UL},
                                      {0x1000UL, 0x100001000UL},
                                      {0x100000001UL, 0x100000002UL}}) {
        const Bindings bindings = {{"here", here}, {"there", there}};
        const auto program = compile(combined, native_arch, bindings).value();
        const auto proved = prove(combined, native_arch, bindings, program);
        EXPECT_TRUE(proved) << proved.error().text();
    }
}

TEST(CombinedProof, RefusesInstructionsOutsideTheFragment) {
    const auto proved = prove(shipped_together(), native_arch, addresses, Program{});
    ASSERT_FALSE(proved);
    EXPECT_EQ(placed(proved.error()), "0:0: cannot be proved: a program of 0 instructions");
}

TEST(CombinedText, IsEvaluatedByCallSite) {
    const auto combined = shipped_together();
    const auto says = [&](std::string_view call, std::uint64_t from) {
        seccomp_data data{};
        data.nr = static_cast<int>(number_of(Abi::x86_64, call).value());
        data.arch = audit_arch(Abi::x86_64);
        data.instruction_pointer = from;
        return evaluate(combined, Arch::x86_64, addresses, data).action.text();
    };
    const auto listener_site = addresses.at("listener_return");
    EXPECT_EQ(says("exit_group", listener_site), "allow");
    EXPECT_EQ(says("accept4", listener_site), "allow");
    EXPECT_EQ(says("accept4", listener_site + 1), "kill-process");
    EXPECT_EQ(says("accept4", addresses.at("clone_return")), "kill-process");
    EXPECT_EQ(says("exit_group", addresses.at("clone_return")), "kill-process");
    EXPECT_EQ(says("getppid", addresses.at("setup_return")), "allow");
    EXPECT_EQ(says("getppid", 0), "kill-process");
    EXPECT_EQ(says("exit_group", 0), "allow");
    EXPECT_EQ(&policy_at(combined, {}, listener_site), &combined.elsewhere)
        << "a call site that is not bound is nowhere";
}

} // namespace
} // namespace cloister::policy
