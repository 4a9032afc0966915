// SPDX-License-Identifier: MIT
#pragma once

namespace cloister {

/// What cloisterd, cloister-listener and cloister exit with: the numbers of sysexits.h(3head), where they
/// have one. A service manager may restart after 69, 70 and 71; the others need a person first.
enum class ExitCode : int {
    Ok = 0,
    Usage = 64,        ///< the command line
    BadPolicy = 65,    ///< a policy does not parse, or its program is not proved equal to it
    NoInput = 66,      ///< a file that was named (a policy, a directory) is not there
    Unavailable = 69,  ///< an address is in use or is not ours
    SelfTest = 70,     ///< the self-test or a read-back failed, or a bug of ours
    SystemCall = 71,   ///< the kernel refused something that needs no permission
    NotPermitted = 77, ///< root without --user, or the kernel refused a permission
    Config = 78,       ///< a configuration or an inherited environment that makes no sense
};

} // namespace cloister
