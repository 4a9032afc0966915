// SPDX-License-Identifier: MIT
// A service with several listener processes: they accept from the same sockets, count together, and a crash
// of one concerns no other.
#include "client.h"
#include "harness.h"

#include <atomic>
#include <csignal>
#include <fmt/core.h>
#include <fstream>
#include <set>
#include <sys/stat.h>
#include <thread>
#include <vector>

namespace cloister::live {
namespace {

class ListenersTest : public testing::Test {
  protected:
    TemporaryDirectory directory_;
    std::string file_ = directory_.file("cloister.toml");

    ListenersTest() { ::chmod(directory_.path().c_str(), 0755); }

    void write(unsigned listeners, const std::string& more = "") const {
        std::ofstream{file_ + ".new"} << fmt::format(
            "[[service]]\nname = \"echo\"\nlisten = [\"127.0.0.1:0\"]\nlisteners = {}\n{}", listeners, more);
        ::chmod((file_ + ".new").c_str(), 0644);
        std::filesystem::rename(file_ + ".new", file_);
    }
    [[nodiscard]] live::Setup setup(bool unlimited = true) const {
        live::Setup setup;
        setup.listen.clear();
        setup.options = {"--config", file_};
        setup.unlimited = unlimited;
        return setup;
    }
    static std::set<pid_t> listeners(const Daemon& daemon) {
        std::set<pid_t> all;
        for (const auto& ready : daemon.records("ready")) {
            all.insert(ready["listener_pid"].get<pid_t>());
        }
        return all;
    }
    static bool reloads(const Daemon& daemon) {
        const auto before = daemon.records("reloaded").size();
        daemon.signal(SIGHUP);
        return within(20s, [&] { return daemon.records("reloaded").size() > before; });
    }
    /// Those that have cells.
    static std::set<pid_t> busy(const Daemon& daemon) {
        std::set<pid_t> all = listeners(daemon);
        std::erase_if(all, [](pid_t listener) { return children_of(listener).empty(); });
        return all;
    }
};

/// Clients that connect again and again until the end of the test; none may fail.
class Load {
  public:
    explicit Load(const std::string& address) {
        for (int i = 0; i < 3; ++i) {
            threads_.emplace_back([this, address] {
                while (!stop_) {
                    try {
                        const Client client{address};
                        (client.echoes("load") ? served_ : failed_) += 1;
                    } catch (const std::exception&) {
                        ++failed_;
                    }
                }
            });
        }
    }
    ~Load() {
        stop_ = true;
        for (auto& thread : threads_) {
            thread.join();
        }
        EXPECT_EQ(failed_, 0U);
        EXPECT_GT(served_, 0U);
    }
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;

    [[nodiscard]] unsigned served() const { return served_; }

  private:
    std::atomic<bool> stop_{false};
    std::atomic<unsigned> served_{0}, failed_{0};
    std::vector<std::thread> threads_;
};

TEST_F(ListenersTest, AllOfThemServeTheSameSocket) {
    write(3);
    const Daemon daemon{setup()};
    (void)daemon.await_record("started");
    EXPECT_EQ(listeners(daemon).size(), 3U);
    std::set<std::string> named;
    for (const auto& ready : daemon.records("ready")) {
        named.insert(ready["listener"].get<std::string>());
        EXPECT_EQ(ready["listen"], daemon.ready()["listen"]);
    }
    EXPECT_EQ(named, (std::set<std::string>{"1 of 3", "2 of 3", "3 of 3"}));
    std::vector<Client> clients;
    EXPECT_TRUE(within(20s, [&] { // who accepts is the kernel's choice
        clients.emplace_back(daemon.address());
        return clients.back().echoes("hello") && busy(daemon).size() == 3;
    }));
}

TEST_F(ListenersTest, CountConnectionsTogether) {
    write(4, "max-connections = 12\n");
    const Daemon daemon{setup()};
    (void)daemon.await_record("started");
    std::vector<Client> clients;
    for (int i = 0; i < 12; ++i) {
        clients.emplace_back(daemon.address());
        ASSERT_TRUE(clients.back().echoes("in"));
    }
    const Client late{daemon.address()};
    late.send("late");
    EXPECT_THROW((void)late.receive(4, 1s), std::exception) << "all places are taken";
    clients.pop_back();
    EXPECT_EQ(late.receive(4), "late") << "by whichever of them";
}

TEST_F(ListenersTest, LimitASourceTogether) {
    write(4, "max-per-source = 5\nsource-rate = \"1000/s\"\n");
    const Daemon daemon{setup(false)};
    (void)daemon.await_record("started");
    std::vector<Client> clients;
    for (int i = 0; i < 5; ++i) {
        clients.emplace_back(daemon.address());
        ASSERT_TRUE(clients.back().echoes("in"));
    }
    for (int i = 0; i < 8; ++i) {
        const Client refused{daemon.address()};
        refused.send("x");
        EXPECT_TRUE(refused.ends_within(10s));
    }
    EXPECT_EQ(daemon.await_record("refused")["reason"], "source");
}

TEST_F(ListenersTest, ACrashOfOneConcernsNoOther) {
    write(3);
    const Daemon daemon{setup()};
    (void)daemon.await_record("started");
    const auto all = listeners(daemon);
    std::vector<Client> clients;
    ASSERT_TRUE(within(20s, [&] {
        clients.emplace_back(daemon.address());
        return clients.back().echoes("hello") && busy(daemon).size() == 3;
    }));
    ASSERT_EQ(::kill(*all.begin(), SIGKILL), 0);
    for (int i = 0; i < 50; ++i) {
        EXPECT_TRUE(Client(daemon.address()).echoes("new"));
    }
    EXPECT_TRUE(within(20s, [&] { return daemon.records("ready").size() == 4; })) << "it is replaced";
    std::size_t left = 0;
    for (const Client& client : clients) {
        left += client.ends_within(0s) ? 0U : 1U;
    }
    EXPECT_GT(left, 0U);
    EXPECT_LT(left, clients.size());
    EXPECT_EQ(daemon.records("listener_died").size(), 1U);
}

TEST_F(ListenersTest, AReloadChangesTheirNumberUnderLoad) {
    write(1);
    const Daemon daemon{setup()};
    (void)daemon.await_record("started");
    const Client old{daemon.address()};
    ASSERT_TRUE(old.echoes("old"));
    const Load load{daemon.address()};
    for (const unsigned listeners : {3U, 2U, 1U}) {
        const std::size_t before = daemon.records("ready").size();
        write(listeners);
        ASSERT_TRUE(reloads(daemon)) << daemon.log();
        EXPECT_EQ(daemon.records("reloaded").back()["changed"], Json::parse(R"(["echo"])"));
        EXPECT_EQ(daemon.records("reloaded").back()["added"].size(), 0U);
        EXPECT_EQ(daemon.records("reloaded").back()["removed"].size(), 0U);
        EXPECT_EQ(daemon.records("ready").size(), before + listeners);
        const unsigned served = load.served();
        EXPECT_TRUE(within(20s, [&] { return load.served() > served + 5; }));
    }
    EXPECT_TRUE(old.echoes("still"));
}

/// The most that there can be: with two generations that drain, there is room for no further one.
TEST_F(ListenersTest, AReloadWaitsWhereTooManyDrain) {
    write(16);
    const Daemon daemon{setup()};
    (void)daemon.await_record("started");
    std::vector<Client> held;
    const auto hold_one_of_each = [&] {
        const std::size_t wanted = busy(daemon).size() + 16;
        return within(60s, [&] {
            held.emplace_back(daemon.address());
            return held.back().echoes("held") && busy(daemon).size() == wanted;
        });
    };
    for (int i = 1; i <= 2; ++i) {
        ASSERT_TRUE(hold_one_of_each());
        write(16, fmt::format("idle-timeout = \"{}s\"\n", 100 + i));
        ASSERT_TRUE(reloads(daemon)) << daemon.log();
    }
    write(16, "idle-timeout = \"200s\"\n");
    daemon.signal(SIGHUP);
    EXPECT_EQ(daemon.await_record("reload_waits")["service"], "echo");
    EXPECT_TRUE(Client(daemon.address()).echoes("served meanwhile"));
    held.clear();
    EXPECT_TRUE(within(30s, [&] { return daemon.records("reloaded").size() == 3; })) << daemon.log();
    EXPECT_EQ(daemon.records("reload_failed").size(), 0U);
}

} // namespace
} // namespace cloister::live
