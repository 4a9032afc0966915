// SPDX-License-Identifier: MIT
#include "listed.h"

namespace cloister::scripted {
namespace {

TEST(DiscardCell, ReceivesUntilTheEndAndSendsNothing) {
    Answers script;
    script.recv = {1, 65536, -EINTR, 7};
    DiscardKernel kernel{script};
    EXPECT_EQ(live(kernel, "discard"), Exit::Done);
    EXPECT_EQ(kernel.received(), 1U + 65536 + 7);
}

TEST(DiscardCell, EndsByWhatRecvAndShutdownSay) {
    for (const auto& [error, exit] : {std::pair{EAGAIN, Exit::Idle},
                                      {ECONNRESET, Exit::Reset},
                                      {ENOMEM, Exit::Resources},
                                      {EBADF, Exit::Bug}}) {
        Answers script;
        script.recv = {7, -error};
        DiscardKernel kernel{script};
        EXPECT_EQ(live(kernel, "discard"), exit);
    }
    Answers script;
    script.at_shutdown = -ENOTCONN;
    DiscardKernel kernel{script};
    EXPECT_EQ(live(kernel, "discard"), Exit::Reset);
}

TEST(DiscardCell, KeepsEveryPromiseUnderRandomAnswers) {
    for (unsigned seed = 1; seed <= 200; ++seed) {
        Chance script{seed};
        DiscardKernel kernel{script};
        (void)live(kernel, "discard");
    }
}

} // namespace
} // namespace cloister::scripted
