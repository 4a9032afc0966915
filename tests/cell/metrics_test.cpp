// SPDX-License-Identifier: MIT
#include "listed.h"

namespace cloister::scripted {
namespace {

const std::string request = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";

TEST(MetricsCell, SendsTheNewestPageInPiecesOfTheBuffer) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{65535}, std::size_t{65536}, std::size_t{65537},
                                   std::size_t{300'000}, std::size_t{control::LiveContent::longest}}) {
        Answers script;
        script.recv = {static_cast<long>(request.size()), 5};
        script.send = {-EINTR, 1};
        MetricsKernel kernel{script, size, 0, request};
        EXPECT_EQ(live(kernel, "metrics"), Exit::Done);
        EXPECT_EQ(kernel.sent(), size);
    }
}

TEST(MetricsCell, SendsNothingOfAPageThatMayHaveBeenWrittenOver) {
    for (const unsigned renewals : {0U, 1U, 2U, 3U, 4U, 9U}) {
        for (const std::size_t size : {std::size_t{65536}, std::size_t{65537}, std::size_t{200'000}}) {
            Answers script;
            script.recv = {static_cast<long>(request.size())};
            MetricsKernel kernel{script, size, renewals, request};
            const std::size_t pieces = (size + 65535) / 65536;
            const bool cut = (pieces - 1) * renewals >= control::LiveContent::places - 1;
            EXPECT_EQ(live(kernel, "metrics"), cut ? Exit::Stalled : Exit::Done) << renewals << ' ' << size;
        }
    }
}

TEST(MetricsCell, AnswersEachRequestWithThePageOrAnError) {
    for (const std::string line :
         {"GET /metrics HTTP/1.0", "GET /metrics?a=b HTTP/1.1", "GET /metrics ", "GET /metrics",
          "GET /metric", "GET /metricsx HTTP/1.1", "GET / HTTP/1.1", "GET  /metrics HTTP/1.1",
          "POST /metrics HTTP/1.1", "get /metrics HTTP/1.1", "GET", "GET ", "G", "", "HEAD /metrics HTTP/1.1",
          "xGET /metrics HTTP/1.1", "\r\nGET /metrics HTTP/1.1"}) {
        for (const std::string end : {"\r\n\r\n", "\n\n", "\r\nA: GET /metrics HTTP/1.1\r\n\r\n"}) {
            for (const Answer piece : {1L, 2L, 5L, 1000L}) { // wherever it is cut
                const std::string whole = line + end;
                Answers script;
                for (Answer left = static_cast<long>(whole.size()); left > 0; left -= piece) {
                    script.recv.push_back(std::min(left, piece));
                }
                MetricsKernel kernel{script, 100, 0, whole};
                EXPECT_EQ(live(kernel, "metrics"), Exit::Done) << line;
                EXPECT_NE(kernel.sent(), 0U) << line;
            }
        }
    }
}

TEST(MetricsCell, SendsNothingToWhoEndsBeforeTheEmptyLine) {
    for (const std::string said : {"", "GET /metrics HTTP/1.0\r\n"}) {
        Answers script;
        if (!said.empty()) {
            script.recv = {static_cast<long>(said.size())};
        }
        MetricsKernel kernel{script, 100, 0, said};
        EXPECT_EQ(live(kernel, "metrics"), said.empty() ? Exit::Idle : Exit::Done);
        EXPECT_EQ(kernel.sent(), 0U);
    }
}

TEST(MetricsCell, KeepsEveryPromiseUnderRandomAnswers) {
    for (unsigned seed = 1; seed <= 200; ++seed) {
        Chance script{seed};
        MetricsKernel kernel{script, seed * 997, seed % 5, request};
        (void)live(kernel, "metrics");
    }
}

} // namespace
} // namespace cloister::scripted
