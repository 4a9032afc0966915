// SPDX-License-Identifier: MIT
//
// The loop's part of what an operator asks: status, explain, reload.
#include "supervisor/explain.h"
#include "supervisor/loop.h"

#include <algorithm>
#include <ctime>
#include <numeric>
#include <unistd.h>

namespace cloister::supervisor {
namespace {

using control::Reply;
constexpr auto relaxed = std::memory_order_relaxed;
constexpr std::uint64_t ms = 1'000'000; // in ns

std::uint64_t monotonic_ns() {
    timespec time{};
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

Reply::State state_of(Stage stage) {
    return static_cast<Reply::State>(stage);
}

/// In all rows, those of ended generations included; each once.
template <typename Get>
std::uint64_t sum(const control::SharedState& state, Get get) {
    std::uint64_t all = get(state.ended).load(relaxed);
    for (const control::Counters& counters : state.counters) {
        all += get(counters).load(relaxed);
    }
    return all;
}

} // namespace

/// What is known of a service, from the memory that its generations share. The first sources that are shut
/// out come into `penalised`.
Reply Loop::describe(const Setup& setup, std::vector<Reply>* penalised) const {
    constexpr std::size_t most_listed = 64;
    Reply reply{Reply::Kind::Service};
    Reply::Service& service = reply.service;
    put_text(service.name, setup.service.name);
    put_text(service.handler, setup.service.handler);
    service.max_connections = setup.max_connections;
    service.configured = setup.service.max_connections;
    service.reserved = reserved_places(setup);
    service.max_per_source = setup.service.max_per_source;
    const control::SharedState& state = setup.shared->state();
    service.live = sum(
        state, [](const auto& one) -> auto& { return one.live; });
    service.connections = sum(
        state, [](const auto& one) -> auto& { return one.connections; });
    service.untracked = sum(
        state, [](const auto& one) -> auto& { return one.untracked; });
    for (std::size_t i = 0; i < std::size(service.ends); ++i) {
        service.ends[i] = sum(
            state, [i](const auto& one) -> auto& { return one.ends[i]; });
    }
    for (std::size_t i = 0; i < std::size(service.refusals); ++i) {
        service.refusals[i] = sum(
            state, [i](const auto& one) -> auto& { return one.refusals[i]; });
    }
    for (std::size_t i = 0; i < services_.size(); ++i) {
        if (services_[i].setup != nullptr && services_[i].setup->shared == setup.shared) {
            service.failures = std::max<std::uint64_t>(service.failures, machine_.failures(i));
        }
    }
    const std::uint64_t now_ms = monotonic_ns() / ms;
    setup.shared->for_each_source(
        [&](const control::SourceTable& sources, control::SourceTable::Place place) {
            const auto penalty = sources.penalty(place, now_ms);
            const auto source = penalty.level == 0 ? std::nullopt : sources.source_at(place);
            if (source && ++service.penalised <= most_listed && penalised != nullptr) {
                penalised->emplace_back(Reply::Kind::Penalised);
                penalised->back().penalised = {*source, static_cast<std::uint32_t>(penalty.cause),
                                               penalty.level, penalty.until_ms - now_ms};
            }
        });
    return reply;
}

void Loop::tell_status(ControlSocket::Client client) {
    Reply reply{Reply::Kind::Daemon};
    put_text(reply.daemon.version, control::own_build().name());
    reply.daemon.pid = static_cast<std::uint32_t>(getpid());
    reply.daemon.services = static_cast<std::uint32_t>(config_.services.size());
    reply.daemon.uptime_ms = (monotonic_ns() - started_ns_) / ms;
    reply.daemon.reloads = reloads_;
    reply.daemon.log_dropped = log_.dropped();
    reply.daemon.state = state_of(machine_.stage());
    reply.daemon.landlock_abi = host_.file_access.landlock_abi;
    control_->reply(client, reply);
    std::vector<const Setup*> services;
    const auto add = [&](const Setup& setup) {
        if (std::none_of(services.begin(), services.end(),
                         [&](const Setup* known) { return known->shared == setup.shared; })) {
            services.push_back(&setup);
        }
    };
    for (const Entry& entry : services_) {
        if (entry.setup != nullptr) {
            add(*entry.setup);
        }
    }
    for (const auto& [id, running] : running_) { // of those that were removed, what still drains
        add(running.generation.setup());
    }
    for (const Setup* const setup : services) {
        tell_service(client, *setup);
    }
    control_->end(client, ExitCode::Ok, "");
}

/// The service, its sockets, its generations, and who is shut out.
void Loop::tell_service(ControlSocket::Client client, const Setup& setup) {
    std::vector<Reply> penalised;
    control_->reply(client, describe(setup, &penalised));
    for (const auto& socket : setup.sockets) {
        Reply reply{Reply::Kind::Socket};
        put_text(reply.socket.name, socket->name);
        control_->reply(client, reply);
    }
    for (const auto& [id, running] : running_) {
        if (const auto stage = machine_.stage(id); is_of(running, setup) && stage) {
            Reply reply{Reply::Kind::Generation};
            reply.generation = {running.number,
                                services_[running.service].listener + 1,
                                setup.service.listeners,
                                static_cast<std::uint32_t>(running.generation.pid()),
                                state_of(*stage),
                                running.generation.live(),
                                running.generation.landlock_abi(),
                                running.generation.bounding_empty() ? 1U : 0U,
                                running.generation.speculation()};
            control_->reply(client, reply);
        }
    }
    for (const Reply& reply : penalised) {
        control_->reply(client, reply);
    }
}

/// USR1: for whoever has the log alone.
void Loop::log_status() {
    for (std::size_t i = 0; i < services_.size(); ++i) {
        const auto& setup = services_[i].setup;
        if (setup == nullptr || !is_first(i)) {
            continue;
        }
        const Reply::Service service = describe(*setup).service;
        std::size_t draining = 0;
        for (const auto& [id, running] : running_) {
            draining += is_of(running, *setup) && machine_.stage(id) == Stage::draining ? 1U : 0U;
        }
        log_.write(Record{Level::info, "status"}
                       .add("service", name_of(i))
                       .add("live", service.live)
                       .add("max_connections", service.max_connections)
                       .add("connections", service.connections)
                       .add("refused", std::accumulate(std::begin(service.refusals),
                                                       std::end(service.refusals), std::uint64_t{0}))
                       .add("draining", draining));
    }
}

/// What a new connection of that client would meet, now.
void Loop::explain(ControlSocket::Client client, const control::Source& whole) {
    const std::uint64_t now_ns = monotonic_ns();
    for (std::size_t i = 0; i < services_.size(); ++i) {
        const Entry& entry = services_[i];
        if (entry.setup == nullptr || !is_first(i)) {
            continue;
        }
        Reply reply{Reply::Kind::Verdict};
        reply.verdict = verdict_of(*entry.setup, whole, now_ns);
        put_text(reply.verdict.service, entry.name);
        control_->reply(client, reply);
    }
    control_->end(client, ExitCode::Ok, "");
}

void Loop::answer_operators() {
    if (!control_) {
        return;
    }
    for (const auto& [client, request] : control_->tend()) {
        switch (request.kind) {
        case control::Request::Kind::Status:
            tell_status(client);
            break;
        case control::Request::Kind::Explain:
            explain(client, request.source);
            break;
        case control::Request::Kind::Reload:
            wait_for_reload_.push_back(client);
            reload();
            break;
        }
    }
}

} // namespace cloister::supervisor
