// SPDX-License-Identifier: MIT
//
// What the listener must not close itself. A client of a unix socket can pass descriptors (SCM_RIGHTS,
// unix(7)). Until somebody receives them they belong to the connection; a client that was not accepted yet
// belongs to the listening socket. The process that closes the last reference to such a socket closes all of
// that, which may take as long as the client chooses: a TCP socket with SO_LINGER sleeps in close
// (socket(7)). The kernel does not wait for that in a process that exits (tcp_close() and inet_release(),
// PF_EXITING).
//
// Since Linux 6.16 a socket can refuse descriptors (SO_PASSRIGHTS). Where it does not, a releaser closes: a
// cell that shares the listener's table of descriptors (CLONE_FILES), closes descriptor 0 in it, and ends. If
// it sleeps in close, descriptor 0 is free all the same. If it was killed before, nothing has happened, and
// there will be another one. There is never more than one that has not closed yet: a late one would close the
// next connection. While one is at work the listener does not touch descriptor 0, for it would hold a
// reference meanwhile, which could become the last.
#include "base/die.h"
#include "listener/server.h"
#include "syscall/calls.h"
#include "syscall/passrights.h"

#include <bit>
#include <cerrno>
#include <csignal>

namespace cloister::listener {
namespace {

constexpr timeval releaser_lifetime{0, 200'000}; // SIGALRM ends its sleep, and itself
constexpr std::int64_t releaser_patience_ns = 1'000'000'000;

} // namespace

/// Whether the client of the unix connection at descriptor 0 could pass descriptors: SO_PASSRIGHTS as it was
/// when it connected.
bool Server::may_hold_descriptors() {
    int rights = 1;
    socklen_t length = sizeof rights;
    return sys::getsockopt(control::connection_fd, SOL_SOCKET, so_passrights, &rights, &length) != 0 ||
           rights != 0;
}

void Server::close_connection(bool by_releaser) {
    if (!by_releaser) {
        sys::close(control::connection_fd);
        return;
    }
    occupied_ = true;
    look_after_releasers();
}

/// Sees whether descriptor 0 is free by asking for the lowest free one, which it gives back.
bool Server::is_connection_fd_free() {
    const long fd = sys::dup_to_lowest(control::signal_fd);
    if (fd < 0) {
        pause("fcntl", fd); // somebody has changed our RLIMIT_NOFILE
    } else {
        sys::close(static_cast<int>(fd));
    }
    return fd == control::connection_fd;
}

void Server::look_after_releasers() {
    if (occupied_ && is_connection_fd_free()) {
        occupied_ = false;
        releaser_ = 0;
    }
    if (!occupied_ && to_release_ != 0) {
        occupy_with_a_listener();
    }
    if (occupied_ && releaser_ == 0 && now_ns_ >= resume_ns_) {
        start_releaser();
    } else if (occupied_ && releaser_ != 0 && now_ns_ >= releaser_due_ns_) { // somebody has stopped it
        sys::tgkill(releaser_, releaser_, SIGKILL);
    }
}

void Server::start_releaser() {
    cell::Parameters parameters = launch_.parameters;
    parameters.mode = cell::Mode::Release;
    parameters.lifetime = releaser_lifetime;
    const long pid =
        releasers_ == max_releasers
            ? -EAGAIN
            : cell::cloister_clone_cell(&parameters, launch_.arena->buffer, cell::releaser_flags);
    if (pid < 0) {
        return pause("clone", pid);
    }
    Cell& releaser = cells_.add(static_cast<pid_t>(pid));
    releaser.releaser = true;
    ++releasers_;
    releaser_ = releaser.pid;
    releaser_due_ns_ = now_ns_ + releaser_patience_ns;
}

/// Puts a listening unix socket that is not needed any more at descriptor 0, for a releaser to close, and
/// closes its former descriptor, which is not the last reference then.
void Server::occupy_with_a_listener() {
    const auto socket = static_cast<std::uint32_t>(std::countr_zero(to_release_));
    to_release_ &= ~(std::uint64_t{1} << socket);
    if (const long fd = sys::dup_to_lowest(listening_fd(socket)); fd != control::connection_fd) {
        bug("dup of a listening socket gave %ld: 0 was not free", fd);
    }
    sys::close(listening_fd(socket));
    occupied_ = true;
}

} // namespace cloister::listener
