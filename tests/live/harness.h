// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"
#include "fault.h"
#include "processes.h"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace cloister::live {

using Json = nlohmann::json;

/// How a daemon is started.
struct Setup {
    std::string program = "cloisterd"; ///< of the build, from where the test lies
    std::vector<std::string> listen{"127.0.0.1:0"};
    std::vector<std::string> options{}; ///< further ones
    std::vector<std::string> through{}; ///< a program that executes it, and its arguments
    bool user_namespace = false;        ///< as root: in one that maps users and groups to themselves
    std::vector<int> passed{};          ///< listening sockets, LISTEN_FDS; then no --listen unless given
    std::vector<int> inherited{}; ///< descriptors that it gets besides: they are taken over, and closed here
    bool passed_to_another = false;   ///< LISTEN_PID names process 1
    bool standard_descriptors = true; ///< false: 0, 1 and 2 are closed
    bool unlimited = true;            ///< by environment: no source has limits, and accepting is not deferred
    bool without_control = true;      ///< by environment: no control socket
    bool await_ready = true;
    int stderr_fd = -1;           ///< in place of the pipe that is read here; then nothing is awaited
    std::vector<Fault> faults{};  ///< of its kernel
    std::string cgroup_procs{};   ///< of the control group that it is started in; empty: ours
    std::function<void()> last{}; ///< in the child before the faults and execve; async-signal-safe calls only
};

/// A cloisterd of our own, as root with --user. Its stderr is read by a thread. The destructor ends it at
/// once, and fails the test if that does not work or if any process of it is left: orphans come to us, since
/// we are their subreaper.
class Daemon {
  public:
    explicit Daemon(Setup setup = {});
    ~Daemon();
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] const Json& ready() const { return ready_; }
    /// The n-th address of the ready record.
    [[nodiscard]] std::string address(std::size_t n = 0) const;

    /// The one cloister-listener that accepts; 0 if there is none.
    [[nodiscard]] pid_t listener() const;
    void signal_listener(int number) const; ///< throws if there is none: kill(2) takes 0 for our own group
    /// Its log relay; 0 if there is none.
    [[nodiscard]] pid_t relay() const;
    [[nodiscard]] std::vector<pid_t> cells() const;
    /// The only cell, awaited.
    [[nodiscard]] pid_t only_cell() const;
    [[nodiscard]] bool has_cells(std::size_t count, std::chrono::milliseconds limit = 5s) const;

    /// Everything that it said, and the records of it.
    [[nodiscard]] std::string log() const;
    [[nodiscard]] std::vector<Json> records(const std::string& event) const;
    /// The first record of that event of which `matches` holds; throws with the log if none comes in time.
    [[nodiscard]] Json await_record(const std::string& event,
                                    const std::function<bool(const Json&)>& matches = {},
                                    std::chrono::milliseconds limit = 10s) const;
    /// The record of the connection whose peer is `name`.
    [[nodiscard]] Json end_of(const std::string& name, std::chrono::milliseconds limit = 10s) const;
    /// While false nobody reads its stderr: the pipe fills.
    void read_log(bool yes);
    /// From now on writing to it fails.
    void break_log();

    void signal(int number) const;
    /// The exit code, or minus the signal; nothing if it still runs then. All that it said has then been
    /// read.
    [[nodiscard]] std::optional<int> ends_within(std::chrono::milliseconds limit);
    /// Whether none of its processes is left by then; for a daemon that has ended.
    [[nodiscard]] bool leaves_nobody_within(std::chrono::milliseconds limit) const;

  private:
    void follow_log();
    [[nodiscard]] pid_t child_named(const std::string& name) const;
    std::vector<pid_t> family() const;

    pid_t pid_ = -1;
    std::optional<int> ended_;
    Json ready_;
    Fd log_pipe_;
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    std::string log_;
    bool reading_ = true;
    bool at_end_ = false;
    bool break_ = false;
    bool stop_ = false;
    std::thread reader_;
};

/// cloisterd run to its end, without --user unless given.
[[nodiscard]] Outcome run_cloisterd(std::vector<std::string> options);

/// The options that make cloisterd start here: --user as root.
[[nodiscard]] std::vector<std::string> user_options();
inline constexpr unsigned daemon_id = 61007; ///< user and group as root

} // namespace cloister::live
