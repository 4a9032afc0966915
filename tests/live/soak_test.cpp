// SPDX-License-Identifier: MIT
// Nothing grows with the number of connections that there were.
#include "client.h"
#include "harness.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace cloister::live {
namespace {

void make_connections(const Daemon& daemon, int count, const std::string& how) {
    const Outcome load = run_program({program_path("cloister-load"), "rate", daemon.address(), "--total",
                                      std::to_string(count), "--close", how});
    ASSERT_EQ(load.exit_code, 0) << load.out << load.err;
}

TEST(Soak, AfterTwentyThousandConnectionsTheListenerIsAsItWas) {
    const Daemon daemon;
    make_connections(daemon, 500, "half");
    ASSERT_TRUE(daemon.has_cells(0));
    const pid_t listener = daemon.listener();
    const auto descriptors = descriptors_of(listener);
    ASSERT_EQ(descriptors.empty(), !am_root()) << "only root may see them";
    const long memory = resident_kib(listener);
    const long supervisors = resident_kib(daemon.pid());

    for (int i = 0; i < 8; ++i) { // a slow machine has time for each
        make_connections(daemon, 2000, "half");
    }
    make_connections(daemon, 2000, "plain");
    make_connections(daemon, 2000, "reset");

    EXPECT_EQ(daemon.listener(), listener);
    EXPECT_TRUE(within(5s, [&] { return children_of(listener).empty(); }))
        << children_of(listener).size() << " cells or zombies are left";
    EXPECT_EQ(descriptors_of(listener), descriptors);
    EXPECT_LE(resident_kib(listener), memory + 64);
    EXPECT_LE(resident_kib(daemon.pid()), supervisors + 64);
    // A reader that this machine keeps from running loses records; they are counted.
    const auto accounted_for = [&] {
        std::size_t count = daemon.records("connection").size();
        for (const Json& dropped : daemon.records("log_dropped")) {
            count += dropped["count"].get<std::size_t>();
        }
        return count;
    };
    EXPECT_TRUE(within(5s, [&] { return accounted_for() == 20500; })) << accounted_for();
}

TEST(Soak, NineHundredIdleCellsDoNotKeepTheNextClientWaiting) {
    const Daemon daemon;
    std::vector<Client> clients;
    clients.reserve(900);
    for (int i = 0; i < 900; ++i) {
        clients.emplace_back(daemon.address());
    }
    ASSERT_TRUE(daemon.has_cells(900, 20s));
    const auto begun = std::chrono::steady_clock::now();
    for (int i = 0; i < 100; ++i) {
        ASSERT_TRUE(Client{daemon.address()}.echoes("hello"));
    }
    EXPECT_LE(std::chrono::steady_clock::now() - begun, 2s);
    for (const Client& client : clients) {
        ASSERT_TRUE(client.echoes("still here"));
    }
    // In batches: many confined processes that end at once are a hazard on some kernels.
    while (!clients.empty()) {
        clients.erase(clients.end() - 100, clients.end());
        ASSERT_TRUE(daemon.has_cells(clients.size(), 10s));
    }
    EXPECT_TRUE(within(5s, [&] { return children_of(daemon.listener()).empty(); }));
}

} // namespace
} // namespace cloister::live
