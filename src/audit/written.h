// SPDX-License-Identifier: MIT
#pragma once

#include "policy/compile.h"

#include <span>
#include <string>

/// Filters of any origin as a text of our language, which is equivalent to them.
namespace cloister::audit {

struct Written {
    std::string text;    ///< a policy file; empty: refused
    std::string refusal; ///< why these filters cannot be said in the language
};

/// `name`: of the policy; `origin`: where they come from, one line for a comment. The filters of one process,
/// oldest first. The text lists the ABIs for which the filters do more than for an unknown one. Throws what
/// Meaning::of_filters throws.
[[nodiscard]] Written written(std::span<const policy::Program> oldest_first, policy::Arch arch,
                              std::string_view name, std::string_view origin);

} // namespace cloister::audit
