// SPDX-License-Identifier: MIT
// cloister-load must notice a server that is wrong; else 'no errors' would mean nothing.
#include "base/fd.h"
#include "processes.h"

#include <arpa/inet.h>
#include <atomic>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <string>
#include <sys/socket.h>
#include <thread>

namespace cloister::live {
namespace {

enum class Fault { None, ChangedByte, LostByte, DoubledByte, Reset, Silence };

/// An echo server for one client at a time that spoils what it returns after the first 300 bytes.
class WrongServer {
  public:
    explicit WrongServer(Fault fault)
        : fault_{fault}, listener_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
        sockaddr_in name{};
        name.sin_family = AF_INET;
        name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof name;
        ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&name), length);
        ::listen(listener_.get(), 16);
        ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&name), &length);
        address_ = fmt::format("127.0.0.1:{}", ntohs(name.sin_port));
        thread_ = std::thread{[this] { serve(); }};
    }
    ~WrongServer() {
        ::shutdown(listener_.get(), SHUT_RDWR); // accept returns
        thread_.join();
    }
    WrongServer(const WrongServer&) = delete;
    WrongServer& operator=(const WrongServer&) = delete;
    [[nodiscard]] const std::string& address() const { return address_; }

  private:
    void serve() {
        for (;;) {
            const Fd connection{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
            if (!connection.valid()) {
                return;
            }
            echo(connection);
        }
    }

    void echo(const Fd& connection) const {
        char buffer[500];
        std::size_t total = 0;
        bool silent = false;
        for (;;) {
            const ssize_t n = ::recv(connection.get(), buffer, sizeof buffer, 0);
            if (n <= 0) {
                return;
            }
            std::string back{buffer, static_cast<std::size_t>(n)};
            const bool spoil = total < 300 && total + back.size() >= 300;
            total += back.size();
            if (spoil && fault_ == Fault::ChangedByte) {
                back.front() = static_cast<char>(back.front() ^ 1);
            } else if (spoil && fault_ == Fault::LostByte) {
                back.erase(back.size() / 2, 1);
            } else if (spoil && fault_ == Fault::DoubledByte) {
                back.insert(back.size() / 2, 1, back[back.size() / 2]);
            } else if (spoil && fault_ == Fault::Reset) {
                const linger none{1, 0};
                ::setsockopt(connection.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
                return;
            }
            silent = silent || (spoil && fault_ == Fault::Silence);
            if (!silent && ::send(connection.get(), back.data(), back.size(), MSG_NOSIGNAL) < 0) {
                return;
            }
        }
    }

    Fault fault_;
    Fd listener_;
    std::string address_;
    std::thread thread_;
};

nlohmann::json errors_of(const Outcome& outcome) {
    const auto report = nlohmann::json::parse(outcome.out, nullptr, false);
    return report.is_object() ? report.at("errors") : nlohmann::json{{"unreadable", outcome.out}};
}

Outcome load(const WrongServer& server, std::vector<std::string> options) {
    options.insert(options.begin() + 1, server.address());
    options.insert(options.begin(), program_path("cloister-load"));
    options.push_back("--timeout=500ms");
    return run_program(options);
}

const std::vector<std::string> rate{"rate", "--connections=1", "--total=3", "--bytes=4K"};
const std::vector<std::string> one_message{"rate", "--connections=1", "--total=3", "--bytes=400",
                                           "--close=early"};
const std::vector<std::string> early{"rate", "--connections=1", "--total=3", "--bytes=4K", "--close=early"};
const std::vector<std::string> stream{"stream", "--bytes=4K"};
const std::vector<std::string> pingpong{"pingpong", "--bytes=200", "--total=20"};

TEST(LoadGenerator, ReportsNothingOfAServerThatIsRight) {
    const WrongServer server{Fault::None};
    for (const auto& mode : {rate, one_message, early, stream, pingpong}) {
        const Outcome outcome = load(server, mode);
        EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
        EXPECT_EQ(errors_of(outcome).at("total"), 0) << outcome.out;
    }
}

class Notices : public ::testing::TestWithParam<std::pair<Fault, const char*>> {};

TEST_P(Notices, InEveryMode) {
    const WrongServer server{GetParam().first};
    for (const auto& mode : {rate, one_message, early, stream, pingpong}) {
        const Outcome outcome = load(server, mode);
        EXPECT_EQ(outcome.exit_code, 1) << mode.front() << outcome.out << outcome.err;
        const auto errors = errors_of(outcome);
        EXPECT_GT(errors.value("total", 0), 0) << outcome.out;
        const std::string fitting = GetParam().second;
        for (const auto& [kind, count] : errors.items()) {
            EXPECT_TRUE(kind == "total" || count == 0 || fitting.find(kind) != std::string::npos)
                << outcome.out;
        }
    }
}

struct FaultName {
    std::string operator()(const auto& instance) const {
        constexpr const char* names[] = {"None",        "ChangedByte", "LostByte",
                                         "DoubledByte", "Reset",       "Silence"};
        return names[static_cast<std::size_t>(instance.param.first)];
    }
};

INSTANTIATE_TEST_SUITE_P(Fault, Notices,
                         // A byte too few is noticed as another byte, at the end, or by waiting for it.
                         ::testing::Values(std::pair{Fault::ChangedByte, "mismatch"},
                                           std::pair{Fault::LostByte, "mismatch short timeout"},
                                           std::pair{Fault::DoubledByte, "mismatch extra"},
                                           std::pair{Fault::Reset, "reset"},
                                           std::pair{Fault::Silence, "timeout short"}),
                         FaultName{});

} // namespace
} // namespace cloister::live
