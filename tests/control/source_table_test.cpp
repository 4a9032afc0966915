// SPDX-License-Identifier: MIT
#include "control/source_table.h"

#include <cstring>
#include <gtest/gtest.h>
#include <new>
#include <sys/mman.h>
#include <vector>

namespace cloister::control {
namespace {

constexpr std::uint64_t second = 1'000'000'000;

class SourceTableTest : public testing::Test {
  protected:
    SourceTableTest() {
        void* const memory = mmap(nullptr, shared_size(max_sources), PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            throw std::bad_alloc{};
        }
        state_ = static_cast<SharedState*>(memory);
        prepare(*state_, max_sources);
        state_->secret[0] = 1;
        state_->rows = 3;
    }
    ~SourceTableTest() override { munmap(state_, shared_size(max_sources)); }
    SourceTableTest(const SourceTableTest&) = delete;
    SourceTableTest& operator=(const SourceTableTest&) = delete;

    SharedState* state_;
    SourceTable table() { return {*state_, max_sources}; }

    static Source number(std::uint32_t n) {
        const std::uint8_t bytes[4] = {static_cast<std::uint8_t>(n >> 24U),
                                       static_cast<std::uint8_t>(n >> 16U),
                                       static_cast<std::uint8_t>(n >> 8U), static_cast<std::uint8_t>(n)};
        return source_of(AF_INET, bytes);
    }
};

TEST_F(SourceTableTest, FindsWhatWasClaimedAndNothingElse) {
    auto sources = table();
    EXPECT_EQ(sources.find(number(1)), SourceTable::nowhere);
    const auto place = sources.claim(number(1), second);
    EXPECT_EQ(sources.find(number(1)), place);
    EXPECT_EQ(sources.claim(number(1), second), place);
    EXPECT_EQ(sources.source_at(place), number(1));
    EXPECT_EQ(sources.find(with_prefix(number(1), 24)), SourceTable::nowhere) << "another source";
    EXPECT_EQ(sources.find(source_of_user(1)), SourceTable::nowhere);
}

TEST_F(SourceTableTest, CountsTheConnectionsOfAllGenerations) {
    auto sources = table();
    const auto place = sources.claim(number(1), second);
    sources.add(0, place);
    sources.add(1, place);
    sources.add(1, place);
    EXPECT_EQ(sources.live(place), 3U);
    sources.remove(0, place);
    sources.remove(0, place);
    EXPECT_EQ(sources.live(place), 2U) << "a row never counts below zero";
    state_->rows = 1;
    EXPECT_EQ(sources.live(place), 0U) << "the row of a generation that has ended does not count";
}

TEST_F(SourceTableTest, LetsABurstInAndThenTheRate) {
    auto sources = table();
    const Rate rate{second / 10, 3};
    const auto place = sources.claim(number(1), second);
    std::uint64_t now = 5 * second;
    for (int i = 0; i < 3; ++i) {
        ASSERT_EQ(sources.wait_ns(place, rate, now), 0U) << i;
        sources.charge(place, rate, now);
    }
    EXPECT_EQ(sources.wait_ns(place, rate, now), second / 10);
    now += second / 10 - 1;
    EXPECT_EQ(sources.wait_ns(place, rate, now), 1U);
    ++now;
    EXPECT_EQ(sources.wait_ns(place, rate, now), 0U);
    sources.charge(place, rate, now);
    EXPECT_NE(sources.wait_ns(place, rate, now), 0U);
    EXPECT_EQ(sources.wait_ns(place, rate, now + second), 0U);
    EXPECT_EQ(sources.wait_ns(place, {0, 1}, now), 0U) << "no rate, no limit";
}

TEST_F(SourceTableTest, HealsATimeThatCannotBe) {
    auto sources = table();
    const Rate rate{second, 2};
    const auto place = sources.claim(number(1), second);
    sources.entry(place).due_ns = ~std::uint64_t{0};
    EXPECT_EQ(sources.wait_ns(place, rate, second), second) << "no longer than a source can have to wait";
    sources.entry(place).penalty = ~std::uint64_t{0};
    EXPECT_EQ(sources.penalty(place, 1000).level, 0U);
}

TEST_F(SourceTableTest, DoublesPenaltiesUpToTheLongestAndForgets) {
    auto sources = table();
    const auto place = sources.claim(number(1), second);
    std::uint64_t now = 1'000'000;
    for (const std::uint64_t expected : {90'000U, 180'000U, 360'000U, 600'000U, 600'000U}) {
        const auto given = sources.penalise(place, ExitReason::Violation, 90'000, now);
        EXPECT_EQ(given.until_ms - now, expected);
        EXPECT_EQ(given.cause, ExitReason::Violation);
        EXPECT_EQ(sources.penalise(place, ExitReason::Crashed, 90'000, now + 1).until_ms, given.until_ms)
            << "what is shut out stays so for as long as it was to be";
        EXPECT_NE(sources.penalty(place, given.until_ms - 1).level, 0U);
        EXPECT_EQ(sources.penalty(place, given.until_ms).level, 0U);
        now = given.until_ms + 1000;
    }
    now += SourceTable::longest_penalty_ms;
    EXPECT_EQ(sources.penalise(place, ExitReason::Violation, 90'000, now).until_ms - now, 90'000U);
}

TEST_F(SourceTableTest, KnowsForHowLongASourceWasOverItsRate) {
    auto sources = table();
    const auto place = sources.claim(number(1), second);
    std::uint64_t now = 100'000;
    EXPECT_EQ(sources.note_over_rate(place, now), 0U);
    EXPECT_EQ(sources.note_over_rate(place, now += 2000), 2000U);
    EXPECT_EQ(sources.note_over_rate(place, now += 4000), 6000U);
    EXPECT_EQ(sources.note_over_rate(place, now += 1000 * SourceTable::over_rate_gap_s), 0U) << "it paused";
}

TEST_F(SourceTableTest, KeepsWhoIsConnectedOrShutOutWhenItOverflows) {
    auto sources = table();
    constexpr std::uint32_t kept = 500;
    for (std::uint32_t i = 0; i < kept; ++i) {
        sources.add(0, sources.claim(number(i), second));
        (void)sources.penalise(sources.claim(number(1'000'000 + i), second), ExitReason::Crashed, 90'000,
                               1000);
    }
    for (std::uint32_t i = 0; i < 4 * max_sources; ++i) {
        ASSERT_NE(sources.claim(number(10'000'000 + i), second + i), SourceTable::nowhere);
    }
    for (std::uint32_t i = 0; i < kept; ++i) {
        const auto connected = sources.find(number(i));
        ASSERT_NE(connected, SourceTable::nowhere);
        EXPECT_EQ(sources.live(connected), 1U);
        const auto penalised = sources.find(number(1'000'000 + i));
        ASSERT_NE(penalised, SourceTable::nowhere);
        EXPECT_NE(sources.penalty(penalised, 2000).level, 0U);
    }
}

TEST_F(SourceTableTest, TracksNobodyNewWhenAllAreConnected) {
    auto sources = table();
    std::uint32_t untracked = 0;
    std::vector<SourceTable::Place> places;
    for (std::uint32_t i = 0; i < 2 * max_sources; ++i) {
        const auto place = sources.claim(number(i), second);
        untracked += place == SourceTable::nowhere ? 1 : 0;
        if (place != SourceTable::nowhere) {
            sources.add(1, place);
            places.push_back(place);
        }
    }
    EXPECT_LE(places.size(), max_sources);
    EXPECT_GE(places.size(), max_sources * 95 / 100) << "two buckets for each source fill up evenly";
    EXPECT_EQ(places.size() + untracked, 2 * max_sources);
    for (const auto place : places) {
        ASSERT_EQ(sources.live(place), 1U);
    }
}

TEST_F(SourceTableTest, GivesUpThePenaltyThatEndsFirstWhenAllAreShutOut) {
    auto sources = table();
    for (std::uint32_t i = 0; i < 2 * max_sources; ++i) {
        const auto place = sources.claim(number(i), second);
        ASSERT_NE(place, SourceTable::nowhere);
        (void)sources.penalise(place, ExitReason::Crashed, 90'000 + i, 1000);
    }
    const auto last = sources.find(number(2 * max_sources - 1));
    ASSERT_NE(last, SourceTable::nowhere);
    EXPECT_NE(sources.penalty(last, 2000).level, 0U);
}

TEST_F(SourceTableTest, ListsNoSourceThatIsNotTheEntrys) {
    auto sources = table();
    const auto place = sources.claim(number(1), second);
    sources.entry(place).address[0] = 7;
    EXPECT_EQ(sources.source_at(place), std::nullopt);
    sources.entry(place).label = ~std::uint64_t{0};
    EXPECT_EQ(sources.source_at(place), std::nullopt);
}

} // namespace
} // namespace cloister::control
