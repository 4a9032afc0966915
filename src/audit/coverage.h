// SPDX-License-Identifier: MIT
#pragma once

#include "audit/strace_log.h"
#include "policy/compile.h"
#include "policy/policy.h"

#include <set>

/// Which parts of a policy the calls of a log use.
namespace cloister::audit {

struct ConditionUse {
    std::size_t held = 0;
    std::size_t failed = 0;
    std::size_t unknown = 0;        ///< the value is not in the log
    std::set<std::uint64_t> values; ///< with which it held; at most max_values
    std::uint64_t largest = 0;      ///< of these
    static constexpr std::size_t max_values = 8;
};
struct RuleUse {
    std::size_t used = 0;     ///< calls to which it applies
    std::size_t possibly = 0; ///< to which it applies or not: an argument is not known
    std::vector<ConditionUse> conditions;
};

/// Calls that the policy does not allow, of one name and one ABI.
struct Denied {
    std::string call;
    policy::Abi abi;
    std::string action;
    std::size_t times = 0;
    std::size_t possibly = 0;
    unsigned line = 0;   ///< of the first
    std::string example; ///< as it stands there
};

/// Of a conditional jump: whether it was taken, and whether it was passed.
struct BranchUse {
    std::size_t at;
    bool taken = false;
    bool passed = false;
};

struct Coverage {
    std::size_t calls = 0;
    std::size_t undecided = 0; ///< calls of which the log does not tell enough
    std::vector<RuleUse> rules;
    std::vector<Denied> denied;
    std::vector<BranchUse> branches;
    std::set<std::string> unknown_arguments; ///< "openat filename: …": why a value is not known
};

[[nodiscard]] Coverage coverage(const policy::Policy& policy, policy::Arch arch,
                                const policy::Bindings& bindings, const policy::Program& program,
                                const std::vector<TracedCall>& calls);

} // namespace cloister::audit
