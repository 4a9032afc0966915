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

std::string_view name_of(Level level) {
    switch (level) {
    case Level::error:
        return "error";
    case Level::warning:
        return "warning";
    case Level::info:
        return "info";
    case Level::debug:
        return "debug";
    }
    return "info";
}

} // namespace

Record::Record(bool json, bool priority, Level level, std::string_view event, std::int64_t time_ns)
    : json_{json} {
    if (priority) {
        put('<');
        put_digits(static_cast<std::uint64_t>(level), 1);
        put('>');
    }
    if (json_) {
        put('{');
    }
    time("ts", time_ns);
    text("level", name_of(level));
    text("event", event);
}

Record& Record::text(std::string_view key, std::string_view value) {
    return field(key, [&] {
        const bool quoted = json_ || !is_bare(value);
        if (quoted) {
            put('"');
        }
        put_escaped(value);
        if (quoted) {
            put('"');
        }
    });
}

Record& Record::number(std::string_view key, std::int64_t value) {
    return field(key, [&] {
        if (value < 0) {
            put('-');
        }
        put_digits(value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value), 1);
    });
}

Record& Record::none(std::string_view key) {
    return json_ ? field(key, [&] { put("null"); }) : *this;
}

Record& Record::time(std::string_view key, std::int64_t time_ns) {
    return field(key, [&] {
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

/// A field is there whole or not at all.
template <typename Put>
Record& Record::field(std::string_view key, Put put_value) {
    const std::size_t before = size_;
    put_key(key);
    put_value();
    if (full_) {
        size_ = before;
        full_ = false;
        truncated_ = true;
    }
    return *this;
}

void Record::put_key(std::string_view key) {
    const bool first = size_ == 0 || buffer_[size_ - 1] == '{' || buffer_[size_ - 1] == '>';
    if (!first) {
        put(json_ ? ',' : ' ');
    }
    if (json_) {
        put('"');
        put(key);
        put("\":");
    } else {
        put(key);
        put('=');
    }
}

void Record::put(char c) {
    if (size_ + reserved_for_end < capacity) {
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

void Record::put_escaped(std::string_view value) {
    while (!value.empty()) {
        Escape escape;
        put(take_escaped(value, escape));
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
