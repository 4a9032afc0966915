// SPDX-License-Identifier: MIT
#include "report.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fmt/format.h>
#include <limits>
#include <numeric>

namespace cloister::bench {

void Failures::add(Failure failure, std::string_view detail) {
    const auto kind = static_cast<std::size_t>(failure);
    if (counts_[kind]++ == 0) {
        fmt::print(stderr, "cloister-load: {}: {}\n", failure_names[kind], detail);
    }
}

Failure Failures::of_errno(int error) const {
    switch (error) {
    case ECONNRESET:
    case EPIPE:
        return Failure::Reset;
    case ECONNREFUSED:
    case EADDRNOTAVAIL:
    case EMFILE:
    case ENOENT:
        return Failure::Connect;
    case ETIMEDOUT:
        return Failure::Timeout;
    default:
        return Failure::Io;
    }
}

std::uint64_t Failures::total() const {
    return std::accumulate(counts_.begin(), counts_.end(), std::uint64_t{0});
}

std::string Failures::json() const {
    std::string out = fmt::format("{{\"total\":{}", total());
    for (std::size_t i = 0; i < counts_.size(); ++i) {
        out += fmt::format(",\"{}\":{}", failure_names[i], counts_[i]);
    }
    return out + "}";
}

void Latencies::add(Clock::duration duration) {
    const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
    micros_.push_back(static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(micros, 0, std::numeric_limits<std::uint32_t>::max())));
}

std::string Latencies::json() {
    if (micros_.empty()) {
        return "null";
    }
    std::sort(micros_.begin(), micros_.end());
    const auto at = [this](double share) {
        return micros_[static_cast<std::size_t>(static_cast<double>(micros_.size() - 1) * share)];
    };
    return fmt::format("{{\"p50\":{},\"p99\":{},\"max\":{}}}", at(0.5), at(0.99), micros_.back());
}

void print_line(std::string_view json) {
    fmt::print("{}\n", json);
    std::fflush(stdout);
}

} // namespace cloister::bench
