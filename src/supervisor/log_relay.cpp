// SPDX-License-Identifier: MIT
#include "supervisor/log_relay.h"

#include "base/die.h"
#include "supervisor/relay_process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace cloister::supervisor {
namespace {

using namespace std::chrono_literals;

constexpr int patience_ms = 10'000;
constexpr auto steady_after = 10s; // a relay that lived this long is no sign of trouble when it ends
constexpr auto first_back_off = 100ms;
constexpr unsigned most_doublings = 6;
constexpr int pipe_size = 256 * 1024; // 64 packets

tl::unexpected<Failure> system_call(std::string_view call) {
    return tl::unexpected(Failure{
        ExitCode::SystemCall, fmt::format("cannot start the log relay: {}: {}", call, error_text(errno))});
}

/// Several programs may have one file for their stderr, each with a position of its own (`2>file` twice):
/// each appends, or they overwrite one another.
void append_to_stderr() {
    struct stat status {};
    const int flags = fcntl(STDERR_FILENO, F_GETFL);
    if (fstat(STDERR_FILENO, &status) == 0 && S_ISREG(status.st_mode) && flags >= 0) {
        (void)fcntl(STDERR_FILENO, F_SETFL, flags | O_APPEND);
    }
}

/// A relay that ended before it was ready has said why on stderr, and its exit code is ours.
Failure start_failed(pid_t pid) {
    int status = 0;
    (void)kill(pid, SIGKILL); // one that ends already can't be any more, and its exit code stays
    if (waitpid(pid, &status, 0) != pid) {
        return {ExitCode::SystemCall, fmt::format("waitpid: {}", error_text(errno))};
    }
    if (WIFEXITED(status)) {
        const bool one_of_ours = WEXITSTATUS(status) >= static_cast<int>(ExitCode::Usage);
        return {one_of_ours ? ExitCode{WEXITSTATUS(status)} : ExitCode::SelfTest,
                fmt::format("the log relay, process {}, could not confine itself: exit code {}", pid,
                            WEXITSTATUS(status))};
    }
    return {ExitCode::SelfTest,
            fmt::format("the log relay, process {}, ended with signal {} while it started", pid,
                        WTERMSIG(status))};
}

} // namespace

tl::expected<void, Failure> LogRelay::start(unsigned services) {
    append_to_stderr();
    std::array<int, 2> ends{};
    while (pipes_.size() < services + 1) {
        if (pipe2(ends.data(), O_DIRECT | O_NONBLOCK | O_CLOEXEC) != 0) {
            return system_call("pipe2");
        }
        pipes_.push_back({Fd{ends[0]}, Fd{ends[1]}});
        (void)fcntl(ends[0], F_SETPIPE_SZ, pipe_size); // fewer packets do, too
    }
    if (pipe2(ends.data(), O_CLOEXEC) != 0) {
        return system_call("pipe2");
    }
    const Fd ready{ends[0]};
    Fd theirs{ends[1]};
    if (!run(theirs.get(), false)) {
        return system_call("fork (clone)");
    }
    theirs.reset();
    pollfd waiting{ready.get(), POLLIN, 0};
    char byte = 0;
    const int polled = poll(&waiting, 1, patience_ms);
    if (polled == 1 && read(ready.get(), &byte, 1) == 1) {
        return {};
    }
    if (polled < 0) {
        auto failure = system_call("poll");
        (void)start_failed(std::exchange(pid_, 0));
        return failure;
    }
    return tl::unexpected(start_failed(std::exchange(pid_, 0)));
}

void LogRelay::adopt(pid_t pid, const std::vector<Handover::Pipe>& pipes) {
    for (const auto& pipe : pipes) {
        pipes_.push_back({Fd{pipe.read_end}, Fd{pipe.write_end}});
    }
    pid_ = pid;
    started_at_ = Clock::now();
}

std::vector<Handover::Pipe> LogRelay::hand_over() const {
    std::vector<Handover::Pipe> pipes;
    for (const Pipe& pipe : pipes_) {
        pipes.push_back({pipe.read_end.get(), pipe.write_end.get()});
    }
    return pipes;
}

/// Forks a relay. False if that fails.
bool LogRelay::run(int ready_fd, bool after_another) {
    const pid_t supervisor = getpid();
    pid_ = fork();
    if (pid_ == 0) {
        std::vector<int> read_ends;
        for (const Pipe& pipe : pipes_) {
            read_ends.push_back(pipe.read_end.get());
        }
        become_relay(
            {read_ends, program_, expected_, format_, priorities_, after_another, supervisor, ready_fd});
    }
    started_at_ = Clock::now();
    return pid_ > 0;
}

std::optional<Record> LogRelay::ended(pid_t pid, int status) {
    if (pid != pid_ || pid_ <= 0) {
        return {};
    }
    pid_ = 0;
    const auto now = Clock::now();
    quick_deaths_ = now - started_at_ >= steady_after ? 0 : quick_deaths_ + 1;
    due_ =
        quick_deaths_ <= 1 ? now : now + first_back_off * (1U << std::min(quick_deaths_ - 2, most_doublings));
    Record record{Level::error, "log_relay_died"};
    record.add("pid", pid);
    WIFEXITED(status) ? record.add("exit", WEXITSTATUS(status)) : record.add("signal", WTERMSIG(status));
    return record;
}

void LogRelay::tend(Clock::time_point now) {
    if (!due_ || now < *due_) {
        return;
    }
    due_.reset();
    std::array<int, 2> ends{-1, -1};
    const bool made = pipe2(ends.data(), O_CLOEXEC) == 0;
    const Fd nobody_waits{ends[0]};
    const Fd theirs{ends[1]};
    if (!made || !run(theirs.get(), true)) {
        pid_ = 0;
        due_ = now + first_back_off * (1U << most_doublings);
    }
}

void LogRelay::finish(std::chrono::milliseconds limit) {
    if (due_) { // what is in the pipes is worth another one
        tend(*due_);
    }
    for (Pipe& pipe : pipes_) {
        pipe.write_end.reset();
    }
    const auto until = Clock::now() + limit;
    while (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == 0 && Clock::now() < until) {
        std::this_thread::sleep_for(1ms);
    }
}

} // namespace cloister::supervisor
