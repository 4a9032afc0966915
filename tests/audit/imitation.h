// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

namespace cloister::audit {

/// What is wrong with the imitated cell, and with nothing else of the family.
enum class Flaw {
    none,
    no_filter,
    extra_filter,
    capability, ///< CAP_NET_RAW, permitted and effective
    descriptor, ///< /etc/passwd at 7
    writable_code,
    new_privileges, ///< it may gain some by execve
    group,          ///< another one than the supervisor's
    handled_signal,
    child,
};

/// Three processes that imitate a supervisor, its listener and a cell: their names, their place in the tree,
/// user, capabilities, descriptors, and a filter each, which allows all. They are this test program, so
/// memory and filter are not those of cloister. Only root can make them.
class Imitation {
  public:
    explicit Imitation(Flaw flaw);
    ~Imitation();
    Imitation(const Imitation&) = delete;
    Imitation& operator=(const Imitation&) = delete;
    [[nodiscard]] pid_t supervisor() const { return supervisor_; }

  private:
    pid_t supervisor_ = -1;
};

} // namespace cloister::audit
