// SPDX-License-Identifier: MIT
//
// The third tier: what policy/*.policy says, the running kernel does.
#include "cage.h"

#include <fmt/format.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <set>
#include <sys/mount.h>

namespace cloister::live {
namespace {

using policy::Action;

constexpr long last_number = 1023;
constexpr std::uint64_t high_half = 0x1'0000'0000;
constexpr long uretprobe = 335; // the kernel lets these two pass every filter on x86_64: kernel/seccomp.c
constexpr long uprobe = 336;

alignas(4096) std::uint8_t buffer[65536];

policy::Policy shipped(const char* name) {
    return policy::load(fmt::format("{}/{}.policy", CLOISTER_POLICIES, name)).value();
}

/// Both filters, stacked as in a cell: the listener's first.
class Cage {
  public:
    enum class Kind { cell, listener };

    explicit Cage(Kind kind) : kind_{kind} {}

    [[nodiscard]] Outcome run(const Attempt& attempt, bool ia32 = false) const {
        return in_child(attempt, ia32, [&] {
            (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); // without it, install() fails
            install(listener_program_);
            if (kind_ == Kind::cell) {
                install(cell_program_);
            }
        });
    }

    [[nodiscard]] bool allows(const Attempt& attempt) const {
        const seccomp_data data = as_data(attempt);
        const auto says = [&](const policy::Policy& policy) {
            return policy::evaluate(policy, policy::native_arch, bindings_, data).action.kind ==
                   Action::Kind::allow;
        };
        return says(listener_) && (kind_ == Kind::listener || says(cell_));
    }

    /// A call for each rule that meets all its conditions.
    [[nodiscard]] std::vector<Attempt> allowed_calls() const {
        std::vector<Attempt> calls;
        for (const auto& rule : (kind_ == Kind::cell ? cell_ : listener_).rules) {
            Attempt attempt{static_cast<long>(*policy::number_of(policy::Abi::x86_64, rule.prototype->name)),
                            {}};
            for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
                const auto& operand = rule.conditions[i].operand;
                attempt.arguments[rule.prototype->index(i, policy::native_arch)] =
                    operand.param
                        ? bindings_.at((kind_ == Kind::cell ? cell_ : listener_).params[*operand.param].name)
                        : operand.value;
            }
            calls.push_back(attempt);
        }
        return calls;
    }

  private:
    Kind kind_;
    policy::Policy cell_ = shipped("connection");
    policy::Policy listener_ = shipped("listener");
    policy::Bindings bindings_{{"buffer", reinterpret_cast<std::uint64_t>(buffer)},
                               {"stack", reinterpret_cast<std::uint64_t>(buffer + sizeof buffer)}};
    policy::Bindings cell_bindings_{{"buffer", reinterpret_cast<std::uint64_t>(buffer)}};
    policy::Program cell_program_ = policy::compile(cell_, policy::native_arch, cell_bindings_).value();
    policy::Program listener_program_ = policy::compile(listener_, policy::native_arch, bindings_).value();
};

std::string show(const Attempt& attempt) {
    return fmt::format("call {} ({}) with {:x}", attempt.number,
                       policy::name_of(policy::Abi::x86_64, static_cast<std::uint32_t>(attempt.number)),
                       fmt::join(attempt.arguments, " "));
}

bool is_exempt(long number) {
    return number == uretprobe || number == uprobe;
}

TEST(LiveFilter, EveryNumberWithoutArgumentsEndsACellByItsPolicy) {
    const Cage cage{Cage::Kind::cell};
    for (long number = 0; number <= last_number; ++number) {
        const Attempt attempt{number, {}};
        if (!is_exempt(number)) {
            const Outcome outcome = cage.run(attempt);
            EXPECT_EQ(cage.allows(attempt), outcome.exited())
                << show(attempt) << ": status " << outcome.status;
            EXPECT_EQ(!cage.allows(attempt), outcome.killed_by(SIGSYS))
                << show(attempt) << ": status " << outcome.status;
        }
    }
}

TEST(LiveFilter, EveryNumberWithTheX32BitEndsACell) {
    const Cage cage{Cage::Kind::cell};
    for (long number = 0; number <= last_number; ++number) {
        EXPECT_TRUE(cage.run({number | 0x40000000, {}}).killed_by(SIGSYS)) << number;
    }
}

TEST(LiveFilter, NumbersThatAreNoneEndACell) {
    const Cage cage{Cage::Kind::cell};
    for (const long number : {-1L, -2L, 0x7fffffffL, 0xffffffffL, -0x80000000L}) {
        EXPECT_TRUE(cage.run({number, {}}).killed_by(SIGSYS)) << number;
    }
}

TEST(LiveFilter, The32BitInstructionEndsACell) {
    constexpr long getpid = 20; // of i386
    const Outcome control = in_child({getpid, {}}, true, [] {});
    if (control.killed_by(SIGSEGV)) {
        GTEST_SKIP() << "this kernel has no 32-bit system calls (CONFIG_IA32_EMULATION), so there is nothing "
                        "to forbid";
    }
    ASSERT_TRUE(control.exited());
    const Cage cage{Cage::Kind::cell};
    for (const long number : {1L, 3L, 4L, 6L, getpid, 102L, 252L, 371L, 369L, 373L}) {
        EXPECT_TRUE(cage.run({number, {}}, true).killed_by(SIGSYS)) << number;
    }
}

TEST(LiveFilter, AllowsACellWhatItsPolicyAllows) {
    const Cage cage{Cage::Kind::cell};
    for (const Attempt& attempt : cage.allowed_calls()) {
        EXPECT_TRUE(cage.run(attempt).exited()) << show(attempt);
    }
}

TEST(LiveFilter, EachArgumentOfAnAllowedCallPerturbedEndsACellByItsPolicy) {
    const Cage cage{Cage::Kind::cell};
    unsigned killed = 0;
    for (const Attempt& allowed : cage.allowed_calls()) {
        for (std::size_t i = 0; i < allowed.arguments.size(); ++i) {
            const std::uint64_t value = allowed.arguments[i];
            for (const std::uint64_t other :
                 {value + 1, value - 1, value | high_half, value ^ high_half, ~std::uint64_t{0},
                  value | 0x8000'0000'0000'0000, value ^ 0x8000'0000, std::uint64_t{0}}) {
                Attempt attempt = allowed;
                attempt.arguments[i] = other;
                const Outcome outcome = cage.run(attempt);
                EXPECT_EQ(cage.allows(attempt), outcome.exited())
                    << show(attempt) << ": status " << outcome.status;
                EXPECT_EQ(!cage.allows(attempt), outcome.killed_by(SIGSYS)) << show(attempt);
                killed += outcome.killed_by(SIGSYS) ? 1U : 0U;
            }
        }
    }
    EXPECT_GT(killed, 80U);
}

TEST(LiveFilter, EveryNumberThatTheListenersPolicyForbidsEndsIt) {
    const Cage cage{Cage::Kind::listener};
    std::set<long> in_policy;
    for (const Attempt& attempt : cage.allowed_calls()) {
        in_policy.insert(attempt.number);
    }
    for (long number = 0; number <= last_number; ++number) {
        if (!in_policy.contains(number) && !is_exempt(number)) {
            EXPECT_TRUE(cage.run({number, {}}).killed_by(SIGSYS)) << number;
        }
    }
}

TEST(LiveFilter, TheTwoCallsThatNoFilterStopsDoNothing) {
    const Cage cage{Cage::Kind::cell};
    for (const long number : {uretprobe, uprobe}) {
        const Outcome outcome = cage.run({number, {}});
        // Outside a trampoline that only root can set up: an error, or SIGILL (arch/x86/kernel/uprobes.c).
        EXPECT_TRUE(outcome.exited() || outcome.killed_by(SIGILL) || outcome.killed_by(SIGSYS))
            << outcome.status;
    }
}

/// An unprivileged user in namespaces of its own: what these calls break is theirs.
void give_everything_up() {
    if (geteuid() == 0 && (setgroups(0, nullptr) != 0 || setresgid(61007, 61007, 61007) != 0 ||
                           setresuid(61007, 61007, 61007) != 0)) {
        _exit(113);
    }
    (void)unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS); // where it may
}

TEST(LiveFilter, ControlTheSameCallsWithoutAFilterAreNoViolation) {
    const std::set<long> skipped = {
        34,            // pause: waits for ever, which shows nothing
        57,  58,       // fork, vfork: the second process has no deadline
        162, 306,      // sync, syncfs: wait for the disks of the whole machine
        169, 246, 320, // reboot, kexec_load, kexec_file_load: not even as nobody
        435,           // clone3: as fork
    };
    for (long number = 0; number <= last_number; ++number) {
        if (skipped.contains(number)) {
            continue;
        }
        Attempt attempt{number, {}};
        attempt.arguments.fill(~std::uint64_t{0});
        EXPECT_FALSE(in_child(attempt, false, give_everything_up).killed_by(SIGSYS)) << number;
    }
}

} // namespace
} // namespace cloister::live
