// SPDX-License-Identifier: MIT
// HUP: what changed gets a new generation, nobody is refused, no connection is cut, and what cannot be
// changes nothing.
#include "client.h"
#include "harness.h"

#include <atomic>
#include <csignal>
#include <fmt/core.h>
#include <fstream>
#include <thread>
#include <vector>

namespace cloister::live {
namespace {

using namespace std::chrono_literals;

class ReloadTest : public testing::Test {
  protected:
    TemporaryDirectory directory_;
    std::string file_ = directory_.file("cloister.toml");
    std::size_t reloads_ = 0; ///< that were answered

    ReloadTest() { ::chmod(directory_.path().c_str(), 0755); }

    void write(const std::string& text) const {
        std::ofstream{file_ + ".new"} << text;
        ::chmod((file_ + ".new").c_str(), 0644);
        std::filesystem::rename(file_ + ".new", file_);
    }
    [[nodiscard]] live::Setup setup() const {
        live::Setup setup;
        setup.listen.clear();
        setup.options = {"--config", file_};
        return setup;
    }
    /// Its answer.
    Json reload(const Daemon& daemon) {
        daemon.signal(SIGHUP);
        ++reloads_;
        std::vector<Json> all;
        EXPECT_TRUE(within(20s, [&] {
            all = daemon.records("reloaded");
            const auto failed = daemon.records("reload_failed");
            all.insert(all.end(), failed.begin(), failed.end());
            return all.size() >= reloads_;
        })) << daemon.log();
        std::sort(all.begin(), all.end(), [](const Json& a, const Json& b) { return a["ts"] < b["ts"]; });
        return all.empty() ? Json{} : all.back();
    }
    /// Where the service listens now.
    static std::string address(const Daemon& daemon, const std::string& service) {
        std::string found;
        for (const auto& ready : daemon.records("ready")) {
            found = ready["service"] == service ? std::string{ready["listen"][0]} : found;
        }
        return found;
    }
};

constexpr const char* echo = "[[service]]\nname = \"echo\"\nlisten = [\"127.0.0.1:0\"]\n";
constexpr const char* discard =
    "[[service]]\nname = \"discard\"\nhandler = \"discard\"\nlisten = [\"127.0.0.1:0\"]\n";

TEST_F(ReloadTest, WithoutAChangeStartsNothing) {
    write(std::string{echo} + discard);
    const Daemon daemon{setup()};
    (void)daemon.await_record("started");
    const auto answer = reload(daemon);
    EXPECT_EQ(answer["event"], "reloaded");
    EXPECT_EQ(answer["changed"].size() + answer["added"].size() + answer["removed"].size(), 0U);
    EXPECT_EQ(daemon.records("ready").size(), 2U);
}

TEST_F(ReloadTest, GivesANewGenerationToWhatChangedAlone) {
    write(std::string{echo} + discard);
    const Daemon daemon{setup()};
    (void)daemon.await_record("started");
    const Client old{address(daemon, "echo")};
    ASSERT_TRUE(old.echoes("before"));
    write(std::string{echo} + "idle-timeout = \"7s\"\n" + discard);
    const auto answer = reload(daemon);
    EXPECT_EQ(answer["changed"], Json::parse(R"(["echo"])"));
    const auto ready = daemon.records("ready").back();
    EXPECT_EQ(ready["generation"], 2);
    EXPECT_EQ(ready["limits"]["idle_timeout_ms"], 7000);
    EXPECT_TRUE(old.echoes("after")) << "its connection goes on";
    EXPECT_TRUE(Client(address(daemon, "echo")).echoes("new"));
    EXPECT_EQ(daemon.records("ready").size(), 3U) << "nothing of the other service";
}

TEST_F(ReloadTest, AddsAndRemovesServicesAndSockets) {
    write(echo);
    const Daemon daemon{setup()};
    const std::string first = address(daemon, "echo");
    write(std::string{echo} + discard);
    EXPECT_EQ(reload(daemon)["added"], Json::parse(R"(["discard"])"));
    const std::string added = address(daemon, "discard");
    const Client client{added};
    write("[[service]]\nname = \"echo\"\nlisten = [\"127.0.0.1:0\", \"[::1]:0\"]\n");
    const auto answer = reload(daemon);
    EXPECT_EQ(answer["removed"], Json::parse(R"(["discard"])"));
    EXPECT_EQ(answer["changed"], Json::parse(R"(["echo"])"));
    EXPECT_EQ(address(daemon, "echo"), first) << "a socket that stays is the same";
    EXPECT_TRUE(Client(daemon.records("ready").back()["listen"][1]).echoes("ipv6"));
    EXPECT_TRUE(within(5s, [&] { return refuses(added); }));
    EXPECT_TRUE(client.is_quiet_for(100ms)) << "its connection goes on";
}

TEST_F(ReloadTest, OfWhatIsWrongChangesNothingAndSaysWhere) {
    write(std::string{echo} + discard);
    const Daemon daemon{setup()};
    (void)daemon.await_record("started");
    const Client old{address(daemon, "echo")};
    ASSERT_TRUE(old.echoes("before"));
    const struct {
        std::string text, why;
    } wrong[] = {
        {std::string{echo} + "idle-timout = \"1s\"\n", ":4:1: error: "},
        {std::string{echo} + "handler = \"nosuch\"\n", "there is no handler 'nosuch'"},
        {std::string{echo} + "content = \"/nowhere\"\n", "content /nowhere: cannot open"},
        {"[[service]]\nname = \"echo\"\nlisten = [\"192.0.2.1:7\"]\n", "no interface has this address"},
        {"log-format = \"logfmt\"\n" + std::string{echo}, "log-format has changed, which only a restart"},
        {std::string{echo} + "content = \"" + file_ + "\"\n", "handler echo serves no file"},
        {"policy-dir = \"/nowhere\"\n" + std::string{echo}, "/nowhere"},
    };
    for (const auto& [text, why] : wrong) {
        write(text);
        const auto answer = reload(daemon);
        EXPECT_EQ(answer["event"], "reload_failed") << text;
        EXPECT_NE(std::string{answer["message"]}.find(why), std::string::npos) << answer;
        EXPECT_TRUE(old.echoes("still"));
        EXPECT_TRUE(Client(address(daemon, "echo")).echoes("new"));
    }
    EXPECT_EQ(::unlink(file_.c_str()), 0);
    EXPECT_EQ(reload(daemon)["event"], "reload_failed");
    write(std::string{echo} + "idle-timeout = \"7s\"\n" + discard);
    EXPECT_EQ(reload(daemon)["event"], "reloaded");
}

TEST_F(ReloadTest, NamesADirectoryThatNeedsARestart) {
    write(echo);
    const Daemon daemon{setup()};
    const Json started = daemon.await_record("started");
    if (daemon.ready()["landlock_abi"] == 0) {
        GTEST_SKIP() << "this kernel has no Landlock";
    }
    EXPECT_EQ(started["landlock_abi"], daemon.ready()["landlock_abi"]);
    const TemporaryDirectory other;
    ::chmod(other.path().c_str(), 0755);
    const auto serves = [](const std::string& content) {
        std::ofstream{content} << "text";
        ::chmod(content.c_str(), 0644);
        return std::string{echo} + "[[service]]\nname = \"text\"\nhandler = \"static\"\ncontent = \"" +
               content + "\"\nlisten = [\"127.0.0.1:0\"]\n";
    };
    write(serves(other.file("content")));
    auto answer = reload(daemon);
    EXPECT_EQ(answer["event"], "reload_failed");
    EXPECT_EQ(answer["message"],
              other.path() +
                  ": Landlock allows cloisterd to read only in the directories that its configuration "
                  "named when it was started; restart cloisterd; what served before goes on");
    write(serves(directory_.file("content")));
    answer = reload(daemon);
    EXPECT_EQ(answer["event"], "reloaded") << answer;
    EXPECT_EQ(Client(address(daemon, "text")).receive_to_end(), "text");
}

TEST_F(ReloadTest, TwentyTimesUnderLoadCutsAndRefusesNobody) {
    write(echo);
    const Daemon daemon{setup()};
    const std::string to = address(daemon, "echo");
    std::vector<Client> idle;
    for (int i = 0; i < 200; ++i) {
        idle.emplace_back(to);
        ASSERT_TRUE(idle.back().echoes("here"));
    }
    std::atomic<bool> stop{false};
    std::atomic<unsigned> served{0}, failed{0};
    std::vector<std::thread> clients;
    for (int i = 0; i < 8; ++i) {
        clients.emplace_back([&] {
            while (!stop) {
                try {
                    const Client client{to};
                    (client.echoes("load") ? served : failed) += 1;
                } catch (const std::exception&) {
                    ++failed;
                }
            }
        });
    }
    for (int i = 1; i <= 20; ++i) {
        write(std::string{echo} + fmt::format("lifetime = \"{}s\"\n", 600 + i));
        // The generations that the idle clients keep are one; the others end at once.
        EXPECT_EQ(reload(daemon)["event"], "reloaded");
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
}

TEST_F(ReloadTest, WaitsWhileEightGenerationsHaveConnections) {
    write(echo);
    const Daemon daemon{setup()};
    std::vector<Client> one_each;
    for (int i = 1; i <= 8; ++i) {
        one_each.emplace_back(address(daemon, "echo"));
        ASSERT_TRUE(one_each.back().echoes("here"));
        write(std::string{echo} + fmt::format("lifetime = \"{}s\"\n", 600 + i));
        ASSERT_EQ(reload(daemon)["event"], "reloaded");
    }
    write(std::string{echo} + "lifetime = \"700s\"\n");
    daemon.signal(SIGHUP);
    (void)daemon.await_record("reload_waits");
    EXPECT_EQ(daemon.records("ready").size(), 9U);
    EXPECT_TRUE(Client(address(daemon, "echo")).echoes("served meanwhile"));
    one_each.erase(one_each.begin());
    (void)daemon.await_record("ready", [](const Json& ready) { return ready["generation"] == 10; });
    for (const Client& client : one_each) {
        EXPECT_TRUE(client.echoes("still here"));
    }
}

TEST_F(ReloadTest, KeepsPenaltiesAndCountsAcrossGenerations) {
    write(std::string{echo} + "penalty = \"1h\"\nmax-per-source = 3\n");
    live::Setup limited = setup();
    limited.unlimited = false;
    const Daemon daemon{std::move(limited)};
    const std::string to = address(daemon, "echo");
    const Client one{to};
    const Client two{to};
    ASSERT_TRUE(one.echoes("1") && two.echoes("2"));
    write(std::string{echo} + "penalty = \"1h\"\nmax-per-source = 3\nlifetime = \"601s\"\n");
    ASSERT_EQ(reload(daemon)["event"], "reloaded");
    const Client three{to};
    ASSERT_TRUE(three.echoes("3"));
    const Client four{to};
    four.send("4");
    EXPECT_TRUE(four.ends_within(10s)) << "two of the old generation, one of the new";
    EXPECT_EQ(daemon.await_record("refused")["reason"], "source");
}

} // namespace
} // namespace cloister::live
