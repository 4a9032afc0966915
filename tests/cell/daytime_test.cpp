// SPDX-License-Identifier: MIT
#include "base/date.h"
#include "listed.h"

namespace cloister::scripted {
namespace {

TEST(DaytimeCell, SendsTheDateEndsItsStreamAndThrowsAwayWhatComes) {
    Answers script;
    script.clock = {1795669277}; // Thursday, November 26, 2026 05:01:17
    script.recv = {5, -EINTR, 65536};
    DaytimeKernel kernel{script};
    EXPECT_EQ(live(kernel, "daytime"), Exit::Done);
    EXPECT_EQ(kernel.sent(), std::string_view{"Thursday, November 26, 2026 05:01:17-UTC\r\n"}.size());
    EXPECT_EQ(kernel.received(), 5U + 65536);
}

TEST(DaytimeCell, SaysBugWhenTheClockSaysWhatItCannot) {
    for (const Answer answer : {-1L, -long{EFAULT}, -100'000L, 253402300800L, 1L << 60}) {
        Answers script;
        script.clock = {answer};
        DaytimeKernel kernel{script};
        EXPECT_EQ(live(kernel, "daytime"), Exit::Bug) << answer;
    }
}

TEST(DaytimeCell, KeepsEveryPromiseUnderRandomAnswers) {
    for (unsigned seed = 1; seed <= 300; ++seed) {
        Chance script{seed};
        DaytimeKernel kernel{script};
        (void)live(kernel, "daytime");
    }
}

/// Each day of more than 400 years, and of the last ones that have four digits.
TEST(Date, IsWhatGmtimeSays) {
    constexpr std::uint64_t day = 86400;
    const auto expect_same = [](std::uint64_t seconds) {
        const auto time = static_cast<std::time_t>(seconds);
        std::tm tm{};
        ASSERT_NE(gmtime_r(&time, &tm), nullptr);
        const Date date = date_of(seconds);
        ASSERT_TRUE(date.year == static_cast<std::uint64_t>(tm.tm_year + 1900) &&
                    date.month == static_cast<unsigned>(tm.tm_mon) &&
                    date.day == static_cast<unsigned>(tm.tm_mday) &&
                    date.weekday == static_cast<unsigned>(tm.tm_wday) &&
                    date.hour == static_cast<unsigned>(tm.tm_hour) &&
                    date.minute == static_cast<unsigned>(tm.tm_min) &&
                    date.second == static_cast<unsigned>(tm.tm_sec))
            << seconds;
    };
    for (std::uint64_t i = 0; i < 150'000; ++i) {
        expect_same(i * day + i % day);
        expect_same((i + 1) * day - 1);
    }
    for (std::uint64_t seconds = 253402300799 - 800 * day; seconds < 253402300800; seconds += day / 7) {
        expect_same(seconds);
    }
}

} // namespace
} // namespace cloister::scripted
