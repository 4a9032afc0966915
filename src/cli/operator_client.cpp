// SPDX-License-Identifier: MIT
#include "cli/operator_client.h"

#include "base/die.h"
#include "base/fd.h"
#include "cli/answer.h"

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace cloister::tool {
namespace {

[[noreturn]] void fail(ExitCode code, const std::string& what) {
    fmt::print(stderr, "cloister: {}\n", what);
    throw Exit{static_cast<int>(code)};
}

std::string path_or_default(const std::string& path) {
    if (!path.empty()) {
        return path;
    }
    // As cloisterd: a unit's ExecReload= has its environment.
    const char* const configured = std::getenv("CLOISTER_CONTROL_SOCKET"); // NOLINT(concurrency-mt-unsafe)
    if (configured != nullptr && *configured == '/') {
        return configured;
    }
    const char* const runtime = std::getenv("XDG_RUNTIME_DIR"); // NOLINT(concurrency-mt-unsafe)
    auto standard = control::default_control_path(::geteuid(), runtime);
    if (standard.empty()) {
        fail(ExitCode::Usage, "there is no default control socket, since XDG_RUNTIME_DIR is not set; name it "
                              "with --socket PATH or CLOISTER_CONTROL_SOCKET, as for cloisterd");
    }
    return standard;
}

Fd connect_to(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        fail(ExitCode::Usage,
             fmt::format("{}: too long for a socket; at most {} bytes", path, sizeof address.sun_path - 1));
    }
    path.copy(address.sun_path, path.size());
    Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (fd.valid() && ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        return fd;
    }
    switch (const int error = errno) {
    case ENOENT:
    case ENOTDIR:
        fail(ExitCode::Unavailable,
             fmt::format("there is no socket {}: cloisterd is not running, or has another one; name it with "
                         "--socket PATH (the record started of its log says which)",
                         path));
    case ECONNREFUSED:
        fail(ExitCode::Unavailable, fmt::format("nobody answers at {}: cloisterd has ended", path));
    case EACCES:
    case EPERM:
        fail(ExitCode::NotPermitted,
             fmt::format("{}: only root and the user of cloisterd may ask; try sudo", path));
    default:
        fail(ExitCode::SystemCall, fmt::format("{}: connect: {}", path, error_text(error)));
    }
}

} // namespace

std::vector<control::Reply> ask_daemon(const std::string& path, const control::Request& request, int limit_ms,
                                       control::Reply::End& end) {
    const std::string at = path_or_default(path);
    const Fd fd = connect_to(at);
    if (::send(fd.get(), &request, sizeof request, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof request)) {
        fail(ExitCode::Unavailable, fmt::format("{}: send: {}", at, error_text(errno)));
    }
    std::vector<control::Reply> replies;
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds{limit_ms};
    char bytes[sizeof(control::Reply)];
    for (std::size_t size = 0;;) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
        pollfd polled{fd.get(), POLLIN, 0};
        if (left.count() <= 0 || (::poll(&polled, 1, static_cast<int>(left.count())) == 0)) {
            fail(ExitCode::Unavailable, fmt::format("{}: no answer within {} s", at, limit_ms / 1000));
        }
        const ssize_t got = ::recv(fd.get(), bytes + size, sizeof bytes - size, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            fail(ExitCode::Unavailable,
                 fmt::format("{}: cloisterd closed the connection: it answers root and "
                             "its own user alone; or it has ended",
                             at));
        }
        size += static_cast<std::size_t>(got);
        if (size < sizeof bytes) {
            continue;
        }
        size = 0;
        control::Reply reply;
        std::memcpy(static_cast<void*>(&reply), bytes, sizeof reply);
        if (reply.version != control::operator_version) {
            fail(ExitCode::BadPolicy,
                 fmt::format("{}: the answer is of another version of cloister; use the tool that "
                             "was installed with this cloisterd",
                             at));
        }
        if (reply.kind == control::Reply::Kind::End) {
            end = reply.end;
            return replies;
        }
        replies.push_back(reply);
    }
}

} // namespace cloister::tool
