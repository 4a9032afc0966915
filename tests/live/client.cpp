// SPDX-License-Identifier: MIT
#include "client.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <random>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/un.h>

namespace cloister::live {

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error(what);
}

[[noreturn]] void fail_with_errno(const std::string& what) {
    fail(fmt::format("{}: {}", what, std::strerror(errno)));
}

struct Address {
    sockaddr_storage storage{};
    socklen_t length = 0;
    [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Address parse(const std::string& text) {
    Address address;
    if (text.starts_with("unix:")) {
        sockaddr_un name{};
        name.sun_family = AF_UNIX;
        text.copy(name.sun_path, sizeof name.sun_path - 1, 5);
        std::memcpy(&address.storage, &name, sizeof name);
        address.length = sizeof name;
        return address;
    }
    const auto colon = text.rfind(':');
    const auto port = htons(static_cast<in_port_t>(std::stoul(text.substr(colon + 1))));
    if (text.front() == '[') {
        sockaddr_in6 name{};
        name.sin6_family = AF_INET6;
        name.sin6_port = port;
        ::inet_pton(AF_INET6, text.substr(1, colon - 2).c_str(), &name.sin6_addr);
        std::memcpy(&address.storage, &name, sizeof name);
        address.length = sizeof name;
    } else {
        sockaddr_in name{};
        name.sin_family = AF_INET;
        name.sin_port = port;
        ::inet_pton(AF_INET, text.substr(0, colon).c_str(), &name.sin_addr);
        std::memcpy(&address.storage, &name, sizeof name);
        address.length = sizeof name;
    }
    return address;
}

/// The events that come, or 0 when the time is over.
short await(int fd, short events, Clock::time_point until) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    pollfd waiting{fd, events, 0};
    return ::poll(&waiting, 1, static_cast<int>(std::max<long>(left.count(), 0))) == 1 ? waiting.revents
                                                                                       : short{0};
}

} // namespace

std::string random_bytes(std::size_t length, unsigned seed) {
    std::mt19937_64 engine{seed};
    std::string bytes(length, '\0');
    for (std::size_t at = 0; at < length; at += sizeof(std::uint64_t)) {
        const std::uint64_t word = engine();
        std::memcpy(bytes.data() + at, &word, std::min(sizeof word, length - at));
    }
    return bytes;
}

Client::Client(const std::string& text, int receive_buffer) {
    const Address address = parse(text);
    fd_.reset(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (receive_buffer != 0) {
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    }
    if (::connect(fd_.get(), address.get(), address.length) != 0) {
        fail_with_errno("connect to " + text);
    }
    ::fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
}

std::size_t Client::send_some(std::string_view bytes) const {
    const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        fail_with_errno("send");
    }
    return n < 0 ? 0 : static_cast<std::size_t>(n);
}

void Client::send(std::string_view bytes) const {
    const auto until = Clock::now() + patience;
    while (!bytes.empty()) {
        if (await(fd_.get(), POLLOUT, until) == 0) {
            fail(fmt::format("{} bytes could not be sent", bytes.size()));
        }
        bytes.remove_prefix(send_some(bytes));
    }
}

std::string Client::receive(std::size_t length, std::chrono::milliseconds limit) const {
    const auto until = Clock::now() + limit;
    std::string got(length, '\0');
    for (std::size_t have = 0; have < length;) {
        if (await(fd_.get(), POLLIN, until) == 0) {
            fail(fmt::format("only {} of {} bytes came within {} ms", have, length, limit.count()));
        }
        const ssize_t n = ::recv(fd_.get(), got.data() + have, length - have, 0);
        if (n < 0) {
            fail_with_errno(fmt::format("recv after {} of {} bytes", have, length));
        }
        if (n == 0) {
            fail(fmt::format("the end came after {} of {} bytes", have, length));
        }
        have += static_cast<std::size_t>(n);
    }
    return got;
}

std::string Client::exchange(std::string_view bytes, std::chrono::milliseconds limit) const {
    const auto until = Clock::now() + limit;
    std::string got;
    got.reserve(bytes.size());
    std::array<char, 65536> piece{};
    const std::size_t length = bytes.size();
    while (got.size() < length) {
        const short events = await(fd_.get(), bytes.empty() ? POLLIN : POLLIN | POLLOUT, until);
        if (events == 0) {
            fail(fmt::format("{} bytes unsent, {} of {} back", bytes.size(), got.size(), length));
        }
        if ((events & POLLOUT) != 0) {
            bytes.remove_prefix(send_some(bytes.substr(0, 65536)));
        }
        if ((events & (POLLIN | POLLHUP | POLLERR)) == 0) {
            continue;
        }
        const ssize_t n = ::recv(fd_.get(), piece.data(), std::min(piece.size(), length - got.size()), 0);
        if (n < 0 && errno != EAGAIN) {
            fail_with_errno(fmt::format("recv after {} of {} bytes", got.size(), length));
        }
        if (n == 0) {
            fail(fmt::format("the end came after {} of {} bytes", got.size(), length));
        }
        got.append(piece.data(), static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    }
    return got;
}

std::string Client::receive_to_end(std::chrono::milliseconds limit) const {
    const auto until = Clock::now() + limit;
    std::string got;
    std::array<char, 65536> piece{};
    for (;;) {
        if (await(fd_.get(), POLLIN, until) == 0) {
            fail(fmt::format("no end within {} ms, {} bytes came", limit.count(), got.size()));
        }
        const ssize_t n = ::recv(fd_.get(), piece.data(), piece.size(), 0);
        if (n < 0) {
            fail_with_errno(fmt::format("recv after {} bytes", got.size()));
        }
        if (n == 0) {
            return got;
        }
        got.append(piece.data(), static_cast<std::size_t>(n));
    }
}

bool Client::ends_within(std::chrono::milliseconds limit) const {
    const auto until = Clock::now() + limit;
    std::array<char, 65536> piece{};
    while (await(fd_.get(), POLLIN, until) != 0) {
        if (::recv(fd_.get(), piece.data(), piece.size(), 0) <= 0) {
            return true;
        }
    }
    return false;
}

bool Client::is_quiet_for(std::chrono::milliseconds time) const {
    return await(fd_.get(), POLLIN, Clock::now() + time) == 0;
}

bool Client::echoes(std::string_view text, std::chrono::milliseconds limit) const {
    send(text);
    return receive(text.size(), limit) == text;
}

void Client::half_close() const {
    if (::shutdown(fd_.get(), SHUT_WR) != 0) {
        fail_with_errno("shutdown");
    }
}

void Client::reset() {
    const linger none{1, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
    fd_.reset();
}

std::string Client::name() const {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&storage), &length);
    char text[INET6_ADDRSTRLEN] = "";
    if (storage.ss_family == AF_INET) {
        sockaddr_in name{};
        std::memcpy(&name, &storage, sizeof name);
        return fmt::format("{}:{}", ::inet_ntop(AF_INET, &name.sin_addr, text, sizeof text),
                           ntohs(name.sin_port));
    }
    if (storage.ss_family == AF_INET6) {
        sockaddr_in6 name{};
        std::memcpy(&name, &storage, sizeof name);
        return fmt::format("[{}]:{}", ::inet_ntop(AF_INET6, &name.sin6_addr, text, sizeof text),
                           ntohs(name.sin6_port));
    }
    return "";
}

bool refuses(const std::string& text) {
    const Address address = parse(text);
    const Fd fd{::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (::connect(fd.get(), address.get(), address.length) == 0) {
        return false;
    }
    if (errno != EINPROGRESS) {
        return errno == ECONNREFUSED || errno == ENOENT;
    }
    int error = 0;
    socklen_t length = sizeof error;
    pollfd waiting{fd.get(), POLLOUT, 0};
    return ::poll(&waiting, 1, 1000) == 1 &&
           ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == ECONNREFUSED;
}

} // namespace cloister::live
