// SPDX-License-Identifier: MIT
#include "listener/admission.h"

#include <algorithm>
#include <bit>

namespace cloister::listener {
namespace {

using control::Source;
using control::SourceTable;

constexpr std::uint64_t ms = 1'000'000; // in ns
constexpr auto relaxed = std::memory_order_relaxed;
constexpr unsigned first_unprivileged_port = 1024; // ip(7)

std::uint8_t bits_for(const Source& source, std::uint8_t ipv4, std::uint8_t ipv6) {
    return source.kind == Source::Kind::ipv6 ? ipv6 : ipv4;
}

/// What the client has not caused is not held against it.
bool is_offence(ExitReason reason) {
    return reason == ExitReason::Violation || reason == ExitReason::Crashed || reason == ExitReason::Unknown;
}

} // namespace

Source source_of(const Peer& peer) {
    return peer.family == AF_UNIX ? control::source_of_user(peer.uid)
                                  : control::source_of(peer.family, peer.address);
}

Admission::Admission(control::SharedState& state, unsigned sources, const control::Launch& launch)
    : state_{state}, table_{state, sources}, rules_{launch.admission}, row_{launch.row},
      max_connections_{launch.max_connections} {}

bool Admission::is_exempt(const Source& source) const {
    return std::any_of(rules_.exempt, rules_.exempt + rules_.exempt_count,
                       [&](const Source& range) { return control::covers(range, source); });
}

Admission::Verdict Admission::admit(const Peer& peer, std::uint64_t now_ns, std::uint64_t live) {
    Verdict verdict;
    const auto refuse = [&](Refusal refusal, const Source& source, std::uint64_t limit,
                            std::uint64_t wait_ns) {
        verdict = {refusal, {}, source, limit, (wait_ns + ms - 1) / ms};
        return verdict;
    };
    const bool tcp = peer.family != AF_UNIX;
    const Source whole = source_of(peer);
    verdict.ticket.counts = true;
    if (is_exempt(whole)) {
        return verdict;
    }
    if (tcp && rules_.refuse_privileged_ports && peer.port < first_unprivileged_port) {
        return refuse(Refusal::Port, {}, 0, 0);
    }
    struct {
        Source source;
        SourceTable::Place place;
        const control::Rate& rate;
        std::uint32_t most;
        Refusal full, fast;
    } wanted[] = {
        {control::with_prefix(whole, bits_for(whole, rules_.source_ipv4, rules_.source_ipv6)),
         SourceTable::nowhere, rules_.source_rate, rules_.max_per_source, Refusal::Source, Refusal::Rate},
        {control::with_prefix(whole, bits_for(whole, rules_.network_ipv4, rules_.network_ipv6)),
         SourceTable::nowhere, rules_.network_rate, rules_.max_per_network, Refusal::Network,
         Refusal::NetworkRate},
    };
    const bool has_network = tcp && bits_for(whole, rules_.network_ipv4, rules_.network_ipv6) != 0;
    const auto checked = std::size_t{has_network ? 2U : 1U};
    for (std::size_t i = 0; i < checked; ++i) {
        auto& [source, place, rate, most, full, fast] = wanted[i];
        place = table_.claim(source, now_ns);
        if (place == SourceTable::nowhere) {
            continue;
        }
        if (const auto penalty = table_.penalty(place, now_ns / ms); penalty.level != 0) {
            return refuse(Refusal::Penalty, source, 0, penalty.until_ms * ms - now_ns);
        }
        if (table_.live(place) >= most) {
            return refuse(full, source, most, 0);
        }
        if (const auto wait = table_.wait_ns(place, rate, now_ns); wait != 0) {
            const std::uint64_t over_ms = table_.note_over_rate(place, now_ns / ms);
            if (rules_.over_rate_ms != 0 && over_ms >= rules_.over_rate_ms) {
                penalised_ = penalise(place, ExitReason::Closed, now_ns);
            }
            return refuse(fast, source, 0, wait);
        }
    }
    if (rules_.reserved != 0 && live + rules_.reserved >= max_connections_) {
        return refuse(Refusal::Reserved, {}, max_connections_ - rules_.reserved, 0);
    }
    for (std::size_t i = 0; i < checked; ++i) {
        if (wanted[i].place != SourceTable::nowhere) {
            table_.charge(wanted[i].place, wanted[i].rate, now_ns);
        } else {
            state_.counters[row_].untracked.fetch_add(1, relaxed);
        }
        verdict.ticket.places[i] = wanted[i].place;
    }
    return verdict;
}

void Admission::begin(const Ticket& ticket) {
    for (const auto place : ticket.places) {
        if (place != SourceTable::nowhere) {
            table_.add(row_, place);
        }
    }
}

void Admission::end(const Ticket& ticket) {
    for (const auto place : ticket.places) {
        if (place != SourceTable::nowhere) {
            table_.remove(row_, place);
        }
    }
}

std::optional<Admission::Penalised> Admission::judge(const Ticket& ticket, ExitReason reason,
                                                     std::uint64_t now_ns) {
    const auto place = ticket.places[0]; // a network is not shut out for one of it
    return is_offence(reason) && place != SourceTable::nowhere ? penalise(place, reason, now_ns)
                                                               : std::nullopt;
}

std::optional<Admission::Penalised> Admission::penalise(SourceTable::Place place, ExitReason cause,
                                                        std::uint64_t now_ns) {
    const std::uint64_t now_ms = now_ns / ms;
    const auto source = table_.source_at(place);
    if (rules_.penalty_ms == 0 || !source || table_.penalty(place, now_ms).level != 0) {
        return {};
    }
    return Penalised{*source, table_.penalise(place, cause, rules_.penalty_ms, now_ms)};
}

Admission::Loop Admission::is_loop(const Peer& peer) const {
    Loop found = Loop::no;
    if (peer.family == AF_UNIX) {
        return found;
    }
    for (unsigned i = 0; i < control::max_own_sockets; ++i) {
        const control::OwnSocket own = control::own_socket(state_, i);
        if (own.port == 0) {
            break;
        }
        if (own.port != peer.port) {
            continue;
        }
        if (own.address.prefix == 0) {
            found = Loop::if_local;
        } else if (own.address == source_of(peer)) {
            return Loop::yes;
        }
    }
    return found;
}

std::uint64_t Admission::live_elsewhere() const {
    std::uint64_t sum = 0;
    const std::uint64_t others = state_.rows.load(relaxed) & ~(std::uint64_t{1} << row_);
    for (std::uint64_t rows = others; rows != 0; rows &= rows - 1) {
        sum += std::min<std::uint64_t>(state_.counters[std::countr_zero(rows)].live.load(relaxed),
                                       control::connection_limit);
    }
    return sum;
}

} // namespace cloister::listener
