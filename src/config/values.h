// SPDX-License-Identifier: MIT
#pragma once

#include "config/options.h"

#include <string>

namespace cloister::config {

/// Why a value can't be used and what to give instead; the caller names option and value.
struct Refusal {
    ExitCode code;
    std::string why;
};
/// What every read_…() returns: nothing when it has set its last argument.
using Verdict = std::optional<Refusal>;

[[nodiscard]] Verdict read_address(const std::string& text, std::vector<Address>& into); ///< appends
[[nodiscard]] Verdict read_user(const std::string& text, std::optional<User>& into,
                                std::vector<std::string>& warnings);
[[nodiscard]] Verdict read_path(const std::string& text, std::filesystem::path& into);
[[nodiscard]] Verdict read_file(const std::string& text, std::filesystem::path& into);
/// [a-z0-9][a-z0-9-]{0,31}: whether there is such a handler is not known here.
[[nodiscard]] Verdict read_handler(const std::string& text, std::string& into);
[[nodiscard]] Verdict read_content_after(const std::string& text, bool& after_request);
[[nodiscard]] Verdict read_max_connections(const std::string& text, unsigned& into);
[[nodiscard]] Verdict read_log_format(const std::string& text, LogFormat& into);

/// 64K, 1M: 4K to 64M, in bytes; auto: nothing.
[[nodiscard]] Verdict read_buffer_size(const std::string& text, std::optional<unsigned>& into);

/// 500ms, 10s, 2m, 1h: at least one of what `into` counts in, at most `longest`.
[[nodiscard]] Verdict read_duration(const std::string& text, std::chrono::milliseconds longest,
                                    std::chrono::milliseconds& into);
[[nodiscard]] Verdict read_duration(const std::string& text, std::chrono::milliseconds longest,
                                    std::chrono::seconds& into);

} // namespace cloister::config
