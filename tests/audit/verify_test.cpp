// SPDX-License-Identifier: MIT
// Whether `cloister policy verify` sees that a daemon is confined as its policies say, and sees what is not.
#include "audit/verify.h"

#include "imitation.h"
#include "live/client.h"
#include "live/harness.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <thread>

namespace cloister::audit {
namespace {

using live::Client;
using live::Daemon;
using live::Json;
using live::Outcome;
using ::testing::HasSubstr;
using ::testing::Not;

Outcome verify_by_tool(pid_t pid, std::vector<std::string> options = {},
                       std::vector<std::string> through = {}) {
    through.insert(through.end(),
                   {live::program_path("cloister"), "policy", "verify", "--pid", std::to_string(pid)});
    through.insert(through.end(), options.begin(), options.end());
    return live::run_program(through);
}

class Verify : public ::testing::Test {
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

/// The named check of the process of that role; a check that is not there fails the test.
Json check_of(const Json& answer, const std::string& role, const std::string& name) {
    for (const auto& process : answer.at("processes")) {
        for (const auto& check : process.at("checks")) {
            if (process.at("role") == role && check.at("check") == name) {
                return check;
            }
        }
    }
    ADD_FAILURE() << "no check " << name << " of a " << role << ":\n" << answer.dump(1);
    return {{"result", "missing"}};
}

Json answer_of(const Outcome& outcome) {
    auto answer = Json::parse(outcome.out, nullptr, false);
    if (answer.is_discarded()) {
        throw std::runtime_error{outcome.out + outcome.err};
    }
    return answer;
}

TEST_F(Verify, ARunningDaemonMatchesItsPolicies) {
    const Daemon daemon;
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const auto cell = daemon.only_cell();
    const auto outcome = verify_by_tool(daemon.pid());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
    for (const auto& [role, pid] : {std::pair{"log relay", daemon.relay()},
                                    std::pair{"listener", daemon.listener()}, std::pair{"cell", cell}}) {
        EXPECT_THAT(outcome.out, HasSubstr(fmt::format("{} {}", role, pid)));
    }
    EXPECT_THAT(outcome.out, HasSubstr("proved equivalent to the policies of echo"));
    EXPECT_THAT(outcome.out, HasSubstr("proved equivalent to the policies of relay"));
    EXPECT_EQ(live::status_of(cell)["TracerPid"], "0");
    EXPECT_TRUE(client.echoes("and it goes on"));
}

TEST_F(Verify, AListenerOrACellMatchesByItself) {
    const Daemon daemon;
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const auto cell = daemon.only_cell();
    const auto of_listener = answer_of(verify_by_tool(daemon.listener(), {"--json"}));
    EXPECT_EQ(of_listener.at("verdict"), "match");
    EXPECT_EQ(of_listener.at("processes").size(), 2U);
    const auto of_cell = answer_of(verify_by_tool(cell, {"--json"}));
    EXPECT_EQ(of_cell.at("verdict"), "match");
    EXPECT_EQ(of_cell.at("processes").size(), 1U);
    EXPECT_EQ(of_cell.at("processes")[0].at("bindings"), of_listener.at("processes")[0].at("bindings"));
    EXPECT_EQ(check_of(of_cell, "cell", "descriptors").at("result"), "match");
    EXPECT_EQ(check_of(of_cell, "cell", "memory").at("result"), "match");
}

TEST_F(Verify, EveryHandlerAndAUserNamespaceMatch) {
    live::TemporaryDirectory directory;
    std::ofstream{directory.file("page")} << "hello\n";
    for (const auto& options : std::vector<std::vector<std::string>>{
             {"--handler", "discard"},
             {"--handler", "daytime"},
             {"--handler", "metrics"},
             {"--handler", "static", "--content", directory.file("page")}}) {
        const Daemon daemon{
            {.listen = {"127.0.0.1:0", "unix:" + directory.file("socket")}, .options = options}};
        const Client waits{daemon.address()};
        const auto outcome = verify_by_tool(daemon.pid(), {"--services"});
        EXPECT_EQ(outcome.exit_code, 0) << options.back() << "\n" << outcome.out << outcome.err;
    }
    const Daemon mapped{{.user_namespace = true}};
    const Client client{mapped.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const auto outcome = verify_by_tool(mapped.pid(), {"--services"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
}

TEST_F(Verify, TheFilterOfAContainerIsNoneOfTheDaemons) {
    const Daemon daemon{{.faults = {{"AsOfAContainer", SYS_acct, -1, 0, EPERM, 0, ""}}}};
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    ASSERT_EQ(live::status_of(daemon.only_cell())["Seccomp_filters"], "2");
    const auto outcome = verify_by_tool(daemon.pid());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("proved equivalent to the policies of echo"));
}

TEST_F(Verify, CellsThatComeAndGoAreNoMismatch) {
    const Daemon daemon;
    std::atomic<bool> stop = false;
    std::thread clients{[&] {
        while (!stop) {
            (void)Client{daemon.address()}.echoes("hello");
        }
    }};
    for (int i = 0; i < 20; ++i) {
        const auto outcome = verify_by_tool(daemon.pid(), {"--services"});
        EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
    }
    stop = true;
    clients.join();
}

/// A copy of the policies in which one text stands in place of another.
class EditedPolicies {
  public:
    EditedPolicies(const std::string& file, const std::string& text, const std::string& other) {
        std::filesystem::copy(CLOISTER_POLICY_SOURCE, path(), std::filesystem::copy_options::recursive);
        auto edited = live::read_file(path() + "/" + file);
        const auto at = edited.find(text);
        if (at == std::string::npos) {
            throw std::runtime_error{file + " has no " + text};
        }
        std::ofstream{path() + "/" + file} << edited.replace(at, text.size(), other);
    }
    [[nodiscard]] std::string path() const { return directory_.file("policy"); }

  private:
    live::TemporaryDirectory directory_;
};

TEST_F(Verify, ADaemonThatLoadedAnEditedPolicyDoesNotMatch) {
    struct Edit {
        const char* file;
        const char* text;
        const char* other;
        const char* call; ///< of the witness
    };
    for (const auto& [file, text, other, call] :
         {Edit{"handlers/echo.policy", "flags == MSG_NOSIGNAL", "flags in MSG_NOSIGNAL|MSG_OOB", "sendto"},
          Edit{"handlers/echo.policy", "how == SHUT_WR", "how <= SHUT_WR", "shutdown"},
          Edit{"handlers/echo.policy", "allow close ", "allow getpid : another call\nallow close ",
               "getpid"}}) {
        EditedPolicies policies{file, text, other};
        auto content = live::read_file(policies.path() + "/" + file);
        for (const auto* test : {"test  kill  sendto flags=0\n", "test  kill  shutdown how=SHUT_RD\n"}) {
            if (const auto at = content.find(test); at != std::string::npos) {
                content.erase(at, std::string{test}.size());
            }
        }
        std::ofstream{policies.path() + "/" + file} << content;
        const Daemon daemon{{.options = {"--policy-dir", policies.path()}}};
        const Client client{daemon.address()};
        ASSERT_TRUE(client.echoes("hello"));
        const auto cell = daemon.only_cell();
        const auto outcome = verify_by_tool(cell, {"--json"});
        EXPECT_EQ(outcome.exit_code, 1) << outcome.out << outcome.err;
        const auto filter = check_of(answer_of(outcome), "cell", "filter");
        EXPECT_EQ(filter.at("result"), "mismatch");
        EXPECT_THAT(filter.at("found").get<std::string>(), HasSubstr(call));
        EXPECT_EQ(verify_by_tool(cell, {"--policy-dir", policies.path()}).exit_code, 0)
            << "with what it has loaded it matches";
    }
}

TEST_F(Verify, WithoutTheRightSaysWhatItCouldCheckAndCannotTellTheRest) {
    const Daemon daemon;
    const auto id = std::to_string(live::daemon_id);
    const std::vector<std::string> other{"/usr/bin/setpriv", "--reuid=" + id, "--regid=" + id,
                                         "--clear-groups"};
    const auto outcome = verify_by_tool(daemon.pid(), {"--json"}, other);
    EXPECT_EQ(outcome.exit_code, 69) << outcome.out << outcome.err;
    const auto answer = answer_of(outcome);
    EXPECT_EQ(answer.at("verdict"), "cannot-tell");
    EXPECT_EQ(check_of(answer, "listener", "no_new_privs").at("result"), "match");
    EXPECT_EQ(check_of(answer, "listener", "number of filters").at("result"), "match");
    EXPECT_EQ(check_of(answer, "listener", "capabilities, effective").at("result"), "match");
    const auto filter = check_of(answer, "listener", "filter");
    EXPECT_EQ(filter.at("result"), "cannot-tell");
    EXPECT_THAT(filter.at("found").get<std::string>(), HasSubstr("it needs root"));
    EXPECT_EQ(verify_by_tool(daemon.pid(), {}, {"/usr/bin/setpriv", "--bounding-set=-sys_admin"}).exit_code,
              69)
        << "the kernel shows no filter without CAP_SYS_ADMIN";
}

TEST_F(Verify, OfAnotherProgramIsRefusedAndNamesTheWayForIt) {
    live::Background other{{"/usr/bin/sleep", "60"}};
    const auto outcome = verify_by_tool(other.pid());
    EXPECT_EQ(outcome.exit_code, 69);
    EXPECT_THAT(outcome.err, HasSubstr("--against FILE"));
}

TEST_F(Verify, AgainstComparesTheFiltersOfAnyProcess) {
    const Daemon daemon;
    const auto relay = std::to_string(daemon.relay());
    const std::string policy = CLOISTER_POLICY_SOURCE "/processes/relay.policy";
    EXPECT_EQ(verify_by_tool(daemon.relay(), {"--against", policy}).exit_code, 0);
    const auto other =
        verify_by_tool(daemon.relay(), {"--against", CLOISTER_POLICY_SOURCE "/processes/reader.policy"});
    EXPECT_EQ(other.exit_code, 1);
    EXPECT_THAT(other.out, HasSubstr("MISMATCH: expected"));
    live::TemporaryDirectory directory;
    const auto dumped = live::run_program(
        {live::program_path("cloister"), "policy", "dump", "--pid", relay, "-o", directory.file("filters")});
    ASSERT_EQ(dumped.exit_code, 0) << dumped.err;
    const auto raw = directory.file("filters/" + relay + "-0.bpf");
    EXPECT_EQ(verify_by_tool(daemon.relay(), {"--against", raw}).exit_code, 0);
    EXPECT_EQ(verify_by_tool(daemon.pid(), {"--against", raw}).exit_code, 1)
        << "the supervisor has no filter";
    std::ofstream{directory.file("torn.bpf")} << "\x01\x02\x03";
    EXPECT_EQ(verify_by_tool(daemon.relay(), {"--against", directory.file("torn.bpf")}).exit_code, 65);
    EXPECT_EQ(verify_by_tool(daemon.relay(), {"--against", directory.file("none")}).exit_code, 66);
}

struct Case {
    Flaw flaw;
    const char* check;
    const char* found; ///< part of what the check says
};

class VerifyImitation : public Verify, public ::testing::WithParamInterface<Case> {};

/// Of an imitated family, the check that the flaw concerns fails, and does not without the flaw.
TEST_P(VerifyImitation, IsFound) {
    const auto& [flaw, check, found] = GetParam();
    const auto answer = [](Flaw what) {
        const Imitation imitation{what};
        return answer_of(verify_by_tool(imitation.supervisor(), {"--json"}));
    };
    static const auto without_flaw = answer(Flaw::none);
    const auto control = check_of(without_flaw, "cell", check);
    EXPECT_EQ(control.at("result"), "match") << control;
    const auto wrong = check_of(answer(flaw), "cell", check);
    EXPECT_EQ(wrong.at("result"), "mismatch") << wrong;
    EXPECT_THAT(wrong.at("found").get<std::string>(), HasSubstr(found));
}

INSTANTIATE_TEST_SUITE_P(
    ACellThatHas, VerifyImitation,
    ::testing::Values(Case{Flaw::no_filter, "seccomp mode", "0"},
                      Case{Flaw::no_filter, "number of filters", "0"},
                      Case{Flaw::extra_filter, "number of filters", "2"},
                      Case{Flaw::capability, "capabilities, permitted", "net_raw"},
                      Case{Flaw::capability, "capabilities, effective", "net_raw"},
                      Case{Flaw::descriptor, "descriptors", "7 (/etc/passwd)"},
                      Case{Flaw::writable_code, "memory that is writable and executable", "rwxp"},
                      Case{Flaw::new_privileges, "no_new_privs", "0"}, Case{Flaw::group, "group", "61008"},
                      Case{Flaw::handled_signal, "caught signals", "200"},
                      Case{Flaw::child, "children", "1"}),
    [](const auto& instance) {
        std::string name = instance.param.check;
        std::erase_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
        return name + std::to_string(static_cast<int>(instance.param.flaw));
    });

TEST_F(Verify, AnImitationDoesNotHaveTheMemoryNorTheFilterOfACell) {
    const Imitation imitation{Flaw::none};
    const auto outcome = verify_by_tool(imitation.supervisor(), {"--json", "--handler", "echo"});
    EXPECT_EQ(outcome.exit_code, 1);
    const auto answer = answer_of(outcome);
    EXPECT_EQ(check_of(answer, "cell", "memory").at("result"), "mismatch");
    EXPECT_EQ(check_of(answer, "cell", "executable memory").at("result"), "mismatch");
    EXPECT_EQ(check_of(answer, "cell", "filter").at("result"), "mismatch");
}

} // namespace
} // namespace cloister::audit
