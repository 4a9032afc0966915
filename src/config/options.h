// SPDX-License-Identifier: MIT
#pragma once

#include "base/exit_code.h"
#include "config/model.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <sys/types.h>
#include <tl/expected.hpp>
#include <unistd.h>
#include <vector>

namespace cloister::config {

/// Nothing to run: print `out` to stdout or `err` to stderr (both end in a newline) and exit with `code`.
struct Exit {
    ExitCode code;
    std::string out, err;
};

/// What the command line is read against.
struct Surroundings {
    tl::expected<std::filesystem::path, std::string> default_policy_dir; ///< or why it is not known
    std::function<std::string(const std::filesystem::path& policy_dir)> version_text;
    uid_t euid = ::geteuid();
    std::function<const char*(const char*)> environment = ::getenv;
};

/// Option over environment (CLOISTER_IDLE_TIMEOUT for --idle-timeout; an empty one counts as unset) over
/// default.
[[nodiscard]] tl::expected<Config, Exit> parse_options(int argc, const char* const* argv,
                                                       const Surroundings& surroundings);

} // namespace cloister::config
