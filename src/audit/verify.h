// SPDX-License-Identifier: MIT
#pragma once

#include "audit/filters.h"
#include "policy/combine.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

/// Whether the processes of a running cloisterd are confined as the policy files and docs/ARCHITECTURE.md
/// say. It changes nothing; each process is stopped for the moment in which its filters are read.
namespace cloister::audit {

struct Check {
    enum class Result { match, mismatch, unknown };
    std::string name;
    Result result = Result::match;
    std::string expected; ///< where it is a mismatch
    std::string found;    ///< of an unknown one: why
};

enum class Role { supervisor, relay, listener, cell, stranger };
[[nodiscard]] const char* to_string(Role role);

struct ProcessReport {
    pid_t pid = 0;
    Role role = Role::stranger;
    std::string service; ///< of a listener and its cells
    std::string handler; ///< empty: not known
    bool ended = false;  ///< while it was looked at: there are no checks then
    std::vector<Check> checks;
    policy::Bindings bindings; ///< of its filter, proved
};

/// The policies to compare with.
struct Reference {
    /// Those of a handler, combined, or why there are none.
    std::function<Told<const policy::Combined*>(const std::string& handler)> of_handler;
    std::optional<policy::Policy> relay;
};

/// The process and those below it: of a supervisor its relay, listeners and their cells, of a listener its
/// cells. Cells come and go: one that has ended is no mismatch, and one that is being set up, or whose
/// listener starts, is looked at again for up to two seconds.
[[nodiscard]] Told<std::vector<ProcessReport>> verify(pid_t pid, const Reference& reference);

} // namespace cloister::audit
