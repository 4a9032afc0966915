// SPDX-License-Identifier: MIT
#pragma once

namespace cloister {

/// SO_PASSRIGHTS (include/uapi/asm-generic/socket.h, since Linux 6.16): an int; 0 = this unix socket takes no
/// descriptors, and a process that passes some to it (SCM_RIGHTS, unix(7)) gets EPERM. The connections of a
/// listening socket have its value as it was when their client connected. ENOPROTOOPT: an older kernel, or
/// not a unix socket.
inline constexpr int so_passrights = 83;

} // namespace cloister
