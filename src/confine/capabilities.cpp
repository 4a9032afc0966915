// SPDX-License-Identifier: MIT
#include "confine/confine.h"

#include "sys/die.h"

#include <cap-ng.h>
#include <cerrno>
#include <grp.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace cloister::confine {

bool empty_bounding_set() {
    // capng_apply returns 0 without CAP_SETPCAP although nothing was dropped: ask first, and verify()
    // afterwards.
    if (capng_get_caps_process() != 0) {
        die(ExitCode::SystemCall, "cannot read our capabilities (is /proc mounted?): %s", error_text(errno));
    }
    if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) == 0) {
        bool empty = true;
        for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
            empty = empty && prctl(PR_CAPBSET_READ, capability, 0, 0, 0) != 1;
        }
        return empty;
    }
    capng_clear(CAPNG_SELECT_BOUNDS);
    if (capng_apply(CAPNG_SELECT_BOUNDS) != 0) {
        die(ExitCode::NotPermitted, "cannot empty the capability bounding set: %s", error_text(errno));
    }
    for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
        if (prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1) {
            die(ExitCode::SelfTest,
                "asked for an empty capability bounding set, the kernel still has capability %d in it",
                capability);
        }
    }
    return true;
}

bool become(uid_t uid, gid_t gid) {
    if (uid == 0) {
        bug("asked to become root");
    }
    const bool may_change_groups =
        capng_get_caps_process() == 0 && capng_have_capability(CAPNG_EFFECTIVE, CAP_SETGID) != 0;
    if (may_change_groups && setgroups(0, nullptr) != 0) {
        die(ExitCode::NotPermitted, "cannot drop the supplementary groups: setgroups: %s", error_text(errno));
    }
    if (setresgid(gid, gid, gid) != 0) {
        die(ExitCode::NotPermitted, "cannot become group %u: setresgid: %s; start as root, or as that user",
            gid, error_text(errno));
    }
    if (setresuid(uid, uid, uid) != 0) {
        die(ExitCode::NotPermitted, "cannot become user %u: setresuid: %s; start as root, or as that user",
            uid, error_text(errno));
    }
    uid_t uids[3] = {};
    gid_t gids[3] = {};
    if (getresuid(&uids[0], &uids[1], &uids[2]) != 0 || getresgid(&gids[0], &gids[1], &gids[2]) != 0 ||
        (may_change_groups && getgroups(0, nullptr) != 0)) {
        die(ExitCode::SelfTest, "asked for user %u without groups, the kernel still has groups", uid);
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
    capng_clear(CAPNG_SELECT_ALL);
    if (capng_apply(CAPNG_SELECT_CAPS) != 0 ||
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
        die(ExitCode::NotPermitted, "cannot drop our capabilities: %s", error_text(errno));
    }
    if (capng_get_caps_process() != 0 || capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE) {
        die(ExitCode::SelfTest,
            "asked for no capability, the kernel still has some (CapEff in /proc/%d/status)", getpid());
    }
}

} // namespace cloister::confine
