// SPDX-License-Identifier: MIT
#include "listener/log.h"

#include "control/launch.h"
#include "syscall/calls.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

namespace cloister::listener {
namespace {

bool takes_more(int fd) {
    pollfd log{fd, POLLOUT, 0};
    timespec at_once{};
    return sys::ppoll(&log, 1, &at_once) == 1;
}

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
            write_lines({rest.data(), rest.rfind('\n') + 1}); // a record is shorter than PIPE_BUF
        if (written == 0) {
            break;
        }
        done += written;
    }
    size_ -= done;
    std::memmove(buffer_, buffer_ + done, size_);
    if (done != 0 && size_ == 0 && dropped_ != 0) {
        Record lost = record(Level::warning, "log_dropped", now_ns);
        lost.number("count", static_cast<std::int64_t>(dropped_));
        const std::uint64_t count = std::exchange(dropped_, 0);
        if (write_lines(lost.line()) == 0 || dropped_ != 0) {
            dropped_ = count; // not now, or the line that says so was lost itself
        }
    }
}

std::size_t Log::write_lines(std::string_view lines) {
    if (may_block_ && !takes_more(control::log_fd)) {
        return 0;
    }
    const long result = sys::write(control::log_fd, lines.data(), static_cast<long>(lines.size()));
    if (result == -EAGAIN || result == -EINTR) {
        return 0;
    }
    if (result < 0) { // nobody reads, no space: these lines are lost
        dropped_ += static_cast<std::uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
        return lines.size();
    }
    return static_cast<std::size_t>(result);
}

} // namespace cloister::listener
