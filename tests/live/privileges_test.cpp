// SPDX-License-Identifier: MIT
// However cloisterd was started, it keeps no privilege, and nor does the log relay.
#include "client.h"
#include "harness.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace cloister::live {
namespace {

const std::string no_bits = "0000000000000000";

void expect_no_privilege(pid_t pid, unsigned id) {
    auto status = status_of(pid);
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"}) {
        EXPECT_EQ(status[set], no_bits) << set;
    }
    EXPECT_EQ(status["Uid"], fmt::format("{0}\t{0}\t{0}\t{0}", id));
    EXPECT_EQ(status["Gid"], fmt::format("{0}\t{0}\t{0}\t{0}", id));
    EXPECT_EQ(status["Groups"].find_first_not_of(" \t"), std::string::npos) << status["Groups"];
    EXPECT_EQ(status["NoNewPrivs"], "1");
}

class Privileges : public ::testing::Test {
  protected:
    void SetUp() override {
        if (!am_root()) {
            GTEST_SKIP() << "only root has what is to be given up here";
        }
    }
    static void expect_service(const Daemon& daemon, bool bounding_empty) {
        EXPECT_TRUE(Client{daemon.address()}.echoes("hello"));
        for (const pid_t pid : {daemon.pid(), daemon.relay()}) {
            expect_no_privilege(pid, daemon_id);
            EXPECT_EQ(status_of(pid)["CapBnd"] == no_bits, bounding_empty);
        }
        EXPECT_EQ(daemon.ready().at("capability_bounding_set") == "empty", bounding_empty);
    }
};

TEST_F(Privileges, OfRootAreGivenUp) {
    const Daemon daemon{{.through = {"/usr/bin/setpriv", "--groups=12345", "--inh-caps=+net_raw,+setuid"}}};
    expect_service(daemon, true);
}

TEST_F(Privileges, OfRootWithoutSetpcapAreGivenUpButForTheInertBoundingSet) {
    const Daemon daemon{{.through = {"/usr/bin/setpriv", "--bounding-set=-setpcap"}}};
    expect_service(daemon, false);
}

TEST_F(Privileges, OfRootInAUserNamespaceAreGivenUp) {
    const Daemon daemon{{.user_namespace = true}};
    expect_service(daemon, true);
}

TEST_F(Privileges, OfAnOrdinaryUserWithAmbientCapabilitiesAreGivenUp) {
    const auto id = std::to_string(daemon_id);
    const Daemon daemon{
        {.through = {"/usr/bin/setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups",
                     "--inh-caps=+setuid,+setgid,+setpcap", "--ambient-caps=+setuid,+setgid,+setpcap"}}};
    expect_service(daemon, true);
}

TEST_F(Privileges, ThatAnOrdinaryUserDoesNotHaveAreNotMissed) {
    const auto id = std::to_string(daemon_id);
    const Daemon daemon{{.through = {"/usr/bin/setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups",
                                     "--inh-caps=-all"}}};
    expect_service(daemon, false);
}

TEST_F(Privileges, OfRootThatMayNotChangeItsGroupAre77) {
    Daemon daemon{{.through = {"/usr/bin/setpriv", "--bounding-set=-setgid"}, .await_ready = false}};
    EXPECT_EQ(daemon.ends_within(10s), 77);
    EXPECT_NE(daemon.log().find("cannot become that group"), std::string::npos) << daemon.log();
}

} // namespace
} // namespace cloister::live
