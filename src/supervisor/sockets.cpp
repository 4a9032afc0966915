// SPDX-License-Identifier: MIT
#include "supervisor/sockets.h"

#include "base/descriptors.h"
#include "base/die.h"
#include "supervisor/bind.h"
#include "supervisor/socket_options.h"
#include "supervisor/unix_path.h"

#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>

namespace cloister::supervisor {
namespace {

constexpr int first_passed = 3; // SD_LISTEN_FDS_START
constexpr const char* null_cure =
    "give cloisterd a /dev with null in it, mode 0666, or leave descriptors 0, 1 and 2 open";

Failure activation_failure(std::string message) {
    return {ExitCode::Config, std::move(message)};
}

std::optional<int64_t> whole_number(const std::string& text) {
    int64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    return error == std::errc{} && stop == end && value >= 0 ? std::optional{value} : std::nullopt;
}

/// The variable's text. Removes the variable. Called before there is any other thread.
std::optional<std::string> take_variable(const char* name) {
    const char* text = ::getenv(name); // NOLINT(concurrency-mt-unsafe)
    auto taken = text == nullptr ? std::nullopt : std::optional<std::string>{text};
    ::unsetenv(name); // NOLINT(concurrency-mt-unsafe)
    return taken;
}

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> parts{""};
    for (const char c : text) {
        if (c == ':') {
            parts.emplace_back();
        } else {
            parts.back() += c;
        }
    }
    return parts;
}

int int_option(int fd, int option) {
    int value = -1;
    socklen_t length = sizeof value;
    return ::getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 ? value : -1;
}

/// Empty when `fd` is a stream socket that listens, on a family that we serve.
std::string why_not_served(int fd) {
    const int family = int_option(fd, SO_DOMAIN);
    if (family == -1) {
        return "is not a socket";
    }
    if (int_option(fd, SO_TYPE) != SOCK_STREAM) {
        return "is not a stream socket; use ListenStream=";
    }
    if (family != AF_INET && family != AF_INET6 && family != AF_UNIX) {
        return fmt::format("is of family {}, not IPv4, IPv6 or unix", family);
    }
    if (family != AF_UNIX && int_option(fd, SO_PROTOCOL) != IPPROTO_TCP) {
        return fmt::format("speaks protocol {}, not TCP", int_option(fd, SO_PROTOCOL));
    }
    if (int_option(fd, SO_ACCEPTCONN) != 1) {
        return "does not listen; use Accept=no";
    }
    return {};
}

tl::expected<ListeningSocket, Failure> adopt(Activation::Socket socket, const config::Service& service) {
    const int fd = socket.fd.get();
    if (const auto why = why_not_served(fd); !why.empty()) {
        return tl::unexpected{
            activation_failure(fmt::format("descriptor {} ({}) of LISTEN_FDS {}", fd, socket.name, why))};
    }
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        return tl::unexpected{system_failure(socket.name, "fcntl O_NONBLOCK", errno)};
    }
    ListeningSocket adopted{};
    adopted.fd = std::move(socket.fd);
    adopted.name = socket.name;
    adopted.activated = true;
    adopted.is_unix = int_option(fd, SO_DOMAIN) == AF_UNIX;
    auto failure = read_bound_address(adopted);
    if (!failure) {
        failure = set_options(adopted, adopted.name, service);
    }
    if (failure) {
        return tl::unexpected{std::move(*failure)};
    }
    return adopted;
}

} // namespace

void open_standard_fds() {
    for (int fd = 0; fd <= 2; ++fd) {
        if (::fcntl(fd, F_GETFD) != -1) {
            continue;
        }
        if (errno != EBADF) {
            die(ExitCode::SystemCall, "cannot see whether descriptor %d is open: fcntl: %s", fd,
                error_text(errno));
        }
        if (::open("/dev/null", O_RDWR) != fd) {
            die(ExitCode::SystemCall, "descriptor %d is closed, and /dev/null can't take its place: %s; %s",
                fd, error_text(errno), null_cure);
        }
    }
}

tl::expected<Activation, Failure> take_activation() {
    const auto pid = take_variable("LISTEN_PID");
    const auto fds = take_variable("LISTEN_FDS");
    const auto names = take_variable("LISTEN_FDNAMES");
    (void)take_variable("LISTEN_PIDFDID");
    const auto for_another = [&](const std::string& whom) {
        Activation none;
        none.warning =
            fmt::format("LISTEN_FDS='{}' is for {}, not for process {}, which we are: these sockets were "
                        "closed; a wrapper around cloisterd must exec it",
                        *fds, whom, ::getpid());
        return none;
    };
    if (!fds) {
        return {};
    }
    if (!pid) {
        return for_another("no process, without LISTEN_PID");
    }
    const auto addressee = whole_number(*pid);
    if (!addressee || *addressee == 0) {
        return tl::unexpected{
            activation_failure(fmt::format("LISTEN_PID='{}' is not a process number", *pid))};
    }
    if (*addressee != ::getpid()) {
        return for_another(fmt::format("process {}", *addressee));
    }
    const auto count = whole_number(*fds);
    if (!count || *count == 0 || *count > int64_t{config::max_sockets_in_all}) {
        return tl::unexpected{activation_failure(
            fmt::format("LISTEN_FDS='{}' is not a number of sockets; 1 to {} can be served", *fds,
                        config::max_sockets_in_all))};
    }
    auto labels = names ? split(*names) : std::vector<std::string>(static_cast<size_t>(*count), "unknown");
    if (labels.size() != static_cast<size_t>(*count)) {
        return tl::unexpected{activation_failure(
            fmt::format("LISTEN_FDNAMES='{}' has {} names for {} sockets", *names, labels.size(), *count))};
    }
    Activation activation;
    for (int i = 0; i < *count; ++i) {
        const int fd = first_passed + i;
        if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
            return tl::unexpected{
                activation_failure(fmt::format("LISTEN_FDS='{}', but descriptor {} ({}) is not open", *fds,
                                               fd, labels[static_cast<size_t>(i)]))};
        }
        activation.sockets.push_back({ListeningFd{fd}, std::move(labels[static_cast<size_t>(i)])});
    }
    return activation;
}

void close_inherited(const tl::expected<Activation, Failure>& activation) {
    const auto kept = activation ? activation->sockets.size() : 0;
    close_descriptors(STDERR_FILENO, first_passed + static_cast<int>(kept));
}

tl::expected<std::vector<ListeningSocket>, Failure>
open_sockets(const config::Service& service, const std::optional<config::User>& user, Activation activation) {
    std::vector<ListeningSocket> sockets;
    const bool bind_ours = service.listen_given || activation.sockets.empty();
    const size_t total = activation.sockets.size() + (bind_ours ? service.listen.size() : 0);
    if (total > config::max_listening_sockets) {
        return tl::unexpected{activation_failure(
            fmt::format("{} sockets, passed and given by --listen, are too many; {} can be served", total,
                        config::max_listening_sockets))};
    }
    std::optional<Failure> failure;
    const auto keep = [&](tl::expected<ListeningSocket, Failure> listener) {
        if (!listener) {
            failure = std::move(listener.error());
            return;
        }
        sockets.push_back(std::move(*listener));
    };
    for (auto& socket : activation.sockets) {
        if (!failure) {
            keep(adopt(std::move(socket), service));
        }
    }
    for (size_t i = 0; bind_ours && !failure && i < service.listen.size(); ++i) {
        keep(bind_listener(service.listen[i], service, user));
    }
    if (failure) {
        remove_unix_paths(sockets);
        return tl::unexpected{std::move(*failure)};
    }
    return sockets;
}

void remove_unix_paths(std::span<const ListeningSocket> sockets) {
    for (const auto& socket : sockets) {
        remove_unix_path(socket);
    }
}

} // namespace cloister::supervisor
