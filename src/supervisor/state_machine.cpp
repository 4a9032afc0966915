// SPDX-License-Identifier: MIT
#include "supervisor/state_machine.h"

#include <algorithm>
#include <fmt/core.h>
#include <utility>

namespace cloister::supervisor {
namespace {

constexpr int sigkill = 9;

std::string no_answer(int pid) {
    return fmt::format("the listener, process {}, has not answered for {} s", pid,
                       answer_limit.count() / 1000);
}

/// The kernel refused something that needs no permission: usually there was no room for it.
bool may_pass(const Failure& failure) {
    return failure.code == ExitCode::SystemCall;
}

bool was_killed(const WaitStatus& status) {
    return !status.exited && status.value == sigkill;
}

/// An exit code of ours says more than what we saw from outside.
bool says_why(const WaitStatus& status) {
    return status.exited && status.value >= static_cast<int>(ExitCode::Usage);
}

void earlier(std::optional<Time>& least, const std::optional<Time>& time) {
    if (time && (!least || *time < *least)) {
        least = time;
    }
}

} // namespace

StateMachine::StateMachine(const std::vector<ServiceSpec>& services) {
    for (const ServiceSpec& service : services) {
        services_.push_back({.spec = service});
    }
}

Actions StateMachine::handle(const Event& event, Time now) {
    now_ = now;
    std::visit([this](const auto& one) { on(one); }, event);
    return std::exchange(out_, {});
}

Actions StateMachine::advance(Time now) {
    now_ = now;
    if (const auto next = next_deadline(); next && now - *next > late_limit) {
        give_more_time(now - *next);
    }
    const auto due = [now](const std::optional<Time>& time) { return time && *time <= now; };
    for (Generation& generation : generations_) { // none comes or goes here
        if (due(generation.reach_deadline)) {
            give_up_reach(generation);
        }
        if (due(generation.deadline)) {
            generation.deadline.reset();
            over_time(generation);
        }
        if (due(generation.watch_due)) {
            watch(generation);
        }
    }
    for (std::size_t i = 0; i < services_.size(); ++i) {
        if (due(services_[i].start_at)) {
            services_[i].start_at.reset();
            start(i);
        }
    }
    if (due(exit_at_)) {
        exit_at_.reset();
        out_.emplace_back(*result_);
    }
    exit_if_alone();
    return std::exchange(out_, {});
}

std::optional<Time> StateMachine::next_deadline() const {
    std::optional<Time> next = exit_at_;
    for (const Generation& generation : generations_) {
        earlier(next, generation.deadline);
        earlier(next, generation.reach_deadline);
        earlier(next, generation.watch_due);
    }
    for (const State& service : services_) {
        earlier(next, service.start_at);
    }
    return next;
}

std::size_t StateMachine::adopt_service() {
    said_started_ = true;
    services_.push_back({.spec = {}, .ever_ready = true});
    return services_.size() - 1;
}

Id StateMachine::adopt(std::size_t service, int pid, unsigned number, bool serves) {
    State& state = services_[service];
    state.generations = std::max(state.generations, number);
    Generation generation{.id = ++ids_, .service = service, .deadline = std::nullopt};
    generation.pid = pid;
    generation.role = serves ? Role::serving : Role::retired;
    generation.phase = serves ? Phase::serving : Phase::draining;
    generation.watch_due = Time{0}; // it is asked at once
    generations_.push_back(std::move(generation));
    return ids_;
}

bool StateMachine::is_settled() const {
    return std::all_of(generations_.begin(), generations_.end(), [](const Generation& one) {
        return one.phase == Phase::serving || one.phase == Phase::draining || one.phase == Phase::lost;
    });
}

bool StateMachine::listeners_answer() const {
    return std::none_of(generations_.begin(), generations_.end(), [this](const Generation& one) {
        const bool silent = one.unanswered != 0 && now_ - one.asked_at > killed_after + grace;
        return silent || one.phase == Phase::lost;
    });
}

bool StateMachine::serves(std::size_t service) const {
    return std::any_of(generations_.begin(), generations_.end(), [&](const Generation& one) {
        return one.service == service && one.role == Role::serving && one.phase == Phase::serving;
    });
}

std::optional<Stage> StateMachine::stage(Id id) const {
    for (const Generation& one : generations_) {
        if (one.id == id) {
            return one.role == Role::starting     ? Stage::starting
                   : one.phase == Phase::serving  ? Stage::serving
                   : one.phase == Phase::draining ? Stage::draining
                                                  : Stage::ending;
        }
    }
    return {};
}

Stage StateMachine::stage() const {
    return stopping_ || result_ ? Stage::draining : said_started_ ? Stage::serving : Stage::starting;
}

StateMachine::Generation* StateMachine::find(Id id) {
    const auto found = std::find_if(generations_.begin(), generations_.end(),
                                    [id](const auto& one) { return one.id == id; });
    return found == generations_.end() ? nullptr : &*found;
}

StateMachine::Generation* StateMachine::find(std::size_t service, Role role) {
    const auto found = std::find_if(generations_.begin(), generations_.end(), [&](const auto& one) {
        return one.service == service && one.role == role && one.phase != Phase::lost;
    });
    return found == generations_.end() ? nullptr : &*found;
}

void StateMachine::on(const event::Begin& /*begin*/) {
    for (std::size_t i = 0; i < services_.size(); ++i) {
        start(i);
    }
}

void StateMachine::start(std::size_t service) {
    State& state = services_[service];
    const bool reach = !state.ever_ready;
    Generation generation{.id = ++ids_, .service = service, .deadline = now_ + answer_limit};
    generation.unreached.assign(reach ? state.spec.sockets : 0, true);
    out_.emplace_back(action::Start{generation.id, service, ++state.generations, reach});
    generations_.push_back(std::move(generation));
}

void StateMachine::on(const event::Started& started) {
    if (Generation* const generation = find(started.id); generation != nullptr) {
        generation->pid = started.pid;
    }
}

void StateMachine::on(const event::NotStarted& failed) {
    if (const Generation* const generation = find(failed.id); generation != nullptr) {
        const std::size_t service = generation->service;
        forget(failed.id);
        start_failed(service, {failed.failure, may_pass(failed.failure)});
    }
}

/// A listener that starts says two words, each in its time; then one for each question.
void StateMachine::on(const event::Said& said) {
    Generation* const generation = find(said.id);
    if (generation == nullptr) {
        return;
    }
    if (said.word == Word::hello && generation->phase == Phase::forked) {
        generation->phase = Phase::launched;
        generation->deadline = now_ + answer_limit;
        out_.emplace_back(action::Launch{said.id});
    } else if (said.word == Word::armed && generation->phase == Phase::launched) {
        generation->phase = Phase::testing;
        generation->deadline = now_ + self_test_limit;
        generation->reach_deadline =
            generation->unreached.empty() ? std::nullopt : std::optional{now_ + reach_limit};
        out_.emplace_back(action::SelfTest{said.id});
    } else if (said.word == Word::alive && generation->unanswered != 0) {
        answered(*generation);
    } else {
        fail(*generation,
             {{ExitCode::SelfTest,
               fmt::format("the listener, process {}, sent what it should not: it is of another build, "
                           "or was taken over",
                           generation->pid)},
              false});
    }
}

void StateMachine::on(const event::NoLaunch& failed) {
    if (Generation* const generation = find(failed.id); generation != nullptr) {
        fail(*generation, {failed.failure, may_pass(failed.failure)});
    }
}

/// The end of the socket is usually that of the listener. One that has closed it and lives on is killed; one
/// that ends already can't be any more (prepare_signal(), kernel/signal.c), and its exit code stays.
void StateMachine::on(const event::Closed& closed) {
    if (Generation* const generation = find(closed.id); generation != nullptr) {
        kill(*generation);
    }
}

void StateMachine::on(const event::Ended& ended) {
    const Generation* const found = find(ended.id);
    if (found == nullptr) {
        return;
    }
    const Generation generation = *found;
    forget(ended.id);
    if (stopping_ || result_ || generation.phase == Phase::lost || generation.role == Role::retired) {
        exit_if_alone();
        return;
    }
    if (generation.role == Role::starting) {
        start_failed(generation.service, judge(generation, ended.status));
        return;
    }
    out_.emplace_back(action::SayDied{generation.service, generation.pid, ended.status});
    if (now_ - generation.ready_at >= steady_after) {
        services_[generation.service].failures = 0;
        services_[generation.service].faults = 0;
    }
    // Memory may have run out, and is still being freed. Nobody but us would be left to be ended.
    const bool killed = was_killed(ended.status);
    const bool out_of_room = ended.status.exited && ExitCode{ended.status.value} == ExitCode::SystemCall;
    const bool passes = generation.why ? generation.why->passes : killed || out_of_room;
    std::string waits_for;
    if (services_[generation.service].failures != 0) { // else this was the record listener_died
        waits_for =
            killed
                ? "its listener was killed again and again: memory runs out (see dmesg), or somebody kills it"
                : "its listener ends again and again for want of room; see the records fatal";
    }
    back_off(generation.service, killed ? first_back_off : Time{0}, passes, std::move(waits_for));
}

/// What the end of a listener that had not become ready means. It has said why itself; its exit code is ours.
StateMachine::Cause StateMachine::judge(const Generation& generation, const WaitStatus& status) {
    if (generation.why && !says_why(status)) {
        return *generation.why;
    }
    const int pid = generation.pid;
    if (status.exited) {
        const bool one_of_ours = status.value >= static_cast<int>(ExitCode::Usage);
        Failure failure{one_of_ours ? ExitCode{status.value} : ExitCode::SelfTest,
                        fmt::format("the listener, process {}, could not confine itself: exit code {}", pid,
                                    status.value)};
        const bool passes = may_pass(failure);
        return {std::move(failure), passes};
    }
    if (!status.low_limit.empty()) {
        return {
            {ExitCode::SystemCall,
             fmt::format(
                 "the listener, process {}, ended with signal {} while it started: it may need more than {} "
                 "allows; raise it",
                 pid, status.value, status.low_limit)},
            true};
    }
    const bool killed = was_killed(status);
    return {{ExitCode::SelfTest,
             killed ? fmt::format("the listener, process {}, was killed, or had closed its socket, while it "
                                  "started; did memory run out (dmesg)?",
                                  pid)
                    : fmt::format("the listener, process {}, ended with signal {} while it started", pid,
                                  status.value)},
            killed};
}

void StateMachine::on(const event::SelfTested& tested) {
    Generation* const generation = find(tested.id);
    if (generation == nullptr || generation->phase != Phase::testing || generation->self_tested) {
        return;
    }
    if (!tested.failure.empty()) {
        fail(*generation, {{ExitCode::SelfTest, fmt::format("self-test: {}", tested.failure)}, true});
        return;
    }
    generation->self_tested = true;
    generation->deadline.reset(); // of the public sockets: reach_deadline
    become_ready_if_tested(*generation);
}

void StateMachine::on(const event::Reached& reached) {
    Generation* const generation = find(reached.id);
    if (generation == nullptr || generation->phase != Phase::testing ||
        reached.socket >= generation->unreached.size() || !generation->unreached[reached.socket]) {
        return;
    }
    generation->unreached[reached.socket] = false;
    if (reached.reach == Reach::wrong) {
        generation->wrong_answer = reached.text;
    } else if (reached.reach != Reach::served) {
        out_.emplace_back(action::SayReach{generation->id, generation->service, reached.socket, reached.reach,
                                           reached.text});
    }
    become_ready_if_tested(*generation);
}

void StateMachine::give_up_reach(Generation& generation) {
    generation.reach_deadline.reset();
    for (std::size_t i = 0; i < generation.unreached.size(); ++i) {
        if (generation.unreached[i]) {
            generation.unreached[i] = false;
            out_.emplace_back(action::SayReach{generation.id, generation.service, i, Reach::busy, {}});
        }
    }
    become_ready_if_tested(generation);
}

void StateMachine::become_ready_if_tested(Generation& generation) {
    if (generation.phase != Phase::testing || !generation.self_tested) {
        return;
    }
    if (!generation.wrong_answer.empty()) {
        fail(generation, {{ExitCode::SelfTest, fmt::format("self-test: {}", generation.wrong_answer)}, true});
        return;
    }
    const auto& unreached = generation.unreached;
    if (std::find(unreached.begin(), unreached.end(), true) != unreached.end()) {
        return;
    }
    if (Generation* const old = find(generation.service, Role::serving); old != nullptr) {
        old->role = Role::retired;
        drain(*old);
    }
    generation.role = Role::serving;
    generation.phase = Phase::serving;
    generation.deadline.reset();
    generation.reach_deadline.reset();
    generation.ready_at = now_;
    generation.watch_due = now_ + ask_every;
    services_[generation.service].ever_ready = true;
    out_.emplace_back(action::SayReady{generation.id});
    if (std::exchange(services_[generation.service].replace_asked, false)) {
        out_.emplace_back(action::Replaced{generation.service});
    }
    if (!said_started_ && std::all_of(services_.begin(), services_.end(), [](const State& service) {
            return service.ever_ready || service.removed;
        })) {
        said_started_ = true;
        out_.emplace_back(action::SayStarted{});
    }
}

/// A listener that starts is killed: it has promised nothing to anybody. One that serves drains.
void StateMachine::on(const event::Stop& stop) {
    if (result_) {
        return;
    }
    if (stopping_) {
        for (Generation& generation : generations_) {
            if (generation.phase == Phase::draining) {
                end(generation);
            }
        }
        return;
    }
    stopping_ = true;
    out_.emplace_back(action::SayStopping{stop.signal});
    out_.emplace_back(action::CloseSockets{});
    for (State& service : services_) {
        service.start_at.reset();
    }
    for (Generation& generation : generations_) {
        if (generation.role == Role::starting) {
            kill(generation);
        } else if (generation.phase == Phase::serving || generation.phase == Phase::draining) {
            drain(generation);
            limit_drain(generation);
        }
    }
    exit_if_alone();
}

void StateMachine::on(const event::Replace& asked) {
    if (asked.service >= services_.size() || stopping_ || result_ || services_[asked.service].removed) {
        return;
    }
    State& state = services_[asked.service];
    state.spec = asked.spec;
    state.replace_asked = true;
    if (Generation* const starting = find(asked.service, Role::starting); starting != nullptr) {
        starting->role = Role::retired; // of what is not wanted any more
        kill(*starting);
    }
    replace(asked.service);
}

void StateMachine::replace(std::size_t service) {
    State& state = services_[service];
    state.replace_waits = draining(service) >= state.spec.most_draining;
    if (state.replace_waits) {
        out_.emplace_back(action::SayReplaceWaits{service});
        return;
    }
    state.start_at.reset();
    start(service);
}

std::size_t StateMachine::draining(std::size_t service) const {
    return static_cast<std::size_t>(
        std::count_if(generations_.begin(), generations_.end(), [&](const Generation& one) {
            return one.service == service && one.role == Role::retired && one.phase == Phase::draining;
        }));
}

void StateMachine::on(const event::Add& add) {
    if (stopping_ || result_) {
        return;
    }
    services_.push_back({.spec = add.spec, .added = true, .replace_asked = true});
    start(services_.size() - 1);
}

void StateMachine::on(const event::Remove& remove) {
    if (remove.service >= services_.size()) {
        return;
    }
    State& state = services_[remove.service];
    state.removed = true;
    state.replace_asked = state.replace_waits = false;
    state.start_at.reset();
    for (Generation& generation : generations_) {
        if (generation.service != remove.service || generation.role == Role::retired) {
            continue;
        }
        const bool starting = generation.role == Role::starting;
        generation.role = Role::retired;
        starting ? kill(generation) : drain(generation);
    }
}

/// The start that was asked for has failed.
void StateMachine::not_replaced(std::size_t service, std::string message) {
    State& state = services_[service];
    if (!std::exchange(state.replace_asked, false)) {
        return;
    }
    if (state.added && !state.ever_ready) {
        state.removed = true;
    }
    out_.emplace_back(action::NotReplaced{service, std::move(message)});
}

/// The time for its phase is over.
void StateMachine::over_time(Generation& generation) {
    switch (generation.phase) {
    case Phase::forked:
    case Phase::launched:
        fail(generation, {{ExitCode::SelfTest, no_answer(generation.pid)}, true});
        break;
    case Phase::testing:
        fail(generation, {{ExitCode::SelfTest,
                           fmt::format("self-test: no answer within {} s", self_test_limit.count() / 1000)},
                          true});
        break;
    case Phase::draining:
        end(generation);
        break;
    case Phase::ending:
        kill(generation);
        break;
    case Phase::killed: { // in an uninterruptible sleep: nobody waits for it
        generation.phase = Phase::lost;
        const Generation lost = generation;
        if (!stopping_ && !result_ && lost.role != Role::retired) {
            start_failed(lost.service,
                         {{ExitCode::SelfTest,
                           fmt::format("the listener, process {}, is still there {} s after SIGKILL{}{}",
                                       lost.pid, grace.count() / 1000, lost.why ? ": " : "",
                                       lost.why ? lost.why->failure.message : "")},
                          !lost.why || lost.why->passes});
        }
        break;
    }
    case Phase::serving:
    case Phase::lost:
        break;
    }
}

void StateMachine::watch(Generation& generation) {
    const Time silence = now_ - generation.asked_at;
    if (generation.unanswered == 0) {
        ask(generation);
    } else if (silence < killed_after) {
        generation.watch_due = generation.asked_at + killed_after;
        out_.emplace_back(action::SaySilent{generation.service, generation.pid, silence});
    } else {
        fail(generation,
             {{ExitCode::SelfTest,
               fmt::format("the listener, process {}, has not answered for {} s: it is stopped, frozen, or "
                           "asleep in the kernel; it is killed",
                           generation.pid, silence.count() / 1000)},
              true});
    }
}

void StateMachine::ask(Generation& generation) {
    ++generation.unanswered;
    generation.asked_at = now_;
    generation.watch_due = now_ + silent_after;
    out_.emplace_back(action::Ask{generation.id});
}

void StateMachine::answered(Generation& generation) {
    if (--generation.unanswered == 0 && generation.watch_due) {
        generation.watch_due = now_ + ask_every;
    }
}

/// With as much time alone, whoever was due first would be due now.
void StateMachine::give_more_time(Time more) {
    for (Generation& generation : generations_) {
        for (auto* const time : {&generation.deadline, &generation.reach_deadline}) {
            if (*time) {
                **time += more + grace;
            }
        }
        if (generation.unanswered != 0 && generation.watch_due) {
            ask(generation);
        }
    }
}

void StateMachine::fail(Generation& generation, Cause why) {
    if (generation.phase == Phase::killed || generation.phase == Phase::lost) {
        return;
    }
    if (generation.role != Role::starting) { // a listener that served: its end is another record
        out_.emplace_back(action::SayFailed{generation.service, why.failure.message});
    }
    generation.why = std::move(why);
    kill(generation);
}

void StateMachine::kill(Generation& generation) {
    if (generation.phase == Phase::killed || generation.phase == Phase::lost) {
        return;
    }
    generation.phase = Phase::killed;
    generation.deadline = now_ + grace;
    generation.reach_deadline.reset();
    generation.watch_due.reset();
    out_.emplace_back(action::Kill{generation.id});
}

/// For as long as its connections last; their lifetime ends them.
void StateMachine::drain(Generation& generation) {
    if (generation.phase == Phase::serving) {
        generation.phase = Phase::draining;
        out_.emplace_back(action::Drain{generation.id});
    }
}

void StateMachine::limit_drain(Generation& generation) {
    generation.deadline = now_ + services_[generation.service].spec.drain_timeout;
}

void StateMachine::end(Generation& generation) {
    generation.phase = Phase::ending;
    generation.watch_due.reset(); // it is killed after the grace anyway
    generation.deadline = now_ + grace;
    out_.emplace_back(action::End{generation.id});
}

void StateMachine::forget(Id id) {
    std::erase_if(generations_, [id](const Generation& one) { return one.id == id; });
    out_.emplace_back(action::Forget{id});
    for (std::size_t i = 0; i < services_.size(); ++i) {
        if (services_[i].replace_waits && !stopping_ && !result_ &&
            draining(i) < services_[i].spec.most_draining) {
            replace(i);
        }
    }
}

void StateMachine::start_failed(std::size_t service, const Cause& cause) {
    const State& state = services_[service];
    if (stopping_ || result_) {
        exit_if_alone();
        return;
    }
    not_replaced(service, cause.failure.message);
    if (state.removed) {
        return;
    }
    if (!state.ever_ready) {
        shut_down(cause.failure);
    } else if (find(service, Role::serving) != nullptr) { // it goes on
        out_.emplace_back(action::SayFailed{service, cause.failure.message});
    } else {
        if (!cause.passes) {
            out_.emplace_back(action::SayFailed{service, cause.failure.message});
        }
        back_off(service, cause.passes ? first_back_off : Time{0}, cause.passes, cause.failure.message);
    }
}

/// The first replacement starts after `least`, the next ones ever later.
void StateMachine::back_off(std::size_t service, Time least, bool passes, std::string waits_for) {
    State& state = services_[service];
    ++state.failures;
    state.faults += passes ? 0 : 1;
    if (state.faults > failures_limit && !any_hope()) {
        shut_down({ExitCode::SelfTest, "the listener ended again and again; see the records listener_died"});
        return;
    }
    if (find(service, Role::starting) != nullptr) { // of a replacement that was asked for
        return;
    }
    constexpr unsigned doublings = 16; // longer than longest_back_off
    const Time wait = state.failures == 1
                          ? least
                          : std::min(first_back_off * (1U << std::min(state.failures - 2, doublings)),
                                     passes ? longest_wait_for_room : longest_back_off);
    state.start_at = now_ + wait;
    const bool seldom = (state.failures & (state.failures - 1)) == 0; // 1, 2, 4, 8, …
    if (passes && seldom && !waits_for.empty()) {
        out_.emplace_back(action::SayWaiting{service, state.failures, wait, std::move(waits_for)});
    } else if (!passes && state.faults > failures_limit) {
        out_.emplace_back(action::SayDown{service, state.failures, wait});
    }
}

/// Whether a service serves, or has not failed so often that it never will.
bool StateMachine::any_hope() const {
    return std::any_of(
               services_.begin(), services_.end(),
               [](const State& service) { return !service.removed && service.faults <= failures_limit; }) ||
           std::any_of(generations_.begin(), generations_.end(),
                       [](const Generation& one) { return one.phase == Phase::serving; });
}

/// The daemon ends, whatever its services do.
void StateMachine::shut_down(Failure failure) {
    result_ = action::Exit{failure.code, std::move(failure.message)};
    exit_at_ = now_ + grace;
    out_.emplace_back(action::CloseSockets{});
    for (State& service : services_) {
        service.start_at.reset();
    }
    for (Generation& generation : generations_) {
        kill(generation);
    }
    exit_if_alone();
}

void StateMachine::exit_if_alone() {
    const bool alone = std::all_of(generations_.begin(), generations_.end(),
                                   [](const Generation& one) { return one.phase == Phase::lost; });
    if (!alone || (!stopping_ && !result_) || (result_ && !exit_at_)) {
        return;
    }
    if (!result_) {
        result_ = action::Exit{ExitCode::Ok, {}};
    }
    exit_at_.reset();
    out_.emplace_back(*result_);
}

} // namespace cloister::supervisor
