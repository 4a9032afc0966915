// SPDX-License-Identifier: MIT
#include "control_group.h"

#include "processes.h"

#include <atomic>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <sys/stat.h>
#include <unistd.h>

namespace cloister::live {
namespace {

namespace fs = std::filesystem;

const fs::path mounted = "/sys/fs/cgroup";

struct Parent {
    fs::path path;
    bool second_version;
};

bool lists(const fs::path& file, const std::string& word) {
    std::istringstream words{read_file(file)};
    for (std::string found; words >> found;) {
        if (found == word) {
            return true;
        }
    }
    return false;
}

/// Where groups with that controller can be made: below our own group, or else at the top. Throws if nowhere.
Parent parent_for(const std::string& controller) {
    std::istringstream lines{read_file("/proc/self/cgroup")};
    for (std::string line; std::getline(lines, line);) { // `4:memory:/a`, `0::/a`
        const auto first = line.find(':');
        const auto second = line.find(':', first + 1);
        const std::string names = line.substr(first + 1, second - first - 1);
        const fs::path ours = fs::path{line.substr(second + 1)}.relative_path();
        if (("," + names + ",").find("," + controller + ",") != std::string::npos) {
            for (const fs::path& path : {mounted / names / ours, mounted / names}) {
                if (fs::exists(path / "cgroup.procs")) {
                    return {path, false};
                }
            }
        }
        if (names.empty()) {
            for (const fs::path& path : {mounted / ours, mounted}) {
                if (lists(path / "cgroup.subtree_control", controller)) {
                    return {path, true};
                }
            }
        }
    }
    throw std::runtime_error(fmt::format("no control group's children have the controller {}", controller));
}

} // namespace

std::string ControlGroup::unavailable(const std::string& controller) {
    if (!am_root()) {
        return "only root can make a control group";
    }
    try {
        const ControlGroup tried{controller, 1000};
        return {};
    } catch (const std::exception& error) {
        return error.what();
    }
}

ControlGroup::ControlGroup(std::string controller, std::uint64_t limit) : controller_{std::move(controller)} {
    static std::atomic<int> count = 0;
    const Parent parent = parent_for(controller_);
    second_version_ = parent.second_version;
    path_ = parent.path / fmt::format("cloister-test-{}-{}", ::getpid(), ++count);
    if (::mkdir(path_.c_str(), 0755) != 0) {
        throw std::runtime_error(fmt::format("no control group {} can be made", path_));
    }
    try {
        write(limit_name(), limit);
    } catch (...) {
        ::rmdir(path_.c_str());
        throw;
    }
    for (const char* swap : {"memory.swap.max", "memory.memsw.limit_in_bytes"}) {
        if (fs::exists(fs::path{path_} / swap)) {
            write(swap, second_version_ ? 0 : limit);
        }
    }
}

ControlGroup::~ControlGroup() {
    (void)within(5s, [this] { return ::rmdir(path_.c_str()) == 0; });
}

std::string ControlGroup::limit_name() const {
    return controller_ == "pids" ? "pids.max" : second_version_ ? "memory.max" : "memory.limit_in_bytes";
}

std::uint64_t ControlGroup::used() const {
    return number_after(controller_ == "pids" ? "pids.current"
                        : second_version_     ? "memory.current"
                                              : "memory.usage_in_bytes",
                        "");
}

std::uint64_t ControlGroup::most_used() const {
    return number_after(second_version_ ? "memory.peak" : "memory.max_usage_in_bytes", "");
}

std::uint64_t ControlGroup::killed() const {
    return number_after(second_version_ ? "memory.events" : "memory.oom_control", "oom_kill");
}

std::uint64_t ControlGroup::failed_forks() const {
    return number_after("pids.events", "max");
}

void ControlGroup::write(const std::string& file, std::uint64_t number) const {
    std::ofstream stream{path_ + "/" + file};
    if (!(stream << number << std::flush)) {
        throw std::runtime_error(fmt::format("{} of {} can't be set to {}", file, path_, number));
    }
}

std::uint64_t ControlGroup::number_after(const std::string& file, const std::string& word) const {
    std::istringstream words{read_file(path_ + "/" + file)};
    std::uint64_t number = 0;
    for (std::string name; name != word && words >> name;) {
    }
    if (!(words >> number)) {
        throw std::runtime_error(fmt::format("no number {} in {} of {}", word, file, path_));
    }
    return number;
}

} // namespace cloister::live
