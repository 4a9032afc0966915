// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"

#include <string>
#include <sys/types.h>
#include <tl/expected.hpp>

/// Opens files that only root and one user can have created, and can change. Every component of the path is
/// checked on the descriptor that the next one is opened from, so nothing can be swapped between check and
/// use: the components that a symbolic link adds, too, and the link itself.
namespace cloister::trust {

/// Each component belongs to root or to `user`, and neither its group nor others may write to it, except:
/// - a directory of root's with the sticky bit, where each user may change only his own files (inode(7));
/// - a directory on a read-only mount, such as a Kubernetes ConfigMap (root's, 0777 or 1777);
/// - a file or a directory whose group is its owner's alone, as the umask 002 of user private groups makes
///   them: the group has the owner's name, no other member, is no other account's, and there is no access
///   control list (the rule of Debian's OpenSSH, user-group-modes.patch, which does not look for lists).
struct Rule {
    uid_t user = 0;      ///< besides root; 0: root alone
    bool shared = false; ///< only owners are checked, not who else may write
};

struct Refusal {
    int error;           ///< errno of the call that failed; 0: all is there, and not to be trusted
    std::string message; ///< names the component, what is wrong with it, and the cure
};

/// An O_PATH descriptor of what `path` leads to: a file, a directory, anything. EINVAL if `path` is relative,
/// ELOOP after 40 symbolic links (path_resolution(7)).
[[nodiscard]] tl::expected<Fd, Refusal> find(const std::string& path, const Rule& rule);

/// A regular file, open for reading; EINVAL if it is anything else.
[[nodiscard]] tl::expected<Fd, Refusal> open_file(const std::string& path, const Rule& rule);

} // namespace cloister::trust
