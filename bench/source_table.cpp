// SPDX-License-Identifier: MIT
// What a look-up in the source table takes, empty and full, of sources that are there and of new ones.
#include "control/source_table.h"

#include <benchmark/benchmark.h>
#include <cstdlib>
#include <memory>
#include <random>
#include <sys/mman.h>

namespace {

using namespace cloister::control;

constexpr std::uint64_t second = 1'000'000'000;

Source number(std::uint32_t n) {
    const std::uint8_t bytes[4] = {static_cast<std::uint8_t>(n >> 24U), static_cast<std::uint8_t>(n >> 16U),
                                   static_cast<std::uint8_t>(n >> 8U), static_cast<std::uint8_t>(n)};
    return source_of(AF_INET, bytes);
}

/// With so many sources in it, each with a connection.
std::unique_ptr<SharedState, void (*)(SharedState*)> make(std::uint32_t filled) {
    void* const memory =
        mmap(nullptr, shared_size(max_sources), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        std::abort();
    }
    auto* const state = static_cast<SharedState*>(memory);
    prepare(*state, max_sources);
    state->secret[0] = std::random_device{}();
    state->rows = 1;
    SourceTable table{*state, max_sources};
    for (std::uint32_t i = 0; i < filled; ++i) {
        if (const auto place = table.claim(number(i), second); place != SourceTable::nowhere) {
            table.add(0, place);
        }
    }
    return {state, [](SharedState* old) { munmap(old, shared_size(max_sources)); }};
}

/// All that admission does with one source: find or make its entry, look at it, charge its rate.
void admit(benchmark::State& run, std::uint32_t filled, std::uint32_t first, std::uint32_t range) {
    const auto state = make(filled);
    SourceTable table{*state, max_sources};
    const Rate rate{second / 32, 128};
    std::uint32_t random = 1;
    std::uint64_t now = second;
    for (auto _ : run) {
        random = random * 1664525 + 1013904223;
        now += 1000;
        const auto place = table.claim(number(first + (random >> 8U) % range), now);
        if (place != SourceTable::nowhere) {
            benchmark::DoNotOptimize(table.penalty(place, now / 1'000'000));
            benchmark::DoNotOptimize(table.live(place));
            benchmark::DoNotOptimize(table.wait_ns(place, rate, now));
            table.charge(place, rate, now);
        }
    }
}

BENCHMARK_CAPTURE(admit, empty_and_one_source, 0, 0, 1);
BENCHMARK_CAPTURE(admit, empty_and_new_sources, 0, 0, 1U << 24);
BENCHMARK_CAPTURE(admit, full_and_known_sources, max_sources, 0, max_sources);
BENCHMARK_CAPTURE(admit, full_and_new_sources, max_sources, 1U << 30, 1U << 24);

} // namespace

BENCHMARK_MAIN();
