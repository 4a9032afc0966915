// SPDX-License-Identifier: MIT
#include "scripted/connection.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/// Stands for the setup call site, which only the asm of a real cell has.
extern "C" constinit const std::uint8_t cloister::cell::cloister_setup_call[arch::system_call_size] = {};

namespace cloister::scripted {
namespace {

constexpr pid_t listener_pid = 4711;
long address(const void* pointer) {
    return reinterpret_cast<long>(pointer);
}

/// The steps of setup in their order, and how a cell ends when one fails.
struct Step {
    long number;
    cell::Exit failure;
};
constexpr Step steps[] = {
    {SYS_prctl, cell::Exit::DeathSignal},       {SYS_getppid, cell::Exit::Orphan},
    {SYS_prlimit64, cell::Exit::CpuLimit},      {SYS_setitimer, cell::Exit::Lifetime},
    {SYS_close_range, cell::Exit::Descriptors}, {SYS_munmap, cell::Exit::SetupPage},
};

} // namespace

ConnectionKernel::ConnectionKernel(Script& script)
    : script_{script}, arena_{std::make_unique<cell::Arena>()},
      parameters_{listener_pid, 7, {8, 9}, cell::Mode::Serve, 1} {}

cell::Exit ConnectionKernel::live(cell::Mode mode) {
    parameters_.mode = mode;
    const Running running{*this};
    try {
        cell::cloister_cell_main(&parameters_, arena_->buffer);
    } catch (const Exited& exited) {
        return static_cast<cell::Exit>(exited.code);
    }
}

void ConnectionKernel::expect(bool holds, const char* what) const {
    if (!holds) {
        throw Broken{std::string{what} + " (call " + std::to_string(calls_.size()) + ", number " +
                     std::to_string(calls_.back().number) + ", received " + std::to_string(received_) +
                     ", sent " + std::to_string(sent_) + ")"};
    }
}

long ConnectionKernel::answer(const Call& call) {
    calls_.push_back(call);
    const auto& a = call.arguments;
    const bool failed_setup = next_ == Next::Exit && end_ > cell::Exit::Bug;
    expect(next_ == Next::Setup || call.site == (failed_setup ? sys::CallSite::Setup : sys::CallSite::Cell),
           "neither from the setup call site while it is there, nor directly afterwards");
    if (call.number == SYS_exit_group) {
        expect(next_ == Next::Exit, "left too early");
        const bool silent = received_ == 0 && sent_ == 0 && // if the handler tells it
                            (end_ == cell::Exit::Done || end_ == cell::Exit::Reset);
        expect(a[0] == static_cast<long>(end_) || (silent && a[0] == static_cast<long>(cell::Exit::Idle)),
               "left with another code than is documented");
        throw Exited{static_cast<int>(a[0])};
    }
    expect(next_ != Next::Exit, "a call after the end");
    switch (next_) {
    case Next::Setup:
        return setup(call);
    case Next::Recv:
        return recv(call);
    case Next::Send:
        return send(call);
    case Next::Clock:
        return clock(call);
    case Next::Shutdown:
        expect(call.number == SYS_shutdown && a[0] == 0 && a[1] == SHUT_WR, "not shutdown(0, SHUT_WR)");
        shut_ = script_.next(call.number, 0);
        next_ = shut_ == 0 ? after_shutdown() : Next::Close;
        return shut_;
    case Next::Close:
        expect(call.number == SYS_close && a[0] == 0, "not close(0)");
        must_exit(shut_ == 0 ? cell::Exit::Done : end_of(shut_, cell::Exit::Reset));
        return script_.next(call.number, 0);
    case Next::Exit:
        break;
    }
    throw Broken{"no such state"};
}

long ConnectionKernel::setup(const Call& call) {
    const auto& a = call.arguments;
    if (setup_step_ == std::size(steps)) { // a negative self-test, confined
        expect(parameters_.mode == cell::Mode::Call && call.number == SYS_getppid &&
                   call.site == sys::CallSite::Cell,
               "not the violation");
        must_exit(cell::Exit::Bug);
        return listener_pid;
    }
    const Step& step = steps[setup_step_++];
    expect(call.number == step.number, "a step of setup is missing, or out of order");
    expect(call.site == sys::CallSite::Setup, "a step of setup that is not the setup call site's");
    switch (call.number) {
    case SYS_close_range:
        expect(a[0] == 1 && a[1] == 0xffffffff && a[2] == 0, "not all descriptors but the connection");
        break;
    case SYS_prctl:
        expect(a[0] == PR_SET_PDEATHSIG && a[1] == 9 && a[2] == 0 && a[3] == 0 && a[4] == 0,
               "not the death signal");
        break;
    case SYS_prlimit64: {
        const auto& limit = *reinterpret_cast<const rlimit64*>(a[2]);
        expect(a[0] == 0 && a[1] == RLIMIT_CPU && limit.rlim_cur == 7 && limit.rlim_max == 8 && a[3] == 0,
               "not the CPU limit");
        break;
    }
    case SYS_setitimer: {
        const auto& timer = *reinterpret_cast<const itimerval*>(a[1]);
        expect(a[0] == ITIMER_REAL && timer.it_value.tv_sec == 8 && timer.it_value.tv_usec == 9 &&
                   timer.it_interval.tv_sec == 0 && timer.it_interval.tv_usec == 0 && a[2] == 0,
               "not the lifetime");
        break;
    }
    case SYS_capset: {
        const auto& header = *reinterpret_cast<const __user_cap_header_struct*>(a[0]);
        constexpr __user_cap_data_struct none[2]{};
        expect(header.version == _LINUX_CAPABILITY_VERSION_3 && header.pid == 0 &&
                   std::memcmp(reinterpret_cast<const void*>(a[1]), none, sizeof none) == 0,
               "not all capabilities");
        break;
    }
    case SYS_munmap:
        expect(a[0] + a[1] == address(cell::cloister_setup_call) + arch::system_call_size &&
                   a[1] == static_cast<long>(arch::max_page_size),
               "not the setup call site's page");
        break;
    default:
        break;
    }
    const Answer answer = script_.next(call.number, 0);
    const bool succeeded = answer == 0; // of getppid: the listener is still the parent
    if (!succeeded) {
        must_exit(step.failure);
    } else if (setup_step_ == std::size(steps) && parameters_.mode == cell::Mode::Serve) {
        next_ = after_setup();
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
    expect(a[0] == 0 && a[1] == address(arena_->buffer) && a[2] == size && a[3] == 0 && a[4] == 0 &&
               a[5] == 0,
           "recv with other arguments than the policy's");
    const Answer answer = script_.next(call.number, size);
    if (answer == 0) {
        next_ = after_the_end();
    } else if (answer < 0) {
        fail_with(answer, cell::Exit::Idle);
    } else if (answer > size) {
        must_exit(cell::Exit::Bug);
    } else {
        for (long i = 0; i < answer; ++i) {
            arena_->buffer[i] = byte_received(received_ + static_cast<std::uint64_t>(i));
        }
        received_ += static_cast<std::uint64_t>(answer);
        next_ = after_receiving(answer);
    }
    return answer;
}

long ConnectionKernel::send(const Call& call) {
    const auto& a = call.arguments;
    expect(call.number == SYS_sendto, "not send: what was received is not sent, or not all of it");
    expect(a[0] == 0 && a[1] == address(arena_->buffer) && a[3] == MSG_NOSIGNAL && a[4] == 0 && a[5] == 0,
           "send with other arguments than the policy's");
    expect(a[2] == pending_, "send with another length than what is left");
    for (long i = 0; i < pending_; ++i) {
        expect(arena_->buffer[i] == byte_sent(sent_ + static_cast<std::uint64_t>(i)),
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
        next_ = pending_ == 0 ? after_sending() : Next::Send;
    }
    return answer;
}

long ConnectionKernel::clock(const Call& call) {
    const auto& a = call.arguments;
    expect(call.number == SYS_clock_gettime && a[0] == CLOCK_REALTIME && a[1] == address(arena_->buffer),
           "not clock_gettime(CLOCK_REALTIME, the buffer)");
    constexpr Answer longest = 253402300800; // 10000-01-01
    const Answer answer = script_.next(call.number, 0);
    const timespec time{answer, 0};
    if (answer < 0 && answer >= -4095) {
        must_exit(cell::Exit::Bug);
        return answer;
    }
    std::memcpy(arena_->buffer, &time, sizeof time);
    if (answer < 0 || answer >= longest) {
        must_exit(cell::Exit::Bug);
    } else {
        told_the_time(static_cast<std::uint64_t>(answer));
        next_ = expect_sending(static_cast<long>(missing()));
    }
    return 0;
}

void ConnectionKernel::must_exit(cell::Exit code) {
    next_ = Next::Exit;
    end_ = code;
}

/// Another than EINTR, after which the call is made again.
void ConnectionKernel::fail_with(long error, cell::Exit timeout) {
    if (error != -EINTR) {
        must_exit(end_of(error, timeout));
    }
}

/// What an answer that is an error, or none that a kernel gives, means.
cell::Exit ConnectionKernel::end_of(long error, cell::Exit timeout) {
    constexpr long impossible[] = {EBADF, EFAULT, EINVAL, ENOTSOCK, EOPNOTSUPP};
    if (error == -EAGAIN) {
        return timeout;
    }
    if (error == -ENOMEM || error == -ENOBUFS) {
        return cell::Exit::Resources;
    }
    if (error < -4095 ||
        std::find(std::begin(impossible), std::end(impossible), -error) != std::end(impossible)) {
        return cell::Exit::Bug;
    }
    return cell::Exit::Reset;
}

} // namespace cloister::scripted
