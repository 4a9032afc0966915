// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <csignal>
#include <cstdlib>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::test {

/// Runs `body` in a forked child, which may close descriptors and change user and environment, and returns
/// the text that it returns. The child has ten seconds.
template <class Body>
std::string in_child(Body&& body) {
    std::array<int, 2> pipe{};
    if (::pipe(pipe.data()) != 0) {
        return "pipe failed";
    }
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(10);
        ::dup2(pipe[1], 100); // out of the way of what the body closes
        const std::string text = body();
        const bool sent = ::write(100, text.data(), text.size()) == static_cast<ssize_t>(text.size());
        ::_exit(sent ? 0 : 1);
    }
    ::close(pipe[1]);
    std::string text;
    std::array<char, 4096> part{};
    for (ssize_t n = 0; (n = ::read(pipe[0], part.data(), part.size())) > 0;) {
        text.append(part.data(), static_cast<size_t>(n));
    }
    ::close(pipe[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    return status == 0 ? text : text + " [child's status " + std::to_string(status) + "]";
}

/// For a forked child: an ordinary user from here on, if it was root.
inline void become_ordinary() {
    if (::geteuid() == 0 &&
        (::setresgid(61008, 61008, 61008) != 0 || ::setresuid(61008, 61008, 61008) != 0)) {
        ::_exit(99);
    }
}

} // namespace cloister::test
