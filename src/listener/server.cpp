// SPDX-License-Identifier: MIT
#include "listener/server.h"

#include "base/die.h"
#include "syscall/calls.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <sys/wait.h>

namespace cloister::listener {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;
constexpr std::int64_t retry_ns = second_ns / 10;
constexpr std::size_t kill_batch = 200;  // more at a time would delay other processes of the machine
constexpr std::size_t sweep_ticks = 60;  // in which the sweep has seen the whole table
constexpr std::size_t sweep_least = 128; // places of the table per tick
constexpr int signals_per_round = 512;
constexpr std::int64_t releaser_look_ns = second_ns / 1000; // it sleeps, or sends us its exit signal at once

constexpr std::uint64_t bit(int signal) {
    return std::uint64_t{1} << (signal - 1);
}

timespec timespec_of(std::int64_t ns) {
    return {ns / second_ns, ns % second_ns};
}

std::int64_t clock_ns(clockid_t clock) {
    timespec now{};
    if (const long result = sys::clock_gettime(clock, &now); result != 0) {
        die(ExitCode::SystemCall, "clock_gettime: %s", error_text(result));
    }
    return now.tv_sec * second_ns + now.tv_nsec;
}

} // namespace

std::uint64_t blocked_signals() {
    return bit(SIGTERM) | bit(SIGINT) | bit(SIGHUP) | bit(SIGUSR1) | bit(SIGUSR2) | bit(SIGQUIT) |
           bit(SIGTSTP) | bit(SIGCHLD) | bit(SIGPIPE) | bit(cell::exit_signal);
}

Server::Server(const control::Launch& launch, control::SharedState& state, unsigned sources, pid_t supervisor)
    : launch_{launch}, supervisor_{supervisor}, admission_{state, sources, launch},
      cells_{launch.max_connections + max_releasers + 1}, log_{launch.log_format, launch.log_priorities,
                                                               control::log_fd, "listener"} {
    polled_[0] = {control::signal_fd, POLLIN, 0};
    polled_[1] = {control::control_fd, POLLIN, 0};
    for (std::uint32_t i = 2; i < first_polled_ + launch_.socket_count; ++i) {
        polled_[i].events = POLLIN;
    }
}

void Server::serve() {
    while (phase_ == Phase::serving || connections() != 0) { // releasers end with us
        wait();
        if (now_ns_ >= tick_due_ns_) {
            tick();
        }
        take_messages();
        take_signals();
        look_after_releasers();
        accept_connections();
        if (phase_ == Phase::ending) {
            kill_a_batch();
        }
        log_.flush(now_ns_ + realtime_offset_ns_);
    }
    log_.flush_for_the_last_time();
}

bool Server::able_to_accept() const {
    return phase_ == Phase::serving && !occupied_ && !held_ && now_ns_ >= resume_ns_;
}

/// Waits until something happens. While accepting pauses, the listening sockets are not polled: clients wait
/// in the backlog.
void Server::wait() {
    count_elsewhere();
    std::int64_t timeout_ns = cells_.live() != 0 || refusals_.pending() ? second_ns : -1; // tick()
    if (full() && elsewhere_ != 0) { // nobody tells us when a connection of another generation ends
        timeout_ns = retry_ns;
    }
    if (log_.pending()) {
        timeout_ns = retry_ns;
    }
    if (occupied_ && releaser_ != 0) {
        timeout_ns = releaser_look_ns;
    }
    if (now_ns_ < resume_ns_) {
        timeout_ns = timeout_ns < 0 ? resume_ns_ - now_ns_ : std::min(timeout_ns, resume_ns_ - now_ns_);
    }
    timespec timeout = timespec_of(timeout_ns);
    const unsigned count = first_polled_ + (accepting() ? launch_.socket_count : 0);
    for (auto& polled : polled_) {
        polled.revents = 0;
    }
    polled_[2].fd = self_test_due_ && able_to_accept() ? control::self_test_fd : -1; // ppoll passes over -1
    for (std::uint32_t i = 0; i < launch_.socket_count; ++i) {
        polled_[first_polled_ + i].fd = is_unix(i) && releasers_ == max_releasers ? -1 : listening_fd(i);
    }
    const long ready = sys::ppoll(polled_.data(), count, timeout_ns < 0 ? nullptr : &timeout);
    if (ready < 0 && ready != -EINTR && ready != -ENOMEM) {
        die(ExitCode::SystemCall, "ppoll: %s", error_text(ready));
    }
    read_clock();
}

/// Says how many connections we have, and looks how many the other generations have.
void Server::count_elsewhere() {
    admission_.counters().live.store(connections(), std::memory_order_relaxed);
    elsewhere_ = admission_.live_elsewhere();
}

void Server::read_clock() {
    now_ns_ = clock_ns(CLOCK_MONOTONIC);
}

/// Once a second, and before all else in its round: the offset of the wall clock, which may be set at any
/// time and goes on while the machine sleeps; and a slice of the table is asked for cells whose signal was
/// lost (the queue is bounded by RLIMIT_SIGPENDING): the whole table when its end, or a client, waits for
/// that.
void Server::tick() {
    tick_due_ns_ = now_ns_ + second_ns;
    realtime_offset_ns_ = clock_ns(CLOCK_REALTIME) - now_ns_;
    log_more_refusals();
    const bool awaited = phase_ != Phase::serving || full();
    const std::size_t slice =
        awaited ? cells_.places() : std::min(cells_.places() / sweep_ticks + sweep_least, cells_.places());
    for (std::size_t i = 0; i < slice; ++i, ++sweep_place_) {
        if (Cell* const cell = cells_.at(sweep_place_); cell != nullptr) {
            reap(*cell);
        }
    }
}

void Server::take_messages() {
    if (polled_[1].revents == 0) {
        return;
    }
    struct {
        control::Message message;
        char more; // of a longer message, which read(2) cuts off without an error
    } order{};
    const long size = sys::read(control::control_fd, &order, sizeof order);
    if (size == -EINTR || size == -EAGAIN) {
        return;
    }
    if (size <= 0) {
        // The supervisor has ended. The kernel kills the cells when we end.
        sys::exit_group(static_cast<int>(ExitCode::SelfTest));
    }
    if (size != static_cast<long>(sizeof order.message)) {
        bug("the supervisor sent a message of another length than %zu", sizeof order.message);
    }
    handle(order.message);
}

void Server::handle(const control::Message& message) {
    switch (message.tag) {
    case control::Message::Tag::Drain:
        stop_accepting();
        break;
    case control::Message::Tag::End:
        stop_accepting();
        phase_ = Phase::ending;
        break;
    case control::Message::Tag::Ask: {
        control::Message answer{};
        answer.tag = control::Message::Tag::Alive;
        sys::write(control::control_fd, &answer, sizeof answer); // if that fails, the next read says why
        break;
    }
    default:
        bug("the supervisor sent message %u", static_cast<unsigned>(message.tag));
    }
}

void Server::stop_accepting() {
    if (phase_ != Phase::serving) {
        return;
    }
    phase_ = Phase::draining;
    if (held_) {
        held_ = false;
        reset_at_close();
        close_connection(held_peer_.family == AF_UNIX && may_hold_descriptors());
    }
    close_self_test();
    for (std::uint32_t i = 0; i < launch_.socket_count; ++i) {
        polled_[first_polled_ + i].revents = 0;
        if (is_unix(i)) {
            to_release_ |= std::uint64_t{1} << i;
        } else {
            sys::close(listening_fd(i));
        }
    }
}

/// Only the supervisor could connect, and passed nothing along: it needs no releaser.
void Server::close_self_test() {
    if (self_test_due_) {
        self_test_due_ = false;
        polled_[2].revents = 0;
        sys::close(control::self_test_fd);
    }
}

void Server::kill_a_batch() {
    const auto more = [this] { return killed_ < kill_batch && killed_ < connections(); };
    for (std::size_t seen = 0; seen < cells_.places() && more(); ++seen) {
        Cell* const cell = cells_.at(kill_place_++);
        if (cell != nullptr && !cell->ended_by_us && !cell->releaser &&
            cell->socket != control::self_test_socket) {
            cell->ended_by_us = true;
            ++killed_;
            sys::tgkill(cell->pid, cell->pid, SIGKILL);
        }
    }
}

void Server::take_signals() {
    if (polled_[0].revents == 0) {
        return;
    }
    const std::uint64_t all = blocked_signals();
    const timespec at_once{};
    for (int i = 0; i < signals_per_round; ++i) {
        siginfo_t info{};
        const long signal = sys::sigtimedwait(&all, &info, &at_once);
        if (signal == -EAGAIN) {
            return;
        }
        // A signal is a hint only: anyone of our user can forge one.
        if (signal == cell::exit_signal && info.si_code >= CLD_EXITED && info.si_code <= CLD_CONTINUED) {
            if (Cell* const cell = cells_.find(info.si_pid); cell != nullptr) {
                reap(*cell);
            }
        }
    }
}

void Server::reap(Cell& cell) {
    int status = 0;
    rusage usage{};
    const long result = sys::wait4(cell.pid, &status, WNOHANG | __WALL, &usage);
    if (result == 0) {
        return; // it lives
    }
    if (result != cell.pid) {
        die(ExitCode::SystemCall, "cannot reap cell %d: wait4: %s", cell.pid, error_text(result));
    }
    if (cell.ended_by_us) {
        --killed_;
    }
    if (cell.releaser) {
        --releasers_;
        releaser_ = cell.pid == releaser_ ? 0 : releaser_;
        count_failed_setup(exit_reason_of(status, false));
    } else {
        self_testing_ = self_testing_ && cell.socket != control::self_test_socket;
        log_connection(cell, status, usage);
    }
    cells_.remove(cell);
}

} // namespace cloister::listener
