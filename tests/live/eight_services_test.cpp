// SPDX-License-Identifier: MIT
// Eight services of four handlers in one daemon, from one configuration file.
#include "client.h"
#include "harness.h"
#include "hostile/monitor.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <regex>
#include <set>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

namespace cloister::live {
namespace {

const std::vector<std::string> handlers{"echo", "discard", "daytime", "static"};

/// Two services of each handler: echo-1, echo-2, discard-1, ...
class EightServices : public testing::Test {
  protected:
    [[nodiscard]] live::Setup setup(const std::string& program = "cloisterd",
                                    std::vector<std::string> options = {}) const {
        std::string text;
        for (const std::string& handler : handlers) {
            for (const int i : {1, 2}) {
                text += fmt::format("[[service]]\nname = \"{0}-{1}\"\nhandler = \"{0}\"\n"
                                    "listen = [\"127.0.0.1:0\"]\n{2}",
                                    handler, i, handler == "static" ? content(i) : "");
            }
        }
        write("cloister.toml", text);
        options.insert(options.begin(), {"--config", directory_.file("cloister.toml")});
        return {.program = program, .listen = {}, .options = std::move(options)};
    }
    [[nodiscard]] static Json ready(const Daemon& daemon, const std::string& service,
                                    unsigned generation = 1) {
        return daemon.await_record("ready", [&](const Json& record) {
            return record.at("service") == service && record.at("generation") >= generation;
        });
    }
    [[nodiscard]] static std::string address(const Daemon& daemon, const std::string& service) {
        return ready(daemon, service).at("listen").at(0);
    }
    static std::vector<std::string> services() {
        std::vector<std::string> names;
        for (const std::string& handler : handlers) {
            names.insert(names.end(), {handler + "-1", handler + "-2"});
        }
        return names;
    }
    /// As its handler says, and with the content of its own.
    static void expect_served(const Daemon& daemon, const std::string& service) {
        const std::string handler = service.substr(0, service.size() - 2);
        const Client client{address(daemon, service)};
        if (handler == "echo") {
            EXPECT_TRUE(client.echoes("hello")) << service;
            return;
        }
        if (handler == "discard") {
            client.send("hello");
            client.half_close();
            EXPECT_EQ(client.receive_to_end(), "");
            return;
        }
        const std::string said = client.receive_to_end();
        if (handler == "daytime") {
            EXPECT_TRUE(std::regex_search(said, std::regex{"day, .* 20[0-9]{2} .*-UTC\r\n$"})) << said;
        } else {
            EXPECT_EQ(said, "this is " + service);
        }
    }

  private:
    void write(const std::string& name, const std::string& text) const {
        std::ofstream{directory_.file(name)} << text;
        ::chmod(directory_.file(name).c_str(), 0644);
    }
    [[nodiscard]] std::string content(int i) const {
        const std::string name = fmt::format("content-{}", i);
        write(name, fmt::format("this is static-{}", i));
        return fmt::format("content = \"{}\"\n", directory_.file(name));
    }
    TemporaryDirectory directory_;
};

TEST_F(EightServices, AnswerAsTheirHandlersSayFromAListenerProcessEach) {
    Daemon daemon{setup()};
    EXPECT_EQ(daemon.await_record("started").at("services"), 8);
    std::set<pid_t> listeners;
    for (const std::string& service : services()) {
        expect_served(daemon, service);
        listeners.insert(ready(daemon, service).at("listener_pid").get<pid_t>());
        const std::string handler = service.substr(0, service.size() - 2);
        const Json policies = ready(daemon, service).at("policy_sha256");
        for (const std::string& other : handlers) {
            EXPECT_EQ(policies.contains(other), other == handler) << service << ' ' << policies;
        }
    }
    EXPECT_EQ(listeners.size(), 8U);
    daemon.signal(SIGTERM);
    EXPECT_EQ(daemon.ends_within(10s), 0);
    EXPECT_TRUE(daemon.records("fatal").empty()) << daemon.log();
}

TEST_F(EightServices, KeepTheirConnectionsWhenAllOtherListenersAreKilled) {
    const Daemon daemon{setup()};
    (void)daemon.await_record("started");
    const std::string kept = "echo-2";
    const Client client{address(daemon, kept)};
    ASSERT_TRUE(client.echoes("before"));
    std::map<std::string, pid_t> listeners;
    for (const std::string& service : services()) {
        listeners[service] = ready(daemon, service).at("listener_pid");
    }
    for (const auto& [service, listener] : listeners) {
        if (service != kept) {
            ASSERT_EQ(::kill(listener, SIGKILL), 0);
        }
    }
    for (const std::string& service : services()) {
        if (service != kept) {
            EXPECT_EQ(ready(daemon, service, 2).at("generation"), 2) << service;
            expect_served(daemon, service);
        }
    }
    EXPECT_TRUE(client.echoes("after"));
    EXPECT_TRUE(is_alive(listeners.at(kept)));
    EXPECT_EQ(daemon.records("listener_died").size(), 7U);
}

/// The same hostile code in a cell of each service: what its own handler may not do, it can't, beside
/// services whose handlers may.
TEST_F(EightServices, CellsCanMakeTheCallsOfTheirOwnHandlerOnly) {
    const Daemon daemon{setup("../tests/hostile/bin/cloisterd", {"--policy-dir=" CLOISTER_POLICY_SOURCE})};
    (void)daemon.await_record("started");
    const auto order = [](const Client& client, hostile::Action action,
                          std::vector<std::uint64_t> arguments) {
        hostile::Order one{hostile::magic, action, {}, 0, 0};
        std::copy(arguments.begin(), arguments.end(), one.arguments);
        std::string bytes(sizeof one, '\0');
        std::memcpy(bytes.data(), &one, sizeof one);
        client.send(bytes);
    };
    const auto reason_after = [&](const std::string& service, std::vector<std::uint64_t> call) {
        const Client client{address(daemon, service)};
        order(client, hostile::Action::Call, std::move(call));
        client.half_close();
        return daemon.end_of(client.name()).at("reason").get<std::string>();
    };
    for (const std::string& service : services()) {
        const std::string handler = service.substr(0, service.size() - 2);
        const std::vector<std::vector<std::uint64_t>> forbidden{
            {SYS_mmap}, {SYS_openat}, {SYS_socket}, {SYS_getppid}, {SYS_clock_gettime, 1}, {SYS_close, 1}};
        for (const auto& call : forbidden) {
            EXPECT_EQ(reason_after(service, call), "violation") << service << ' ' << call[0];
        }
        EXPECT_NE(reason_after(service, {SYS_shutdown, 0, SHUT_WR}), "violation") << service;
        if (handler == "discard") { // which can't say where its buffer is
            continue;
        }
        const Client client{address(daemon, service)};
        order(client, hostile::Action::Where, {});
        std::uint64_t buffer = 0;
        std::memcpy(&buffer, client.receive(sizeof buffer).data(), sizeof buffer);
        const std::vector<std::uint64_t> clock{SYS_clock_gettime, CLOCK_REALTIME, buffer};
        EXPECT_EQ(reason_after(service, clock) == "violation", handler != "daytime") << service;
    }
    EXPECT_TRUE(daemon.records("listener_died").empty());
}

} // namespace
} // namespace cloister::live
