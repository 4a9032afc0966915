// SPDX-License-Identifier: MIT
#include "supervisor/control_socket.h"

#include "base/die.h"
#include "supervisor/bind.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cloister::supervisor {

tl::expected<ControlSocket, Failure> ControlSocket::open(const std::string& path, bool is_default,
                                                         const std::optional<config::User>& user) {
    constexpr mode_t directory_mode = 0755;
    const std::string directory = std::filesystem::path{path}.parent_path();
    if (is_default && ::mkdir(directory.c_str(), directory_mode) == 0) {
        (void)::chmod(directory.c_str(), directory_mode); // whatever the umask
    }
    const auto address = config::parse_address(fmt::format("unix:{},mode=0600", path));
    if (!address) {
        return tl::unexpected(
            Failure{ExitCode::Config, fmt::format("control-socket {}: {}", path, address.error())});
    }
    auto socket = bind_listener(*address, config::Service{}, user);
    if (!socket) {
        auto failure = std::move(socket.error());
        constexpr std::string_view said = "--listen unix:";
        if (failure.message.starts_with(said)) { // bind_listener() speaks of a service's address
            failure.message = "control-socket " + failure.message.substr(said.size());
        }
        return tl::unexpected(std::move(failure));
    }
    return ControlSocket{std::move(*socket)};
}

void ControlSocket::add_to(std::vector<pollfd>& polled) const {
    // poll(2) passes over a negative one.
    polled.push_back({clients_.size() < most_clients ? socket_->fd.get() : -1, POLLIN, 0});
    for (const Connection& client : clients_) {
        polled.push_back(
            {client.fd.get(), static_cast<short>(client.out.empty() ? POLLIN : POLLIN | POLLOUT), 0});
    }
}

std::vector<ControlSocket::Asked> ControlSocket::tend() {
    std::vector<Asked> asked;
    const auto now = Clock::now();
    if (now - second_ >= std::chrono::seconds{1}) {
        second_ = now;
        requests_ = 0;
    }
    for (auto client = clients_.begin(); client != clients_.end();) {
        if (!client->out.empty()) {
            (void)send(*client);
        }
        bool lives = receive(*client);
        if (lives && !client->asked && client->in.size() == sizeof(control::Request)) {
            client->asked = true;
            control::Request request;
            std::memcpy(static_cast<void*>(&request), client->in.data(), sizeof request);
            if (!control::is_sound(request)) {
                end(client->id, ExitCode::Usage,
                    "the request is of another version of cloister; use the tool "
                    "that was installed with this cloisterd");
            } else if (++requests_ > most_requests) {
                end(client->id, ExitCode::Unavailable, "too many requests a second; ask less often");
            } else {
                asked.push_back({client->id, request});
            }
        }
        const bool waits = !client->asked || !client->out.empty(); // for the client, not for us
        lives = lives && !(client->last && client->out.empty()) && !(waits && now - client->since > patience);
        client = lives ? std::next(client) : clients_.erase(client);
    }
    accept_clients(); // who says what at the next call
    return asked;
}

void ControlSocket::accept_clients() {
    for (std::size_t tries = 0; tries < most_clients && clients_.size() < most_clients; ++tries) {
        Fd fd{::accept4(socket_->fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
        if (!fd.valid()) {
            return;
        }
        ucred peer{};
        socklen_t length = sizeof peer;
        const bool known = ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0;
        if (!known || (peer.uid != 0 && peer.uid != ::geteuid())) {
            continue; // closes it
        }
        clients_.push_back({++ids_, std::move(fd)});
    }
}

/// False when the client is gone, or says more than one request.
bool ControlSocket::receive(Connection& client) {
    char bytes[sizeof(control::Request) + 1];
    const ssize_t got = ::recv(client.fd.get(), bytes, sizeof bytes, 0);
    if (got < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    client.in.append(bytes, static_cast<std::size_t>(got));
    return got != 0 && client.in.size() <= sizeof(control::Request);
}

bool ControlSocket::send(Connection& client) {
    const ssize_t sent = ::send(client.fd.get(), client.out.data(), client.out.size(), MSG_NOSIGNAL);
    if (sent > 0) {
        client.out.erase(0, static_cast<std::size_t>(sent));
        client.since = Clock::now();
    }
    return sent > 0;
}

void ControlSocket::reply(Client client, const control::Reply& reply) {
    for (Connection& one : clients_) {
        if (one.id == client && !one.last) {
            if (one.out.empty()) {
                one.since = Clock::now();
            }
            one.out.append(reinterpret_cast<const char*>(&reply), sizeof reply);
            one.last = reply.kind == control::Reply::Kind::End;
            if (one.last) {
                (void)send(one);
            }
        }
    }
}

void ControlSocket::end(Client client, ExitCode code, const std::string& message) {
    control::Reply last{control::Reply::Kind::End};
    last.end.code = static_cast<std::uint32_t>(code);
    put_text(last.end.message, message);
    reply(client, last);
}

void ControlSocket::close() {
    clients_.clear();
    if (socket_->fd.valid()) {
        remove_unix_paths({socket_.get(), 1});
        socket_->fd.reset();
    }
}

} // namespace cloister::supervisor
