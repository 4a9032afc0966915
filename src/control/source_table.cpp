// SPDX-License-Identifier: MIT
#include "control/source_table.h"

#include "base/siphash.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace cloister::control {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr unsigned ways = 8;                                    // entries of a bucket
constexpr std::uint64_t ms = 1'000'000;                         // in ns
constexpr std::uint64_t second = 1000;                          // in ms
constexpr std::uint64_t longest_sane_ms = 25UL * 3600 * second; // above what can be configured

/// The sixteen places of a source.
template <typename Visit>
void each_place(std::uint64_t tag, unsigned sources, Visit visit) {
    const unsigned buckets = sources / ways;
    const auto one = static_cast<SourceTable::Place>(tag % buckets * ways);
    const auto other = static_cast<SourceTable::Place>((tag >> 32U) % buckets * ways);
    for (const auto start : {one, other}) {
        for (unsigned i = 0; i < ways; ++i) {
            visit(start + i);
        }
    }
}

/// How a penalty stands in its word: until_ms, cause, level.
std::uint64_t packed(const Penalty& penalty) {
    return penalty.until_ms << 16U | std::uint64_t{static_cast<std::uint8_t>(penalty.cause)} << 8U |
           penalty.level;
}

Penalty unpacked(std::uint64_t word) {
    const auto cause = static_cast<unsigned>(word >> 8U & 0xffU);
    return {word >> 16U,
            cause < std::size(exit_reasons) ? ExitReason{static_cast<std::uint8_t>(cause)}
                                            : ExitReason::Closed,
            static_cast<unsigned>(word & 0xffU)};
}

} // namespace

std::uint64_t SourceTable::tag_of(const Source& source) const {
    std::uint8_t bytes[18];
    std::memcpy(bytes, source.address, sizeof source.address);
    bytes[16] = static_cast<std::uint8_t>(source.kind);
    bytes[17] = source.prefix;
    return std::max<std::uint64_t>(siphash(state_.secret, bytes, sizeof bytes), 1);
}

SourceTable::Place SourceTable::find(const Source& source) const {
    const std::uint64_t tag = tag_of(source);
    Place found = nowhere;
    each_place(tag, sources_, [&](Place place) {
        if (entries_[place].tag.load(relaxed) == tag) {
            found = place;
        }
    });
    return found;
}

/// The entry gets its tag last: until then it belongs to nobody new, and what was thrown away was of no use.
SourceTable::Place SourceTable::claim(const Source& source, std::uint64_t now_ns) {
    constexpr int tries = 4; // another generation may take the same one
    const std::uint64_t tag = tag_of(source);
    for (int i = 0; i < tries; ++i) {
        Place found = nowhere;
        Place best = nowhere;
        std::uint64_t best_cost = 0;
        each_place(tag, sources_, [&](Place place) {
            const SourceEntry& entry = entries_[place];
            const std::uint64_t its = entry.tag.load(relaxed);
            if (its == tag) {
                found = place;
            }
            if (found != nowhere || (its != 0 && live(place) != 0)) {
                return;
            }
            const Penalty its_penalty = penalty(place, now_ns / ms);
            constexpr std::uint64_t penalised = std::uint64_t{1} << 63U;
            const std::uint64_t cost = its == 0                 ? 0
                                       : its_penalty.level != 0 ? penalised | its_penalty.until_ms
                                                                : 1 + entry.due_ns.load(relaxed) / 2;
            if (best == nowhere || cost < best_cost) {
                best = place;
                best_cost = cost;
            }
        });
        if (found != nowhere || best == nowhere) {
            return found;
        }
        SourceEntry& entry = entries_[best];
        std::uint64_t old = entry.tag.load(relaxed);
        entry.due_ns.store(0, relaxed);
        entry.penalty.store(0, relaxed);
        entry.over_rate.store(0, relaxed);
        store_address(source, entry.address);
        entry.label.store(label_of(source), relaxed);
        if (entry.tag.compare_exchange_strong(old, tag, std::memory_order_release, relaxed)) {
            return best;
        }
    }
    return nowhere;
}

std::uint64_t SourceTable::live(Place place) const {
    std::uint64_t sum = 0;
    static_assert(max_rows == 64, "a row for each bit of SharedState::rows");
    for (std::uint64_t rows = state_.rows.load(relaxed); rows != 0; rows &= rows - 1) {
        sum += count(static_cast<unsigned>(std::countr_zero(rows)), place).load(relaxed);
    }
    return sum;
}

void SourceTable::remove(unsigned row, Place place) {
    auto& its = count(row, place);
    if (const std::uint32_t is = its.load(relaxed); is != 0) { // only this row's process writes it
        its.store(is - 1, relaxed);
    }
}

void SourceTable::clear(unsigned row) {
    for (Place place = 0; place < sources_; ++place) {
        if (auto& its = count(row, place); its.load(relaxed) != 0) {
            its.store(0, relaxed);
        }
    }
}

std::uint64_t SourceTable::wait_ns(Place place, const Rate& rate, std::uint64_t now_ns) const {
    const std::uint64_t ahead = rate.interval_ns * rate.burst; // at most: a later one cannot be
    const std::uint64_t due =
        std::min(entries_[place].due_ns.load(relaxed), now_ns + ahead) + rate.interval_ns;
    return due > now_ns + ahead ? due - now_ns - ahead : 0;
}

void SourceTable::charge(Place place, const Rate& rate, std::uint64_t now_ns) {
    Word& due_ns = entries_[place].due_ns;
    std::uint64_t due = due_ns.load(relaxed);
    const auto next = [&] {
        return std::clamp(due, now_ns, now_ns + rate.interval_ns * rate.burst) + rate.interval_ns;
    };
    while (rate.interval_ns != 0 && !due_ns.compare_exchange_weak(due, next(), relaxed)) {
    }
}

Penalty SourceTable::penalty(Place place, std::uint64_t now_ms) const {
    const Penalty is = unpacked(entries_[place].penalty.load(relaxed));
    return is.until_ms > now_ms && is.until_ms - now_ms <= longest_sane_ms ? is : Penalty{};
}

Penalty SourceTable::penalise(Place place, ExitReason cause, std::uint64_t first_ms, std::uint64_t now_ms) {
    constexpr unsigned most_doublings = 20;
    if (const Penalty in_force = penalty(place, now_ms); in_force.level != 0) {
        return in_force;
    }
    Word& word = entries_[place].penalty;
    const Penalty last = unpacked(word.load(relaxed));
    const bool again = last.until_ms <= now_ms && now_ms - last.until_ms < longest_penalty_ms;
    const unsigned level = again ? std::min(last.level + 1, most_doublings) : 1;
    const std::uint64_t longest = std::max(first_ms, longest_penalty_ms);
    const Penalty given{now_ms + std::min(first_ms << (level - 1), longest), cause, level};
    word.store(packed(given), relaxed);
    return given;
}

std::uint64_t SourceTable::note_over_rate(Place place, std::uint64_t now_ms) {
    Word& word = entries_[place].over_rate;
    const std::uint64_t is = word.load(relaxed);
    const std::uint64_t now = now_ms / second;
    const std::uint64_t last = is & 0xffffffffU;
    const bool goes_on = last <= now && now - last < over_rate_gap_s && is >> 32U <= now;
    const std::uint64_t since = is != 0 && goes_on ? is >> 32U : now;
    word.store(since << 32U | (now & 0xffffffffU), relaxed);
    return (now - since) * second;
}

std::optional<Source> SourceTable::source_at(Place place) const {
    const SourceEntry& entry = entries_[place];
    const std::uint64_t tag = entry.tag.load(std::memory_order_acquire);
    const Source source = load_source(entry.address, entry.label.load(relaxed));
    return tag != 0 && tag_of(source) == tag ? std::optional{source} : std::nullopt;
}

} // namespace cloister::control
