// SPDX-License-Identifier: MIT
#include "scripted/connection.h"

#include <algorithm>
#include <cerrno>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

namespace cloister::scripted {
namespace {

constexpr pid_t listener_pid = 4711;
std::uint8_t ladder_page[cell::page_size]; // stands for the page that ends with the ladder

long address(const void* pointer) {
    return reinterpret_cast<long>(pointer);
}

/// The steps of birth in their order, and how a cell ends when one fails.
struct Step {
    long number;
    cell::Exit failure;
};
constexpr Step steps[] = {
    {SYS_close_range, cell::Exit::Descriptors}, {SYS_prctl, cell::Exit::DeathSignal},
    {SYS_getppid, cell::Exit::Orphan},          {SYS_prlimit64, cell::Exit::CpuLimit},
    {SYS_setitimer, cell::Exit::Lifetime},      {SYS_capset, cell::Exit::Capabilities},
    {SYS_munmap, cell::Exit::Ladder},
};

} // namespace

ConnectionKernel::ConnectionKernel(Script& script)
    : script_{script}, layout_{std::make_unique<cell::Layout>()} {
    layout_->orders.listener = listener_pid;
    layout_->orders.instructions = {nullptr, nullptr, &ladder_page[cell::page_size - 2]};
}

cell::Exit ConnectionKernel::live(cell::Duty duty) {
    duty_ = duty;
    const Running running{*this};
    try {
        cell::cloister_cell_main(layout_.get(), duty);
    } catch (const Exited& exited) {
        return static_cast<cell::Exit>(exited.code);
    }
}

void ConnectionKernel::expect(bool holds, const char* what) const {
    if (!holds) {
        throw Broken{std::string{what} + " (call " + std::to_string(calls_.size()) + ", number " +
                     std::to_string(calls_.back()) + ", received " + std::to_string(received_) + ", sent " +
                     std::to_string(sent_) + ")"};
    }
}

long ConnectionKernel::answer(const Call& call) {
    calls_.push_back(call.number);
    const auto& a = call.arguments;
    expect(next_ == Next::Birth || call.way == sys::Way::Direct, "not directly: the ladder is gone");
    if (call.number == SYS_exit_group) {
        expect(next_ == Next::Exit, "left too early");
        expect(a[0] == static_cast<long>(end_), "left with another code than is documented");
        throw Exited{static_cast<int>(a[0])};
    }
    expect(next_ != Next::Exit, "a call after the end");
    switch (next_) {
    case Next::Birth:
        return birth(call);
    case Next::Recv:
        return recv(call);
    case Next::Send:
        return send(call);
    case Next::Shutdown:
        expect(call.number == SYS_shutdown && a[0] == 0 && a[1] == SHUT_WR, "not shutdown(0, SHUT_WR)");
        next_ = Next::Close;
        return script_.next(call.number, 0);
    case Next::Close:
        expect(call.number == SYS_close && a[0] == 0, "not close(0)");
        must_exit(cell::Exit::Done);
        return script_.next(call.number, 0);
    case Next::Exit:
        break;
    }
    throw Broken{"no such state"};
}

long ConnectionKernel::birth(const Call& call) {
    const auto& a = call.arguments;
    const cell::Orders& orders = layout_->orders;
    if (birth_step_ == std::size(steps)) { // a violator, confined
        expect(duty_ == cell::Duty::Call && call.number == SYS_getppid && call.way == sys::Way::Direct,
               "not the violation");
        must_exit(cell::Exit::Unconfined);
        return listener_pid;
    }
    const Step& step = steps[birth_step_++];
    expect(call.number == step.number, "a step of birth is missing, or out of order");
    expect(call.way == sys::Way::Ladder, "a step of birth that is not the ladder's");
    switch (call.number) {
    case SYS_close_range:
        expect(a[0] == 1 && a[1] == 0xffffffff && a[2] == 0, "not all descriptors but the connection");
        break;
    case SYS_prctl:
        expect(a[0] == PR_SET_PDEATHSIG && a[1] == 9 && a[2] == 0 && a[3] == 0 && a[4] == 0,
               "not the death signal");
        break;
    case SYS_prlimit64:
        expect(a[0] == 0 && a[1] == RLIMIT_CPU && a[2] == address(&orders.cpu) && a[3] == 0,
               "not the CPU limit");
        break;
    case SYS_setitimer:
        expect(a[0] == ITIMER_REAL && a[1] == address(&orders.lifetime) && a[2] == 0, "not the lifetime");
        break;
    case SYS_capset:
        expect(a[0] == address(&orders.capability_header) && a[1] == address(orders.capabilities),
               "not all capabilities");
        break;
    case SYS_munmap:
        expect(a[0] == address(ladder_page) && a[1] == static_cast<long>(cell::page_size),
               "not the ladder's page");
        break;
    default:
        break;
    }
    const Answer answer = script_.next(call.number, 0);
    const bool succeeded = answer == 0; // of getppid: the listener is still the parent
    if (!succeeded) {
        must_exit(step.failure);
    } else if (birth_step_ == std::size(steps) && duty_ == cell::Duty::Serve) {
        next_ = Next::Recv;
    }
    if (call.number == SYS_getppid) {
        return succeeded ? listener_pid : 1;
    }
    return answer;
}

long ConnectionKernel::recv(const Call& call) {
    const auto& a = call.arguments;
    const auto size = static_cast<long>(cell::buffer_size);
    expect(call.number == SYS_recvfrom, "not recv");
    expect(a[0] == 0 && a[1] == address(layout_->arena.buffer) && a[2] == size && a[3] == 0 && a[4] == 0 &&
               a[5] == 0,
           "recv with other arguments than the policy's");
    const Answer answer = script_.next(call.number, size);
    if (answer == 0) {
        next_ = Next::Shutdown;
    } else if (answer < 0) {
        fail_with(answer, cell::Exit::Idle);
    } else if (answer > size) {
        must_exit(cell::Exit::Bug);
    } else {
        for (long i = 0; i < answer; ++i) {
            layout_->arena.buffer[i] = pattern(received_ + static_cast<std::uint64_t>(i));
        }
        received_ += static_cast<std::uint64_t>(answer);
        pending_ = answer;
        empty_sends_ = 0;
        next_ = Next::Send;
    }
    return answer;
}

long ConnectionKernel::send(const Call& call) {
    const auto& a = call.arguments;
    expect(call.number == SYS_sendto, "not send: what was received is not sent, or not all of it");
    expect(a[0] == 0 && a[1] == address(layout_->arena.buffer) && a[3] == MSG_NOSIGNAL && a[4] == 0 &&
               a[5] == 0,
           "send with other arguments than the policy's");
    expect(a[2] == pending_, "send with another length than what is left");
    for (long i = 0; i < pending_; ++i) {
        expect(layout_->arena.buffer[i] == pattern(sent_ + static_cast<std::uint64_t>(i)),
               "sends what was not received");
    }
    const Answer answer = script_.next(call.number, pending_);
    if (answer == -ETIMEDOUT) {
        must_exit(cell::Exit::Stalled);
    } else if (answer < 0) {
        fail_with(answer, cell::Exit::Stalled);
    } else if (answer > pending_) {
        must_exit(cell::Exit::Bug);
    } else if (answer == 0) {
        if (++empty_sends_ == 16) {
            must_exit(cell::Exit::Resources);
        }
    } else {
        sent_ += static_cast<std::uint64_t>(answer);
        pending_ -= answer;
        next_ = pending_ == 0 ? Next::Recv : Next::Send;
    }
    return answer;
}

void ConnectionKernel::must_exit(cell::Exit code) {
    next_ = Next::Exit;
    end_ = code;
}

/// The table of docs: what an error of recv or send means.
void ConnectionKernel::fail_with(long error, cell::Exit timeout) {
    constexpr long impossible[] = {EBADF, EFAULT, EINVAL, ENOTSOCK, EOPNOTSUPP};
    if (error == -EINTR) {
        return; // again
    }
    if (error == -EAGAIN) {
        must_exit(timeout);
    } else if (error == -ENOMEM || error == -ENOBUFS) {
        must_exit(cell::Exit::Resources);
    } else if (error < -4095 ||
               std::find(std::begin(impossible), std::end(impossible), -error) != std::end(impossible)) {
        must_exit(cell::Exit::Bug);
    } else {
        must_exit(cell::Exit::Reset);
    }
}

} // namespace cloister::scripted
