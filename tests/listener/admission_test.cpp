// SPDX-License-Identifier: MIT
//
// Who gets a cell, and who is turned away: the listener's own source against a scripted kernel.
#include "control/source_table.h"
#include "listener/admission.h"
#include "scripted/listener.h"

#include <gtest/gtest.h>

namespace cloister::scripted {
namespace {

constexpr std::int64_t second = 1'000'000'000;
constexpr int left_in_order = -1;
constexpr std::uint32_t first = 0xc0000201;     // 192.0.2.1
constexpr std::uint32_t neighbour = 0xc0000202; // 192.0.2.2
constexpr std::uint32_t elsewhere = 0xc6336401; // 198.51.100.1

constexpr int exited(cell::Exit code) {
    return static_cast<int>(code) << 8;
}
constexpr int killed_by(int signal) {
    return signal;
}

/// Connections of that client, one after the other.
void connect_from(ListenerWorld& world, std::uint32_t client, unsigned times = 1) {
    world.then([&world, client, times] {
        world.client = client;
        world.connect(times);
    });
}

std::vector<std::string> reasons(const ListenerWorld& world) {
    std::vector<std::string> all;
    for (const auto& record : world.records("refused")) {
        all.push_back(record["reason"]);
    }
    return all;
}

std::uint64_t refused(ListenerWorld& world, Refusal refusal) {
    return world.state().counters[0].refusals[static_cast<std::size_t>(refusal)];
}

TEST(Admission, ResetsAClientWhoseSourceHasAllItsPlacesAndServesOthers) {
    ListenerWorld world{8};
    world.launch().admission.max_per_source = 2;
    connect_from(world, first, 4);
    connect_from(world, neighbour);
    world.then([&] {
        EXPECT_EQ(world.born().size(), 3U);
        EXPECT_EQ(world.resets(), 2U);
        world.end_cell(world.born()[0], exited(cell::Exit::Done));
    });
    connect_from(world, first, 2);
    world.then([&] { EXPECT_EQ(world.born().size(), 4U) << "one place is free again"; });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(refused(world, Refusal::Source), 3U);
    const auto records = world.records("refused");
    ASSERT_EQ(records.size(), 3U);
    EXPECT_EQ(records[0]["reason"], "source");
    EXPECT_EQ(records[0]["peer"], "192.0.2.1:40002");
    EXPECT_EQ(records[0]["source"], "192.0.2.1");
    EXPECT_EQ(records[0]["limit"], 2);
    EXPECT_EQ(records[0]["socket"], "the-listener");
}

TEST(Admission, CountsANetworkBesides) {
    ListenerWorld world{8};
    world.launch().admission.network_ipv4 = 24;
    world.launch().admission.max_per_network = 2;
    connect_from(world, first);
    connect_from(world, neighbour, 2);
    connect_from(world, elsewhere);
    world.then([&] { EXPECT_EQ(world.born().size(), 3U); });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(reasons(world), std::vector<std::string>{"network"});
    EXPECT_EQ(world.records("refused")[0]["source"], "192.0.2.0/24");
}

TEST(Admission, LimitsTheRateOfASource) {
    ListenerWorld world{8};
    world.launch().admission.source_rate = {second, 2};
    connect_from(world, first, 3);
    world.then([&] {
        EXPECT_EQ(world.born().size(), 2U);
        world.pass(second);
        world.connect(2);
    });
    connect_from(world, neighbour);
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.born().size(), 4U);
    EXPECT_EQ(reasons(world), (std::vector<std::string>{"rate", "rate"}));
    EXPECT_EQ(world.records("refused")[0]["wait_ms"], 1000);
}

TEST(Admission, LetsExemptSourcesPassEveryLimit) {
    ListenerWorld world{8};
    auto& rules = world.launch().admission;
    rules.max_per_source = 1;
    rules.source_rate = {second, 1};
    rules.refuse_privileged_ports = true;
    rules.exempt[rules.exempt_count++] = *control::parse_source("198.51.100.0/24");
    rules.exempt[rules.exempt_count++] = *control::parse_source("192.0.2.0/31");
    connect_from(world, first, 5);
    connect_from(world, neighbour, 3);
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.born().size(), 6U);
    EXPECT_EQ(refused(world, Refusal::Source), 2U);
}

TEST(Admission, KeepsPlacesForExemptSources) {
    ListenerWorld world{4};
    auto& rules = world.launch().admission;
    rules.reserved = 1;
    rules.exempt[rules.exempt_count++] = *control::parse_source("192.0.2.2");
    connect_from(world, first, 4);
    world.then([&] { EXPECT_EQ(world.born().size(), 3U); });
    connect_from(world, neighbour);
    world.then([&] {
        EXPECT_EQ(world.born().size(), 4U);
        EXPECT_FALSE(world.polled_listener()) << "full: whoever comes waits in the backlog";
    });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(reasons(world), std::vector<std::string>{"reserved"});
}

TEST(Admission, ShutsASourceOutWhoseCellBrokeItsPolicy) {
    for (const int signal : {SIGSYS, SIGSEGV}) {
        ListenerWorld world{8};
        world.launch().admission.penalty_ms = 90'000;
        connect_from(world, first, 2);
        world.then([&] { world.end_cell(world.born()[0], killed_by(signal)); });
        connect_from(world, first);
        connect_from(world, neighbour);
        world.then([&] {
            EXPECT_EQ(world.born().size(), 3U);
            EXPECT_EQ(world.live().size(), 2U) << "what is connected stays";
            world.pass(90 * second);
        });
        connect_from(world, first);
        world.then([&] { EXPECT_EQ(world.born().size(), 4U); });
        EXPECT_EQ(world.serve(), left_in_order);
        EXPECT_EQ(reasons(world), std::vector<std::string>{"penalty"});
        ASSERT_EQ(world.records("penalty").size(), 1U);
        EXPECT_EQ(world.records("penalty")[0]["source"], "192.0.2.1");
        EXPECT_EQ(world.records("penalty")[0]["reason"], signal == SIGSYS ? "violation" : "crashed");
        EXPECT_EQ(world.records("penalty")[0]["duration_ms"], 90'000);
        EXPECT_EQ(world.records("penalty")[0]["turn"], 1);
    }
}

TEST(Admission, HoldsNothingElseAgainstASource) {
    ListenerWorld world{16};
    world.launch().admission.penalty_ms = 90'000;
    world.launch().idle = {60, 0};
    connect_from(world, first, 8);
    world.then([&] {
        int ends[] = {exited(cell::Exit::Done),
                      exited(cell::Exit::Idle),
                      exited(cell::Exit::Stalled),
                      exited(cell::Exit::Reset),
                      exited(cell::Exit::Resources),
                      killed_by(SIGKILL),
                      killed_by(SIGALRM),
                      killed_by(SIGXCPU)};
        for (std::size_t i = 0; i < std::size(ends); ++i) {
            world.end_cell(world.born()[i], ends[i]);
        }
    });
    connect_from(world, first);
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.born().size(), 9U);
    EXPECT_TRUE(world.records("penalty").empty());
}

TEST(Admission, ShutsASourceOutThatIsOverItsRateForTooLongIfAsked) {
    ListenerWorld world{8};
    auto& rules = world.launch().admission;
    rules.source_rate = {10 * second, 1};
    rules.penalty_ms = 90'000;
    rules.over_rate_ms = 3000;
    for (int i = 0; i < 5; ++i) {
        world.then([&] {
            world.client = first;
            world.connect();
            world.pass(second);
        });
    }
    world.then([&] {
        world.pass(20 * second);
        world.connect();
    });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.born().size(), 1U);
    EXPECT_EQ(world.records("penalty").size(), 1U);
    EXPECT_EQ(world.records("penalty")[0]["reason"], "rate");
    EXPECT_EQ(reasons(world).back(), "penalty");
}

TEST(Admission, TakesAClientThatSaidNothingForAProbe) {
    ListenerWorld world{8};
    world.launch().idle = {60, 0};
    connect_from(world, first, 2);
    world.then([&] { world.end_cell(world.born()[0], exited(cell::Exit::Idle)); });
    world.then([&] {
        world.pass(60 * second);
        world.end_cell(world.born()[1], exited(cell::Exit::Idle));
    });
    EXPECT_EQ(world.serve(), left_in_order);
    const auto records = world.records("connection");
    ASSERT_EQ(records.size(), 2U);
    EXPECT_EQ(records[0]["reason"], "probe");
    EXPECT_EQ(records[0]["level"], "debug");
    EXPECT_EQ(records[1]["reason"], "idle");
    EXPECT_EQ(records[1]["level"], "info");
    EXPECT_EQ(world.state().counters[0].ends[static_cast<std::size_t>(ExitReason::Probe)], 1U);
}

TEST(Admission, CountsAUserOfUnixSocketsAsASource) {
    ListenerWorld world{8, AF_UNIX};
    world.launch().admission.max_per_source = 1;
    world.launch().admission.network_ipv4 = 8;
    world.launch().admission.max_per_network = 1;
    world.then([&] { world.connect(2); });
    world.then([&] {
        world.client_uid = 1001;
        world.connect();
    });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.born().size(), 2U);
    ASSERT_EQ(reasons(world), std::vector<std::string>{"source"});
    EXPECT_EQ(world.records("refused")[0]["source"], "uid:1000");
}

TEST(Admission, RefusesPrivilegedPortsOnlyIfAsked) {
    for (const bool refuse : {false, true}) {
        ListenerWorld world{8};
        world.launch().admission.refuse_privileged_ports = refuse;
        for (const std::uint16_t port : {std::uint16_t{1023}, std::uint16_t{1024}}) {
            world.then([&world, port] {
                world.come_from(port);
                world.connect();
            });
        }
        EXPECT_EQ(world.serve(), left_in_order);
        EXPECT_EQ(world.born().size(), refuse ? 1U : 2U);
        EXPECT_EQ(reasons(world), refuse ? std::vector<std::string>{"port"} : std::vector<std::string>{});
    }
}

struct LoopCase {
    const char* own;
    std::uint32_t client, ours;
    std::uint16_t port;
    bool loop;
};
class LoopTest : public testing::TestWithParam<LoopCase> {};

TEST_P(LoopTest, IsRefused) {
    ListenerWorld world{8};
    auto& rules = world.launch().admission;
    const control::OwnSocket own[] = {{*control::parse_source("203.0.113.9"), 9999},
                                      {*control::parse_source(GetParam().own), 7007}};
    control::write_own_sockets(world.state(), own);
    rules.exempt[rules.exempt_count++] = *control::parse_source("0.0.0.0/0");
    world.then([&] {
        world.client = GetParam().client;
        world.ours = GetParam().ours;
        world.come_from(GetParam().port);
        world.connect();
    });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.born().empty(), GetParam().loop);
    EXPECT_EQ(refused(world, Refusal::Loop), GetParam().loop ? 1U : 0U);
}

INSTANTIATE_TEST_SUITE_P(All, LoopTest,
                         testing::Values(LoopCase{"192.0.2.1", first, elsewhere, 7007, true},
                                         LoopCase{"192.0.2.1", first, elsewhere, 7008, false},
                                         LoopCase{"192.0.2.1", neighbour, elsewhere, 7007, false},
                                         LoopCase{"0.0.0.0/0", first, first, 7007, true},
                                         LoopCase{"0.0.0.0/0", INADDR_LOOPBACK, first, 7007, true},
                                         LoopCase{"0.0.0.0/0", first, INADDR_LOOPBACK + 1, 7007, true},
                                         LoopCase{"0.0.0.0/0", first, elsewhere, 7007, false},
                                         LoopCase{"0.0.0.0/0", first, first, 7008, false}));

TEST(Admission, LogsTenRefusalsOfAReasonAndThenHowManyMore) {
    ListenerWorld world{8};
    world.launch().admission.max_per_source = 1;
    connect_from(world, first, 40);
    world.then([&] { world.pass(10 * second); });
    world.then([&] { world.pass(second); });
    connect_from(world, first);
    EXPECT_EQ(world.serve(), left_in_order);
    const auto records = world.records("refused");
    ASSERT_EQ(records.size(), 12U);
    for (std::size_t i = 0; i < 10; ++i) {
        EXPECT_TRUE(records[i].contains("peer"));
    }
    EXPECT_EQ(records[10]["more"], 29);
    EXPECT_FALSE(records[10].contains("peer"));
    EXPECT_TRUE(records[11].contains("peer")) << "a new window";
    EXPECT_EQ(refused(world, Refusal::Source), 40U);
}

TEST(Admission, WarnsOnceAMinuteOfASourceThatCausesMostRefusals) {
    ListenerWorld world{8};
    world.launch().admission.max_per_source = 1;
    connect_from(world, first, 64);
    connect_from(world, first, 64);
    connect_from(world, neighbour, 20);
    world.then([&] { world.pass(60 * second); });
    world.then([&] { world.pass(second); });
    EXPECT_EQ(world.serve(), left_in_order);
    const auto records = world.records("refused_mostly");
    ASSERT_EQ(records.size(), 1U);
    EXPECT_EQ(records[0]["source"], "192.0.2.1");
    EXPECT_GT(records[0]["count"], 74);
    EXPECT_EQ(records[0]["of"], 146);
}

TEST(Admission, CountsTheConnectionsOfOtherGenerations) {
    ListenerWorld world{4};
    world.launch().admission.max_per_source = 3;
    auto& state = world.state();
    state.rows = 0b11;
    state.counters[1].live = 2;
    control::SourceTable sources{state, control::max_sources};
    const auto place = sources.claim(*control::parse_source("192.0.2.1"), 1);
    sources.add(1, place);
    sources.add(1, place);
    connect_from(world, first, 2);
    world.then([&] {
        EXPECT_EQ(world.born().size(), 1U) << "the source has three";
        world.client = elsewhere;
        world.connect(5);
    });
    world.then([&] {
        EXPECT_EQ(world.born().size(), 2U) << "the service has four";
        EXPECT_FALSE(world.polled_listener());
        state.counters[1].live = 0;
        world.pass(second / 10);
    });
    world.then([&] { EXPECT_TRUE(world.polled_listener()); });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.born().size(), 4U);
}

TEST(Admission, LeavesNothingCountedWhenAllHaveEnded) {
    ListenerWorld world{8};
    world.launch().admission.network_ipv4 = 24;
    connect_from(world, first, 5);
    world.then([&] {
        EXPECT_EQ(world.state().counters[0].live, 5U);
        for (const pid_t pid : std::vector<pid_t>{world.born()}) {
            world.end_cell(pid, exited(cell::Exit::Done));
        }
    });
    world.then([] {});
    world.then([&] {
        EXPECT_EQ(world.state().counters[0].live, 0U);
        EXPECT_EQ(world.state().counters[0].connections, 5U);
        const control::SourceTable sources{world.state(), control::max_sources};
        for (control::SourceTable::Place place = 0; place < sources.size(); ++place) {
            ASSERT_EQ(sources.live(place), 0U);
        }
    });
    EXPECT_EQ(world.serve(), left_in_order);
}

} // namespace
} // namespace cloister::scripted
