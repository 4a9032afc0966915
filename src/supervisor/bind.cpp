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

/// [::] takes IPv4 too, unless 0.0.0.0 of the same port stands beside it; any other IPv6 address takes IPv6
/// only.
bool is_ipv6_only(const Address& address, const std::vector<Address>& all) {
    const auto port = port_of(address.storage);
    return !is_any_ipv6(address.storage) || std::ranges::any_of(all, [&](const Address& other) {
        return port != 0 && port_of(other.storage) == port && is_any_ipv4(other.storage);
    });
}

std::string lowest_port() {
    std::ifstream file{"/proc/sys/net/ipv4/ip_unprivileged_port_start"};
    std::string port;
    return file >> port ? port : "1024";
}

/// bind(2) takes the broadcast address of a network, where no TCP connection ever comes; connect(2) of a
/// datagram socket, which sends nothing, says EACCES.
bool is_broadcast(const Address& address) {
    const Fd probe{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    return address.storage.ss_family == AF_INET &&
           ::connect(probe.get(), generic(address.storage), address.length) != 0 && errno == EACCES;
}

std::optional<Failure> bind_tcp(int fd, const Address& address, const std::vector<Address>& all) {
    std::optional<Failure> failure =
        set_option(fd, address.text, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR", 1);
    if (!failure && address.storage.ss_family == AF_INET6) {
        failure = set_option(fd, address.text, IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY",
                             is_ipv6_only(address, all));
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

Failure bind_failure(const Address& address, int error) {
    const auto say = [&](ExitCode code, std::string why) {
        return Failure{code, fmt::format("--listen {}: {}", address.text, why)};
    };
    const bool is_unix = address.storage.ss_family == AF_UNIX;
    switch (error) {
    case EADDRINUSE:
        return say(ExitCode::Unavailable,
                   is_unix ? "something came to be there just now; is a second cloisterd starting?"
                           : fmt::format(
                                 "the port is in use, or two addresses given overlap; see who has it with ss "
                                 "-ltnp 'sport = :{}', or give another",
                                 port_of(address.storage)));
    case EADDRNOTAVAIL:
        return say(ExitCode::Unavailable,
                   has_scope(address.storage) ? "the interface does not have this address; see ip -6 address"
                   : address.storage.ss_family == AF_INET6
                       ? "no interface has this address, or IPv6 is off (sysctl "
                         "net.ipv6.conf.all.disable_ipv6); see "
                         "ip -6 address"
                       : "no interface has this address; see ip address, or listen on 0.0.0.0");
    case EAFNOSUPPORT:
        return say(ExitCode::Unavailable,
                   "IPv6 is off in this kernel; give an IPv4 address, such as 0.0.0.0");
    case EACCES:
    case EPERM:
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

std::optional<Failure> read_bound_address(Listener& listener) {
    listener.address_length = sizeof listener.address;
    if (::getsockname(listener.fd.get(), reinterpret_cast<sockaddr*>(&listener.address),
                      &listener.address_length) != 0) {
        return system_failure(listener.name, "getsockname", errno);
    }
    listener.name = name_of(listener.address, listener.address_length);
    return {};
}

tl::expected<Listener, Failure> bind_listener(const Address& address, const Options& options) {
    const int family = address.storage.ss_family;
    Listener listener{};
    listener.is_unix = family == AF_UNIX;
    listener.fd.reset(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!listener.fd.valid()) {
        return tl::unexpected{errno == EAFNOSUPPORT ? bind_failure(address, errno)
                                                    : system_failure(address.text, "socket", errno)};
    }
    auto failure = listener.is_unix ? bind_unix(listener, address, options.user)
                                    : bind_tcp(listener.fd.get(), address, options.listen);
    if (!failure) {
        failure = set_options(listener, address.text, options); // before there is a queue
    }
    if (!failure && ::listen(listener.fd.get(), backlog) != 0) {
        failure = bind_failure(address, errno); // Linux tells some conflicts only here
    }
    if (!failure && !listener.is_unix) {
        failure = read_bound_address(listener);
    }
    if (failure) {
        remove_unix_path(listener);
        return tl::unexpected{std::move(*failure)};
    }
    return listener;
}

} // namespace cloister::supervisor
