// SPDX-License-Identifier: MIT
#pragma once

#include "base/log_format.h"
#include "config/address.h"

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

/// What cloisterd is to do, wherever it was said.
namespace cloister::config {

constexpr size_t max_listening_sockets = 64;       ///< of a service: control::max_listening_sockets
constexpr unsigned max_max_connections = 1U << 20; ///< control::connection_limit

/// Whom cloisterd becomes. Never root, neither user nor group.
struct User {
    uid_t uid;
    gid_t gid;
    std::string name; ///< the number, where there is no account
};

/// Sockets, a handler and limits. Each service has a listener process of its own.
struct Service {
    std::string name = "echo";
    std::string handler = "echo"; ///< what a cell does with its connection
    std::vector<Address> listen;
    bool listen_given = false; ///< not the default address
    unsigned max_connections = 1000;
    std::chrono::milliseconds idle_timeout = std::chrono::seconds{60};
    std::chrono::milliseconds lifetime = std::chrono::minutes{10};
    std::chrono::milliseconds drain_timeout = std::chrono::seconds{30};
    std::chrono::seconds cpu_limit{10};
    std::optional<unsigned> socket_buffer = 256U * 1024; ///< bytes, as setsockopt(2) takes them; none: 'auto'
    bool socket_buffer_given = false;
    std::filesystem::path content;      ///< absolute: what a handler serves that serves a file; empty: none
    bool content_after_request = false; ///< to a client that has sent an empty line, not at once
};

struct Config {
    std::vector<Service> services; ///< at least one
    std::optional<User> user;
    std::filesystem::path policy_dir; ///< absolute
    LogFormat log_format = LogFormat::json;
    bool check = false;                ///< check options and policies, and exit
    std::vector<std::string> warnings; ///< sentences for the log
};

} // namespace cloister::config
