// SPDX-License-Identifier: MIT
#pragma once

#include "supervisor/sockets.h"

namespace cloister::supervisor {

/// bind(2) of a unix socket, whose file has the mode that was asked for from the first moment, and, as root,
/// `user` as its owner. A stale socket there is removed first; whatever else is there stays, and is an error.
///
/// Its directory, and each above it, must be root's or ours; as root, root's or `user`'s, and not writable by
/// anybody else (trust::Rule). All is done inside that one directory, once it is opened; where `user` could
/// rearrange the path, as that user (AsUser).
[[nodiscard]] std::optional<Failure> bind_unix(ListeningSocket& socket, const config::Address& address,
                                               const std::optional<config::User>& user);

/// Removes that file, if it is still ours.
void remove_unix_path(const ListeningSocket& socket);

} // namespace cloister::supervisor
