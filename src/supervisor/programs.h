// SPDX-License-Identifier: MIT
#pragma once

#include "cell/cell.h"
#include "policy/combine.h"
#include "supervisor/log.h"
#include "supervisor/sockets.h"

#include <filesystem>
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
    const char* place;
};
inline constexpr PolicyFile shared_policies[] = {
    {"listener", "listener_return"}, {"clone", "clone_return"}, {"setup", "setup_return"}};

/// The log relay's policy, below the same directory.
inline constexpr const char* relay_policy_file = "processes/relay.policy";

/// Opened, not read yet: the handler's, then shared_policies, then relay_policy_file.
struct OpenedPolicies {
    struct File {
        Fd fd;
        std::filesystem::path path;
        const char* place; ///< of PolicyFile; empty: it has no 'at'
    };
    std::vector<File> files;
};

/// Opens the handler's policy, and shared_policies and relay_policy_file in `dir` (both absolute) by
/// trust::Rule: what only root can change, or our user; as root, `user` instead, and then with this user's
/// rights (AsUser). Failure: NoInput or BadPolicy.
[[nodiscard]] tl::expected<OpenedPolicies, Failure> open_policies(const std::filesystem::path& dir,
                                                                  const std::filesystem::path& handler,
                                                                  const std::optional<config::User>& user);

/// Parses them, and proves their test lines. Not as root. Failure: BadPolicy.
[[nodiscard]] tl::expected<Policies, Failure> load_policies(const OpenedPolicies& opened);

/// Where a listener has what the policies speak of.
struct Places {
    const cell::Arena* arena;
    cell::CallSites call_sites;
};

/// Compiles the policies for these places, combines them, and proves bytes = text. Failure: BadPolicy, with a
/// witness.
[[nodiscard]] tl::expected<policy::Program, Failure> compile_and_prove(const Policies& policies,
                                                                       const Places& places);

/// The relay's policy, compiled and proved. Failure: BadPolicy.
[[nodiscard]] tl::expected<policy::Program, Failure> relay_program(const Policies& policies);

/// Like any listener's, to prove with before there is one.
[[nodiscard]] Places sample_places();

} // namespace cloister::supervisor
