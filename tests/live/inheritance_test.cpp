// SPDX-License-Identifier: MIT
// What whoever starts cloisterd leaves open besides is closed, and reaches nobody.
#include "client.h"
#include "harness.h"

#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <set>
#include <sys/socket.h>
#include <unistd.h>

namespace cloister::live {
namespace {

struct Pipe {
    Fd reading, writing;
    Pipe() {
        int ends[2] = {-1, -1};
        EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
        reading = Fd{ends[0]};
        writing = Fd{ends[1]};
    }
    /// Nobody can write any more.
    [[nodiscard]] bool is_at_its_end() const {
        pollfd polled{reading.get(), POLLIN, 0};
        return ::poll(&polled, 1, 2000) == 1 && (polled.revents & POLLHUP) != 0;
    }
};

struct ListeningSocket {
    Fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    std::string address;
    ListeningSocket() {
        sockaddr_in any{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
        socklen_t length = sizeof any;
        EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&any), length), 0);
        EXPECT_EQ(::listen(fd.get(), 5), 0);
        EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&any), &length), 0);
        address = fmt::format("127.0.0.1:{}", ntohs(any.sin_port));
    }
};

/// `socket:[4711]` and the like: the same for each descriptor of one open file.
std::string identity_of(int fd, pid_t pid = ::getpid()) {
    std::error_code error;
    return std::filesystem::read_symlink(fmt::format("/proc/{}/fd/{}", pid, fd), error);
}

std::multiset<std::string> identities_of(pid_t pid) {
    std::multiset<std::string> all;
    for (const int fd : descriptors_of(pid)) {
        all.insert(identity_of(fd, pid));
    }
    return all;
}

TEST(Inherited, PipeIsAtItsEndForItsReader) {
    Pipe pipe;
    const Daemon daemon{{.inherited = {pipe.writing.release()}}};
    EXPECT_TRUE(pipe.is_at_its_end());
    EXPECT_TRUE(Client{daemon.address()}.echoes("hello"));
}

TEST(Inherited, ListeningSocketRefusesItsClients) {
    ListeningSocket foreign;
    ASSERT_FALSE(refuses(foreign.address));
    const Daemon daemon{{.inherited = {foreign.fd.release()}}};
    EXPECT_TRUE(refuses(foreign.address));
    EXPECT_TRUE(Client{daemon.address()}.echoes("hello"));
}

TEST(Inherited, DescriptorsBehindThePassedOnesAreClosedAndThoseServe) {
    Pipe pipe;
    ListeningSocket passed;
    ListeningSocket foreign;
    const std::string address = passed.address;
    const Daemon daemon{
        {.passed = {passed.fd.get()}, .inherited = {foreign.fd.release(), pipe.writing.release()}}};
    passed.fd.reset();
    EXPECT_TRUE(pipe.is_at_its_end());
    EXPECT_TRUE(refuses(foreign.address));
    EXPECT_TRUE(Client{address}.echoes("hello"));
}

TEST(Inherited, SocketsThatArePassedToAnotherProcessAreClosedAndThatIsSaid) {
    ListeningSocket passed;
    const Daemon daemon{
        {.options = {"--listen=127.0.0.1:0"}, .passed = {passed.fd.get()}, .passed_to_another = true}};
    passed.fd.reset();
    EXPECT_TRUE(refuses(passed.address));
    EXPECT_TRUE(Client{daemon.address()}.echoes("hello"));
    const Json warning = daemon.await_record("warning", [](const Json& record) {
        return record.at("message").get<std::string>().starts_with(
            "LISTEN_FDS='1' is for process 1, not for");
    });
    EXPECT_EQ(warning.at("level"), "warning");
}

TEST(Inherited, NothingReachesTheListenerButItsSocketsTheLogAndTheSupervisor) {
    if (!am_root()) {
        GTEST_SKIP() << "only root may see the descriptors of a process that can't be dumped";
    }
    Pipe pipe;
    ListeningSocket passed;
    ListeningSocket foreign;
    const std::string served = identity_of(passed.fd.get());
    const std::set<std::string> left{identity_of(pipe.writing.get()), identity_of(foreign.fd.get())};
    const Daemon daemon{
        {.passed = {passed.fd.get()}, .inherited = {foreign.fd.release(), pipe.writing.release()}}};
    const pid_t listener = daemon.listener();
    ASSERT_NE(listener, 0);
    ASSERT_TRUE(within(5s, [&] {
        return descriptors_of(listener) == std::vector{1, 2, 3, 5};
    })) << "signals, log, supervisor, the socket";
    EXPECT_EQ(identity_of(5, listener), served);
    EXPECT_EQ(identity_of(1, listener), "anon_inode:[signalfd]");
    EXPECT_TRUE(identities_of(daemon.pid()).contains(identity_of(2, listener))) << "the log";
    for (const auto& [name, pid] : {std::pair{"supervisor", daemon.pid()}, std::pair{"listener", listener}}) {
        for (const std::string& identity : identities_of(pid)) {
            EXPECT_FALSE(left.contains(identity)) << name << " holds " << identity;
        }
    }
}

} // namespace
} // namespace cloister::live
