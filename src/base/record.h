// SPDX-License-Identifier: MIT
#pragma once

#include "base/log_format.h"
#include "base/log_names.h"
#include "base/text.h"

#include <climits>
#include <concepts>
#include <cstdint>
#include <string_view>

namespace cloister {

/// One line of the log, JSON or logfmt, in a fixed buffer: allocates nothing, makes no system call, needs no
/// locale. It is never longer than PIPE_BUF: a pipe takes all of it or nothing (pipe(7)).
///
/// Keys are constants of ours; values and the names in maps may hold any bytes (base/text.h). A text, a list
/// or a map takes at most half of the room that is left, so that what follows has room, too; longer ones are
/// cut and end with an ellipsis. A number that does not fit is left out. A last field `truncated` says so.
class Record {
  public:
    static constexpr std::size_t capacity = PIPE_BUF;

    /// `time_ns`: CLOCK_REALTIME, printed as RFC 3339 in UTC with milliseconds. `priority`: `<n>` in front,
    /// which the journal takes for the level (sd-daemon(3)).
    Record(LogFormat format, bool priority, Level level, EventName event, std::int64_t time_ns);

    Record& text(std::string_view key, std::string_view value);
    template <std::integral Number>
    Record& number(std::string_view key, Number value) {
        return field(key, {}, [&] { put_number(value); });
    }
    Record& none(std::string_view key); ///< JSON null; left out of logfmt
    Record& time(std::string_view key, std::int64_t time_ns);

    /// `values`: a range of texts. JSON: an array; logfmt: one value with commas between them.
    template <class Texts>
    Record& list(std::string_view key, const Texts& values);
    /// `entries`: a range of pairs of a name and a text or number. JSON: an object; logfmt: `key.name=value`.
    template <class Entries>
    Record& map(std::string_view key, const Entries& entries);

    /// The line, with its newline. The record is finished.
    [[nodiscard]] std::string_view line();

  private:
    bool json_;
    bool full_ = false;
    bool truncated_ = false;
    std::size_t size_ = 0;
    std::size_t start_ = 0; ///< of the first field
    std::size_t limit_;     ///< where the value that is being written must end
    char buffer_[capacity];

    void put(char c);
    void put(std::string_view text);
    void put_cut(std::string_view value);
    void put_quoted(std::string_view value);
    void put_text(std::string_view value);
    void put_value(std::string_view value) { put_text(value); }
    void put_value(std::integral auto value) { put_number(value); }
    void put_number(std::integral auto value) {
        if (value < 0) {
            put('-');
        }
        const auto bits = static_cast<std::uint64_t>(value);
        put_digits(value < 0 ? 0 - bits : bits, 1);
    }
    void put_digits(std::uint64_t value, unsigned width);
    void put_time(std::int64_t time_ns);
    void put_key(std::string_view key, std::string_view name);
    void halve_room() { limit_ = size_ + (limit_ - size_) / 2; }

    /// `key=` or `key.name=`, and what `put_it` puts: whole or not at all.
    template <typename Put>
    Record& field(std::string_view key, std::string_view name, Put put_it);
    /// Entries with commas between them, as many as fit into half of the room; the others are left out.
    template <class Range, typename Put>
    void put_each(const Range& range, Put put_it);
};

template <typename Put>
Record& Record::field(std::string_view key, std::string_view name, Put put_it) {
    const std::size_t before = size_;
    put_key(key, name);
    put_it();
    if (full_) {
        size_ = before;
        full_ = false;
        truncated_ = true;
    }
    return *this;
}

template <class Range, typename Put>
void Record::put_each(const Range& range, Put put_it) {
    const std::size_t limit = limit_;
    halve_room();
    bool first = true;
    for (const auto& entry : range) {
        const std::size_t before = size_;
        if (!first) {
            put(',');
        }
        first = false;
        put_it(entry);
        if (full_) {
            size_ = before;
            full_ = false;
            truncated_ = true;
            break;
        }
    }
    limit_ = limit;
}

template <class Texts>
Record& Record::list(std::string_view key, const Texts& values) {
    return field(key, {}, [&] {
        if (json_) {
            put('[');
            put_each(values, [this](std::string_view value) { put_quoted(value); });
            put(']');
            return;
        }
        bool quoted = true; // as one text of logfmt
        for (const std::string_view value : values) {
            quoted = quoted && value.empty();
        }
        for (const std::string_view value : values) {
            quoted = quoted || (!value.empty() && !is_bare(value));
        }
        if (quoted) {
            put('"');
        }
        put_each(values, [this](std::string_view value) { put_cut(value); });
        if (quoted) {
            put('"');
        }
    });
}

template <class Entries>
Record& Record::map(std::string_view key, const Entries& entries) {
    if (!json_) {
        const std::size_t limit = limit_;
        halve_room();
        for (const auto& [name, value] : entries) {
            field(key, name, [&, &value = value] { put_value(value); });
        }
        limit_ = limit;
        return *this;
    }
    return field(key, {}, [&] {
        put('{');
        put_each(entries, [this](const auto& entry) {
            put_quoted(entry.first);
            put(':');
            put_value(entry.second);
        });
        put('}');
    });
}

} // namespace cloister
