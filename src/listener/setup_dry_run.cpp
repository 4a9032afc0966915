// SPDX-License-Identifier: MIT
#include "listener/setup_dry_run.h"

#include "base/die.h"
#include "control/launch.h"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <iterator>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::listener {
namespace {

/// A step of cell setup, with the arguments that a new cell passes. `tried` gives held, ineffective (the
/// kernel reported success, and nothing has changed) or the errno of the call.
struct Step {
    const char* what;
    const char* call;
    int (*tried)(const cell::Parameters&);
};
constexpr int held = 0;
constexpr int ineffective = -1;

int effective(bool yes) {
    return yes ? held : ineffective;
}

constexpr Step steps[] = {
    {"close what is not its own", "close_range",
     [](const cell::Parameters&) {
         if (close_range(1, ~0U, 0) != 0) {
             return errno;
         }
         return effective(fcntl(control::signal_fd, F_GETFD) < 0 && fcntl(control::log_fd, F_GETFD) < 0 &&
                          fcntl(control::status_fd, F_GETFD) < 0);
     }},
    {"limit its CPU time", "prlimit64",
     [](const cell::Parameters& parameters) {
         rlimit64 is{};
         const rlimit64 cpu = parameters.cpu_limit();
         if (prlimit64(0, RLIMIT_CPU, &cpu, nullptr) != 0 || getrlimit64(RLIMIT_CPU, &is) != 0) {
             return errno;
         }
         return effective(is.rlim_cur == cpu.rlim_cur && is.rlim_max == cpu.rlim_max);
     }},
    {"limit its lifetime", "setitimer",
     [](const cell::Parameters& parameters) {
         const itimerval lifetime = parameters.lifetime_limit();
         return setitimer(ITIMER_REAL, &lifetime, nullptr) != 0 ? errno : held;
     }},
    {"limit its lifetime", "getitimer",
     [](const cell::Parameters&) {
         itimerval is{};
         if (getitimer(ITIMER_REAL, &is) != 0) {
             return errno;
         }
         return effective(is.it_value.tv_sec != 0 || is.it_value.tv_usec != 0);
     }},
};

// How the child ends: 0, or which step failed, and how. It has closed all that it could write to.
constexpr int result_bits = 6;
constexpr int largest_errno = (1 << result_bits) - 3; // a greater one is told as this

int dry_run(const cell::Parameters& parameters) {
    for (const Step& step : steps) {
        if (const int result = step.tried(parameters); result != held) {
            const int shown = result > largest_errno ? largest_errno : result;
            return static_cast<int>(&step - steps) << result_bits | (shown + 2);
        }
    }
    return 0;
}

void expect_held(int exit_code, const cell::Parameters& parameters) {
    if (exit_code == 0) {
        return;
    }
    const Step& step = steps[exit_code >> result_bits];
    const int result = (exit_code & ((1 << result_bits) - 1)) - 2;
    if (result == ineffective) {
        die(ExitCode::SelfTest, "a child asked to %s, the kernel said yes and did not do it", step.what);
    }
    rlimit cpu{};
    if (&step == &steps[1] && getrlimit(RLIMIT_CPU, &cpu) == 0 && cpu.rlim_max <= parameters.cpu) {
        die(ExitCode::Config,
            "RLIMIT_CPU (LimitCPU=, ulimit -t) is %lu s, not more than a cell's limit of %lu s; raise it, or "
            "lower --cpu-limit",
            cpu.rlim_max, parameters.cpu);
    }
    die(ExitCode::SystemCall, "a cell cannot %s: %s: %s", step.what, step.call, error_text(result));
}

} // namespace

void dry_run_setup(const cell::Parameters& parameters) {
    static_assert(std::size(steps) << result_bits <= 256);                      // an exit code
    const long pid = syscall(SYS_clone, 0, nullptr, nullptr, nullptr, nullptr); // and no signal at its end
    if (pid == 0) {
        _exit(dry_run(parameters));
    }
    if (pid < 0) {
        die(ExitCode::SystemCall, "cannot dry-run the cell setup: clone: %s", error_text(errno));
    }
    int status = 0;
    if (waitpid(static_cast<pid_t>(pid), &status, __WALL) != pid) {
        die(ExitCode::SystemCall, "cannot dry-run the cell setup: wait4: %s", error_text(errno));
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        die(ExitCode::SystemCall,
            "the dry run of the cell setup was killed; see whether memory ran out (dmesg)");
    }
    if (!WIFEXITED(status)) {
        die(ExitCode::SelfTest, "the dry run of the cell setup ended with status 0x%x", status);
    }
    expect_held(WEXITSTATUS(status), parameters);
}

} // namespace cloister::listener
