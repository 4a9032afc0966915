// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

/// Whether a process of the same user could have taken control of this one (ptrace(2), pidfd_getfd(2)) before
/// main forbade it. After execve(2) processes of its user may trace a process, unless the caller of execve(2)
/// had no permission to read the program (would_dump(), fs/exec.c). Then, and when a process changes its user
/// (commit_creds(), kernel/cred.c), the sysctl fs.suid_dumpable decides: 1 allows it.
namespace cloister {

/// PR_GET_DUMPABLE: 1 allows processes of our user to trace us, 0 and 2 root alone.
[[nodiscard]] int dumpable();

/// How this process began.
struct Start {
    int dumpable;      ///< as main began
    uid_t user;        ///< effective
    uid_t owner;       ///< of the program's file
    bool readable;     ///< that file, by `user`
    int suid_dumpable; ///< the sysctl; -1: not known
};

/// Null if only root, and users who may rewrite the program anyway, could have taken control of this process;
/// else the cause and its cure.
[[nodiscard]] const char* weakness_of(const Start& start);

/// Dies (NotPermitted) if processes of our user could have taken us over since execve(2). `at_start` is
/// dumpable() as main began, before confine::forbid_dumping().
void expect_untraceable_start(int at_start);

/// Dies (NotPermitted) if processes of `uid` could trace us in the moment in which root becomes that user.
/// As root, before confine::become().
void expect_untraceable_as(uid_t uid);

} // namespace cloister
