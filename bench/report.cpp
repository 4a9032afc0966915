// SPDX-License-Identifier: MIT
#include "report.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fmt/format.h>
#include <functional>
#include <numeric>
#include <sys/resource.h>

namespace cloister::bench {

void Failures::add(Failure failure, std::string_view detail) {
    const auto kind = static_cast<std::size_t>(failure);
    if (counts_[kind]++ == 0) {
        fmt::print(stderr, "cloister-load: {}: {}\n", failure_names[kind], detail);
    }
}

void Failures::add(const Failures& others) {
    std::transform(counts_.begin(), counts_.end(), others.counts_.begin(), counts_.begin(), std::plus{});
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
    nanos_.push_back(std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count());
}

std::string Latencies::json() {
    if (nanos_.empty()) {
        return "null";
    }
    std::sort(nanos_.begin(), nanos_.end());
    const auto at = [this](double share) {
        return static_cast<double>(
                   nanos_[static_cast<std::size_t>(static_cast<double>(nanos_.size() - 1) * share)]) /
               1000;
    };
    return fmt::format("{{\"p50\":{:.2f},\"p99\":{:.2f},\"max\":{:.2f}}}", at(0.5), at(0.99), at(1));
}

double cpu_seconds() {
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    const auto of = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return of(used.ru_utime) + of(used.ru_stime);
}

namespace {
volatile std::sig_atomic_t term_seen = 0;
}

void stop_on_sigterm() {
    struct sigaction action {};
    action.sa_handler = [](int) { term_seen = 1; };
    ::sigaction(SIGTERM, &action, nullptr); // without SA_RESTART: a wait ends, too
}

bool stopped() {
    return term_seen != 0;
}

void print_line(std::string_view json) {
    fmt::print("{}\n", json);
    std::fflush(stdout);
}

} // namespace cloister::bench
