// SPDX-License-Identifier: MIT
#include "supervisor/oom_score.h"

#include "base/die.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/oom.h>
#include <unistd.h>
#include <utility>

namespace cloister::supervisor {
namespace {

constexpr const char* path = "/proc/self/oom_score_adj";
constexpr const char* consequence =
    "when memory runs out, the kernel may end the supervisor, and with it all connections, before the "
    "listener";
constexpr int half_of_the_scale = OOM_SCORE_ADJ_MAX / 2;

std::optional<int> read_score(int fd) {
    char text[16] = {};
    int score = 0;
    const ssize_t size = ::pread(fd, text, sizeof text, 0);
    const bool read = size > 0 && std::from_chars(text, text + size, score).ec == std::errc{};
    return read ? std::optional{score} : std::nullopt;
}

} // namespace

OomScore::OomScore() : OomScore{Fd{::open(path, O_RDWR | O_CLOEXEC)}} {
    if (!file_.valid() && warning_.empty()) {
        cannot("open", errno);
    }
}

OomScore::OomScore(Fd file) : file_{std::move(file)} {
    if (!file_.valid()) { // after an upgrade: the program before us had none, either, and has said so
        return;
    }
    const auto score = read_score(file_.get());
    if (!score) {
        cannot("read", errno);
        file_.reset();
        return;
    }
    own_ = *score;
    raised_ = std::min(own_ + half_of_the_scale, OOM_SCORE_ADJ_MAX);
    if (raised_ - own_ < half_of_the_scale) {
        warning_ = fmt::format("{} is {}, and the listener's can't be more than {}: {}; start cloisterd with "
                               "at most {} (OOMScoreAdjust=, or a memory request in Kubernetes)",
                               path, own_, OOM_SCORE_ADJ_MAX, consequence, half_of_the_scale);
    }
}

void OomScore::cannot(const char* what, int error) {
    warning_ = fmt::format("cannot {} {}: {}: {}; start cloisterd as root with --user", what, path,
                           error_text(error), consequence);
}

std::optional<Failure> OomScore::write(int score) const {
    if (!file_.valid()) {
        return {};
    }
    const std::string text = fmt::format("{}", score);
    if (::pwrite(file_.get(), text.data(), text.size(), 0) < 0) {
        return Failure{ExitCode::SystemCall,
                       fmt::format("cannot set {} to {}: pwrite64: {}", path, score, error_text(errno))};
    }
    if (const auto actual = read_score(file_.get()); actual != score) {
        return Failure{ExitCode::SelfTest,
                       fmt::format("{} was set to {} and reads back as {}; this kernel can't be relied on",
                                   path, score, actual ? fmt::format("{}", *actual) : "nothing")};
    }
    return {};
}

} // namespace cloister::supervisor
