// SPDX-License-Identifier: MIT
//
// The server's way in: a connection is accepted, becomes descriptor 0, and is given to a cell.
#include "listener/server.h"
#include "sys/calls.h"
#include "sys/die.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>

namespace cloister::listener {
namespace {

constexpr int accepts_per_round = 64;
constexpr std::uint64_t strange_errors_limit = 1000;
constexpr std::int64_t complaint_interval_ns = 60'000'000'000;
constexpr std::int64_t pause_ns = 100'000'000;

/// accept(2): Linux passes on errors of the new connection; 'treat them like EAGAIN by retrying'.
bool is_of_the_connection(long error) {
    constexpr int errors[] = {EINTR,       ECONNABORTED, EPERM,     ENETDOWN,        EPROTO,
                              ENOPROTOOPT, EHOSTDOWN,    ENONET,    EHOSTUNREACH,    EOPNOTSUPP,
                              ENETUNREACH, ENOSR,        ETIMEDOUT, ESOCKTNOSUPPORT, EPROTONOSUPPORT};
    return std::find(std::begin(errors), std::end(errors), -error) != std::end(errors);
}

bool is_no_room(long error) {
    return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM || error == -EAGAIN;
}

bool is_of_the_listener(long error) {
    return error == -EBADF || error == -ENOTSOCK || error == -EINVAL || error == -EFAULT;
}

} // namespace

void Server::accept_from(std::uint32_t listener) {
    for (int i = 0; i < accepts_per_round && accepting(); ++i) {
        sockaddr_storage address{};
        socklen_t length = sizeof address;
        const long fd = sys::accept(polled_[listener + 2].fd, reinterpret_cast<sockaddr*>(&address), &length);
        if (fd == plan::connection_fd) {
            strange_errors_ = 0;
            give_to_cell(listener, peer_of(listener, address));
        } else if (fd == -EAGAIN) {
            return; // the client has gone, or another generation was quicker
        } else if (is_no_room(fd)) {
            return pause("accept4", fd);
        } else if (fd > 0) {
            bug("accept4 returned descriptor %ld: 0 was not free", fd);
        } else if (is_of_the_listener(fd)) {
            const std::string_view name = plan_.listeners[listener].name();
            die(ExitCode::SystemCall, "cannot accept on %.*s: %s", static_cast<int>(name.size()), name.data(),
                error_text(fd));
        } else if (!is_of_the_connection(fd) && ++strange_errors_ > strange_errors_limit) {
            const std::string_view name = plan_.listeners[listener].name();
            die(ExitCode::SystemCall, "accept4 on %.*s fails again and again: %s",
                static_cast<int>(name.size()), name.data(), error_text(fd));
        }
    }
}

/// Rests for a moment when the kernel has no room. Says so once a minute at most, with the last client it
/// hit.
void Server::pause(std::string_view call, long error, std::string_view peer) {
    resume_ns_ = now_ns_ + pause_ns;
    ++complaints_;
    if (now_ns_ < complaint_due_ns_) {
        return;
    }
    complaint_due_ns_ = now_ns_ + complaint_interval_ns;
    Record paused = record(Level::warning, "paused");
    paused.text("call", call).text("error", error_text(error)).text("peer", peer);
    paused.number("live", static_cast<std::int64_t>(cells_.live()))
        .number("times", static_cast<std::int64_t>(complaints_));
    complaints_ = 0;
    log(paused);
}

Peer Server::peer_of(std::uint32_t listener, const sockaddr_storage& address) {
    Peer peer{};
    peer.family = plan_.listeners[listener].family;
    if (peer.family == AF_INET) {
        sockaddr_in in{};
        std::memcpy(&in, &address, sizeof in);
        peer.port = ntohs(in.sin_port);
        std::memcpy(peer.address, &in.sin_addr, sizeof in.sin_addr);
    } else if (peer.family == AF_INET6) {
        sockaddr_in6 in6{};
        std::memcpy(&in6, &address, sizeof in6);
        peer.port = ntohs(in6.sin6_port);
        peer.scope = in6.sin6_scope_id;
        std::memcpy(peer.address, &in6.sin6_addr, sizeof in6.sin6_addr);
    } else {
        ucred credentials{};
        socklen_t length = sizeof credentials;
        if (sys::getsockopt(plan::connection_fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0) {
            peer.uid = credentials.uid;
            peer.pid = credentials.pid;
        }
    }
    return peer;
}

/// The connection is descriptor 0. Afterwards the cell has it, or it was reset; 0 is free again.
void Server::give_to_cell(std::uint32_t listener, const Peer& peer) {
    if (peer.family == AF_UNIX) { // there the listening socket's timeouts are not inherited
        const timeval& idle = plan_.idle;
        for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
            const long result = sys::setsockopt(plan::connection_fd, SOL_SOCKET, option, &idle, sizeof idle);
            if (result != 0) {
                return refuse("setsockopt", result, peer);
            }
        }
    }
    const long pid = cell::cloister_clone_cell(&plan_.orders, plan_.arena->buffer, cell::clone_flags);
    if (pid < 0) {
        return refuse("clone", pid, peer);
    }
    Cell& cell =
        cells_.add(static_cast<pid_t>(pid)); // its exit signal is blocked: it can't be reaped before this
    cell.listener = listener;
    cell.connection = ++connections_;
    cell.started_ns = now_ns_;
    cell.peer = peer;
    sys::close(plan::connection_fd);
    if (cells_.full() && !said_full_) {
        say_full();
    }
}

/// No cell for this client: a reset tells it at once.
void Server::refuse(const char* call, long error, const Peer& peer) {
    const linger reset{1, 0};
    sys::setsockopt(plan::connection_fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    sys::close(plan::connection_fd);
    if (!is_no_room(error)) {
        die(ExitCode::SystemCall, "cannot give a connection to a cell: %s: %s", call, error_text(error));
    }
    pause(call, error, PeerText{peer}.text);
}

} // namespace cloister::listener
