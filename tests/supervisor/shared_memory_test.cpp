// SPDX-License-Identifier: MIT
#include "supervisor/shared_memory.h"

#include <csignal>
#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::supervisor {
namespace {

constexpr std::uint64_t second = 1'000'000'000;

control::Source client(std::uint8_t last) {
    const std::uint8_t address[4] = {192, 0, 2, last};
    return control::source_of(AF_INET, address);
}

TEST(SharedMemory, GivesEachGenerationARowAndKeepsWhatItHasCounted) {
    auto memory = SharedMemory::create();
    ASSERT_TRUE(memory);
    EXPECT_EQ(memory->take_row(), 0U);
    EXPECT_EQ(memory->take_row(), 1U);
    auto& state = const_cast<control::SharedState&>(memory->state());
    auto sources = memory->sources();
    const auto place = sources.claim(client(1), second);
    sources.add(1, place);
    state.counters[1].connections = 5;
    state.counters[1].live = 3;
    memory->release_row(1);
    EXPECT_EQ(sources.live(place), 0U);
    EXPECT_EQ(state.counters[1].live, 0U);
    EXPECT_EQ(state.counters[1].connections, 0U);
    EXPECT_EQ(state.ended.connections, 5U);
    EXPECT_EQ(memory->take_row(), 1U);
    for (unsigned row = 2; row < control::max_rows; ++row) {
        EXPECT_EQ(memory->take_row(), row);
    }
    EXPECT_EQ(memory->take_row(), std::nullopt);
}

TEST(SharedMemory, ListsTheSourcesThatWereUsed) {
    auto memory = SharedMemory::create();
    ASSERT_TRUE(memory);
    auto sources = memory->sources();
    for (std::uint8_t i = 0; i < 100; ++i) {
        (void)sources.claim(client(i), second);
    }
    unsigned found = 0;
    memory->for_each_source([&](const control::SourceTable& table, control::SourceTable::Place place) {
        found += table.source_at(place) ? 1U : 0U;
    });
    EXPECT_EQ(found, 100U);
}

/// What a listener does with one client, from its accept to the end of its cell, which crashes.
void serve_one(SharedMemory& memory, const control::Source& source) {
    const control::Rate rate{second, 4};
    auto sources = memory.sources();
    const auto place = sources.claim(source, second);
    (void)sources.wait_ns(place, rate, second);
    (void)sources.note_over_rate(place, 1000);
    sources.charge(place, rate, second);
    sources.add(0, place);
    (void)sources.penalise(place, ExitReason::Crashed, 90'000, 1000);
    sources.remove(0, place);
}

/// Runs it for so many instructions, and kills it there. False if it has ended before.
bool killed_after(SharedMemory& memory, const control::Source& source, unsigned instructions) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        ::raise(SIGSTOP);
        serve_one(memory, source);
        ::raise(SIGSTOP);
        ::_exit(0);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    bool stopped = true;
    for (unsigned i = 0; i < instructions && stopped; ++i) {
        EXPECT_EQ(::ptrace(PTRACE_SINGLESTEP, pid, nullptr, nullptr), 0);
        EXPECT_EQ(::waitpid(pid, &status, 0), pid);
        stopped = WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
    }
    (void)::kill(pid, SIGKILL);
    (void)::waitpid(pid, &status, 0);
    return stopped;
}

TEST(SharedMemory, IsSoundAfterAListenerThatWasKilledAtAnyInstruction) {
#ifdef CLOISTER_INSTRUMENTED
    GTEST_SKIP() << "it would take many times as many instructions";
#endif
    auto memory = SharedMemory::create();
    ASSERT_TRUE(memory);
    ASSERT_EQ(memory->take_row(), 0U);
    auto sources = memory->sources();
    unsigned runs = 0;
    constexpr unsigned step = 11; // coprime to whatever repeats
    for (unsigned at = 1; killed_after(*memory, client(static_cast<std::uint8_t>(runs % 200)), at);
         at += step) {
        ++runs;
        memory->release_row(0);
        ASSERT_EQ(memory->take_row(), 0U);
        memory->for_each_source([&](const control::SourceTable& table, control::SourceTable::Place place) {
            ASSERT_EQ(table.live(place), 0U) << at << ": a count that belongs to nobody";
        });
        // The next listener serves the same client as if nothing had been, but for a penalty.
        const auto source = client(static_cast<std::uint8_t>((runs - 1) % 200));
        const auto place = sources.claim(source, 2 * second);
        ASSERT_NE(place, control::SourceTable::nowhere) << at;
        ASSERT_EQ(sources.source_at(place), source) << at;
        ASSERT_LE(sources.wait_ns(place, {second, 4}, 2 * second), second) << at;
        const auto penalty = sources.penalty(place, 1001);
        ASSERT_TRUE(penalty.level == 0 || penalty.until_ms == 91'000) << at;
    }
    EXPECT_GT(runs, 20U);
}

} // namespace
} // namespace cloister::supervisor
