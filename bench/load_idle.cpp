// SPDX-License-Identifier: MIT
// Many connections that stay. They come up a few at a time, so that no backlog overflows, and go in batches:
// many confined processes that end at once are a hazard on some kernels.
#include "load.h"
#include "pattern.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <thread>
#include <unistd.h>

namespace cloister::bench {

namespace {

using namespace std::chrono_literals;
constexpr std::size_t at_a_time = 16;
constexpr std::size_t batch = 100;

class IdleLoad {
  public:
    explicit IdleLoad(const Options& options) : options_{options} {}

    int run() {
        while (up_.size() < options_.connections && failures_.total() == 0) {
            bring_up(std::min(at_a_time, options_.connections - up_.size()));
        }
        print_line(
            fmt::format("{{\"mode\":\"idle\",\"target\":\"{}\",\"up\":{},\"echoed\":{},\"errors\":{}}}",
                        options_.target.text, up_.size(), options_.echo, failures_.json()));
        if (failures_.total() == 0) {
            hold();
            print_line(
                fmt::format("{{\"mode\":\"idle\",\"held\":{},\"lost\":{}}}", up_.size() - lost(), lost()));
        }
        const bool good = failures_.total() == 0 && lost() == 0;
        close_in_batches();
        return good ? 0 : 1;
    }

  private:
    /// Waits for one event of one connection; false and a failure if it does not come.
    bool await(const Fd& fd, short events, std::string_view what) {
        pollfd waiting{fd.get(), events, 0};
        if (::poll(&waiting, 1, static_cast<int>(options_.timeout.count())) == 1) {
            return true;
        }
        failures_.add(Failure::Timeout, fmt::format("connection {}: no {}", up_.size(), what));
        return false;
    }

    bool echoes(const Fd& fd, std::uint64_t position) {
        std::vector<char> back(options_.bytes);
        if (::send(fd.get(), pattern_.at(position), back.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(back.size())) {
            failures_.add(failures_.of_errno(errno), fmt::format("send: {}", std::strerror(errno)));
            return false;
        }
        for (std::size_t got = 0; got < back.size();) {
            if (!await(fd, POLLIN, "echo")) {
                return false;
            }
            const ssize_t n = ::recv(fd.get(), back.data() + got, back.size() - got, 0);
            if (n <= 0) {
                failures_.add(n == 0 ? Failure::Short : failures_.of_errno(errno),
                              "before the echo was back");
                return false;
            }
            got += static_cast<std::size_t>(n);
        }
        if (!pattern_.matches(position, back.data(), back.size())) {
            failures_.add(Failure::Mismatch, fmt::format("connection {}", up_.size()));
            return false;
        }
        return true;
    }

    void bring_up(std::size_t count) {
        std::vector<Fd> coming;
        for (std::size_t i = 0; i < count; ++i) {
            auto fd = start_connect(options_.target, up_.size() + i, options_.sources, options_.timeout);
            if (!fd) {
                failures_.add(Failure::Connect, std::strerror(fd.error()));
                return;
            }
            coming.push_back(std::move(*fd));
        }
        for (Fd& fd : coming) {
            int error = 0;
            socklen_t length = sizeof error;
            if (!await(fd, POLLOUT, "connection")) {
                return;
            }
            ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
            if (error != 0) {
                failures_.add(failures_.of_errno(error), std::strerror(error));
                return;
            }
            if (options_.echo && !echoes(fd, up_.size() * 7919)) {
                return;
            }
            up_.push_back(std::move(fd));
        }
    }

    /// Until stdin ends or the duration is over.
    void hold() const {
        pollfd input{STDIN_FILENO, POLLIN, 0};
        const auto until = Clock::now() + options_.duration;
        for (;;) {
            auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()) + 1ms;
            if (options_.duration == 0ms) {
                left = -1ms;
            } else if (left <= 1ms) {
                return;
            }
            char ignored[256];
            if (::poll(&input, 1, static_cast<int>(left.count())) == 1 &&
                ::read(STDIN_FILENO, ignored, sizeof ignored) <= 0) {
                return;
            }
        }
    }

    /// Connections that the server has ended, or that said something nobody asked for.
    [[nodiscard]] std::size_t lost() const {
        return static_cast<std::size_t>(std::count_if(up_.begin(), up_.end(), [](const Fd& fd) {
            char byte = 0;
            return ::recv(fd.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
        }));
    }

    void close_in_batches() {
        while (!up_.empty()) {
            up_.resize(up_.size() - std::min(batch, up_.size()));
            std::this_thread::sleep_for(20ms);
        }
    }

    const Options& options_;
    const Pattern pattern_;
    std::vector<Fd> up_;
    Failures failures_;
};

} // namespace

int run_idle(const Options& options) {
    return IdleLoad{options}.run();
}

} // namespace cloister::bench
