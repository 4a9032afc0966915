// SPDX-License-Identifier: MIT
#include "fault.h"

#include "processes.h"

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cloister::live {

void hold_what_must_be_given_up() {
    if (signal(SIGUSR2, SIG_IGN) == SIG_ERR) {
        _exit(119);
    }
    constexpr gid_t group = 12345;
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[2]{}; // capget(2)
    if (am_root() && (setgroups(1, &group) != 0 || syscall(SYS_capget, &header, sets) != 0)) {
        _exit(119);
    }
    for (auto& set : sets) {
        set.inheritable = set.permitted;
    }
    if (am_root() && syscall(SYS_capset, &header, sets) != 0) {
        _exit(119);
    }
}

void answer_in_the_kernels_place(const Fault& fault) {
    const auto argument = static_cast<std::uint32_t>(offsetof(seccomp_data, args) +
                                                     8U * static_cast<unsigned>(std::max(fault.argument, 0)));
    const std::uint8_t skip_argument = fault.argument < 0 ? 2 : 0;
    const sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(fault.call), skip_argument, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, fault.value, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(fault.error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{static_cast<unsigned short>(std::size(program)),
                            const_cast<sock_filter*>(program)};
    if (!am_root() && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        _exit(120);
    }
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
        _exit(121);
    }
}

} // namespace cloister::live
