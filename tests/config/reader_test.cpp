// SPDX-License-Identifier: MIT
// The process that parses the file: what it can do, and what becomes of a start whose reader misbehaves.
#include "config/reader.h"

#include "config/reader_policy.h"
#include "fixture.h"
#include "policy/compile.h"
#include "policy/prove.h"

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::config {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr const char* good_text = "log-format = \"logfmt\"\n";

void send(int out, const void* bytes, size_t size) {
    for (size_t at = 0; at < size;) {
        const ssize_t n = ::write(out, static_cast<const char*>(bytes) + at, size - at);
        if (n <= 0) {
            return;
        }
        at += static_cast<size_t>(n);
    }
}

/// What a start says whose child does this.
std::string said_of(const ReaderBody& body, std::chrono::milliseconds deadline = 10s) {
    const auto read = read_in_child(good_text, "FILE", body, deadline);
    if (read) {
        return *read ? "a model" : read->error().message;
    }
    return fmt::format("{} {}", static_cast<int>(read.error().code), read.error().message);
}

TEST(HostileReader, ControlAGoodOneIsBelieved) {
    EXPECT_EQ(said_of([](int out) {
                  const auto wire = encode(parse_file(good_text));
                  send(out, wire.get(), sizeof *wire);
              }),
              "a model");
    EXPECT_EQ(said_of(confined_reader(good_text, {})), "a model");
}

TEST(HostileReader, ThatSaysLessIsAnError) {
    for (const size_t size : {size_t{0}, size_t{1}, sizeof(Wire) - 1}) {
        EXPECT_EQ(
            said_of([&](int out) {
                const auto wire = encode(parse_file(good_text));
                send(out, wire.get(), size);
                ::_exit(3);
            }),
            fmt::format(
                "70 cannot read FILE: the process that parses it failed: it ended with exit code 3; it said "
                "{} of {} bytes. If it says nothing above, this is a bug",
                size, sizeof(Wire)));
    }
}

TEST(HostileReader, ThatSaysMoreIsAnErrorAndIsNotWaitedFor) {
    EXPECT_EQ(
        said_of([](int out) {
            const auto wire = encode(parse_file(good_text));
            send(out, wire.get(), sizeof *wire);
            for (;;) { // until we end it
                send(out, wire.get(), sizeof *wire);
            }
        }),
        fmt::format(
            "70 cannot read FILE: the process that parses it handed over what it can't have read ({} bytes, "
            "not {}): this is a bug, or something in the file took that process over; see who can change "
            "the file",
            sizeof(Wire) + 1, sizeof(Wire)));
}

TEST(HostileReader, ThatSaysNonsenseIsAnError) {
    EXPECT_THAT(said_of([](int out) {
                    const std::vector<char> nonsense(sizeof(Wire), 'x');
                    send(out, nonsense.data(), nonsense.size());
                }),
                HasSubstr("(no model of a configuration file)"));
    EXPECT_THAT(said_of([](int out) {
                    auto wire = encode(parse_file(good_text));
                    wire->values[0].number = 7;
                    send(out, wire.get(), sizeof *wire);
                }),
                HasSubstr("(a value that is out of range)"));
    EXPECT_THAT(said_of([](int out) {
                    auto wire = encode(parse_file("x"));
                    wire->error[0] = '\x1b';
                    send(out, wire.get(), sizeof *wire);
                }),
                HasSubstr("(an error outside of the file, or one that can't be printed)"));
}

TEST(HostileReader, ThatIsKilledIsAnError) {
    EXPECT_THAT(said_of([](int) {
                    ::signal(SIGTERM, SIG_DFL);
                    ::kill(::getpid(), SIGTERM);
                    for (;;) {
                        ::pause();
                    }
                }),
                HasSubstr("signal 15 (Terminated) ended it; it said 0 of"));
}

TEST(HostileReader, ThatHangsIsKilledAndNobodyIsLeft) {
    const auto hangs = [](int out) {
        send(out, "c", 1);
        for (;;) {
            ::pause();
        }
    };
    EXPECT_EQ(said_of(hangs, 50ms),
              "70 cannot read FILE: the process that parses it said nothing more for 50 ms; is the "
              "machine overloaded?");
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "there is no child";
    EXPECT_EQ(errno, ECHILD);
}

TEST(HostileReader, ThatHangsAfterItClosedThePipeIsKilledToo) {
    EXPECT_THAT(said_of([](int out) {
                    ::close(out);
                    for (;;) {
                        ::pause();
                    }
                }),
                HasSubstr("signal 9 (Killed) ended it; it said 0 of"));
}

TEST(HostileReader, IsWaitedForWhereSigchldIsIgnored) {
    ::signal(SIGCHLD, SIG_IGN);
    EXPECT_EQ(said_of(confined_reader(good_text, {})), "a model");
    ::signal(SIGCHLD, SIG_DFL);
}

using HostileReaderAtStart = test::ConfigurationTest;

TEST_F(HostileReaderAtStart, EndsTheStartWith70) {
    body = [](int) {};
    EXPECT_THAT(refused(good_text, ExitCode::SelfTest),
                HasSubstr("cloisterd: cannot read FILE: the process that parses it"));
}

// What the model says that why_not() can't judge is looked at by the same code as an option.
TEST_F(HostileReaderAtStart, GivesNoAddressAndNoUserThatAnOptionCouldNot) {
    body = [](int out) {
        FileModel model;
        model.services.push_back({1, 1, {{Key::name, {0, "a"}, 1, 1}, {Key::listen, {0, "nowhere"}, 1, 1}}});
        const auto wire = encode(model);
        send(out, wire.get(), sizeof *wire);
    };
    EXPECT_THAT(refused(good_text), HasSubstr("FILE:1:1: error: listen: there is no port"));
    body = [](int out) {
        const auto wire = encode(FileModel{{{Key::user, {0, "0"}, 1, 1}}, {}, {}});
        send(out, wire.get(), sizeof *wire);
    };
    environment["CLOISTER_USER"] = "";
    EXPECT_THAT(refused(good_text, ExitCode::NotPermitted), HasSubstr("that is root's user"));
}

TEST(ReaderPolicy, HoldsItsTestsAndCompilesToWhatItSays) {
    const auto parsed = policy::parse(reader_policy, "reader.policy");
    ASSERT_TRUE(parsed) << parsed.error().text();
    const auto checked = policy::check(*parsed, nullptr);
    EXPECT_TRUE(checked) << checked.error().text();
    for (const auto arch : parsed->archs) {
        const auto program = policy::compile(*parsed, arch, {});
        ASSERT_TRUE(program) << program.error().text();
        const auto proved = policy::prove(*parsed, arch, {}, *program);
        EXPECT_TRUE(proved) << proved.error().text();
    }
}

#ifndef CLOISTER_INSTRUMENTED // where it is not under the filter

/// How a child ends that confines itself as the reader does, and then does something else than reading. It
/// hands over nothing, so that its end is told.
std::string ends_after(const std::function<void()>& action) {
    const auto parent = ::getpid();
    return said_of([&](int out) {
        confine_reader(out, parent, {});
        action();
        ::_exit(0);
    });
}

TEST(ConfinedReader, CanHandOverWhatItReadAndNothingElse) {
    EXPECT_THAT(ends_after([] {}), HasSubstr("it ended with exit code 0;"));
    EXPECT_THAT(ends_after([] {
                    void* some = ::malloc(1U << 20U); // mapped, moved, unmapped
                    some = ::realloc(some, 8U << 20U);
                    std::memset(some, 1, 8U << 20U);
                    ::free(some);
                }),
                HasSubstr("it ended with exit code 0;"));
    const std::vector<std::pair<const char*, std::function<void()>>> actions{
        {"open", [] { (void)::open("/etc/passwd", O_RDONLY); }},
        {"socket", [] { (void)::socket(AF_UNIX, SOCK_STREAM, 0); }},
        {"fork", [] { (void)::fork(); }},
        {"kill", [] { (void)::kill(::getppid(), 0); }},
        {"stderr", [] { (void)::syscall(SYS_write, 2, "x", 1); }},
        {"exec", [] { ::execl("/bin/true", "true", nullptr); }},
        {"read",
         [] {
             char c;
             (void)::syscall(SYS_read, 0, &c, 1);
         }},
        {"abort", [] { std::abort(); }},
    };
    for (const auto& [name, action] : actions) {
        EXPECT_THAT(ends_after(action), HasSubstr("signal 31 (Bad system call) ended it;")) << name;
    }
}

TEST(ConfinedReader, HasNotMoreThanSoMuchMemory) {
    EXPECT_THAT(ends_after([] {
                    const void* all = ::malloc(512U << 20U);
                    ::_exit(all == nullptr ? 1 : 0);
                }),
                HasSubstr("no memory to parse it: ENOMEM"));
}

#endif

} // namespace
} // namespace cloister::config
