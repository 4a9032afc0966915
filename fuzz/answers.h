// SPDX-License-Identifier: MIT
#pragma once

#include "harness.h"
#include "scripted/connection.h"

#include <algorithm>
#include <sys/syscall.h>

namespace cloister::fuzz {

// What one input may cost: the fuzzers' finds are short, so nothing is lost.
inline constexpr unsigned most_calls = 500;
inline constexpr long most_work =
    150'000; // bytes received, and compared at each send: a full buffer goes through

class Answers final : public scripted::Script {
  public:
    Answers(Input& input, unsigned failing_step) : input_{input}, failing_step_{failing_step} {}

    scripted::Answer next(long number, long size) override {
        switch (number) {
        case SYS_recvfrom:
            return streamed(size, 0);
        case SYS_sendto:
            work_ += size;
            return streamed(size, size);
        case SYS_shutdown:
        case SYS_close:
            return answer(0);
        case SYS_clock_gettime:
            return input_.empty() ? 0 : answer(0);
        default:
            return ++step_ == failing_step_ ? answer(0) : 0;
        }
    }

  private:
    scripted::Answer streamed(long size, scripted::Answer otherwise) {
        if (input_.empty() || ++calls_ > most_calls || work_ > most_work) {
            return otherwise;
        }
        const auto count = answer(size);
        work_ += count > 0 && count <= size ? count : 0;
        return count;
    }

    scripted::Answer answer(long size) {
        const long code = input_.byte();
        switch (code) {
        case 0xfc:
            return static_cast<long>(input_.number(2)) % (size + 1);
        case 0xfd:
            return -static_cast<long>(input_.number(2));
        case 0xfe:
            return size + 1 + input_.byte();
        case 0xff:
            return static_cast<long>(input_.number(8));
        default:
            return code < 0x7f ? std::min(code, size) : code == 0x7f ? size : 0x7f - code;
        }
    }

    Input& input_;
    unsigned failing_step_;
    unsigned step_ = 0;
    unsigned calls_ = 0;
    long work_ = 0;
};

/// Lives a life of a handler, by the very source that runs in a cell; how it ended.
inline cell::Exit live(scripted::ConnectionKernel& kernel, bool negative_self_test = false) {
    try {
        const auto exit = kernel.live(negative_self_test ? cell::Mode::Call : cell::Mode::Serve);
        if (exit == cell::Exit::Done && kernel.missing() != 0) {
            broken("a clean end, and not all was sent");
        }
        return exit;
    } catch (const scripted::ConnectionKernel::Broken& failure) {
        broken(failure.what);
    }
}

} // namespace cloister::fuzz
