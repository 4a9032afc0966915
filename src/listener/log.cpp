// SPDX-License-Identifier: MIT
#include "listener/log.h"

#include "plan/plan.h"
#include "sys/calls.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

namespace cloister::listener {
namespace {

bool takes_more(int fd) {
    pollfd log{fd, POLLOUT, 0};
    timespec at_once{};
    return sys::ppoll(&log, 1, &at_once) == 1;
}

} // namespace

void Log::add(Record& record, std::int64_t now_ns) {
    if (dropped_ != 0) {
        Record lost = this->record(Level::warning, "log_dropped", now_ns);
        lost.number("count", static_cast<std::int64_t>(dropped_));
        if (!append(lost.line())) {
            ++dropped_;
            return;
        }
        dropped_ = 0;
    }
    if (!append(record.line())) {
        ++dropped_;
    }
}

bool Log::append(std::string_view line) {
    if (line.size() > sizeof buffer_ - size_) {
        flush();
    }
    if (line.size() > sizeof buffer_ - size_) {
        return false;
    }
    std::memcpy(buffer_ + size_, line.data(), line.size());
    size_ += line.size();
    return true;
}

void Log::flush() {
    std::size_t written = 0;
    while (written < size_) {
        const std::string_view rest{buffer_ + written, std::min(size_ - written, std::size_t{PIPE_BUF})};
        const std::size_t lines = rest.rfind('\n') + 1; // a record is shorter than PIPE_BUF
        if (may_block_ && !takes_more(plan::log_fd)) {
            break;
        }
        const long result = sys::write(plan::log_fd, rest.data(), static_cast<long>(lines));
        if (result == -EINTR) {
            continue;
        }
        if (result == -EAGAIN || result == 0) {
            break;
        }
        if (result < 0) { // nobody reads, no space: these lines are lost
            dropped_ += static_cast<std::uint64_t>(
                std::count(rest.begin(), rest.begin() + static_cast<long>(lines), '\n'));
            written += lines;
        } else {
            written += static_cast<std::size_t>(result);
        }
    }
    discard(written);
}

void Log::discard(std::size_t size) {
    size_ -= size;
    std::memmove(buffer_, buffer_ + size, size_);
}

} // namespace cloister::listener
