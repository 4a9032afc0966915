// SPDX-License-Identifier: MIT
#pragma once

#include "base/log.h"
#include "cell/cell.h"
#include "control/launch.h"
#include "listener/admission.h"
#include "listener/exit_reason.h"
#include "listener/refusals.h"
#include "listener/table.h"

#include <array>
#include <cstdint>
#include <poll.h>

namespace cloister::listener {

/// What the listener blocks and takes with rt_sigtimedwait; bit n-1 = signal n. Cells keep the mask, so that
/// signals of a terminal or a service manager to the whole process group end no connection. ALRM, XCPU and
/// faults are not blocked. The listener itself acts on the exit signal only; orders come from the supervisor
/// by messages.
[[nodiscard]] std::uint64_t blocked_signals();

/// The negative self-tests, before any client is served: forks four cells in the usual way. After its setup
/// one makes a call of the setup policy (SIGSYS must kill it); the others jump to the setup, the clone and
/// the listener call site, which they do not have (SIGSEGV must kill them). Dies if that did not end them.
/// Under the final filter. Returns the shortest time from clone to a cell's end, in ns.
std::uint64_t run_negative_self_tests(const control::Launch& launch);

/// Releasers that may live at a time; while so many do, no unix client is accepted that needs another.
inline constexpr std::size_t max_releasers = 64;

/// The listener under its filter: accept, fork a cell, reap, log. Makes system calls through sys only,
/// allocates nothing.
class Server {
  public:
    /// `state`: the shared state of the service, with room for so many sources.
    Server(const control::Launch& launch, control::SharedState& state, unsigned sources, pid_t supervisor);

    [[nodiscard]] Log& log() { return log_; }

    /// Until the supervisor's order to leave has been carried out.
    void serve();

  private:
    enum class Phase { serving, draining, ending };

    const control::Launch& launch_;
    pid_t supervisor_;
    Admission admission_;
    Refusals refusals_;
    CellTable cells_;
    Log log_;
    Phase phase_ = Phase::serving;
    std::int64_t now_ns_ = 0; // CLOCK_MONOTONIC, once a round
    std::int64_t realtime_offset_ns_ = 0;
    std::int64_t tick_due_ns_ = 0;
    std::int64_t resume_ns_ = 0; // no accepting until then
    std::int64_t complaint_due_ns_ = 0;
    std::uint64_t complaints_ = 0; // since the last one that was logged
    std::uint64_t connections_ = 0;
    std::uint64_t elsewhere_ = 0;      // connections of the other generations, at the last look
    std::uint64_t failed_setups_ = 0;  // in a row
    std::uint64_t strange_errors_ = 0; // in a row
    bool self_test_due_ = true;        // its socket is open
    bool self_testing_ = false;        // its cell lives
    std::size_t sweep_place_ = 0;
    std::size_t kill_place_ = 0;
    std::size_t killed_ = 0; // by us, not yet reaped
    unsigned turn_ = 0;      // the listening socket that accepts next
    bool held_ = false;      // descriptor 0 is a connection for which there was no cell; it is tried again
    std::uint32_t held_socket_ = 0;
    Peer held_peer_{};
    Ticket held_ticket_{};

    // Releasers (release.cpp).
    bool occupied_ = false;                      // descriptor 0 is for a releaser to close
    pid_t releaser_ = 0;                         // that has not closed it yet; 0: there is none
    std::int64_t releaser_due_ns_ = 0;           // by then descriptor 0 is free, or it was stopped
    std::size_t releasers_ = 0;                  // alive, among cells_
    std::uint64_t to_release_ = 0;               // listening sockets that wait for one, by bits
    std::uint64_t tried_ = 0;                    // listening sockets that the supervisor has tried, by bits
    static constexpr unsigned first_polled_ = 3; // of the public sockets
    std::array<pollfd, control::max_listening_sockets + first_polled_> polled_{};

    /// Those of clients.
    [[nodiscard]] std::size_t connections() const {
        return cells_.live() - releasers_ - (self_testing_ ? 1 : 0);
    }
    [[nodiscard]] bool full() const { return connections() + elsewhere_ >= launch_.max_connections; }
    [[nodiscard]] bool able_to_accept() const;
    [[nodiscard]] bool accepting() const { return able_to_accept() && !full(); }
    [[nodiscard]] static int listening_fd(std::uint32_t socket) {
        return socket == control::self_test_socket ? control::self_test_fd
                                                   : control::first_socket_fd + static_cast<int>(socket);
    }
    [[nodiscard]] bool is_unix(std::uint32_t socket) const {
        return launch_.sockets[socket].family == AF_UNIX;
    }
    void wait();
    void count_elsewhere();
    void read_clock();
    void tick();

    void take_messages();
    void handle(const control::Message& message);
    void stop_accepting();
    void close_self_test();
    void kill_a_batch();

    void accept_connections();
    [[nodiscard]] bool accept_from(std::uint32_t socket);
    [[noreturn]] void die_of(const char* what, std::uint32_t socket, long error) const;
    void pause(std::string_view call, long error, std::string_view peer = {});
    [[nodiscard]] Peer peer_of(std::uint32_t socket, const sockaddr_storage& address);
    [[nodiscard]] long set_options();
    [[nodiscard]] bool is_loop(const Peer& peer) const;
    void admit(std::uint32_t socket, const Peer& peer);
    void turn_away(std::uint32_t socket, const Peer& peer, const Admission::Verdict& verdict);
    void log_penalty(const std::optional<Admission::Penalised>& penalised);
    void log_more_refusals();
    void give_to_cell(std::uint32_t socket, const Peer& peer, const Ticket& ticket);
    void fork_cell(std::uint32_t socket, const Peer& peer, const Ticket& ticket);
    void refuse(const char* call, long error, const Peer& peer);
    void reset_at_close();

    [[nodiscard]] static bool may_hold_descriptors();
    [[nodiscard]] bool is_connection_fd_free();
    void close_connection(bool by_releaser);
    void look_after_releasers();
    void start_releaser();
    void occupy_with_a_listener();

    void take_signals();
    void reap(Cell& cell);
    void count_failed_setup(ExitReason reason);
    [[nodiscard]] ExitReason reason_of(const Cell& cell, int status) const;
    void log_connection(const Cell& cell, int status, const rusage& usage);
    [[nodiscard]] bool is_supervisor(std::uint32_t socket, const Peer& peer) const;

    [[nodiscard]] Record record(Level level, EventName event) const {
        return log_.record(level, event, now_ns_ + realtime_offset_ns_);
    }
    void log(Record& record) { log_.add(record, now_ns_ + realtime_offset_ns_); }
};

} // namespace cloister::listener
