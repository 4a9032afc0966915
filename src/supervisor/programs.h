// SPDX-License-Identifier: MIT
#pragma once

#include "cell/cell.h"
#include "policy/combine.h"
#include "supervisor/log.h"
#include "supervisor/sockets.h"

#include <filesystem>
#include <map>
#include <tl/expected.hpp>

namespace cloister::supervisor {

/// The policies that cloisterd enforces, parsed, their test lines proved, and combined: one program for the
/// listener and all its cells.
struct Policies {
    policy::Combined combined;
    policy::Policy relay;                   ///< the log relay's, a program of its own
    [[nodiscard]] StringMap hashes() const; ///< SHA-256 of each file's text, by name
};

/// The files of a policy directory that all handlers share: their names before ".policy", and the parameter
/// of their 'at'.
struct PolicyFile {
    const char* name;
    const char* call_site;
};
inline constexpr PolicyFile shared_policies[] = {
    {"listener", "listener_return"}, {"clone", "clone_return"}, {"setup", "setup_return"}};

/// The log relay's policy, below the same directory.
inline constexpr const char* relay_policy_file = "processes/relay.policy";

/// The policy files of handlers, by the handler's name; absolute.
using HandlerPolicies = std::map<std::string, std::filesystem::path>;

/// Opened, not read yet.
struct OpenedPolicies {
    struct File {
        Fd fd;
        std::filesystem::path path;
        const char* call_site; ///< of PolicyFile; empty: it has no 'at'
    };
    std::map<std::string, File> handlers;
    std::vector<File> shared; ///< shared_policies, then relay_policy_file
};

/// Opens the policies of these handlers, and shared_policies and relay_policy_file in `dir` (absolute), by
/// trust::Rule: what only root can change, or our user; as root, `user` instead, and then with this user's
/// rights (AsUser). Failure: NoInput or BadPolicy.
[[nodiscard]] tl::expected<OpenedPolicies, Failure> open_policies(const std::filesystem::path& dir,
                                                                  const HandlerPolicies& handlers,
                                                                  const std::optional<config::User>& user);

/// Parses each once, and proves its test lines. Not as root. By the handler's name. Failure: BadPolicy.
[[nodiscard]] tl::expected<std::map<std::string, Policies>, Failure>
load_policies(const OpenedPolicies& opened);

/// Where a listener has what the policies speak of.
struct Addresses {
    const cell::Arena* arena;
    cell::CallSites call_sites;
};

/// Compiles the policies for these addresses, combines them, and proves bytes = text. Failure: BadPolicy,
/// with a witness.
[[nodiscard]] tl::expected<policy::Program, Failure> compile_and_prove(const Policies& policies,
                                                                       const Addresses& addresses);

/// The relay's policy, compiled and proved. Failure: BadPolicy.
[[nodiscard]] tl::expected<policy::Program, Failure> relay_program(const Policies& policies);

/// Like any listener's, to prove with before there is one.
[[nodiscard]] Addresses sample_addresses();

} // namespace cloister::supervisor
