// SPDX-License-Identifier: MIT
// What a hard limit of the system allows is enforced: a flood of clients costs those who are connected
// nothing.
#include "client.h"
#include "control_group.h"
#include "harness.h"
#include "lingering.h"

#include <algorithm>
#include <fmt/format.h>
#include <gtest/gtest.h>

namespace cloister::live {
namespace {

constexpr std::size_t flood = 400;
constexpr std::size_t well_behaved = 4;

struct Service {
    const char* name;
    bool is_unix;
    bool older_kernel; ///< no SO_PASSRIGHTS: a process more for each unix connection, for a moment
};

void PrintTo(const Service& service, std::ostream* out) {
    *out << service.name;
}

class HardLimit : public testing::TestWithParam<Service> {
  protected:
    /// A daemon in a group with that limit, and the `limit` record of it.
    void start(const std::string& controller, std::uint64_t limit) {
        group_.emplace(controller, limit);
        daemon_.emplace(
            live::Setup{.listen = {GetParam().is_unix ? "unix:" + directory_.file("socket") + ",mode=0666"
                                                      : "127.0.0.1:0"},
                        .faults = GetParam().older_kernel ? without_passrights : std::vector<Fault>{},
                        .cgroup_procs = group_->procs()});
        limit_ = daemon_->await_record(
            "limit", [&](const Json& record) { return record.at("limit") == group_->limit_name(); });
        listener_ = daemon_->listener();
        ASSERT_EQ(daemon_->ready().at("limits").at("max_connections"), limit_.at("allows"));
    }
    [[nodiscard]] std::size_t allowed() const { return limit_.at("allows"); }

    void expect_service_goes_on() {
        EXPECT_TRUE(
            std::ranges::all_of(friends_, [](const Client& client) { return client.echoes("hello"); }));
        EXPECT_EQ(daemon_->listener(), listener_);
        // A releaser that has closed may still be there when the next one is made.
        EXPECT_TRUE(GetParam().older_kernel || daemon_->records("paused").empty());
        EXPECT_TRUE(daemon_->records("listener_died").empty());
    }
    void connect(std::vector<Client>& clients, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            clients.emplace_back(daemon_->address());
        }
    }

    TemporaryDirectory directory_;
    std::optional<ControlGroup> group_; // removed when the daemon has gone
    std::optional<Daemon> daemon_;
    Json limit_;
    pid_t listener_ = 0;
    std::vector<Client> friends_;
};

INSTANTIATE_TEST_SUITE_P(For, HardLimit,
                         testing::Values(Service{"Tcp", false, false}, Service{"Unix", true, false},
                                         Service{"UnixOnAnOlderKernel", true, true}),
                         [](const auto& instance) { return instance.param.name; });

TEST_P(HardLimit, OfMemoryHoldsAgainstAFlood) {
    if (const auto why = ControlGroup::unavailable("memory"); !why.empty()) {
        GTEST_SKIP() << why;
    }
    constexpr std::uint64_t bytes = 40U << 20;
    start("memory", bytes);
    EXPECT_GE(allowed(), 20U);
    EXPECT_LE(allowed(), 40U) << "the worst case is what counts";
    connect(friends_, well_behaved);
    expect_service_goes_on();
    std::vector<Client> clients;
    connect(clients, flood);
    EXPECT_TRUE(daemon_->has_cells(allowed()));
    expect_service_goes_on();
    const std::string much = random_bytes(65536);
    for (int i = 0; i < 50; ++i) { // and none of them reads
        for (const Client& client : clients) {
            (void)client.send_some(much);
        }
        EXPECT_LE(daemon_->cells().size(), allowed());
    }
    expect_service_goes_on();
    RecordProperty("most_used", std::to_string(group_->most_used()));
    EXPECT_LT(group_->most_used(), bytes);
    EXPECT_EQ(group_->killed(), 0U);
}

TEST_P(HardLimit, OfProcessesHoldsAgainstAFlood) {
    if (const auto why = ControlGroup::unavailable("pids"); !why.empty()) {
        GTEST_SKIP() << why;
    }
    start("pids", 12);
    EXPECT_EQ(allowed(), GetParam().is_unix ? 8U : 9U) << "but for a process that releases what clients pass";
    connect(friends_, well_behaved);
    expect_service_goes_on();
    for (int i = 0; i < 5; ++i) { // they come and go
        std::vector<Client> clients;
        connect(clients, flood / 4);
        EXPECT_TRUE(daemon_->has_cells(allowed()));
        expect_service_goes_on();
    }
    EXPECT_TRUE(GetParam().older_kernel || group_->failed_forks() == 0);
}

} // namespace
} // namespace cloister::live
