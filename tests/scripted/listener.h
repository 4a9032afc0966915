// SPDX-License-Identifier: MIT
#pragma once

#include "listener/server.h"
#include "policy/evaluate.h"
#include "scripted/kernel.h"

#include <csignal>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace cloister::scripted {

/// The listener's kernel, and the world around it. A test says what happens while the listener waits, one
/// thing at a time; after the last one the supervisor parameters the end. Every call is held against
/// policy/listener.policy, or policy/clone.policy: one that the filter would not allow throws Broken.
class ListenerWorld final : public Kernel {
  public:
    struct Broken : std::runtime_error {
        using std::runtime_error::runtime_error;
    };

    explicit ListenerWorld(unsigned max_connections = 8, std::uint16_t family = AF_INET,
                           unsigned listeners = 1);

    /// What happens at the next wait, in order.
    void then(std::function<void()> happening) { happenings_.push_back(std::move(happening)); }

    // For happenings.
    void connect(unsigned clients = 1, std::size_t listener = 0) { backlogs_.at(listener) += clients; }
    void supervisor_comes_from(std::uint16_t port); ///< to the first listening socket; before serve()
    void come_from(std::uint16_t port) { next_port_ = port; } ///< the next client
    void fail_accept(long error, unsigned times = 1) {
        accept_errors_.insert(accept_errors_.end(), times, error);
    }
    void end_cell(pid_t pid, int wait_status);          ///< and its exit signal is queued
    void end_cell_silently(pid_t pid, int wait_status); ///< its signal was lost
    void send_signal(int signal, int code, pid_t sender);
    void order(control::Message::Tag tag);
    void connect_self_test() { self_test_waits_ = true; }
    void lose_supervisor() { supervisor_gone_ = true; }
    void pass(std::int64_t ns) { clock_ns_ += ns; }
    void set_wall_clock_forward(std::int64_t ns) { wall_clock_ns_ += ns; }

    // What the kernel answers from now on; 0: as it should.
    long clone_error = 0;
    unsigned clone_errors = 0; ///< how often; then it works again
    long setsockopt_error = 0;
    long write_error = 0;
    long ppoll_error = 0;
    long read_error = 0;                        ///< of the next order; then it works
    long order_size = sizeof(control::Message); ///< of each order
    long wait4_error = 0;
    long clock_error = 0;
    std::uint32_t scope = 0;                ///< of IPv6 clients
    std::uint32_t client = INADDR_LOOPBACK; ///< the address of IPv4 clients
    std::uint32_t ours = INADDR_LOOPBACK;   ///< of their connections' other end
    std::uint32_t client_uid = 1000;        ///< of unix clients
    long passrights = 0;                    ///< of unix connections, or the error of asking
    std::function<void()> at_log_poll = [] {};
    /// A releaser; it closes descriptor 0 and ends at once unless this says otherwise.
    std::function<void(pid_t)> at_releaser = [this](pid_t pid) {
        release();
        end_cell(pid, 0);
    };
    void release(); ///< a releaser closes descriptor 0
    std::function<void(pid_t)> at_clone = [](pid_t) {};

    /// Runs a listener until it leaves. Its exit code, -1 if it returned from serve() as it should.
    int serve();
    /// Has the negative self-tests sent out instead. As above.
    int run_negative_self_tests();

    [[nodiscard]] const std::set<pid_t>& live() const { return live_; }
    [[nodiscard]] const std::vector<pid_t>& born() const { return born_; }
    [[nodiscard]] const std::vector<pid_t>& releasers() const { return releasers_; }
    [[nodiscard]] unsigned resets() const { return resets_; } ///< connections closed with SO_LINGER 0
    [[nodiscard]] const std::vector<std::size_t>& accepted_from() const { return accepted_from_; }
    /// Of the last connection, those that were set, with an int's value.
    [[nodiscard]] const std::map<int, int>& socket_options() const { return socket_options_; }
    [[nodiscard]] unsigned waits() const { return waits_; }
    [[nodiscard]] unsigned accepts() const { return accepts_; }
    [[nodiscard]] std::size_t most_killed_at_once() const { return most_dying_; }
    [[nodiscard]] const std::string& log() const { return log_; }
    [[nodiscard]] std::vector<nlohmann::json> records(const std::string& event) const;
    [[nodiscard]] const std::vector<control::Message::Tag>& told() const { return told_; } ///< the supervisor
    [[nodiscard]] bool listens() const { return listens_.at(0); }
    [[nodiscard]] bool self_test_is_open() const { return self_test_listens_; }
    [[nodiscard]] unsigned self_test_polls() const { return self_test_polls_; } ///< waits with its socket
    [[nodiscard]] bool polled_listener() const { return polled_listener_; }     ///< in the last wait
    control::Launch& launch() { return launch_; }
    control::SharedState& state() { return *state_; }

    long answer(const Call& call) override;

  private:
    control::Launch launch_{};
    std::unique_ptr<cell::Arena> arena_;
    std::unique_ptr<control::SharedState, void (*)(control::SharedState*)> state_;
    policy::Policy listener_call_;
    policy::Policy clone_call_;
    policy::Bindings bindings_;
    std::deque<std::function<void()>> happenings_;
    std::deque<long> accept_errors_;
    std::deque<siginfo_t> signals_;
    std::deque<control::Message> parameters_;
    std::map<pid_t, int> zombies_;
    std::set<pid_t> live_;
    std::vector<pid_t> born_;
    std::string log_;
    std::vector<control::Message::Tag> told_;
    std::int64_t clock_ns_ = 5'000'000'000;
    std::int64_t wall_clock_ns_ = 1'700'000'000'000'000'000; // ahead of clock_ns_: 2023-11-14T22:13:20Z
    std::vector<pid_t> releasers_;
    std::vector<std::size_t> accepted_from_;
    std::map<int, int> socket_options_;
    std::vector<unsigned> backlogs_;
    std::vector<bool> listens_;
    bool self_test_waits_ = false;
    bool self_test_listens_ = true;
    unsigned self_tests_ = 0; ///< accepted
    unsigned self_test_polls_ = 0;
    unsigned resets_ = 0;
    unsigned waits_ = 0;
    unsigned accepts_ = 0;
    std::size_t dying_ = 0;
    std::size_t most_dying_ = 0;
    std::uint16_t next_port_ = 40000;
    enum class Zero { Free, Connection, Listening, Dup } zero_ = Zero::Free; ///< what descriptor 0 is
    bool chosen_ = false; ///< by a client: descriptor 0 may be the last reference to what it passed
    bool lingers_ = false;
    bool supervisor_gone_ = false;
    bool polled_listener_ = false;
    bool ended_ = false;

    [[nodiscard]] long wait(const Call& call);
    [[nodiscard]] long accept(const Call& call);
    [[nodiscard]] long dup(int fd);
    [[nodiscard]] long clone(const Call& call);
    [[nodiscard]] long set_option(const Call& call);
    [[nodiscard]] long get_option(const Call& call) const;
    [[nodiscard]] long name_socket(const Call& call) const;
    [[nodiscard]] long close(int fd);
    [[nodiscard]] long take_signal(const Call& call);
    [[nodiscard]] long reap(const Call& call);
    [[nodiscard]] long kill(pid_t pid);
    [[nodiscard]] long write(const Call& call);
    [[nodiscard]] long read(const Call& call);
    void expect_allowed(const Call& call) const;
};

} // namespace cloister::scripted
