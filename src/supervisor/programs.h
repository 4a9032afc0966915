// SPDX-License-Identifier: MIT
#pragma once

#include "policy/compile.h"
#include "policy/policy.h"
#include "supervisor/sockets.h"

#include <cstdint>
#include <filesystem>
#include <tl/expected.hpp>

namespace cloister::supervisor {

/// The policies that cloisterd enforces, parsed and checked: the test lines hold, the cell's is under the
/// listener's.
struct Policies {
    policy::Policy connection;
    policy::Policy listener;
};

/// Reads `dir`/connection.policy and `dir`/listener.policy. Failure: NoInput or BadPolicy.
[[nodiscard]] tl::expected<Policies, Failure> load_policies(const std::filesystem::path& dir);

struct Programs {
    policy::Program connection;
    policy::Program listener;
};

/// Compiles both for cells whose memory lies at `layout`, and proves bytes = text. Failure: BadPolicy, with a
/// witness.
[[nodiscard]] tl::expected<Programs, Failure> compile_and_prove(const Policies& policies,
                                                                std::uint64_t layout);

/// An address like any layout has, to prove with before there is a listener.
inline constexpr std::uint64_t sample_layout = 0x5555'5540'0000;

} // namespace cloister::supervisor
