// SPDX-License-Identifier: MIT
#pragma once

#include <string>

/// The subcommands that ask a running cloisterd; each returns the exit code. `socket`: its control socket;
/// empty: the default one.
namespace cloister::tool {

[[nodiscard]] int show_status(const std::string& socket, bool watch, bool json);
[[nodiscard]] int reload(const std::string& socket);
[[nodiscard]] int explain(const std::string& socket, const std::string& client, bool json);

} // namespace cloister::tool
