// SPDX-License-Identifier: MIT
#pragma once

#include "config/options.h"
#include "supervisor/sockets.h"

namespace cloister::supervisor {

/// What is read and executed, from where cloisterd itself is: no path is compiled in but that of the
/// configuration file, /etc/cloister/cloister.toml, and none is relative. In a build tree (CMakeCache.txt
/// above bin/): the listeners beside cloisterd, cloister-listener-NAME for the handler NAME; the policies of
/// the sources; no such file. Installed (PREFIX/bin or PREFIX/sbin): PREFIX/libexec/cloister/handlers/NAME,
/// PREFIX/share/cloister/policy. Without /proc, by which a process knows where its program is, there is
/// neither.
[[nodiscard]] config::Surroundings installed_surroundings();

/// False in a build tree.
[[nodiscard]] bool is_installed();

/// Where cloisterd was executed from, whatever lies there now; empty if that is not known.
[[nodiscard]] std::filesystem::path installed_program();

/// Where cloisterd and the listeners lie, whatever lies there now.
[[nodiscard]] std::vector<std::filesystem::path> program_directories();

/// The listener of that handler, to be executed (O_PATH). As root, that file and cloisterd's must be ones
/// that root alone can change or replace (trust::Rule). Failure: SystemCall, NoInput (which names the
/// handlers that there are), NotPermitted.
[[nodiscard]] tl::expected<Fd, Failure> open_listener_binary(const std::string& handler);

/// Where that handler's policy is: handlers/NAME.policy in the policy directory, or else, as of a handler
/// that was added, NAME.policy beside its listener.
[[nodiscard]] std::filesystem::path handler_policy(const std::filesystem::path& policy_dir,
                                                   const std::string& handler);

} // namespace cloister::supervisor
