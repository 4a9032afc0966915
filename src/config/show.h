// SPDX-License-Identifier: MIT
#pragma once

#include "config/model.h"

#include <string>
#include <tl/expected.hpp>

namespace cloister::config {

/// The configuration as a file that has the same effect, each value with its origin behind it. Defaults are
/// comments, for a later version may have others, and a default address gives way to sockets that are passed.
/// The error names a text that no file can have.
[[nodiscard]] tl::expected<std::string, std::string> show(const Config& config);

} // namespace cloister::config
