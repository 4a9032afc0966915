// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string_view>

/// How a text stands in the log: one rule for the records of supervisor and listener, so that a name reads
/// the same in both. Allocates nothing, needs no locale.
namespace cloister {

/// The length of the UTF-8 sequence that `text` starts with; 0 when it is not one (RFC 3629: no overlong
/// forms, no surrogates, nothing above U+10FFFF).
[[nodiscard]] std::size_t utf8_length(std::string_view text);

/// Room for the longest escape, `\u0000`.
using Escape = char[6];

/// Takes the first character off `text`, which is not empty, and gives it as it stands between the quotes of
/// JSON: UTF-8 unchanged, each byte that is none as U+FFFD, control characters escaped, the C1 ones (U+0080
/// to U+009F) too: a terminal obeys those as well. The result lies in the text itself only if it is
/// unchanged; otherwise it may lie in `escape`.
[[nodiscard]] std::string_view take_escaped(std::string_view& text, Escape& escape);

/// Whether logfmt needs no quotes around it: it is not empty, holds no space and no '=', and stays unchanged.
[[nodiscard]] bool is_bare(std::string_view text);

} // namespace cloister
