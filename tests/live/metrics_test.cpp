// SPDX-License-Identifier: MIT
// The metrics, as a scraper sees them.
#include "client.h"
#include "harness.h"

#include <atomic>
#include <csignal>
#include <fmt/core.h>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <thread>

namespace cloister::live {
namespace {

/// echo and metrics, each with a socket of its own.
class MetricsTest : public testing::Test {
  protected:
    MetricsTest() {
        ::chmod(directory_.path().c_str(), 0755);
        write("");
    }
    void write(const std::string& of_echo) const {
        const std::string path = directory_.file("cloister.toml");
        std::ofstream{path}
            << "[[service]]\nname = \"echo\"\nhandler = \"echo\"\nlisten = [\"127.0.0.1:0\"]\n" + of_echo +
                   "[[service]]\nname = \"metrics\"\nhandler = \"metrics\"\n"
                   "listen = [\"127.0.0.1:0\"]\n";
        ::chmod(path.c_str(), 0644);
    }
    [[nodiscard]] live::Setup setup() const {
        return {.listen = {}, .options = {"--config", directory_.file("cloister.toml")}};
    }
    [[nodiscard]] static std::string address(const Daemon& daemon, const char* service) {
        return daemon.await_record(
            "ready", [&](const Json& record) { return record.at("service") == service; })["listen"][0];
    }
    [[nodiscard]] static std::string scrape(const Daemon& daemon) {
        const Client client{address(daemon, "metrics")};
        client.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
        return client.receive_to_end();
    }
    /// Whether it says so within some seconds.
    [[nodiscard]] static bool says(const Daemon& daemon, const std::string& line) {
        return within(10s, [&] { return scrape(daemon).find("\n" + line + "\n") != std::string::npos; });
    }
    TemporaryDirectory directory_;
};

TEST_F(MetricsTest, CountsWhatHappens) {
    const Daemon daemon{setup()};
    const Client idle{address(daemon, "echo")};
    ASSERT_TRUE(idle.echoes("1"));
    {
        const Client client{address(daemon, "echo")};
        ASSERT_TRUE(client.echoes("2"));
        client.half_close();
        EXPECT_EQ(daemon.end_of(client.name()).at("reason"), "closed");
    }
    EXPECT_TRUE(says(daemon, "cloister_connections_total{service=\"echo\"} 2")) << scrape(daemon);
    EXPECT_TRUE(says(daemon, "cloister_live_connections{service=\"echo\"} 1"));
    EXPECT_TRUE(says(daemon, "cloister_ends_total{service=\"echo\",reason=\"closed\"} 1"));
    EXPECT_TRUE(says(daemon, "cloister_violations_total{service=\"echo\"} 0"));
    EXPECT_TRUE(says(daemon, "cloister_generations{service=\"metrics\",state=\"serving\"} 1"));
    EXPECT_TRUE(says(daemon, "cloister_reload_successful 1"));
    EXPECT_THAT(scrape(daemon), testing::HasSubstr("cloister_cell_setup_seconds{service=\"echo\"} 0.0"));
    ASSERT_EQ(::kill(daemon.cells().front(), SIGSYS), 0); // as a broken policy ends it
    EXPECT_TRUE(says(daemon, "cloister_violations_total{service=\"echo\"} 1"));
}

TEST_F(MetricsTest, GoOnAfterAReloadWithWhatWasCounted) {
    Daemon daemon{setup()};
    (void)daemon.await_record("started");
    ASSERT_TRUE(Client(address(daemon, "echo")).echoes("1"));
    EXPECT_TRUE(says(daemon, "cloister_connections_total{service=\"echo\"} 1"));
    write("max-connections = 77\n");
    daemon.signal(SIGHUP);
    (void)daemon.await_record("reloaded");
    EXPECT_TRUE(says(daemon, "cloister_max_connections{service=\"echo\"} 77"));
    EXPECT_TRUE(says(daemon, "cloister_connections_total{service=\"echo\"} 1"));
    write("max-connections = nonsense\n");
    daemon.signal(SIGHUP);
    (void)daemon.await_record("reload_failed");
    EXPECT_TRUE(says(daemon, "cloister_reload_successful 0"));
    EXPECT_TRUE(says(daemon, "cloister_reload_failures_total 1"));
}

TEST_F(MetricsTest, AreNeverTorn) {
    const Daemon daemon{setup()};
    const std::string at = address(daemon, "metrics");
    const auto until = std::chrono::steady_clock::now() + 3s; // in which it is renewed twice at least
    std::string times;
    while (std::chrono::steady_clock::now() < until) {
        const std::string page = scrape(daemon);
        const std::size_t body = page.find("\r\n\r\n") + 4;
        ASSERT_THAT(page, testing::HasSubstr(fmt::format("Content-Length: {}\r\n", page.size() - body)));
        ASSERT_THAT(page, testing::EndsWith("# EOF\n"));
        const std::string time = page.substr(page.find("\ncloister_page_time_seconds "), 42);
        times += times.find(time) == std::string::npos ? time : "";
    }
    EXPECT_GE(times.size(), 2U * 42) << times;
}

TEST_F(MetricsTest, AnswersOtherRequestsWithAnError) {
    const Daemon daemon{setup()};
    const auto answer = [&](std::string_view request) {
        const Client client{address(daemon, "metrics")};
        client.send(request);
        client.half_close();
        return client.receive_to_end();
    };
    EXPECT_THAT(answer("GET / HTTP/1.1\r\n\r\n"), testing::StartsWith("HTTP/1.1 404 "));
    EXPECT_THAT(answer("POST /metrics HTTP/1.1\r\n\r\n"), testing::StartsWith("HTTP/1.1 405 "));
    EXPECT_EQ(answer("GET /metrics HTTP/1.1\r\n"), "");
}

TEST_F(MetricsTest, ServeNoFile) {
    auto options = user_options();
    options.insert(options.end(), {"--listen=127.0.0.1:0", "--handler=metrics", "--content=/etc/hostname"});
    const Outcome outcome = run_cloisterd(options);
    EXPECT_EQ(outcome.exit_code, 64) << outcome.err;
    EXPECT_THAT(outcome.err, testing::HasSubstr("handler metrics serves no file; leave --content away"));
}

} // namespace
} // namespace cloister::live
