// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"

namespace cloister::supervisor {

/// Closes a listening socket, but never so that this process could sleep: clients that wait in the queue of a
/// unix socket may have passed descriptors, which are closed with it, and a TCP socket with SO_LINGER sleeps
/// in close(2) as long as its owner chose (socket(7)). So a child that shares our descriptors (CLONE_FILES,
/// clone(2)) closes a unix socket. It ends within a second, and with us. Where there is no child to be had
/// the socket stays open until we exit; the kernel does not wait for lingering sockets of a process that
/// exits.
void close_listening(int fd);

using ListeningFd = OwnedFd<close_listening>;

/// Closes our end of a socket pair so: what its other end passed and nobody received is closed with it,
/// unless the socket refuses descriptors (socket_options.h).
void close_control(int fd);

using ControlFd = OwnedFd<close_control>;

} // namespace cloister::supervisor
