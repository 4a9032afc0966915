// SPDX-License-Identifier: MIT
#pragma once

#include "config/model.h"
#include "supervisor/generation.h"
#include "supervisor/log_relay.h"
#include "supervisor/state_machine.h"

#include <deque>
#include <map>
#include <vector>

namespace cloister::supervisor {

/// A service that is ready to be started: everything that needed a privilege is open.
struct RunnableService {
    const config::Service& config;
    const Policies& policies; ///< the shared ones, and its handler's
    const ServedContent& content;
    std::shared_ptr<SharedMemory> shared;
    Fd binary; ///< of its listener
    std::vector<ListeningSocket> sockets;
};

/// The loop around the state machine: brings it events, carries out its actions, and never waits for one
/// process. All privileges have been given up, and the signals are blocked (run.cpp).
class Loop {
  public:
    Loop(const config::Config& config, std::vector<RunnableService> services, const OomScore& oom_score,
         Log& log, LogRelay& relay, bool log_priorities, bool groups_empty);

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
    void operator()(const action::CloseSockets& close);
    void operator()(const action::Exit& exit);
    void operator()(const action::SayReady& ready);
    void operator()(const action::SayStarted& started);
    void operator()(const action::SayDied& died);
    void operator()(const action::SayFailed& failed);
    void operator()(const action::SayDown& down);
    void operator()(const action::SayWaiting& waiting);
    void operator()(const action::SaySilent& silent);
    void operator()(const action::SayReach& reach);
    void operator()(const action::SayStopping& stopping);

  private:
    struct Running {
        std::size_t service;
        unsigned number;
        Generation generation;
    };

    const config::Config& config_;
    std::vector<RunnableService> services_;
    Log& log_;
    LogRelay& relay_;
    Fd stop_signals_;
    Fd other_signals_;
    std::vector<OwnSocket> own_sockets_;
    std::vector<Setup> setups_; ///< of the services
    StateMachine machine_;
    std::map<Id, Running> running_;
    std::deque<Event> events_;
    std::optional<ExitCode> result_;

    void carry_out(const Actions& actions);
    void wait();
    void take_signals();
    void reap();
    void hear(Id id, Running& running);
    void go_on(Id id, Running& running);
    [[nodiscard]] const std::string& name_of(std::size_t service) const {
        return services_[service].config.name;
    }
};

} // namespace cloister::supervisor
