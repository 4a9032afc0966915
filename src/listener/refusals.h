// SPDX-License-Identifier: MIT
#pragma once

#include "base/log_names.h"
#include "control/source.h"

#include <array>
#include <cstdint>

namespace cloister::listener {

/// Counts refused clients for the log: which of them get a record of their own, how many more there were, and
/// whether one source had most of them. Times are of CLOCK_MONOTONIC.
class Refusals {
  public:
    static constexpr std::int64_t window_ns = 10'000'000'000;
    static constexpr std::uint64_t records = 10; ///< of each reason in a window
    static constexpr std::int64_t minute_ns = 60'000'000'000;
    static constexpr std::uint64_t least = 100; ///< refusals in a minute to ask whose most are

    /// Whether this one is logged.
    [[nodiscard]] bool count(Refusal refusal, const control::Source& source, std::int64_t now_ns);

    /// Whether something waits to be asked for.
    [[nodiscard]] bool pending() const { return total_ != 0 || any_; }

    /// At the end of a window: how many more there were, by Refusal; else zeros.
    using More = std::array<std::uint64_t, std::size(refusals)>;
    [[nodiscard]] More take_more(std::int64_t now_ns);

    struct Majority {
        control::Source source;
        std::uint64_t count = 0, of = 0; ///< count: at least; 0: there is none
    };
    /// At the end of a minute.
    [[nodiscard]] Majority take_majority(std::int64_t now_ns);

  private:
    std::int64_t window_start_ns_ = 0, minute_start_ns_ = 0;
    bool any_ = false; // in this window
    More seen_{};
    // Boyer and Moore's vote: if one source has more than half, it is the candidate at the end.
    control::Source candidate_{};
    std::uint64_t votes_ = 0, its_ = 0, total_ = 0;
};

} // namespace cloister::listener
