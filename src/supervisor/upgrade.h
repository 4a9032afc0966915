// SPDX-License-Identifier: MIT
#pragma once

#include "supervisor/handover.h"

#include <chrono>
#include <filesystem>
#include <string>
#include <sys/types.h>

namespace cloister::supervisor {

/// Our new binary, while it is tried: `cloisterd --check` with our own options, by the descriptor by which it
/// is executed afterwards. It must say that it can take over our state.
class NewBinary {
  public:
    /// Opens what lies where we were started from, and starts the trial.
    [[nodiscard]] static tl::expected<NewBinary, Failure> try_out(const std::filesystem::path& path,
                                                                  const char* const* arguments);

    [[nodiscard]] pid_t trial() const { return pid_; }
    /// The trial has ended so (waitpid(2)): what speaks against the binary; empty: nothing.
    [[nodiscard]] std::string judge(int status);
    [[nodiscard]] bool is_over_time() const { return std::chrono::steady_clock::now() > deadline_; }

    /// In this process, with `state`. Returns only if that fails.
    [[nodiscard]] Failure execute(const Handover& state, const char* const* arguments);

  private:
    NewBinary(Fd file, Fd output, pid_t pid)
        : file_{std::move(file)}, output_{std::move(output)}, pid_{pid} {}

    static constexpr std::chrono::seconds patience{60}; ///< until it is executed
    Fd file_;
    Fd output_; ///< of the trial
    pid_t pid_;
    std::chrono::steady_clock::time_point deadline_ = std::chrono::steady_clock::now() + patience;
};

} // namespace cloister::supervisor
