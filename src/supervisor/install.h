// SPDX-License-Identifier: MIT
#pragma once

#include "config/options.h"
#include "supervisor/sockets.h"

namespace cloister::supervisor {

/// What is read and executed, from where cloisterd itself is: no path is compiled in but that of the
/// configuration file, /etc/cloister/cloister.toml, and none is relative. In a build tree (CMakeCache.txt
/// above bin/): the listener beside cloisterd, the policies of the sources, no such file. Installed
/// (PREFIX/bin or PREFIX/sbin): PREFIX/libexec/cloister/cloister-listener, PREFIX/share/cloister/policy.
/// Without /proc, by which a process knows where its program is, there is neither.
[[nodiscard]] config::Surroundings installed_surroundings();

/// False in a build tree.
[[nodiscard]] bool is_installed();

/// cloister-listener, to be executed (O_PATH). As root, that file and cloisterd's must be ones that root
/// alone can change or replace (trust::Rule). Failure: SystemCall, NoInput, NotPermitted.
[[nodiscard]] tl::expected<Fd, Failure> open_listener_binary();

} // namespace cloister::supervisor
