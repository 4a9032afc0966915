// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

namespace cloister {

/// Levels by their number in syslog(3).
enum class Level : int { error = 3, warning = 4, info = 6, debug = 7 };

/// One line of the log, JSON or logfmt, in a fixed buffer: allocates nothing, makes no system call, needs no
/// locale. A field that does not fit is left out, a last field `truncated` says so, and the line still ends
/// well; the listener's records all fit, whatever the name of its socket.
class Record {
  public:
    static constexpr std::size_t capacity = 2048;

    /// `time_ns`: CLOCK_REALTIME, printed as RFC 3339 in UTC with milliseconds. `priority`: `<n>` in front.
    Record(bool json, bool priority, Level level, std::string_view event, std::int64_t time_ns);

    Record& text(std::string_view key, std::string_view value);
    Record& number(std::string_view key, std::int64_t value);
    Record& none(std::string_view key); ///< JSON null; left out of logfmt
    Record& time(std::string_view key, std::int64_t time_ns);

    /// The line, with its newline. The record is finished.
    [[nodiscard]] std::string_view line();

  private:
    bool json_;
    bool full_ = false;
    bool truncated_ = false;
    std::size_t size_ = 0;
    char buffer_[capacity];

    void put(char c);
    void put(std::string_view text);
    void put_escaped(std::string_view value);
    void put_digits(std::uint64_t value, unsigned width);
    void put_time(std::int64_t time_ns);
    void put_key(std::string_view key);
    template <typename Put>
    Record& field(std::string_view key, Put put_value);
};

} // namespace cloister
