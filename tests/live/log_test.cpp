// SPDX-License-Identifier: MIT
// What the daemon says, and that saying it never stops service.
#include "client.h"
#include "harness.h"

#include <cstddef>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <regex>
#include <sys/socket.h>
#include <sys/un.h>
#include <tuple>
#include <unistd.h>

namespace cloister::live {
namespace {

const std::regex hash_form{"[0-9a-f]{64}"};

TEST(Log, ReadyTellsWhatAnOperatorNeeds) {
    const Daemon daemon;
    const Json& ready = daemon.ready();
    EXPECT_EQ(ready.at("pid"), daemon.pid());
    EXPECT_EQ(ready.at("listen").size(), 1U);
    EXPECT_TRUE(ready.at("landlock_abi").is_number_integer());
    EXPECT_TRUE(ready.at("limits").is_object());
    for (const char* policy : {"echo", "listener"}) {
        EXPECT_TRUE(std::regex_match(ready.at("policy_sha256").at(policy).get<std::string>(), hash_form))
            << ready;
    }
}

TEST(Log, EveryConnectionHasOneRecordWithAllFields) {
    const Daemon daemon;
    Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const std::string name = client.name();
    const pid_t cell = daemon.only_cell();
    std::this_thread::sleep_for(50ms);
    client.close();
    const Json record = daemon.end_of(name);
    EXPECT_GE(record.at("conn"), 1);
    EXPECT_EQ(record.at("pid"), cell);
    EXPECT_EQ(record.at("socket"), daemon.address());
    EXPECT_EQ(record.at("peer"), name);
    EXPECT_TRUE(std::regex_match(record.at("start").get<std::string>(),
                                 std::regex{R"(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ)"}))
        << record;
    EXPECT_GE(record.at("duration_ms"), 50);
    EXPECT_LE(record.at("duration_ms"), 20'000);
    EXPECT_EQ(record.at("reason"), "closed");
    EXPECT_EQ(record.at("exit"), 0);
    EXPECT_TRUE(record.at("signal").is_null());
    EXPECT_GE(record.at("cpu_us"), 0);
    EXPECT_LE(record.at("cpu_us"), 1'000'000);
    // The kernel counts pages in batches for each processor: of a process as small as a cell it may see none.
    EXPECT_GE(record.at("maxrss_kb"), 0);
    EXPECT_LE(record.at("maxrss_kb"), 512);
    std::this_thread::sleep_for(100ms);
    EXPECT_EQ(daemon.records("connection").size(), 1U);
}

TEST(Log, TheSelfTestIsNotLogged) {
    const Daemon daemon{{.listen = {"127.0.0.1:0", "127.0.0.1:0"}}};
    std::this_thread::sleep_for(300ms);
    EXPECT_EQ(daemon.records("connection").size(), 0U) << daemon.log();
}

TEST(Log, AUnixPeerIsKnownByItsUserAndProcess) {
    const TemporaryDirectory directory;
    const Daemon daemon{{.listen = {"unix:" + directory.file("echo.socket")}}};
    Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    client.close();
    const Json record = daemon.await_record("connection");
    EXPECT_EQ(record.at("peer"), fmt::format("unix:uid={},pid={}", ::geteuid(), ::getpid()));
    EXPECT_EQ(record.at("socket"), daemon.address());
}

std::size_t count_of(const std::string& part, const std::string& text) {
    std::size_t count = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++count;
    }
    return count;
}

TEST(Log, ASocketHasOneNameInReadyAndInConnection) {
    const TemporaryDirectory directory;
    // What the file is called, and what each log calls it.
    const std::tuple<std::string, std::string, std::string> sockets[] = {
        {"plain", "plain\"", "plain "},
        {"caf\u00e9-\U0001f600", "caf\u00e9-\U0001f600\"", "caf\u00e9-\U0001f600 "},
        {"a b", "a b\"", "a b\" "},
        {"a\n\"\\\xc2\x9b", "a\\n\\\"\\\\\\u009b\"", "a\\n\\\"\\\\\\u009b\" "},
        {"cut\xc3", "cut\ufffd\"", "cut\ufffd\" "},
    };
    for (const char* format : {"json", "logfmt"}) {
        for (const auto& [file, json, logfmt] : sockets) {
            const std::string address = "unix:" + directory.file(file);
            const Daemon daemon{{.listen = {address},
                                 .options = {std::string{"--log-format="} + format},
                                 .await_ready = false}};
            ASSERT_TRUE(within(10s, [&] { return count_of("ready", daemon.log()) == 1; })) << daemon.log();
            ASSERT_TRUE(Client{address}.echoes("hello"));
            ASSERT_TRUE(within(10s, [&] { return count_of("closed", daemon.log()) == 1; })) << daemon.log();
            const std::string name =
                "unix:" + directory.path() + "/" + (std::string_view{format} == "json" ? json : logfmt);
            EXPECT_EQ(count_of(name, daemon.log()), 2U) << name << "\n" << daemon.log();
        }
    }
}

TEST(Log, AnAbstractSocketWithANulByteInItsNameIsNamedWhole) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    const std::string text = fmt::format("cloister{0}{1}{0}end", '\0', ::getpid());
    text.copy(name.sun_path + 1, text.size());
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
    const auto* const address = reinterpret_cast<const sockaddr*>(&name);
    const Fd listening{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    ASSERT_EQ(::bind(listening.get(), address, length), 0);
    ASSERT_EQ(::listen(listening.get(), 5), 0);
    const Daemon daemon{{.passed = {listening.get()}}};
    EXPECT_EQ(daemon.address(), "unix:@" + text);
    {
        const Fd client{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        ASSERT_EQ(::connect(client.get(), address, length), 0);
    }
    EXPECT_EQ(daemon.await_record("connection").at("socket"), daemon.address());
}

TEST(Log, EveryLineIsOneJsonObject) {
    Daemon daemon;
    for (int i = 0; i < 20; ++i) {
        ASSERT_TRUE(Client{daemon.address()}.echoes("hello"));
    }
    daemon.signal(SIGTERM);
    ASSERT_EQ(daemon.ends_within(5s), 0);
    std::istringstream text{daemon.log()};
    for (std::string line; std::getline(text, line);) {
        const auto record = Json::parse(line, nullptr, false);
        ASSERT_TRUE(record.is_object()) << line;
        EXPECT_TRUE(record.contains("ts") && record.contains("level") && record.contains("event")) << line;
    }
}

TEST(Log, LogfmtHasOneRecordPerLineToo) {
    const TemporaryDirectory directory;
    const std::string address = "unix:" + directory.file("echo.socket");
    const Daemon daemon{{.listen = {address}, .options = {"--log-format=logfmt"}, .await_ready = false}};
    ASSERT_TRUE(within(10s, [&] { return daemon.log().find("event=ready") != std::string::npos; }))
        << daemon.log();
    ASSERT_TRUE(Client{address}.echoes("hello"));
    ASSERT_TRUE(within(10s, [&] { return daemon.log().find("event=connection") != std::string::npos; }))
        << daemon.log();
    ASSERT_TRUE(within(1s, [&] { return daemon.log().find("reason=closed") != std::string::npos; }))
        << daemon.log();
}

TEST(Log, ThatNobodyReadsNeverStopsServiceAndWhatWasDroppedIsCounted) {
    Daemon daemon;
    daemon.read_log(false);
    const Outcome load = run_program({program_path("cloister-load"), "rate", daemon.address(), "--total",
                                      "3000", "--connections", "8", "--sources", "1"});
    EXPECT_EQ(load.exit_code, 0) << load.out << load.err;
    EXPECT_TRUE(Client{daemon.address()}.echoes("hello"));
    EXPECT_TRUE(daemon.has_cells(0));
    daemon.read_log(true);
    // Once nothing more comes there is room again.
    std::size_t seen = 0;
    do {
        seen = daemon.log().size();
        std::this_thread::sleep_for(500ms);
    } while (daemon.log().size() != seen);
    Client last{daemon.address()};
    const std::string name = last.name();
    ASSERT_TRUE(last.echoes("last"));
    last.close();
    (void)daemon.end_of(name);
    std::uint64_t dropped = 0;
    for (const Json& record : daemon.records("log_dropped")) {
        dropped += record.at("count").get<std::uint64_t>();
    }
    EXPECT_GT(dropped, 0U);
    EXPECT_EQ(daemon.records("connection").size() + dropped, 3002U);
}

TEST(Log, ThatBreaksNeverStopsService) {
    Daemon daemon;
    daemon.break_log();
    for (int i = 0; i < 100; ++i) {
        ASSERT_TRUE(Client{daemon.address()}.echoes("hello"));
    }
    const pid_t listener = daemon.listener();
    EXPECT_NE(listener, 0);
    daemon.signal(SIGTERM);
    EXPECT_EQ(daemon.ends_within(5s), 0);
}

} // namespace
} // namespace cloister::live
