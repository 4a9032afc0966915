// SPDX-License-Identifier: MIT
// Many short connections: connect, send, get it back, close, next.
#include "load.h"
#include "pattern.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <sys/epoll.h>

namespace cloister::bench {

namespace {

using namespace std::chrono_literals;

struct Client {
    Fd fd;
    std::uint64_t number = 0;
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    Clock::time_point started;
    Clock::time_point progress;
    bool done_sending = false; // our FIN is out; only the end may come
};

class RateLoad {
  public:
    explicit RateLoad(const Options& options)
        : options_{options}, epoll_{::epoll_create1(EPOLL_CLOEXEC)}, clients_(options.connections) {}

    int run();

  private:
    void start(Client& client);
    void send_first(Client& client);
    void advance(Client& client);
    bool send_some(Client& client);
    bool receive_some(Client& client);
    void all_back(Client& client);
    void finish(Client& client);
    void fail(Client& client, Failure failure, std::string_view detail);
    void end_idle_ones(Clock::time_point now);
    [[nodiscard]] bool one_message() const {
        return options_.close == Close::Early && options_.bytes <= one_segment;
    }
    [[nodiscard]] std::uint64_t position(const Client& client) const { return client.number * 7919; }
    [[nodiscard]] bool counting() const { return now_ >= count_from_ && now_ < stop_at_; }

    const Options& options_;
    const Pattern pattern_;
    Fd epoll_;
    std::vector<Client> clients_;
    std::vector<Client*>
        resting_; // failed just now; started again by the next tick, else a refusal would spin
    std::vector<char> buffer_ = std::vector<char>(Pattern::longest_piece);
    Failures failures_;
    Latencies latencies_;
    std::uint64_t started_ = 0;
    std::uint64_t finished_ = 0;
    std::uint64_t counted_ = 0;
    unsigned open_ = 0;
    Clock::time_point now_;
    Clock::time_point count_from_;
    Clock::time_point stop_at_ = Clock::time_point::max();
};

void RateLoad::start(Client& client) {
    if (now_ >= stop_at_ || (options_.total != 0 && started_ >= options_.total)) {
        return;
    }
    client.number = started_++;
    client.sent = 0;
    client.received = 0;
    client.done_sending = false;
    client.started = client.progress = Clock::now();
    auto fd = start_connect(options_.target, client.number, options_.sources, options_.timeout,
                            one_message() ? Traffic::OneMessage : Traffic::Any);
    if (!fd) {
        failures_.add(Failure::Connect, std::strerror(fd.error()));
        resting_.push_back(&client);
        return;
    }
    client.fd = std::move(*fd);
    ++open_;
    send_first(client);
}

/// On the loopback the connection is usually there when connect() returns. What is sent at once needs no
/// event, and after our FIN the server's is the one event to wait for: the bytes have come before it.
void RateLoad::send_first(Client& client) {
    while (client.fd.valid() && client.sent < options_.bytes && send_some(client)) {
    }
    if (!client.fd.valid()) {
        return;
    }
    epoll_event event{};
    event.events = client.done_sending && one_message() ? EPOLLRDHUP | EPOLLET : EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.ptr = &client;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, client.fd.get(), &event);
}

void RateLoad::fail(Client& client, Failure failure, std::string_view detail) {
    failures_.add(failure, fmt::format("connection {}: {}", client.number, detail));
    client.fd.reset();
    --open_;
    resting_.push_back(&client);
}

void RateLoad::finish(Client& client) {
    if (options_.close == Close::Reset) {
        const linger none{1, 0};
        ::setsockopt(client.fd.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
    }
    client.fd.reset();
    --open_;
    ++finished_;
    if (counting()) {
        ++counted_;
    }
    start(client);
}

/// True while there may be more to do. The only piece of a message waits for the FIN and shares its packet.
bool RateLoad::send_some(Client& client) {
    const auto length = std::min<std::uint64_t>(options_.bytes - client.sent, Pattern::longest_piece);
    const ssize_t n = ::send(client.fd.get(), pattern_.at(position(client) + client.sent), length,
                             one_message() ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL);
    if (n < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return false;
        }
        fail(client, failures_.of_errno(errno), fmt::format("send: {}", std::strerror(errno)));
        return false;
    }
    client.sent += static_cast<std::uint64_t>(n);
    if (client.sent == options_.bytes && options_.close == Close::Early) {
        ::shutdown(client.fd.get(), SHUT_WR);
        client.done_sending = true;
    }
    return true;
}

bool RateLoad::receive_some(Client& client) {
    const ssize_t n = ::recv(client.fd.get(), buffer_.data(), buffer_.size(), 0);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            fail(client, failures_.of_errno(errno), fmt::format("recv: {}", std::strerror(errno)));
        }
        return false;
    }
    const auto length = static_cast<std::uint64_t>(n);
    if (length == 0 && client.done_sending && client.received == options_.bytes) {
        finish(client);
        return false;
    }
    if (length == 0) {
        fail(client, Failure::Short,
             fmt::format("the end after {} of {} bytes", client.received, options_.bytes));
        return false;
    }
    if (client.received + length > client.sent) {
        fail(client, Failure::Extra,
             fmt::format("{} bytes came for {}", client.received + length, client.sent));
        return false;
    }
    if (!pattern_.matches(position(client) + client.received, buffer_.data(), length)) {
        fail(client, Failure::Mismatch, fmt::format("within {} bytes after {}", length, client.received));
        return false;
    }
    client.received += length;
    if (client.received == options_.bytes) {
        all_back(client);
        return client.fd.valid() && client.done_sending;
    }
    return true;
}

void RateLoad::all_back(Client& client) {
    if (counting()) {
        latencies_.add(Clock::now() - client.started);
    }
    if (options_.close == Close::Plain || options_.close == Close::Reset) {
        finish(client);
    } else if (options_.close == Close::Half) {
        ::shutdown(client.fd.get(), SHUT_WR);
        client.done_sending = true;
    }
}

void RateLoad::advance(Client& client) {
    client.progress = now_;
    const std::uint64_t number = client.number;
    while (client.sent < options_.bytes && send_some(client)) {
    }
    // Another connection may have taken the slot meanwhile; its turn comes with its own event.
    while (client.fd.valid() && client.number == number && receive_some(client)) {
    }
}

void RateLoad::end_idle_ones(Clock::time_point now) {
    for (Client& client : clients_) {
        if (client.fd.valid() && now - client.progress > options_.timeout) {
            fail(client, Failure::Timeout,
                 fmt::format("{} sent, {} back, end {}", client.sent, client.received,
                             client.done_sending ? "awaited" : "not yet asked for"));
        }
    }
    std::vector<Client*> again;
    again.swap(resting_);
    for (Client* const client : again) {
        start(*client);
    }
}

int RateLoad::run() {
    now_ = Clock::now();
    count_from_ = now_ + options_.warm_up;
    if (options_.duration != 0ms) {
        stop_at_ = count_from_ + options_.duration;
    }
    for (Client& client : clients_) {
        start(client);
    }
    Clock::time_point ended = now_;
    Clock::time_point last_tick = now_;
    std::vector<epoll_event> events(clients_.size());
    while (open_ != 0 || !resting_.empty()) {
        const int ready = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 20);
        now_ = Clock::now();
        for (int i = 0; i < ready; ++i) {
            advance(*static_cast<Client*>(events[static_cast<std::size_t>(i)].data.ptr));
        }
        ended = std::min(now_, stop_at_);
        if (now_ - last_tick >= 20ms) {
            last_tick = now_;
            end_idle_ones(now_);
        }
    }
    const double spent = std::max(seconds(ended - count_from_), 1e-6);
    print_line(fmt::format(
        "{{\"mode\":\"rate\",\"target\":\"{}\",\"concurrent\":{},\"bytes\":{},\"seconds\":{:.3f},"
        "\"connections\":{},\"checked\":{},\"per_second\":{:.1f},\"latency_us\":{},\"client_cpu_us\":{:.2f},"
        "\"errors\":{}}}",
        options_.target.text, options_.connections, options_.bytes, spent, counted_, finished_,
        static_cast<double>(counted_) / spent, latencies_.json(),
        cpu_seconds() * 1e6 / std::max(static_cast<double>(finished_), 1.0), failures_.json()));
    return failures_.total() == 0 ? 0 : 1;
}

} // namespace

int run_rate(const Options& options) {
    return RateLoad{options}.run();
}

} // namespace cloister::bench
