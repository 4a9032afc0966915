// SPDX-License-Identifier: MIT
#include "base/log.h"

#include "syscall/calls.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

namespace cloister {
namespace {

constexpr int last_tries = 10;
constexpr long between_tries_ns = 100'000'000;

} // namespace

void Log::add(Record& record, std::int64_t now_ns) {
    const std::string_view line = record.line();
    if (line.size() > sizeof buffer_ - size_) {
        flush(now_ns);
    }
    if (line.size() > sizeof buffer_ - size_) {
        ++dropped_;
        return;
    }
    std::memcpy(buffer_ + size_, line.data(), line.size());
    size_ += line.size();
}

void Log::flush(std::int64_t now_ns) {
    std::size_t done = 0;
    while (done < size_) {
        const std::string_view rest{buffer_ + done, std::min(size_ - done, std::size_t{PIPE_BUF})};
        const std::size_t written =
            write_lines({rest.data(), rest.rfind('\n') + 1}); // a record is no longer than PIPE_BUF
        if (written == 0) {
            break;
        }
        done += written;
    }
    size_ -= done;
    std::memmove(buffer_, buffer_ + done, size_);
    if (done != 0 && size_ == 0 && dropped_ != 0) {
        Record lost = record(Level::warning, "log_dropped", now_ns);
        lost.text("process", process_).number("count", dropped_);
        const std::uint64_t count = std::exchange(dropped_, 0);
        if (write_lines(lost.line()) == 0 || dropped_ != 0) {
            dropped_ = count; // not now, or the line that says so was lost itself
        }
    }
}

void Log::flush_for_the_last_time() {
    flush(realtime_ns());
    for (int tries = 0; pending() && tries < last_tries; ++tries) {
        pollfd log{fd_, POLLOUT, 0};
        timespec timeout{0, between_tries_ns};
        (void)sys::ppoll(&log, 1, &timeout);
        flush(realtime_ns());
    }
}

std::size_t Log::write_lines(std::string_view lines) {
    const long result = sys::write(fd_, lines.data(), static_cast<long>(lines.size()));
    if (result == -EAGAIN || result == -EINTR) {
        return 0;
    }
    if (result < 0) { // nobody reads: these lines are lost
        dropped_ += static_cast<std::uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
        return lines.size();
    }
    return static_cast<std::size_t>(result);
}

std::int64_t realtime_ns() {
    timespec now{};
    sys::clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

} // namespace cloister
