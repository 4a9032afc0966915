// SPDX-License-Identifier: MIT
#pragma once

#include "report.h"
#include "target.h"

namespace cloister::bench {

enum class Close {
    Early, ///< shutdown(SHUT_WR) with the last byte sent, read to the end, close: the fewest packets
    Half,  ///< shutdown(SHUT_WR), read to the end, close: the server closes second, its end is seen
    Plain, ///< close as soon as the bytes are back
    Reset, ///< close with SO_LINGER 0: a RST
};

struct Options {
    Target target;
    unsigned connections = 0; ///< at a time
    std::uint64_t total = 0;  ///< connections or messages in all; 0: as many as the duration allows
    std::uint64_t bytes = 0;  ///< of one message; for stream: of each connection, 0: no end
    std::chrono::milliseconds duration{0}; ///< 0: no end
    std::chrono::milliseconds warm_up{0};  ///< what ends in it is checked but not counted
    std::chrono::milliseconds timeout{0};  ///< without progress, of one connection
    unsigned sources = 0;
    Close close = Close::Half;
    bool echo = false;
    unsigned close_rate = 0; ///< idle: connections per second; 0: all at the same moment
};

// Each checks every byte, prints its JSON, and returns the exit code: 0, or 1 if anything failed.
[[nodiscard]] int run_rate(const Options& options);
[[nodiscard]] int run_idle(const Options& options);
[[nodiscard]] int run_stream(const Options& options);
[[nodiscard]] int run_pingpong(const Options& options);

} // namespace cloister::bench
