// SPDX-License-Identifier: MIT
#pragma once

#include "config/model.h"
#include "supervisor/control_socket.h"
#include "supervisor/generation.h"
#include "supervisor/live_pages.h"
#include "supervisor/log_relay.h"
#include "supervisor/metrics.h"
#include "supervisor/notify.h"
#include "supervisor/reload.h"
#include "supervisor/state_machine.h"
#include "supervisor/upgrade.h"

#include <deque>
#include <map>
#include <vector>

namespace cloister::supervisor {

/// A reload that is not finished.
struct Reload {
    std::vector<std::string> changed, added, removed, failed; ///< services; of `failed`, with the reason
    std::size_t pending = 0;                                  ///< that are not answered yet
};

/// The loop around the state machine: brings it events, carries out its actions, and never waits for one
/// process. All privileges have been given up, and the signals are blocked (run.cpp).
class Loop {
  public:
    /// `log_slot` and `max_connections` of the setups are filled here.
    Loop(config::Config config, std::vector<Setup> setups, const Host& host, Log& log, LogRelay& relay,
         OperatorAccess access, ReadConfig read_config, OpenBinary open_binary, Invocation invocation);

    /// Instead of the first start: takes over what an earlier program of this process has left, `setups` in
    /// the order of its services, and gives each service a new generation.
    void resume(const Handover& state, std::span<const std::shared_ptr<const Setup>> setups, Change change);

    /// Until the state machine says so. What ended it is in the log.
    [[nodiscard]] ExitCode run();

    // Actions of the state machine.
    void operator()(const action::Start& start);
    void operator()(const action::Launch& launch);
    void operator()(const action::SelfTest& test);
    void operator()(const action::Ask& ask);
    void operator()(const action::Drain& drain);
    void operator()(const action::End& end);
    void operator()(const action::Kill& kill);
    void operator()(const action::Forget& forget);
    void operator()(const action::Replaced& replaced);
    void operator()(const action::NotReplaced& failed);
    void operator()(const action::CloseSockets& close);
    void operator()(const action::Exit& exit);
    void operator()(const action::SayReady& ready);
    void operator()(const action::SayStarted& started);
    void operator()(const action::SayDied& died);
    void operator()(const action::SayFailed& failed);
    void operator()(const action::SayDown& down);
    void operator()(const action::SayWaiting& waiting);
    void operator()(const action::SaySilent& silent);
    void operator()(const action::SayReplaceWaits& waits);
    void operator()(const action::SayReach& reach);
    void operator()(const action::SayStopping& stopping);

  private:
    struct Running {
        std::size_t service;
        unsigned number;
        Generation generation;
    };
    /// What the state machine calls a service, by its number: one of the listeners of a service.
    struct Entry {
        std::shared_ptr<const Setup> setup;  ///< null: removed
        std::shared_ptr<const Setup> before; ///< that serves until the replacement does; null: there is none
        std::string name;
        unsigned listener = 0;                              ///< of the service's, from 0 on
        std::uint64_t offences = 0;                         ///< at the last fresh layout
        std::chrono::steady_clock::time_point layout_due{}; ///< before that it is fresh enough
        bool fresh = false;                                 ///< a generation starts for a fresh layout alone
    };
    struct Upgrade {
        NewBinary binary;
        bool tried = false; ///< nothing speaks against it
    };

    config::Config config_;
    const Host& host_;
    Log& log_;
    LogRelay& relay_;
    std::optional<ControlSocket> control_;
    std::string no_control_; ///< why
    std::vector<ControlSocket::Client> wait_for_reload_;
    std::uint64_t started_ns_; ///< CLOCK_MONOTONIC
    std::uint64_t reloads_ = 0, reload_failures_ = 0;
    bool reload_successful_ = true;  ///< the last one
    std::vector<Bound> bounds_;      ///< of the system, that bind before ours
    std::optional<LivePages> pages_; ///< of the metrics, once a service serves them
    std::chrono::steady_clock::time_point page_due_{};
    ReadConfig read_config_;
    OpenBinary open_binary_;
    Invocation invocation_;
    Notifier notifier_ = Notifier::from_environment();
    Notifier::Clock::time_point watchdog_due_{}, status_due_{};
    bool said_stopping_ = false;
    std::optional<Upgrade> upgrade_;
    bool upgrade_again_ = false;  ///< asked for during a reload
    std::string upgraded_from_{}; ///< the release; until all services have a new generation
    std::chrono::steady_clock::time_point look_at_layouts_{};
    Fd stop_signals_;
    Fd other_signals_;
    std::vector<Entry> services_;
    StateMachine machine_;
    std::map<Id, Running> running_;
    std::deque<Event> events_;
    std::optional<ExitCode> result_;
    std::optional<Reload> reload_;
    bool reload_again_ = false; // asked for while one was not finished

    void carry_out(const Actions& actions);
    void wait();
    void take_signals();
    void reap();
    void hear(Id id, Running& running);
    void go_on(Id id, Running& running);
    [[nodiscard]] const std::string& name_of(std::size_t service) const { return services_[service].name; }
    /// Whether no earlier entry is of the same service.
    [[nodiscard]] bool is_first(std::size_t index) const;
    /// Its listeners' generations share the same memory.
    [[nodiscard]] static bool is_of(const Running& running, const Setup& setup) {
        return running.generation.setup().shared == setup.shared;
    }

    // Reload (loop_reload.cpp).
    void reload();
    void apply(Change change);
    void change_listener(const std::shared_ptr<Setup>& setup, unsigned listener);
    [[nodiscard]] std::optional<std::size_t> find_entry(const std::string& name, unsigned listener) const;
    void finish_reload_if_done();
    void close_unused(const Setup& setup);
    void share_connections(std::span<const std::shared_ptr<Setup>> setups);
    void tell_own_sockets();
    [[nodiscard]] std::optional<unsigned> free_log_slot() const;

    // The service manager (loop_notify.cpp).
    [[nodiscard]] std::string status_line() const;
    void notify_in_time();
    [[nodiscard]] std::optional<Time> notify_due() const;

    // Upgrade (loop_upgrade.cpp).
    void upgrade();
    void upgrade_failed(const std::string& why);
    void judge_new_binary(pid_t pid, int status);
    void execute_new_binary();
    [[nodiscard]] Handover hand_over() const;
    void renew_layouts();

    // The metrics (loop_metrics.cpp).
    [[nodiscard]] Metrics metrics() const;
    [[nodiscard]] bool is_page_tested() const;
    void publish_metrics();
    void reload_ended(bool successful);

    // What an operator asks (loop_status.cpp).
    void answer_operators();
    [[nodiscard]] control::Reply describe(const Setup& setup,
                                          std::vector<control::Reply>* penalised = nullptr) const;
    void tell_status(ControlSocket::Client client);
    void tell_service(ControlSocket::Client client, const Setup& setup);
    void log_status();
    void explain(ControlSocket::Client client, const control::Source& whole);
};

} // namespace cloister::supervisor
