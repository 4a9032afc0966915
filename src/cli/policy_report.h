// SPDX-License-Identifier: MIT
#pragma once

#include "policy/policy.h"

#include <nlohmann/json.hpp>
#include <string>

/// A policy in plain words and as JSON.
namespace cloister::tool {

/// "fd is 0", "len is at most SIZE (65536)"
[[nodiscard]] std::string in_words(const policy::Policy& policy, const policy::Parameter& parameter,
                                   const policy::Condition& condition);
/// "len <= SIZE", as the policy writes it
[[nodiscard]] std::string as_written(const policy::Parameter& parameter, const policy::Condition& condition);
[[nodiscard]] std::string in_words(const policy::Policy& policy, policy::Arch arch);
[[nodiscard]] nlohmann::json as_json(const policy::Policy& policy, policy::Arch arch);
[[nodiscard]] nlohmann::json as_json(const policy::Error& error);

} // namespace cloister::tool
