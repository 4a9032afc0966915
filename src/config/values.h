// SPDX-License-Identifier: MIT
#pragma once

#include "base/exit_code.h"
#include "config/spec.h"

#include <string>
#include <tl/expected.hpp>

namespace cloister::config {

/// A text as options, environment and file have it: 500ms, 10s, 2m, 1h; 64K, 1M, auto; the error says what is
/// wrong with it and what to give instead. Pure: addresses, users and paths are looked up below.
[[nodiscard]] tl::expected<Value, std::string> parse_value(const Spec& spec, const std::string& text);

/// Why a value can't be used and what to give instead; the caller names where it stands, and the value.
struct Refusal {
    ExitCode code;
    std::string why;
};
/// What every read_…() returns: nothing when it has set its last argument.
using Verdict = std::optional<Refusal>;

[[nodiscard]] Verdict read_address(const std::string& text, std::vector<Address>& into);        ///< appends
[[nodiscard]] Verdict read_source(const std::string& text, std::vector<control::Source>& into); ///< likewise
/// `said`: "--user", as warnings name it.
[[nodiscard]] Verdict read_user(const std::string& text, std::string_view said, std::optional<User>& into,
                                std::vector<std::string>& warnings);
[[nodiscard]] Verdict read_path(const std::string& text, std::filesystem::path& into);

} // namespace cloister::config
