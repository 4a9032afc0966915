// SPDX-License-Identifier: MIT
#include "supervisor/relay_process.h"

#include "base/descriptors.h"
#include "base/die.h"
#include "base/log.h"
#include "base/signals.h"
#include "syscall/calls.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <span>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace cloister::supervisor {
namespace {

// policy/processes/relay.policy has the same numbers.
constexpr int most_pipes = 65; // from 0 on
constexpr int stderr_fd = most_pipes;
constexpr int status_fd = most_pipes + 1;
constexpr int ready_fd = most_pipes + 2;
constexpr long packet = PIPE_BUF;
/// After each time that there was something to write. A wake-up for each connection's record would cost the
/// cells processor time; a pipe holds what comes meanwhile.
constexpr long rest_ns = 2'000'000;

/// TERM and INT are for the supervisor, which ends us by closing the pipes. A terminal does not stop us
/// (TTOU), a reader that is gone (PIPE) and a limit of the file's size (XFSZ) are errors of write(2).
constexpr std::uint64_t all_signals =
    ~(std::uint64_t{1} << (SIGKILL - 1) | std::uint64_t{1} << (SIGSTOP - 1));

/// Stderr, with the memory of what went wrong there.
class Output {
  public:
    explicit Output(const RelayPlan& plan)
        : format_{plan.format}, priorities_{plan.priorities}, torn_{plan.after_another && !is_a_pipe()} {}

    /// `size` bytes that follow `room` for one more, and are followed by such room, too.
    void write(char* text, std::size_t size) {
        if (text[size - 1] != '\n') { // only a writer that was taken over sends this
            text[size++] = '\n';
        }
        if (torn_) {
            *--text = '\n';
            ++size;
        }
        if (put(text, size) && lost_ != 0) {
            say_lost();
        }
    }

  private:
    LogFormat format_;
    bool priorities_;
    bool torn_; ///< the last byte that was written ended no line
    std::uint64_t lost_ = 0;

    static bool is_a_pipe() { // which takes a packet whole
        struct stat status {};
        return fstat(stderr_fd, &status) == 0 && S_ISFIFO(status.st_mode);
    }

    bool put(const char* text, std::size_t size) {
        while (size != 0) {
            const long written = sys::write(stderr_fd, text, static_cast<long>(size));
            if (written > 0) {
                text += written;
                size -= static_cast<std::size_t>(written);
                torn_ = text[-1] != '\n';
            } else if (written == -EAGAIN) { // whoever started us made it so
                pollfd output{stderr_fd, POLLOUT, 0};
                (void)sys::ppoll(&output, 1, nullptr);
            } else if (written != -EINTR) {
                lost_ += static_cast<std::uint64_t>(std::count(text, text + size, '\n'));
                return false;
            }
        }
        return true;
    }

    void say_lost() {
        Record record{format_, priorities_, Level::warning, "log_dropped", realtime_ns()};
        record.text("process", "relay").number("count", lost_);
        const std::uint64_t before = std::exchange(lost_, 0);
        const std::string_view line = record.line();
        if (!put(line.data(), line.size())) {
            lost_ = before; // and without the line that says so
        }
    }
};

void expect(bool done, const char* step) {
    if (!done) {
        die(ExitCode::SystemCall, "cannot start the log relay: %s: %s", step, error_text(errno));
    }
}

/// Everything at its place, and nothing else left open.
void keep_descriptors(const RelayPlan& plan) {
    std::vector<std::pair<int, int>> moves{{STDERR_FILENO, stderr_fd},
                                           {open("/proc/self/status", O_RDONLY | O_CLOEXEC), status_fd},
                                           {plan.ready_fd, ready_fd}};
    for (const int pipe : plan.pipes) {
        moves.emplace_back(pipe, static_cast<int>(moves.size()) - 3);
    }
    for (auto& [fd, target] : moves) { // first out of the way: one may lie where another one goes
        fd = fcntl(fd, F_DUPFD_CLOEXEC, ready_fd + 1);
        if (fd < 0 && errno != EBADF) {
            die(ExitCode::SystemCall,
                "cannot start the log relay: take its descriptors: %s; raise RLIMIT_NOFILE above 325, which "
                "a "
                "listener needs, too",
                error_text(errno));
        }
        expect(fd >= 0, "open /proc/self/status; mount /proc");
    }
    for (const auto& [fd, target] : moves) {
        expect(dup2(fd, target) == target, "dup2");
    }
    close_descriptors(stderr_fd, ready_fd + 1);
    for (int fd = static_cast<int>(plan.pipes.size()); fd < stderr_fd; ++fd) {
        close(fd);
    }
}

/// How many filters this process is under (proc_pid_status(5), since Linux 5.9).
long filters() {
    static constexpr std::string_view name = "\nSeccomp_filters:\t";
    char text[8192];
    const long size = sys::pread(status_fd, text, sizeof text);
    const std::string_view status{text, size > 0 ? static_cast<std::size_t>(size) : 0};
    const std::size_t at = status.find(name);
    long count = at == std::string_view::npos ? -1 : 0;
    for (std::size_t i = at + name.size(); count >= 0 && i < status.size() && status[i] != '\n'; ++i) {
        count = count * 10 + (status[i] - '0');
    }
    if (count < 0) {
        die(ExitCode::SelfTest, "/proc/self/status does not say how many seccomp filters there are");
    }
    return count;
}

/// A relay that could not wait would use a whole processor.
void expect_polled(long result) {
    if (result < 0 && result != -EINTR && result != -ENOMEM) {
        die(ExitCode::SystemCall, "the log relay cannot wait: ppoll: %s", error_text(result));
    }
}

void rest() {
    timespec time{0, rest_ns};
    expect_polled(sys::ppoll(nullptr, 0, &time));
}

void confine_relay(const RelayPlan& plan) {
    confine::Expected expected = plan.expected;
    confine::forbid_dumping();
    confine::forbid_new_privileges();
    (void)confine::deny_by_landlock();
    confine::limit_resources(ready_fd + 1);
    confine::verify(expected, status_fd);
    const long before = filters();
    confine::install_filter(plan.program);
    expected.filtered = true;
    confine::verify(expected, status_fd);
    if (filters() != before + 1) { // a container's own filter is one, too
        die(ExitCode::SelfTest, "asked to install the seccomp filter, the kernel has %ld instead of %ld",
            filters(), before + 1);
    }
    sys::close(status_fd);
    rest(); // tries that it can
    const char ready = 1;
    (void)sys::write(ready_fd, &ready, sizeof ready); // a supervisor that is gone does not ask
    sys::close(ready_fd);
}

[[noreturn]] void relay(std::size_t count, Output& output) {
    std::array<pollfd, most_pipes> pipes{};
    for (std::size_t i = 0; i < count; ++i) {
        pipes[i] = {static_cast<int>(i), POLLIN, 0};
    }
    static char buffer[1 + packet + 1];
    for (std::size_t open = count; open != 0;) {
        expect_polled(sys::ppoll(pipes.data(), static_cast<unsigned>(count), nullptr));
        for (bool more = true; more;) { // one packet of each in turn: none keeps another from being read
            more = false;
            for (pollfd& pipe : std::span{pipes}.first(count)) {
                const long size = pipe.fd < 0 ? -EAGAIN : sys::read(pipe.fd, buffer + 1, packet);
                if (size > 0) {
                    output.write(buffer + 1, static_cast<std::size_t>(size));
                    more = true;
                    continue;
                }
                if (size != -EAGAIN && size != -EINTR) { // no writer is left
                    sys::close(std::exchange(pipe.fd, -1));
                    --open;
                }
            }
        }
        rest();
    }
    sys::exit_group(0);
}

} // namespace

void become_relay(const RelayPlan& plan) {
    static Log early{plan.format, plan.priorities, STDERR_FILENO, "relay"}; // die() writes there
    static Log later{plan.format, plan.priorities, stderr_fd, "relay"};
    log_fatal_errors_to(early);
    reset_signals(all_signals);
    prctl(PR_SET_NAME, "cloister-relay");
    if (getpid() == plan.supervisor) {
        die(ExitCode::SelfTest, "asked for a child, the kernel made none");
    }
    if (plan.pipes.size() > most_pipes) {
        bug("a log relay for %zu pipes", plan.pipes.size());
    }
    const std::size_t count = plan.pipes.size();
    keep_descriptors(plan);
    log_fatal_errors_to(later);
    Output output{plan};
    confine_relay(plan);
    relay(count, output);
}

} // namespace cloister::supervisor
