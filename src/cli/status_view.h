// SPDX-License-Identifier: MIT
#pragma once

#include "control/operator.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

/// The answers of cloisterd, for a person and for a program. Pure.
namespace cloister::tool {

using Replies = std::vector<control::Reply>;

[[nodiscard]] nlohmann::json status_json(const Replies& replies);
[[nodiscard]] nlohmann::json explain_json(const control::Source& source, const Replies& replies);

/// `before`: an earlier answer, `seconds` ago, for what comes per second; empty: there is none.
[[nodiscard]] std::string status_text(const Replies& replies, const Replies& before = {}, double seconds = 0);
[[nodiscard]] std::string explain_text(const control::Source& source, const Replies& replies);

} // namespace cloister::tool
