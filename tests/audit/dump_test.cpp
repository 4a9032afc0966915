// SPDX-License-Identifier: MIT
// `cloister policy dump` of processes of ours: it reads what they have, and leaves them as they were.
#include "audit/filters.h"

#include "live/harness.h"

#include <atomic>
#include <csignal>
#include <fmt/format.h>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace cloister::audit {
namespace {

using live::Json;
using live::within;
using namespace std::chrono_literals;
using ::testing::HasSubstr;

void install(std::size_t instructions) {
    std::vector<sock_filter> program(instructions - 1, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    const sock_fprog all{static_cast<unsigned short>(program.size()), program.data()};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &all) != 0) {
        ::_exit(1);
    }
}

/// A child of ours that has done this and then says so; it waits, and is killed at the end.
class Child {
  public:
    explicit Child(const std::function<void()>& body) {
        int ends[2];
        if (::pipe(ends) != 0) {
            throw std::runtime_error{"no pipe"};
        }
        pid_ = ::fork();
        if (pid_ == 0) {
            body();
            (void)!::write(ends[1], "r", 1);
            for (;;) {
                ::pause();
            }
        }
        ::close(ends[1]);
        char byte = 0;
        const auto got = ::read(ends[0], &byte, 1);
        ::close(ends[0]);
        if (got != 1) {
            throw std::runtime_error{"the child has ended"};
        }
    }
    ~Child() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    [[nodiscard]] pid_t pid() const { return pid_; }

  private:
    pid_t pid_ = -1;
};

live::Outcome dump(pid_t pid, std::vector<std::string> options = {}) {
    std::vector<std::string> command{live::program_path("cloister"), "policy", "dump", "--pid",
                                     std::to_string(pid)};
    command.insert(command.end(), options.begin(), options.end());
    return live::run_program(command);
}

class Dump : public ::testing::Test {
  protected:
    void SetUp() override {
        if (!live::am_root()) {
            GTEST_SKIP() << "only root may read the filters of others";
        }
        if (live::status_of(::getpid())["Seccomp"] != "0") {
            GTEST_SKIP() << "the kernel shows filters to nobody who has one";
        }
    }
};

TEST_F(Dump, ShowsTheFiltersFromTheOldestOn) {
    const Child child{[] {
        install(2);
        install(5);
        install(3);
    }};
    const auto outcome = dump(child.pid(), {"--json"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const auto filters = Json::parse(outcome.out).at("groups").at(0).at("filters");
    ASSERT_EQ(filters.size(), 3U);
    EXPECT_EQ(filters[0].at("instructions"), 2);
    EXPECT_EQ(filters[1].at("instructions"), 5);
    EXPECT_EQ(filters[2].at("instructions"), 3);
    EXPECT_EQ(filters[0].at("bytes"), "2000000000000000060000000000ff7f");
    const auto raw = dump(child.pid(), {"--raw", "--filter", "0"});
    EXPECT_EQ(raw.out, std::string("\x20\0\0\0\0\0\0\0\x06\0\0\0\0\0\xff\x7f", 16));
    EXPECT_EQ(dump(child.pid(), {"--raw"}).exit_code, 64) << "which of the three?";
    EXPECT_EQ(dump(child.pid(), {"--hex", "--filter", "3"}).exit_code, 64);
    EXPECT_THAT(dump(child.pid()).out, HasSubstr("3 filters, oldest first"));
}

TEST_F(Dump, WritesAFileForEachFilterAndOverwritesNone) {
    const Child child{[] { install(2); }};
    live::TemporaryDirectory directory;
    const auto to = directory.file("filters");
    EXPECT_EQ(dump(child.pid(), {"-o", to}).exit_code, 0);
    EXPECT_EQ(live::read_file(fmt::format("{}/{}-0.bpf", to, child.pid())).size(), 16U);
    const auto again = dump(child.pid(), {"-o", to});
    EXPECT_EQ(again.exit_code, 71);
    EXPECT_THAT(again.err, HasSubstr("name another directory"));
}

TEST_F(Dump, SaysWhichThreadsHaveWhichFilters) {
    const Child child{[] {
        std::thread{[] {
            install(7);
            for (;;) {
                ::pause();
            }
        }}.detach();
    }};
    ASSERT_TRUE(within(5s, [&] {
        const auto threads = filters_of_process(child.pid());
        return threads && threads->size() == 2 && threads->back().filters.size() == 1;
    }));
    const auto outcome = dump(child.pid());
    EXPECT_THAT(outcome.out, HasSubstr("its threads have different filters"));
    EXPECT_EQ(Json::parse(dump(child.pid(), {"--json"}).out).at("threads_differ"), true);
    EXPECT_EQ(dump(child.pid(), {"--raw"}).exit_code, 64);
}

TEST_F(Dump, OfAProcessWithoutAFilterIsEmpty) {
    const Child child{[] {}};
    const auto outcome = dump(child.pid());
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_THAT(outcome.out, HasSubstr("1 thread, no filter"));
}

/// It is in that state again as soon as it has gone on.
void expect_untouched(pid_t pid, char state) {
    EXPECT_EQ(live::status_of(pid)["TracerPid"], "0");
    EXPECT_TRUE(within(2s, [&] { return live::state_of(pid) == state; })) << live::state_of(pid);
}

TEST_F(Dump, LeavesAStoppedProcessStopped) {
    const Child child{[] { install(2); }};
    ASSERT_EQ(::kill(child.pid(), SIGSTOP), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child.pid(), &status, WUNTRACED), child.pid());
    EXPECT_EQ(dump(child.pid(), {"--json"}).exit_code, 0);
    EXPECT_TRUE(within(2s, [&] { return live::state_of(child.pid()) == 'T'; }));
    expect_untouched(child.pid(), 'T');
    ASSERT_EQ(::kill(child.pid(), SIGCONT), 0);
    EXPECT_TRUE(within(2s, [&] { return live::state_of(child.pid()) == 'S'; }));
}

TEST_F(Dump, LosesNoSignalThatArrivesMeanwhile) {
    static int answer = -1; // of the child: a byte for each signal that it has handled
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const Child child{[&] {
        answer = ends[1];
        install(2);
        (void)std::signal(SIGRTMIN, [](int) { (void)!::write(answer, "s", 1); });
    }};
    std::atomic<bool> stop = false;
    std::thread dumping{[&] {
        while (!stop) {
            (void)filters_of(child.pid());
        }
    }};
    // Real-time signals queue, so each of them must be handled.
    constexpr int sent = 20000;
    int handled = 0;
    const auto take = [&](int limit_ms) {
        char bytes[4096];
        pollfd ready{ends[0], POLLIN, 0};
        while (handled < sent && ::poll(&ready, 1, limit_ms) == 1) {
            handled += static_cast<int>(::read(ends[0], bytes, sizeof bytes));
        }
    };
    for (int i = 0; i < sent; ++i) {
        ASSERT_EQ(::kill(child.pid(), SIGRTMIN), 0);
        if (i % 50 == 0) {
            take(0);
        }
    }
    take(2000);
    stop = true;
    dumping.join();
    EXPECT_EQ(handled, sent);
    expect_untouched(child.pid(), 'S');
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_F(Dump, ThatIsKilledAnywhereLeavesTheProcessRunning) {
    const Child child{[] {
        for (int i = 0; i < 30; ++i) {
            install(1000); // which takes a while to copy
        }
    }};
    int stopped = 0;
    for (int i = 0; i < 150; ++i) {
        live::Background tool{{live::program_path("cloister"), "policy", "dump", "--json", "--pid",
                               std::to_string(child.pid())}};
        const auto wait = std::chrono::microseconds{3000 + i * 40};
        std::this_thread::sleep_for(wait);
        auto status = live::status_of(child.pid());
        stopped += status["TracerPid"] != "0" ? 1 : 0;
        ::kill(tool.pid(), SIGKILL);
        tool.end(SIGKILL);
        ASSERT_TRUE(within(2s, [&] {
            return live::status_of(child.pid())["TracerPid"] == "0" && live::state_of(child.pid()) == 'S';
        })) << i;
    }
    ::testing::Test::RecordProperty("killed_while_it_traced", stopped);
    EXPECT_EQ(dump(child.pid(), {"--json"}).exit_code, 0);
}

TEST_F(Dump, OfATracedProcessNamesTheTracer) {
    const Child child{[] { install(2); }};
    ASSERT_EQ(::ptrace(PTRACE_SEIZE, child.pid(), nullptr, nullptr), 0);
    const auto outcome = dump(child.pid());
    EXPECT_EQ(outcome.exit_code, 69);
    EXPECT_THAT(outcome.err, HasSubstr(fmt::format("traced by process {}", ::getpid())));
    EXPECT_THAT(outcome.err, HasSubstr("end that one"));
}

TEST_F(Dump, OfWhatHasNoFiltersToShowSaysWhy) {
    const auto zombie = ::fork();
    if (zombie == 0) {
        ::_exit(0);
    }
    ASSERT_TRUE(within(2s, [&] { return live::state_of(zombie) == 'Z'; }));
    const auto expect = [](pid_t pid, int code, const char* why) {
        const auto outcome = dump(pid);
        EXPECT_EQ(outcome.exit_code, code) << outcome.err;
        EXPECT_THAT(outcome.err, HasSubstr(why));
    };
    expect(zombie, 69, "a zombie has no filters");
    ::waitpid(zombie, nullptr, 0);
    expect(zombie, 69, "it has ended");
    expect(0, 64, "1 or more");
    expect(-5, 64, "1 or more");
    if (live::status_of(2)["Name"] == "kthreadd") {
        expect(2, 69, "is a thread of the kernel");
    }
    const auto self = live::run_program(
        {"/bin/sh", "-c", "exec \"$0\" policy dump --pid $$", live::program_path("cloister")});
    EXPECT_EQ(self.exit_code, 69);
    EXPECT_THAT(self.err, HasSubstr("is this very command"));
    const auto told = filters_of(::getpid());
    ASSERT_FALSE(told);
    EXPECT_THAT(told.error().why, HasSubstr("no process can trace itself"));
}

TEST_F(Dump, UnderAFilterOfItsOwnSaysThatThisIsTheCause) {
    const Child target{[] { install(2); }};
    const auto answer = [&] {
        int ends[2];
        if (::pipe(ends) != 0) {
            return std::string{};
        }
        const auto pid = ::fork();
        if (pid == 0) {
            install(2);
            const auto told = filters_of(target.pid());
            const auto why = told ? std::string{"shown"} : told.error().why;
            (void)!::write(ends[1], why.data(), why.size());
            ::_exit(0);
        }
        ::close(ends[1]);
        std::string text(4096, '\0');
        const auto size = ::read(ends[0], text.data(), text.size());
        ::close(ends[0]);
        ::waitpid(pid, nullptr, 0);
        text.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
        return text;
    }();
    EXPECT_THAT(answer, HasSubstr("to no process that has one itself"));
    expect_untouched(target.pid(), 'S');
}

} // namespace
} // namespace cloister::audit
