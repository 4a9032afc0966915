// SPDX-License-Identifier: MIT
//
// The server's way in: a connection is accepted, becomes descriptor 0, and is given to a cell.
#include "base/die.h"
#include "listener/server.h"
#include "syscall/calls.h"

#include <algorithm>
#include <arpa/inet.h>
#include <bit>
#include <cerrno>
#include <cstddef>
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

/// What comes from or to such an address has never left this host: 127.0.0.0/8 and ::1.
bool is_loopback(const control::Source& source) {
    constexpr std::uint8_t ipv6[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    return source.kind == control::Source::Kind::ipv6 ? std::memcmp(source.address, ipv6, sizeof ipv6) == 0
                                                      : source.address[0] == IN_LOOPBACKNET;
}

bool is_of_the_listener(long error) {
    return error == -EBADF || error == -ENOTSOCK || error == -EINVAL || error == -EFAULT;
}

} // namespace

/// The self-test comes first, and has a place of its own. The sockets that are ready take turns, one
/// connection each, and go on from there in the next round: none starves, however few connections may still
/// be accepted.
void Server::accept_connections() {
    if (held_ && now_ns_ >= resume_ns_) {
        fork_cell(held_socket_, held_peer_, held_ticket_);
    }
    if (polled_[2].revents != 0 && able_to_accept()) {
        (void)accept_from(control::self_test_socket);
    }
    std::uint64_t ready = 0;
    for (std::uint32_t i = 0; i < launch_.socket_count; ++i) {
        ready |= std::uint64_t{(polled_[first_polled_ + i].revents & POLLIN) != 0} << i;
    }
    for (int accepted = 0; accepted < accepts_per_round && ready != 0; ++accepted) {
        count_elsewhere(); // other listeners of the service accept at the same time
        if (!accepting()) {
            break;
        }
        const auto next = std::countr_zero(std::rotr(ready, static_cast<int>(turn_)));
        const unsigned socket = (turn_ + static_cast<unsigned>(next)) % control::max_listening_sockets;
        turn_ = (socket + 1) % control::max_listening_sockets;
        if (!accept_from(socket)) {
            ready &= ~(std::uint64_t{1} << socket);
        }
    }
}

/// Accepts one connection and gives it to a cell. False if none waits, or the kernel has no room for one.
bool Server::accept_from(std::uint32_t socket) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    // No address is asked for unix: if the kernel could not return it, it would close the connection here.
    auto* const peer = is_unix(socket) ? nullptr : reinterpret_cast<sockaddr*>(&address);
    const long fd = sys::accept(listening_fd(socket), peer, peer == nullptr ? nullptr : &length);
    if (fd == control::connection_fd) {
        strange_errors_ = 0;
        admit(socket, peer_of(socket, address));
        if (socket == control::self_test_socket) {
            close_self_test();
        }
    } else if (fd == -EAGAIN) {
        return false; // the client has closed it, or another generation has accepted it
    } else if (is_no_room(fd)) {
        pause("accept4", fd);
        return false;
    } else if (fd > 0) {
        bug("accept4 returned descriptor %ld: 0 was not free", fd);
    } else if (is_of_the_listener(fd) || (socket == control::self_test_socket && fd != -EINTR)) {
        die_of("cannot accept on", socket, fd);
    } else if (!is_of_the_connection(fd) && ++strange_errors_ > strange_errors_limit) {
        die_of("can never accept on", socket, fd);
    }
    return true;
}

void Server::die_of(const char* what, std::uint32_t socket, long error) const {
    const std::string_view name = launch_.sockets[socket].name();
    die(ExitCode::SystemCall, "%s %.*s: accept4: %s", what, static_cast<int>(name.size()), name.data(),
        error_text(error));
}

/// Accepts nothing for a moment, because the kernel has no room. Logs that once a minute at most, with the
/// client that waits or was reset.
void Server::pause(std::string_view call, long error, std::string_view peer) {
    resume_ns_ = now_ns_ + pause_ns;
    ++complaints_;
    if (now_ns_ < complaint_due_ns_) {
        return;
    }
    complaint_due_ns_ = now_ns_ + complaint_interval_ns;
    Record paused = record(Level::warning, "paused");
    paused.text("call", call).text("error", error_text(error)).text("peer", peer);
    paused.number("live", static_cast<std::int64_t>(connections()))
        .number("times", static_cast<std::int64_t>(complaints_));
    complaints_ = 0;
    log(paused);
}

Peer Server::peer_of(std::uint32_t socket, const sockaddr_storage& address) {
    Peer peer{};
    peer.family = launch_.sockets[socket].family;
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
        if (sys::getsockopt(control::connection_fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0) {
            peer.uid = credentials.uid;
            peer.pid = credentials.pid;
        }
    }
    return peer;
}

/// What a connection must have and did not inherit from its listening socket. 0, or a negated errno.
long Server::set_options() {
    constexpr linger no_linger{0, 0}; // a socket that was passed to us may have it: close would sleep
    constexpr int on = 1;
    const int buffer = static_cast<int>(launch_.socket_buffer);
    const struct {
        const void* value;
        int name;
        socklen_t size;
    } options[] = {
        {&launch_.idle, SO_RCVTIMEO, sizeof launch_.idle},
        {&launch_.idle, SO_SNDTIMEO, sizeof launch_.idle},
        {&no_linger, SO_LINGER, sizeof no_linger},
        {&on, SO_OOBINLINE, sizeof on},
        {&buffer, SO_SNDBUF, sizeof buffer},
        {&buffer, SO_RCVBUF, sizeof buffer},
    };
    for (const auto& [value, name, size] : options) {
        if (value == &buffer && buffer == 0) {
            continue;
        }
        if (const long result = sys::setsockopt(control::connection_fd, SOL_SOCKET, name, value, size);
            result != 0) {
            return result;
        }
    }
    return 0;
}

/// The connection is descriptor 0. Afterwards a cell has it, it is held, or it was reset.
void Server::admit(std::uint32_t socket, const Peer& peer) {
    if (socket == control::self_test_socket || is_supervisor(socket, peer)) {
        return give_to_cell(socket, peer, {});
    }
    Admission::Verdict verdict{Refusal::Loop};
    if (!is_loop(peer)) {
        verdict = admission_.admit(peer, static_cast<std::uint64_t>(now_ns_), connections() + elsewhere_);
    }
    if (!verdict.refusal) {
        return give_to_cell(socket, peer, verdict.ticket);
    }
    turn_away(socket, peer, verdict);
    log_penalty(admission_.take_penalty());
    reset_at_close();
    close_connection(peer.family == AF_UNIX && may_hold_descriptors());
}

/// A client that is one of our own listening sockets: its answers would come back as requests.
bool Server::is_loop(const Peer& peer) const {
    const Admission::Loop loop = admission_.is_loop(peer);
    if (loop != Admission::Loop::if_local) {
        return loop == Admission::Loop::yes;
    }
    sockaddr_storage local{};
    socklen_t length = sizeof local;
    if (sys::getsockname(control::connection_fd, reinterpret_cast<sockaddr*>(&local), &length) != 0) {
        return false;
    }
    const bool ipv6 = local.ss_family == AF_INET6;
    const auto* const address = reinterpret_cast<const std::uint8_t*>(&local) +
                                (ipv6 ? offsetof(sockaddr_in6, sin6_addr) : offsetof(sockaddr_in, sin_addr));
    const control::Source ours = control::source_of(local.ss_family, address);
    const control::Source theirs = source_of(peer);
    return theirs == ours || is_loopback(theirs) || is_loopback(ours);
}

void Server::give_to_cell(std::uint32_t socket, const Peer& peer, const Ticket& ticket) {
    if (!launch_.sockets[socket].inherited) {
        if (const long error = set_options(); error != 0) {
            return refuse("setsockopt", error, peer);
        }
    }
    fork_cell(socket, peer, ticket);
}

/// Where there is no room for a cell, the connection is held, as those in the backlog are.
void Server::fork_cell(std::uint32_t socket, const Peer& peer, const Ticket& ticket) {
    const long pid = cell::cloister_clone_cell(&launch_.parameters, launch_.arena->buffer, cell::clone_flags);
    if (pid < 0 && socket == control::self_test_socket) { // closed by our end: the supervisor sees why first
        die(ExitCode::SystemCall, "cannot fork the self-test's cell: clone: %s", error_text(pid));
    }
    held_ = pid < 0 && is_no_room(pid);
    if (held_) {
        held_socket_ = socket;
        held_peer_ = peer;
        held_ticket_ = ticket;
        return pause("clone", pid, PeerText{peer}.text);
    }
    if (pid < 0) {
        return refuse("clone", pid, peer);
    }
    Cell& cell =
        cells_.add(static_cast<pid_t>(pid)); // its exit signal is blocked: it can't be reaped before this
    cell.socket = socket;
    cell.connection = ++connections_;
    cell.started_ns = now_ns_;
    cell.peer = peer;
    cell.ticket = ticket;
    admission_.begin(ticket);
    if (ticket.counts) {
        admission_.counters().connections.fetch_add(1, std::memory_order_relaxed);
    }
    self_testing_ = self_testing_ || socket == control::self_test_socket;
    close_connection(peer.family == AF_UNIX && may_hold_descriptors());
}

/// The kernel refuses what the connection needs.
void Server::refuse(const char* call, long error, const Peer& peer) {
    reset_at_close();
    if (!is_no_room(error)) { // our end is the connection's end
        die(ExitCode::SystemCall, "cannot give a connection to a cell: %s: %s", call, error_text(error));
    }
    pause(call, error, PeerText{peer}.text);
    close_connection(peer.family == AF_UNIX && may_hold_descriptors());
}

/// No cell for this client: it hears so at once.
void Server::reset_at_close() {
    const linger at_once{1, 0};
    sys::setsockopt(control::connection_fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

} // namespace cloister::listener
