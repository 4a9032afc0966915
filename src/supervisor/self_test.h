// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"
#include "control/conversation.h"
#include "supervisor/failure.h"

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <tl/expected.hpp>

namespace cloister::supervisor {

struct ListeningSocket;

/// What a client says to a cell, and what it must hear until the end.
struct Script {
    std::string says;
    std::size_t most; ///< bytes that may come back; one more is wrong at once
    /// Of all that came back: empty, or what is wrong with it.
    std::function<std::string(std::string_view heard)> judge;
};
/// `conversation` of a handler (control::is_sound()), with fresh random bytes; `content` of the service must
/// outlive the script.
[[nodiscard]] Script script_of(const control::Conversation& conversation, std::string_view content);

/// One conversation over a socket that is connected, or about to be. Never waits: poll for `events()` of
/// `fd()`, and call go_on().
class Exchange {
  public:
    /// Connects `fd`, which is non-blocking, to `address`.
    Exchange(Fd fd, Script script, const sockaddr_storage& address, socklen_t length);
    /// `fd` is connected and non-blocking.
    Exchange(Fd fd, Script script);

    void go_on();
    [[nodiscard]] bool over() const { return over_; }
    [[nodiscard]] bool connected() const { return connected_; }
    /// Once it is over: empty if all was as it should be.
    [[nodiscard]] const std::string& failure() const { return failure_; }
    [[nodiscard]] int error() const { return error_; } ///< errno of a connection that there was not; else 0
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] short events() const;

  private:
    Fd fd_;
    Script script_;
    std::size_t said_ = 0;
    std::string heard_;
    std::string failure_;
    int error_ = 0;
    bool connected_ = false;
    bool shut_ = false; ///< all was said
    bool over_ = false;

    void end(std::string failure);
    void cannot_connect(int error);
    void say();
    void cannot_send(int error);
    void hear();
};

/// A socket that listens, has one connection in its queue, `client`, and can never have another. It has an
/// abstract name (unix(7)), so that no file system is in the way; between listen() and shutdown() somebody
/// else may connect, which is noticed.
struct PrivateSocket {
    Fd listening, client;
};
[[nodiscard]] tl::expected<PrivateSocket, Failure> make_private_socket();

/// A client of a public socket, as any other on this host: bound to the address that it comes from, so that
/// the listener can be told.
struct PublicClient {
    Fd fd;
    sockaddr_storage own{}; ///< of family 0 for a unix socket
    int error = 0;          ///< errno: there is none, for this reason
};
[[nodiscard]] PublicClient make_public_client(const ListeningSocket& socket);
[[nodiscard]] Exchange connect(PublicClient client, const ListeningSocket& socket, Script script);

/// Why `socket` can't be reached from here, and whom that concerns.
[[nodiscard]] std::string unreachable_text(const ListeningSocket& socket, int error);

} // namespace cloister::supervisor
