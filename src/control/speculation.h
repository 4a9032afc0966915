// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

namespace cloister::control {

/// What holds for one kind of speculation in the listener and its cells.
enum class SpeculationState : std::uint8_t {
    Unknown,     ///< the kernel does not say
    NotAffected, ///< the processor does not have it
    Disabled,    ///< by us, or for all processes
    Vulnerable,  ///< the kernel offers no control here
};
inline constexpr std::string_view speculation_states[] = {"unknown", "not affected", "disabled",
                                                          "vulnerable"};

struct Speculation {
    SpeculationState store_bypass;    ///< PR_SPEC_STORE_BYPASS
    SpeculationState indirect_branch; ///< PR_SPEC_INDIRECT_BRANCH: predictions that another process has made
};

constexpr std::string_view name_of(SpeculationState state) {
    return speculation_states[static_cast<std::uint8_t>(state) & 3U]; // whatever a listener has sent
}

} // namespace cloister::control
