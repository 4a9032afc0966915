// SPDX-License-Identifier: MIT
#include "supervisor/self_test.h"

#include "base/die.h"
#include "config/address.h"
#include "control/judge.h"
#include "supervisor/socket_options.h"

#include <cerrno>
#include <cstdint>
#include <fmt/core.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/random.h>
#include <utility>

namespace cloister::supervisor {
namespace {

constexpr int tries = 16; // somebody else may be quicker, but not always
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 // since Linux 5.14
#endif

const sockaddr* generic(const sockaddr_storage& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

/// Where a client on this host reaches a socket that is bound to `address`.
sockaddr_storage reachable(sockaddr_storage address) {
    if (config::is_any_ipv4(address)) {
        reinterpret_cast<sockaddr_in&>(address).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else if (config::is_any_ipv6(address)) {
        reinterpret_cast<sockaddr_in6&>(address).sin6_addr = in6addr_loopback;
    }
    return address;
}

sockaddr_storage with_any_port(sockaddr_storage address) {
    if (address.ss_family == AF_INET) {
        reinterpret_cast<sockaddr_in&>(address).sin_port = 0;
    } else {
        reinterpret_cast<sockaddr_in6&>(address).sin6_port = 0;
    }
    return address;
}

/// 0 where the kernel does not say.
std::uint64_t network_namespace(int fd) {
    std::uint64_t cookie = 0;
    socklen_t length = sizeof cookie;
    return ::getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) == 0 ? cookie : 0;
}

tl::unexpected<Failure> no_socket(std::string_view call) {
    return tl::unexpected(system_failure("cannot make the self-test's socket", call, errno));
}

Fd unix_socket() {
    return Fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
}

bool connects(const Fd& client, const sockaddr_storage& address, socklen_t length) {
    return ::connect(client.get(), generic(address), length) == 0;
}

} // namespace

Script script_of(const control::Conversation& conversation, std::string_view content) {
    std::string random(32, '\0');
    if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
        die(ExitCode::SystemCall, "no random bytes for the self-test: getrandom: %s", error_text(errno));
    }
    return {std::string{control::request_of(conversation, random)},
            control::longest_answer(conversation, random, content),
            [conversation, random, content](std::string_view heard) {
                return control::is_answer(conversation, random, content, heard)
                           ? std::string{}
                           : fmt::format("{} bytes came back, not {}", heard.size(),
                                         control::name_of(conversation.kind));
            }};
}

Exchange::Exchange(Fd fd, Script script, const sockaddr_storage& address, socklen_t length)
    : fd_{std::move(fd)}, script_{std::move(script)} {
    connected_ = connects(fd_, address, length);
    if (!connected_ && errno != EINPROGRESS) {
        cannot_connect(errno);
    }
}

Exchange::Exchange(Fd fd, Script script) : fd_{std::move(fd)}, script_{std::move(script)}, connected_{true} {}

short Exchange::events() const {
    return connected_ && shut_ ? POLLIN : POLLOUT;
}

void Exchange::end(std::string failure) {
    over_ = true;
    failure_ = std::move(failure);
    fd_.reset();
    heard_ = {}; // the content, which may be large
}

void Exchange::cannot_connect(int error) {
    error_ = error;
    end(fmt::format("connect: {}", error_text(error)));
}

void Exchange::go_on() {
    if (!over_ && !connected_) {
        int error = 0;
        socklen_t length = sizeof error;
        pollfd polled{fd_.get(), POLLOUT, 0};
        if (::poll(&polled, 1, 0) != 1) {
            return;
        }
        if (::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0) {
            return cannot_connect(error != 0 ? error : errno);
        }
        connected_ = true;
    }
    if (!over_ && !shut_) {
        say();
    }
    if (!over_ && shut_) {
        hear();
    }
}

void Exchange::say() {
    const std::string& all = script_.says;
    if (said_ < all.size()) {
        const ssize_t sent =
            ::send(fd_.get(), all.data() + said_, all.size() - said_, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            return cannot_send(errno);
        }
        said_ += sent > 0 ? static_cast<std::size_t>(sent) : 0;
    }
    if (said_ == all.size()) {
        shut_ = true;
        if (::shutdown(fd_.get(), SHUT_WR) != 0 && errno != ENOTCONN) { // it may have ended
            end(fmt::format("shutdown: {}", error_text(errno)));
        }
    }
}

/// Why the cell has closed may be what denies us the next call, too.
void Exchange::cannot_send(int error) {
    char byte = 0;
    const bool unheard = ::recv(fd_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0;
    const bool denied = unheard && (errno == EPERM || errno == ENOSYS);
    end(denied ? fmt::format("recvfrom: {}", error_text(errno))
               : fmt::format("sendto: {}", error_text(error)));
}

void Exchange::hear() {
    char piece[4096];
    for (;;) {
        const ssize_t size = ::recv(fd_.get(), piece, sizeof piece, MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (size < 0) {
            return end(fmt::format("recvfrom: {}", error_text(errno)));
        }
        heard_.append(piece, static_cast<std::size_t>(size));
        if (size == 0 || heard_.size() > script_.most) {
            return end(script_.judge(heard_));
        }
    }
}

tl::expected<PrivateSocket, Failure> make_private_socket() {
    const std::string name = "the self-test's socket";
    for (int i = 0; i < tries; ++i) {
        PrivateSocket made{unix_socket(), unix_socket()};
        const Fd another = unix_socket();
        if (!made.listening.valid() || !made.client.valid() || !another.valid()) {
            return no_socket("socket");
        }
        for (const Fd* fd : {&made.listening, &made.client}) {
            if (auto failure = refuse_descriptors(fd->get(), name)) {
                return tl::unexpected(std::move(*failure));
            }
        }
        sockaddr_storage address{};
        address.ss_family = AF_UNIX;
        socklen_t length = sizeof address;
        if (::bind(made.listening.get(), generic(address), sizeof(sa_family_t)) != 0 ||
            ::getsockname(made.listening.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
            return no_socket("bind");
        }
        if (::listen(made.listening.get(), 0) != 0) { // one client and no more
            return no_socket("listen");
        }
        const bool first = connects(made.client, address, length);
        if (!first && errno != EAGAIN) {
            return no_socket("connect");
        }
        if (::shutdown(made.listening.get(), SHUT_RD) != 0) {
            return no_socket("shutdown");
        }
        if (connects(another, address, length) || errno != ECONNREFUSED) {
            return tl::unexpected(Failure{
                ExitCode::SelfTest, "asked to shut the self-test's socket for others, the kernel did not"});
        }
        if (first) {
            return made;
        }
    }
    return tl::unexpected(
        Failure{ExitCode::SelfTest,
                "somebody else connects to each socket of ours for the self-test before we do; end "
                "what does so (ss -xp)"});
}

PublicClient make_public_client(const ListeningSocket& socket) {
    PublicClient client;
    client.fd.reset(::socket(socket.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!client.fd.valid()) {
        client.error = errno;
        return client;
    }
    const auto theirs = network_namespace(socket.fd.get());
    const auto ours = network_namespace(client.fd.get());
    if (theirs != ours && theirs != 0 && ours != 0) {
        client.error = EXDEV; // whoever has this address here, it is not we
        return client;
    }
    if (socket.is_unix) { // whoever has the path by now could make our recv(2) sleep by what it passes
        if (refuse_descriptors(client.fd.get(), socket.name)) {
            client.error = ENOTSUP;
        }
    } else {
        sockaddr_storage own = with_any_port(reachable(socket.address));
        socklen_t length = socket.address_length;
        if (::bind(client.fd.get(), generic(own), length) != 0 ||
            ::getsockname(client.fd.get(), reinterpret_cast<sockaddr*>(&own), &length) != 0) {
            client.error = errno;
        } else {
            client.own = own;
        }
    }
    return client;
}

Exchange connect(PublicClient client, const ListeningSocket& socket, Script script) {
    return {std::move(client.fd), std::move(script), reachable(socket.address), socket.address_length};
}

std::string unreachable_text(const ListeningSocket& socket, int error) {
    const char* cure = "see whether clients can";
    switch (error) {
    case EXDEV:
        return fmt::format(
            "{} is in another network namespace than cloisterd, so it was not tried; try it from there",
            socket.name);
    case EACCES:
    case EPERM:
        cure = socket.is_unix
                   ? "its mode or a directory above keeps cloisterd's own user out; if clients shall come, "
                     "give mode= and a directory that they may enter"
                   : "a firewall or a security module forbids it";
        break;
    case ENOENT:
    case ECONNREFUSED:
        cure = socket.is_unix
                   ? "its path was removed or replaced, so no client finds it: restart what made it"
                   : "something on this host refuses it in our place: a firewall?";
        break;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
    case ENETUNREACH:
    case EHOSTUNREACH:
        cure = "this host does not have the address, or not any more (is IPv6 off, or an interface down?)";
        break;
    case ETIMEDOUT:
        cure = "a firewall may drop what we send";
        break;
    default:
        break;
    }
    return fmt::format("{} can't be reached from where cloisterd stands: {}; {}", socket.name,
                       error_text(error), cure);
}

} // namespace cloister::supervisor
