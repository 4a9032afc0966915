// SPDX-License-Identifier: MIT
// What the kernel holds for a client that sends and does not read.
#include "client.h"
#include "harness.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace cloister::live {
namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t cells_buffer = 64 * kib;
constexpr std::size_t clients_buffers = 64 * kib; // its own, made as small as they get
constexpr std::size_t offered_before = 128 * kib; // by tcp_rmem, to who came before the daemon; it stays so

/// The kernel counts each of the two buffers twice, and fills what it counts (socket(7)).
constexpr std::size_t most_for(std::size_t buffer) {
    return 2 * 2 * buffer + cells_buffer + clients_buffers;
}

Client sender_to(const std::string& address) {
    Client client{address, 4096};
    constexpr int small = 4096;
    ::setsockopt(client.fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    return client;
}

/// Bytes that are taken of a client that does not read, until nothing has gone for half a second.
std::size_t taken_of(const Client& client) {
    const std::string bytes = random_bytes(64 * kib);
    std::size_t taken = 0;
    std::size_t now = 0;
    while (within(500ms, [&] { return (now = client.send_some(bytes)) != 0; })) {
        taken += now;
    }
    return taken;
}

/// A TCP socket as a service manager holds it.
struct PassedTcpSocket {
    Fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    std::string address;

    PassedTcpSocket() {
        sockaddr_in name{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
        socklen_t length = sizeof name;
        EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&name), length), 0);
        EXPECT_EQ(::listen(fd.get(), 16), 0);
        EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &length), 0);
        address = fmt::format("127.0.0.1:{}", ntohs(name.sin_port));
    }
};

struct Size {
    const char* name;
    const char* option;
    std::size_t bytes;
};

void PrintTo(const Size& size, std::ostream* out) {
    *out << size.name;
}

class SlowReader : public testing::TestWithParam<Size> {
  protected:
    static std::vector<std::string> options() {
        return {fmt::format("--socket-buffer={}", GetParam().option)};
    }
    static void expect_bounded(const Client& client, std::size_t offered = 0) {
        const std::size_t taken = taken_of(client);
        RecordProperty("taken", std::to_string(taken));
        EXPECT_LE(taken, most_for(GetParam().bytes) + offered);
        EXPECT_GE(taken, GetParam().bytes) << "the buffers are not smaller than they may be";
    }
};

INSTANTIATE_TEST_SUITE_P(Buffers, SlowReader,
                         testing::Values(Size{"Of4K", "4K", 4 * kib}, Size{"Of64K", "64K", 64 * kib},
                                         Size{"Of256K", "256K", 256 * kib}),
                         [](const auto& instance) { return instance.param.name; });

TEST_P(SlowReader, OfATcpSocketIsBounded) {
    const Daemon daemon{{.options = options()}};
    expect_bounded(sender_to(daemon.address()));
}

TEST_P(SlowReader, OfAUnixSocketIsBounded) {
    const TemporaryDirectory directory;
    const Daemon daemon{
        {.listen = {"unix:" + directory.file("socket") + ",mode=0666"}, .options = options()}};
    expect_bounded(sender_to(daemon.address()));
}

TEST_P(SlowReader, OfAPassedTcpSocketIsBoundedEvenIfItCameBeforeTheDaemon) {
    const PassedTcpSocket passed;
    const Client early = sender_to(passed.address);
    (void)early.send_some(random_bytes(4 * kib));
    const Daemon daemon{{.options = options(), .passed = {passed.fd.get()}}};
    expect_bounded(early, offered_before);
    expect_bounded(sender_to(passed.address));
}

TEST(SlowReaderByDefault, IsBoundedAndWithoutABoundMoreIsTaken) {
    const Daemon bounded;
    const Daemon automatic{{.options = {"--socket-buffer=auto"}}};
    const std::size_t by_default = taken_of(sender_to(bounded.address()));
    const std::size_t by_the_kernel = taken_of(sender_to(automatic.address()));
    RecordProperty("by_default", std::to_string(by_default));
    RecordProperty("by_the_kernel", std::to_string(by_the_kernel));
    EXPECT_LE(by_default, most_for(256 * kib));
    EXPECT_GT(by_the_kernel, most_for(256 * kib)) << "the control";
}

/// Of a `limit` record about the buffers; an empty one if there is none.
Json record_of_buffers(const Daemon& daemon, const char* limit) {
    for (const Json& record : daemon.records("limit")) {
        if (record.at("limit") == limit) {
            return record;
        }
    }
    return {};
}

TEST(SmallerBuffers, ThanAreAskedForAreSaidAtStart) {
    constexpr std::size_t by_default = 256 * kib;
    constexpr std::size_t asked = 64 * kib * kib;
    const Daemon usual;
    const Daemon large{{.options = {"--socket-buffer=64M"}}};
    const Daemon automatic{{.options = {"--socket-buffer=auto"}}};
    for (const std::string name : {"wmem_max", "rmem_max"}) {
        std::size_t most = 0;
        std::ifstream{"/proc/sys/net/core/" + name} >> most;
        const std::string limit = "net.core." + name;
        EXPECT_TRUE(record_of_buffers(automatic, limit.c_str()).is_null());
        for (const auto& [daemon, size, level] :
             {std::tuple{&usual, by_default, "info"}, {&large, asked, "warning"}}) {
            const Json record = record_of_buffers(*daemon, limit.c_str());
            ASSERT_EQ(record.is_null(), most == 0 || most >= size) << record << most;
            if (!record.is_null()) {
                EXPECT_EQ(record.at("level"), level);
                EXPECT_EQ(record.at("is"), most);
                EXPECT_EQ(record.at("socket_buffer"), size);
                EXPECT_EQ(record.at("message"), fmt::format("{} allows buffers of {} bytes, fewer than "
                                                            "--socket-buffer: raise it, or ask for less",
                                                            limit, most));
            }
        }
    }
}

} // namespace
} // namespace cloister::live
