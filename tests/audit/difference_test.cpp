// SPDX-License-Identifier: MIT
// What two filters decide differently. Each change that is found is tried with the interpreters, which share
// no code with it.
#include "../policy/fixture.h"
#include "audit/difference.h"
#include "audit/map.h"
#include "audit/review.h"
#include "audit/written.h"

#include <fstream>
#include <gmock/gmock.h>
#include <random>

namespace cloister::audit {
namespace {

using namespace policy;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr std::string_view header = "policy p 1\nsyntax 1\narch x86_64\nelse kill-process\n";

Policy policy_of(const std::string& rules, std::string_view before = header) {
    return parsed(rules, before);
}

// "close wider kill-process allow"
std::vector<std::string> told(const std::vector<Change>& changes) {
    std::vector<std::string> lines;
    for (const auto& change : changes) {
        lines.push_back(fmt::format("{}{}{} {} {}", change.site, change.site.empty() ? "" : " ", change.call,
                                    change.before.text(), change.after.text()));
    }
    return lines;
}

Bindings bindings_of(const Change& change) {
    Bindings bindings;
    for (std::size_t i = 0; i < change.params.size(); ++i) {
        bindings[change.params[i]] = change.witness.params[i];
    }
    return bindings;
}

// The policy of a combined filter that the change is about.
Subject at_site(const Subject& subject, std::string_view site) {
    const auto* combined = std::get_if<Combined>(&subject);
    if (combined == nullptr || site.empty()) {
        return subject;
    }
    for (const auto& policy : combined->at_call_sites) {
        if (site == fmt::format("at ${}", policy.at_name())) {
            return policy;
        }
    }
    return combined->elsewhere;
}

// Both sides decide the witness as the change says, and the change goes where it says.
void expect_true(const Subject& before, const Subject& after, const std::vector<Change>& changes) {
    for (const auto& change : changes) {
        const auto bindings = bindings_of(change);
        EXPECT_EQ(decided(at_site(before, change.site), Arch::x86_64, bindings, change.witness.data),
                  change.before)
            << change.call;
        EXPECT_EQ(decided(at_site(after, change.site), Arch::x86_64, bindings, change.witness.data),
                  change.after)
            << change.call;
        EXPECT_NE(change.before, change.after);
        const auto direction = change.before.kind < change.after.kind   ? Direction::wider
                               : change.before.kind > change.after.kind ? Direction::narrower
                                                                        : Direction::other;
        EXPECT_EQ(change.direction, direction);
    }
}

std::vector<std::string> compare(const Subject& before, const Subject& after) {
    const auto changes = difference(before, after, Arch::x86_64, {});
    expect_true(before, after, changes);
    return told(changes);
}

TEST(Difference, NoneWhereTheWordsAloneDiffer) {
    EXPECT_THAT(compare(policy_of("allow close fd <= 1 : x\n"),
                        policy_of("const LAST 1 : y\nallow close fd == 1 : y\nallow close fd == 0 : y\n")),
                IsEmpty());
}

TEST(Difference, IsToldByCallAndDirection) {
    EXPECT_THAT(
        compare(policy_of("allow close fd <= 3 : x\nerrno EPERM munmap any : x\nallow brk any : x\n"),
                policy_of("allow close fd >= 2 : x\nerrno ENOSYS munmap any : x\nallow read any : x\n")),
        ::testing::UnorderedElementsAre("read kill-process allow", "close kill-process allow",
                                        "close allow kill-process", "munmap errno EPERM errno ENOSYS",
                                        "brk allow kill-process"));
}

TEST(Difference, OfElseIsSaidOfAllThatHasNoRuleAndOfOtherAbis) {
    const auto changes =
        compare(policy_of("allow close any : x\n"),
                policy_of("allow close any : x\n", "policy p 1\nsyntax 1\narch x86_64\nelse errno EPERM\n"));
    EXPECT_THAT(changes, ::testing::Contains("read kill-process errno EPERM"));
    EXPECT_THAT(changes, ::testing::Contains("x86_64:calls without a name kill-process errno EPERM"));
    EXPECT_THAT(changes, ::testing::Contains("i386:read kill-process errno EPERM"));
    EXPECT_THAT(changes, ::testing::Not(::testing::Contains("calls of other ABIs kill-process errno EPERM")))
        << "a kernel for x86_64 has none";
    EXPECT_THAT(changes, ::testing::Not(::testing::Contains("close kill-process errno EPERM")));
}

TEST(Difference, HoldsForAllValuesOfParameters) {
    const auto with = [](std::string_view condition) {
        return policy_of(
            fmt::format("param $a addr : x\nparam $b addr : x\nallow munmap addr {}  any : x\n", condition));
    };
    EXPECT_THAT(compare(with("== $a"), with("== $a")), IsEmpty());
    EXPECT_THAT(compare(with("== $a"), with("== $b")), SizeIs(2))
        << "they may be bound to different addresses";
    EXPECT_THAT(compare(with("== $a"), with("<= $a")), SizeIs(1));
}

TEST(Difference, IsToldByCallSite) {
    auto before = shipped_together();
    auto after = before;
    after.at_call_sites[0].rules.pop_back();
    const auto changes = compare(before, after);
    ASSERT_THAT(changes, SizeIs(1));
    EXPECT_EQ(changes[0].substr(0, changes[0].find(' ', 4)), "at $clone_return");
    EXPECT_THAT(compare(before, before), IsEmpty());
}

TEST(Difference, OfBytesThatAreRightAndOfBytesThatAreNot) {
    const auto combined = shipped_together();
    auto program = compile(combined, Arch::x86_64, addresses).value();
    const auto bytes = [&] { return Subject{std::vector<Program>{program}}; };
    EXPECT_THAT(difference(combined, bytes(), Arch::x86_64, addresses), IsEmpty());
    for (auto& i : program) {
        if (i.code == (BPF_RET | BPF_K) && i.k == SECCOMP_RET_KILL_PROCESS) {
            i.k = SECCOMP_RET_ALLOW;
            break;
        }
    }
    const auto changes = difference(combined, bytes(), Arch::x86_64, addresses);
    ASSERT_FALSE(changes.empty());
    for (const auto& change : changes) {
        EXPECT_EQ(change.direction, Direction::wider);
        EXPECT_EQ(decided(combined, Arch::x86_64, addresses, change.witness.data), change.before);
        EXPECT_EQ(decided(bytes(), Arch::x86_64, {}, change.witness.data), change.after);
    }
}

TEST(Difference, OfSeveralFiltersIsThatOfTheStrictest) {
    const auto one =
        compile(policy_of("allow close any : x\nallow read any : x\n"), Arch::x86_64, {}).value();
    const auto other =
        compile(policy_of("allow close any : x\nerrno EPERM brk any : x\n"), Arch::x86_64, {}).value();
    EXPECT_THAT(compare(std::vector<Program>{one, other}, policy_of("allow close any : x\n")), IsEmpty());
    EXPECT_THAT(compare(std::vector<Program>{one}, policy_of("allow close any : x\n")), SizeIs(1));
}

// Filters of programs from Debian, as the kernel gave them.
class RealFilter : public testing::TestWithParam<std::string> {
  public:
    static Program load() {
        const auto path = std::string{CLOISTER_FILTERS} + "/" + GetParam() + ".bpf";
        std::ifstream file{path, std::ios::binary};
        const std::string bytes{std::istreambuf_iterator<char>{file}, {}};
        Program program(bytes.size() / sizeof(sock_filter));
        std::memcpy(program.data(), bytes.data(), bytes.size());
        return program;
    }
};
TEST_P(RealFilter, IsWrittenAsATextThatIsEqual) {
    const std::vector<Program> programs{load()};
    ASSERT_GT(programs[0].size(), 5U);
    const auto made = written(programs, Arch::x86_64, "filter", "a test");
    ASSERT_FALSE(made.text.empty()) << made.refusal;
    const auto policy = parse(made.text, "p");
    ASSERT_TRUE(policy) << policy.error().text();
    ASSERT_TRUE(check(*policy, nullptr));
    EXPECT_THAT(told(difference(programs, *policy, Arch::x86_64, {})), IsEmpty());
    // And by the interpreters, for calls around what the filter compares.
    std::mt19937_64 random{7};
    const auto constant = [&] { return programs[0][random() % programs[0].size()].k; };
    for (int n = 0; n < (instrumented ? 500 : 4000); ++n) {
        seccomp_data call{};
        const auto number = n % 3 == 0 ? static_cast<std::uint32_t>(random() % 480) : constant();
        call.nr = static_cast<int>(number + static_cast<std::uint32_t>(random() % 3) - 1);
        call.arch = audit_arch(n % 5 == 0 ? Abi::i386 : Abi::x86_64);
        for (auto& argument : call.args) {
            argument = constant() | (random() % 4 == 0 ? std::uint64_t{constant()} << 32U : 0);
        }
        ASSERT_EQ(decided(programs, Arch::x86_64, {}, call), decided(*policy, Arch::x86_64, {}, call))
            << describe(call);
    }
}
INSTANTIATE_TEST_SUITE_P(Each, RealFilter,
                         testing::Values("bubblewrap-0", "chromium-gpu-0", "chromium-network-0",
                                         "chromium-renderer-0", "crun-docker-0", "openssh-0", "runc-docker-0",
                                         "systemd-service-0", "systemd-service-1", "systemd-service-2",
                                         "systemd-service-3", "systemd-service-4", "systemd-service-5",
                                         "systemd-service-6", "systemd-service-7", "tor-0", "vsftpd-0"),
                         [](const auto& test) {
                             auto name = test.param;
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name;
                         });

TEST(Written, DamagedFiltersAreRefusedOrWrittenAsTheyAre) {
    std::ifstream file{std::string{CLOISTER_FILTERS} + "/openssh-0.bpf", std::ios::binary};
    const std::string bytes{std::istreambuf_iterator<char>{file}, {}};
    std::mt19937 random{3};
    unsigned refused = 0;
    unsigned equal = 0;
    for (int n = 0; n < 150; ++n) {
        auto damaged = bytes;
        for (auto changes = 1 + random() % 5; changes > 0; --changes) {
            damaged[random() % damaged.size()] = static_cast<char>(random());
        }
        std::vector<Program> programs(1, Program(damaged.size() / sizeof(sock_filter)));
        std::memcpy(programs[0].data(), damaged.data(), damaged.size());
        try {
            const auto made = written(programs, Arch::x86_64, "filter", "a test");
            const auto policy = parse(made.text, "p");
            if (made.text.empty()) {
                EXPECT_FALSE(made.refusal.empty());
                ++refused;
                continue;
            }
            ASSERT_TRUE(policy) << policy.error().text();
            EXPECT_THAT(told(difference(programs, *policy, Arch::x86_64, {})), IsEmpty());
            ++equal;
        } catch (const std::invalid_argument& why) {
            EXPECT_EQ(std::string{why.what()}.substr(0, 4), "inst") << why.what();
            ++refused;
        }
    }
    EXPECT_GT(refused, 20U);
    EXPECT_GT(equal, 20U);
}

TEST(Written, RefusesFiltersThatLookAtTheInstructionPointer) {
    const std::vector<Program> programs{compile(shipped_together(), Arch::x86_64, addresses).value()};
    const auto made = written(programs, Arch::x86_64, "filter", "a test");
    EXPECT_EQ(made.text, "");
    EXPECT_THAT(made.refusal, testing::StartsWith("they look at the instruction pointer"));
}

TEST(Map, TellsOpenConditionalAndClosed) {
    const auto policy = policy_of(
        "allow close any : x\nallow munmap addr == 3  any : x\nlog brk any : x\nerrno EPERM read any : x\n");
    const auto map = map_of(policy, Arch::x86_64, {policy});
    const auto state = [&](std::string_view name) {
        return to_string(std::find_if(map.calls.begin(), map.calls.end(), [&](const auto& c) {
                             return c.name == name;
                         })->state);
    };
    EXPECT_EQ(state("close"), "open");
    EXPECT_EQ(state("brk"), "open");
    EXPECT_EQ(state("munmap"), "open with conditions");
    EXPECT_EQ(state("read"), "closed");
    EXPECT_EQ(state("write"), "closed");
    EXPECT_EQ(map.calls.size(), all_names(Abi::x86_64).size());
    const auto svg = as_svg(map, "<\"a\" & b>");
    EXPECT_THAT(svg, testing::HasSubstr("&lt;&quot;a&quot; &amp; b&gt;"));
    EXPECT_THAT(svg, testing::HasSubstr("<title>munmap (11): allow, kill-process</title>"));
}

TEST(Review, TheHashIsOfTheMeaningAlone) {
    const auto hash = [](const std::string& rules, std::string_view before = header) {
        return meaning_hash(policy_of(rules, before));
    };
    const auto one = hash("param $a addr : x\nparam $b addr : x\nallow munmap addr == $a  len == $b : x\n");
    EXPECT_EQ(one.size(), 64U);
    EXPECT_EQ(
        one,
        hash(
            "# z\nparam $b addr : y\nparam $a addr : y\nallow munmap  addr == $a len == $b : other words\n"));
    EXPECT_NE(one, hash("param $a addr : x\nparam $b addr : x\nallow munmap addr == $b  len == $a : x\n"));
    EXPECT_NE(hash("allow close fd <= 3 : x\n"), hash("allow close fd <= 4 : x\n"));
    EXPECT_EQ(hash("allow close fd <= 0 : x\n"), hash("allow close fd == 0 : x\n"));
    EXPECT_NE(hash("allow close any : x\n"),
              hash("allow close any : x\n", "policy p 1\nsyntax 1\narch aarch64\nelse kill-process\n"));
}

TEST(Review, ARecordIsReadAsItWasWritten) {
    const Review review{"Jane Doe <jane@example.org>", "2026-11-27", "abc", "policy p 1\nsyntax 1\n"};
    const auto text = as_text(review);
    const auto read = parse_review(text, "r");
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(read->reviewer, review.reviewer);
    EXPECT_EQ(read->date, review.date);
    EXPECT_EQ(read->hash, review.hash);
    EXPECT_EQ(read->text, review.text);
    const auto start = text.find("\n\n");
    for (std::size_t size = 0; size <= start; ++size) { // each beginning of the header
        EXPECT_FALSE(parse_review(text.substr(0, size), "r")) << size;
    }
    EXPECT_EQ(placed(parse_review("x\n", "r").error()),
              "1:1: this is no review record: make it by 'cloister policy review'");
    auto swapped = text;
    swapped.replace(swapped.find("reviewer Jane"), 8, "rewiever");
    EXPECT_EQ(placed(parse_review(swapped, "r").error()), "2:1: expected 'reviewer' and its value");
}

} // namespace
} // namespace cloister::audit
