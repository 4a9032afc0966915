// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

namespace cloister::live {

/// A control group of our own, of either version (cgroups(7)), to start a daemon in. Removed at the end, when
/// nobody may be left in it. `controller` is memory or pids.
class ControlGroup {
  public:
    /// Why there can be none; empty: there can.
    [[nodiscard]] static std::string unavailable(const std::string& controller);

    /// With that limit: bytes, none of which may be swapped out, or processes.
    ControlGroup(std::string controller, std::uint64_t limit);
    ~ControlGroup();
    ControlGroup(const ControlGroup&) = delete;
    ControlGroup& operator=(const ControlGroup&) = delete;

    /// To write process numbers to.
    [[nodiscard]] std::string procs() const { return path_ + "/cgroup.procs"; }
    /// What the file of the limit is called: memory.max.
    [[nodiscard]] std::string limit_name() const;
    [[nodiscard]] std::uint64_t used() const;
    [[nodiscard]] std::uint64_t most_used() const;
    /// Processes that were killed since memory had run out.
    [[nodiscard]] std::uint64_t killed() const;
    /// Forks that failed at pids.max.
    [[nodiscard]] std::uint64_t failed_forks() const;

  private:
    std::string controller_;
    bool second_version_;
    std::string path_;

    void write(const std::string& file, std::uint64_t number) const;
    [[nodiscard]] std::uint64_t number_after(const std::string& file, const std::string& word) const;
};

} // namespace cloister::live
