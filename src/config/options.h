// SPDX-License-Identifier: MIT
#pragma once

#include "base/exit_code.h"
#include "base/log_format.h"
#include "config/address.h"

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

namespace cloister::supervisor {

constexpr size_t max_listeners = 64;
constexpr unsigned max_max_connections = 1U << 20; ///< plan::connection_limit

/// Whom cloisterd becomes. Never root, neither user nor group.
struct User {
    uid_t uid;
    gid_t gid;
    std::string name; ///< the number, where there is no account
};

struct Options {
    std::vector<Address> listen;
    bool listen_given = false; ///< on the command line or in the environment
    std::optional<User> user;
    std::filesystem::path policy_dir; ///< absolute
    unsigned max_connections = 1000;
    std::chrono::milliseconds idle_timeout = std::chrono::seconds{60};
    std::chrono::milliseconds lifetime = std::chrono::minutes{10};
    std::chrono::milliseconds drain_timeout = std::chrono::seconds{30};
    std::chrono::seconds cpu_limit{10};
    std::optional<unsigned> socket_buffer = 256U * 1024; ///< bytes, as setsockopt(2) takes them; none: 'auto'
    bool socket_buffer_given = false;
    LogFormat log_format = LogFormat::json;
    bool check = false;
    std::vector<std::string> warnings; ///< sentences for the log
};

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
[[nodiscard]] tl::expected<Options, Exit> parse_options(int argc, const char* const* argv,
                                                        const Surroundings& surroundings);

} // namespace cloister::supervisor
