// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"
#include "base/log_format.h"

#include <chrono>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace cloister::supervisor {

enum class Level { error = 3, warning = 4, notice = 5, info = 6, debug = 7 }; ///< the numbers of syslog(3)

using Strings = std::vector<std::string>;
using StringMap = std::vector<std::pair<std::string, std::string>>;
using NumberMap = std::vector<std::pair<std::string, uint64_t>>;

/// One event: `log.write(Record{Level::info, "ready"}.add("pid", pid).add("listen", names))`.
/// Keys are constants of ours and are not escaped in logfmt; values may hold anything.
class Record {
  public:
    using Value = std::variant<int64_t, uint64_t, std::string, Strings, StringMap, NumberMap>;

    Record(Level level, std::string_view event) : level_{level}, event_{event} {}

    template <std::signed_integral Number>
    Record& add(std::string_view key, Number value) {
        return add_value(key, int64_t{value});
    }
    template <std::unsigned_integral Number>
    Record& add(std::string_view key, Number value) {
        return add_value(key, uint64_t{value});
    }
    Record& add(std::string_view key, std::string_view value) { return add_value(key, std::string{value}); }
    Record& add(std::string_view key, Strings value) { return add_value(key, std::move(value)); }
    Record& add(std::string_view key, StringMap value) { return add_value(key, std::move(value)); }
    Record& add(std::string_view key, NumberMap value) { return add_value(key, std::move(value)); }

    /// One line with its newline, at most 4096 bytes: then a pipe takes all of it or nothing. What is too
    /// long is cut, and a last field `truncated` says so.
    [[nodiscard]] std::string render(LogFormat format, std::chrono::system_clock::time_point now) const;
    [[nodiscard]] Level level() const { return level_; }

  private:
    Record& add_value(std::string_view key, Value value) {
        fields_.emplace_back(key, std::move(value));
        return *this;
    }

    Level level_;
    std::string event_;
    std::vector<std::pair<std::string, Value>> fields_;
};

/// Writes records and never waits: one that does not go through at once is dropped, counted, and reported by
/// a record `log_dropped` after the next one that does. The caller blocks SIGPIPE.
class Log {
  public:
    /// `priority`: lead each line with <n>, which the journal takes for its level.
    Log(LogFormat format, Fd fd, bool priority) : fd_{std::move(fd)}, format_{format}, priority_{priority} {}

    void write(const Record& record);
    [[nodiscard]] uint64_t dropped() const { return dropped_; }
    [[nodiscard]] int fd() const { return fd_.get(); }

  private:
    [[nodiscard]] bool write_now(const Record& record);

    Fd fd_;
    LogFormat format_;
    bool priority_;
    bool torn_ = false; ///< the last write stopped within a line
    uint64_t dropped_ = 0;
};

/// Stderr opened anew, so that O_NONBLOCK is ours alone: set on the shared description it would hit the shell
/// that started us. Where that can't be done (a socket, a pipe of another user) a duplicate of stderr.
[[nodiscard]] Fd open_log_without_blocking();

/// Whether `fd` is the stream that JOURNAL_STREAM ("device:inode", may be null) promises.
[[nodiscard]] bool is_journal(int fd, const char* journal_stream);

} // namespace cloister::supervisor
