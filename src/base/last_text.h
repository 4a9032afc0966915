// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

namespace cloister {

/// For a process that ends, and says why: writes `text` to standard error, and waits for that a second at
/// most, since it may be a pipe that is full, a terminal that is stopped, or a file on a file system that is
/// frozen. A child process writes. If it takes longer, it goes on after our end; it holds no other
/// descriptor, and any signal ends it.
void write_last_text(std::string_view text);

} // namespace cloister
