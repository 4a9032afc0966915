// SPDX-License-Identifier: MIT
// What an operator asks a running cloisterd: status, explain, reload; and who may ask.
#include "client.h"
#include "control/operator.h"
#include "harness.h"

#include <csignal>
#include <cstring>
#include <fmt/core.h>
#include <fstream>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::live {
namespace {

using namespace std::chrono_literals;

class Operator : public testing::Test {
  protected:
    TemporaryDirectory sockets_; ///< the daemon's
    TemporaryDirectory files_;   ///< root's
    std::string socket_ = sockets_.file("control");
    std::string file_ = files_.file("cloister.toml");

    Operator() {
        ::chmod(files_.path().c_str(), 0755);
        EXPECT_TRUE(!am_root() || ::chown(sockets_.path().c_str(), daemon_id, daemon_id) == 0);
    }
    void write(const std::string& more = "") const {
        std::ofstream{file_} << "control-socket = \"" + socket_ +
                                    "\"\n[[service]]\nname = \"echo\"\nlisten = [\"127.0.0.1:0\"]\n" + more;
        ::chmod(file_.c_str(), 0644);
    }
    [[nodiscard]] live::Setup setup() const {
        live::Setup setup;
        setup.listen.clear();
        setup.unlimited = false;
        setup.without_control = false;
        setup.options = {"--config", file_};
        return setup;
    }
    [[nodiscard]] Outcome ask(std::vector<std::string> arguments) const {
        arguments.insert(arguments.begin(), program_path("cloister"));
        arguments.insert(arguments.end(), {"--socket", socket_});
        return run_program(arguments);
    }
    [[nodiscard]] Json status() const { return Json::parse(ask({"status", "--json"}).out); }

    /// A client of the control socket that says what it likes.
    [[nodiscard]] Fd connect() const {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        socket_.copy(address.sun_path, sizeof address.sun_path - 1);
        Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0
                   ? std::move(fd)
                   : Fd{};
    }
};

TEST_F(Operator, SeesWhatADaemonDoes) {
    write();
    const Daemon daemon{setup()};
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("here"));
    const auto status = this->status();
    EXPECT_EQ(status["pid"], daemon.pid());
    EXPECT_EQ(status["state"], "serving");
    const auto& service = status["services"].at(0);
    EXPECT_EQ(service["name"], "echo");
    EXPECT_EQ(service["listen"].at(0), daemon.address());
    EXPECT_EQ(service["live"], 1);
    EXPECT_EQ(service["connections"], 1) << "cloisterd's own, at its start, does not count";
    EXPECT_EQ(service["generations"].at(0)["pid"], daemon.listener());
    EXPECT_NE(ask({"status"}).out.find("] 1 of 1000"), std::string::npos);
    daemon.signal(SIGUSR1);
    const auto logged = daemon.await_record("status");
    EXPECT_EQ(logged["live"], 1);
    EXPECT_EQ(logged["connections"], 1);
}

// As ExecReload= of a unit, which has the daemon's environment.
TEST_F(Operator, FindsTheSocketByTheEnvironment) {
    write();
    const Daemon daemon{setup()};
    ASSERT_EQ(::setenv("CLOISTER_CONTROL_SOCKET", socket_.c_str(), 1), 0);
    const Outcome answer = run_program({program_path("cloister"), "reload"});
    ASSERT_EQ(::unsetenv("CLOISTER_CONTROL_SOCKET"), 0);
    EXPECT_EQ(answer.exit_code, 0) << answer.err;
}

TEST_F(Operator, IsToldWhyASourceIsRefused) {
    write("max-per-source = 1\npenalty = \"1h\"\n");
    const Daemon daemon{setup()};
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("here"));
    EXPECT_NE(ask({"explain", "127.0.0.1"}).out.find("refused: 127.0.0.1 has 1 connections"),
              std::string::npos);
    ASSERT_EQ(::kill(daemon.only_cell(), SIGSEGV), 0);
    (void)daemon.await_record("penalty");
    const auto shut_out = Json::parse(ask({"explain", "127.0.0.1", "--json"}).out)["services"].at(0);
    EXPECT_EQ(shut_out["reason"], "penalty");
    EXPECT_EQ(shut_out["penalty"]["reason"], "crashed");
    EXPECT_GT(shut_out["wait_ms"], 3'500'000);
    EXPECT_NE(ask({"explain", "127.0.0.2"}).out.find("admitted"), std::string::npos);
    EXPECT_EQ(status()["services"].at(0)["penalties"].at(0)["source"], "127.0.0.1");
    EXPECT_EQ(status()["services"].at(0)["ends"]["crashed"], 1);
}

TEST_F(Operator, ReloadsAndIsToldTheResult) {
    write();
    const Daemon daemon{setup()};
    write("lifetime = \"5m\"\n");
    const auto good = ask({"reload"});
    EXPECT_EQ(good.exit_code, 0);
    EXPECT_EQ(good.out, "cloister: reloaded: changed: echo; added: none; removed: none\n");
    write("lifetim = \"5m\"\n");
    const auto wrong = ask({"reload"});
    EXPECT_EQ(wrong.exit_code, 78);
    EXPECT_NE(wrong.err.find(file_ + ":5:1: error: there is no key 'lifetim'"), std::string::npos)
        << wrong.err;
    EXPECT_EQ(status()["services"].at(0)["generations"].at(0)["number"], 2);
}

TEST_F(Operator, MustBeRootOrTheDaemonsUser) {
    if (!am_root()) {
        GTEST_SKIP() << "needs another user";
    }
    write();
    const Daemon daemon{setup()};
    struct stat status {};
    ASSERT_EQ(::stat(socket_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600U);
    EXPECT_EQ(status.st_uid, daemon_id);
    ASSERT_EQ(::chmod(socket_.c_str(), 0666), 0); // whoever gets there in spite of that is left
    const pid_t pid = ::fork();
    if (pid == 0) {
        if (::setgid(61008) != 0 || ::setuid(61008) != 0) {
            ::_exit(1);
        }
        const Fd fd = connect();
        char byte = 0;
        ::_exit(fd.valid() && ::recv(fd.get(), &byte, 1, 0) == 0 ? 0 : 2);
    }
    int ended = 0;
    ASSERT_EQ(::waitpid(pid, &ended, 0), pid);
    EXPECT_EQ(ended, 0);
    EXPECT_EQ(ask({"status"}).exit_code, 0);
}

TEST_F(Operator, IsNotKeptWaitingByOtherClients) {
    write();
    const Daemon daemon{setup()};
    std::vector<Fd> silent;
    for (int i = 0; i < 7; ++i) {
        silent.push_back(connect());
        ASSERT_TRUE(silent.back().valid());
    }
    EXPECT_EQ(ask({"status"}).exit_code, 0);
    silent.push_back(connect());
    silent.push_back(connect());
    EXPECT_EQ(ask({"status"}).exit_code, 0) << "they are left after a while";
    EXPECT_TRUE(Client(daemon.address()).echoes("and nobody else has waited"));
}

TEST_F(Operator, ThatSaysNonsenseHarmsNobody) {
    write();
    const Daemon daemon{setup()};
    for (const std::size_t size : {std::size_t{1}, sizeof(control::Request) - 1, sizeof(control::Request),
                                   sizeof(control::Request) + 1, std::size_t{100'000}}) {
        for (const unsigned seed : {1U, 2U, 3U}) {
            const Fd fd = connect();
            ASSERT_TRUE(fd.valid());
            const std::string bytes = random_bytes(size, seed);
            (void)::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        }
    }
    for (const std::uint32_t kind : {3U, 99U, ~0U}) {
        control::Request request{};
        control::prepare(request, control::Request::Kind::Status);
        std::memcpy(&request.kind, &kind, sizeof kind);
        const Fd fd = connect();
        ASSERT_EQ(::send(fd.get(), &request, sizeof request, MSG_NOSIGNAL),
                  static_cast<ssize_t>(sizeof request));
        control::Reply reply;
        ASSERT_EQ(::recv(fd.get(), &reply, sizeof reply, MSG_WAITALL), static_cast<ssize_t>(sizeof reply));
        EXPECT_EQ(reply.kind, control::Reply::Kind::End);
        EXPECT_EQ(reply.end.code, 64U);
    }
    EXPECT_EQ(ask({"status"}).exit_code, 0);
    EXPECT_TRUE(Client(daemon.address()).echoes("still"));
}

TEST_F(Operator, IsToldWhenThereIsNoDaemon) {
    EXPECT_EQ(ask({"status"}).exit_code, 69);
    EXPECT_EQ(ask({"explain", "nonsense"}).exit_code, 64);
    EXPECT_EQ(ask({"explain", "10.0.0.0/8"}).exit_code, 64);
    EXPECT_EQ(ask({"status", "--watch", "--json"}).exit_code, 64);
    write();
    {
        Daemon daemon{setup()};
        daemon.signal(SIGTERM);
        EXPECT_EQ(daemon.ends_within(10s), 0);
    }
    EXPECT_NE(::access(socket_.c_str(), F_OK), 0) << "it is removed";
}

TEST_F(Operator, NeedsNoSocketUnlessItIsConfigured) {
    std::ofstream{file_} << "control-socket = \"/nowhere/control\"\n[[service]]\nname = \"echo\"\nlisten = "
                            "[\"127.0.0.1:0\"]\n";
    ::chmod(file_.c_str(), 0644);
    const auto outcome = run_cloisterd([&] {
        auto options = user_options();
        options.insert(options.end(), {"--config", file_});
        return options;
    }());
    EXPECT_EQ(outcome.exit_code, 66);
    EXPECT_NE(outcome.err.find("control-socket /nowhere/control"), std::string::npos) << outcome.err;
}

} // namespace
} // namespace cloister::live
