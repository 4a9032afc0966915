// SPDX-License-Identifier: MIT
#include "listed.h"

namespace cloister::scripted {
namespace {

std::string text_of(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) {
        text[i] = static_cast<char>(pattern(i));
    }
    return text;
}

TEST(StaticCell, SendsTheContentInPiecesOfTheBufferAndThrowsAwayWhatComes) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{65535}, std::size_t{65536}, std::size_t{65537},
                                   std::size_t{300'000}, control::max_content}) {
        Answers script;
        script.recv = {5};
        script.send = {-EINTR, 1};
        StaticKernel kernel{script, text_of(size), false, ""};
        EXPECT_EQ(live(kernel, "static"), Exit::Done);
        EXPECT_EQ(kernel.sent(), size);
        EXPECT_EQ(kernel.received(), 5U);
    }
}

TEST(StaticCell, WaitsForAnEmptyLineIfTold) {
    for (const std::string request :
         {"GET / HTTP/1.0\r\nHost: a\r\n\r\n", "\n\n", "\r\n\r\n", "a\nb\n\nc\n"}) {
        for (const Answer piece : {1L, 2L, 3L, 1000L}) { // wherever it is cut
            Answers script;
            for (Answer left = static_cast<long>(request.size()); left > 0; left -= piece) {
                script.recv.push_back(std::min(left, piece));
            }
            StaticKernel kernel{script, "answer", true, request};
            EXPECT_EQ(live(kernel, "static"), Exit::Done) << request;
            EXPECT_EQ(kernel.sent(), 6U) << request;
        }
    }
}

TEST(StaticCell, SendsNothingToWhoEndsBeforeTheEmptyLine) {
    for (const std::string request : {"", "GET / HTTP/1.0\r\n", "\n", "a\n b\n \n"}) {
        Answers script;
        if (!request.empty()) {
            script.recv = {static_cast<long>(request.size())};
        }
        StaticKernel kernel{script, "answer", true, request};
        EXPECT_EQ(live(kernel, "static"), request.empty() ? Exit::Idle : Exit::Done) << request;
        EXPECT_EQ(kernel.sent(), 0U) << request;
    }
}

TEST(StaticCell, KeepsEveryPromiseUnderRandomAnswers) {
    for (unsigned seed = 1; seed <= 200; ++seed) {
        Chance script{seed};
        StaticKernel kernel{script, text_of(seed * 997), seed % 2 == 0, "a\r\nb\r\n\r\n"};
        (void)live(kernel, "static");
    }
}

} // namespace
} // namespace cloister::scripted
