// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cloister::bench {

using Clock = std::chrono::steady_clock;

[[nodiscard]] inline double seconds(Clock::duration duration) {
    return std::chrono::duration<double>(duration).count();
}

/// What can go wrong with a connection. Anything but zero of each makes cloister-load exit with 1.
enum class Failure : std::size_t {
    Connect,  ///< refused, or no port or descriptor left
    Reset,    ///< the server or the network cut it
    Timeout,  ///< nothing happened for --timeout
    Short,    ///< the end came before all bytes were back
    Mismatch, ///< other bytes than those sent
    Extra,    ///< more bytes than those sent
    Io,       ///< another error of send or recv
};
inline constexpr std::array<std::string_view, 7> failure_names{"connect",  "reset", "timeout", "short",
                                                               "mismatch", "extra", "io"};

class Failures {
  public:
    /// Counts; the first of each kind is also told on stderr, where a JSON number says too little.
    void add(Failure failure, std::string_view detail);
    void add(const Failures& others);
    [[nodiscard]] Failure of_errno(int error) const;
    [[nodiscard]] std::uint64_t total() const;
    [[nodiscard]] std::string json() const;

  private:
    std::array<std::uint64_t, failure_names.size()> counts_{};
};

/// Durations. All are kept: a run has a few million at most.
class Latencies {
  public:
    void add(Clock::duration duration);
    [[nodiscard]] std::size_t count() const { return nanos_.size(); }
    [[nodiscard]] std::string json(); ///< in microseconds

  private:
    std::vector<std::int64_t> nanos_;
};

/// What this process has used of the processors so far: what the clients take from the server on the same
/// machine.
[[nodiscard]] double cpu_seconds();

/// From now on SIGTERM makes stopped() true and ends no more than the system call that it interrupts.
void stop_on_sigterm();
[[nodiscard]] bool stopped();

/// One JSON object on one line of stdout, flushed: bench/run reads it through a pipe.
void print_line(std::string_view json);

} // namespace cloister::bench
