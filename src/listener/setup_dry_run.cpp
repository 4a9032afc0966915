// SPDX-License-Identifier: MIT
#include "listener/setup_dry_run.h"

#include "base/die.h"
#include "control/launch.h"

#include <cerrno>
#include <fcntl.h>
#include <iterator>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::listener {
namespace {

/// A step of cell setup, with the arguments that a new cell passes. False if the kernel reported success and
/// the step had no effect. True if the call failed: a new cell notices that itself.
struct Step {
    const char* what;
    bool (*holds)(const cell::Parameters&);
};

constexpr Step steps[] = {
    {"close what is not its own",
     [](const cell::Parameters&) {
         const bool refused = close_range(1, ~0U, 0) != 0;
         return refused || (fcntl(control::signal_fd, F_GETFD) < 0 && fcntl(control::log_fd, F_GETFD) < 0 &&
                            fcntl(control::status_fd, F_GETFD) < 0);
     }},
    {"limit its CPU time",
     [](const cell::Parameters& parameters) {
         rlimit64 is{};
         const rlimit64 cpu = parameters.cpu_limit();
         const bool refused = prlimit64(0, RLIMIT_CPU, &cpu, nullptr) != 0;
         return refused || (getrlimit64(RLIMIT_CPU, &is) == 0 && is.rlim_cur == cpu.rlim_cur &&
                            is.rlim_max == cpu.rlim_max);
     }},
    {"limit its lifetime",
     [](const cell::Parameters& parameters) {
         itimerval is{};
         const itimerval lifetime = parameters.lifetime_limit();
         const bool refused = setitimer(ITIMER_REAL, &lifetime, nullptr) != 0;
         return refused ||
                (getitimer(ITIMER_REAL, &is) == 0 && (is.it_value.tv_sec != 0 || is.it_value.tv_usec != 0));
     }},
};
constexpr int held = 0; // how the child ends; or the number of the step that did not hold, from 1 on

int dry_run(const cell::Parameters& parameters) {
    for (const Step& step : steps) {
        if (!step.holds(parameters)) {
            return static_cast<int>(&step - steps) + 1;
        }
    }
    return held;
}

} // namespace

void dry_run_setup(const cell::Parameters& parameters) {
    const long pid = syscall(SYS_clone, 0, nullptr, nullptr, nullptr, nullptr); // and no signal at its end
    if (pid == 0) {
        _exit(dry_run(parameters));
    }
    int status = 0;
    if (pid < 0 || waitpid(static_cast<pid_t>(pid), &status, __WALL) != pid) {
        die(ExitCode::SystemCall, "cannot dry-run the cell setup: clone: %s", error_text(errno));
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        die(ExitCode::SystemCall,
            "the dry run of the cell setup was killed; see whether memory ran out (dmesg)");
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) > static_cast<int>(std::size(steps))) {
        die(ExitCode::SelfTest, "the dry run of the cell setup ended with status 0x%x", status);
    }
    if (const int step = WEXITSTATUS(status); step != held) {
        die(ExitCode::SelfTest, "a child asked to %s, the kernel said yes and did not do it",
            steps[step - 1].what);
    }
}

} // namespace cloister::listener
