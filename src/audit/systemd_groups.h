// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string_view>

namespace cloister::audit {

/// A group of calls of systemd.exec(5), SystemCallFilter=.
struct SystemdGroup {
    std::string_view name;    ///< "@default"
    std::string_view members; ///< calls and groups, separated by spaces
};

/// Those of systemd 252.
[[nodiscard]] std::span<const SystemdGroup> systemd_groups();

} // namespace cloister::audit
