// SPDX-License-Identifier: MIT
// `cloister policy why` and `coverage` as they are called.
#include "live/processes.h"

#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace cloister::audit {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

live::Outcome policy_tool(std::vector<std::string> arguments, const std::string& input = {}) {
    arguments.insert(arguments.begin(), {live::program_path("cloister"), "policy"});
    return live::run_program(arguments, input);
}

const std::string of_socket =
    "audit: type=1326 audit(1.2:3): uid=33 pid=12 comm=\"a\" exe=\"/a\" sig=31 arch=c000003e "
    "syscall=41 compat=0 ip=0x7f12 code=0x80000000";
const std::string of_recvfrom = "audit: type=1326 pid=12 arch=c000003e syscall=45 code=0x80000000";
const std::string echo_policy = CLOISTER_POLICY_SOURCE "/handlers/echo.policy";

TEST(Why, NamesTheRulesForTheCallOrThatThereIsNone) {
    const auto none = policy_tool({"why", of_socket, "--policy", echo_policy});
    EXPECT_EQ(none.exit_code, 0) << none.err;
    EXPECT_THAT(none.out, HasSubstr("socket, call 41 of x86_64"));
    EXPECT_THAT(none.out, HasSubstr("no rule names this call: else, kill-process"));
    EXPECT_THAT(none.out, HasSubstr("does not tell the arguments"));
    const auto one = policy_tool({"why", of_recvfrom, "--policy", echo_policy});
    EXPECT_THAT(one.out, HasSubstr("echo.policy:10: allow recvfrom"));
    const auto all = policy_tool({"why", of_recvfrom, "--policy", CLOISTER_POLICY_SOURCE, "--json"});
    const auto nearest = Json::parse(all.out).at(0).at("nearest");
    EXPECT_GT(nearest.size(), 5U) << "a line for each policy of the directory";
}

TEST(Why, ReadsSeveralLinesAndNamesTheOneThatIsWrong) {
    const auto outcome = policy_tool({"why", "-"}, of_socket + "\n\nnonsense\n" + of_recvfrom + "\n");
    EXPECT_EQ(outcome.exit_code, 65);
    EXPECT_THAT(outcome.err, HasSubstr("standard input, line 2: there is no 'arch=' and no 'syscall='"));
    EXPECT_THAT(outcome.out, HasSubstr("socket, call 41"));
    EXPECT_THAT(outcome.out, HasSubstr("recvfrom, call 45"));
    EXPECT_EQ(policy_tool({"why", "-"}, "").exit_code, 65);
    EXPECT_EQ(policy_tool({"why", of_socket, "--policy", "/none.policy"}).exit_code, 66);
}

class Trace : public ::testing::Test {
  protected:
    std::string file(const std::string& name, const std::string& text) const {
        std::ofstream{directory_.file(name)} << text;
        return directory_.file(name);
    }
    live::TemporaryDirectory directory_;
};

TEST_F(Trace, OfAProgramUnderStraceIsCovered) {
    if (!live::is_installed("strace")) {
        GTEST_SKIP() << "strace is not installed";
    }
    const auto log = directory_.file("log");
    ASSERT_EQ(live::run_program({"/usr/bin/strace", "-f", "-n", "-e", "raw=all", "-o", log, "/bin/sh", "-c",
                                 "/bin/echo hello; exit 1"})
                  .exit_code,
              1);
    const auto policy = file("p.policy", "policy p 1\nsyntax 1\narch x86_64 aarch64\nelse kill-process\n\n"
                                         "allow write  fd == 1  buf any  count <= 100 : print\n"
                                         "allow exit_group  code <= 1 : end\n"
                                         "allow socket  family any  type any  protocol any : unused\n");
    const auto outcome = policy_tool({"coverage", policy, "--trace", log, "--json"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const auto found = Json::parse(outcome.out);
    EXPECT_EQ(found.at("undecided"), 0);
    EXPECT_TRUE(found.at("unknown_arguments").empty()) << found.at("unknown_arguments");
    EXPECT_EQ(found.at("rules")[0].at("used"), 1);
    EXPECT_EQ(found.at("rules")[0].at("conditions")[1].at("values"), Json::array({6}));
    EXPECT_EQ(found.at("rules")[1].at("used"), 2);
    EXPECT_EQ(found.at("rules")[2].at("used"), 0);
    bool execve = false;
    for (const auto& denied : found.at("denied")) {
        execve = execve || denied.at("call") == "execve";
    }
    EXPECT_TRUE(execve) << outcome.out;
}

TEST_F(Trace, ThatIsNoneIsRefusedWithItsPlace) {
    const auto passwd = policy_tool(
        {"coverage", echo_policy, "--trace", file("passwd", "root:x:0:0\n"), "--bind", "buffer=0x1000"});
    EXPECT_EQ(passwd.exit_code, 65);
    EXPECT_THAT(passwd.err, HasSubstr("passwd:1: error: no call"));
    EXPECT_THAT(passwd.err, HasSubstr("strace -f -n -e raw=all"));
    EXPECT_EQ(policy_tool({"coverage", echo_policy, "--trace", file("empty", "")}).exit_code, 65);
    EXPECT_EQ(policy_tool({"coverage", echo_policy, "--trace", directory_.file("none")}).exit_code, 66);
    EXPECT_EQ(policy_tool({"coverage", CLOISTER_POLICY_SOURCE, "--trace", "x"}).exit_code, 64)
        << "which call site?";
}

} // namespace
} // namespace cloister::audit
