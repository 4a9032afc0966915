// SPDX-License-Identifier: MIT
#pragma once

#include "confine/confine.h"
#include "supervisor/handover.h"
#include "supervisor/log.h"
#include "supervisor/sockets.h"

#include <chrono>
#include <linux/filter.h>
#include <optional>
#include <tl/expected.hpp>
#include <vector>

namespace cloister::supervisor {

/// The process that writes the log to stderr, so that nobody who serves can be kept waiting there, and the
/// pipes to it: one for each writer, so that none keeps another from being read. The supervisor keeps both
/// ends: what is in a pipe outlives a relay that is killed. The relay ends when all writers have ended, and
/// may outlive the supervisor for that.
class LogRelay {
  public:
    using Clock = std::chrono::steady_clock;

    /// All privileges have been given up. `program`: relay.policy, compiled and proved. `expected`: what
    /// /proc/self/status must say of the relay, but for its filter.
    LogRelay(std::vector<sock_filter> program, confine::Expected expected, LogFormat format, bool priorities)
        : program_{std::move(program)}, expected_{expected}, format_{format}, priorities_{priorities} {}

    /// Makes the pipes, for the supervisor and so many services, starts the relay, and waits until it is
    /// confined. One that can't be has said why on stderr. Failure: with its exit code.
    [[nodiscard]] tl::expected<void, Failure> start(unsigned services);

    /// That of an earlier program of this process: its process and pipes.
    void adopt(pid_t pid, const std::vector<Handover::Pipe>& pipes);
    [[nodiscard]] std::vector<Handover::Pipe> hand_over() const;

    /// For how many services there are pipes.
    [[nodiscard]] unsigned services() const { return static_cast<unsigned>(pipes_.size()) - 1; }
    [[nodiscard]] int supervisor_fd() const { return pipes_.front().write_end.get(); }
    /// The same for each generation of that service. A listener gets it as control::log_fd.
    [[nodiscard]] int fd_for_service(std::size_t service) const {
        return pipes_.at(service + 1).write_end.get();
    }

    [[nodiscard]] pid_t pid() const { return pid_; }
    /// A child was reaped. If it was the relay, another one is due: at once, or, after one that did not live
    /// long, in a while. What there is to log, if anything.
    [[nodiscard]] std::optional<Record> ended(pid_t pid, int status);
    /// When tend() has something to do.
    [[nodiscard]] std::optional<Clock::time_point> due() const { return due_; }
    /// Starts the relay that is due by now, and does not wait for it.
    void tend(Clock::time_point now);

    /// Before the supervisor exits: closes our write ends and waits for the relay, no longer than `limit`.
    void finish(std::chrono::milliseconds limit);

  private:
    struct Pipe {
        Fd read_end, write_end;
    };

    std::vector<sock_filter> program_;
    confine::Expected expected_;
    LogFormat format_;
    bool priorities_;
    std::vector<Pipe> pipes_;
    pid_t pid_ = 0;
    unsigned quick_deaths_ = 0; // in a row
    Clock::time_point started_at_;
    std::optional<Clock::time_point> due_;

    [[nodiscard]] bool run(int ready_fd, bool after_another);
};

} // namespace cloister::supervisor
