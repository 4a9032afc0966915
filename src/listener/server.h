// SPDX-License-Identifier: MIT
#pragma once

#include "cell/cell.h"
#include "listener/log.h"
#include "listener/table.h"
#include "plan/plan.h"

#include <array>
#include <cstdint>
#include <poll.h>

namespace cloister::listener {

/// What the listener blocks and takes with rt_sigtimedwait; bit n-1 = signal n. Cells keep the mask, so that
/// neither a terminal nor a service manager that signals the whole group cuts a connection. ALRM, XCPU and
/// faults stay deadly. The listener itself acts on the exit signal only: its orders come from the supervisor.
[[nodiscard]] std::uint64_t blocked_signals();

/// Proves that a cell is confined before any client is served: cells are born as all are, and then one makes
/// a call of the ladder's (SIGSYS), and one each jumps to the ladder, the door and the gate (SIGSEGV: they
/// are not there). Dies unless that killed them. Under the final filter.
void expect_violators_to_die(const plan::Plan& plan);

/// The listener under its filter: accept, fork a cell, reap, log. Makes system calls through sys only,
/// allocates nothing.
class Server {
  public:
    Server(const plan::Plan& plan, pid_t supervisor);

    /// Until the supervisor's order to leave has been carried out.
    void serve();

  private:
    enum class Phase { serving, draining, ending };

    const plan::Plan& plan_;
    pid_t supervisor_;
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
    std::uint64_t failed_setups_ = 0;  // in a row
    std::uint64_t strange_errors_ = 0; // in a row
    bool said_full_ = false;
    std::size_t sweep_place_ = 0;
    std::size_t kill_place_ = 0;
    std::size_t killed_ = 0; // by us, not yet reaped
    std::array<sockaddr_storage, plan::max_listeners> canaries_{};
    std::array<pollfd, plan::max_listeners + 2> polled_{};

    [[nodiscard]] bool accepting() const;
    void wait();
    void read_clock();
    void tick();

    void take_orders();
    void obey(const plan::Message& message);
    void say_full();
    void stop_accepting();
    void kill_a_batch();
    void say_last_words();

    void accept_from(std::uint32_t listener);
    void pause(std::string_view call, long error, std::string_view peer = {});
    [[nodiscard]] Peer peer_of(std::uint32_t listener, const sockaddr_storage& address);
    void give_to_cell(std::uint32_t listener, const Peer& peer);
    void refuse(const char* call, long error, const Peer& peer);

    void take_signals();
    void reap(Cell& cell);
    void log_end(const Cell& cell, int status, const rusage& usage);
    [[nodiscard]] bool is_canary(const Cell& cell) const;
    void forget_canary(const Cell& cell) { canaries_[cell.listener] = {}; }

    [[nodiscard]] Record record(Level level, std::string_view event) const {
        return log_.record(level, event, now_ns_ + realtime_offset_ns_);
    }
    void log(Record& record) { log_.add(record, now_ns_ + realtime_offset_ns_); }
};

} // namespace cloister::listener
