// SPDX-License-Identifier: MIT
// Deliberate weakenings of our policies. `difference` finds each, and the call that it shows is made for
// real, by a process under the filter of the policy as it is, and by one under that of the weakened policy:
// they are treated differently.
#include "audit/difference.h"
#include "policy/compile.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::audit {
namespace {

using namespace policy;

struct Weakening {
    const char* name;
    const char* file;
    const char* from;
    const char* to;
    const char* call; ///< that it lets pass
};

Policy policy_with(const Weakening& weakening, bool weakened) {
    std::ifstream file{std::string{CLOISTER_POLICY_SOURCE} + "/" + weakening.file};
    std::string text{std::istreambuf_iterator<char>{file}, {}};
    const auto at = text.find(weakening.from);
    EXPECT_NE(at, text.npos) << weakening.from;
    if (weakened && at != text.npos) {
        text.replace(at, std::string_view{weakening.from}.size(), weakening.to);
    }
    auto policy = parse(text, weakening.file);
    if (!policy) {
        throw std::runtime_error{policy.error().text()};
    }
    return std::move(*policy);
}

/// What became of the call: "killed", or "returned".
std::string made_under(const Program& program, const seccomp_data& call) {
    auto* returned = static_cast<volatile int*>(
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    const pid_t child = fork();
    if (child == 0) {
        const sock_fprog filter{static_cast<unsigned short>(program.size()),
                                const_cast<sock_filter*>(program.data())};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
            _exit(99);
        }
        *returned = 1;
        (void)syscall(call.nr, call.args[0], call.args[1], call.args[2], call.args[3], call.args[4],
                      call.args[5]);
        *returned = 2;
        (void)syscall(SYS_exit_group, 0);
        __builtin_trap();
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    const int reached = *returned;
    munmap(const_cast<int*>(returned), 4096);
    EXPECT_GE(reached, 1) << "the filter was not installed";
    if (reached == 2 || (WIFEXITED(status) && call.nr == SYS_exit_group)) {
        return "returned";
    }
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS ? "killed" : fmt::format("status {}", status);
}

class Weakened : public testing::TestWithParam<Weakening> {};
TEST_P(Weakened, IsFoundWithACallThatTheKernelTreatsDifferently) {
    const auto before = policy_with(GetParam(), false);
    const auto after = policy_with(GetParam(), true);
    const auto changes = difference(before, after, native_arch, {});
    const auto found = std::find_if(changes.begin(), changes.end(),
                                    [](const Change& one) { return one.call == GetParam().call; });
    ASSERT_NE(found, changes.end());
    const auto& change = *found;
    EXPECT_EQ(change.direction, Direction::wider);
    Bindings bindings;
    for (std::size_t i = 0; i < change.params.size(); ++i) {
        bindings[change.params[i]] = change.witness.params[i];
    }
    EXPECT_EQ(made_under(compile(before, native_arch, bindings).value(), change.witness.data), "killed");
    EXPECT_EQ(made_under(compile(after, native_arch, bindings).value(), change.witness.data), "returned");
}
INSTANTIATE_TEST_SUITE_P(
    Each, Weakened,
    testing::Values(
        Weakening{"OneByteMore", "handlers/echo.policy", "SIZE 65536", "SIZE 65537", "recvfrom"},
        Weakening{"AnyFlagsOfSendto", "handlers/echo.policy", "flags == MSG_NOSIGNAL",
                  "flags in MSG_NOSIGNAL|MSG_OOB", "sendto"},
        Weakening{"ShutdownForReading", "handlers/echo.policy", "how == SHUT_WR", "how <= SHUT_WR",
                  "shutdown"},
        Weakening{"CloseOfTwo", "handlers/echo.policy", "close      fd == 0", "close      fd <= 1", "close"},
        Weakening{"CodeOfTheSetup", "handlers/echo.policy", "code <= 5", "code <= 6", "exit_group"},
        Weakening{"OtherClocks", "handlers/daytime.policy", "which == CLOCK_REALTIME",
                  "which <= CLOCK_MONOTONIC", "clock_gettime"},
        Weakening{"AnyWaitOptions", "listener.policy", "options == REAP", "options in REAP", "wait4"},
        Weakening{"SignalZero", "listener.policy", "sig == SIGKILL", "sig in SIGKILL", "tgkill"},
        Weakening{"OneDescriptorMore", "listener.policy", "LAST    68", "LAST    69", "accept4"},
        Weakening{"LimitOfAnother", "setup.policy", "resource == RLIMIT_CPU", "resource <= RLIMIT_FSIZE",
                  "prlimit64"},
        Weakening{"OneMoreCall", "setup.policy", "allow getppid ",
                  "allow getpid : who are we?\nallow getppid ", "getpid"}),
    [](const auto& test) { return test.param.name; });

} // namespace
} // namespace cloister::audit
