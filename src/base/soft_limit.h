// SPDX-License-Identifier: MIT
#pragma once

#include "base/die.h"

#include <cerrno>
#include <sys/resource.h>

namespace cloister {

/// Raises a soft limit to the hard one (setrlimit(2)): only the hard limit expresses the administrator's
/// intent. Dies (NotPermitted) if the kernel refuses.
inline void raise_soft_limit(__rlimit_resource resource, const char* name) {
    rlimit limit{};
    if (getrlimit(resource, &limit) == 0) {
        const bool is_low = limit.rlim_cur != limit.rlim_max;
        limit.rlim_cur = limit.rlim_max;
        if (!is_low || setrlimit(resource, &limit) == 0) {
            return;
        }
    }
    die(ExitCode::NotPermitted, "cannot raise %s to its hard limit: prlimit64: %s", name, error_text(errno));
}

} // namespace cloister
