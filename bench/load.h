// SPDX-License-Identifier: MIT
#pragma once

#include "report.h"
#include "target.h"

namespace cloister::bench {

inline constexpr std::uint64_t one_segment = 512; ///< of any network: 536 is what TCP may always send

enum class Close {
    Early, ///< shutdown(SHUT_WR) with the last byte sent, read to the end, close: the fewest packets
    Half,  ///< shutdown(SHUT_WR), read to the end, close: the server closes second, its end is seen
    Plain, ///< close as soon as the bytes are back
    Reset, ///< close with SO_LINGER 0: a RST
};

/// What a client of `hold` says to keep its connection.
enum class Say {
    Once,    ///< one byte at the start
    Trickle, ///< one byte each second
    Flood,   ///< as much as the socket takes; what comes back is never received
};

struct Options {
    Target target;
    unsigned connections = 0; ///< at a time
    std::uint64_t total = 0;  ///< connections or messages in all; 0: as many as the duration allows
    std::uint64_t bytes = 0;  ///< of one message; for stream: of each connection, 0: no end
    std::chrono::milliseconds duration{0}; ///< 0: no end
    std::chrono::milliseconds warm_up{0};  ///< what ends in it is checked but not counted
    std::chrono::milliseconds timeout{0};  ///< without progress, of one connection
    Sources sources;
    Close close = Close::Half;
    bool echo = false;
    unsigned close_rate = 0; ///< idle: connections per second; 0: all at the same moment
    unsigned rate = 0;       ///< paced, hold, storm, syn: new connections per second
    Say say = Say::Once;
};

// Each checks every byte, prints its JSON, and returns the exit code: 0, or 1 if anything failed.
[[nodiscard]] int run_rate(const Options& options);
[[nodiscard]] int run_idle(const Options& options);
[[nodiscard]] int run_stream(const Options& options);
[[nodiscard]] int run_pingpong(const Options& options);

// These start connections at fixed times, whatever became of those before.
[[nodiscard]] int run_paced(const Options& options); ///< legitimate clients; 1 if any was not served

// Those of an attacker, of whom nothing is checked: 0 whatever the server does. SIGTERM ends them before
// --duration.
[[nodiscard]] int run_hold(const Options& options);
[[nodiscard]] int run_storm(const Options& options);
[[nodiscard]] int run_syn(const Options& options);

} // namespace cloister::bench
