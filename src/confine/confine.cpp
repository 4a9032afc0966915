// SPDX-License-Identifier: MIT
#include "confine/confine.h"

#include "base/die.h"
#include "syscall/calls.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <string_view>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace cloister::confine {
namespace {

/// A step that the kernel may refuse, with SystemCall where it needs no permission.
void permitted(bool yes, const char* step, ExitCode otherwise = ExitCode::NotPermitted) {
    if (!yes) {
        die(otherwise, "cannot %s: %s", step, error_text(errno));
    }
}

/// A state that the kernel must report after a step.
void read_back(bool yes, const char* step) {
    if (!yes) {
        die(ExitCode::SelfTest, "asked to %s, the kernel did not do it", step);
    }
}

struct CapabilitySets {               // capset(2)
    __user_cap_data_struct low, high; // capabilities 0 to 31, 32 to 63
};

CapabilitySets capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    CapabilitySets sets{{~0U, ~0U, ~0U}, {~0U, ~0U, ~0U}}; // no answer must not read as "none"
    permitted(syscall(SYS_capget, &header, &sets) == 0, "read our capabilities: capget");
    return sets;
}

bool may(unsigned capability) {
    return (capabilities().low.effective >> capability & 1U) != 0;
}

void set_limit(__rlimit_resource resource, const char* step, rlim_t value) {
    const rlimit limit{value, value};
    rlimit is{~value, ~value};
    permitted(setrlimit(resource, &limit) == 0, step);
    permitted(getrlimit(resource, &is) == 0, step, ExitCode::SystemCall);
    read_back(is.rlim_cur == value && is.rlim_max == value, step);
}

/// Dies unless `status` has the line `name:\tvalue` (proc_pid_status(5)).
void expect(std::string_view status, const char* name, const char* value) {
    char start[32];
    const auto size = static_cast<std::size_t>(std::snprintf(start, sizeof start, "\n%s:\t", name));
    const std::size_t at = status.find({start, size});
    std::string_view is = at == std::string_view::npos ? "nothing" : status.substr(at + size);
    is = is.substr(0, is.find('\n'));
    if (is != value) {
        die(ExitCode::SelfTest, "read back: %s must be '%s', the kernel says '%.*s'", name, value,
            static_cast<int>(is.size()), is.data());
    }
}

} // namespace

bool empty_bounding_set() {
    const bool ours = may(CAP_SETPCAP);
    bool empty = true;
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
        if (ours) {
            (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
        }
        empty = empty && prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 0;
    }
    read_back(empty || !ours, "empty the capability bounding set");
    return empty;
}

bool become(uid_t uid, gid_t gid) {
    if (uid == 0) {
        bug("asked to become root");
    }
    const auto are = [](auto read, unsigned id, const char* step) { // real, effective, saved
        unsigned ids[3] = {};
        permitted(read(&ids[0], &ids[1], &ids[2]) == 0, step, ExitCode::SystemCall);
        return ids[0] == id && ids[1] == id && ids[2] == id;
    };
    const auto is_group = [&] { return are(getresgid, gid, "read our group: getresgid"); };
    const auto is_user = [&] { return are(getresuid, uid, "read our user: getresuid"); };
    permitted(!may(CAP_SETGID) || setgroups(0, nullptr) == 0, "drop the supplementary groups: setgroups");
    const long groups = getgroups(0, nullptr);
    permitted(groups >= 0, "read our supplementary groups: getgroups", ExitCode::SystemCall);
    read_back(!may(CAP_SETGID) || groups == 0, "drop the supplementary groups");
    permitted(is_group() || setresgid(gid, gid, gid) == 0,
              "become that group (start as root, or as that user): setresgid");
    permitted(is_user() || setresuid(uid, uid, uid) == 0,
              "become that user (start as root, or as that user): setresuid");
    read_back(is_group(), "become that group");
    read_back(is_user(), "become that user");
    return groups == 0;
}

void drop_all_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    constexpr CapabilitySets none{};
    const auto have_none = [&none] {
        const CapabilitySets are = capabilities();
        return std::memcmp(&are, &none, sizeof are) == 0;
    };
    permitted(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0,
              "drop our ambient capabilities: prctl");
    permitted(have_none() || syscall(SYS_capset, &header, &none) == 0, "drop our capabilities: capset");
    read_back(have_none(), "drop our capabilities");
}

void forbid_new_privileges() {
    permitted(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "set no_new_privs: prctl", ExitCode::SystemCall);
    read_back(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "set no_new_privs");
}

void forbid_dumping() {
    permitted(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0, "make us not dumpable: prctl", ExitCode::SystemCall);
    read_back(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0, "make us not dumpable");
}

void die_with_parent(pid_t parent) {
    int signal = 0;
    permitted(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0, "end with our parent: prctl",
              ExitCode::SystemCall);
    read_back(prctl(PR_GET_PDEATHSIG, &signal, 0, 0, 0) == 0 && signal == SIGKILL, "end with our parent");
    if (getppid() != parent) { // it ended before we asked
        die(ExitCode::SelfTest, "our parent, process %d, has ended", parent);
    }
}

void limit_resources(unsigned descriptors) {
    set_limit(RLIMIT_CORE, "set RLIMIT_CORE: prlimit64", 0);
    set_limit(RLIMIT_MEMLOCK, "set RLIMIT_MEMLOCK: prlimit64", 0);
    set_limit(RLIMIT_NOFILE, "set RLIMIT_NOFILE: prlimit64", descriptors);
}

void install_filter(std::span<const sock_filter> program) {
    const sock_fprog filter{static_cast<unsigned short>(program.size()),
                            const_cast<sock_filter*>(program.data())};
    permitted(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0,
              "install the seccomp filter, for which the kernel needs CONFIG_SECCOMP_FILTER: seccomp");
}

void verify(const Expected& expected, int status_fd) {
    char text[8192];
    const long size = sys::pread(status_fd, text, sizeof text);
    if (size <= 0) {
        die(ExitCode::SystemCall, "cannot read /proc/self/status: pread64: %s", error_text(size));
    }
    const std::string_view status{text, static_cast<std::size_t>(size)};
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb", "SigCgt", "SigIgn"}) {
        expect(status, set, "0000000000000000");
    }
    if (expected.bounding_empty) {
        expect(status, "CapBnd", "0000000000000000");
    }
    for (const auto& [name, id] : {std::pair{"Uid", expected.uid}, std::pair{"Gid", expected.gid}}) {
        char ids[64];
        (void)std::snprintf(ids, sizeof ids, "%u\t%u\t%u\t%u", id, id, id, id);
        expect(status, name, ids);
    }
    expect(status, "NoNewPrivs", "1");
    expect(status, "Threads", "1");
    if (expected.groups_empty) {
        expect(status, "Groups", " ");
    }
    if (expected.filtered) {
        expect(status, "Seccomp", "2");
    }
}

} // namespace cloister::confine
