// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace cloister::supervisor {

/// Something of the system that is too small for the connections that were asked for.
struct Bound {
    std::string name;        ///< as the system calls it: "kernel.pid_max"
    std::uint64_t is;        ///< its value: processes, signals, or bytes
    std::uint64_t allows;    ///< connections at a time
    bool hard;               ///< more than that can't be had: no more are accepted
    std::string consequence; ///< and the cure
};

/// What a connection costs in memory, the kernel's included: bytes.
struct Cost {
    std::uint64_t idle;  ///< measured by bench/run --only memory
    std::uint64_t worst; ///< everything full: the cell's buffer and its socket's
};
/// `buffers`: the send and the receive buffer of a connection together, as the kernel counts them (twice what
/// setsockopt(2) was given: socket(7)).
[[nodiscard]] Cost connection_cost(std::uint64_t buffers);

/// The largest send and receive buffer together that the kernel gives a socket whose buffers are its own
/// choice: tcp_wmem and tcp_rmem of tcp(7).
[[nodiscard]] std::uint64_t largest_automatic_buffers(const std::filesystem::path& root = "/");

/// What binds before `max_connections`, the smallest first. `own_processes` are ours besides the cells, the
/// calling one included. Read from `root`/proc and `root`/sys; what can't be read does not bind. Memory is
/// counted with the worst cost.
[[nodiscard]] std::vector<Bound> bounds(unsigned max_connections, const Cost& cost, unsigned own_processes,
                                        const std::filesystem::path& root = "/");

/// "RLIMIT_AS (123)": a limit of memory that is so low that a listener might not start; empty if none is.
[[nodiscard]] std::string low_memory_limit();

/// Raises the soft limit of CPU time, at which SIGXCPU would end us, to the hard one. Ends with
/// ExitCode::Config where no cell could run under that. If it can't be read, the listener will say so.
void raise_cpu_time();

/// What an inherited limit of CPU time does to a daemon; empty if there is none.
[[nodiscard]] std::string cpu_time_warning();

/// As many connections as the hard ones among `bounds` allow, at least 1 and at most `max_connections`.
[[nodiscard]] unsigned allowed_connections(unsigned max_connections, const std::vector<Bound>& bounds);

/// How many of `allowed` connections each service may have: all that it wants if there are enough, else in
/// proportion, and at least one.
[[nodiscard]] std::vector<unsigned> shares(const std::vector<unsigned>& wanted, unsigned allowed);

} // namespace cloister::supervisor
