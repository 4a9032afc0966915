// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"

#include <cerrno>
#include <sys/mman.h>

namespace cloister {

inline constexpr unsigned noexec_seal = 8; ///< MFD_NOEXEC_SEAL of <linux/memfd.h>

/// memfd_create(2), close-on-exec, and never executable where the kernel knows that (since 6.3; before 6.6
/// vm.memfd_noexec=2 demanded it). Invalid with errno when the kernel gives none.
[[nodiscard]] inline Fd create_memory_file(const char* name, unsigned flags = 0) {
    Fd file{memfd_create(name, MFD_CLOEXEC | noexec_seal | flags)};
    if (!file.valid() && errno == EINVAL) {
        file = Fd{memfd_create(name, MFD_CLOEXEC | flags)};
    }
    return file;
}

} // namespace cloister
