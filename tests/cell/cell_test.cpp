// SPDX-License-Identifier: MIT
//
// The very source that runs in a cell, against a scripted kernel.
#include "scripted/allowed.h"
#include "scripted/connection.h"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <gtest/gtest.h>
#include <random>
#include <sys/syscall.h>

namespace cloister::scripted {
namespace {

using cell::Exit;

/// Setup succeeds, but for one step; then recv and send answer from their lists; a list that is used up
/// answers 'end of stream' and 'all sent'.
class Listed final : public Script {
  public:
    std::deque<Answer> recv;
    std::deque<Answer> send;
    long failing_step = -1;
    Answer failure = -EPERM;
    Answer at_shutdown = 0;
    Answer at_close = 0;

    Answer next(long number, long size) override {
        switch (number) {
        case SYS_recvfrom:
            return take(recv, 0);
        case SYS_sendto:
            return take(send, size);
        case SYS_shutdown:
            return at_shutdown;
        case SYS_close:
            return at_close;
        default:
            return number == failing_step ? failure : 0;
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

struct Life {
    Exit exit;
    std::uint64_t received, sent;
    std::vector<Call> calls;
    std::vector<long> refused;
};

/// The calls that the filter would not have let pass: what the oracle takes for right is held against the
/// texts of the policies, too.
std::vector<long> refused(const ConnectionKernel& kernel) {
    static const auto shipped = [](const std::string& name) {
        return policy::load(CLOISTER_POLICIES "/" + name + ".policy").value();
    };
    static const policy::Policy setup = shipped("setup");
    static const policy::Policy connection = shipped("handlers/echo");
    const auto setup_end =
        reinterpret_cast<std::uint64_t>(cell::cloister_setup_call) + arch::system_call_size;
    const policy::Bindings bindings{{"buffer", reinterpret_cast<std::uint64_t>(kernel.buffer())},
                                    {"setup_page", setup_end - arch::max_page_size},
                                    {"setup_page_size", arch::max_page_size},
                                    {"setup_return", setup_end}};
    std::vector<long> numbers;
    for (const Call& call : kernel.calls()) {
        if (!allows(call.site == sys::CallSite::Setup ? setup : connection, bindings, call)) {
            numbers.push_back(call.number);
        }
    }
    return numbers;
}

Life live(Listed& script, cell::Mode mode = cell::Mode::Serve) {
    ConnectionKernel kernel{script};
    try {
        const Exit exit = kernel.live(mode);
        Life life{exit, kernel.received(), kernel.sent(), kernel.calls(), refused(kernel)};
        EXPECT_TRUE(life.refused.empty() || mode != cell::Mode::Serve) << "call " << life.refused.front();
        return life;
    } catch (const ConnectionKernel::Broken& broken) {
        ADD_FAILURE() << broken.what;
        return {};
    }
}

bool called(const Life& life, long number) {
    return std::any_of(life.calls.begin(), life.calls.end(),
                       [number](const Call& call) { return call.number == number; });
}

TEST(Cell, EchoesWhatItReceivedAndEndsClean) {
    Listed script;
    script.recv = {1, 64, 65536, 3};
    const Life life = live(script);
    EXPECT_EQ(life.exit, Exit::Done);
    EXPECT_EQ(life.received, 1U + 64 + 65536 + 3);
    EXPECT_EQ(life.sent, life.received);
}

TEST(Cell, EndsCleanWhenTheClientSaysNothing) {
    Listed script;
    const Life life = live(script);
    EXPECT_EQ(life.exit, Exit::Idle);
    EXPECT_FALSE(called(life, SYS_sendto));
    EXPECT_TRUE(called(life, SYS_shutdown));
}

TEST(Cell, SendsTheRestAfterAPartialSend) {
    Listed script;
    script.recv = {1000};
    script.send = {1, 998};
    const Life life = live(script);
    EXPECT_EQ(life.exit, Exit::Done);
    EXPECT_EQ(life.sent, 1000U);
}

TEST(Cell, SendsOneByteAtATime) {
    Listed script;
    script.recv = {300};
    script.send.assign(300, 1);
    EXPECT_EQ(live(script).sent, 300U);
}

TEST(Cell, RepeatsInterruptedCalls) {
    Listed script;
    script.recv = {-EINTR, -EINTR, 10, -EINTR};
    script.send = {-EINTR, 4, -EINTR};
    const Life life = live(script);
    EXPECT_EQ(life.exit, Exit::Done);
    EXPECT_EQ(life.sent, 10U);
}

TEST(Cell, GivesUpOnSendsThatSendNothing) {
    Listed script;
    script.recv = {10};
    script.send.assign(100, 0);
    EXPECT_EQ(live(script).exit, Exit::Resources);
}

TEST(Cell, CallsItAResetWhenTheConnectionIsGoneByTheTimeItEndsItsOwnStream) {
    Listed script;
    script.recv = {5};
    script.at_shutdown = -ENOTCONN; // inet_shutdown: TCP_CLOSE
    const Life life = live(script);
    EXPECT_EQ(life.exit, Exit::Reset);
    EXPECT_EQ(life.sent, 5U) << "all was handed to the kernel, which has thrown it away";
    EXPECT_TRUE(called(life, SYS_close));
}

TEST(Cell, IgnoresWhatCloseSays) {
    for (const Answer answer : {-EINTR, -EIO, -ENOTCONN}) {
        Listed script;
        script.recv = {5};
        script.at_close = answer;
        EXPECT_EQ(live(script).exit, Exit::Done);
    }
}

struct Meaning {
    long error;
    Exit of_recv, of_send;
};

/// Names the test.
void PrintTo(const Meaning& meaning, std::ostream* out) {
    *out << "Errno" << meaning.error;
}

class ErrorOfTheConnection : public testing::TestWithParam<Meaning> {};

TEST_P(ErrorOfTheConnection, EndsTheCellWithItsCode) {
    const auto& [error, of_recv, of_send] = GetParam();
    Listed receiving;
    receiving.recv = {7, -error};
    EXPECT_EQ(live(receiving).exit, of_recv);
    Listed sending;
    sending.recv = {7};
    sending.send = {3, -error};
    const Life life = live(sending);
    EXPECT_EQ(life.exit, of_send);
    EXPECT_EQ(life.sent, 3U);
    Listed ending;
    ending.recv = {7};
    ending.at_shutdown = -error;
    EXPECT_EQ(live(ending).exit, error == EAGAIN || error == ETIMEDOUT ? Exit::Reset : of_send);
}

INSTANTIATE_TEST_SUITE_P(
    All, ErrorOfTheConnection,
    testing::Values(
        Meaning{EAGAIN, Exit::Idle, Exit::Stalled}, Meaning{ECONNRESET, Exit::Reset, Exit::Reset},
        Meaning{EPIPE, Exit::Reset, Exit::Reset}, Meaning{ETIMEDOUT, Exit::Reset, Exit::Stalled},
        Meaning{EHOSTUNREACH, Exit::Reset, Exit::Reset}, Meaning{ENETUNREACH, Exit::Reset, Exit::Reset},
        Meaning{ENETDOWN, Exit::Reset, Exit::Reset}, Meaning{ENOTCONN, Exit::Reset, Exit::Reset},
        Meaning{ECONNREFUSED, Exit::Reset, Exit::Reset}, Meaning{EHOSTDOWN, Exit::Reset, Exit::Reset},
        Meaning{ENOMEM, Exit::Resources, Exit::Resources}, Meaning{ENOBUFS, Exit::Resources, Exit::Resources},
        Meaning{EBADF, Exit::Bug, Exit::Bug}, Meaning{EFAULT, Exit::Bug, Exit::Bug},
        Meaning{EINVAL, Exit::Bug, Exit::Bug}, Meaning{ENOTSOCK, Exit::Bug, Exit::Bug},
        Meaning{EOPNOTSUPP, Exit::Bug, Exit::Bug}, Meaning{4095, Exit::Reset, Exit::Reset},
        Meaning{4096, Exit::Bug, Exit::Bug}, Meaning{1L << 40, Exit::Bug, Exit::Bug}));

TEST(Cell, TrustsNoCountAboveWhatItAskedFor) {
    for (const Answer answer : {65537L, 1L << 31, 1L << 62}) {
        Listed receiving;
        receiving.recv = {answer};
        EXPECT_EQ(live(receiving).exit, Exit::Bug) << answer;
        Listed sending;
        sending.recv = {8};
        sending.send = {9};
        EXPECT_EQ(live(sending).exit, Exit::Bug);
    }
}

struct Setup {
    long step;
    Exit exit;
};

void PrintTo(const Setup& setup, std::ostream* out) {
    *out << "Call" << setup.step;
}

class FailedStepOfSetup : public testing::TestWithParam<Setup> {};

TEST_P(FailedStepOfSetup, EndsTheCellBeforeTheFirstByte) {
    for (const Answer failure : {-EPERM, -EINVAL, -ENOMEM, -EAGAIN, -ENOSYS, 1}) {
        Listed script;
        script.recv = {5};
        script.failing_step = GetParam().step;
        script.failure = failure;
        const Life life = live(script);
        EXPECT_EQ(life.exit, GetParam().exit);
        EXPECT_FALSE(called(life, SYS_recvfrom));
        EXPECT_FALSE(called(life, SYS_sendto));
    }
}

INSTANTIATE_TEST_SUITE_P(
    All, FailedStepOfSetup,
    testing::Values(Setup{SYS_close_range, Exit::Descriptors}, Setup{SYS_prctl, Exit::DeathSignal},
                    Setup{SYS_getppid, Exit::Orphan}, Setup{SYS_prlimit64, Exit::CpuLimit},
                    Setup{SYS_setitimer, Exit::Lifetime}, Setup{SYS_munmap, Exit::SetupPage}));

TEST(Cell, ViolatesOnlyWhenToldToAndOnlyWhenConfined) {
    Listed script;
    const Life life = live(script, cell::Mode::Call);
    EXPECT_EQ(life.exit, Exit::Bug);
    EXPECT_FALSE(called(life, SYS_recvfrom));
    EXPECT_EQ(life.refused, std::vector<long>{SYS_getppid});
}

TEST(Cell, KeepsEveryPromiseUnderRandomAnswers) {
    class Random final : public Script {
      public:
        explicit Random(unsigned seed) : random_{seed} {}
        Answer next(long number, long size) override {
            const unsigned dice = random_() % 64;
            if (number != SYS_recvfrom && number != SYS_sendto) {
                return dice == 0 ? -EPERM : 0;
            }
            if (++calls_ > 60) {
                return number == SYS_recvfrom ? 0 : size;
            }
            if (dice < 8) {
                return -EINTR;
            }
            if (dice == 8) {
                return -static_cast<long>(random_() % 5000);
            }
            if (dice == 9) {
                return size + 1 + static_cast<long>(random_() % 100);
            }
            return dice < 30 ? size : static_cast<long>(random_() % static_cast<unsigned long>(size + 1));
        }

      private:
        std::minstd_rand random_;
        int calls_ = 0;
    };
    for (unsigned seed = 1; seed <= 300; ++seed) {
        Random script{seed};
        ConnectionKernel kernel{script};
        try {
            (void)kernel.live();
        } catch (const ConnectionKernel::Broken& broken) {
            FAIL() << "seed " << seed << ": " << broken.what;
        }
        EXPECT_LE(kernel.sent(), kernel.received());
        EXPECT_TRUE(refused(kernel).empty()) << "seed " << seed << ": call " << refused(kernel).front();
    }
}

} // namespace
} // namespace cloister::scripted
