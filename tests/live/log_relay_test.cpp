// SPDX-License-Identifier: MIT
// The process that writes the log: whatever happens to it and to stderr, clients are served, TERM ends the
// daemon in time, and what is lost is counted.
#include "client.h"
#include "harness.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <sys/resource.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

namespace cloister::live {
namespace {

namespace fs = std::filesystem;

constexpr int stderr_of_relay = 65; // policy/processes/relay.policy

void echo(const Daemon& daemon, int times) {
    for (int i = 0; i < times; ++i) {
        ASSERT_TRUE(Client{daemon.address()}.echoes("hello"));
    }
}

/// A daemon whose stderr is `fd`, with a unix socket.
class Quiet {
  public:
    explicit Quiet(int fd, std::vector<std::string> options = {}, std::function<void()> last = {})
        : daemon_{{.listen = {address()},
                   .options = std::move(options),
                   .stderr_fd = fd,
                   .last = std::move(last)}} {}

    [[nodiscard]] Daemon& daemon() { return daemon_; }
    [[nodiscard]] bool serves() const {
        return within(10s, [&] {
            try {
                return Client{address()}.echoes("hello");
            } catch (const std::exception&) {
                return false;
            }
        });
    }
    void expect_end() {
        daemon_.signal(SIGTERM);
        EXPECT_EQ(daemon_.ends_within(5s), 0);
    }

  private:
    TemporaryDirectory directory_;
    Daemon daemon_;
    [[nodiscard]] std::string address() const { return "unix:" + directory_.file("echo.socket"); }
};

std::vector<Json> records_in(const std::string& file, unsigned& torn) {
    std::vector<Json> found;
    std::istringstream text{read_file(file)};
    for (std::string line; std::getline(text, line);) {
        auto record = Json::parse(line, nullptr, false);
        if (record.is_object()) {
            found.push_back(std::move(record));
        } else if (!line.empty()) {
            ++torn;
        }
    }
    return found;
}

std::size_t count_of(const std::vector<Json>& records, const std::string& event) {
    return static_cast<std::size_t>(std::count_if(
        records.begin(), records.end(), [&](const Json& record) { return record.at("event") == event; }));
}

TEST(LogRelay, HasNoPrivilegeAndIsUnderAFilterOfItsOwn) {
    const Daemon daemon;
    ASSERT_NE(daemon.relay(), 0);
    auto status = status_of(daemon.relay());
    auto supervisor = status_of(daemon.pid());
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb", "SigCgt", "SigIgn"}) {
        EXPECT_EQ(status[set], "0000000000000000") << set;
    }
    EXPECT_EQ(status["NoNewPrivs"], "1");
    EXPECT_EQ(status["Threads"], "1");
    EXPECT_EQ(status["Seccomp"], "2");
    EXPECT_EQ(std::stoi(status["Seccomp_filters"]), std::stoi(supervisor["Seccomp_filters"]) + 1);
    EXPECT_EQ(status["Uid"], supervisor["Uid"]);
    EXPECT_EQ(status["Gid"], supervisor["Gid"]);
}

TEST(LogRelay, HoldsPipesAndStderrAndNoSocket) {
    if (!am_root()) {
        GTEST_SKIP() << "only root may look";
    }
    const Daemon daemon;
    const pid_t relay = daemon.relay();
    // Of the supervisor, the service, and eight services that a reload may add.
    const std::vector<int> own{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, stderr_of_relay};
    EXPECT_EQ(descriptors_of(relay), own);
    for (const int fd : own) {
        const auto link = fs::read_symlink(fmt::format("/proc/{}/fd/{}", relay, fd)).string();
        EXPECT_TRUE(link.starts_with("pipe:")) << link;
        const bool reads = read_file(fmt::format("/proc/{}/fdinfo/{}", relay, fd)).find("flags:\t0000000") !=
                           std::string::npos;
        EXPECT_EQ(fd == stderr_of_relay, !reads && fd == stderr_of_relay);
    }
    EXPECT_EQ(fs::read_symlink(fmt::format("/proc/{}/fd/{}", relay, stderr_of_relay)),
              fs::read_symlink(fmt::format("/proc/{}/fd/2", daemon.pid())));
    EXPECT_NE(::access(fmt::format("/proc/{}/mem", relay).c_str(), F_OK), -1);
    EXPECT_EQ(fs::status(fmt::format("/proc/{}/fd", relay)).type(), fs::file_type::directory);
}

TEST(LogRelay, ThatIsKilledIsReplacedAndNothingThatIsInItsPipesIsLost) {
    const Daemon daemon;
    for (int round = 1; round <= 3; ++round) {
        pid_t relay = 0;
        ASSERT_TRUE(within(10s, [&] { return (relay = daemon.relay()) != 0; }));
        ASSERT_TRUE(within(5s, [&] { return state_of(relay) == 'S'; }));
        ::kill(relay, SIGSTOP);
        ASSERT_TRUE(within(5s, [&] { return state_of(relay) == 'T'; }));
        echo(daemon, 50);
        ASSERT_TRUE(daemon.has_cells(0));
        ::kill(relay, SIGKILL);
        const auto wanted = static_cast<std::size_t>(50 * round);
        EXPECT_TRUE(within(10s, [&] { return daemon.records("connection").size() >= wanted; }))
            << daemon.records("connection").size();
        const Json died = daemon.await_record("log_relay_died",
                                              [&](const Json& record) { return record.at("pid") == relay; });
        EXPECT_EQ(died.at("signal"), SIGKILL);
    }
    EXPECT_EQ(daemon.records("connection").size(), 150U);
    EXPECT_EQ(daemon.records("log_dropped").size(), 0U);
}

TEST(LogRelay, ThatIsStoppedKeepsNobodyAndWritesTheRestLater) {
    Daemon daemon;
    const pid_t relay = daemon.relay();
    ASSERT_NE(relay, 0);
    ::kill(relay, SIGSTOP);
    echo(daemon, 10);
    daemon.signal(SIGTERM);
    EXPECT_EQ(daemon.ends_within(5s), 0);
    EXPECT_TRUE(is_alive(relay)) << "it may outlive the supervisor";
    EXPECT_TRUE(daemon.records("stopped").empty());
    ::kill(relay, SIGCONT);
    EXPECT_TRUE(within(5s, [&] { return daemon.records("stopped").size() == 1; })) << daemon.log();
    EXPECT_EQ(daemon.records("connection").size(), 10U);
    EXPECT_TRUE(daemon.leaves_nobody_within(5s));
}

TEST(LogRelay, EndsWithTheLastWriterWhenTheSupervisorIsKilled) {
    Daemon daemon;
    const pid_t relay = daemon.relay();
    ASSERT_NE(relay, 0);
    daemon.signal(SIGKILL);
    EXPECT_EQ(daemon.ends_within(5s), -SIGKILL);
    EXPECT_TRUE(within(5s, [&] { return !is_alive(relay); }));
    EXPECT_TRUE(daemon.leaves_nobody_within(5s));
}

TEST(LogRelay, IsNotEndedByWhatEndsTheDaemon) {
    Daemon daemon;
    const pid_t relay = daemon.relay();
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGTSTP, SIGPIPE, SIGUSR1}) {
        ::kill(relay, signal);
    }
    echo(daemon, 1);
    (void)daemon.await_record("connection");
    EXPECT_EQ(daemon.relay(), relay);
    EXPECT_TRUE(daemon.records("log_relay_died").empty());
}

TEST(LogRelay, EndsALineThatAWriterLeftOpenAndReadsTheOthersMeanwhile) {
    if (!am_root()) {
        GTEST_SKIP() << "only root can write into the pipe of a listener";
    }
    const Daemon daemon;
    const Fd pipe{::open(fmt::format("/proc/{}/fd/1", daemon.relay()).c_str(), O_WRONLY | O_CLOEXEC)};
    ASSERT_TRUE(pipe.valid());
    std::atomic<bool> flooding{true};
    std::thread flood{[&] {
        const std::string garbage(4096, 'x');
        while (flooding && ::write(pipe.get(), garbage.data(), garbage.size()) > 0) {
        }
    }};
    for (int i = 0; i < 3; ++i) {
        daemon.signal(SIGUSR1);
        EXPECT_TRUE(within(10s, [&] {
            return daemon.records("status").size() == static_cast<std::size_t>(i) + 1;
        })) << i;
    }
    flooding = false;
    flood.join();
}

TEST(LogRelay, ATerminalThatNobodyReadsKeepsNobody) {
    const Fd terminal{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
    ASSERT_TRUE(terminal.valid());
    ASSERT_EQ(::grantpt(terminal.get()), 0);
    ASSERT_EQ(::unlockpt(terminal.get()), 0);
    ASSERT_EQ(::fcntl(terminal.get(), F_SETFL, O_NONBLOCK), 0);
    const Fd line{::open(::ptsname(terminal.get()), O_RDWR | O_NOCTTY | O_CLOEXEC)};
    ASSERT_TRUE(line.valid());
    std::string text;
    const auto read_until = [&](const char* event) {
        return within(10s, [&] {
            std::string piece(65536, '\0');
            const ssize_t size = ::read(terminal.get(), piece.data(), piece.size());
            text.append(piece, 0, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
            return text.find(event) != std::string::npos;
        });
    };
    Quiet quiet{line.get()};
    ASSERT_TRUE(read_until("\"ready\"")) << text;
    const Fd filling{::open(::ptsname(terminal.get()), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)};
    const std::string filler(4096, 'x');
    ASSERT_TRUE(within(5s, [&] { return ::write(filling.get(), filler.data(), filler.size()) < 0; }));
    EXPECT_TRUE(quiet.serves());
    const pid_t relay = quiet.daemon().relay();
    quiet.expect_end();
    EXPECT_TRUE(is_alive(relay)) << "it waits";
    EXPECT_TRUE(read_until("\"stopped\"")) << text;
}

TEST(LogRelay, ADeviceThatIsFullKeepsNobody) {
    const Fd full{::open("/dev/full", O_WRONLY | O_CLOEXEC)};
    Quiet quiet{full.get()};
    EXPECT_TRUE(quiet.serves());
    EXPECT_NE(quiet.daemon().relay(), 0);
    quiet.expect_end();
}

TEST(LogRelay, AFileThatMayNotGrowKeepsNobodyAndALineThatWasTornIsEndedBeforeTheNext) {
    const TemporaryDirectory directory;
    const std::string file = directory.file("log");
    const Fd log{::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666)};
    constexpr rlim_t limit = 100'000; // the listener's launch configuration is a file, too
    ASSERT_EQ(::write(log.get(), std::string(limit - 2000, '\n').data(), limit - 2000),
              static_cast<ssize_t>(limit - 2000));
    Quiet quiet{log.get(), {}, [] {
                    const rlimit small{limit, limit};
                    if (::setrlimit(RLIMIT_FSIZE, &small) != 0) {
                        ::_exit(123);
                    }
                }};
    ASSERT_TRUE(quiet.serves());
    const pid_t relay = quiet.daemon().relay();
    EXPECT_TRUE(within(10s, [&] { return quiet.serves() && fs::file_size(file) == limit; }));
    EXPECT_TRUE(quiet.serves()) << "and this is dropped";
    ASSERT_EQ(::truncate(file.c_str(), 0), 0);
    unsigned torn = 0;
    EXPECT_TRUE(within(10s, [&] {
        (void)quiet.serves();
        return count_of(records_in(file, torn), "log_dropped") > 0;
    })) << read_file(file);
    torn = 0;
    EXPECT_GT(count_of(records_in(file, torn), "connection"), 0U);
    EXPECT_EQ(torn, 0U) << read_file(file);
    EXPECT_EQ(read_file(file).front(), '\n') << "the line that was torn before it was truncated";
    EXPECT_EQ(quiet.daemon().relay(), relay) << "SIGXFSZ has not ended it";
    quiet.expect_end();
}

TEST(LogRelay, TwoDaemonsWithOneFileDoNotOverwriteEachOther) {
    const TemporaryDirectory directory;
    const std::string file = directory.file("log");
    const Fd first{::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666)};
    const Fd second{::open(file.c_str(), O_WRONLY | O_CLOEXEC)};
    Quiet one{first.get()};
    Quiet two{second.get()};
    for (int i = 0; i < 5; ++i) {
        ASSERT_TRUE(one.serves());
        ASSERT_TRUE(two.serves());
    }
    unsigned torn = 0;
    ASSERT_TRUE(within(10s, [&] { return count_of(records_in(file, torn), "ready") == 2; }))
        << read_file(file);
    one.expect_end();
    two.expect_end();
    torn = 0;
    const auto records = records_in(file, torn);
    EXPECT_EQ(torn, 0U) << read_file(file);
    EXPECT_EQ(count_of(records, "ready"), 2U) << read_file(file);
    EXPECT_EQ(count_of(records, "stopped"), 2U);
    EXPECT_GE(count_of(records, "connection"), 10U);
}

} // namespace
} // namespace cloister::live
