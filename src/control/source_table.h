// SPDX-License-Identifier: MIT
#pragma once

#include "control/shared_state.h"

#include <optional>

/// The source table: fixed size, two buckets of eight entries for each source, chosen by a keyed hash, so
/// that every look-up takes constant time, whatever addresses an attacker has.
///
/// Overflow: a new source takes a free entry; or the one among its sixteen that has no living connection and
/// no penalty, and whose rate was last used; or one that has no living connection, and whose penalty ends
/// first. If all have living connections, the new connection is not tracked: only the limits of the service
/// hold for it, and it is counted (Counters::untracked).
namespace cloister::control {

struct Penalty {
    std::uint64_t until_ms = 0;            ///< CLOCK_MONOTONIC
    ExitReason cause = ExitReason::Closed; ///< Closed: it was over its rate
    unsigned level = 0;                    ///< how often in a row; 0: none
};

/// `rate` connections in `period`, and up to `burst` at once.
struct Rate {
    std::uint64_t interval_ns = 0; ///< between two; 0: no limit
    std::uint32_t burst = 1;       ///< 1 …
};

class SourceTable {
  public:
    using Place = std::uint32_t;
    static constexpr Place nowhere = ~Place{0};

    /// `sources`: of the memory; what stands there is not believed.
    SourceTable(SharedState& state, unsigned sources)
        : state_{state}, sources_{sources}, entries_{reinterpret_cast<SourceEntry*>(&state + 1)},
          live_{reinterpret_cast<std::atomic<std::uint32_t>*>(entries_ + sources)} {}

    [[nodiscard]] unsigned size() const { return sources_; }

    /// Where `source` is; nowhere.
    [[nodiscard]] Place find(const Source& source) const;
    /// The same; it gets an entry if it has none. Nowhere, if none can be had.
    [[nodiscard]] Place claim(const Source& source, std::uint64_t now_ns);

    // Of a place that is one. Living connections, in all rows:
    [[nodiscard]] std::uint64_t live(Place place) const;
    void add(unsigned row, Place place) { count(row, place).fetch_add(1, std::memory_order_relaxed); }
    void remove(unsigned row, Place place);
    void clear(unsigned row);

    /// Whether one more connection is within the rate; how long until then, in ns. 0: it is.
    [[nodiscard]] std::uint64_t wait_ns(Place place, const Rate& rate, std::uint64_t now_ns) const;
    void charge(Place place, const Rate& rate, std::uint64_t now_ns);

    /// The one in force; level 0: none.
    [[nodiscard]] Penalty penalty(Place place, std::uint64_t now_ms) const;
    /// Shuts the source out for `first_ms`, twice as long each time until `longest_penalty_ms`. One that is
    /// shut out stays so for as long as it was to be. A source that has been let in again for
    /// `longest_penalty_ms` starts anew. Returns the penalty in force.
    Penalty penalise(Place place, ExitReason cause, std::uint64_t first_ms, std::uint64_t now_ms);
    static constexpr std::uint64_t longest_penalty_ms = 600'000; ///< or the first one, if that is longer

    /// Notes that the source was over its rate. Returns for how long that has gone on, in ms: with less than
    /// over_rate_gap_s between two times.
    std::uint64_t note_over_rate(Place place, std::uint64_t now_ms);
    static constexpr std::uint64_t over_rate_gap_s = 5;

    /// To be listed: the source of an entry that is in use and sound.
    [[nodiscard]] std::optional<Source> source_at(Place place) const;

    [[nodiscard]] SourceEntry& entry(Place place) const { return entries_[place]; }
    [[nodiscard]] std::atomic<std::uint32_t>& count(unsigned row, Place place) const {
        return live_[std::size_t{row} * sources_ + place];
    }

  private:
    SharedState& state_;
    unsigned sources_;
    SourceEntry* entries_;
    std::atomic<std::uint32_t>* live_;

    [[nodiscard]] std::uint64_t tag_of(const Source& source) const;
    [[nodiscard]] bool is_spare(const SourceEntry& entry, Place place, std::uint64_t now_ms) const;
};

} // namespace cloister::control
