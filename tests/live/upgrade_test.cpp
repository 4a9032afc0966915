// SPDX-License-Identifier: MIT
// USR2: the supervisor executes its new binary in the same process, nobody is refused and no connection cut;
// a binary that does not check is refused.
#include "client.h"
#include "harness.h"

#include <atomic>
#include <csignal>
#include <fmt/core.h>
#include <fstream>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace cloister::live {
namespace {

namespace fs = std::filesystem;

/// cloisterd as it is installed, so that its file can be replaced.
class UpgradeTest : public testing::Test {
  protected:
    TemporaryDirectory directory_;
    fs::path binary_ = directory_.path() + "/sbin/cloisterd";

    UpgradeTest() {
        if (!am_root()) { // each test is skipped then
            return;
        }
        ::chmod(directory_.path().c_str(), 0755);
        const fs::path handlers = directory_.path() + "/libexec/cloister/handlers";
        fs::create_directories(binary_.parent_path());
        fs::create_directories(handlers);
        copy(program_path("cloister-listener-echo"), handlers / "echo");
        replace(program_path("cloisterd"));
    }
    static void copy(const fs::path& from, const fs::path& to) {
        fs::copy_file(from, to);
        ::chmod(to.c_str(), 0711);
    }
    /// As a package manager does: by rename.
    void replace(const fs::path& by) const {
        const fs::path next = binary_.string() + ".new";
        copy(by, next);
        fs::rename(next, binary_);
    }
    [[nodiscard]] live::Setup setup() const {
        live::Setup setup;
        setup.program = binary_;
        setup.options = {"--policy-dir=" CLOISTER_POLICY_SOURCE};
        return setup;
    }
    static std::size_t upgrade(const Daemon& daemon, const char* answer) {
        const std::size_t before = daemon.records(answer).size();
        daemon.signal(SIGUSR2);
        EXPECT_TRUE(within(20s, [&] { return daemon.records(answer).size() > before; })) << daemon.log();
        return daemon.records(answer).size();
    }
};

/// Landlock allows 16 layers around a process: an upgrade adds none.
TEST_F(UpgradeTest, SeventeenTimesUnderLoadCutsAndRefusesNobody) {
    if (!am_root()) {
        GTEST_SKIP() << "an ordinary user may read its own program, so that cloisterd would not start";
    }
    const Daemon daemon{setup()};
    std::vector<Client> idle;
    for (int i = 0; i < 200; ++i) {
        idle.emplace_back(daemon.address());
        ASSERT_TRUE(idle.back().echoes("here"));
    }
    std::atomic<bool> stop{false};
    std::atomic<unsigned> served{0}, failed{0};
    std::vector<std::thread> clients;
    for (int i = 0; i < 8; ++i) {
        clients.emplace_back([&] {
            while (!stop) {
                try {
                    const Client client{daemon.address()};
                    (client.echoes("load") ? served : failed) += 1;
                } catch (const std::exception&) {
                    ++failed;
                }
            }
        });
    }
    const auto descriptors = [&] {
        return std::distance(fs::directory_iterator{fmt::format("/proc/{}/fd", daemon.pid())}, {});
    };
    std::ptrdiff_t after_one = 0;
    for (unsigned i = 1; i <= 17; ++i) {
        replace(program_path("cloisterd"));
        EXPECT_EQ(upgrade(daemon, "upgraded"), i);
        after_one = i == 1 ? descriptors() : after_one;
    }
    stop = true;
    for (auto& client : clients) {
        client.join();
    }
    EXPECT_EQ(failed, 0U);
    EXPECT_GT(served, 100U);
    for (const Client& client : idle) {
        EXPECT_TRUE(client.echoes("still here"));
    }
    EXPECT_LE(descriptors(), after_one + 2) << "none is lost";
    EXPECT_EQ(daemon.records("ready").back()["generation"], 18);
    EXPECT_EQ(daemon.records("ready").back()["pid"], daemon.pid());
}

TEST_F(UpgradeTest, ToWhatDoesNotCheckIsRefusedAndTheOldOneGoesOn) {
    if (!am_root()) {
        GTEST_SKIP() << "an ordinary user may read its own program, so that cloisterd would not start";
    }
    const Daemon daemon{setup()};
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("before"));
    std::ofstream{directory_.file("text")} << "no program";
    for (const std::string& wrong :
         {std::string{"/bin/true"}, std::string{"/bin/false"}, directory_.file("text")}) {
        replace(wrong);
        (void)upgrade(daemon, "upgrade_failed");
        EXPECT_TRUE(client.echoes("still"));
        EXPECT_TRUE(Client(daemon.address()).echoes("new"));
    }
    ASSERT_EQ(::unlink(binary_.c_str()), 0);
    (void)upgrade(daemon, "upgrade_failed");
    replace(program_path("cloisterd"));
    ASSERT_EQ(::chmod(binary_.c_str(), 0777), 0); // anybody could have written it
    (void)upgrade(daemon, "upgrade_failed");
    ASSERT_EQ(::chmod(binary_.c_str(), 0711), 0);
    (void)upgrade(daemon, "upgraded");
    EXPECT_TRUE(client.echoes("still"));
    EXPECT_EQ(daemon.records("upgrade_failed").size(), 5U);
}

TEST_F(UpgradeTest, ToABinaryThatDiesLeavesNoProcessAndNoPort) {
    if (!am_root()) {
        GTEST_SKIP() << "an ordinary user may read its own program, so that cloisterd would not start";
    }
    Daemon daemon{setup()};
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("before"));
    replace(program_path("dying-cloisterd"));
    daemon.signal(SIGUSR2);
    EXPECT_EQ(daemon.ends_within(20s), 42);
    EXPECT_TRUE(client.ends_within(10s));
    EXPECT_TRUE(within(5s, [&] { return refuses(daemon.address()); }));
}

TEST_F(UpgradeTest, OfSeveralListenersWaitsUntilAllHaveStarted) {
    if (!am_root()) {
        GTEST_SKIP() << "an ordinary user may read its own program, so that cloisterd would not start";
    }
    live::Setup several = setup();
    several.options.emplace_back("--listeners=4");
    const Daemon daemon{std::move(several)}; // one is ready
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("before"));
    EXPECT_EQ(upgrade(daemon, "upgraded"), 1U);
    EXPECT_EQ(daemon.records("ready").size(), 8U);
    EXPECT_TRUE(client.echoes("after"));
    EXPECT_TRUE(Client(daemon.address()).echoes("new"));
}

TEST_F(UpgradeTest, KeepsPenaltiesAndCounters) {
    if (!am_root()) {
        GTEST_SKIP() << "an ordinary user may read its own program, so that cloisterd would not start";
    }
    live::Setup limited = setup();
    limited.unlimited = false;
    limited.options.emplace_back("--penalty=1h");
    const Daemon daemon{std::move(limited)};
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("before"));
    ASSERT_EQ(::kill(daemon.only_cell(), SIGSEGV), 0);
    (void)daemon.await_record("penalty");
    (void)upgrade(daemon, "upgraded");
    const Client refused{daemon.address()};
    (void)refused.send_some("x");
    EXPECT_TRUE(refused.ends_within(10s));
    EXPECT_EQ(daemon.await_record("refused")["reason"], "penalty");
}

TEST(FreshLayout, ComesAfterACrashWhenTheLayoutIsAMinuteOld) {
    if (!am_root()) {
        GTEST_SKIP() << "only root may see where the listener's memory lies";
    }
    live::Setup setup;
    setup.options = {"--idle-timeout=10m"};
    const Daemon daemon{setup};
    const auto layout = [&] {
        const auto ready = daemon.records("ready").back();
        return read_file(fmt::format("/proc/{}/maps", int{ready["listener_pid"]})).substr(0, 12);
    };
    const std::string before = layout();
    const Client one{daemon.address()};
    const Client two{daemon.address()};
    ASSERT_TRUE(one.echoes("1") && two.echoes("2"));
    const auto cells = daemon.cells();
    ASSERT_EQ(::kill(cells[0], SIGSEGV), 0);
    std::this_thread::sleep_for(50s);
    EXPECT_TRUE(daemon.records("fresh_layout").empty());
    (void)daemon.await_record(
        "ready", [](const Json& ready) { return ready["generation"] == 2; }, 30s);
    EXPECT_NE(layout(), before);
    EXPECT_TRUE(two.echoes("still")) << "its connection goes on";
    ASSERT_EQ(::kill(cells[1], SIGSEGV), 0);
    std::this_thread::sleep_for(4s);
    EXPECT_EQ(daemon.records("fresh_layout").size(), 1U);
    EXPECT_TRUE(Client(daemon.address()).echoes("served"));
}

} // namespace
} // namespace cloister::live
