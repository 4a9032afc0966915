// SPDX-License-Identifier: MIT
// Whatever happens to the process that shall close a client's descriptors, or to the cell that it is for, the
// listener never closes the last reference itself (src/listener/release.cpp): killed at each instruction.
#include "client.h"
#include "harness.h"
#include "lingering.h"

#include <csignal>
#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

namespace cloister::live {
namespace {

enum class Victim { Cell, Releaser };

/// As within(), for what comes in microseconds.
bool soon(std::chrono::milliseconds limit, const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        std::this_thread::sleep_for(20us);
    }
    return true;
}

/// Follows a listener and stops what it forks at its first instruction. Of one thread only: ptrace(2).
class Tracer {
  public:
    explicit Tracer(pid_t listener) : listener_{listener} {
        if (::ptrace(PTRACE_SEIZE, listener, 0, PTRACE_O_TRACECLONE) != 0) {
            throw std::runtime_error{"cannot trace the listener"};
        }
    }
    ~Tracer() {
        (void)::kill(listener_, SIGSTOP);
        int status = 0;
        if (::waitpid(listener_, &status, __WALL) == listener_) {
            ::ptrace(PTRACE_DETACH, listener_, 0, 0);
        }
        (void)::kill(listener_, SIGCONT);
    }
    Tracer(const Tracer&) = delete;
    Tracer& operator=(const Tracer&) = delete;

    /// The next process that the listener forks; both stand still. 0 if there is none in time.
    [[nodiscard]] pid_t next_newborn(std::chrono::milliseconds limit = 5s) {
        int status = 0;
        pid_t newborn = 0;
        const bool forked = soon(limit, [&] {
            if (::waitpid(listener_, &status, __WALL | WNOHANG) != listener_) {
                return false;
            }
            if (status >> 8 == (SIGTRAP | (PTRACE_EVENT_CLONE << 8))) {
                unsigned long pid = 0;
                ::ptrace(PTRACE_GETEVENTMSG, listener_, 0, &pid);
                newborn = static_cast<pid_t>(pid);
                return true;
            }
            go_on();
            return false;
        });
        if (!forked || ::waitpid(newborn, &status, __WALL) != newborn) {
            return 0;
        }
        return newborn;
    }
    void go_on() const { ::ptrace(PTRACE_CONT, listener_, 0, 0); }

    /// Lets the listener and all that it forks go on; when that has come about, until it forks no more.
    [[nodiscard]] bool lets_all_go_until(const std::function<bool()>& done) {
        const auto let_next_go = [&](std::chrono::milliseconds limit) {
            const pid_t newborn = next_newborn(limit);
            if (newborn != 0) {
                let_go(newborn);
                go_on();
            }
            return newborn != 0;
        };
        const bool came = soon(10s, [&] {
            (void)let_next_go(0ms);
            return done();
        });
        while (let_next_go(3ms)) {
        }
        return came;
    }

    static void let_go(pid_t pid) { ::ptrace(PTRACE_DETACH, pid, 0, 0); }

    /// True if it lives on after that many instructions; it is killed then.
    [[nodiscard]] static bool kill_after(pid_t pid, int instructions) {
        int status = 0;
        bool lives = true;
        for (int i = 0; i < instructions && lives; ++i) {
            ::ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
            // It may wait in a call: then it is past what this test is about.
            lives = soon(100ms, [&] { return ::waitpid(pid, &status, __WALL | WNOHANG) == pid; }) &&
                    WIFSTOPPED(status);
        }
        ::kill(pid, SIGKILL);
        (void)within(1s,
                     [&] { return ::waitpid(pid, &status, __WALL | WNOHANG) == pid && !WIFSTOPPED(status); });
        return lives;
    }

  private:
    pid_t listener_;
};

class KilledAtAnyInstruction : public testing::TestWithParam<Victim> {};

INSTANTIATE_TEST_SUITE_P(Of, KilledAtAnyInstruction, testing::Values(Victim::Cell, Victim::Releaser),
                         [](const auto& instance) {
                             return instance.param == Victim::Cell ? "ACell" : "AReleaser";
                         });

TEST_P(KilledAtAnyInstruction, BeforeTheListenersCloseDoesNotStopTheListener) {
    if (!am_root()) {
        GTEST_SKIP() << "only root may trace a process that can't be dumped";
    }
    const TemporaryDirectory directory;
    const auto path = directory.file("socket");
    LingeringClients lingering;
    const Daemon daemon{{.listen = {"unix:" + path + ",mode=0666"}, .faults = without_passrights}};
    Tracer tracer{daemon.listener()};
    bool lives = true;
    int instructions = 0;
    for (; lives && instructions < 2000; instructions += instructions < 40 ? 1 : 3) {
        ASSERT_TRUE(lingering.come(path));
        const pid_t cell = tracer.next_newborn();
        ASSERT_NE(cell, 0) << "at instruction " << instructions;
        if (GetParam() == Victim::Cell) {
            lives = Tracer::kill_after(cell, instructions);
        } else {
            Tracer::let_go(cell);
        }
        tracer.go_on();
        const pid_t releaser = tracer.next_newborn();
        ASSERT_NE(releaser, 0) << "at instruction " << instructions;
        if (GetParam() == Victim::Releaser) {
            ASSERT_TRUE(soon(5s, [&] { return !is_alive(cell) || state_of(cell) == 'S'; }));
            lives = Tracer::kill_after(releaser, instructions);
        } else {
            Tracer::let_go(releaser);
        }
        tracer.go_on();
        const Client next{"unix:" + path};
        next.send("x");
        ASSERT_TRUE(tracer.lets_all_go_until([&] { return !next.is_quiet_for(0ms); }))
            << "the listener stands still; killed after " << instructions;
    }
    EXPECT_GT(instructions, 50) << "so many does it have at least";
    EXPECT_FALSE(lives) << "it was never seen to the end";
}

/// It holds the listening sockets, too, until it closes what is not its own; the last holder of a socket with
/// such clients in its queue sleeps there.
TEST(Newborn, WhoseListenerAndSupervisorAreGoneDoesNotStayForWhatItsClientsPass) {
    if (!am_root()) {
        GTEST_SKIP() << "only root may trace a process that can't be dumped";
    }
    const TemporaryDirectory directory;
    const auto path = directory.file("socket");
    LingeringClients lingering;
    const Daemon daemon{{.listen = {"unix:" + path + ",mode=0666"}, .faults = without_passrights}};
    pid_t newborn = 0;
    {
        Tracer tracer{daemon.listener()};
        const Client first{"unix:" + path};
        newborn = tracer.next_newborn();
        ASSERT_NE(newborn, 0);
        for (int i = 0; i < 3; ++i) {
            ASSERT_TRUE(lingering.come(path));
        }
        const pid_t listener = daemon.listener();
        daemon.signal_listener(SIGKILL);
        daemon.signal(SIGKILL);
        ASSERT_TRUE(within(5s, [&] { return !is_alive(daemon.pid()) && !is_alive(listener); }));
        Tracer::let_go(newborn);
    }
    EXPECT_TRUE(within(2s, [&] { return !is_alive(newborn); }));
    ::kill(newborn, SIGKILL); // it holds the daemon's log
}

TEST(Releaser, ThatSomebodyStoppedIsKilledAndReplaced) {
    if (!am_root()) {
        GTEST_SKIP() << "only root may trace a process that can't be dumped";
    }
    const TemporaryDirectory directory;
    const auto path = directory.file("socket");
    const Daemon daemon{{.listen = {"unix:" + path + ",mode=0666"}, .faults = without_passrights}};
    {
        Tracer tracer{daemon.listener()};
        const Client first{"unix:" + path};
        const pid_t cell = tracer.next_newborn();
        ASSERT_NE(cell, 0);
        Tracer::let_go(cell);
        tracer.go_on();
        const pid_t releaser = tracer.next_newborn();
        ASSERT_NE(releaser, 0);
        ::kill(releaser, SIGSTOP);
        Tracer::let_go(releaser);
        tracer.go_on();
        EXPECT_TRUE(first.echoes("hello\n")) << "its own cell does not wait for it";
    }
    EXPECT_TRUE(Client{"unix:" + path}.echoes("hello\n", 10s));
    EXPECT_TRUE(daemon.has_cells(0)) << "it is gone";
}

/// A TCP socket that somebody else made and passed to us may have SO_LINGER. The connections of clients who
/// wait there already have it, too; here the listener's close of such a one is the last.
TEST(PassedSocketThatLingers, DoesNotMakeTheListenerSleepInItsClose) {
    if (!am_root()) {
        GTEST_SKIP() << "only root may trace a process that can't be dumped";
    }
    const Fd listening{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in address{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
    socklen_t length = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    const linger long_one{1, linger_seconds};
    ASSERT_EQ(::setsockopt(listening.get(), SOL_SOCKET, SO_LINGER, &long_one, sizeof long_one), 0);
    ASSERT_EQ(::bind(listening.get(), generic, length), 0);
    ASSERT_EQ(::listen(listening.get(), 100), 0);
    ASSERT_EQ(::getsockname(listening.get(), generic, &length), 0);
    const auto name = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
    Client first{name};
    const Client second{name, 4096}; // reads nothing
    second.send(random_bytes(60'000));
    const Daemon daemon{
        {.listen = {}, .options = {"--max-connections=1", "--idle-timeout=2s"}, .passed = {listening.get()}}};
    Tracer tracer{daemon.listener()};
    first.close();
    const pid_t cell = tracer.next_newborn();
    ASSERT_NE(cell, 0);
    Tracer::let_go(cell);
    ASSERT_TRUE(within(10s, [&] { return !is_alive(cell); })) << "it ends when its client has said nothing";
    tracer.go_on();
    const Client next{name};
    next.send("x");
    EXPECT_TRUE(tracer.lets_all_go_until([&] { return !next.is_quiet_for(0ms); }));
}

} // namespace
} // namespace cloister::live
