// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

namespace cloister::policy {

/// SHA-256 in lower-case hex.
[[nodiscard]] std::string sha256_hex(std::string_view bytes);

} // namespace cloister::policy
