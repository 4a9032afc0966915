// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <sys/types.h>
#include <vector>

/// What /proc says about processes. Of a process that is gone all of it is empty.
namespace cloister::live {

using namespace std::chrono_literals;

/// Looks again and again until `condition` holds or the time is over; returns its last answer.
[[nodiscard]] bool within(std::chrono::milliseconds limit, const std::function<bool()>& condition);

[[nodiscard]] bool am_root();

[[nodiscard]] std::vector<pid_t> children_of(pid_t parent);
/// The fields of /proc/PID/status, values without leading blanks.
[[nodiscard]] std::map<std::string, std::string> status_of(pid_t pid);
/// Running, sleeping or stopped; not gone, not a zombie.
[[nodiscard]] bool is_alive(pid_t pid);
[[nodiscard]] char state_of(pid_t pid);
[[nodiscard]] long resident_kib(pid_t pid);
/// Numbers in /proc/PID/fd. Only root may look into processes that can't be dumped.
[[nodiscard]] std::vector<int> descriptors_of(pid_t pid);
[[nodiscard]] std::string read_file(const std::string& path);

struct Mapping {
    std::uint64_t start;
    std::uint64_t end;
    std::string permissions;
    std::string name;
};
[[nodiscard]] std::vector<Mapping> mappings_of(pid_t pid);

/// What a program did that was run to its end.
struct Outcome {
    int exit_code; ///< negative: the signal that ended it, or -1000 when it had to be killed after 30 s
    std::string out;
    std::string err;
};
[[nodiscard]] Outcome run_program(const std::vector<std::string>& command, const std::string& input = {});

/// A program beside ours, killed at the latest with this object.
class Background {
  public:
    explicit Background(const std::vector<std::string>& command);
    ~Background();
    Background(const Background&) = delete;
    Background& operator=(const Background&) = delete;
    [[nodiscard]] pid_t pid() const { return pid_; }
    /// Asks it to end with `signal` and waits.
    void end(int signal);

  private:
    pid_t pid_;
};

[[nodiscard]] bool is_installed(const std::string& program);

/// Where cloisterd, cloister-load and we ourselves lie.
[[nodiscard]] std::string program_path(const std::string& name);

/// A directory that is removed with all that is in it. Others may search it: the daemon has another user.
class TemporaryDirectory {
  public:
    TemporaryDirectory();
    ~TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_;
};

} // namespace cloister::live
