// SPDX-License-Identifier: MIT
#pragma once

#include "base/record.h"

#include <cstdint>

namespace cloister::listener {

/// Records on their way to the log. A log that is blocked or full never stops service: what does not fit is
/// dropped and counted, and the count is logged when there is room again. All in one buffer of fixed size.
class Log {
  public:
    Log(bool json, bool priorities, bool may_block)
        : json_{json}, priorities_{priorities}, may_block_{may_block} {}

    [[nodiscard]] Record record(Level level, std::string_view event, std::int64_t time_ns) const {
        return {json_, priorities_, level, event, time_ns};
    }

    void add(Record& record, std::int64_t now_ns);
    [[nodiscard]] bool pending() const { return size_ != 0; }

    /// Writes what the log takes without waiting; whole lines of at most PIPE_BUF together, which a pipe does
    /// not tear (pipe(7)), since the supervisor writes there too. Once all is through, the count of what was
    /// lost.
    void flush(std::int64_t now_ns);

  private:
    bool json_;
    bool priorities_;
    bool may_block_;
    std::uint64_t dropped_ = 0;
    std::size_t size_ = 0;
    char buffer_[64 * 1024];

    /// How much of it went through or is lost for good; 0: not now.
    std::size_t write_lines(std::string_view lines);
};

} // namespace cloister::listener
