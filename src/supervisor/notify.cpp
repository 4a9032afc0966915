// SPDX-License-Identifier: MIT
#include "supervisor/notify.h"

#include "base/die.h"

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fmt/format.h>
#include <string_view>
#include <unistd.h>

namespace cloister::supervisor {
namespace {

std::optional<std::uint64_t> number(const char* text) {
    const std::string_view digits = text == nullptr ? "" : text;
    std::uint64_t value = 0;
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return !digits.empty() && error == std::errc{} && stop == digits.data() + digits.size()
               ? std::optional{value}
               : std::nullopt;
}

} // namespace

Notifier Notifier::from_environment() {
    return {std::getenv("NOTIFY_SOCKET"), std::getenv("WATCHDOG_USEC"), // NOLINT(concurrency-mt-unsafe)
            std::getenv("WATCHDOG_PID")};                               // NOLINT(concurrency-mt-unsafe)
}

Notifier::Notifier(const char* socket, const char* watchdog_usec, const char* watchdog_pid) {
    const std::string_view name = socket == nullptr ? "" : socket;
    if (name.empty()) {
        return;
    }
    if ((name[0] != '/' && name[0] != '@') || name.size() < 2 || name.size() > sizeof address_.sun_path - 1) {
        why_not_ =
            fmt::format("NOTIFY_SOCKET='{}' is neither a path nor an abstract name ('@…') of at most {} "
                        "bytes; the service manager is told nothing",
                        name, sizeof address_.sun_path - 1);
        return;
    }
    address_.sun_family = AF_UNIX;
    name.copy(address_.sun_path, name.size());
    address_.sun_path[0] = name[0] == '@' ? '\0' : '/';
    length_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    socket_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const auto pid = number(watchdog_pid);
    const auto usec = number(watchdog_usec);
    if (usec && *usec >= 2000 && (watchdog_pid == nullptr || pid == static_cast<std::uint64_t>(::getpid()))) {
        watchdog_ = std::chrono::milliseconds{*usec / 2000};
    }
}

void Notifier::send(const std::string& state) {
    if (length_ == 0) {
        return;
    }
    const ssize_t sent = ::sendto(socket_.get(), state.data(), state.size(), MSG_NOSIGNAL,
                                  reinterpret_cast<const sockaddr*>(&address_), length_);
    if (sent < 0 && !failed_) {
        failed_ = true;
        why_not_ = fmt::format("cannot tell the service manager '{}' (NOTIFY_SOCKET): sendto: {}",
                               state.substr(0, state.find('\n')), error_text(errno));
    }
}

std::string reloading_state() {
    timespec time{};
    (void)::clock_gettime(CLOCK_MONOTONIC, &time);
    return fmt::format("RELOADING=1\nMONOTONIC_USEC={}", time.tv_sec * 1'000'000 + time.tv_nsec / 1000);
}

} // namespace cloister::supervisor
