// SPDX-License-Identifier: MIT
#include "supervisor/log.h"

#include "base/text.h"

#include <algorithm>
#include <ctime>
#include <fcntl.h>
#include <fmt/format.h>
#include <optional>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cloister::supervisor {
namespace {

constexpr size_t max_record = 4096; // PIPE_BUF
constexpr size_t prefix_room = 4;   // "<6>", and a newline before it when the last line was torn
constexpr std::string_view ellipsis = "\u2026";

std::string escaped(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        Escape escape;
        out += take_escaped(text, escape);
    }
    return out;
}

std::string quoted(std::string_view text) {
    return '"' + escaped(text) + '"';
}

std::string logfmt_value(std::string_view text) {
    return is_bare(text) ? std::string{text} : quoted(text);
}

/// Renders one record, with every string cut to `limit` bytes and every list to `limit` / 4 entries.
class Renderer {
  public:
    Renderer(LogFormat format, size_t limit) : json_{format == LogFormat::json}, limit_{limit} {}

    void field(std::string_view key, const Record::Value& value) {
        std::visit([&](const auto& concrete) { write(key, concrete); }, value);
    }
    [[nodiscard]] std::string finish(bool truncated) {
        if (truncated || cut_) {
            write_raw("truncated", "true");
        }
        return json_ ? "{" + out_ + "}\n" : out_ + "\n";
    }

  private:
    void write_raw(std::string_view key, std::string_view value) {
        if (!out_.empty()) {
            out_ += json_ ? ',' : ' ';
        }
        out_ += json_ ? quoted(key) + ':' : std::string{key} + '=';
        out_ += value;
    }
    void write(std::string_view key, int64_t value) { write_raw(key, fmt::to_string(value)); }
    void write(std::string_view key, uint64_t value) { write_raw(key, fmt::to_string(value)); }
    void write(std::string_view key, const std::string& value) {
        write_raw(key, json_ ? json_value(value) : logfmt_value(shortened(value)));
    }
    void write(std::string_view key, const Strings& values) {
        std::string list;
        for (size_t i = 0; i < kept(values.size()); ++i) {
            list += i == 0 ? "" : ",";
            list += json_ ? json_value(values[i]) : shortened(values[i]);
        }
        write_raw(key, json_ ? "[" + list + "]" : logfmt_value(list));
    }
    template <class Value>
    void write(std::string_view key, const std::vector<std::pair<std::string, Value>>& map) {
        std::string object;
        for (size_t i = 0; i < kept(map.size()); ++i) {
            const auto& [name, value] = map[i];
            if (json_) {
                object += fmt::format("{}{}:{}", i == 0 ? "" : ",", quoted(name), json_value(value));
            } else {
                write(fmt::format("{}.{}", key, name), value);
            }
        }
        if (json_) {
            write_raw(key, "{" + object + "}");
        }
    }
    std::string json_value(const std::string& text) { return quoted(shortened(text)); }
    std::string json_value(uint64_t number) { return fmt::to_string(number); }

    size_t kept(size_t count) {
        cut_ |= count > limit_ / 4;
        return std::min(count, limit_ / 4);
    }
    std::string shortened(std::string_view text) {
        if (text.size() <= limit_) {
            return std::string{text};
        }
        cut_ = true;
        size_t end = limit_;
        while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) {
            --end; // never within a character
        }
        return std::string{text.substr(0, end)} += ellipsis;
    }

    bool json_;
    bool cut_ = false;
    size_t limit_;
    std::string out_;
};

std::string timestamp(std::chrono::system_clock::time_point now) {
    using namespace std::chrono;
    const auto milliseconds = floor<std::chrono::milliseconds>(now.time_since_epoch()).count();
    const time_t seconds = floor<std::chrono::seconds>(now.time_since_epoch()).count();
    tm utc{};
    ::gmtime_r(&seconds, &utc);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1,
                       utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, milliseconds - seconds * 1000);
}

std::string name_of(Level level) {
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
    return "error";
}

} // namespace

std::string Record::render(LogFormat format, std::chrono::system_clock::time_point now) const {
    const auto attempt = [&](size_t limit, size_t fields) {
        Renderer renderer{format, limit};
        renderer.field("ts", timestamp(now));
        renderer.field("level", name_of(level_));
        renderer.field("event", event_);
        for (size_t i = 0; i < fields; ++i) {
            renderer.field(fields_[i].first, fields_[i].second);
        }
        return renderer.finish(fields < fields_.size());
    };
    size_t limit = max_record;
    size_t fields = fields_.size();
    auto line = attempt(limit, fields);
    while (line.size() > max_record - prefix_room) {
        if (limit > 32) {
            limit /= 2;
        } else {
            --fields;
        }
        line = attempt(limit, fields);
    }
    return line;
}

void Log::write(const Record& record) {
    if (!write_now(record)) {
        ++dropped_;
        return;
    }
    if (dropped_ > 0 && write_now(Record{Level::warning, "log_dropped"}.add("count", dropped_))) {
        dropped_ = 0;
    }
}

bool Log::write_now(const Record& record) {
    std::string line = record.render(format_, std::chrono::system_clock::now());
    if (priority_) {
        line.insert(0, fmt::format("<{}>", static_cast<int>(record.level())));
    }
    if (torn_) {
        line.insert(0, 1, '\n');
    }
    // Asked first, since where stderr could not be opened anew the write itself would wait.
    pollfd ready{fd_.get(), POLLOUT, 0};
    if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) {
        return false;
    }
    const ssize_t written = ::write(fd_.get(), line.data(), line.size());
    if (written <= 0) {
        return false;
    }
    torn_ = static_cast<size_t>(written) < line.size();
    return !torn_;
}

Fd open_log_without_blocking() {
    Fd fd{::open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)};
    return fd.valid() ? std::move(fd) : Fd{::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)};
}

bool is_journal(int fd, const char* journal_stream) {
    struct stat status {};
    return journal_stream != nullptr && ::fstat(fd, &status) == 0 &&
           fmt::format("{}:{}", status.st_dev, status.st_ino) == journal_stream;
}

} // namespace cloister::supervisor
