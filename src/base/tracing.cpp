// SPDX-License-Identifier: MIT
#include "base/tracing.h"

#include "base/die.h"
#include "base/fd.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cloister {
namespace {

constexpr const char* program = "/proc/self/exe";
constexpr const char* by_mode =
    "that user may read the program's file; make root its owner and 0711 its mode "
    "(a package helper may have reset it)";
constexpr const char* by_sysctl = "the sysctl fs.suid_dumpable must be 0 or 2, and readable in /proc/sys";
constexpr const char* by_capabilities = "what executed it held CAP_DAC_OVERRIDE or CAP_DAC_READ_SEARCH, as "
                                        "setpriv(1) does and a container that drops no "
                                        "capabilities; drop them before, or start it as root with --user";

bool traceable(int dumpable) {
    return dumpable != 0 && dumpable != 2; // an answer that never came is not 'no'
}

/// -1 if it can't be read.
int suid_dumpable() {
    const Fd file{open("/proc/sys/fs/suid_dumpable", O_RDONLY | O_CLOEXEC)};
    char digit = 0;
    return read(file.get(), &digit, 1) == 1 ? digit - '0' : -1;
}

} // namespace

int dumpable() {
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
}

const char* weakness_of(const Start& start) {
    if (!traceable(start.dumpable) || start.user == 0 || start.user == start.owner) {
        return nullptr;
    }
    if (start.readable) {
        return by_mode;
    }
    return traceable(start.suid_dumpable) ? by_sysctl : by_capabilities;
}

void expect_untraceable_start(int at_start) {
    Start start{at_start, geteuid(), 0, false, -1};
    if (!traceable(at_start) || start.user == 0) {
        return;
    }
    struct stat status {};
    if (stat(program, &status) != 0) {
        die(ExitCode::SystemCall, "cannot find out who owns this program: %s: %s; mount /proc", program,
            error_text(errno));
    }
    start.owner = status.st_uid;
    start.readable = faccessat(AT_FDCWD, program, R_OK, AT_EACCESS) == 0;
    if (!start.readable && errno != EACCES) {
        die(ExitCode::SystemCall, "cannot find out whether we may read this program: faccessat2: %s",
            error_text(errno));
    }
    start.suid_dumpable = suid_dumpable();
    if (const char* const weakness = weakness_of(start); weakness != nullptr) {
        die(ExitCode::NotPermitted,
            "any process of user %u could have taken this one over while it started: %s", start.user,
            weakness);
    }
}

void expect_untraceable_as(uid_t uid) {
    // The id for file access is of no account to ptrace(2): so far only root can trace us.
    const int own = setfsuid(uid);
    const bool can_be_traced = traceable(dumpable());
    setfsuid(static_cast<uid_t>(own));
    if (can_be_traced) {
        die(ExitCode::NotPermitted,
            "any process of user %u could take this one over as it becomes that user: %s", uid, by_sysctl);
    }
}

} // namespace cloister
