// SPDX-License-Identifier: MIT
#include "base/die.h"
#include "listener/exit_reason.h"
#include "listener/server.h"
#include "syscall/calls.h"

#include <algorithm>
#include <csignal>
#include <sys/wait.h>

namespace cloister::listener {
namespace {

struct NegativeSelfTest {
    cell::Mode mode;
    const char* what;
    int signal;
};

cell::Mode jump_to(const std::uint8_t* instruction) {
    return cell::Mode{reinterpret_cast<std::uintptr_t>(instruction)};
}

std::uint64_t monotonic_ns() {
    timespec now{};
    if (const long result = sys::clock_gettime(CLOCK_MONOTONIC, &now); result != 0) {
        die(ExitCode::SystemCall, "clock_gettime: %s", error_text(result));
    }
    constexpr std::uint64_t second_ns = 1'000'000'000;
    return static_cast<std::uint64_t>(now.tv_sec) * second_ns + static_cast<std::uint64_t>(now.tv_nsec);
}

void expect_to_die(const control::Launch& launch, const NegativeSelfTest& test) {
    cell::Parameters parameters = launch.parameters;
    parameters.mode = test.mode;
    const auto pid =
        static_cast<pid_t>(cell::cloister_clone_cell(&parameters, launch.arena->buffer, cell::clone_flags));
    if (pid < 0) {
        die(ExitCode::SystemCall, "cannot fork a cell: clone: %s", error_text(pid));
    }
    const std::uint64_t exit_signal = std::uint64_t{1} << (cell::exit_signal - 1);
    const timespec look_again{0, 100'000'000};
    siginfo_t info{};
    int status = 0;
    rusage usage{};
    long reaped = 0;
    for (int looks = 0; reaped == 0 && looks < 100;
         ++looks) { // 10 s; the signal is lost where none can be queued
        if (const long signal = sys::sigtimedwait(&exit_signal, &info, &look_again); // a hint: wait4 decides
            signal < 0 && signal != -EAGAIN && signal != -EINTR) {
            die(ExitCode::SystemCall, "cannot await a cell of the self-test: rt_sigtimedwait: %s",
                error_text(signal));
        }
        reaped = sys::wait4(pid, &status, WNOHANG | __WALL, &usage);
    }
    if (reaped < 0) {
        die(ExitCode::SystemCall, "cannot reap a cell of the self-test: wait4: %s", error_text(reaped));
    }
    if (reaped != pid) {
        sys::tgkill(pid, pid, SIGKILL);
        die(ExitCode::SelfTest,
            "a cell that %s should have died of signal %d; process %d still lives after 10 s", test.what,
            test.signal, pid);
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        die(ExitCode::SystemCall, "a cell of the self-test was killed; see whether memory ran out (dmesg)");
    }
    if (const ExitReason reason = exit_reason_of(status, false); is_failed_setup(reason)) {
        die(ExitCode::SelfTest,
            "a cell of the self-test could not be confined: it ended with %s (docs/log.md)",
            text_of(reason).name.data());
    }
    if (!WIFSIGNALED(status) || WTERMSIG(status) != test.signal) {
        die(ExitCode::SelfTest, "a cell that %s should have died of signal %d; it %s %d (%s)", test.what,
            test.signal, WIFEXITED(status) ? "exited with" : "died of signal",
            WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
            text_of(exit_reason_of(status, false)).name.data());
    }
}

} // namespace

std::uint64_t run_negative_self_tests(const control::Launch& launch) {
    const auto& [listener, clone, setup] = launch.call_sites;
    const NegativeSelfTest tests[] = {
        {cell::Mode::Call, "made a call that its policy forbids", SIGSYS},
        {jump_to(setup), "jumped to the setup call site, which it has unmapped,", SIGSEGV},
        {jump_to(clone), "jumped to the clone call site, which it must not have,", SIGSEGV},
        {jump_to(listener), "jumped to the listener call site, which it must not have,", SIGSEGV},
    };
    std::uint64_t least = UINT64_MAX;
    for (const NegativeSelfTest& test : tests) {
        const std::uint64_t start = monotonic_ns();
        expect_to_die(launch, test);
        least = std::min(least, monotonic_ns() - start);
    }
    return least;
}

} // namespace cloister::listener
