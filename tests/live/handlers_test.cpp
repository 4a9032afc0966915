// SPDX-License-Identifier: MIT
// What each handler other than echo does for its clients, and what a cell of it that was taken over may do.
#include "cell/cell.h"
#include "client.h"
#include "harness.h"
#include "hostile/monitor.h"

#include "control/live_content.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <regex>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

namespace cloister::live {
namespace {

using hostile::Action;

Setup setup_of(const std::string& handler, std::vector<std::string> options = {}) {
    options.insert(options.begin(), "--handler=" + handler);
    return {.options = std::move(options)};
}

TEST(Discard, ThrowsAwayWhateverComesAndAnswersNothing) {
    const Daemon daemon{setup_of("discard")};
    const Client client{daemon.address()};
    client.send(random_bytes(1'000'000));
    client.half_close();
    EXPECT_EQ(client.receive_to_end(), "");
    const Json end = daemon.end_of(client.name());
    EXPECT_EQ(end.at("reason"), "closed") << end;
    EXPECT_TRUE(daemon.ready().at("policy_sha256").contains("discard")) << daemon.ready();
    EXPECT_FALSE(daemon.ready().at("policy_sha256").contains("echo")) << daemon.ready();
}

TEST(Discard, IsIdleWhenNothingComes) {
    const Daemon daemon{setup_of("discard", {"--idle-timeout=100ms"})};
    const Client client{daemon.address()};
    EXPECT_TRUE(client.ends_within(10s));
    EXPECT_EQ(daemon.end_of(client.name()).at("reason"), "idle");
}

const std::regex daytime_form{
    "(Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (January|February|March|April|May|June|July|"
    "August|September|October|November|December) [1-9][0-9]?, 20[0-9]{2} "
    "[0-2][0-9]:[0-5][0-9]:[0-6][0-9]-UTC\r\n"};

std::time_t time_of(const std::string& line) {
    std::tm date{};
    const char* const end = strptime(line.c_str(), "%A, %B %d, %Y %H:%M:%S-UTC", &date);
    return end == nullptr ? -1 : timegm(&date);
}

TEST(Daytime, TellsTheTimeInUtcAndEnds) {
    const Daemon daemon{setup_of("daytime")};
    const std::time_t before = std::time(nullptr);
    const Client client{daemon.address()};
    const std::string line = client.receive_to_end();
    const std::time_t after = std::time(nullptr);
    EXPECT_TRUE(std::regex_match(line, daytime_form)) << line;
    EXPECT_TRUE(before <= time_of(line) && time_of(line) <= after) << before << ' ' << line << ' ' << after;
    client.half_close();
    EXPECT_EQ(daemon.end_of(client.name()).at("reason"), "closed");
}

/// To close with bytes unread would reset the connection.
TEST(Daytime, AnswersAClientThatSendsWhatNobodyReads) {
    const Daemon daemon{setup_of("daytime")};
    for (int i = 0; i < 20; ++i) {
        const Client client{daemon.address()};
        client.send(random_bytes(200'000));
        client.half_close();
        EXPECT_TRUE(std::regex_match(client.receive_to_end(), daytime_form));
        EXPECT_EQ(daemon.end_of(client.name()).at("reason"), "closed");
    }
}

TEST(Daytime, DoesNotWaitForEverForTheClientsEnd) {
    const Daemon daemon{setup_of("daytime", {"--idle-timeout=100ms"})};
    const Client client{daemon.address()};
    EXPECT_TRUE(std::regex_match(client.receive_to_end(), daytime_form));
    EXPECT_EQ(daemon.end_of(client.name()).at("reason"), "idle");
}

class Static : public testing::Test {
  protected:
    [[nodiscard]] live::Setup setup(const std::string& content, std::vector<std::string> options = {}) const {
        std::ofstream{file_, std::ios::binary} << content;
        ::chmod(file_.c_str(), 0644);
        options.push_back("--content=" + file_);
        return setup_of("static", std::move(options));
    }
    [[nodiscard]] Outcome start(const std::string& content) const {
        auto options = user_options();
        options.insert(options.end(), {"--listen=127.0.0.1:0", "--handler=static", "--content=" + content});
        return run_cloisterd(options);
    }
    TemporaryDirectory directory_;
    std::string file_ = directory_.file("content");
};

TEST_F(Static, SendsTheContentAtOnce) {
    const std::string content = random_bytes(300'001);
    const Daemon daemon{setup(content)};
    const Client client{daemon.address()};
    EXPECT_EQ(client.receive_to_end(), content);
    client.half_close();
    EXPECT_EQ(daemon.end_of(client.name()).at("reason"), "closed");
}

TEST_F(Static, SendsAsMuchAsThereMayBe) {
    const std::string content = random_bytes(control::max_content);
    const Daemon daemon{setup(content)};
    const Client client{daemon.address()};
    EXPECT_TRUE(client.receive_to_end(30s) == content);
}

TEST_F(Static, SendsItAfterARequestIfToldTo) {
    const Daemon daemon{setup("HTTP/1.0 200 OK\r\n\r\nhello\n", {"--content-after=request"})};
    const Client client{daemon.address()};
    client.send("GET / HTTP/1.0\r\n");
    EXPECT_TRUE(client.is_quiet_for(100ms));
    client.send("Host: x\r\n\r\nand more");
    EXPECT_EQ(client.receive_to_end(), "HTTP/1.0 200 OK\r\n\r\nhello\n");
    const Client without{daemon.address()};
    without.send("GET / HTTP/1.0\r\n");
    without.half_close();
    EXPECT_EQ(without.receive_to_end(), "");
}

TEST_F(Static, AnswersAClientThatSendsWhatNobodyReads) {
    const std::string content = random_bytes(1000);
    const Daemon daemon{setup(content)};
    for (int i = 0; i < 20; ++i) {
        const Client client{daemon.address()};
        client.send(random_bytes(200'000));
        client.half_close();
        EXPECT_TRUE(client.receive_to_end() == content);
    }
}

TEST_F(Static, ServesWhatTheFileWasWhenItStartedAlsoAfterItsListenerDied) {
    const Daemon daemon{setup("first\n")};
    std::ofstream{file_} << "second\n";
    EXPECT_EQ(Client{daemon.address()}.receive_to_end(), "first\n");
    daemon.signal_listener(SIGKILL);
    (void)daemon.await_record("ready", [](const Json& record) { return record.at("generation") == 2; });
    EXPECT_EQ(Client{daemon.address()}.receive_to_end(), "first\n");
}

TEST_F(Static, CellsHaveTheContentReadOnlyAndNothingElseBesides) {
    if (!am_root()) {
        GTEST_SKIP() << "only root may look into a process that can't be dumped";
    }
    const Daemon daemon{setup(random_bytes(10'000))};
    const Client client{daemon.address()};
    (void)client.receive_to_end();
    std::vector<std::string> seen;
    for (const Mapping& mapping : mappings_of(daemon.only_cell())) {
        if (mapping.name != "[vsyscall]") {
            seen.push_back(
                fmt::format("{} {}", mapping.permissions.substr(0, 3), mapping.end - mapping.start));
        }
    }
    std::sort(seen.begin(), seen.end());
    const auto pages = [](std::size_t size) {
        const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
        return (size + page - 1) / page * page;
    };
    const std::vector<std::string> expected{
        fmt::format("r-- {}", pages(10'000 + sizeof(control::Content))),
        fmt::format("r-x {}", arch::max_page_size),
        fmt::format("rw- {}", sizeof(cell::Arena)),
    };
    EXPECT_EQ(seen, expected) << fmt::format("{}", fmt::join(seen, ", "));
}

TEST_F(Static, RefusesContentThatCannotBeServed) {
    const auto expect_refused = [&](const std::string& content, int code, const std::string& why) {
        const Outcome outcome = start(content);
        EXPECT_EQ(outcome.exit_code, code) << outcome.err;
        EXPECT_NE(outcome.err.find("content " + content + ": " + why), std::string::npos) << outcome.err;
    };
    expect_refused(directory_.file("none"), 66, "cannot open: ENOENT");
    expect_refused(directory_.path(), 78, "is no regular file");
    ASSERT_EQ(::mkfifo(directory_.file("fifo").c_str(), 0644), 0);
    expect_refused(directory_.file("fifo"), 78, "is no regular file");
    std::ofstream{file_} << "";
    expect_refused(file_, 78, "is empty; there is nothing to serve");
    std::ofstream{file_} << "x";
    ::chmod(file_.c_str(), 0);
    if (am_root()) { // it is read with the rights of --user
        expect_refused(file_, 77, "cannot open: EACCES");
    }
    ::chmod(file_.c_str(), 0644);
    std::filesystem::resize_file(file_, control::max_content + 1);
    expect_refused(file_, 78, "has more than 16777216 bytes; serve a smaller one");
}

TEST(Handlers, ThatAreNotThereAreRefusedWithThoseThatAre) {
    auto options = user_options();
    options.insert(options.end(), {"--listen=127.0.0.1:0", "--handler=finger"});
    Outcome outcome = run_cloisterd(options);
    EXPECT_EQ(outcome.exit_code, 66) << outcome.err;
    EXPECT_TRUE(
        std::regex_search(outcome.err, std::regex{"there is no handler 'finger': no .*; there are: daytime, "
                                                  "discard, echo, metrics, static"}))
        << outcome.err;
    for (const std::string& name : std::vector<std::string>{"../echo", "a/b", "Echo", "", ".", "-x",
                                                            "echo.policy", std::string(33, 'a')}) {
        options.back() = "--handler=" + name;
        outcome = run_cloisterd(options);
        EXPECT_EQ(outcome.exit_code, name.empty() ? outcome.exit_code : 64) << name << outcome.err;
        EXPECT_EQ(outcome.err.find("there are:"), std::string::npos) << outcome.err;
    }
}

TEST(Handlers, ThatServeAFileNeedOneAndOthersRefuseIt) {
    auto options = user_options();
    options.insert(options.end(), {"--listen=127.0.0.1:0", "--handler=static"});
    Outcome outcome = run_cloisterd(options);
    EXPECT_EQ(outcome.exit_code, 64) << outcome.err;
    EXPECT_NE(outcome.err.find("handler static serves a file; name it by --content"), std::string::npos);
    options.back() = "--handler=echo";
    options.push_back("--content=/etc/hostname");
    outcome = run_cloisterd(options);
    EXPECT_EQ(outcome.exit_code, 64) << outcome.err;
    EXPECT_NE(outcome.err.find("handler echo serves no file; leave --content away"), std::string::npos);
}

/// A cell of each handler in the attacker's hands.
class HostileHandler : public testing::TestWithParam<const char*> {
  protected:
    HostileHandler() { std::ofstream{directory_.file("content")} << "the content"; }

    [[nodiscard]] live::Setup setup() const {
        ::chmod(directory_.path().c_str(), 0755);
        live::Setup setup = setup_of(GetParam(), {"--policy-dir=" CLOISTER_POLICY_SOURCE});
        if (GetParam() == std::string{"static"}) {
            setup.options.push_back("--content=" + directory_.file("content"));
        }
        setup.program = "../tests/hostile/bin/cloisterd";
        return setup;
    }
    void order(const Client& client, Action action, const std::vector<std::uint64_t>& arguments,
               std::uint64_t expected = 0) const {
        hostile::Order order{hostile::magic, action, {}, 0, expected};
        std::copy(arguments.begin(), arguments.end(), order.arguments);
        std::string bytes(sizeof order, '\0');
        std::memcpy(bytes.data(), &order, sizeof order);
        client.send(bytes);
    }
    /// The log's account of a cell that makes that call and then, if it lives, sees its client's end.
    [[nodiscard]] Json end_after(const Daemon& daemon, const std::vector<std::uint64_t>& call,
                                 std::uint64_t expected = 0) const {
        Client client{daemon.address()};
        const std::string name = client.name();
        order(client, Action::Call, call, expected);
        if (call[0] == SYS_shutdown) { // which it may survive
            client.half_close();
        }
        return daemon.end_of(name);
    }
    TemporaryDirectory directory_;
};

INSTANTIATE_TEST_SUITE_P(Each, HostileHandler,
                         testing::Values("echo", "discard", "daytime", "static", "metrics"),
                         [](const auto& instance) { return std::string{instance.param}; });

TEST_P(HostileHandler, MayMakeTheCallsOfItsPolicyAndNoOthers) {
    const std::string handler = GetParam();
    const Daemon daemon{setup()};
    const Json shut = end_after(daemon, {SYS_shutdown, 0, SHUT_WR});
    // It made the call, which succeeded; a cell that may send then fails to send its reply.
    EXPECT_EQ(shut.at("reason"), handler == "discard" ? "closed" : "reset") << shut;
    EXPECT_EQ(end_after(daemon, {SYS_exit_group, 3}).at("exit"), 3);
    const std::vector<std::vector<std::uint64_t>> forbidden{
        {SYS_exit_group, 6},
        {SYS_close, 1},

        {SYS_recvfrom, 0, 4096, 1},
        {SYS_sendto, 0, 4096, 1},
        {SYS_write, 0},
        {SYS_openat},
        {SYS_mmap},
        {SYS_clone, 0x80028},
        {SYS_mprotect},
        {SYS_socket},
        {SYS_getppid},
        {SYS_clock_gettime, 1},
        {SYS_madvise},
        {SYS_munmap},
        {SYS_clock_gettime, 0, 4096},
    };
    for (const auto& call : forbidden) {
        EXPECT_EQ(end_after(daemon, call).at("reason"), "violation") << handler << ' ' << call[0];
    }
    if (handler == "discard") {
        return; // which could not say where its buffer is
    }
    const Client client{daemon.address()};
    order(client, Action::Where, {});
    std::uint64_t buffer = 0;
    std::memcpy(&buffer, client.receive(sizeof buffer).data(), sizeof buffer);
    EXPECT_EQ(buffer % 1024, 0U);
    const Client other{daemon.address()}; // it has the same addresses
    order(other, Action::Call, {SYS_clock_gettime, CLOCK_REALTIME, buffer});
    if (handler == "daytime") {
        EXPECT_EQ(other.receive(sizeof(hostile::Reply)), std::string(sizeof(hostile::Reply), '\0'));
        EXPECT_EQ(end_after(daemon, {SYS_clock_gettime, CLOCK_REALTIME, buffer + 8}).at("reason"),
                  "violation");
    } else {
        EXPECT_EQ(daemon.end_of(other.name()).at("reason"), "violation");
    }
}

using HostileContent = HostileHandler;
INSTANTIATE_TEST_SUITE_P(Of, HostileContent, testing::Values("static", "metrics"),
                         [](const auto& instance) { return std::string{instance.param}; });

TEST_P(HostileContent, CannotBeWrittenNorReadBehind) {
    const Daemon daemon{setup()};
    const auto does = [&](const Client& client, Action action, const std::vector<std::uint64_t>& arguments) {
        order(client, action, arguments);
        std::uint64_t reply = 0;
        std::memcpy(&reply, client.receive(sizeof reply).data(), sizeof reply);
        return reply;
    };
    const Client client{daemon.address()};
    const std::uint64_t content = does(client, Action::Content, {});
    const bool live = GetParam() == std::string{"metrics"};
    const std::uint64_t size =
        live ? sizeof(control::LiveContent) - sizeof(control::Content) : std::strlen("the content");
    EXPECT_EQ(does(client, Action::Peek, {content}), size);
    const auto dies = [&](Action action, const std::vector<std::uint64_t>& arguments) {
        const Client other{daemon.address()};
        order(other, action, arguments);
        return daemon.end_of(other.name()).at("signal") == SIGSEGV;
    };
    EXPECT_TRUE(dies(Action::Poke, {content, 0}));
    EXPECT_TRUE(dies(Action::Poke, {content + 8, 0}));
    EXPECT_TRUE(dies(Action::Peek, {content - 8}));
    EXPECT_TRUE(dies(Action::Peek, {content + size + arch::max_page_size}));
    if (live) {
        const std::uint64_t newest = content + offsetof(control::LiveContent, newest);
        EXPECT_TRUE(dies(Action::Poke, {newest, 0}));
        const std::uint64_t was = does(client, Action::Peek, {newest});
        EXPECT_TRUE(within(10s, [&] { return does(client, Action::Peek, {newest}) > was; })) << "renewed";
    }
    EXPECT_EQ(does(client, Action::Peek, {content}), size);
}

} // namespace
} // namespace cloister::live
