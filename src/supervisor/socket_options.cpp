// SPDX-License-Identifier: MIT
#include "supervisor/socket_options.h"

#include "base/die.h"
#include "syscall/passrights.h"

#include <cerrno>
#include <fmt/format.h>
#include <fstream>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/time.h>

namespace cloister::supervisor {
namespace {

/// The kernel rounds socket timeouts up to its tick, which is at most 1/100 s.
constexpr std::chrono::milliseconds tick{10};

Failure not_as_set(const std::string& name, std::string_view label, long value, long actual) {
    return {ExitCode::SelfTest,
            fmt::format("{}: {} was set to {} and reads back as {}; this kernel can't be relied on", name,
                        label, value, actual)};
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

/// Switches SO_LINGER off, so that close(2) of a connection does not sleep. It may be on for a passed socket.
std::optional<Failure> forbid_linger(int fd, const std::string& name) {
    constexpr linger none{0, 0};
    if (::setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none) != 0) {
        return system_failure(name, "setsockopt SO_LINGER=0", errno);
    }
    linger actual{1, 1};
    socklen_t length = sizeof actual;
    if (::getsockopt(fd, SOL_SOCKET, SO_LINGER, &actual, &length) != 0) {
        return system_failure(name, "getsockopt SO_LINGER", errno);
    }
    return actual.l_onoff == 0 ? std::nullopt
                               : std::optional{not_as_set(name, "SO_LINGER", 0, actual.l_onoff)};
}

/// The kernel counts a buffer twice (socket(7)), and takes no more than `maximum` says. Fills `actual`.
std::optional<Failure> set_buffer(int fd, const std::string& name, int option, std::string_view label,
                                  const char* maximum, int wanted, int& actual) {
    if (wanted != 0 && ::setsockopt(fd, SOL_SOCKET, option, &wanted, sizeof wanted) != 0) {
        return system_failure(name, fmt::format("setsockopt {}={}", label, wanted), errno);
    }
    socklen_t length = sizeof actual;
    if (::getsockopt(fd, SOL_SOCKET, option, &actual, &length) != 0) {
        return system_failure(name, fmt::format("getsockopt {}", label), errno);
    }
    int largest = 0; // not to be known in a network namespace of its own
    const bool known = bool{std::ifstream{maximum} >> largest};
    const long least = known ? 2L * std::min(wanted, largest) : 1;
    if (wanted != 0 && (actual < least || actual > 2L * wanted)) {
        return not_as_set(name, label, wanted, actual);
    }
    return {};
}

} // namespace

Failure system_failure(const std::string& name, std::string_view call, int error) {
    return {ExitCode::SystemCall, fmt::format("{}: {}: {}", name, call, error_text(error))};
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
        return not_as_set(name, label, value, actual);
    }
    return {};
}

std::optional<Failure> defer_accept(const ListeningSocket& socket, std::chrono::milliseconds time) {
    if (socket.is_unix || socket.activated) {
        return {};
    }
    const auto seconds = static_cast<int>(std::chrono::ceil<std::chrono::seconds>(time).count());
    int actual = -1;
    socklen_t length = sizeof actual;
    const int fd = socket.fd.get();
    if (::setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds) != 0) {
        return system_failure(socket.name, "setsockopt TCP_DEFER_ACCEPT", errno);
    }
    if (::getsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &actual, &length) != 0) {
        return system_failure(socket.name, "getsockopt TCP_DEFER_ACCEPT", errno);
    }
    return (actual != 0) == (seconds != 0)
               ? std::nullopt
               : std::optional{not_as_set(socket.name, "TCP_DEFER_ACCEPT", seconds, actual)};
}

std::optional<Failure> refuse_descriptors(int fd, const std::string& name) {
    constexpr int no = 0;
    if (::setsockopt(fd, SOL_SOCKET, so_passrights, &no, sizeof no) != 0 && errno == ENOPROTOOPT) {
        return {};
    }
    return set_option(fd, name, SOL_SOCKET, so_passrights, "SO_PASSRIGHTS", no);
}

std::optional<Failure> set_options(ListeningSocket& socket, const std::string& name,
                                   const config::Service& service) {
    const int fd = socket.fd.get();
    const int buffer = static_cast<int>(service.socket_buffer.value_or(0));
    auto failure = set_buffer(fd, name, SO_SNDBUF, "SO_SNDBUF", "/proc/sys/net/core/wmem_max", buffer,
                              socket.send_buffer);
    const auto then = [&](auto&& step) { failure = failure ? failure : step(); };
    const auto timeout = [&](int option, std::string_view label) {
        then([&] { return set_timeout(fd, name, option, label, service.idle_timeout); });
    };
    const auto number = [&](int level, int option, std::string_view label, int value) {
        then([&] { return set_option(fd, name, level, option, label, value); });
    };
    then([&] {
        return set_buffer(fd, name, SO_RCVBUF, "SO_RCVBUF", "/proc/sys/net/core/rmem_max", buffer,
                          socket.receive_buffer);
    });
    if (socket.is_unix) { // connections inherit nothing more
        then([&] { return refuse_descriptors(fd, name); });
        return failure;
    }
    timeout(SO_RCVTIMEO, "SO_RCVTIMEO");
    timeout(SO_SNDTIMEO, "SO_SNDTIMEO");
    then([&] { return forbid_linger(fd, name); });
    number(IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY", 1);
    number(IPPROTO_TCP, TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT", static_cast<int>(service.idle_timeout.count()));
    number(SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE", 1);
    number(SOL_SOCKET, SO_OOBINLINE, "SO_OOBINLINE", 1); // an urgent byte is a byte to echo, in its place
    return failure;
}

} // namespace cloister::supervisor
