// SPDX-License-Identifier: MIT
#include "supervisor/bind.h"

#include "base/die.h"
#include "supervisor/socket_options.h"
#include "supervisor/unix_path.h"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <fstream>
#include <netinet/in.h>

namespace cloister::supervisor {
namespace {

/// The kernel takes less where net.core.somaxconn is less.
constexpr int backlog = 4096;

const sockaddr* generic(const sockaddr_storage& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

std::string lowest_port() {
    std::ifstream file{"/proc/sys/net/ipv4/ip_unprivileged_port_start"};
    std::string port;
    return file >> port ? port : "1024";
}

/// bind(2) takes the broadcast address of a network, where no TCP connection ever comes; connect(2) of a
/// datagram socket, which sends nothing, says EACCES.
bool is_broadcast(const config::Address& address) {
    if (address.storage.ss_family != AF_INET) {
        return false;
    }
    const Fd probe{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    return reinterpret_cast<const sockaddr_in&>(address.storage).sin_addr.s_addr == INADDR_BROADCAST ||
           (::connect(probe.get(), generic(address.storage), address.length) != 0 && errno == EACCES);
}

std::optional<Failure> bind_tcp(int fd, const config::Address& address) {
    std::optional<Failure> failure =
        set_option(fd, address.text, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR", 1);
    if (!failure && address.storage.ss_family == AF_INET6) {
        failure = set_option(fd, address.text, IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY", !address.with_ipv4);
    }
    if (!failure && ::bind(fd, generic(address.storage), address.length) != 0) {
        failure = bind_failure(address, errno);
    }
    if (!failure && is_broadcast(address)) {
        failure =
            Failure{ExitCode::Unavailable,
                    fmt::format("--listen {}: that is a broadcast address, and no TCP connection goes to "
                                "one; give the address of an interface, or 0.0.0.0 for all of them",
                                address.text)};
    }
    return failure;
}

} // namespace

Failure bind_failure(const config::Address& address, int error) {
    const auto say = [&](ExitCode code, std::string why) {
        return Failure{code, fmt::format("--listen {}: {}", address.text, why)};
    };
    const bool is_unix = address.storage.ss_family == AF_UNIX;
    switch (error == EPERM && is_unix ? EACCES : error) { // a file system gives either
    case EADDRINUSE:
        return say(ExitCode::Unavailable,
                   is_unix ? "something came to be there just now; is a second cloisterd starting?"
                           : fmt::format(
                                 "the port is in use, or two addresses given overlap; see who has it with ss "
                                 "-ltnp 'sport = :{}', or give another",
                                 config::port_of(address.storage)));
    case EADDRNOTAVAIL:
        return say(ExitCode::Unavailable,
                   config::has_scope(address.storage)
                       ? "the interface does not have this address; see ip -6 address"
                   : address.storage.ss_family == AF_INET6
                       ? "no interface has this address, or IPv6 is off (sysctl "
                         "net.ipv6.conf.all.disable_ipv6); see "
                         "ip -6 address"
                       : "no interface has this address; see ip address, or listen on 0.0.0.0");
    case EAFNOSUPPORT:
        return say(ExitCode::Unavailable,
                   "IPv6 is off in this kernel; give an IPv4 address, such as 0.0.0.0");
    case EACCES:
        return say(
            ExitCode::NotPermitted,
            is_unix
                ? "no permission to create a file there; give a directory that is ours"
                : fmt::format("ports below {} (sysctl net.ipv4.ip_unprivileged_port_start) need "
                              "CAP_NET_BIND_SERVICE; give a higher one, start as root with --user, or have "
                              "the service manager pass the socket",
                              lowest_port()));
    case ENOENT:
    case ENOTDIR:
        return say(ExitCode::NoInput, "the directory is not there; create it");
    default:
        return say(ExitCode::SystemCall, fmt::format("bind: {}", error_text(error)));
    }
}

std::optional<Failure> read_bound_address(ListeningSocket& socket) {
    socket.address_length = sizeof socket.address;
    if (::getsockname(socket.fd.get(), reinterpret_cast<sockaddr*>(&socket.address),
                      &socket.address_length) != 0) {
        return system_failure(socket.name, "getsockname", errno);
    }
    socket.name = config::name_of(socket.address, socket.address_length);
    return {};
}

tl::expected<ListeningSocket, Failure> bind_listener(const config::Address& address,
                                                     const config::Service& service,
                                                     const std::optional<config::User>& user) {
    const int family = address.storage.ss_family;
    ListeningSocket socket{};
    socket.is_unix = family == AF_UNIX;
    socket.requested = address.text;
    socket.name = address.text; // until the kernel has said which port it is
    socket.fd.reset(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket.fd.valid()) {
        return tl::unexpected{errno == EAFNOSUPPORT ? bind_failure(address, errno)
                                                    : system_failure(address.text, "socket", errno)};
    }
    auto failure = socket.is_unix ? bind_unix(socket, address, user) : bind_tcp(socket.fd.get(), address);
    if (!failure) {
        failure = set_options(socket, address.text, service); // before there is a queue
    }
    if (!failure && ::listen(socket.fd.get(), backlog) != 0) {
        failure = errno == EADDRINUSE ? bind_failure(address, errno) // Linux tells some conflicts only here
                                      : system_failure("--listen " + address.text, "listen", errno);
    }
    if (!failure && !socket.is_unix) {
        failure = read_bound_address(socket);
    }
    if (failure) {
        remove_unix_path(socket);
        return tl::unexpected{std::move(*failure)};
    }
    return socket;
}

} // namespace cloister::supervisor
