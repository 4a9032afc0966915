// SPDX-License-Identifier: MIT
#pragma once

#include "policy/names.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

/// The calls in a log of strace(1). Best read is `strace -f -n -e raw=all -o LOG PROGRAM`: the number of each
/// call, and all arguments as numbers.
namespace cloister::audit {

struct TracedCall {
    unsigned line = 0; ///< from 1; of an interrupted call, where it begins
    policy::Abi abi = policy::abi_of(policy::native_arch);
    std::string name;
    std::optional<std::uint32_t> number; ///< with strace -n, or of a call that strace has no name for
    std::vector<std::string> arguments;  ///< as written
};

struct StraceLog {
    std::vector<TracedCall> calls;
    struct Line {
        unsigned number;
        std::string why;
    };
    std::vector<Line> not_understood;
};

/// Accepts what the options -f, -ff, -t, -tt, -ttt, -r, -T, -n, -i, -y, -yy, -X and -e raw add, and calls
/// that are interrupted by those of other threads (`<unfinished ...>`).
[[nodiscard]] StraceLog parse_strace(std::string_view text);

/// The value of an argument as the kernel got it, all 64 bits, if it can be known from its text. A pointer to
/// what strace shows instead of it cannot; nor can the upper half of a negative `int`.
[[nodiscard]] tl::expected<std::uint64_t, std::string> value_of(std::string_view argument, bool is_int);

} // namespace cloister::audit
