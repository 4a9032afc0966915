// SPDX-License-Identifier: MIT
#pragma once

#include "config/model.h"
#include "supervisor/failure.h"

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <vector>

namespace cloister::supervisor {

/// Landlock (landlock(7)) around the supervisor, by directories: beneath these, and nowhere else, it may
/// read, execute, and make and remove unix sockets, from the moment when it has given up its privileges, and
/// in all that it starts. A later configuration must do with them. Sockets, signals and processes are not
/// concerned.
struct FileAccess {
    int landlock_abi = 0;                  ///< of the kernel; 0: it has none, and nothing is restricted
    std::vector<std::string> readable{};   ///< configuration, policies, content, and the system's
    std::vector<std::string> bindable{};   ///< of unix sockets
    std::vector<std::string> executable{}; ///< cloisterd and the listeners
    bool operator==(const FileAccess&) const = default;
};

/// Restricts this process to what `config` names, for good, and tries whether it is so. The directory of each
/// file, and not the file, since it may be replaced by another one. `control_path`: of the control socket;
/// empty: none. `programs`: of the listeners, opened. Failure: NotPermitted; SelfTest.
[[nodiscard]] tl::expected<FileAccess, Failure> restrict_file_access(const config::Config& config,
                                                                     const std::string& control_path,
                                                                     std::span<const int> programs);

/// A path of `config` that is not within. Failure: Config.
[[nodiscard]] std::optional<Failure> expect_within(const FileAccess& access, const config::Config& config);
/// The same for the program of a listener.
[[nodiscard]] std::optional<Failure> expect_executable(const FileAccess& access, int program);

} // namespace cloister::supervisor
