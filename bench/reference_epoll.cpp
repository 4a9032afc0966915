// SPDX-License-Identifier: MIT
// The other end of the scale: one process, one epoll loop, one buffer of 64 KiB for all clients. What
// isolation costs is the distance to this. What could not be sent stays in the socket: the connection is then
// polled for writing and its bytes are kept aside, so that the echo is exact for any client.
#include "reference_listen.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <sys/epoll.h>
#include <unistd.h>
#include <unordered_map>

namespace {

char buffer[65536];
std::unordered_map<int, std::string> unsent; // only of connections whose reader is slow

void watch(int epoll, int operation, int fd, uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    epoll_ctl(epoll, operation, fd, &event);
}

void drop(int connection) {
    unsent.erase(connection);
    close(connection);
}

void flush(int epoll, int connection) {
    std::string& rest = unsent[connection];
    const ssize_t sent = send(connection, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        drop(connection);
    } else if (sent == static_cast<ssize_t>(rest.size())) {
        unsent.erase(connection);
        watch(epoll, EPOLL_CTL_MOD, connection, EPOLLIN);
    } else if (sent > 0) {
        rest.erase(0, static_cast<size_t>(sent));
    }
}

void echo(int epoll, int connection) {
    const ssize_t got = recv(connection, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        drop(connection);
        return;
    }
    const ssize_t sent = send(connection, buffer, static_cast<size_t>(got), MSG_NOSIGNAL);
    if (sent == got) {
        return;
    }
    if (sent < 0 && errno != EAGAIN) {
        drop(connection);
        return;
    }
    const ssize_t from = sent < 0 ? 0 : sent;
    unsent[connection].assign(buffer + from, static_cast<size_t>(got - from));
    watch(epoll, EPOLL_CTL_MOD, connection, EPOLLOUT);
}

} // namespace

int main(int argc, char** argv) {
    const int listener = listen_and_print_port(argc, argv);
    const int epoll = epoll_create1(0);
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN);
    epoll_event events[64];
    for (;;) {
        const int ready = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < ready; ++i) {
            const int fd = events[i].data.fd;
            if (fd == listener) {
                const int connection = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
                if (connection >= 0) {
                    watch(epoll, EPOLL_CTL_ADD, connection, EPOLLIN);
                }
            } else if ((events[i].events & EPOLLOUT) != 0) {
                flush(epoll, fd);
            } else {
                echo(epoll, fd);
            }
        }
    }
}
