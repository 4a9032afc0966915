// SPDX-License-Identifier: MIT
//
// The loop's part of an upgrade: the new binary is tried, then executed in this very process, which takes
// over what the old one had; then each service gets a new generation, as after a reload.
#include "base/cure.h"
#include "supervisor/loop.h"

#include <csignal>
#include <fmt/format.h>
#include <unistd.h>

namespace cloister::supervisor {
namespace {

Handover::Socket hand_over(const ListeningSocket& socket) {
    return {
        socket.fd.get(),  socket.is_unix,     socket.activated, socket.requested, socket.path.directory.get(),
        socket.path.name, socket.path.device, socket.path.inode};
}

} // namespace

void Loop::upgrade() {
    if (reload_ || upgrade_) {
        upgrade_again_ = upgrade_again_ || reload_.has_value();
        log_.write(Record{Level::info, "reload_waits"}.add(
            "message", reload_ ? "the upgrade follows a reload that is not finished"
                               : "an upgrade is going on; this one is left out"));
        return;
    }
    if (invocation_.path.empty()) {
        return upgrade_failed("it is not known where cloisterd was started from");
    }
    auto binary = NewBinary::try_out(invocation_.path, invocation_.arguments);
    if (!binary) {
        return upgrade_failed(with_cure(binary.error().message));
    }
    log_.write(Record{Level::info, "upgrading"}.add("binary", invocation_.path.string()));
    upgrade_ = Upgrade{std::move(*binary)};
}

void Loop::upgrade_failed(const std::string& why) {
    upgrade_.reset();
    reload_ended(false);
    log_.write(Record{Level::error, "upgrade_failed"}.add("message", why + "; the old one goes on"));
    if (std::exchange(reload_again_, false)) {
        reload();
    }
}

/// A child has ended; whether it was the trial.
void Loop::judge_new_binary(pid_t pid, int status) {
    if (!upgrade_ || upgrade_->binary.trial() != pid) {
        return;
    }
    if (const auto against = upgrade_->binary.judge(status); !against.empty()) {
        return upgrade_failed(against);
    }
    upgrade_->tried = true;
}

/// When no listener starts or ends: those would be in between.
void Loop::execute_new_binary() {
    if (!upgrade_) {
        return;
    }
    if (machine_.stage() == Stage::draining || upgrade_->binary.is_over_time()) {
        if (upgrade_->binary.trial() > 0) {
            (void)::kill(upgrade_->binary.trial(), SIGKILL);
        }
        return upgrade_failed(machine_.stage() == Stage::draining
                                  ? "cloisterd stops"
                                  : "a listener did not become ready in time");
    }
    if (!upgrade_->tried || machine_.stage() != Stage::serving || !machine_.is_settled() ||
        relay_.pid() <= 0) {
        return;
    }
    log_.writer().flush_for_the_last_time();
    const Failure failure = upgrade_->binary.execute(hand_over(), invocation_.arguments);
    upgrade_failed(failure.message);
}

Handover Loop::hand_over() const {
    Handover state;
    state.pid = getpid();
    state.release = control::own_build().name();
    state.started_ns = started_ns_;
    state.reloads = reloads_;
    state.reload_failures = reload_failures_;
    state.bounding_empty = host_.bounding_empty;
    state.groups_empty = host_.groups_empty;
    state.relay = relay_.pid();
    state.pipes = relay_.hand_over();
    state.oom_score = host_.oom_score.fd();
    state.file_access = host_.file_access;
    if (control_) {
        state.control = supervisor::hand_over(control_->socket());
    }
    for (std::size_t i = 0; i < services_.size(); ++i) {
        const Entry& entry = services_[i];
        const Setup* setup = entry.setup.get();
        std::vector<Handover::Generation> generations;
        for (const auto& [id, running] : running_) {
            const auto stage = machine_.stage(id);
            if (running.service == i && (stage == Stage::serving || stage == Stage::draining)) {
                generations.push_back(running.generation.hand_over(running.number, stage == Stage::serving));
                setup = setup == nullptr ? &running.generation.setup() : setup;
            }
        }
        if (setup == nullptr) {
            continue;
        }
        Handover::Service service{entry.name, entry.listener,        setup->log_slot, setup->shared->fd(),
                                  {},         std::move(generations)};
        for (const auto& socket : setup->sockets) {
            if (socket->fd.valid()) { // not of a service that was removed
                service.sockets.push_back(supervisor::hand_over(*socket));
            }
        }
        state.services.push_back(std::move(service));
    }
    return state;
}

/// In the new binary.
void Loop::resume(const Handover& state, std::span<const std::shared_ptr<const Setup>> setups,
                  Change change) {
    started_ns_ = state.started_ns;
    reloads_ = state.reloads;
    reload_failures_ = state.reload_failures;
    upgraded_from_ = state.release;
    for (std::size_t i = 0; i < setups.size(); ++i) {
        services_.push_back({setups[i], nullptr, setups[i]->service.name, state.services[i].listener});
        (void)machine_.adopt_service();
        for (const auto& one : state.services[i].generations) {
            const Id id = machine_.adopt(i, one.pid, one.number, one.serves);
            running_.emplace(id, Running{i, one.number, Generation::adopt(setups[i], one)});
        }
    }
    reload_.emplace();
    apply(std::move(change));
    finish_reload_if_done();
}

/// After cells of a service have crashed or broken their policy: where its memory lies may be known to
/// somebody now.
void Loop::renew_layouts() {
    constexpr std::chrono::seconds look_every{1};
    const auto now = std::chrono::steady_clock::now();
    if (now < look_at_layouts_ || reload_ || upgrade_ || machine_.stage() != Stage::serving) {
        return;
    }
    look_at_layouts_ = now + look_every;
    for (std::size_t i = 0; i < services_.size(); ++i) {
        Entry& entry = services_[i];
        if (entry.setup == nullptr) {
            continue;
        }
        const ServiceSpec spec = spec_of(*entry.setup, entry.listener);
        const std::size_t most_draining_by_us = (spec.most_draining + 1) / 2; // a reload must not wait for us
        const std::uint64_t offences = entry.setup->shared->offences();
        const bool due = offences != entry.offences && now >= entry.layout_due;
        if (due && machine_.draining(i) < most_draining_by_us && machine_.serves(i)) {
            log_.write(Record{Level::warning, "fresh_layout"}
                           .add("service", entry.name)
                           .add("count", offences - entry.offences));
            entry.offences = offences;
            entry.fresh = true;
            events_.emplace_back(event::Replace{i, spec});
        }
    }
}

} // namespace cloister::supervisor
