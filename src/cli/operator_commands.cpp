// SPDX-License-Identifier: MIT
#include "cli/operator_commands.h"

#include "cli/answer.h"
#include "cli/operator_client.h"
#include "cli/status_view.h"

#include <chrono>
#include <cstring>
#include <thread>
#include <unistd.h>

namespace cloister::tool {
namespace {

using namespace std::chrono_literals;

constexpr int status_limit_ms = 10'000;
constexpr int reload_limit_ms = 3'600'000; // it may wait for a generation that drains

template <std::size_t N>
std::string text(const char (&bytes)[N]) {
    return {bytes, strnlen(bytes, N)};
}

[[noreturn]] void wrong_usage(const std::string& what) {
    fmt::print(stderr, "cloister: {}\n", what);
    throw Exit{static_cast<int>(ExitCode::Usage)};
}

Replies ask_or_exit(const std::string& socket, const control::Request& request) {
    control::Reply::End end{};
    auto replies = ask_daemon(socket, request, status_limit_ms, end);
    if (end.code != 0) {
        fmt::print(stderr, "cloister: {}\n", text(end.message));
        throw Exit{static_cast<int>(end.code)};
    }
    return replies;
}

Replies ask_status(const std::string& socket) {
    control::Request request{};
    control::prepare(request, control::Request::Kind::Status);
    return ask_or_exit(socket, request);
}

/// Redrawn in place, until it is interrupted.
[[noreturn]] void watch_status(const std::string& socket) {
    const bool terminal = ::isatty(STDOUT_FILENO) == 1;
    Replies before;
    auto then = std::chrono::steady_clock::now();
    for (;;) {
        auto replies = ask_status(socket);
        const auto now = std::chrono::steady_clock::now();
        const auto shown = status_text(replies, before, std::chrono::duration<double>(now - then).count());
        // Home, each line cleared behind its text, and what is below.
        std::string screen = terminal ? "\x1b[H" : "";
        for (const char c : shown) {
            screen += terminal && c == '\n' ? "\x1b[K\n" : std::string(1, c);
        }
        fmt::print("{}{}", screen, terminal ? "\x1b[J" : "\n");
        if (std::fflush(stdout) != 0) {
            throw Exit{static_cast<int>(ExitCode::SystemCall)};
        }
        before = std::move(replies);
        then = now;
        std::this_thread::sleep_for(1s);
    }
}

} // namespace

int show_status(const std::string& socket, bool watch, bool json) {
    return guarded([&] {
        if (watch && json) {
            wrong_usage("--watch is for a person, --json for a program; give one of them");
        }
        if (watch) {
            watch_status(socket);
        }
        const auto replies = ask_status(socket);
        fmt::print("{}", json ? status_json(replies).dump(2) + "\n" : status_text(replies));
        return 0;
    });
}

int reload(const std::string& socket) {
    return guarded([&] {
        control::Request request{};
        control::prepare(request, control::Request::Kind::Reload);
        control::Reply::End end{};
        (void)ask_daemon(socket, request, reload_limit_ms, end);
        fmt::print(end.code == 0 ? stdout : stderr, "cloister: {}: {}\n",
                   end.code == 0 ? "reloaded" : "not reloaded", text(end.message));
        return static_cast<int>(end.code);
    });
}

int explain(const std::string& socket, const std::string& client, bool json) {
    return guarded([&] {
        control::Request request{};
        control::prepare(request, control::Request::Kind::Explain);
        const auto source = control::parse_source(client);
        if (!source || client.find('/') != client.npos) {
            wrong_usage(
                fmt::format("'{}' is no client; give an address, 192.0.2.7 or 2001:db8::1, or a user, "
                            "uid:1000",
                            client));
        }
        request.source = *source;
        const auto replies = ask_or_exit(socket, request);
        fmt::print("{}",
                   json ? explain_json(*source, replies).dump(2) + "\n" : explain_text(*source, replies));
        return 0;
    });
}

} // namespace cloister::tool
