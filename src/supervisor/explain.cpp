// SPDX-License-Identifier: MIT
#include "supervisor/explain.h"

#include <algorithm>

namespace cloister::supervisor {
namespace {

using control::Source;
using control::SourceTable;
constexpr std::uint64_t ms = 1'000'000; // in ns

} // namespace

control::Rate rate_of(const config::RateLimit& limit) {
    constexpr std::uint64_t second = 1'000'000'000;
    return {second / limit.per_second, limit.burst};
}

control::Reply::Verdict verdict_of(const Setup& setup, const Source& whole, std::uint64_t now_ns) {
    const config::Service& service = setup.service;
    control::Reply::Verdict verdict{};
    verdict.source = whole;
    const auto& exempt = service.exempt;
    if (std::any_of(exempt.begin(), exempt.end(),
                    [&](const Source& range) { return control::covers(range, whole); })) {
        verdict.exempt = true;
        return verdict;
    }
    const auto refuse = [&](Refusal refusal, std::uint64_t limit, std::uint64_t wait_ns) {
        verdict.refused = true;
        verdict.refusal = static_cast<std::uint32_t>(refusal);
        verdict.limit = limit;
        verdict.wait_ms = (wait_ns + ms - 1) / ms;
    };
    const SourceTable table = setup.shared->sources();
    const auto bits = [&](const config::Prefixes& prefixes) {
        return whole.kind == Source::Kind::ipv6 ? prefixes.ipv6 : prefixes.ipv4;
    };
    const struct {
        std::uint8_t bits;
        const config::RateLimit& rate;
        std::uint32_t most;
        Refusal full, fast;
    } checks[] = {{bits(service.source_prefix), service.source_rate, service.max_per_source, Refusal::Source,
                   Refusal::Rate},
                  {bits(service.network_prefix), service.network_rate, service.max_per_network,
                   Refusal::Network, Refusal::NetworkRate}};
    for (const auto& check : checks) {
        const bool is_source = &check == &checks[0];
        if (!is_source && (check.bits == 0 || whole.kind == Source::Kind::user)) {
            break;
        }
        const Source source = control::with_prefix(whole, check.bits);
        const auto place = table.find(source);
        if (is_source) {
            verdict.source = source;
        }
        if (place == SourceTable::nowhere) {
            continue;
        }
        const auto live = table.live(place);
        if (is_source) {
            verdict.known = true;
            verdict.live = live;
        }
        if (const auto penalty = table.penalty(place, now_ns / ms); penalty.level != 0) {
            verdict.cause = static_cast<std::uint32_t>(penalty.cause);
            verdict.level = penalty.level;
            refuse(Refusal::Penalty, 0, penalty.until_ms * ms - now_ns);
        } else if (live >= check.most) {
            refuse(check.full, check.most, 0);
        } else if (const auto wait = table.wait_ns(place, rate_of(check.rate), now_ns); wait != 0) {
            refuse(check.fast, check.rate.per_second, wait);
        }
        if (verdict.refused) {
            verdict.source = source;
            verdict.live = live;
            return verdict;
        }
    }
    std::uint64_t all = 0;
    for (const auto& counters : setup.shared->state().counters) {
        all += counters.live.load(std::memory_order_relaxed);
    }
    if (const unsigned reserved = reserved_places(setup);
        reserved != 0 && all + reserved >= setup.max_connections) {
        refuse(Refusal::Reserved, setup.max_connections - reserved, 0);
    }
    return verdict;
}

} // namespace cloister::supervisor
