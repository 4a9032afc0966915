// SPDX-License-Identifier: MIT
#include "supervisor/report.h"

#include "base/die.h"

#include <algorithm>
#include <cerrno>
#include <fmt/core.h>
#include <numeric>
#include <sys/resource.h>
#include <unistd.h>

namespace cloister::supervisor {
namespace {

std::uint64_t milliseconds(std::chrono::milliseconds time) {
    return static_cast<std::uint64_t>(time.count());
}

/// The send and the receive buffer of a connection.
std::uint64_t largest_buffers(const Setup& setup) {
    std::uint64_t buffers = setup.service.socket_buffer ? 0 : largest_automatic_buffers();
    for (const auto& socket : setup.sockets) {
        buffers = std::max(buffers, static_cast<std::uint64_t>(socket->send_buffer) +
                                        static_cast<std::uint64_t>(socket->receive_buffer));
    }
    return buffers;
}

unsigned wanted_by(std::span<const std::shared_ptr<Setup>> setups) {
    return std::accumulate(setups.begin(), setups.end(), 0U, [](unsigned total, const auto& setup) {
        return total + setup->service.max_connections;
    });
}

} // namespace

std::vector<Bound> bounds_of(std::span<const std::shared_ptr<Setup>> setups) {
    std::uint64_t buffers = 0;
    unsigned own_processes = 1; // we
    for (const auto& setup : setups) {
        const bool any_unix = std::any_of(setup->sockets.begin(), setup->sockets.end(),
                                          [](const auto& socket) { return socket->is_unix; });
        // Its listeners; for each a releaser, for what clients can pass.
        own_processes += setup->service.listeners * (any_unix ? 2 : 1);
        buffers = std::max(buffers, largest_buffers(*setup));
    }
    return bounds(wanted_by(setups), connection_cost(buffers), own_processes);
}

void report_limits(Log& log, std::span<const std::shared_ptr<Setup>> setups,
                   const std::vector<Bound>& found) {
    const unsigned total = wanted_by(setups);
    const char* const asked =
        setups.size() == 1 ? "--max-connections" : "max-connections of all services together";
    for (const Bound& bound : found) {
        log.write(Record{Level::warning, "limit"}
                      .add("limit", bound.name)
                      .add("is", bound.is)
                      .add("allows", bound.allows)
                      .add("max_connections", total)
                      .add("message", fmt::format("{} allows {} connections, fewer than {}: {}", bound.name,
                                                  bound.allows, asked, bound.consequence)));
    }
}

void report_small_table(Log& log, const Setup& setup) {
    const unsigned sources = setup.shared->sources().size();
    rlimit limit{};
    if (sources == control::max_sources || getrlimit(RLIMIT_FSIZE, &limit) != 0) {
        return;
    }
    log.write(Record{Level::warning, "limit"}
                  .add("service", setup.service.name)
                  .add("limit", "RLIMIT_FSIZE")
                  .add("is", limit.rlim_cur)
                  .add("message", fmt::format("RLIMIT_FSIZE leaves room for a source table of {} sources, "
                                              "not {}; raise it (LimitFSIZE=, ulimit -f) to {} bytes",
                                              sources, control::max_sources,
                                              control::shared_size(control::max_sources))));
}

void report_capped_buffers(Log& log, const Setup& setup) {
    const auto& wanted = setup.service.socket_buffer;
    const auto report = [&](const char* limit, int ListeningSocket::*buffer) {
        for (const auto& socket : setup.sockets) {
            const unsigned is = static_cast<unsigned>((*socket).*buffer) / 2;
            if (wanted && is < *wanted) {
                log.write(Record{setup.service.socket_buffer_given ? Level::warning : Level::info, "limit"}
                              .add("service", setup.service.name)
                              .add("limit", limit)
                              .add("is", is)
                              .add("socket_buffer", *wanted)
                              .add("message", fmt::format("{} allows buffers of {} bytes, fewer than "
                                                          "--socket-buffer: raise it, or ask for less",
                                                          limit, is)));
                return;
            }
        }
    };
    report("net.core.wmem_max", &ListeningSocket::send_buffer);
    report("net.core.rmem_max", &ListeningSocket::receive_buffer);
}

void report_ready(Log& log, unsigned number, unsigned listener, const Generation& generation) {
    const Setup& setup = generation.setup();
    Strings names;
    for (const auto& socket : setup.sockets) {
        names.push_back(socket->name);
    }
    const config::Service& service = setup.service;
    Record ready{Level::info, "ready"};
    ready.add("service", service.name).add("pid", getpid());
    if (service.listeners != 1) {
        ready.add("listener", fmt::format("{} of {}", listener + 1, service.listeners));
    }
    log.write(
        ready.add("generation", number)
            .add("listener_pid", generation.pid())
            .add("listen", names)
            .add("policy_sha256", setup.policies->hashes())
            .add("landlock_abi", generation.landlock_abi())
            .add("capability_bounding_set",
                 generation.bounding_empty() ? "empty" : "kept, inert under no_new_privs")
            .add("speculation",
                 StringMap{
                     {"store_bypass", std::string{name_of(generation.speculation().store_bypass)}},
                     {"indirect_branch", std::string{name_of(generation.speculation().indirect_branch)}}})
            .add("limits", NumberMap{{"max_connections", setup.max_connections},
                                     {"max_per_source", service.max_per_source},
                                     {"idle_timeout_ms", milliseconds(service.idle_timeout)},
                                     {"lifetime_ms", milliseconds(service.lifetime)},
                                     {"cpu_limit_ms", milliseconds(service.cpu_limit)},
                                     {"drain_timeout_ms", milliseconds(service.drain_timeout)}}));
    if (generation.landlock_abi() == 0) {
        log.write(Record{Level::warning, "warning"}.add(
            "message", "this kernel has no Landlock, or it is not enabled at boot (lsm=landlock,…): "
                       "seccomp alone confines"));
    }
}

event::Reached reached(Id id, std::size_t index, const ListeningSocket& socket, const Exchange& exchange) {
    if (exchange.failure().empty()) {
        return {id, index, Reach::served, {}};
    }
    if (exchange.connected()) {
        return {id, index, Reach::wrong,
                fmt::format("{} answers, but not as it should: {}", socket.name, exchange.failure())};
    }
    if (exchange.error() == EAGAIN) { // a unix socket with a full backlog: connect(2)
        return {id, index, Reach::busy, busy_text(socket)};
    }
    return {id, index, Reach::unreachable, unreachable_text(socket, exchange.error())};
}

std::string busy_text(const ListeningSocket& socket) {
    return fmt::format("{} was not tried to the end: clients that wait there are served first", socket.name);
}

} // namespace cloister::supervisor
