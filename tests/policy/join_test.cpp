// SPDX-License-Identifier: MIT
// One filter for all: what may be joined, and that the proof sees each way to join wrongly.
#include "fixture.h"

namespace cloister::policy {
namespace {

Policy piece(const std::string& name, const std::string& at, const std::string& lines = "",
             const std::string& otherwise = "kill-process", const std::string& archs = "x86_64 aarch64") {
    const auto place = at.empty() ? "" : fmt::format("at ${}\n", at);
    const auto param = at.empty() ? "" : fmt::format("param ${} addr : x\n", at);
    auto policy = parse(fmt::format("policy {} 1\nsyntax 1\n{}arch {}\nelse {}\n{}{}", name, place, archs,
                                    otherwise, param, lines),
                        name + ".policy");
    if (!policy) {
        throw std::runtime_error{policy.error().text()};
    }
    return std::move(*policy);
}

std::string join_of(std::vector<Policy> policies) {
    const auto joined = join(std::move(policies));
    return joined ? "joined" : joined.error().text();
}

std::string without_source(const std::string& text) {
    return text.substr(0, text.find('\n'));
}

TEST(Join, TakesOnePolicyForEachPlaceAndOneForElsewhere) {
    const auto joined = shipped_together();
    ASSERT_EQ(joined.places.size(), 3U);
    EXPECT_EQ(joined.places[0].name, "birth");
    EXPECT_EQ(joined.places[1].name, "door");
    EXPECT_EQ(joined.places[2].name, "listener");
    EXPECT_EQ(joined.elsewhere.name, "connection");
    EXPECT_EQ(join_of({piece("a", "")}), "joined") << "one alone holds everywhere";
}

TEST(Join, RefusesWhatWouldBeAmbiguous) {
    EXPECT_EQ(join_of({}), ": error: there are no policies to join");
    EXPECT_EQ(join_of({piece("b", ""), piece("a", "")}),
              "b.policy: error: it has no 'at', and neither has 'a': only one can hold everywhere else");
    EXPECT_EQ(join_of({piece("b", "here"), piece("a", "there")}),
              "a.policy:3:4: error: each of the policies has an 'at': one without is needed, which holds "
              "everywhere else\nat $there\n   ^");
    EXPECT_EQ(join_of({piece("a", ""), piece("b", "here"), piece("b", "there")}),
              "b.policy: error: b.policy has the name 'b', too");
    EXPECT_EQ(join_of({piece("a", ""), piece("b", "here"), piece("c", "here")}),
              "c.policy:3:4: error: 'b' is at $here, too\nat $here\n   ^");
    EXPECT_EQ(join_of({piece("a", ""), piece("b", "here", "", "errno EPERM")}),
              "b.policy: error: its else action is errno EPERM, that of 'a' is kill-process: joined policies "
              "have the same");
}

TEST(Join, RefusesWhatCouldBringBackAPlaceThatIsLost) {
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
        const auto at_a_place = join_of({piece("a", ""), piece("b", "here", line + " : x\n")});
        EXPECT_TRUE(at_a_place.starts_with("b.policy" + expected)) << at_a_place;
        EXPECT_EQ(join_of({piece("a", ""), piece("b", "here", "errno EPERM" + line.substr(5) + " : x\n")}),
                  "joined")
            << "what does nothing brings nothing back";
    }
    const auto elsewhere = join_of({piece("a", "", "allow brk  brk any : x\n"), piece("b", "here")});
    EXPECT_TRUE(elsewhere.starts_with("a.policy:5:1: error: 'brk' could bring back memory")) << elsewhere;
    for (const auto* flags : {"any", "<= 17", "in 0x11", "== CLONE_VM|17"}) {
        const auto line = fmt::format(
            "allow clone  flags {}  stack any  parent_tid any  child_tid any  tls any : x\n", flags);
        const auto refused = join_of({piece("a", ""), piece("b", "here", line)});
        EXPECT_TRUE(refused.starts_with("b.policy:7:1: error: policies that share a program can allow clone "
                                        "only with flags that are given by '==' and have no CLONE_VM: parent "
                                        "and child would lose their places together\n"))
            << refused;
    }
}

TEST(Join, MakesTheSameBytesInWhateverOrder) {
    const auto one = compile(shipped_together(), native_arch, addresses).value();
    const auto joined = join({shipped("birth"), shipped("door"), shipped("connection"), shipped("listener")});
    const auto other = compile(joined.value(), native_arch, addresses).value();
    ASSERT_EQ(one.size(), other.size());
    EXPECT_EQ(std::memcmp(one.data(), other.data(), one.size() * sizeof(sock_filter)), 0);
}

TEST(Join, KeepsEachProgramAsItWasAlone) {
    const auto joined = shipped_together();
    const auto made = assemble(joined, native_arch, addresses).value();
    ASSERT_EQ(made.parts.size(), 5U);
    EXPECT_EQ(made.parts[0].policy, nullptr);
    EXPECT_EQ(made.parts[1].policy, &joined.elsewhere);
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

TEST(Join, NeedsEachAddressOnceAndNoOther) {
    const auto joined = shipped_together();
    const auto program = compile(joined, native_arch, addresses).value();
    // Said by compiler and proof alike.
    const auto error = [&](const Bindings& bindings) {
        const auto compiled = compile(joined, native_arch, bindings);
        const auto proved = prove(joined, native_arch, bindings, program);
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
    EXPECT_EQ(error(without_stack), "door.policy:8:12: error: the parameter $stack is not bound");
    auto without_gate = addresses;
    without_gate.erase("gate_return");
    EXPECT_EQ(error(without_gate), "listener.policy:8:12: error: the parameter $gate_return is not bound");
    EXPECT_EQ(error(with("ladder_return", 0)),
              "birth.policy:7:12: error: the parameter $ladder_return is bound to 0");
    EXPECT_EQ(error(with("roof", 1)),
              "connection.policy: error: neither it nor those that it is joined with have a parameter $roof");
    EXPECT_EQ(error(with("door_return", addresses.at("gate_return"))),
              "listener.policy:5:12: error: $gate_return and $door_return of 'door' are both bound to "
              "0x55d2c0ffe017");
}

TEST(Join, NeedsTheAbiOfEach) {
    const auto joined = join({piece("a", ""), piece("b", "here", "", "kill-process", "x86_64")}).value();
    EXPECT_TRUE(compile(joined, Arch::x86_64, {{"here", 1}}));
    const auto compiled = compile(joined, Arch::aarch64, {{"here", 1}});
    ASSERT_FALSE(compiled);
    EXPECT_EQ(compiled.error().text(), "b.policy: error: the policy does not list aarch64");
}

TEST(Join, RefusesMoreThanTheKernelTakes) {
    std::string lines;
    for (unsigned i = 0; i < 900; ++i) {
        lines += fmt::format("allow munmap addr == 0x{:x}  len == {} : x\n", i * 0x1000000001UL, i);
    }
    const auto joined = join({piece("a", "", lines), piece("b", "here", lines)}).value();
    const auto compiled = compile(joined, native_arch, {{"here", 1}});
    ASSERT_FALSE(compiled);
    const auto alone = compile(joined.elsewhere, native_arch, {}).value().size();
    EXPECT_EQ(compiled.error().text(),
              fmt::format("a.policy: error: joined, the policies make {} instructions; the kernel takes 4096",
                          3 + 5 + 2 * alone));
}

// Conditional jumps reach 255 instructions; a policy may be longer.
TEST(Join, ReachesPoliciesThatAreFarAway) {
    std::string lines;
    for (unsigned i = 0; i < 200; ++i) {
        lines += fmt::format("allow munmap addr == 0x{:x}  len == {} : x\n", i * 0x1000000001UL, i);
    }
    const auto joined = join({piece("a", "", lines), piece("b", "here", lines), piece("c", "there")}).value();
    const Bindings bindings = {{"here", 1}, {"there", 2}};
    const auto program = compile(joined, native_arch, bindings).value();
    EXPECT_GT(program.size(), 1000U);
    const auto proved = prove(joined, native_arch, bindings, program);
    EXPECT_TRUE(proved) << proved.error().text();
}

class JoinedProgram : public testing::TestWithParam<Arch> {
  public:
    [[nodiscard]] std::string prove_of(const Program& bytes, const Bindings& bindings = addresses) const {
        const auto proved = prove(joined, GetParam(), bindings, bytes);
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
    // Where the block of the prologue that asks for that place begins: two words, each loaded and compared.
    [[nodiscard]] static std::size_t block(std::size_t place) { return 3 + 5 * place; }

    Joined joined = shipped_together();
    Program program = compile(joined, GetParam(), addresses).value();
};
INSTANTIATE_TEST_SUITE_P(Each, JoinedProgram, testing::Values(Arch::x86_64, Arch::aarch64),
                         [](const auto& test) { return std::string{to_string(test.param)}; });

TEST_P(JoinedProgram, IsProvedEqualToItsTexts) {
    EXPECT_EQ(prove_of(program), "equal");
    EXPECT_LT(program.size(), 2048U) << "the room that a plan has for it";
}

TEST_P(JoinedProgram, IsNotEqualForAnotherAddress) {
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

TEST_P(JoinedProgram, WithTwoPlacesSwappedIsRefusedWithAWitness) {
    for (const auto* a : {"gate_return", "door_return", "ladder_return"}) {
        for (const auto* b : {"door_return", "ladder_return"}) {
            if (std::string_view{a} == b) {
                continue;
            }
            auto swapped = addresses;
            std::swap(swapped[a], swapped[b]);
            const auto wrong = compile(joined, GetParam(), swapped).value();
            const auto said = prove_of(wrong);
            EXPECT_TRUE(said.find(fmt::format("at ${} (0x", a)) != std::string::npos ||
                        said.find(fmt::format("at ${} (0x", b)) != std::string::npos)
                << said;
            EXPECT_EQ(prove_of(wrong, swapped), "equal");
        }
    }
}

TEST_P(JoinedProgram, ThatAsksForOneWordOnlyIsRefusedWithAWitness) {
    for (std::size_t place = 0; place < 3; ++place) {
        for (const auto load : {block(place), block(place) + 2}) {
            auto wrong = program;
            wrong[load + 1].jf = 0; // whatever the word, it counts as the right one
            EXPECT_NE(prove_of(wrong).find("elsewhere (0x"), std::string::npos) << prove_of(wrong);
        }
    }
}

TEST_P(JoinedProgram, ThatForgetsAPlaceIsRefusedWithAWitness) {
    for (std::size_t place = 0; place < 3; ++place) {
        auto wrong = program;
        wrong[block(place) + 1].jt = 3;
        const auto name = fmt::format("at ${} (0x", joined.places[place].at_name());
        EXPECT_NE(prove_of(wrong).find(name), std::string::npos) << prove_of(wrong);
    }
}

TEST_P(JoinedProgram, ThatIsOneOfItsPartsAloneIsRefused) {
    for (const auto* policy : all_of(joined)) {
        const auto alone = compile(*policy, GetParam(), addresses).value();
        EXPECT_TRUE(tells_apart(prove_of(alone))) << policy->name << ": " << prove_of(alone);
    }
}

TEST_P(JoinedProgram, WithoutACheckOfTheAbiIsStillEqualForEachPartChecksItToo) {
    auto twice = program;
    twice[1].jf = 1;
    EXPECT_EQ(prove_of(twice), "equal");
}

// One call from one address, allowed by a program that is otherwise right.
TEST(JoinedWitness, NamesThePolicyTheCallAndWhereItComesFrom) {
    const auto joined = join({piece("cell", "", "allow getpid : x\n"),
                              piece("gate", "here", "allow getuid : x\nallow close fd == 7 : y\n")})
                            .value();
    const Bindings bindings = {{"here", 0x1234500001000}};
    const auto program = compile(joined, Arch::x86_64, bindings).value();
    const auto swapped = [&](std::uint32_t number, std::uint32_t other) {
        auto wrong = program;
        for (auto& i : wrong) {
            i.k = i.code == (BPF_JMP | BPF_JEQ | BPF_K) && i.k == number ? other : i.k;
        }
        const auto proved = prove(joined, Arch::x86_64, bindings, wrong);
        return proved ? "equal" : proved.error().text();
    };
    EXPECT_EQ(swapped(3, 4),
              "gate.policy:8:1: error: program and policy differ: for close(fd=7) on x86_64 at $here "
              "(0x1234500001000) the program says kill-process, the policy allow\n"
              "allow close fd == 7 : y\n^");
    EXPECT_EQ(swapped(39, 40),
              "cell.policy:5:1: error: program and policy differ: for getpid() on x86_64 elsewhere (0x0) the "
              "program says kill-process, the policy allow\nallow getpid : x\n^");
}

TEST(JoinedWitness, PlacesWithEqualLowWordsAreToldApart) {
    const auto joined = join({piece("a", ""), piece("b", "here", "allow getuid : x\n"),
                              piece("c", "there", "allow getpid : x\n")})
                            .value();
    for (const auto& [here, there] : {std::pair{0x100001000UL, 0x200001000UL},
                                      {0x200001000UL, 0x100001000UL},
                                      {0x1000UL, 0x100001000UL},
                                      {0x100000001UL, 0x100000002UL}}) {
        const Bindings bindings = {{"here", here}, {"there", there}};
        const auto program = compile(joined, native_arch, bindings).value();
        const auto proved = prove(joined, native_arch, bindings, program);
        EXPECT_TRUE(proved) << proved.error().text();
    }
}

TEST(JoinedProof, RefusesWhatItDoesNotUnderstand) {
    const auto proved = prove(shipped_together(), native_arch, addresses, Program{});
    ASSERT_FALSE(proved);
    EXPECT_EQ(placed(proved.error()), "0:0: cannot be proved: a program of 0 instructions");
}

TEST(JoinedText, SpeaksByPlace) {
    const auto joined = shipped_together();
    const auto says = [&](std::string_view call, std::uint64_t from) {
        seccomp_data data{};
        data.nr = static_cast<int>(number_of(Abi::x86_64, call).value());
        data.arch = audit_arch(Abi::x86_64);
        data.instruction_pointer = from;
        return evaluate(joined, Arch::x86_64, addresses, data).action.text();
    };
    const auto gate = addresses.at("gate_return");
    EXPECT_EQ(says("exit_group", gate), "allow");
    EXPECT_EQ(says("accept4", gate), "allow");
    EXPECT_EQ(says("accept4", gate + 1), "kill-process");
    EXPECT_EQ(says("accept4", addresses.at("door_return")), "kill-process");
    EXPECT_EQ(says("exit_group", addresses.at("door_return")), "kill-process");
    EXPECT_EQ(says("getppid", addresses.at("ladder_return")), "allow");
    EXPECT_EQ(says("getppid", 0), "kill-process");
    EXPECT_EQ(says("exit_group", 0), "allow");
    EXPECT_EQ(&policy_at(joined, {}, gate), &joined.elsewhere) << "a place that is not bound is nowhere";
}

} // namespace
} // namespace cloister::policy
