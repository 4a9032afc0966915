// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"
#include "fault.h"
#include "syscall/passrights.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <future>
#include <memory>
#include <netinet/in.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <thread>
#include <vector>

/// Clients of a unix socket who pass a TCP socket that sleeps in close(2): it has unsent data, which its peer
/// does not read, and a long SO_LINGER (socket(7)).
namespace cloister::live {

inline constexpr int linger_seconds = 60;

/// A kernel before 6.16: nobody can refuse descriptors.
inline const std::vector<Fault> without_passrights{
    {"NoPassRights", SYS_setsockopt, 2, so_passrights, ENOPROTOOPT, 0, ""},
    {"NoPassRightsToRead", SYS_getsockopt, 2, so_passrights, ENOPROTOOPT, 0, ""}};

/// Closes where it can't keep the test waiting, should this be the last reference after all.
inline void close_aside(Fd fd) {
    const auto closed = std::make_shared<std::promise<void>>();
    const auto done = closed->get_future();
    std::thread{[number = fd.release(), closed] {
        ::close(number);
        closed->set_value();
    }}.detach();
    (void)done.wait_for(std::chrono::milliseconds{200});
}

class LingeringClients {
  public:
    LingeringClients() : listening_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
        address_ = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
        socklen_t length = sizeof address_;
        if (::bind(listening_.get(), generic(), length) != 0 || ::listen(listening_.get(), 1000) != 0 ||
            ::getsockname(listening_.get(), generic(), &length) != 0) {
            throw std::runtime_error{"no TCP socket to pass"};
        }
    }

    /// A client that sends more than a cell takes at once, then the socket, and is gone. False: it may not
    /// pass one (EPERM).
    [[nodiscard]] bool come(const std::string& path) {
        Fd passed = lingering_socket();
        const Fd client{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        sockaddr_un name{};
        name.sun_family = AF_UNIX;
        path.copy(name.sun_path, sizeof name.sun_path - 1);
        const std::string bytes(70'000, 'a');
        if (::connect(client.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) != 0 ||
            ::send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) !=
                static_cast<ssize_t>(bytes.size())) {
            throw std::runtime_error{fmt::format("no client at {}: {}", path, std::strerror(errno))};
        }
        const bool sent = pass(client.get(), passed.get());
        if (!sent) {
            const linger none{0, 0};
            ::setsockopt(passed.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
        }
        close_aside(std::move(passed)); // a cell may have received and dropped it by now
        return sent;
    }

  private:
    Fd listening_;
    sockaddr_in address_{};
    std::vector<Fd> peers_; // they never read

    [[nodiscard]] sockaddr* generic() { return reinterpret_cast<sockaddr*>(&address_); }

    [[nodiscard]] Fd lingering_socket() {
        Fd ours{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        const linger long_one{1, linger_seconds};
        const std::string bytes(65'536, 'x');
        if (::connect(ours.get(), generic(), sizeof address_) != 0 ||
            ::setsockopt(ours.get(), SOL_SOCKET, SO_LINGER, &long_one, sizeof long_one) != 0) {
            throw std::runtime_error{"no lingering socket"};
        }
        peers_.emplace_back(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        while (::send(ours.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
        }
        return ours;
    }

    [[nodiscard]] static bool pass(int client, int passed) {
        char byte = 'b';
        iovec part{&byte, 1};
        alignas(cmsghdr) char rights[CMSG_SPACE(sizeof passed)] = {};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        header.msg_control = rights;
        header.msg_controllen = sizeof rights;
        cmsghdr* const control = CMSG_FIRSTHDR(&header);
        control->cmsg_level = SOL_SOCKET;
        control->cmsg_type = SCM_RIGHTS;
        control->cmsg_len = CMSG_LEN(sizeof passed);
        std::memcpy(CMSG_DATA(control), &passed, sizeof passed);
        if (::sendmsg(client, &header, MSG_NOSIGNAL) == 1) {
            return true;
        }
        if (errno != EPERM && errno != EPIPE) {
            throw std::runtime_error{fmt::format("sendmsg: {}", std::strerror(errno))};
        }
        return false;
    }
};

/// A listening unix socket to pass to the daemon, so that clients can be there before it.
struct PassedUnixSocket {
    explicit PassedUnixSocket(const std::string& path)
        : fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
        sockaddr_un name{};
        name.sun_family = AF_UNIX;
        path.copy(name.sun_path, sizeof name.sun_path - 1);
        if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) != 0 ||
            ::listen(fd.get(), 1000) != 0 || ::chmod(path.c_str(), 0777) != 0) {
            throw std::runtime_error{fmt::format("no socket at {}: {}", path, std::strerror(errno))};
        }
    }
    ~PassedUnixSocket() { close(); }
    PassedUnixSocket(const PassedUnixSocket&) = delete;
    PassedUnixSocket& operator=(const PassedUnixSocket&) = delete;
    void close() { close_aside(std::move(fd)); } ///< with whatever clients wait in its queue
    Fd fd;
};

} // namespace cloister::live
