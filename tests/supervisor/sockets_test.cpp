// SPDX-License-Identifier: MIT
#include "supervisor/sockets.h"

#include "child.h"

#include <arpa/inet.h>
#include <array>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gmock/gmock.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <thread>

namespace cloister::supervisor {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class Sockets : public ::testing::Test {
  protected:
    Sockets() {
        std::string pattern = (std::filesystem::temp_directory_path() / "cloister-sockets-XXXXXX").string();
        directory = ::mkdtemp(pattern.data());
    }
    ~Sockets() override { std::filesystem::remove_all(directory); }
    Sockets(const Sockets&) = delete;
    Sockets& operator=(const Sockets&) = delete;

    static config::Service listen_on(const std::vector<std::string>& addresses) {
        config::Service options;
        options.listen_given = true;
        for (const auto& text : addresses) {
            options.listen.push_back(config::parse_address(text).value());
        }
        std::vector<config::Service> all{options};
        config::take_ipv4_where_free(all);
        return all.front();
    }
    static std::vector<ListeningSocket> open(const std::vector<std::string>& addresses) {
        auto listeners = open_sockets(listen_on(addresses), {}, {});
        EXPECT_TRUE(listeners) << listeners.error().message;
        return listeners ? std::move(*listeners) : std::vector<ListeningSocket>{};
    }
    static Failure failure_of(const std::vector<std::string>& addresses) {
        auto listeners = open_sockets(listen_on(addresses), {}, {});
        return listeners ? Failure{ExitCode::Ok, "it was opened"} : listeners.error();
    }
    static Fd client_of(const config::Address& address) {
        Fd client{::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        const auto* generic = reinterpret_cast<const sockaddr*>(&address.storage);
        return ::connect(client.get(), generic, address.length) == 0 ? std::move(client) : Fd{};
    }
    static Fd client_of(const std::string& address) {
        return client_of(config::parse_address(address).value());
    }
    [[nodiscard]] std::string path(const std::string& name = "socket") const { return directory / name; }
    [[nodiscard]] std::string unix_address(const std::string& rest = "") const {
        return "unix:" + path() + rest;
    }

    std::filesystem::path directory;
};

int int_option(int fd, int level, int option) {
    int value = -1;
    socklen_t length = sizeof value;
    return ::getsockopt(fd, level, option, &value, &length) == 0 ? value : -1;
}

std::chrono::microseconds timeout_option(int fd, int option) {
    timeval value{};
    socklen_t length = sizeof value;
    ::getsockopt(fd, SOL_SOCKET, option, &value, &length);
    return std::chrono::seconds{value.tv_sec} + std::chrono::microseconds{value.tv_usec};
}

std::string port_in(const ListeningSocket& socket) {
    return fmt::format("{}", config::port_of(socket.address));
}

TEST_F(Sockets, TellTheRealPort) {
    const auto listeners = open({"127.0.0.1:0", "[::1]:0"});
    ASSERT_EQ(listeners.size(), 2U);
    EXPECT_THAT(listeners[0].name, MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]+"));
    EXPECT_THAT(listeners[1].name, MatchesRegex("\\[::1\\]:[1-9][0-9]+"));
    for (const auto& listener : listeners) {
        EXPECT_TRUE(client_of(listener.name).valid()) << listener.name;
        EXPECT_FALSE(listener.is_unix);
        EXPECT_FALSE(listener.activated);
    }
}

TEST_F(Sockets, AreNonBlockingAndClosedOnExec) {
    for (const auto& listener : open({"127.0.0.1:0", unix_address()})) {
        EXPECT_TRUE(::fcntl(listener.fd.get(), F_GETFL) & O_NONBLOCK);
        EXPECT_TRUE(::fcntl(listener.fd.get(), F_GETFD) & FD_CLOEXEC);
        EXPECT_EQ(int_option(listener.fd.get(), SOL_SOCKET, SO_ACCEPTCONN), 1);
    }
}

TEST_F(Sockets, GiveAcceptedConnectionsEveryOption) {
    for (const std::string address : {"127.0.0.1:0", "[::1]:0"}) {
        auto options = listen_on({address});
        options.idle_timeout = 1501ms; // no multiple of a tick
        const auto listeners = open_sockets(options, {}, {}).value();
        const Fd client = client_of(listeners[0].name);
        const Fd connection{::accept4(listeners[0].fd.get(), nullptr, nullptr, 0)};
        ASSERT_TRUE(connection.valid());
        const int fd = connection.get();
        EXPECT_GE(timeout_option(fd, SO_RCVTIMEO), 1501ms);
        EXPECT_LE(timeout_option(fd, SO_RCVTIMEO), 1511ms);
        EXPECT_GE(timeout_option(fd, SO_SNDTIMEO), 1501ms);
        EXPECT_LE(timeout_option(fd, SO_SNDTIMEO), 1511ms);
        EXPECT_EQ(int_option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
        EXPECT_EQ(int_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 1501);
        EXPECT_EQ(int_option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
        EXPECT_EQ(int_option(fd, SOL_SOCKET, SO_OOBINLINE), 1);
    }
}

/// Send and receive buffer as the kernel counts them.
std::pair<int, int> buffers_of(int fd) {
    return {int_option(fd, SOL_SOCKET, SO_SNDBUF), int_option(fd, SOL_SOCKET, SO_RCVBUF)};
}

/// What a buffer of `size` becomes: no larger than the administrator allows, and counted twice (socket(7)).
std::pair<int, int> doubled_and_capped(int size) {
    int send_most = size; // where it can't be known, it does not bind in these tests
    int receive_most = size;
    std::ifstream{"/proc/sys/net/core/wmem_max"} >> send_most;
    std::ifstream{"/proc/sys/net/core/rmem_max"} >> receive_most;
    return {2 * std::min(size, send_most), 2 * std::min(size, receive_most)};
}

TEST_F(Sockets, HaveTheBuffersThatWereAskedForAsFarAsTheKernelAllows) {
    for (const std::string& address : {std::string{"127.0.0.1:0"}, std::string{"[::1]:0"}, unix_address()}) {
        for (const unsigned size : {4U << 10, 64U << 10, 256U << 10, 64U << 20}) {
            auto options = listen_on({address});
            options.socket_buffer = size;
            const auto listeners = open_sockets(options, {}, {}).value();
            const auto expected = doubled_and_capped(static_cast<int>(size));
            EXPECT_EQ(buffers_of(listeners[0].fd.get()), expected) << address << size;
            EXPECT_EQ((std::pair{listeners[0].send_buffer, listeners[0].receive_buffer}), expected);
            if (!listeners[0].is_unix) { // whose connections inherit nothing
                const Fd client = client_of(listeners[0].name);
                const Fd connection{::accept4(listeners[0].fd.get(), nullptr, nullptr, 0)};
                EXPECT_EQ(buffers_of(connection.get()), expected) << address << size;
            }
        }
    }
}

TEST_F(Sockets, KeepTheKernelsOwnBuffersWhenAskedTo) {
    for (const std::string& address : {std::string{"127.0.0.1:0"}, unix_address()}) {
        auto options = listen_on({address});
        options.socket_buffer.reset();
        const auto listeners = open_sockets(options, {}, {}).value();
        const Fd untouched{::socket(listeners[0].address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        EXPECT_EQ(buffers_of(listeners[0].fd.get()), buffers_of(untouched.get()));
        EXPECT_EQ((std::pair{listeners[0].send_buffer, listeners[0].receive_buffer}),
                  buffers_of(untouched.get()));
    }
}

TEST_F(Sockets, TakeTheShortestAndTheLongestIdleTimeout) {
    for (const std::chrono::milliseconds timeout : {1ms, 999ms, 86'400'000ms}) {
        auto options = listen_on({"127.0.0.1:0"});
        options.idle_timeout = timeout;
        const auto listeners = open_sockets(options, {}, {});
        EXPECT_TRUE(listeners) << listeners.error().message;
    }
}

TEST_F(Sockets, RefuseABroadcastAddressAndSayThatItIsOne) {
    for (const std::string address : {"255.255.255.255:0", "127.255.255.255:0"}) {
        const auto failure = failure_of({address});
        EXPECT_EQ(failure.code, ExitCode::Unavailable);
        EXPECT_EQ(
            failure.message,
            "--listen " + address +
                ": that is a broadcast address, and no TCP connection goes to one; give the address of an "
                "interface, or 0.0.0.0 for all of them");
    }
    EXPECT_EQ(failure_of({"127.255.255.254:0"}).message, "it was opened");
    EXPECT_EQ(failure_of({"0.0.0.0:0"}).message, "it was opened");
}

TEST_F(Sockets, OfALinkLocalAddressAreRefusedWhereItsInterfaceDoesNotHaveIt) {
    const auto failure = failure_of({"[fe80::dead:beef%lo]:0"});
    EXPECT_EQ(failure.code, ExitCode::Unavailable);
    EXPECT_EQ(failure.message,
              "--listen [fe80::dead:beef%lo]:0: the interface does not have this address; see ip -6 address");
}

/// "fe80::1" and its interface, of this host; empty: there is none.
std::pair<std::string, std::string> a_link_local_address() {
    ifaddrs* all = nullptr;
    std::pair<std::string, std::string> found;
    if (::getifaddrs(&all) == 0) {
        for (const auto* at = all; at != nullptr; at = at->ifa_next) {
            const auto* in6 = reinterpret_cast<const sockaddr_in6*>(at->ifa_addr);
            std::array<char, INET6_ADDRSTRLEN> text{};
            if (in6 != nullptr && in6->sin6_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr) &&
                ::inet_ntop(AF_INET6, &in6->sin6_addr, text.data(), text.size()) != nullptr) {
                found = {text.data(), at->ifa_name};
            }
        }
        ::freeifaddrs(all);
    }
    return found;
}

TEST_F(Sockets, TakeALinkLocalAddressWithTheNameOrTheNumberOfItsInterface) {
    const auto [address, interface] = a_link_local_address();
    if (address.empty()) {
        GTEST_SKIP() << "no interface here has a link-local address";
    }
    for (const auto& scope : {interface, fmt::format("{}", ::if_nametoindex(interface.c_str()))}) {
        const auto listeners = open({fmt::format("[{}%{}]:0", address, scope)});
        ASSERT_EQ(listeners.size(), 1U);
        EXPECT_EQ(listeners[0].name, fmt::format("[{}%{}]:{}", address, interface, port_in(listeners[0])));
        EXPECT_TRUE(client_of(listeners[0].name).valid());
    }
}

TEST_F(Sockets, OfAnyIpv6AddressTakeIpv4Too) {
    const auto listeners = open({"[::]:0"});
    EXPECT_TRUE(client_of("127.0.0.1:" + port_in(listeners[0])).valid());
    EXPECT_TRUE(client_of("[::1]:" + port_in(listeners[0])).valid());
}

TEST_F(Sockets, OfAnyIpv6AddressLeaveIpv4ToTheOneBesideThem) {
    for (const bool ipv6_first : {true, false}) {
        std::vector<ListeningSocket> listeners;
        for (int attempt = 0; attempt < 20 && listeners.empty();
             ++attempt) { // another process may take the port
            const auto port = port_in(open({"[::]:0"})[0]);
            auto addresses = std::vector<std::string>{"[::]:" + port, "0.0.0.0:" + port};
            std::swap(addresses[0], addresses[ipv6_first ? 0 : 1]);
            listeners = open_sockets(listen_on(addresses), {}, {}).value_or(std::vector<ListeningSocket>{});
        }
        ASSERT_EQ(listeners.size(), 2U);
        const Fd client = client_of("127.0.0.1:" + port_in(listeners[0]));
        for (const auto& listener : listeners) {
            const Fd connection{::accept4(listener.fd.get(), nullptr, nullptr, 0)};
            EXPECT_EQ(connection.valid(), config::is_any_ipv4(listener.address)) << listener.name;
        }
    }
}

TEST_F(Sockets, OfAnyIpv6AddressStayDualWhenPortsAreChosenFreely) {
    const auto listeners = open({"0.0.0.0:0", "[::]:0"});
    ASSERT_EQ(listeners.size(), 2U);
    EXPECT_EQ(int_option(listeners[1].fd.get(), IPPROTO_IPV6, IPV6_V6ONLY), 0);
}

TEST_F(Sockets, AreRefusedWithACureWhenThePortIsBusy) {
    const auto first = open({"127.0.0.1:0"});
    const auto failure = failure_of({first[0].name});
    EXPECT_EQ(failure.code, ExitCode::Unavailable);
    EXPECT_EQ(failure.message,
              fmt::format("--listen {}: the port is in use, or two addresses given overlap; see who "
                          "has it with ss -ltnp 'sport = :{}', or give another",
                          first[0].name, port_in(first[0])));
}

TEST_F(Sockets, AreBoundAgainAtOnceAfterAConnection) {
    // An address of this process' own: nobody else takes its port in between.
    const auto first =
        open({fmt::format("127.77.{}.{}:0", (::getpid() >> 8) & 255, ::getpid() & 255)})[0].name;
    {
        const auto listeners = open({first});
        const Fd client = client_of(first);
        // Our end is closed first and stays in TIME_WAIT.
        EXPECT_TRUE(Fd{::accept4(listeners[0].fd.get(), nullptr, nullptr, 0)}.valid());
    }
    EXPECT_EQ(open({first}).size(), 1U);
}

TEST_F(Sockets, AreRefusedWhereNoInterfaceHasTheAddress) {
    const auto v4 = failure_of({"192.0.2.1:0"}); // TEST-NET-1
    EXPECT_EQ(v4.code, ExitCode::Unavailable);
    EXPECT_EQ(v4.message,
              "--listen 192.0.2.1:0: no interface has this address; see ip address, or listen on 0.0.0.0");
    const auto v6 = failure_of({"[2001:db8::1]:0"});
    EXPECT_EQ(v6.code, ExitCode::Unavailable);
    EXPECT_EQ(v6.message, "--listen [2001:db8::1]:0: no interface has this address, or IPv6 is off (sysctl "
                          "net.ipv6.conf.all.disable_ipv6); see ip -6 address");
}

TEST_F(Sockets, OnLowPortsAreRefusedWithoutPermission) {
    int lowest = 0;
    std::ifstream{"/proc/sys/net/ipv4/ip_unprivileged_port_start"} >> lowest;
    if (lowest < 2) {
        GTEST_SKIP() << "every port is open to everybody here";
    }
    const auto report = test::in_child([] {
        test::become_ordinary();
        const auto failure = failure_of({"127.0.0.1:1"});
        return fmt::format("{} {}", static_cast<int>(failure.code), failure.message);
    });
    EXPECT_EQ(
        report,
        fmt::format("77 --listen 127.0.0.1:1: ports below {} (sysctl "
                    "net.ipv4.ip_unprivileged_port_start) need CAP_NET_BIND_SERVICE; give a higher one, "
                    "start as root with --user, or have the service manager pass the socket",
                    lowest));
}

TEST_F(Sockets, OfUnixPathsHaveTheExactModeWhateverTheUmask) {
    const mode_t saved = ::umask(0777);
    const auto listeners = open({unix_address(",mode=0606"), "unix:" + path("other")});
    const mode_t during = ::umask(saved);
    struct stat status {};
    ASSERT_EQ(::lstat(path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0606U);
    ASSERT_EQ(::lstat(path("other").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0660U);
    EXPECT_EQ(during, 0777U) << "the umask was not put back";
    EXPECT_EQ(listeners[0].name, unix_address());
    EXPECT_TRUE(listeners[0].is_unix);
    EXPECT_TRUE(client_of(unix_address()).valid());
}

TEST_F(Sockets, OfUnixPathsBelongToTheUser) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "only root can give a file away";
    }
    auto options = listen_on({unix_address()});
    const auto listeners = open_sockets(options, config::User{61008, 61009, "61008"}, {}).value();
    struct stat status {};
    ASSERT_EQ(::lstat(path().c_str(), &status), 0);
    EXPECT_EQ(status.st_uid, 61008U);
    EXPECT_EQ(status.st_gid, 61009U);
}

TEST_F(Sockets, ReplaceAStaleUnixSocket) {
    { const auto dead = open({unix_address()}); } // closed, and its file left behind
    ASSERT_TRUE(std::filesystem::exists(path()));
    for (int i = 0; i < 5000 && client_of(unix_address()).valid(); ++i) { // a child closes it: listening_fd.h
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    const auto listeners = open({unix_address()});
    EXPECT_TRUE(client_of(unix_address()).valid());
}

TEST_F(Sockets, LeaveALiveUnixSocketAlone) {
    const auto live = open({unix_address()});
    const auto failure = failure_of({unix_address()});
    EXPECT_EQ(failure.code, ExitCode::Unavailable);
    EXPECT_EQ(failure.message,
              fmt::format("--listen {}: the socket there is in use; stop its owner, or give another path",
                          unix_address()));
    EXPECT_TRUE(client_of(unix_address()).valid());
}

TEST_F(Sockets, LeaveALiveUnixSocketOfAnotherTypeAlone) {
    const Fd datagrams{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    const auto address = config::parse_address(unix_address()).value();
    ASSERT_EQ(::bind(datagrams.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length),
              0);
    const auto failure = failure_of({unix_address()});
    EXPECT_EQ(failure.code, ExitCode::Unavailable);
    EXPECT_EQ(failure.message,
              fmt::format("--listen {}: the socket there is in use; stop its owner, or give another path",
                          unix_address()));
}

TEST_F(Sockets, LeaveOtherFilesAlone) {
    std::ofstream{path()} << "precious";
    std::filesystem::create_symlink("nowhere", path("link"));
    for (const auto& name : {path(), path("link"), directory.string()}) {
        const auto failure = failure_of({"unix:" + name});
        EXPECT_EQ(failure.code, ExitCode::Unavailable);
        EXPECT_EQ(failure.message,
                  fmt::format("--listen unix:{}: the file there is not a socket; remove it, or give "
                              "another path",
                              name));
    }
    EXPECT_EQ(std::filesystem::file_size(path()), 8U);
}

TEST_F(Sockets, OfUnixPathsNeedTheDirectoryAndPermission) {
    const auto missing = failure_of({"unix:" + path("no/socket")});
    EXPECT_EQ(missing.code, ExitCode::NoInput);
    EXPECT_EQ(missing.message,
              fmt::format("--listen unix:{}: the directory is not there; create it", path("no/socket")));
    std::filesystem::permissions(directory, std::filesystem::perms{0555});
    const auto report = test::in_child([&] {
        test::become_ordinary();
        const auto failure = failure_of({unix_address()});
        return fmt::format("{} {}", static_cast<int>(failure.code), failure.message);
    });
    std::filesystem::permissions(directory, std::filesystem::perms{0755});
    EXPECT_EQ(
        report,
        fmt::format("77 --listen {}: no permission to create a file there; give a directory that is ours",
                    unix_address()));
}

TEST_F(Sockets, RemoveTheirOwnUnixPathAndNoOther) {
    const auto listeners = open({unix_address(), "unix:" + path("replaced")});
    std::filesystem::rename(path("replaced"), path("aside"));
    const auto other = open({"unix:" + path("replaced")});
    remove_unix_paths(listeners);
    EXPECT_FALSE(std::filesystem::exists(path()));
    EXPECT_TRUE(std::filesystem::exists(path("replaced")));
}

TEST_F(Sockets, LeaveNoUnixPathBehindWhenALaterOneFails) {
    const auto failure = failure_of({unix_address(), "192.0.2.1:0"});
    EXPECT_EQ(failure.message,
              "--listen 192.0.2.1:0: no interface has this address; see ip address, or listen on 0.0.0.0");
    EXPECT_FALSE(std::filesystem::exists(path()));
    const auto control = open({unix_address(), "127.0.0.1:0"});
    EXPECT_TRUE(std::filesystem::exists(path()));
}

TEST_F(Sockets, AreNeverDescriptors0To2) {
    const auto report = test::in_child([] {
        ::close(0);
        ::close(1);
        ::close(2);
        open_standard_fds();
        const auto listeners = open({"127.0.0.1:0"});
        struct stat null {};
        struct stat standard {};
        ::stat("/dev/null", &null);
        bool all_null = true;
        for (int fd = 0; fd <= 2; ++fd) {
            all_null &= ::fstat(fd, &standard) == 0 && standard.st_rdev == null.st_rdev;
        }
        return fmt::format("{} {}", all_null, listeners[0].fd.get() > 2);
    });
    EXPECT_EQ(report, "true true");
}

TEST_F(Sockets, LeaveOpenStandardDescriptorsAsTheyAre) {
    const auto report = test::in_child([this] {
        const Fd file{::open(path("out").c_str(), O_WRONLY | O_CREAT, 0600)};
        ::dup2(file.get(), 1);
        ::close(0);
        open_standard_fds();
        struct stat status {};
        return fmt::format("{} {}", ::fstat(1, &status) == 0 && S_ISREG(status.st_mode), ::fcntl(0, F_GETFD));
    });
    EXPECT_EQ(report, "true 0");
}

} // namespace
} // namespace cloister::supervisor
