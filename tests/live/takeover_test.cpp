// SPDX-License-Identifier: MIT
// An attacker who runs as the daemon's own user and tries to take over a cloisterd or a listener that starts.
#include "harness.h"

#include <atomic>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <new>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::live {
namespace {

void become_the_daemons_user() {
    if (::setresgid(daemon_id, daemon_id, daemon_id) != 0 ||
        ::setresuid(daemon_id, daemon_id, daemon_id) != 0) {
        ::_exit(99);
    }
}

/// A process of the daemon's user without capabilities, which tries to get at whatever our children and
/// grandchildren are. Their numbers are told by /proc.
class Attacker {
  public:
    Attacker() {
        void* const memory =
            ::mmap(nullptr, sizeof *shared_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        shared_ = new (memory) Shared{};
        const pid_t target = ::getpid();
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            become_the_daemons_user();
            for (;;) {
                attack_children_of(target, 2);
                ::waitpid(-1, nullptr, WNOHANG | __WALL); // whom it traces, it reaps
            }
        }
    }
    ~Attacker() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        ::munmap(shared_, sizeof *shared_);
    }
    Attacker(const Attacker&) = delete;
    Attacker& operator=(const Attacker&) = delete;

    [[nodiscard]] unsigned attempts() const { return shared_->attempts; }
    [[nodiscard]] unsigned successes() const { return shared_->successes; }

  private:
    struct Shared {
        std::atomic<unsigned> attempts, successes;
    };
    Shared* shared_ = nullptr;
    pid_t pid_ = 0;

    void attack_children_of(pid_t parent, int depth) {
        char path[64];
        char text[4096];
        (void)std::snprintf(path, sizeof path, "/proc/%d/task/%d/children", parent, parent);
        const Fd children{::open(path, O_RDONLY | O_CLOEXEC)};
        const ssize_t size = ::read(children.get(), text, sizeof text - 1);
        text[std::max<ssize_t>(size, 0)] = '\0';
        char* at = text;
        for (char* end = at;; at = end) {
            const auto child = static_cast<pid_t>(std::strtol(at, &end, 10));
            if (end == at) {
                return;
            }
            if (child != ::getpid()) {
                attack(child);
                if (depth > 1) {
                    attack_children_of(child, depth - 1);
                }
            }
        }
    }

    void attack(pid_t victim) {
        ++shared_->attempts;
        const Fd process{static_cast<int>(::syscall(SYS_pidfd_open, victim, 0))};
        const Fd stolen{static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), 2, 0))};
        if (stolen.valid() || ::ptrace(PTRACE_SEIZE, victim, nullptr, nullptr) == 0) {
            ++shared_->successes;
        }
    }
};

class Takeover : public testing::Test {
  protected:
    void SetUp() override {
        if (!am_root()) {
            GTEST_SKIP() << "only root can run a daemon and an attacker as another user";
        }
        const Attacker attacker;
        const pid_t victim = ::fork();
        if (victim == 0) {
            become_the_daemons_user();
            ::prctl(PR_SET_DUMPABLE, 1);
            ::pause();
            ::_exit(0);
        }
        const bool control = within(5s, [&] { return attacker.successes() > 0; });
        ::kill(victim, SIGKILL);
        ::waitpid(victim, nullptr, 0);
        if (!control) {
            GTEST_SKIP() << "this kernel lets nobody trace another process of the same user";
        }
    }
};

TEST_F(Takeover, OfNoDaemonAndNoListenerThatStartsSucceeds) {
    const Attacker attacker;
    for (int i = 0; i < 10; ++i) {
        const Daemon daemon;
        for (const int generation : {2, 3}) {
            const unsigned before = attacker.attempts();
            daemon.signal_listener(SIGKILL);
            (void)daemon.await_record(
                "ready", [&](const Json& record) { return record.at("generation") == generation; });
            EXPECT_GT(attacker.attempts(), before);
        }
    }
    EXPECT_EQ(attacker.successes(), 0U) << "of " << attacker.attempts();
}

class Program : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Path, Program, testing::Values("cloisterd", "cloister-listener-echo"),
                         [](const auto& instance) {
                             return std::string{instance.param == std::string{"cloisterd"} ? "Supervisor"
                                                                                           : "Listener"};
                         });

TEST_P(Program, CannotBeTracedByItsUserFromItsFirstInstructionOn) {
    if (!am_root()) {
        GTEST_SKIP() << "who has built a program may read it, and rewrite it too";
    }
    const std::string path = program_path(GetParam());
    const pid_t pid = ::fork();
    if (pid == 0) {
        become_the_daemons_user();
        ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        ::execl(path.c_str(), path.c_str(), nullptr);
        ::_exit(98);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSTOPPED(status)) << "it stops when it has been executed: " << status;
    struct stat owner {};
    EXPECT_EQ(::stat(fmt::format("/proc/{}/status", pid).c_str(), &owner), 0);
    EXPECT_EQ(owner.st_uid, 0U) << "of a process that can be dumped it is the process's own (proc(5))";
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
}

} // namespace
} // namespace cloister::live
