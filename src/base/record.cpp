// SPDX-License-Identifier: MIT
#include "base/record.h"

#include "base/text.h"

#include <chrono>
#include <cstring>

namespace cloister {
namespace {

constexpr std::string_view truncated_json = ",\"truncated\":true";
constexpr std::string_view truncated_logfmt = " truncated=true";
constexpr std::size_t reserved_for_end = truncated_json.size() + 2; // and `}` and newline
constexpr std::string_view ellipsis = "\u2026";

std::size_t escaped_size(std::string_view value) {
    std::size_t size = 0;
    while (!value.empty()) {
        Escape escape;
        size += take_escaped(value, escape).size();
    }
    return size;
}

std::string_view name_of(Level level) {
    switch (level) {
    case Level::error:
        return "error";
    case Level::warning:
        return "warning";
    case Level::notice:
        return "notice";
    case Level::info:
        return "info";
    case Level::debug:
        return "debug";
    }
    return "info";
}

} // namespace

Record::Record(LogFormat format, bool priority, Level level, EventName event, std::int64_t time_ns)
    : json_{format == LogFormat::json}, limit_{capacity - reserved_for_end} {
    if (priority) {
        put('<');
        put_digits(static_cast<std::uint64_t>(level), 1);
        put('>');
    }
    if (json_) {
        put('{');
    }
    start_ = size_;
    time("ts", time_ns);
    text("level", name_of(level));
    text("event", event.text());
}

Record& Record::text(std::string_view key, std::string_view value) {
    return field(key, {}, [&] { put_text(value); });
}

Record& Record::none(std::string_view key) {
    return json_ ? field(key, {}, [&] { put("null"); }) : *this;
}

Record& Record::time(std::string_view key, std::int64_t time_ns) {
    return field(key, {}, [&] {
        if (json_) {
            put('"');
        }
        put_time(time_ns);
        if (json_) {
            put('"');
        }
    });
}

std::string_view Record::line() {
    const auto end = [this](std::string_view text) { // there is room for it
        std::memcpy(buffer_ + size_, text.data(), text.size());
        size_ += text.size();
    };
    if (truncated_) {
        end(json_ ? truncated_json : truncated_logfmt);
    }
    end(json_ ? "}\n" : "\n");
    return {buffer_, size_};
}

void Record::put_key(std::string_view key, std::string_view name) {
    if (size_ != start_) {
        put(json_ ? ',' : ' ');
    }
    if (json_) {
        put('"');
        put(key);
        put("\":");
        return;
    }
    put(key);
    if (!name.empty()) {
        put('.');
        put(name);
    }
    put('=');
}

void Record::put(char c) {
    if (size_ < limit_) {
        buffer_[size_++] = c;
    } else {
        full_ = true;
    }
}

void Record::put(std::string_view text) {
    for (const char c : text) {
        put(c);
    }
}

/// Escaped, and cut where it would take more than half of the room, never within a character.
void Record::put_cut(std::string_view value) {
    const std::size_t end = size_ + (limit_ - size_) / 2;
    const bool whole = escaped_size(value) <= end - size_;
    while (!value.empty()) {
        Escape escape;
        const std::string_view character = take_escaped(value, escape);
        if (!whole && size_ + character.size() + ellipsis.size() > end) {
            truncated_ = true;
            put(ellipsis);
            return;
        }
        put(character);
    }
}

void Record::put_quoted(std::string_view value) {
    put('"');
    put_cut(value);
    put('"');
}

void Record::put_text(std::string_view value) {
    if (json_ || !is_bare(value)) {
        put_quoted(value);
    } else {
        put_cut(value);
    }
}

void Record::put_digits(std::uint64_t value, unsigned width) {
    char digits[20];
    unsigned count = 0;
    do {
        digits[count++] = static_cast<char>('0' + value % 10);
        value /= 10;
    } while (value != 0);
    for (; width > count; --width) {
        put('0');
    }
    while (count > 0) {
        put(digits[--count]);
    }
}

void Record::put_time(std::int64_t time_ns) {
    using namespace std::chrono;
    const sys_time<nanoseconds> when{nanoseconds{time_ns}};
    const auto day = floor<days>(when);
    const year_month_day date{day};
    const hh_mm_ss clock{floor<milliseconds>(when - day)};
    const auto digits = [&](auto value, unsigned width) {
        put_digits(static_cast<std::uint64_t>(value), width);
    };
    digits(int{date.year()}, 4);
    put('-');
    digits(unsigned{date.month()}, 2);
    put('-');
    digits(unsigned{date.day()}, 2);
    put('T');
    digits(clock.hours().count(), 2);
    put(':');
    digits(clock.minutes().count(), 2);
    put(':');
    digits(clock.seconds().count(), 2);
    put('.');
    digits(clock.subseconds().count(), 3);
    put('Z');
}

} // namespace cloister
