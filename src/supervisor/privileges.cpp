// SPDX-License-Identifier: MIT
#include "supervisor/privileges.h"

#include "base/die.h"
#include "base/fd.h"
#include "base/tracing.h"
#include "confine/confine.h"

#include <cap-ng.h>
#include <cerrno>
#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace cloister::supervisor {
namespace {

void permitted(bool yes, const char* step, const char* cure = "") {
    if (!yes) {
        die(ExitCode::NotPermitted, "cannot %s: %s%s", step, error_text(errno), cure);
    }
}

bool holds(unsigned capability) {
    return capng_have_capability(CAPNG_EFFECTIVE, capability) == 1;
}

/// What capng_change_id(3) failed at.
const char* step_of(int result) {
    switch (result) {
    case -4:
        return "become that group: setresgid";
    case -5:
        return "drop the supplementary groups: setgroups";
    case -6:
        return "become that user: setresuid";
    case -8:
        return "empty the capability bounding set: PR_CAPBSET_DROP";
    default:
        return "drop our capabilities: capset";
    }
}

bool is_bounding_set_empty() {
    bool empty = true;
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
        empty = empty && prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 0;
    }
    return empty;
}

bool is_group(gid_t gid) {
    gid_t real = 0;
    gid_t effective = 0;
    gid_t saved = 0;
    return getresgid(&real, &effective, &saved) == 0 && real == gid && effective == gid && saved == gid;
}

bool is_user(uid_t uid) {
    uid_t real = 0;
    uid_t effective = 0;
    uid_t saved = 0;
    return getresuid(&real, &effective, &saved) == 0 && real == uid && effective == uid && saved == uid;
}

/// libcap-ng 0.8.3 has quirks: without CAP_SETPCAP it reports success and leaves the bounding set as it is;
/// in a child it fails until it is initialised again. So it is only asked for what it can do, and what it
/// says is not believed.
void change(uid_t uid, gid_t gid) {
    permitted(capng_get_caps_process() == 0, "read our capabilities: capget");
    const bool sets_groups = holds(CAP_SETGID);
    const bool sets_users = holds(CAP_SETUID);
    unsigned flags = CAPNG_CLEAR_AMBIENT;
    if (sets_groups) {
        flags |= CAPNG_DROP_SUPP_GRP;
    }
    if (holds(CAP_SETPCAP)) {
        flags |= CAPNG_CLEAR_BOUNDING;
    }
    constexpr int unchanged = -1;
    // What is so already is not asked for: a filter around us may deny the calls.
    if (capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE) {
        capng_clear(CAPNG_SELECT_ALL);
        const int result = capng_change_id(sets_users ? static_cast<int>(uid) : unchanged,
                                           sets_groups ? static_cast<int>(gid) : unchanged,
                                           static_cast<capng_flags_t>(flags));
        permitted(result == 0, step_of(result));
    }
    // Whoever may not change ids may still make all three of its own alike.
    constexpr auto cure = "; start as root, or as that user, and let outer seccomp filters allow the call";
    permitted(is_group(gid) || setresgid(gid, gid, gid) == 0, "become that group: setresgid", cure);
    permitted(is_user(uid) || setresuid(uid, uid, uid) == 0, "become that user: setresuid", cure);
}

} // namespace

Privileges give_up_privileges(const config::Config& config) {
    const bool root = geteuid() == 0;
    config::User user{geteuid(), getegid(), {}};
    if (config.user && (root || !config.check)) { // an ordinary user may check what another one will be given
        user = *config.user;
    } else if (root) { // --check needs no --user
        user = {65534, 65534, "nobody"};
    }
    if (user.uid == 0) {
        bug("asked to become root");
    }
    if (user.uid != geteuid()) {
        expect_untraceable_as(user.uid);
    }
    permitted(capng_get_caps_process() == 0, "read our capabilities: capget");
    const bool must_empty_groups = holds(CAP_SETGID);
    const bool must_empty_bounding = holds(CAP_SETPCAP);
    change(user.uid, user.gid);
    confine::forbid_new_privileges();
    confine::forbid_dumping();

    const int groups = getgroups(0, nullptr);
    if (groups < 0) {
        die(ExitCode::SystemCall, "cannot read our supplementary groups: getgroups: %s", error_text(errno));
    }
    const Privileges left{is_bounding_set_empty(), groups == 0};
    if (must_empty_bounding && !left.bounding_empty) {
        die(ExitCode::SelfTest, "asked to empty the capability bounding set, the kernel did not do it");
    }
    if (must_empty_groups && !left.groups_empty) {
        die(ExitCode::SelfTest, "asked to drop the supplementary groups, the kernel did not do it");
    }
    const Fd status{open("/proc/self/status", O_RDONLY | O_CLOEXEC)};
    if (!status.valid()) {
        die(ExitCode::SystemCall, "cannot open /proc/self/status: %s; mount /proc", error_text(errno));
    }
    confine::verify({user.uid, user.gid, left.bounding_empty, left.groups_empty, false}, status.get());
    return left;
}

} // namespace cloister::supervisor
