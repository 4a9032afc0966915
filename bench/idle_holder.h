// SPDX-License-Identifier: MIT
#pragma once

#include "load.h"

#include <atomic>

namespace cloister::bench {

/// What one holder tells the process that started it, through shared memory.
struct Tally {
    std::atomic<std::uint64_t> up{0};
    std::atomic<std::uint64_t> lost{0};
    std::atomic<std::uint64_t> closed{0};
    Failures failures; ///< read only between phases
};

/// Which of the connections a holder has: those whose number is `index` modulo `holders`.
struct Share {
    std::size_t index;
    std::size_t holders;
    Fd parameters; ///< a byte begins each phase: bring up, look for lost ones, close; its end, too
    Fd answers;    ///< a byte when the phase is done
};

/// Runs in a process of its own; returns its exit code.
[[nodiscard]] int hold_idle(const Options& options, const Share& share, Tally& tally);

} // namespace cloister::bench
