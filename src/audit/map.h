// SPDX-License-Identifier: MIT
#pragma once

#include "audit/difference.h"

/// The system calls of an ABI, and what a filter does with each.
namespace cloister::audit {

enum class State {
    open,        ///< it is made, whatever its arguments and wherever it comes from
    conditional, ///< it depends on arguments, or on the place that it comes from
    closed
};
[[nodiscard]] std::string_view to_string(State state);

struct MappedCall {
    std::string name;
    std::uint32_t number = 0;
    State state = State::closed;
    std::vector<std::string> actions; ///< all that it can meet, the mildest first
};
struct Map {
    policy::Arch arch{};
    std::vector<MappedCall> calls; ///< by number
};

/// `texts`: the policies of a subject that is made of such. Throws as difference() does.
[[nodiscard]] Map map_of(const Subject& subject, policy::Arch arch, const std::vector<policy::Policy>& texts);

[[nodiscard]] std::string as_text(const Map& map);
/// A picture: a cell for each call, with its actions as tooltip. `title` may have any bytes.
[[nodiscard]] std::string as_svg(const Map& map, std::string_view title);

} // namespace cloister::audit
