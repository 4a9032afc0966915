// SPDX-License-Identifier: MIT
#include "supervisor/oom_score.h"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/oom.h>
#include <optional>
#include <string>
#include <unistd.h>

namespace cloister::supervisor {
namespace {

std::optional<int> read_score(int fd) {
    char text[16] = {};
    int score = 0;
    const ssize_t size = ::pread(fd, text, sizeof text, 0);
    const bool read = size > 0 && std::from_chars(text, text + size, score).ec == std::errc{};
    return read ? std::optional{score} : std::nullopt;
}

} // namespace

OomScore::OomScore() : file_{::open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC)} {
    const auto score = read_score(file_.get());
    if (!score) {
        file_.reset();
        return;
    }
    own_ = *score;
    raised_ = std::min(own_ + OOM_SCORE_ADJ_MAX / 2, OOM_SCORE_ADJ_MAX);
}

bool OomScore::write(int score) const {
    if (!available()) {
        return true;
    }
    const std::string text = fmt::format("{}", score);
    return ::pwrite(file_.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()) &&
           read_score(file_.get()) == score;
}

} // namespace cloister::supervisor
