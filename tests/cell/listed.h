// SPDX-License-Identifier: MIT
#pragma once

#include "scripted/allowed.h"
#include "scripted/handlers.h"

#include <cerrno>
#include <deque>
#include <gtest/gtest.h>
#include <random>
#include <sys/syscall.h>

namespace cloister::scripted {

using cell::Exit;

/// Setup succeeds; recv, send and the clock answer from their lists; a list that is used up answers 'end of
/// stream', 'all sent', 'the beginning of 1970'.
class Answers final : public Script {
  public:
    std::deque<Answer> recv, send, clock;
    Answer at_shutdown = 0;

    Answer next(long number, long size) override {
        switch (number) {
        case SYS_recvfrom:
            return take(recv, 0);
        case SYS_sendto:
            return take(send, size);
        case SYS_clock_gettime:
            return take(clock, 0);
        default:
            return number == SYS_shutdown ? at_shutdown : 0;
        }
    }

  private:
    static Answer take(std::deque<Answer>& answers, Answer otherwise) {
        if (answers.empty()) {
            return otherwise;
        }
        const Answer first = answers.front();
        answers.pop_front();
        return first;
    }
};

/// Chance answers, with a hand on the scale so that lives are long.
class Chance final : public Script {
  public:
    explicit Chance(unsigned seed) : random_{seed} {}
    Answer next(long number, long size) override {
        const unsigned dice = random_() % 64;
        if (number == SYS_clock_gettime) {
            return dice == 0 ? -EPERM : static_cast<long>(random_()) * 100;
        }
        if (number != SYS_recvfrom && number != SYS_sendto) {
            return dice == 0 ? -EPERM : 0;
        }
        if (++calls_ > 60) {
            return number == SYS_recvfrom ? 0 : size;
        }
        return dice < 8    ? -EINTR
               : dice == 8 ? -static_cast<long>(random_() % 5000)
               : dice == 9 ? size + 1 + static_cast<long>(random_() % 100)
               : dice < 30 ? size
                           : static_cast<long>(random_() % static_cast<unsigned long>(size + 1));
    }

  private:
    std::minstd_rand random_;
    int calls_ = 0;
};

/// Runs a life; the kernel's oracle and the handler's policy hold at each call.
inline Exit live(ConnectionKernel& kernel, const char* handler) {
    try {
        const Exit exit = kernel.live();
        const auto policy =
            policy::load(std::string{CLOISTER_POLICIES "/handlers/"} + handler + ".policy").value();
        for (const Call& call : kernel.calls()) {
            EXPECT_TRUE(call.site == sys::CallSite::Setup ||
                        allows(policy, {{"buffer", reinterpret_cast<std::uint64_t>(kernel.buffer())}}, call))
                << "call " << call.number;
        }
        EXPECT_TRUE(exit != Exit::Done || kernel.missing() == 0) << kernel.missing();
        return exit;
    } catch (const ConnectionKernel::Broken& broken) {
        ADD_FAILURE() << broken.what;
        return Exit::Bug;
    }
}

} // namespace cloister::scripted
