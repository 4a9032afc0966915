// SPDX-License-Identifier: MIT
// As many bytes as go through, each checked on its way back.
#include "load.h"
#include "pattern.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <sys/epoll.h>

namespace cloister::bench {

namespace {

using namespace std::chrono_literals;

struct Stream {
    Fd fd;
    std::uint64_t number = 0;
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    Clock::time_point progress;
    bool done_sending = false;
};

class StreamLoad {
  public:
    explicit StreamLoad(const Options& options)
        : options_{options}, epoll_{::epoll_create1(EPOLL_CLOEXEC)}, streams_(options.connections) {}

    int run();

  private:
    void start(Stream& stream, std::uint64_t number);
    void send_all_that_goes(Stream& stream);
    void receive_all_there_is(Stream& stream);
    void fail(Stream& stream, Failure failure, std::string_view detail);
    void end(Stream& stream);
    void stop_sending();
    [[nodiscard]] bool enough(const Stream& stream) const {
        return options_.bytes != 0 && stream.sent == options_.bytes;
    }

    const Options& options_;
    const Pattern pattern_;
    Fd epoll_;
    std::vector<Stream> streams_;
    std::vector<char> buffer_ = std::vector<char>(Pattern::longest_piece);
    Failures failures_;
    std::uint64_t back_ = 0;
    unsigned open_ = 0;
};

void StreamLoad::start(Stream& stream, std::uint64_t number) {
    stream.number = number;
    stream.progress = Clock::now();
    auto fd = start_connect(options_.target, number, options_.sources, options_.timeout, Traffic::Any);
    if (!fd) {
        failures_.add(Failure::Connect, std::strerror(fd.error()));
        return;
    }
    stream.fd = std::move(*fd);
    ++open_;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.ptr = &stream;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, stream.fd.get(), &event);
}

void StreamLoad::fail(Stream& stream, Failure failure, std::string_view detail) {
    failures_.add(failure,
                  fmt::format("connection {} after {} bytes: {}", stream.number, stream.received, detail));
    end(stream);
}

void StreamLoad::end(Stream& stream) {
    stream.fd.reset();
    --open_;
}

void StreamLoad::send_all_that_goes(Stream& stream) {
    while (stream.fd.valid() && !stream.done_sending) {
        std::uint64_t length = 65536;
        if (options_.bytes != 0) {
            length = std::min(length, options_.bytes - stream.sent);
        }
        const ssize_t n =
            ::send(stream.fd.get(), pattern_.at(stream.number * 7919 + stream.sent), length, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                fail(stream, failures_.of_errno(errno), fmt::format("send: {}", std::strerror(errno)));
            }
            return;
        }
        stream.sent += static_cast<std::uint64_t>(n);
        if (enough(stream)) {
            ::shutdown(stream.fd.get(), SHUT_WR);
            stream.done_sending = true;
        }
    }
}

void StreamLoad::receive_all_there_is(Stream& stream) {
    while (stream.fd.valid()) {
        const ssize_t n = ::recv(stream.fd.get(), buffer_.data(), buffer_.size(), 0);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                fail(stream, failures_.of_errno(errno), fmt::format("recv: {}", std::strerror(errno)));
            }
            return;
        }
        const auto length = static_cast<std::uint64_t>(n);
        if (length == 0) {
            if (stream.done_sending && stream.received == stream.sent) {
                end(stream);
            } else {
                fail(stream, Failure::Short, fmt::format("the end; {} were sent", stream.sent));
            }
        } else if (stream.received + length > stream.sent) {
            fail(stream, Failure::Extra, fmt::format("{} more, but only {} were sent", length, stream.sent));
        } else if (!pattern_.matches(stream.number * 7919 + stream.received, buffer_.data(), length)) {
            fail(stream, Failure::Mismatch, fmt::format("within the next {}", length));
        } else {
            stream.received += length;
            back_ += length;
        }
    }
}

void StreamLoad::stop_sending() {
    for (Stream& stream : streams_) {
        if (stream.fd.valid() && !stream.done_sending) {
            ::shutdown(stream.fd.get(), SHUT_WR);
            stream.done_sending = true;
        }
    }
}

int StreamLoad::run() {
    std::uint64_t number = 0;
    for (Stream& stream : streams_) {
        start(stream, number++);
    }
    const Clock::time_point begun = Clock::now();
    const Clock::time_point count_from = begun + options_.warm_up;
    const Clock::time_point stop_at =
        options_.duration == 0ms ? Clock::time_point::max() : count_from + options_.duration;
    std::uint64_t uncounted = 0;    // back before the warm-up was over
    std::uint64_t back_in_time = 0; // back when the time was over; what follows is only checked
    Clock::time_point ended = begun;
    Clock::time_point last_look = begun;
    bool stopped = false;
    std::vector<epoll_event> events(streams_.size());
    while (open_ != 0) {
        const int ready = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 100);
        const Clock::time_point now = Clock::now();
        for (int i = 0; i < ready; ++i) {
            auto& stream = *static_cast<Stream*>(events[static_cast<std::size_t>(i)].data.ptr);
            stream.progress = now;
            receive_all_there_is(stream);
            send_all_that_goes(stream);
        }
        if (now < count_from) {
            uncounted = back_;
        }
        if (now < stop_at) {
            back_in_time = back_;
            ended = now;
        } else if (!stopped) {
            stopped = true;
            stop_sending();
        }
        if (now - last_look > 100ms) {
            last_look = now;
            for (Stream& stream : streams_) {
                if (stream.fd.valid() && now - stream.progress > options_.timeout) {
                    fail(stream, Failure::Timeout, fmt::format("{} sent", stream.sent));
                }
            }
        }
    }
    const double spent = std::max(seconds(ended - count_from), 1e-6);
    const std::uint64_t counted = back_in_time - uncounted;
    print_line(fmt::format(
        "{{\"mode\":\"stream\",\"target\":\"{}\",\"concurrent\":{},\"seconds\":{:.3f},\"bytes\":{},"
        "\"checked\":{},\"mib_per_second\":{:.1f},\"errors\":{}}}",
        options_.target.text, options_.connections, spent, counted, back_,
        static_cast<double>(counted) / spent / 1048576, failures_.json()));
    return failures_.total() == 0 ? 0 : 1;
}

} // namespace

int run_stream(const Options& options) {
    return StreamLoad{options}.run();
}

} // namespace cloister::bench
