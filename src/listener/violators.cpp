// SPDX-License-Identifier: MIT
#include "base/die.h"
#include "listener/ends.h"
#include "listener/server.h"
#include "syscall/calls.h"

#include <csignal>
#include <sys/wait.h>

namespace cloister::listener {
namespace {

struct Violation {
    cell::Duty duty;
    const char* what;
    int signal;
};

cell::Duty jump_to(const std::uint8_t* instruction) {
    return cell::Duty{reinterpret_cast<std::uintptr_t>(instruction)};
}

void expect_to_die(const plan::Plan& plan, const Violation& violation) {
    cell::Orders orders = plan.orders;
    orders.duty = violation.duty;
    const auto pid =
        static_cast<pid_t>(cell::cloister_clone_cell(&orders, plan.arena->buffer, cell::clone_flags));
    if (pid < 0) {
        die(ExitCode::SystemCall, "cannot fork a cell: clone: %s", error_text(pid));
    }
    const std::uint64_t exit_signal = std::uint64_t{1} << (cell::exit_signal - 1);
    const timespec deadline{10, 0};
    siginfo_t info{};
    int status = 0;
    rusage usage{};
    (void)sys::sigtimedwait(&exit_signal, &info, &deadline); // a hint: wait4 decides
    const long reaped = sys::wait4(pid, &status, WNOHANG | __WALL, &usage);
    if (reaped != pid) {
        sys::tgkill(pid, pid, SIGKILL);
        die(ExitCode::SelfTest,
            "a cell that %s should have died of signal %d; process %d still lives after 10 s", violation.what,
            violation.signal, pid);
    }
    if (!WIFSIGNALED(status) || WTERMSIG(status) != violation.signal) {
        die(ExitCode::SelfTest, "a cell that %s should have died of signal %d; it %s %d (%s)", violation.what,
            violation.signal, WIFEXITED(status) ? "exited with" : "died of signal",
            WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), end_of(status, false).reason.data());
    }
}

} // namespace

void expect_violators_to_die(const plan::Plan& plan) {
    const auto& [gate, door, ladder] = plan.instructions;
    const Violation violations[] = {
        {cell::Duty::Call, "made a call that its policy forbids", SIGSYS},
        {jump_to(ladder), "jumped to the ladder, which it has unmapped,", SIGSEGV},
        {jump_to(door), "jumped to the door, which it must not have,", SIGSEGV},
        {jump_to(gate), "jumped to the gate, which it must not have,", SIGSEGV},
    };
    for (const Violation& violation : violations) {
        expect_to_die(plan, violation);
    }
}

} // namespace cloister::listener
