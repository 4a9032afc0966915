// SPDX-License-Identifier: MIT
// Round trips, one after the other, on one connection.
#include "load.h"
#include "pattern.h"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/time.h>

namespace cloister::bench {

namespace {

using namespace std::chrono_literals;

int report(const Options& options, Clock::duration spent, Latencies& latencies, const Failures& failures) {
    const auto trips = latencies.count();
    print_line(fmt::format(
        "{{\"mode\":\"pingpong\",\"target\":\"{}\",\"bytes\":{},\"seconds\":{:.3f},\"trips\":{},"
        "\"per_second\":{:.1f},\"latency_us\":{},\"errors\":{}}}",
        options.target.text, options.bytes, seconds(spent), trips,
        static_cast<double>(trips) / std::max(seconds(spent), 1e-6), latencies.json(), failures.json()));
    return failures.total() == 0 ? 0 : 1;
}

/// Blocking, with a deadline in the kernel: a poll for each trip would be measured too.
tl::expected<Fd, int> connect_and_block(const Options& options) {
    auto fd = start_connect(options.target, 0, options.sources, options.timeout, Traffic::Any);
    if (!fd) {
        return fd;
    }
    pollfd waiting{fd->get(), POLLOUT, 0};
    if (::poll(&waiting, 1, static_cast<int>(options.timeout.count())) != 1) {
        return tl::unexpected(ETIMEDOUT);
    }
    const auto ms = options.timeout.count();
    const timeval limit{ms / 1000, static_cast<suseconds_t>(ms % 1000 * 1000)};
    if (::fcntl(fd->get(), F_SETFL, 0) != 0 ||
        ::setsockopt(fd->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
        ::setsockopt(fd->get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) {
        return tl::unexpected(errno);
    }
    return fd;
}

} // namespace

int run_pingpong(const Options& options) {
    const Pattern pattern;
    Failures failures;
    Latencies latencies;
    const auto fd = connect_and_block(options);
    if (!fd) {
        failures.add(Failure::Connect, std::strerror(fd.error()));
        return report(options, 0ms, latencies, failures);
    }
    std::vector<char> back(options.bytes);
    const Clock::time_point count_from = Clock::now() + options.warm_up;
    const Clock::time_point stop_at =
        options.duration == 0ms ? Clock::time_point::max() : count_from + options.duration;
    Clock::time_point now = Clock::now();
    for (std::uint64_t trip = 0; now < stop_at && (options.total == 0 || latencies.count() < options.total);
         ++trip) {
        const std::uint64_t position = trip * options.bytes;
        const Clock::time_point begun = now;
        if (::send(fd->get(), pattern.at(position), back.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(back.size())) {
            failures.add(failures.of_errno(errno), fmt::format("send: {}", std::strerror(errno)));
            break;
        }
        const ssize_t got = ::recv(fd->get(), back.data(), back.size(), MSG_WAITALL);
        now = Clock::now();
        if (got != static_cast<ssize_t>(back.size())) {
            const bool late = got < 0 && errno == EAGAIN;
            failures.add(late       ? Failure::Timeout
                         : got >= 0 ? Failure::Short
                                    : failures.of_errno(errno),
                         fmt::format("trip {}", trip));
            break;
        }
        if (!pattern.matches(position, back.data(), back.size())) {
            failures.add(Failure::Mismatch, fmt::format("trip {}", trip));
            break;
        }
        if (begun >= count_from) {
            latencies.add(now - begun);
        }
    }
    return report(options, std::max(now - count_from, Clock::duration{0}), latencies, failures);
}

} // namespace cloister::bench
