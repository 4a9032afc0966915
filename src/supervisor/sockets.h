// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"
#include "config/options.h"
#include "supervisor/failure.h"
#include "supervisor/listening_fd.h"

#include <optional>
#include <span>
#include <string>
#include <sys/socket.h>
#include <sys/types.h>
#include <tl/expected.hpp>
#include <vector>

namespace cloister::supervisor {

/// Where the file of a unix socket is, and which one it is.
struct UnixPath {
    Fd directory;                   ///< O_PATH
    std::string name;               ///< in it
    std::optional<config::User> as; ///< whose rights hold in there, even for root; unset: ours
    dev_t device = 0;
    ino_t inode = 0; ///< 0: not bound
};

/// A socket that listens, with every option set that an accepted TCP socket inherits. AF_UNIX inherits none.
struct ListeningSocket {
    ListeningFd fd;
    std::string name; ///< the bound address with its real port: "127.0.0.1:7007", "[::1]:7007", "unix:/run/x"
    sockaddr_storage address;
    socklen_t address_length;
    bool is_unix;
    bool activated;        ///< passed to us, not bound by us
    UnixPath path;         ///< of a unix socket that we bound
    std::string requested; ///< config::Address::text; empty: it was passed
    /// Of a connection, in bytes as the kernel counts them: twice what was asked for, or less.
    int send_buffer = 0;
    int receive_buffer = 0;
};

/// The sockets of sd_listen_fds(3), not looked at yet.
struct Activation {
    struct Socket {
        ListeningFd fd;
        std::string name; ///< of LISTEN_FDNAMES
    };
    std::vector<Socket> sockets;
    std::string warning; ///< one sentence if sockets were passed, to another process than us
};

/// Opens /dev/null as each of 0, 1, 2 that is closed, so that no socket is ever taken for one of them.
void open_standard_fds();

/// Takes the sockets of LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, once: the variables are unset.
[[nodiscard]] tl::expected<Activation, Failure> take_activation();

/// Closes whatever else we inherited: all descriptors but 0 to 2 and the sockets of `activation`. Dies unless
/// the kernel did so. Before anything of ours is opened.
void close_inherited(const tl::expected<Activation, Failure>& activation);

/// Binds every address of the options, and checks what was passed, which takes the place of the default
/// address. A unix socket gets its exact mode and, as root, the user as its owner.
[[nodiscard]] tl::expected<std::vector<ListeningSocket>, Failure>
open_sockets(const config::Service& service, const std::optional<config::User>& user, Activation activation);

/// Removes the files of the unix sockets that we bound, unless another one is there by now. What can't be
/// removed any more, since root is given up, the next start finds stale and removes.
void remove_unix_paths(std::span<const ListeningSocket> sockets);

} // namespace cloister::supervisor
