// SPDX-License-Identifier: MIT
#include "supervisor/limits.h"

#include "base/die.h"
#include "base/soft_limit.h"
#include "cell/cell.h"

#include <algorithm>
#include <fmt/core.h>
#include <fstream>
#include <numeric>
#include <sstream>
#include <sys/resource.h>
#include <tuple>

namespace cloister::supervisor {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t processes_of_others = 256; // a system is never without
constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t memory_of_ours = 8192 * kib; // supervisor and listener; they use half of it

std::optional<std::uint64_t> number_in(const fs::path& file) {
    std::ifstream stream{file};
    std::uint64_t number = 0; // "max" is no number
    return stream >> number ? std::optional{number} : std::nullopt;
}

/// `MemAvailable:   123 kB` of proc_meminfo(5), in bytes.
std::optional<std::uint64_t> available_memory(const fs::path& meminfo) {
    std::ifstream stream{meminfo};
    for (std::string line; std::getline(stream, line);) {
        std::istringstream words{line};
        std::string name;
        std::uint64_t amount = 0;
        if (words >> name >> amount && name == "MemAvailable:") {
            return amount * kib;
        }
    }
    return std::nullopt;
}

/// The control groups that we are in, each with those above it: `0::/a/b` of cgroups(7), or `4:memory:/a/b`.
std::vector<fs::path> cgroups(const fs::path& root, const std::string& controller) {
    std::ifstream stream{root / "proc/self/cgroup"};
    std::vector<fs::path> found;
    for (std::string line; std::getline(stream, line);) {
        const auto first = line.find(':');
        const auto second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) {
            continue;
        }
        const auto names = line.substr(first + 1, second - first - 1);
        if (!names.empty() && ("," + names + ",").find("," + controller + ",") == std::string::npos) {
            continue;
        }
        const auto top = root / "sys/fs/cgroup" / names;
        for (fs::path path = line.substr(second + 1);; path = path.parent_path()) {
            found.push_back(top / path.relative_path());
            if (path == path.parent_path()) {
                break;
            }
        }
    }
    return found;
}

std::optional<std::uint64_t> least_in(const std::vector<fs::path>& groups, const char* file) {
    std::optional<std::uint64_t> least;
    for (const auto& group : groups) {
        if (const auto number = number_in(group / file); number && (!least || *number < *least)) {
            least = number;
        }
    }
    return least;
}

/// The group, of these and those above them, that has the least room for cells: `others` are not cells.
struct Processes {
    std::uint64_t max, others;
};
std::optional<Processes> least_processes(const std::vector<fs::path>& groups, unsigned own_processes) {
    std::optional<Processes> least;
    for (const auto& group : groups) {
        const auto max = number_in(group / "pids.max");
        const auto others = number_in(group / "pids.current").value_or(1) + own_processes - 1; // we are in it
        if (max &&
            (!least || *max - std::min(*max, others) < least->max - std::min(least->max, least->others))) {
            least = Processes{*max, others};
        }
    }
    return least;
}

/// The third number of a file such as tcp_wmem.
std::uint64_t largest_of_three(const fs::path& file) {
    std::ifstream stream{file};
    std::uint64_t least = 0;
    std::uint64_t usual = 0;
    std::uint64_t largest = 0;
    return stream >> least >> usual >> largest ? largest : 0;
}

std::optional<std::uint64_t> hard_limit(__rlimit_resource resource) {
    rlimit have{};
    return getrlimit(resource, &have) == 0 ? std::optional<std::uint64_t>{have.rlim_max} : std::nullopt;
}

} // namespace

Cost connection_cost(std::uint64_t buffers) {
    constexpr std::uint64_t idle = 58 * kib;
    return {idle, idle + cell::buffer_size + buffers};
}

std::uint64_t largest_automatic_buffers(const fs::path& root) {
    const auto settings = root / "proc/sys/net/ipv4";
    return largest_of_three(settings / "tcp_wmem") + largest_of_three(settings / "tcp_rmem");
}

std::vector<Bound> bounds(unsigned max_connections, const Cost& cost, unsigned own_processes,
                          const fs::path& root) {
    std::vector<Bound> found;
    const auto look = [&](std::string name, std::optional<std::uint64_t> is, std::uint64_t each,
                          std::uint64_t others, bool hard, std::string consequence) {
        if (is) {
            const auto allows = *is > others ? (*is - others) / each : 0;
            if (allows < max_connections) {
                found.push_back({std::move(name), *is, allows, hard, std::move(consequence)});
            }
        }
    };
    constexpr bool hard = true;
    constexpr const char* raise_it = "no more are accepted; raise it";
    look("RLIMIT_NPROC", hard_limit(RLIMIT_NPROC), 1, own_processes + 1, hard, // and the log relay,
         "no more are accepted; raise it (LimitNPROC=)");
    look("RLIMIT_SIGPENDING", hard_limit(RLIMIT_SIGPENDING), 1, 0, !hard,
         "with more, ends of cells are noticed late; raise it (LimitSIGPENDING=)");
    look("kernel.pid_max", number_in(root / "proc/sys/kernel/pid_max"), 1, processes_of_others, hard,
         raise_it);
    look("kernel.threads-max", number_in(root / "proc/sys/kernel/threads-max"), 1, processes_of_others, hard,
         raise_it);
    if (const auto processes = least_processes(cgroups(root, "pids"), own_processes)) {
        look("pids.max", processes->max, 1, processes->others, hard,
             "no more are accepted; raise it (TasksMax=)");
    }
    const std::string memory =
        fmt::format("at {} KiB a connection whose buffers are full ({} KiB an idle one)", cost.worst / kib,
                    cost.idle / kib);
    const std::string enforced =
        memory + ": no more are accepted; raise it (MemoryMax=), or lower --socket-buffer";
    look("memory.max", least_in(cgroups(root, "memory"), "memory.max"), cost.worst, memory_of_ours, hard,
         enforced);
    look("memory.limit_in_bytes", least_in(cgroups(root, "memory"), "memory.limit_in_bytes"), cost.worst,
         memory_of_ours, hard, enforced);
    look("available memory", available_memory(root / "proc/meminfo"), cost.worst, memory_of_ours, !hard,
         memory + ": more can exhaust it; lower --max-connections or --socket-buffer");
    std::stable_sort(found.begin(), found.end(),
                     [](const Bound& a, const Bound& b) { return a.allows < b.allows; });
    return found;
}

std::string low_memory_limit() {
    constexpr rlim_t ample = 64 * kib * kib; // a listener maps 2 MiB, with content up to 20 MiB
    constexpr rlim_t ample_stack = 256 * kib;
    const std::tuple<__rlimit_resource, const char*, rlim_t> limits[] = {
        {RLIMIT_AS, "RLIMIT_AS", ample},
        {RLIMIT_DATA, "RLIMIT_DATA", ample},
        {RLIMIT_STACK, "RLIMIT_STACK", ample_stack}};
    for (const auto& [resource, name, enough] : limits) {
        if (const auto limit = hard_limit(resource); limit && *limit < enough) {
            return fmt::format("{} ({})", name, *limit);
        }
    }
    return {};
}

void raise_cpu_time() {
    const auto hard = hard_limit(RLIMIT_CPU);
    if (hard && *hard <= 1) {
        die(ExitCode::Config,
            "RLIMIT_CPU (LimitCPU=, ulimit -t) is %llu s, not more than the least limit of a cell, 1 s; "
            "raise it "
            "above --cpu-limit",
            static_cast<unsigned long long>(*hard));
    }
    if (hard) {
        raise_soft_limit(RLIMIT_CPU, "RLIMIT_CPU");
    }
}

std::string cpu_time_warning() {
    const auto seconds = hard_limit(RLIMIT_CPU);
    return !seconds || *seconds == RLIM_INFINITY
               ? std::string{}
               : fmt::format("RLIMIT_CPU is {} s: the kernel ends cloisterd, and each listener, after so "
                             "much CPU time; "
                             "raise it (LimitCPU=, ulimit -t)",
                             *seconds);
}

unsigned allowed_connections(unsigned max_connections, const std::vector<Bound>& bounds) {
    std::uint64_t allowed = max_connections;
    for (const Bound& bound : bounds) {
        allowed = bound.hard ? std::min(allowed, bound.allows) : allowed;
    }
    return static_cast<unsigned>(std::max<std::uint64_t>(allowed, 1));
}

std::vector<unsigned> shares(const std::vector<unsigned>& wanted, unsigned allowed) {
    const auto total = std::accumulate(wanted.begin(), wanted.end(), std::uint64_t{0});
    std::vector<unsigned> found;
    for (const std::uint64_t one : wanted) {
        const std::uint64_t share = total <= allowed ? one : one * allowed / total;
        found.push_back(static_cast<unsigned>(std::max<std::uint64_t>(share, 1)));
    }
    return found;
}

} // namespace cloister::supervisor
