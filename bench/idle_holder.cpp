// SPDX-License-Identifier: MIT
#include "idle_holder.h"

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
constexpr auto closing_interval = 20ms;

class Holder {
  public:
    Holder(const Options& options, const Share& share, Tally& tally)
        : options_{options}, share_{share}, tally_{tally} {
        wanted_ =
            options.connections / share.holders + (share.index < options.connections % share.holders ? 1 : 0);
        up_.reserve(wanted_);
    }

    void bring_all_up() {
        while (up_.size() < wanted_ && tally_.failures.total() == 0) {
            bring_up(std::min(at_a_time, wanted_ - up_.size()));
            tally_.up = up_.size();
        }
    }

    /// Connections that the server has ended, or that said something nobody asked for.
    void count_lost() {
        tally_.lost = static_cast<std::uint64_t>(std::count_if(up_.begin(), up_.end(), [](const Fd& fd) {
            char byte = 0;
            return ::recv(fd.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
        }));
    }

    /// Our share of the rate, in small steps; without a rate as fast as we can.
    void close_all() {
        const auto begun = Clock::now();
        const std::size_t all = up_.size();
        while (!up_.empty()) {
            if (options_.close_rate != 0) {
                std::this_thread::sleep_for(closing_interval);
                const double due =
                    seconds(Clock::now() - begun) * options_.close_rate / static_cast<double>(share_.holders);
                up_.resize(all - std::min(all, static_cast<std::size_t>(due)));
            } else {
                up_.clear();
            }
            tally_.closed = all - up_.size();
        }
    }

  private:
    [[nodiscard]] std::uint64_t number(std::size_t i) const { return i * share_.holders + share_.index; }

    /// Waits for one event of one connection; false and a failure if it does not come.
    bool await(const Fd& fd, short events, std::string_view what) {
        pollfd waiting{fd.get(), events, 0};
        if (::poll(&waiting, 1, static_cast<int>(options_.timeout.count())) == 1) {
            return true;
        }
        tally_.failures.add(Failure::Timeout, fmt::format("connection {}: no {}", number(up_.size()), what));
        return false;
    }

    bool is_up(const Fd& fd) {
        int error = 0;
        socklen_t length = sizeof error;
        if (!await(fd, POLLOUT, "connection")) {
            return false;
        }
        ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
        if (error != 0) {
            tally_.failures.add(tally_.failures.of_errno(error), std::strerror(error));
        }
        return error == 0;
    }

    bool echoes(const Fd& fd, std::uint64_t position) {
        std::vector<char> back(options_.bytes);
        if (::send(fd.get(), pattern_.at(position), back.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(back.size())) {
            tally_.failures.add(tally_.failures.of_errno(errno),
                                fmt::format("send: {}", std::strerror(errno)));
            return false;
        }
        for (std::size_t got = 0; got < back.size();) {
            if (!await(fd, POLLIN, "echo")) {
                return false;
            }
            const ssize_t n = ::recv(fd.get(), back.data() + got, back.size() - got, 0);
            if (n <= 0) {
                tally_.failures.add(n == 0 ? Failure::Short : tally_.failures.of_errno(errno),
                                    "before the echo was back");
                return false;
            }
            got += static_cast<std::size_t>(n);
        }
        if (!pattern_.matches(position, back.data(), back.size())) {
            tally_.failures.add(Failure::Mismatch, fmt::format("connection {}", number(up_.size())));
            return false;
        }
        return true;
    }

    void bring_up(std::size_t count) {
        std::vector<Fd> coming;
        for (std::size_t i = 0; i < count; ++i) {
            auto fd = start_connect(options_.target, number(up_.size() + i), options_.sources,
                                    options_.timeout, Traffic::Any);
            if (!fd) {
                tally_.failures.add(Failure::Connect, std::strerror(fd.error()));
                return;
            }
            coming.push_back(std::move(*fd));
        }
        for (Fd& fd : coming) {
            if (!is_up(fd) || (options_.echo && !echoes(fd, number(up_.size()) * 7919))) {
                return;
            }
            up_.push_back(std::move(fd));
        }
    }

    const Options& options_;
    const Share& share_;
    Tally& tally_;
    const Pattern pattern_;
    std::size_t wanted_ = 0;
    std::vector<Fd> up_;
};

} // namespace

int hold_idle(const Options& options, const Share& share, Tally& tally) {
    Holder holder{options, share, tally};
    const auto next = [&] {
        char order = 0;
        return ::read(share.parameters.get(), &order, 1) == 1;
    };
    const auto done = [&] { (void)!::write(share.answers.get(), "", 1); };
    if (!next()) {
        return 1;
    }
    holder.bring_all_up();
    done();
    if (next()) {
        holder.count_lost();
        done();
        if (next()) {
            holder.close_all();
            done();
        }
    }
    return 0;
}

} // namespace cloister::bench
