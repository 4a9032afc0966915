// SPDX-License-Identifier: MIT
#include "supervisor/limits.h"

#include <algorithm>
#include <fmt/core.h>
#include <fstream>
#include <sstream>
#include <sys/resource.h>

namespace cloister::supervisor {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t processes_of_others = 256; // a system is never without

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
        std::uint64_t kib = 0;
        if (words >> name >> kib && name == "MemAvailable:") {
            return kib * 1024;
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

std::optional<std::uint64_t> hard_limit(__rlimit_resource resource) {
    rlimit have{};
    return getrlimit(resource, &have) == 0 ? std::optional<std::uint64_t>{have.rlim_max} : std::nullopt;
}

} // namespace

std::vector<Bound> bounds(unsigned max_connections, const fs::path& root) {
    std::vector<Bound> found;
    const auto look = [&](std::string name, std::optional<std::uint64_t> is, std::uint64_t each,
                          std::uint64_t others, std::string consequence) {
        if (is) {
            const auto allows = *is > others ? (*is - others) / each : 0;
            if (allows < max_connections) {
                found.push_back({std::move(name), *is, allows, std::move(consequence)});
            }
        }
    };
    constexpr const char* resets = "more clients will be reset; raise it";
    constexpr std::uint64_t ours = 2; // supervisor and listener
    look("RLIMIT_NPROC", hard_limit(RLIMIT_NPROC), 1, ours,
         "more clients will be reset; raise it (LimitNPROC=)");
    look("RLIMIT_SIGPENDING", hard_limit(RLIMIT_SIGPENDING), 1, 0,
         "ends of cells will be noticed late; raise it (LimitSIGPENDING=)");
    look("kernel.pid_max", number_in(root / "proc/sys/kernel/pid_max"), 1, processes_of_others, resets);
    look("kernel.threads-max", number_in(root / "proc/sys/kernel/threads-max"), 1, processes_of_others,
         resets);
    look("pids.max", least_in(cgroups(root, "pids"), "pids.max"), 1, ours,
         "more clients will be reset; raise it (TasksMax=)");
    constexpr const char* memory = "more connections can exhaust memory; lower --max-connections";
    look("memory.max", least_in(cgroups(root, "memory"), "memory.max"), connection_cost, 0, memory);
    look("memory.limit_in_bytes", least_in(cgroups(root, "memory"), "memory.limit_in_bytes"), connection_cost,
         0, memory);
    look("available memory", available_memory(root / "proc/meminfo"), connection_cost, 0, memory);
    std::stable_sort(found.begin(), found.end(),
                     [](const Bound& a, const Bound& b) { return a.allows < b.allows; });
    return found;
}

} // namespace cloister::supervisor
