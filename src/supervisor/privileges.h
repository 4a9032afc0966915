// SPDX-License-Identifier: MIT
#pragma once

#include "config/model.h"

namespace cloister::supervisor {

/// What remains of the privileges that cloisterd was started with.
struct Privileges {
    bool bounding_empty; ///< the capability bounding set; false without CAP_SETPCAP: no_new_privs makes it
                         ///< inert
    bool groups_empty;   ///< supplementary groups; false without CAP_SETGID
};

/// Gives up every privilege, for good: becomes the user that was asked for, without capabilities in any set,
/// without supplementary groups, never to gain any by exec, not to be dumped or traced. libcap-ng does it,
/// our own code asks the kernel whether it is so, and dies where it is not.
[[nodiscard]] Privileges give_up_privileges(const config::Config& config);

} // namespace cloister::supervisor
