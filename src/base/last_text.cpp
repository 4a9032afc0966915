// SPDX-License-Identifier: MIT
#include "base/last_text.h"

#include <cerrno>
#include <csignal>
#include <ctime>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister {
namespace {

constexpr int milliseconds = 1000;

void write_all(std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
        if (written <= 0 && errno != EINTR) {
            return;
        }
        text.remove_prefix(written < 0 ? 0 : static_cast<std::size_t>(written));
    }
}

} // namespace

void write_last_text(std::string_view text) {
    const pid_t child = fork();
    if (child == 0) {
        sigset_t none;
        sigemptyset(&none);
        (void)pthread_sigmask(SIG_SETMASK, &none, nullptr);
        (void)close_range(0, STDERR_FILENO - 1, 0);
        (void)close_range(STDERR_FILENO + 1, ~0U, 0);
        write_all(text);
        _exit(0);
    }
    if (child < 0) { // what takes a whole text at once can be written to without waiting for long
        pollfd polled{STDERR_FILENO, POLLOUT, 0};
        if (poll(&polled, 1, milliseconds) == 1) {
            write_all(text);
        }
        return;
    }
    const timespec one{0, 1'000'000};
    for (int i = 0; i < milliseconds && waitpid(child, nullptr, WNOHANG) == 0; ++i) {
        (void)nanosleep(&one, nullptr);
    }
}

} // namespace cloister
