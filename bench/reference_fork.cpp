// SPDX-License-Identifier: MIT
// The yardstick: accept, fork, echo in pieces of 100 bytes. It never waits for its children, which stay as
// zombies, so it has to be restarted for each sample. No confinement at all.
#include "reference_listen.h"

#include <unistd.h>

namespace {

[[noreturn]] void echo(int connection) {
    char buffer[100];
    for (;;) {
        const ssize_t got = recv(connection, buffer, sizeof buffer, 0);
        if (got <= 0) {
            _exit(got < 0);
        }
        for (ssize_t sent = 0; sent < got;) {
            const ssize_t n = send(connection, buffer + sent, static_cast<size_t>(got - sent), MSG_NOSIGNAL);
            if (n <= 0) {
                _exit(1);
            }
            sent += n;
        }
    }
}

} // namespace

int main(int argc, char** argv) {
    const int listener = listen_and_print_port(argc, argv);
    for (;;) {
        const int connection = accept(listener, nullptr, nullptr);
        if (connection < 0) {
            continue;
        }
        if (fork() == 0) {
            close(listener);
            echo(connection);
        }
        close(connection);
    }
}
