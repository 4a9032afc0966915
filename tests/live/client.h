// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace cloister::live {

using namespace std::chrono_literals;

/// Bytes that no two positions or seeds share by more than chance.
[[nodiscard]] std::string random_bytes(std::size_t length, unsigned seed = 1);

/// A client. Whatever does not come about in time throws, which fails the test with the text of what was
/// awaited.
class Client {
  public:
    static constexpr auto patience = 10s;

    /// `address` as in the ready record: 127.0.0.1:7007, [::1]:7007, unix:/path. A small receive buffer makes
    /// a slow reader.
    explicit Client(const std::string& address, int receive_buffer = 0);

    void send(std::string_view bytes) const;
    /// As much as goes without waiting.
    [[nodiscard]] std::size_t send_some(std::string_view bytes) const;
    [[nodiscard]] std::string receive(std::size_t length, std::chrono::milliseconds limit = patience) const;
    /// Sends all of it and receives the same number of bytes at once, so that neither side waits for the
    /// other.
    [[nodiscard]] std::string exchange(std::string_view bytes, std::chrono::milliseconds limit = 60s) const;
    /// Everything up to the end; a reset throws.
    [[nodiscard]] std::string receive_to_end(std::chrono::milliseconds limit = patience) const;
    /// True if the connection was ended, in order or by a reset, within that time; what comes before is
    /// thrown away.
    [[nodiscard]] bool ends_within(std::chrono::milliseconds limit) const;
    /// Nothing to read and no end for that long.
    [[nodiscard]] bool is_quiet_for(std::chrono::milliseconds time) const;
    [[nodiscard]] bool echoes(std::string_view text, std::chrono::milliseconds limit = patience) const;

    void half_close() const;
    void close() { fd_.reset(); }
    void reset();
    [[nodiscard]] int fd() const { return fd_.get(); }
    /// Our end as the daemon sees it, 127.0.0.1:40000; empty for unix sockets.
    [[nodiscard]] std::string name() const;

  private:
    Fd fd_;
};

/// Whether somebody refuses connections there (rather than accepting, or leaving them in a backlog).
[[nodiscard]] bool refuses(const std::string& address);

} // namespace cloister::live
