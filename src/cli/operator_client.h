// SPDX-License-Identifier: MIT
#pragma once

#include "control/operator.h"

#include <string>
#include <vector>

namespace cloister::tool {

/// Asks the cloisterd whose control socket is `path` (empty: the default one), and returns its replies but
/// for the last, the end, which `end` becomes. Ends the command with 69 when nobody answers, 77 when we may
/// not ask, 65 when what comes is no answer. `limit_ms`: for the whole answer.
[[nodiscard]] std::vector<control::Reply> ask_daemon(const std::string& path, const control::Request& request,
                                                     int limit_ms, control::Reply::End& end);

} // namespace cloister::tool
