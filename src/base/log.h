// SPDX-License-Identifier: MIT
#pragma once

#include "base/record.h"

#include <cstdint>

namespace cloister {

/// Records on their way into a pipe with O_NONBLOCK. A pipe that is full never makes this process wait: what
/// does not fit is dropped and counted, and the count is logged (`log_dropped`) when there is room again.
/// Allocates nothing; system calls through sys only.
class Log {
  public:
    /// `process`: what `log_dropped` and `fatal` call us. SIGPIPE is blocked.
    Log(LogFormat format, bool priorities, int fd, std::string_view process)
        : format_{format}, priorities_{priorities}, fd_{fd}, process_{process} {}

    [[nodiscard]] Record record(Level level, EventName event, std::int64_t time_ns) const {
        return {format_, priorities_, level, event, time_ns};
    }
    [[nodiscard]] LogFormat format() const { return format_; }
    [[nodiscard]] bool priorities() const { return priorities_; }
    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] std::string_view process() const { return process_; }

    void add(Record& record, std::int64_t now_ns);
    [[nodiscard]] bool pending() const { return size_ != 0; }
    [[nodiscard]] std::uint64_t dropped() const { return dropped_; } ///< and not logged yet

    /// Writes what the pipe takes now; whole lines of at most PIPE_BUF together, which a pipe does not tear
    /// (pipe(7)). Once all is through, the count of what was lost. `now_ns`: CLOCK_REALTIME.
    void flush(std::int64_t now_ns);

    /// The same before this process ends: a reader that is merely slow shall have all of it, and one that
    /// does not read keeps us for a second.
    void flush_for_the_last_time();

  private:
    LogFormat format_;
    bool priorities_;
    int fd_;
    std::string_view process_;
    std::uint64_t dropped_ = 0;
    std::size_t size_ = 0;
    char buffer_[64 * 1024];

    /// How much of it went through or is lost for good; 0: not now.
    std::size_t write_lines(std::string_view lines);
};

/// CLOCK_REALTIME in nanoseconds, asked through sys.
[[nodiscard]] std::int64_t realtime_ns();

} // namespace cloister
