// SPDX-License-Identifier: MIT
#pragma once

#include <utility>

namespace cloister::supervisor {

/// The descriptor of a listening socket. Closed by its last owner like any other, but never so that this
/// process could sleep: clients that wait in the queue of a unix socket may have passed descriptors, which
/// are closed with it, and a TCP socket with SO_LINGER sleeps in close(2) as long as its owner chose
/// (socket(7)). So a child that shares our descriptors (CLONE_FILES, clone(2)) closes a unix socket. It ends
/// within a second, and with us. Where there is no child to be had the socket stays open until we exit; the
/// kernel does not wait for lingering sockets of a process that exits.
class ListeningFd {
  public:
    ListeningFd() = default;
    explicit ListeningFd(int fd) : fd_{fd} {}
    ListeningFd(ListeningFd&& other) noexcept : fd_{other.release()} {}
    ListeningFd& operator=(ListeningFd&& other) noexcept {
        if (this != &other) {
            reset(other.release());
        }
        return *this;
    }
    ListeningFd(const ListeningFd&) = delete;
    ListeningFd& operator=(const ListeningFd&) = delete;
    ~ListeningFd() { reset(); }

    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] bool valid() const { return fd_ >= 0; }
    [[nodiscard]] int release() { return std::exchange(fd_, -1); }
    void reset(int fd = -1);

  private:
    int fd_ = -1;
};

} // namespace cloister::supervisor
