// SPDX-License-Identifier: MIT
// Connections that start at fixed times, whatever became of those before: legitimate clients, and attackers.
#include "load.h"
#include "pattern.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

namespace cloister::bench {

namespace {

using namespace std::chrono_literals;

enum class Kind { Paced, Hold, Storm };

constexpr auto tick = 50ms;        // how often timeouts and trickles are looked at
constexpr auto trickle = 1s;       // from one byte to the next
constexpr int small_buffer = 4096; // of a client that never receives: the server waits for it all the sooner
// What such a client has in its send buffer, no server meets; megabytes of it (tcp_wmem), in long calls that
// the kernel may not interrupt, would only take the processors away that on a network are the attacker's own.
constexpr int small_send_buffer = 65536;
constexpr std::size_t flood_piece = 16384;
constexpr std::size_t events_at_once = 256;

struct Client {
    Fd fd;
    std::uint64_t number = 0;
    std::uint64_t received = 0;
    Clock::time_point begun;
    Clock::time_point said;
    bool connected = false;
};

class PacedLoad {
  public:
    PacedLoad(const Options& options, Kind kind)
        : options_{options}, kind_{kind}, epoll_{::epoll_create1(EPOLL_CLOEXEC)},
          clients_(options.connections) {
        for (Client& client : clients_) {
            free_.push_back(&client);
        }
    }

    int run();

  private:
    void start_due();
    void start(Client& client, Clock::time_point due);
    void advance(Client& client, std::uint32_t events);
    void established(Client& client);
    bool say(Client& client);
    bool hear(Client& client);
    void done(Client& client);
    void lose(Client& client, int error, std::string_view detail);
    void release(Client& client, bool reset);
    void look_at_the_clock();
    void wait_for_events(Clock::time_point until);
    [[nodiscard]] Clock::time_point due(std::uint64_t number) const {
        return begun_ + std::chrono::nanoseconds{number * 1'000'000'000 / options_.rate};
    }
    void report(double spent);

    const Options& options_;
    const Kind kind_;
    const Pattern pattern_;
    Fd epoll_;
    std::vector<Client> clients_;
    std::vector<Client*> free_;
    std::vector<char> buffer_ = std::vector<char>(Pattern::longest_piece);
    std::vector<epoll_event> events_ = std::vector<epoll_event>(events_at_once);
    Failures failures_;
    Latencies latencies_;
    std::uint64_t next_ = 0; // in the schedule
    std::uint64_t attempts_ = 0;
    std::uint64_t good_ = 0; // paced: served; else: the handshake was completed
    std::uint64_t lost_ = 0;
    Clock::time_point begun_;
    Clock::time_point now_;
};

void PacedLoad::start_due() {
    const Clock::time_point end = begun_ + options_.duration;
    for (; due(next_) <= now_ && due(next_) < end; ++next_) {
        if (free_.empty()) {
            if (kind_ ==
                Kind::Paced) { // counts, or a server that answers nobody would look like a slow client
                ++attempts_;
                failures_.add(Failure::Timeout, "all --connections wait for the server");
            }
            continue;
        }
        ++attempts_;
        Client& client = *free_.back();
        free_.pop_back();
        start(client, due(next_));
    }
}

void PacedLoad::start(Client& client, Clock::time_point due) {
    client.number = next_;
    client.received = 0;
    client.connected = false;
    client.begun = client.said = due;
    auto fd = start_connect(options_.target, next_, options_.sources, options_.timeout,
                            kind_ == Kind::Paced ? Traffic::OneMessage : Traffic::Any);
    if (!fd) {
        lose(client, fd.error(), "connect");
        return;
    }
    client.fd = std::move(*fd);
    if (kind_ == Kind::Hold && options_.say == Say::Flood) {
        ::setsockopt(client.fd.get(), SOL_SOCKET, SO_RCVBUF, &small_buffer, sizeof small_buffer);
        ::setsockopt(client.fd.get(), SOL_SOCKET, SO_SNDBUF, &small_send_buffer, sizeof small_send_buffer);
    }
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = &client;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, client.fd.get(), &event);
}

void PacedLoad::release(Client& client, bool reset) {
    if (reset && client.fd.valid()) {
        const linger none{1, 0};
        ::setsockopt(client.fd.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
    }
    client.fd.reset();
    client.connected = false;
    free_.push_back(&client);
}

void PacedLoad::lose(Client& client, int error, std::string_view detail) {
    ++lost_;
    if (kind_ == Kind::Paced) {
        failures_.add(error == 0 ? Failure::Short : failures_.of_errno(error),
                      fmt::format("connection {}: {}: {}", client.number, detail, std::strerror(error)));
    }
    release(client, true);
}

void PacedLoad::done(Client& client) {
    ++good_;
    latencies_.add(Clock::now() - client.begun);
    release(client, false);
}

/// What a client does as soon as it is connected. A storm is over then.
void PacedLoad::established(Client& client) {
    client.connected = true;
    if (kind_ == Kind::Storm) {
        ++good_;
        if (options_.close == Close::Reset) {
            ::send(client.fd.get(), pattern_.at(0), 1, MSG_NOSIGNAL);
        }
        release(client, options_.close == Close::Reset);
        return;
    }
    if (kind_ == Kind::Hold) {
        ++good_;
        say(client);
        return;
    }
    const auto sent =
        ::send(client.fd.get(), pattern_.at(client.number), options_.bytes, MSG_NOSIGNAL | MSG_MORE);
    if (sent != static_cast<ssize_t>(options_.bytes)) {
        lose(client, sent < 0 ? errno : 0, "send");
        return;
    }
    ::shutdown(client.fd.get(), SHUT_WR);
}

/// False if the connection is lost.
bool PacedLoad::say(Client& client) {
    client.said = now_;
    const std::size_t length = options_.say == Say::Flood ? flood_piece : 1;
    for (;;) {
        const auto n = ::send(client.fd.get(), pattern_.at(0), length, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            lose(client, errno, "send");
            return false;
        }
        if (n <= 0 || options_.say != Say::Flood) {
            return true;
        }
    }
}

/// False if the connection has ended, in one way or the other.
bool PacedLoad::hear(Client& client) {
    for (;;) {
        const auto n = ::recv(client.fd.get(), buffer_.data(), buffer_.size(), 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return true;
        }
        const auto length = static_cast<std::size_t>(std::max<ssize_t>(n, 0));
        if (n == 0 && kind_ == Kind::Paced && client.received == options_.bytes) {
            done(client);
            return false;
        }
        if (n <= 0) {
            lose(client, n == 0 ? 0 : errno, "receive");
            return false;
        }
        if (kind_ == Kind::Paced &&
            (client.received + length > options_.bytes ||
             !pattern_.matches(client.number + client.received, buffer_.data(), length))) {
            failures_.add(Failure::Mismatch, fmt::format("connection {}", client.number));
            release(client, true);
            return false;
        }
        client.received += length;
    }
}

void PacedLoad::advance(Client& client, std::uint32_t events) {
    if (!client.connected && (events & EPOLLOUT) != 0 && (events & (EPOLLERR | EPOLLHUP)) == 0) {
        established(client);
        if (!client.fd.valid()) {
            return;
        }
    }
    if (kind_ == Kind::Hold && options_.say == Say::Flood) {
        if ((events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) != 0) {
            lose(client, 0, "ended");
        } else if ((events & EPOLLOUT) != 0) {
            say(client);
        }
        return;
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) != 0) {
        hear(client);
    }
}

void PacedLoad::look_at_the_clock() {
    for (Client& client : clients_) {
        if (!client.fd.valid()) {
            continue;
        }
        const bool waits = kind_ != Kind::Hold || !client.connected;
        if (waits && now_ - client.begun > options_.timeout) {
            lose(client, ETIMEDOUT, "not served");
        } else if (client.connected && options_.say == Say::Trickle && now_ - client.said >= trickle) {
            say(client);
        }
    }
}

void PacedLoad::wait_for_events(Clock::time_point until) {
    const auto left = std::max<std::chrono::nanoseconds>(until - Clock::now(), 0ns).count();
    const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
    const int ready =
        ::epoll_pwait2(epoll_.get(), events_.data(), static_cast<int>(events_.size()), &timeout, nullptr);
    now_ = Clock::now();
    for (int i = 0; i < ready; ++i) {
        const epoll_event& event = events_[static_cast<std::size_t>(i)];
        advance(*static_cast<Client*>(event.data.ptr), event.events);
    }
}

void PacedLoad::report(double spent) {
    const auto held =
        std::count_if(clients_.begin(), clients_.end(), [](const Client& one) { return one.connected; });
    std::string line =
        fmt::format("{{\"target\":\"{}\",\"seconds\":{:.3f},\"attempts\":{},\"per_second\":{:.1f},",
                    options_.target.text, spent, attempts_, static_cast<double>(attempts_) / spent);
    if (kind_ == Kind::Paced) {
        line += fmt::format("\"mode\":\"paced\",\"served\":{},\"latency_us\":{},\"errors\":{}}}", good_,
                            latencies_.json(), failures_.json());
    } else {
        line += fmt::format("\"mode\":\"{}\",\"connected\":{},\"lost\":{},\"held\":{},\"open\":{}}}",
                            kind_ == Kind::Hold ? "hold" : "storm", good_, lost_, held,
                            clients_.size() - free_.size());
    }
    print_line(line);
}

int PacedLoad::run() {
    ::prctl(PR_SET_TIMERSLACK, 1); // else the kernel adds 50 us to each wait
    begun_ = now_ = Clock::now();
    const Clock::time_point end = begun_ + options_.duration;
    Clock::time_point last_tick = now_;
    // The whole schedule, however late. Those that are held end with it, the others in their own time.
    const auto more = [&] {
        return now_ < end || due(next_) < end || (kind_ != Kind::Hold && free_.size() < clients_.size());
    };
    while (!stopped() && more()) {
        start_due();
        const Clock::time_point next = due(next_);
        wait_for_events(next < end ? std::min(next, last_tick + tick) : last_tick + tick);
        if (now_ - last_tick >= tick) {
            last_tick = now_;
            look_at_the_clock();
        }
    }
    report(seconds(std::min(now_, end) - begun_));
    for (Client& client : clients_) { // else tens of thousands of connections would end in their own time
        if (client.fd.valid()) {
            release(client, true);
        }
    }
    return kind_ == Kind::Paced && failures_.total() != 0 ? 1 : 0;
}

} // namespace

int run_paced(const Options& options) {
    return PacedLoad{options, Kind::Paced}.run();
}

int run_hold(const Options& options) {
    stop_on_sigterm();
    return PacedLoad{options, Kind::Hold}.run();
}

int run_storm(const Options& options) {
    stop_on_sigterm();
    return PacedLoad{options, Kind::Storm}.run();
}

} // namespace cloister::bench
