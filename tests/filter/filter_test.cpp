// SPDX-License-Identifier: MIT
//
// The third tier: what policy/*.policy says, the running kernel does.
#include "cage.h"

#include <algorithm>
#include <fmt/format.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <iostream>
#include <sched.h>
#include <set>
#include <sys/mount.h>

namespace cloister::live {
namespace {

using policy::Action;

constexpr long last_number = 1023;
constexpr std::uint64_t high_half = 0x1'0000'0000;
/// The kernel lets these two pass every filter on x86_64, which alone has them: kernel/seccomp.c.
constexpr const char* exempt[] = {"uretprobe", "uprobe"};
constexpr Site sites[] = {Site::listener, Site::clone, Site::setup, Site::elsewhere};

alignas(arch::max_page_size) std::uint8_t buffer[65536];
alignas(arch::max_page_size) std::uint8_t
    setup_page[arch::max_page_size]; // what the setup call site may unmap

policy::Policy shipped(const std::string& name) {
    return policy::load(fmt::format("{}/{}.policy", CLOISTER_POLICIES, name)).value();
}

/// The one program of listener and cells of a handler, bound to this test's instructions.
class Cage {
  public:
    /// `ia32_site` shall be where int $0x80 stands.
    explicit Cage(Site ia32_site = Site::elsewhere, const std::string& handler = "echo")
        : ia32_site_{ia32_site}, handler_{handler} {}

    [[nodiscard]] Outcome run(const Attempt& attempt, Site site) const {
        return in_child(
            attempt, site,
            [&] {
                (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); // without it, install() fails
                install(program_);
            },
            attempt.number == SYS_ppoll && allows(attempt, site)); // without a descriptor and a timeout
    }

    [[nodiscard]] bool allows(const Attempt& attempt, Site site) const {
        return policy::evaluate(combined_, policy::native_arch, bindings_, as_data(attempt, site))
                   .action.kind == Action::Kind::allow;
    }

    /// A call for each rule of the policy that holds there, which meets all its conditions.
    [[nodiscard]] std::vector<Attempt> allowed_calls(Site site) const {
        const auto& policy = policy::policy_at(combined_, bindings_, return_address(site));
        std::vector<Attempt> calls;
        for (const auto& rule : policy.rules) {
            Attempt attempt{static_cast<long>(*policy::number_of(native_abi, rule.prototype->name)), {}};
            for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
                const auto& operand = rule.conditions[i].operand;
                attempt.arguments[rule.prototype->index(i, policy::native_arch)] =
                    operand.param ? bindings_.at(policy.params[*operand.param].name) : operand.value;
            }
            calls.push_back(attempt);
        }
        return calls;
    }

    /// It ends as the text says: of SIGSYS, or not of it.
    void expect_by_policy(const Attempt& attempt, Site site) const;

  private:
    [[nodiscard]] std::uint64_t address_of(Site site) const {
        return return_address(site == ia32_site_ ? Site::ia32 : site);
    }

    Site ia32_site_;
    std::string handler_;
    policy::Combined combined_ = policy::combine({shipped("handlers/" + handler_), shipped("listener"),
                                                  shipped("clone"), shipped("setup")})
                                     .value();
    policy::Bindings bindings_{{"buffer", reinterpret_cast<std::uint64_t>(buffer)},
                               {"stack", reinterpret_cast<std::uint64_t>(buffer + sizeof buffer)},
                               {"setup_page", reinterpret_cast<std::uint64_t>(setup_page)},
                               {"setup_page_size", sizeof setup_page},
                               {"listener_return", address_of(Site::listener)},
                               {"clone_return", address_of(Site::clone)},
                               {"setup_return", address_of(Site::setup)}};
    policy::Program program_ = policy::compile(combined_, policy::native_arch, bindings_).value();
};

std::string show(const Attempt& attempt) {
    return fmt::format("call {} ({}) with {:x}", attempt.number,
                       policy::name_of(native_abi, static_cast<std::uint32_t>(attempt.number)),
                       fmt::join(attempt.arguments, " "));
}

bool is_exempt(long number) {
    return std::find(std::begin(exempt), std::end(exempt),
                     policy::name_of(native_abi, static_cast<std::uint32_t>(number))) != std::end(exempt);
}

void Cage::expect_by_policy(const Attempt& attempt, Site site) const {
    const Outcome outcome = run(attempt, site);
    EXPECT_EQ(!allows(attempt, site), outcome.killed_by(SIGSYS))
        << show(attempt) << " at site " << static_cast<int>(site) << ": status " << outcome.status;
    if (allows(attempt, site) &&
        site != Site::clone) { // what it clones has no code: it may end by its child's signal
        // These two may wait: where the sanitizers have their shadow memory, any address is one of a signal
        // set.
        const bool waits = attempt.number == SYS_ppoll || attempt.number == SYS_rt_sigtimedwait;
        EXPECT_TRUE(outcome.exited() || (waits && outcome.killed_by(SIGALRM)))
            << show(attempt) << ": status " << outcome.status;
    }
}

struct CallSite {
    Site site;
    std::string handler;
};

class LiveFilterAt : public testing::TestWithParam<CallSite> {
  protected:
    Site site_ = GetParam().site;
    Cage cage_{Site::elsewhere, GetParam().handler};
};

TEST_P(LiveFilterAt, EveryNumberWithoutArgumentsEndsByThePolicyOfThatCallSite) {
    for (long number = 0; number <= last_number; ++number) {
        if (!is_exempt(number)) {
            cage_.expect_by_policy({number, {}}, site_);
        }
    }
}

TEST_P(LiveFilterAt, EveryNumberWithTheX32BitEndsIt) {
    for (long number = 0; number <= last_number; ++number) {
        EXPECT_TRUE(cage_.run({number | 0x40000000, {}}, site_).killed_by(SIGSYS)) << number;
    }
}

TEST_P(LiveFilterAt, NumbersThatAreNoneEndIt) {
    for (const long number : {-1L, -2L, 0x7fffffffL, 0xffffffffL, -0x80000000L}) {
        EXPECT_TRUE(cage_.run({number, {}}, site_).killed_by(SIGSYS)) << number;
    }
}

TEST_P(LiveFilterAt, AllowsWhatThePolicyOfThatCallSiteAllows) {
    const auto calls = cage_.allowed_calls(site_);
    EXPECT_FALSE(calls.empty());
    for (const Attempt& attempt : calls) {
        ASSERT_TRUE(cage_.allows(attempt, site_)) << show(attempt);
        cage_.expect_by_policy(attempt, site_);
    }
}

TEST_P(LiveFilterAt, EachArgumentOfAnAllowedCallPerturbedEndsByThePolicyOfThatCallSite) {
    for (const Attempt& allowed : cage_.allowed_calls(site_)) {
        for (std::size_t i = 0; i < allowed.arguments.size(); ++i) {
            const std::uint64_t value = allowed.arguments[i];
            for (const std::uint64_t other :
                 {value + 1, value - 1, value | high_half, value ^ high_half, ~std::uint64_t{0},
                  value | 0x8000'0000'0000'0000, value ^ 0x8000'0000, std::uint64_t{0}}) {
                Attempt attempt = allowed;
                attempt.arguments[i] = other;
                cage_.expect_by_policy(attempt, site_);
            }
        }
    }
}

/// What one call site may do, the others may not, unless their own policy says so.
TEST_P(LiveFilterAt, CallsOfTheOtherCallSitesEndByThePolicyOfThatCallSite) {
    for (const Site other : sites) {
        for (const Attempt& attempt : cage_.allowed_calls(other)) {
            cage_.expect_by_policy(attempt, site_);
        }
    }
}

std::string name_of(const testing::TestParamInfo<CallSite>& instance) {
    constexpr const char* names[] = {"ListenerCallSite", "CloneCallSite", "SetupCallSite", "Elsewhere"};
    const auto& [site, handler] = instance.param;
    return names[static_cast<std::size_t>(site)] + (handler == "echo" ? "" : "Of" + handler);
}
INSTANTIATE_TEST_SUITE_P(CallSite, LiveFilterAt,
                         testing::Values(CallSite{Site::listener, "echo"}, CallSite{Site::clone, "echo"},
                                         CallSite{Site::setup, "echo"}, CallSite{Site::elsewhere, "echo"},
                                         CallSite{Site::elsewhere, "discard"},
                                         CallSite{Site::elsewhere, "daytime"},
                                         CallSite{Site::elsewhere, "static"},
                                         CallSite{Site::elsewhere, "metrics"}),
                         name_of);

/// What distinguishes the handlers.
TEST(LiveFilter, EachHandlersCellsMayMakeItsOwnCallsAndNoOthers) {
    const auto names_of = [](const std::string& handler) {
        std::set<std::string_view> names;
        for (const Attempt& attempt : Cage{Site::elsewhere, handler}.allowed_calls(Site::elsewhere)) {
            names.insert(policy::name_of(native_abi, static_cast<std::uint32_t>(attempt.number)));
        }
        return names;
    };
    using Names = std::set<std::string_view>;
    const Names common{"recvfrom", "shutdown", "close", "exit_group"};
    Names sending = common;
    sending.insert("sendto");
    Names telling_the_time = sending;
    telling_the_time.insert("clock_gettime");
    EXPECT_EQ(names_of("discard"), common);
    EXPECT_EQ(names_of("echo"), sending);
    EXPECT_EQ(names_of("static"), sending);
    EXPECT_EQ(names_of("metrics"), sending);
    EXPECT_EQ(names_of("daytime"), telling_the_time);
    const Attempt send{SYS_sendto, {0, reinterpret_cast<std::uint64_t>(buffer), 1, MSG_NOSIGNAL}};
    const Attempt time{SYS_clock_gettime, {CLOCK_REALTIME, reinterpret_cast<std::uint64_t>(buffer)}};
    for (const std::string handler : {"echo", "discard", "daytime", "static", "metrics"}) {
        const Cage cage{Site::elsewhere, handler};
        EXPECT_EQ(cage.run(send, Site::elsewhere).killed_by(SIGSYS), handler == "discard") << handler;
        EXPECT_EQ(cage.run(time, Site::elsewhere).killed_by(SIGSYS), handler != "daytime") << handler;
    }
}

TEST(LiveFilter, The32BitInstructionEndsAtEachCallSite) {
    constexpr long getpid = 20; // of i386
    const Outcome control = in_child({getpid, {}}, Site::ia32, [] {});
    if (control.killed_by(end_without_ia32)) {
        GTEST_SKIP() << "this kernel (CONFIG_IA32_EMULATION), or this processor, has no 32-bit system calls "
                        "for 64-bit programs, so there is nothing to forbid";
    }
    ASSERT_TRUE(control.exited());
    for (const Site site : sites) { // listener, clone, setup are where that instruction stands, then none is
        const Cage cage{site};
        for (long number = -1; number <= last_number; ++number) {
            EXPECT_TRUE(cage.run({number, {}}, Site::ia32).killed_by(SIGSYS))
                << number << " at site " << static_cast<int>(site);
        }
    }
}

TEST(LiveFilter, TheListenerCannotReadFromAClientFromItsCallSite) {
    const Cage cage;
    const Attempt recv = cage.allowed_calls(Site::elsewhere).front();
    ASSERT_EQ(recv.number, SYS_recvfrom);
    const std::uint64_t to = recv.arguments[1];
    EXPECT_TRUE(cage.run(recv, Site::listener).killed_by(SIGSYS));
    for (const long number : {SYS_read, SYS_readv, SYS_pread64, SYS_preadv, SYS_preadv2, SYS_recvfrom,
                              SYS_recvmsg, SYS_recvmmsg, SYS_sendfile, SYS_splice, SYS_tee}) {
        EXPECT_TRUE(cage.run({number, {0, to, 1}}, Site::listener).killed_by(SIGSYS)) << number;
    }
    // Any other instruction of the listener makes a cell's calls and no more: SECURITY.md, what this does not
    // give.
    EXPECT_TRUE(cage.run(recv, Site::elsewhere).exited());
    EXPECT_TRUE(cage.run({SYS_read, {0, to, 1}}, Site::elsewhere).killed_by(SIGSYS));
    EXPECT_TRUE(cage.run({SYS_recvmsg, {0, to}}, Site::elsewhere).killed_by(SIGSYS));
}

TEST(LiveFilter, TheTwoCallsThatNoFilterStopsDoNothing) {
    const Cage cage;
    for (const char* name : exempt) {
        const auto number = policy::number_of(native_abi, name);
        if (!number) {
            GTEST_SKIP() << "this processor has no " << name;
        }
        const Outcome outcome = cage.run({static_cast<long>(*number), {}}, Site::elsewhere);
        // Outside a trampoline that only root can set up: an error, or SIGILL (arch/x86/kernel/uprobes.c).
        EXPECT_TRUE(outcome.exited() || outcome.killed_by(SIGILL) || outcome.killed_by(SIGSYS))
            << outcome.status;
    }
}

bool have_own_namespaces() {
    return unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS) == 0;
}

/// An unprivileged user.
void give_privileges_up() {
    if (geteuid() == 0 && (setgroups(0, nullptr) != 0 || setresgid(61007, 61007, 61007) != 0 ||
                           setresuid(61007, 61007, 61007) != 0)) {
        _exit(unprepared);
    }
}

TEST(LiveFilter, ControlTheSameCallsWithoutAFilterAreNoViolation) {
    std::set<std::string_view> skipped = {
        "pause",                                   // waits for ever, which shows nothing
        "fork",   "vfork",      "clone3",          // the second process has no deadline
        "sync",   "syncfs",                        // wait for the disks of the whole machine
        "reboot", "kexec_load", "kexec_file_load", // not even as nobody
    };
    const bool namespaces = in_child({SYS_exit_group, {0}}, Site::elsewhere, [] {
                                give_privileges_up();
                                sys::cell_call(SYS_exit_group, have_own_namespaces() ? 0 : 1);
                            }).status == 0;
    if (!namespaces) {
        skipped.insert("msgget"); // the queue would stay
        RecordProperty("namespaces", "none");
        std::cout << "no namespaces for these calls here: what they break is not their own\n";
    }
    for (long number = 0; number <= last_number; ++number) {
        if (skipped.contains(policy::name_of(native_abi, static_cast<std::uint32_t>(number)))) {
            continue;
        }
        Attempt attempt{number, {}};
        attempt.arguments.fill(~std::uint64_t{0});
        const Outcome outcome = in_child(attempt, Site::elsewhere, [&] {
            give_privileges_up();
            if (namespaces && !have_own_namespaces()) { // what these calls break is theirs
                _exit(unprepared);
            }
        });
        EXPECT_FALSE(outcome.killed_by(SIGSYS)) << number;
    }
}

} // namespace
} // namespace cloister::live
