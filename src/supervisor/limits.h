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
    std::string consequence; ///< and the cure
};

/// What binds before `max_connections`, the smallest first. Read from `root`/proc and `root`/sys; what can't
/// be read does not bind.
[[nodiscard]] std::vector<Bound> bounds(unsigned max_connections, const std::filesystem::path& root = "/");

/// What a connection is counted with, both socket ends on this machine: bytes. An idle one costs 57 to 79 KiB
/// (bench/run --only memory); the rest is for what its buffers hold.
constexpr std::uint64_t connection_cost = std::uint64_t{105} * 1024;

} // namespace cloister::supervisor
