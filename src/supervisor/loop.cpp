// SPDX-License-Identifier: MIT
#include "supervisor/loop.h"

#include "base/cure.h"
#include "base/die.h"
#include "supervisor/limits.h"
#include "supervisor/report.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::supervisor {
namespace {

Time now() {
    return std::chrono::duration_cast<Time>(std::chrono::steady_clock::now().time_since_epoch());
}

Fd open_signals(std::initializer_list<int> signals) {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : signals) {
        sigaddset(&set, signal);
    }
    Fd fd{signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)};
    if (!fd.valid()) {
        die(ExitCode::SystemCall, "signalfd: %s", error_text(errno));
    }
    return fd;
}

std::vector<ServiceSpec> specs_of(const std::vector<Setup>& setups) {
    std::vector<ServiceSpec> specs;
    specs.reserve(setups.size());
    for (const Setup& setup : setups) {
        for (unsigned listener = 0; listener < setup.service.listeners; ++listener) {
            specs.push_back(spec_of(setup, listener));
        }
    }
    return specs;
}

} // namespace

Loop::Loop(config::Config config, std::vector<Setup> setups, const Host& host, Log& log, LogRelay& relay,
           OperatorAccess access, ReadConfig read_config, OpenBinary open_binary, Invocation invocation)
    : config_{std::move(config)}, host_{host}, log_{log}, relay_{relay}, control_{std::move(access.socket)},
      no_control_{std::move(access.why_not)},
      started_ns_{static_cast<std::uint64_t>(
          std::chrono::nanoseconds{std::chrono::steady_clock::now().time_since_epoch()}.count())},
      read_config_{std::move(read_config)}, open_binary_{std::move(open_binary)},
      invocation_{std::move(invocation)}, stop_signals_{open_signals({SIGTERM, SIGINT})},
      other_signals_{open_signals({SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2})}, machine_{specs_of(setups)} {
    std::vector<std::shared_ptr<Setup>> all;
    for (Setup& setup : setups) {
        setup.log_slot = static_cast<unsigned>(all.size());
        all.push_back(std::make_shared<Setup>(std::move(setup)));
    }
    share_connections(all);
    for (const auto& setup : all) {
        report_small_table(log_, *setup);
        report_capped_buffers(log_, *setup);
        for (unsigned listener = 0; listener < setup->service.listeners; ++listener) {
            services_.push_back({setup, nullptr, setup->service.name, listener});
        }
    }
    tell_own_sockets();
}

ExitCode Loop::run() {
    for (const auto& warning : config_.warnings) {
        log_.write(Record{Level::warning, "warning"}.add("message", warning));
    }
    if (upgraded_from_.empty()) {
        events_.emplace_back(event::Begin{});
    }
    while (!result_) {
        for (; !events_.empty(); events_.pop_front()) {
            carry_out(machine_.handle(events_.front(), now()));
        }
        carry_out(machine_.advance(now()));
        renew_layouts();
        execute_new_binary();
        notify_in_time();
        publish_metrics();
        if (!result_ && events_.empty()) {
            wait();
        }
    }
    if (control_) {
        control_->close();
    }
    log_.write(Record{Level::info, "stopped"}.add("exit", static_cast<int>(*result_)));
    return *result_;
}

bool Loop::is_first(std::size_t index) const {
    const auto& shared = services_[index].setup->shared;
    return std::none_of(
        services_.begin(), services_.begin() + static_cast<std::ptrdiff_t>(index),
        [&](const Entry& one) { return one.setup != nullptr && one.setup->shared == shared; });
}

/// What comes of them waits in the queue until all have been carried out.
void Loop::carry_out(const Actions& actions) {
    for (const Action& action : actions) {
        std::visit(*this, action);
    }
}

void Loop::wait() {
    const int full_log = log_.writer().pending() ? log_.writer().fd() : -1;
    std::vector<pollfd> polled{
        {stop_signals_.get(), POLLIN, 0}, {other_signals_.get(), POLLIN, 0}, {full_log, POLLOUT, 0}};
    const auto poll_exchange = [&](const std::optional<Exchange>& exchange) {
        if (exchange && !exchange->over()) {
            polled.push_back({exchange->fd(), exchange->events(), 0});
        }
    };
    for (const auto& [id, running] : running_) {
        polled.push_back({running.generation.control_fd(), POLLIN, 0}); // poll(2) passes over a negative one
        poll_exchange(running.generation.self_test);
        for (const auto& reaching : running.generation.reaching) {
            poll_exchange(reaching.exchange);
        }
    }
    if (control_) {
        control_->add_to(polled);
    }
    auto due = machine_.next_deadline();
    if (pages_) {
        const auto page_due = std::chrono::ceil<Time>(page_due_.time_since_epoch());
        due = due ? std::min(*due, page_due) : page_due;
    }
    if (const auto notify = notify_due(); notify) {
        due = due ? std::min(*due, *notify) : *notify;
    }
    if ((control_ && control_->has_clients()) || upgrade_) { // one that does nothing is left
        const Time soon = now() + std::chrono::seconds{1};
        due = due ? std::min(*due, soon) : soon;
    }
    if (const auto relay_due = relay_.due(); relay_due) {
        const auto at = std::chrono::ceil<Time>(relay_due->time_since_epoch());
        due = due ? std::min(*due, at) : at;
    }
    const auto left_ms = due ? std::clamp<Time::rep>((*due - now()).count(), 0, 3'600'000) : -1;
    const int ready = poll(polled.data(), polled.size(), static_cast<int>(left_ms));
    log_.writer().flush(realtime_ns());
    relay_.tend(LogRelay::Clock::now());
    answer_operators();
    if (ready <= 0) {
        return;
    }
    take_signals();
    reap();
    for (auto& [id, running] : running_) {
        hear(id, running);
        go_on(id, running);
    }
}

void Loop::take_signals() {
    signalfd_siginfo info{};
    while (read(stop_signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
        events_.emplace_back(event::Stop{static_cast<int>(info.ssi_signo)});
    }
    while (read(other_signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
        if (info.ssi_signo == SIGHUP) {
            reload();
        } else if (info.ssi_signo == SIGUSR2) {
            upgrade();
        } else if (info.ssi_signo == SIGUSR1) {
            log_status();
        }
    }
}

void Loop::reap() {
    int status = 0;
    pid_t pid = 0;
    for (; (pid = waitpid(-1, &status, WNOHANG)) > 0;) { // also cells whose listener was killed
        if (const auto record = relay_.ended(pid, status)) {
            log_.write(*record);
        }
        judge_new_binary(pid, status);
        for (auto& [id, running] : running_) {
            if (running.generation.pid() == pid) {
                running.generation.was_reaped();
                const bool exited = WIFEXITED(status);
                events_.emplace_back(event::Ended{id,
                                                  {exited, exited ? WEXITSTATUS(status) : WTERMSIG(status),
                                                   exited ? std::string{} : low_memory_limit()}});
            }
        }
    }
    if (pid < 0 && errno != ECHILD && errno != EINTR) { // nothing that ends would be noticed
        die(ExitCode::SystemCall, "cannot reap what has ended: wait4: %s", error_text(errno));
    }
}

/// One message a round: a listener that floods us delays nobody.
void Loop::hear(Id id, Running& running) {
    if (running.generation.control_fd() < 0) {
        return;
    }
    switch (running.generation.hear()) {
    case Generation::Heard::hello:
        events_.emplace_back(event::Said{id, Word::hello});
        break;
    case Generation::Heard::armed:
        events_.emplace_back(event::Said{id, Word::armed});
        break;
    case Generation::Heard::alive:
        events_.emplace_back(event::Said{id, Word::alive});
        break;
    case Generation::Heard::nonsense:
        events_.emplace_back(event::Said{id, Word::nonsense});
        break;
    case Generation::Heard::closed:
        events_.emplace_back(event::Closed{id});
        break;
    case Generation::Heard::failed:
        events_.emplace_back(event::NoLaunch{
            id,
            {ExitCode::SystemCall, fmt::format("cannot hear the listener: recvmsg: {}", error_text(errno))}});
        break;
    case Generation::Heard::nothing:
        break;
    }
}

/// Our own clients of this generation.
void Loop::go_on(Id id, Running& running) {
    auto& [service, number, generation] = running;
    if (auto& exchange = generation.self_test; exchange) {
        exchange->go_on();
        if (exchange->over()) {
            events_.emplace_back(event::SelfTested{
                id, exchange->failure().empty()
                        ? ""
                        : fmt::format("no {}: {}", generation.setup().service.handler, exchange->failure())});
            exchange.reset();
        }
    }
    for (std::size_t i = 0; i < generation.reaching.size(); ++i) {
        auto& [client, exchange] = generation.reaching[i];
        if (exchange && !exchange->over()) {
            exchange->go_on();
            if (exchange->over()) {
                events_.emplace_back(reached(id, i, *generation.setup().sockets[i], *exchange));
            }
        }
    }
}

void Loop::operator()(const action::Start& start) {
    const Entry& entry = services_[start.service];
    const auto& setup = entry.setup;
    const bool reach = start.reach && entry.listener == 0; // the sockets are those of all its listeners
    auto started = Generation::start(setup, host_, relay_.fd_for_service(setup->log_slot), reach);
    if (!started) {
        events_.emplace_back(event::NotStarted{start.id, started.error()});
        return;
    }
    events_.emplace_back(event::Started{start.id, started->pid()});
    running_.emplace(start.id, Running{start.service, start.number, std::move(*started)});
}

void Loop::operator()(const action::Launch& launch) {
    Generation& generation = running_.at(launch.id).generation;
    if (generation.serves_metrics() && !pages_) {
        auto pages = LivePages::create(page_of(metrics()));
        if (!pages) {
            events_.emplace_back(event::NoLaunch{launch.id, pages.error()});
            return;
        }
        pages_ = std::move(*pages);
    }
    if (const auto launched = generation.launch(host_, pages_ ? &*pages_ : nullptr); !launched) {
        events_.emplace_back(event::NoLaunch{launch.id, launched.error()});
    }
}

void Loop::operator()(const action::SelfTest& test) {
    Generation& generation = running_.at(test.id).generation;
    generation.talk();
    for (std::size_t i = 0; i < generation.reaching.size(); ++i) {
        const auto& [client, exchange] = generation.reaching[i];
        const ListeningSocket& socket = *generation.setup().sockets[i];
        if (!exchange) {
            events_.emplace_back(
                event::Reached{test.id, i, Reach::unreachable, unreachable_text(socket, client->error)});
        } else if (exchange->over()) {
            events_.emplace_back(reached(test.id, i, socket, *exchange));
        }
    }
}

void Loop::operator()(const action::Ask& ask) {
    running_.at(ask.id).generation.ask();
}

void Loop::operator()(const action::Drain& drain) {
    Generation& generation = running_.at(drain.id).generation;
    generation.drain();
    close_unused(generation.setup());
}

void Loop::operator()(const action::End& end) {
    running_.at(end.id).generation.end();
}

void Loop::operator()(const action::Kill& kill) {
    if (const auto found = running_.find(kill.id);
        found != running_.end()) { // else its start has failed meanwhile
        found->second.generation.kill();
    }
}

void Loop::operator()(const action::Forget& forget) {
    running_.erase(forget.id);
}

void Loop::operator()(const action::CloseSockets& /*close*/) {
    for (auto& [id, running] : running_) {
        running.generation.reaching.clear();
    }
    for (const Entry& service : services_) {
        for (const auto& setup : {service.setup, service.before}) {
            if (setup != nullptr) {
                close_sockets(setup->sockets);
            }
        }
    }
}

void Loop::operator()(const action::Exit& exit) {
    result_ = exit.code;
    if (!exit.message.empty()) {
        log_fatal_error(log_.writer(), exit.code, with_cure(exit.message));
    }
}

void Loop::operator()(const action::SayReady& ready) {
    auto& [service, number, generation] = running_.at(ready.id);
    generation.reaching.clear(); // what was not tried to the end never is
    report_ready(log_, number, services_[service].listener, generation);
    constexpr std::chrono::seconds fresh_for{60};
    services_[service].layout_due = std::chrono::steady_clock::now() + fresh_for;
}

void Loop::operator()(const action::SayStarted& /*started*/) {
    Record started{Level::info, "started"};
    started.add("services", config_.services.size());
    started.add("landlock_abi", host_.file_access.landlock_abi);
    if (control_ || !no_control_.empty()) {
        started.add("control_socket", control_ ? control_->name() : "none: " + no_control_);
    }
    log_.write(started);
    notifier_.send("READY=1\n" + status_line());
}

void Loop::operator()(const action::SayDied& died) {
    Record record{Level::error, "listener_died"};
    record.add("service", name_of(died.service)).add("pid", died.pid);
    record.add(died.status.exited ? "exit" : "signal", died.status.value);
    log_.write(record);
}

void Loop::operator()(const action::SayFailed& failed) {
    log_.write(Record{Level::error, "listener_failed"}
                   .add("service", name_of(failed.service))
                   .add("message", with_cure(failed.message)));
}

void Loop::operator()(const action::SayDown& down) {
    log_.write(Record{Level::error, "service_down"}
                   .add("service", name_of(down.service))
                   .add("failures", down.failures)
                   .add("retry_ms", down.retry.count())
                   .add("message",
                        "its listener ended again and again; it is tried again, and the other services go "
                        "on; see the records listener_died and listener_failed"));
}

void Loop::operator()(const action::SayWaiting& waiting) {
    log_.write(Record{Level::warning, "service_waiting"}
                   .add("service", name_of(waiting.service))
                   .add("failures", waiting.failures)
                   .add("retry_ms", waiting.retry.count())
                   .add("message", with_cure(waiting.message)));
}

void Loop::operator()(const action::SaySilent& silent) {
    log_.write(Record{Level::warning, "listener_silent"}
                   .add("service", name_of(silent.service))
                   .add("pid", silent.pid)
                   .add("silent_ms", silent.silence.count()));
}

void Loop::operator()(const action::SayReach& reach) {
    const ListeningSocket& socket = *running_.at(reach.id).generation.setup().sockets[reach.socket];
    std::string text = reach.text;
    Reach kind = reach.reach;
    if (text.empty()) { // its time is over
        const auto& exchange = running_.at(reach.id).generation.reaching[reach.socket].exchange;
        kind = exchange && exchange->connected() ? Reach::busy : Reach::unreachable;
        text = kind == Reach::unreachable ? unreachable_text(socket, ETIMEDOUT) : busy_text(socket);
    }
    Record record = kind == Reach::unreachable ? Record{Level::warning, "socket_unreachable"}
                                               : Record{Level::info, "socket_busy"};
    log_.write(record.add("service", name_of(reach.service)).add("socket", socket.name).add("message", text));
}

void Loop::operator()(const action::SayStopping& stopping) {
    said_stopping_ = true;
    status_due_ = Notifier::Clock::now() + std::chrono::seconds{5};
    notifier_.send("STOPPING=1\nSTATUS=stopping");
    Time longest{0};
    for (const Entry& service : services_) {
        if (service.setup != nullptr) {
            longest = std::max<Time>(longest, service.setup->service.drain_timeout);
        }
    }
    log_.write(Record{Level::info, "stopping"}
                   .add("signal", stopping.signal)
                   .add("drain_timeout_ms", longest.count()));
}

} // namespace cloister::supervisor
