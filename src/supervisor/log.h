// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"
#include "base/log.h"

#include <chrono>
#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace cloister::supervisor {

using Strings = std::vector<std::string>;
using StringMap = std::vector<std::pair<std::string, std::string>>;
using NumberMap = std::vector<std::pair<std::string, uint64_t>>;

/// One event before its format and time are known: `log.write(Record{Level::info, "ready"}.add("pid", pid))`.
/// A cloister::Record renders it.
class Record {
  public:
    using Value = std::variant<int64_t, uint64_t, std::string, Strings, StringMap, NumberMap>;

    Record(Level level, EventName event) : level_{level}, event_{event} {}

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

    [[nodiscard]] cloister::Record render(LogFormat format, bool priority,
                                          std::chrono::system_clock::time_point now) const;
    [[nodiscard]] Level level() const { return level_; }

  private:
    Record& add_value(std::string_view key, Value value) {
        fields_.emplace_back(key, std::move(value));
        return *this;
    }

    Level level_;
    EventName event_;
    std::vector<std::pair<std::string, Value>> fields_;
};

/// The supervisor's writer: never waits (cloister::Log), but at its end for a second at most.
class Log {
  public:
    /// `fd`: a pipe with O_NONBLOCK, which is the caller's. `priority`: `<n>` before each line.
    Log(LogFormat format, int fd, bool priority)
        : writer_{std::make_unique<cloister::Log>(format, priority, fd, "supervisor")} {}

    void write(const Record& record);
    [[nodiscard]] cloister::Log& writer() { return *writer_; }
    [[nodiscard]] uint64_t dropped() const { return writer_->dropped(); }

  private:
    std::unique_ptr<cloister::Log> writer_; ///< whose buffer is large
};

/// Whether `fd` is the stream that JOURNAL_STREAM ("device:inode", may be null) promises.
[[nodiscard]] bool is_journal(int fd, const char* journal_stream);

} // namespace cloister::supervisor
