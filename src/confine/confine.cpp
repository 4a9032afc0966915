// SPDX-License-Identifier: MIT
#include "confine/confine.h"

#include "sys/die.h"

#include <cerrno>
#include <csignal>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cloister::confine {
namespace {

/// A step that the kernel may refuse.
void permitted(bool yes, const char* step) {
    if (!yes) {
        die(ExitCode::NotPermitted, "cannot %s: %s", step, error_text(errno));
    }
}

/// What must be so, by what the kernel itself says.
void read_back(bool yes, const char* asked) {
    if (!yes) {
        die(ExitCode::SelfTest, "asked %s, the kernel did not do it: %s", asked, error_text(errno));
    }
}

/// capset(2): the second of the two holds capabilities 32 to 63.
struct CapabilitySets {
    __user_cap_data_struct low, high;
};

CapabilitySets capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    CapabilitySets sets{};
    permitted(syscall(SYS_capget, &header, &sets) == 0, "read our capabilities: capget");
    return sets;
}

bool may(unsigned capability) {
    return (capabilities().low.effective >> capability & 1U) != 0;
}

void set_limit(__rlimit_resource resource, const char* step, rlim_t value) {
    const rlimit limit{value, value};
    rlimit is{};
    permitted(setrlimit(resource, &limit) == 0, step);
    read_back(getrlimit(resource, &is) == 0 && is.rlim_cur == value && is.rlim_max == value, step);
}

void raise_limit(__rlimit_resource resource, const char* step) {
    rlimit is{};
    permitted(getrlimit(resource, &is) == 0, step);
    set_limit(resource, step, is.rlim_max);
}

} // namespace

void reset_signals(std::uint64_t blocked) {
    // The kernel's own structure (linux/signal.h): libc hides 32 and 33, which posix_spawn(3) can leave
    // ignored.
    struct {
        std::uint64_t handler, flags, restorer, mask;
    } constexpr by_default{}, * const none = nullptr;
    for (int number = 1; number < NSIG; ++number) {
        auto is = by_default;
        read_back(number == SIGKILL || number == SIGSTOP ||
                      (syscall(SYS_rt_sigaction, number, &by_default, none, sizeof is.mask) == 0 &&
                       syscall(SYS_rt_sigaction, number, none, &is, sizeof is.mask) == 0 && is.handler == 0),
                  "to give each signal its default action");
    }
    std::uint64_t mask = ~blocked;
    read_back(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, nullptr, sizeof blocked) == 0 &&
                  syscall(SYS_rt_sigprocmask, SIG_SETMASK, nullptr, &mask, sizeof mask) == 0 &&
                  mask == blocked,
              "to block signals");
}

bool empty_bounding_set() {
    const bool ours = may(CAP_SETPCAP);
    bool empty = true;
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
        if (ours) {
            (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
        }
        empty = empty && prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 0;
    }
    read_back(empty || !ours, "for an empty capability bounding set");
    return empty;
}

bool become(uid_t uid, gid_t gid) {
    if (uid == 0) {
        bug("asked to become root");
    }
    permitted(!may(CAP_SETGID) || setgroups(0, nullptr) == 0, "drop the supplementary groups: setgroups");
    permitted(setresgid(gid, gid, gid) == 0, "become that group (start as root, or as that user): setresgid");
    permitted(setresuid(uid, uid, uid) == 0, "become that user (start as root, or as that user): setresuid");
    uid_t uids[3] = {};
    gid_t gids[3] = {};
    if (getresuid(&uids[0], &uids[1], &uids[2]) != 0 || getresgid(&gids[0], &gids[1], &gids[2]) != 0) {
        die(ExitCode::SelfTest, "cannot read back who we are: %s", error_text(errno));
    }
    for (int i = 0; i < 3; ++i) {
        if (uids[i] != uid || gids[i] != gid) {
            die(ExitCode::SelfTest, "asked to become %u:%u, the kernel has %u:%u", uid, gid, uids[i],
                gids[i]);
        }
    }
    return getgroups(0, nullptr) == 0;
}

void drop_all_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    constexpr CapabilitySets none{};
    permitted(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 &&
                  syscall(SYS_capset, &header, &none) == 0,
              "drop our capabilities");
    const auto [low, high] = capabilities();
    read_back((low.effective | low.permitted | low.inheritable | high.effective | high.permitted |
               high.inheritable) == 0,
              "for no capability");
}

void forbid_new_privileges() {
    read_back(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1,
              "for no_new_privs");
}

void forbid_dumping() {
    read_back(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0,
              "not to be dumpable");
}

void die_with_parent(pid_t parent) {
    int signal = 0;
    read_back(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 &&
                  prctl(PR_GET_PDEATHSIG, &signal, 0, 0, 0) == 0 && signal == SIGKILL,
              "to end with our parent");
    if (getppid() != parent) { // it ended before we asked
        die(ExitCode::SelfTest, "our parent, process %d, has ended", parent);
    }
}

void limit_resources(unsigned descriptors) {
    raise_limit(RLIMIT_NPROC, "to raise RLIMIT_NPROC");
    raise_limit(RLIMIT_SIGPENDING, "to raise RLIMIT_SIGPENDING");
    set_limit(RLIMIT_CORE, "to set RLIMIT_CORE", 0);
    set_limit(RLIMIT_MEMLOCK, "to set RLIMIT_MEMLOCK", 0);
    set_limit(RLIMIT_NOFILE, "to set RLIMIT_NOFILE", descriptors);
}

void install_filter(std::span<const sock_filter> program) {
    const sock_fprog filter{static_cast<unsigned short>(program.size()),
                            const_cast<sock_filter*>(program.data())};
    permitted(
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0,
        "install the seccomp filter (the kernel needs CONFIG_SECCOMP_FILTER, and a container or service "
        "manager must allow seccomp)");
}

} // namespace cloister::confine
