// SPDX-License-Identifier: MIT
#include "supervisor/bind.h"

#include "sys/die.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/time.h>

namespace cloister::supervisor {
namespace {

/// The kernel takes less where net.core.somaxconn is less.
constexpr int backlog = 4096;
/// The kernel rounds socket timeouts up to its tick, which is at most 1/100 s.
constexpr std::chrono::milliseconds tick{10};

const sockaddr* generic(const sockaddr_storage& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

std::optional<Failure> set_option(int fd, const std::string& name, int level, int option,
                                  std::string_view label, int value) {
    if (::setsockopt(fd, level, option, &value, sizeof value) != 0) {
        return system_failure(name, fmt::format("setsockopt {}={}", label, value), errno);
    }
    int actual = -1;
    socklen_t length = sizeof actual;
    if (::getsockopt(fd, level, option, &actual, &length) != 0) {
        return system_failure(name, fmt::format("getsockopt {}", label), errno);
    }
    if (actual != value) {
        return Failure{ExitCode::SelfTest,
                       fmt::format("{}: {} was set to {} and reads back as {}; this kernel can't "
                                   "be relied on",
                                   name, label, value, actual)};
    }
    return {};
}

std::optional<Failure> set_timeout(int fd, const std::string& name, int option, std::string_view label,
                                   std::chrono::milliseconds timeout) {
    const auto whole = std::chrono::floor<std::chrono::seconds>(timeout);
    timeval value{whole.count(), std::chrono::microseconds{timeout - whole}.count()};
    if (::setsockopt(fd, SOL_SOCKET, option, &value, sizeof value) != 0) {
        return system_failure(name, fmt::format("setsockopt {}={}ms", label, timeout.count()), errno);
    }
    timeval actual{};
    socklen_t length = sizeof actual;
    if (::getsockopt(fd, SOL_SOCKET, option, &actual, &length) != 0) {
        return system_failure(name, fmt::format("getsockopt {}", label), errno);
    }
    const auto read_back = std::chrono::seconds{actual.tv_sec} + std::chrono::microseconds{actual.tv_usec};
    if (read_back < timeout || read_back > timeout + tick) {
        return Failure{
            ExitCode::SelfTest,
            fmt::format("{}: {} was set to {}ms and reads back as {}us; this kernel can't be relied on", name,
                        label, timeout.count(), read_back.count())};
    }
    return {};
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

/// Removes a socket that nobody listens on any more; whatever else is at the path stays, and is an error.
std::optional<Failure> clear_unix_path(const Address& address) {
    const auto path = unix_path(address.storage, address.length);
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) {
        return {}; // nothing there, or bind will say why
    }
    const auto refuse = [&](std::string_view why) {
        return Failure{ExitCode::Unavailable, fmt::format("--listen {}: {}", address.text, why)};
    };
    if (!S_ISSOCK(status.st_mode)) {
        return refuse("the file there is not a socket; remove it, or give another path");
    }
    const Fd probe{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (::connect(probe.get(), generic(address.storage), address.length) == 0 || errno != ECONNREFUSED) {
        return refuse("the socket there is in use; stop its owner, or give another path");
    }
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return refuse(
            fmt::format("the stale socket there can't be removed: {}; remove it by hand", error_text(errno)));
    }
    return {};
}

/// bind(2) with the mode that was asked for from the first moment, and the owner.
std::optional<Failure> bind_unix(Listener& listener, const Address& address,
                                 const std::optional<User>& owner) {
    if (auto failure = clear_unix_path(address)) {
        return failure;
    }
    const mode_t saved = ::umask(~address.mode & 0777);
    const int bound = ::bind(listener.fd.get(), generic(address.storage), address.length);
    const int error = errno;
    ::umask(saved);
    if (bound != 0) {
        return bind_failure(address, error);
    }
    // Through a descriptor of the very file: a path could lead elsewhere by now.
    const auto path = unix_path(address.storage, address.length);
    const Fd file{::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
    struct stat status {};
    if (::fstat(file.get(), &status) != 0 || !S_ISSOCK(status.st_mode)) {
        return bind_failure(address, EADDRINUSE);
    }
    listener.device = status.st_dev;
    listener.inode = status.st_ino;
    if (owner && ::geteuid() == 0 && ::fchownat(file.get(), "", owner->uid, owner->gid, AT_EMPTY_PATH) != 0) {
        return system_failure(address.text, fmt::format("chown to {}", owner->name), errno);
    }
    return {};
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

Failure system_failure(const std::string& name, std::string_view call, int error) {
    return {ExitCode::SystemCall, fmt::format("{}: {}: {}", name, call, error_text(error))};
}

std::optional<Failure> set_inherited_options(int fd, const std::string& name,
                                             std::chrono::milliseconds idle_timeout) {
    auto failure = set_timeout(fd, name, SO_RCVTIMEO, "SO_RCVTIMEO", idle_timeout);
    const auto timeout = [&](int option, std::string_view label) {
        failure = failure ? failure : set_timeout(fd, name, option, label, idle_timeout);
    };
    const auto number = [&](int level, int option, std::string_view label, int value) {
        failure = failure ? failure : set_option(fd, name, level, option, label, value);
    };
    timeout(SO_SNDTIMEO, "SO_SNDTIMEO");
    number(IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY", 1);
    number(IPPROTO_TCP, TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT", static_cast<int>(idle_timeout.count()));
    number(SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE", 1);
    number(SOL_SOCKET, SO_OOBINLINE, "SO_OOBINLINE", 1); // an urgent byte is a byte to echo, in its place
    return failure;
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

tl::expected<Listener, Failure> bind_listener(const Address& address, const std::vector<Address>& all,
                                              const std::optional<User>& owner) {
    const int family = address.storage.ss_family;
    Listener listener{};
    listener.is_unix = family == AF_UNIX;
    listener.fd.reset(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!listener.fd.valid()) {
        return tl::unexpected{errno == EAFNOSUPPORT ? bind_failure(address, errno)
                                                    : system_failure(address.text, "socket", errno)};
    }
    auto failure =
        listener.is_unix ? bind_unix(listener, address, owner) : bind_tcp(listener.fd.get(), address, all);
    if (!failure && ::listen(listener.fd.get(), backlog) != 0) {
        failure = bind_failure(address, errno); // Linux tells some conflicts only here
    }
    if (!failure) {
        failure = read_bound_address(listener);
    }
    if (failure) {
        return tl::unexpected{std::move(*failure)};
    }
    return listener;
}

} // namespace cloister::supervisor
