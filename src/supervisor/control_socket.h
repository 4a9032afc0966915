// SPDX-License-Identifier: MIT
#pragma once

#include "control/operator.h"
#include "supervisor/sockets.h"

#include <chrono>
#include <list>
#include <poll.h>
#include <string>
#include <vector>

namespace cloister::supervisor {

/// The socket on which `cloister` asks the supervisor: for root and our own user alone. Nothing here waits:
/// a client that sends or reads nothing for a while is left, and one too many stays in the backlog.
class ControlSocket {
  public:
    static constexpr std::size_t most_clients = 8;
    static constexpr std::chrono::seconds patience{
        5};                                       ///< with a client that sends no request, or reads nothing
    static constexpr unsigned most_requests = 50; ///< in a second; further ones are refused

    /// Binds it, mode 0600, as `user` if that is given. Its directory is made if it is the default one. With
    /// the privileges that cloisterd was started with.
    [[nodiscard]] static tl::expected<ControlSocket, Failure> open(const std::string& path, bool is_default,
                                                                   const std::optional<config::User>& user);

    /// That of an earlier program of this process.
    [[nodiscard]] static ControlSocket adopt(ListeningSocket socket) {
        return ControlSocket{std::move(socket)};
    }
    [[nodiscard]] const ListeningSocket& socket() const { return *socket_; }

    void add_to(std::vector<pollfd>& polled) const;

    using Client = unsigned;
    struct Asked {
        Client client;
        control::Request request;
    };
    /// Takes and sends what is there.
    [[nodiscard]] std::vector<Asked> tend();
    /// Of a client that is gone, this is ignored.
    void reply(Client client, const control::Reply& reply);
    void end(Client client, ExitCode code, const std::string& message);

    [[nodiscard]] bool has_clients() const { return !clients_.empty(); }
    [[nodiscard]] const std::string& name() const { return socket_->name; }
    /// And removes its file.
    void close();

  private:
    using Clock = std::chrono::steady_clock;
    struct Connection {
        Client id;
        Fd fd;
        std::string in{}, out{};
        bool asked = false, last = false; ///< last: its End is in `out`
        Clock::time_point since = Clock::now();
    };

    explicit ControlSocket(ListeningSocket socket)
        : socket_{std::make_shared<ListeningSocket>(std::move(socket))} {}

    std::shared_ptr<ListeningSocket> socket_;
    std::list<Connection> clients_;
    Client ids_ = 0;
    unsigned requests_ = 0; ///< in this second
    Clock::time_point second_{};

    void accept_clients();
    [[nodiscard]] bool receive(Connection& client);
    [[nodiscard]] static bool send(Connection& client);
};

/// The socket, if there is one; or why there is none, unless that was asked for.
struct OperatorAccess {
    std::optional<ControlSocket> socket{};
    std::string why_not{};
};

/// As much as there is room for.
template <std::size_t N>
void put_text(char (&to)[N], std::string_view text) {
    to[text.copy(to, N - 1)] = '\0';
}

} // namespace cloister::supervisor
