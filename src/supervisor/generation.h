// SPDX-License-Identifier: MIT
#pragma once

#include "control/launch.h"
#include "supervisor/content.h"
#include "supervisor/log.h"
#include "supervisor/oom_score.h"
#include "supervisor/programs.h"
#include "supervisor/sockets.h"

#include <sys/types.h>
#include <tl/expected.hpp>
#include <vector>

namespace cloister::supervisor {

/// What every generation is started from.
struct Setup {
    const config::Service& service;
    LogFormat log_format;
    const Policies& policies;
    const ServedContent& content;
    const std::vector<ListeningSocket>& sockets;
    const OomScore& oom_score;
    unsigned max_connections; ///< what the options ask for, or fewer where the system allows no more
    int binary_fd;            ///< the handler's listener, opened before we gave up our permissions
    int log_fd;
    bool log_may_block;
    bool log_priorities;
    bool groups_empty;
    int stop_fd; ///< readable when we shall stop: then a start is given up
};

/// One run of a listener: its process, and the socket to it.
class Generation {
  public:
    /// Starts a listener, sends it its launch with programs proved for where its memory lies, and returns
    /// when it has confined itself and has answered us, as a client, at each of its sockets as its handler
    /// says. On failure no process is left.
    [[nodiscard]] static tl::expected<Generation, Failure> start(const Setup& setup);

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] int landlock_abi() const { return landlock_abi_; }
    [[nodiscard]] bool bounding_empty() const { return bounding_empty_; }

    /// Clients that waited took all cells before every self-test was served.
    [[nodiscard]] bool full() const { return full_; }

    void drain(); ///< accept no more, leave when the last cell has ended
    void end();   ///< end all cells in batches, and leave
    void kill();  ///< SIGKILL, and reaps it; the cells die with it

  private:
    Generation(pid_t pid, Fd control) : pid_{pid}, control_{std::move(control)} {}

    pid_t pid_;
    Fd control_;
    int landlock_abi_ = 0;
    bool bounding_empty_ = false;
    bool full_ = false;

    control::Conversation conversation_{}; // of its handler

    [[nodiscard]] tl::expected<void, Failure> arm(const Setup& setup);
    [[nodiscard]] tl::expected<control::Message, Failure> receive(const Setup& setup,
                                                                  control::Message::Tag tag);
    [[nodiscard]] tl::expected<void, Failure> expect_fitting(const Setup& setup,
                                                             const control::Message& hello);
    [[nodiscard]] tl::expected<void, Failure> send_plan(const Setup& setup, const control::Message& hello);
    [[nodiscard]] Failure death();
    void send(control::Message::Tag tag);
};

} // namespace cloister::supervisor
