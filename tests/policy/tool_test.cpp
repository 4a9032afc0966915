// SPDX-License-Identifier: MIT
// The tool as its users meet it: exit codes and output.
#include <array>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

namespace {

const std::string connection = CLOISTER_POLICIES "/connection.policy";
const std::string listener = CLOISTER_POLICIES "/listener.policy";
const std::string bind = " --bind buffer=0x7f0000001000";

class PolicyTool : public testing::Test {
  public:
    PolicyTool() {
        std::string name = (std::filesystem::temp_directory_path() / "cloister-tool-XXXXXX").string();
        if (::mkdtemp(name.data()) != nullptr) {
            scratch = name;
        }
    }
    ~PolicyTool() override {
        std::error_code ignored;
        std::filesystem::remove_all(scratch, ignored);
    }
    PolicyTool(const PolicyTool&) = delete;
    PolicyTool& operator=(const PolicyTool&) = delete;

    // Runs `cloister policy ARGUMENTS`; leaves what it printed in out and err.
    int policy(const std::string& arguments) { return tool("policy " + arguments); }
    int tool(const std::string& arguments) {
        const auto command =
            fmt::format("'{}' {} >{}/out 2>{}/err", CLOISTER_TOOL, arguments, scratch, scratch);
        const int status = std::system(command.c_str()); // NOLINT(concurrency-mt-unsafe): one thread
        out = read("out");
        err = read("err");
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    [[nodiscard]] std::string read(const std::string& name) const {
        std::ifstream stream{scratch + "/" + name, std::ios::binary};
        return {std::istreambuf_iterator<char>{stream}, {}};
    }
    std::string write(const std::string& name, const std::string& text) const {
        std::ofstream{scratch + "/" + name, std::ios::binary} << text;
        return scratch + "/" + name;
    }
    [[nodiscard]] bool says(const std::string& text) const {
        return (out + err).find(text) != std::string::npos;
    }

    std::string scratch;
    std::string out;
    std::string err;
};

TEST_F(PolicyTool, ChecksWhatIsShipped) {
    EXPECT_EQ(policy("check " + connection + " " + listener), 0) << err;
    EXPECT_TRUE(says("connection 1: 5 rules, 15 tests proved, no wider than listener")) << out;
}

TEST_F(PolicyTool, CheckFindsTheParentBesideTheFile) {
    EXPECT_EQ(policy("check " + connection), 0) << err;
}

TEST_F(PolicyTool, CheckTakesTheParentFromTheCommandLine) {
    std::filesystem::copy(connection, scratch + "/c.policy");
    EXPECT_EQ(policy("check " + scratch + "/c.policy"), 66);
    EXPECT_TRUE(says("listener.policy: error: cannot open"));
    EXPECT_EQ(policy("check " + scratch + "/c.policy " + listener), 0) << err;
}

TEST_F(PolicyTool, CheckRefusesAWiderCell) {
    std::filesystem::copy(listener, scratch + "/listener.policy");
    std::filesystem::copy(connection, scratch + "/connection.policy");
    std::ofstream{scratch + "/connection.policy", std::ios::app} << "allow getpid : more than the parent\n";
    EXPECT_EQ(policy("check " + scratch + "/connection.policy"), 65);
    EXPECT_TRUE(says("'connection' is wider than 'listener': it says allow for getpid() on x86_64")) << err;
}

TEST_F(PolicyTool, CheckTellsBadFromMissing) {
    EXPECT_EQ(policy("check " + write("p", "policy p\n")), 65);
    EXPECT_TRUE(says("/p:1:9: error: expected a version\npolicy p\n        ^\n")) << err;
    EXPECT_EQ(policy("check " + scratch + "/none"), 66);
}

TEST_F(PolicyTool, CheckAnswersInJson) {
    EXPECT_EQ(policy("check --json " + connection + " " + write("p", "policy p\n")), 65);
    const auto answer = nlohmann::json::parse(out);
    EXPECT_EQ(answer.at(0).at("ok"), true);
    EXPECT_EQ(answer.at(0).at("tests"), 15);
    EXPECT_EQ(answer.at(1).at("error").at("line"), 1);
    EXPECT_EQ(answer.at(1).at("error").at("message"), "expected a version");
}

TEST_F(PolicyTool, ProvesItsOwnOutput) {
    for (const auto* arch : {"x86_64", "aarch64"}) {
        EXPECT_EQ(policy("prove " + connection + bind + " --arch " + arch), 0) << err;
        EXPECT_TRUE(says("equal: ")) << out;
    }
}

TEST_F(PolicyTool, ProvesBytesAndFindsTheOneThatIsWrong) {
    ASSERT_EQ(policy("bpf --raw " + connection + bind), 0) << err;
    auto bytes = out;
    EXPECT_EQ(policy("prove " + connection + " " + write("good", bytes) + bind), 0) << err;
    EXPECT_EQ(policy("prove " + connection + " " + write("good", bytes) + " --bind buffer=0x7f0000002000"),
              1);
    bytes.at(bytes.size() - 16 + 6) = 0; // the last but one returns allow
    EXPECT_EQ(policy("prove " + connection + " " + write("bad", bytes) + bind), 1);
    EXPECT_TRUE(says("program and policy differ: for ")) << err;
    EXPECT_EQ(policy("prove " + connection + " " + write("short", bytes.substr(1)) + bind), 65);
    EXPECT_EQ(policy("prove " + connection + " " + scratch + "/none" + bind), 66);
}

TEST_F(PolicyTool, ProveRefusesAPolicyWhoseTestsFail) {
    const auto file = write(
        "p", "policy p 1\nsyntax 1\narch x86_64\nelse kill-process\nallow getpid : x\ntest kill getpid\n");
    EXPECT_EQ(policy("prove " + file), 65);
    EXPECT_TRUE(says("this test does not hold"));
    EXPECT_EQ(policy("show " + file), 0) << "but one may look at it";
    EXPECT_EQ(policy("ask " + file + " getpid"), 0);
}

TEST_F(PolicyTool, ProveAnswersInJson) {
    EXPECT_EQ(policy("prove --json " + connection + bind), 0);
    const auto answer = nlohmann::json::parse(out);
    EXPECT_EQ(answer.at("equal"), true);
    EXPECT_EQ(answer.at("bindings").at("buffer"), 0x7f0000001000);
}

TEST_F(PolicyTool, SaysWhichAddressStandsInForAnUnboundParameter) {
    EXPECT_EQ(policy("prove " + connection), 0);
    EXPECT_EQ(err, "note: $buffer is not bound; 0x7f0000000000 stands in for it\n");
}

TEST_F(PolicyTool, ListsTheProgram) {
    EXPECT_EQ(policy("bpf " + connection + bind), 0);
    EXPECT_EQ(out.substr(0, out.find('\n')),
              "   0  load [16]                                     ; argument 1, low half");
    EXPECT_TRUE(says("; recvfrom"));
    EXPECT_EQ(policy("bpf --hex " + connection + bind), 0);
    EXPECT_EQ(out.substr(0, 17), "2000000010000000\n");
    EXPECT_EQ(policy("bpf --hex --raw " + connection), 64);
}

TEST_F(PolicyTool, ShowsAPolicyInPlainWords) {
    EXPECT_EQ(policy("show " + connection), 0);
    EXPECT_TRUE(
        says("recvfrom, call number 45\n  allow, line 11: recv(): read what the client sent\n    fd is 0\n"));
    EXPECT_TRUE(says("uretprobe (335) and uprobe (336)"));
    EXPECT_EQ(policy("show --arch aarch64 " + connection), 0);
    EXPECT_TRUE(says("recvfrom, call number 207"));
    EXPECT_EQ(policy("show --json " + listener), 0);
    EXPECT_EQ(nlohmann::json::parse(out).at("name"), "listener");
}

TEST_F(PolicyTool, AnswersWhatBecomesOfACall) {
    EXPECT_EQ(policy("ask " + connection + bind + " 'close fd=0'"), 0);
    EXPECT_EQ(out, "allow\nline 14: release the socket\n");
    EXPECT_EQ(policy("ask " + connection + bind + " 'close fd=1'"), 1);
    EXPECT_EQ(out, "kill-process\nline 14 asks for 'fd == 0', and fd is 0x1\n");
    EXPECT_EQ(policy("ask " + connection + bind + " openat"), 1);
    EXPECT_EQ(out, "kill-process\nno rule names this call: else\n");
    EXPECT_EQ(policy("ask " + connection + bind + " x32:recvfrom"), 1);
    EXPECT_EQ(policy("ask " + connection + bind + " i386:socketcall"), 1);
    EXPECT_EQ(policy("ask " + connection + bind + " close"), 1);
    EXPECT_TRUE(says("depends on the arguments left out\nallow: close(fd=0) on x86_64\n")) << out;
    EXPECT_EQ(policy("ask " + connection + bind + " recv"), 65);
    EXPECT_TRUE(says("recv(3) issues recvfrom. Write recvfrom."));
}

TEST_F(PolicyTool, FormatsWhatIsShippedToItself) {
    for (const auto& file : {connection, listener}) {
        EXPECT_EQ(policy("fmt " + file), 0);
        std::ifstream stream{file};
        EXPECT_EQ(out, (std::string{std::istreambuf_iterator<char>{stream}, {}}));
    }
}

TEST_F(PolicyTool, RefusesWrongUsage) {
    for (const auto* arguments :
         {"", "policy", "policy frobnicate", "policy check", "policy ask", "policy check --what x"}) {
        EXPECT_EQ(tool(arguments), 64) << arguments;
    }
    for (const auto* option :
         {" --bind buffer", " --bind buffer=0", " --bind buffer=x", " --bind stack=1", " --bind =1",
          " --bind buffer=1 --bind buffer=2", " --arch i386", " --arch ''x"}) {
        EXPECT_EQ(policy("prove " + connection + option), 64) << option;
    }
}

TEST_F(PolicyTool, TellsItsVersionAndItsHelp) {
    EXPECT_EQ(tool("--version"), 0);
    EXPECT_EQ(out.rfind("cloister 0.1.0 (libseccomp 2.", 0), 0U) << out;
    EXPECT_EQ(tool("--help"), 0);
    EXPECT_EQ(tool("policy check --help"), 0);
    EXPECT_TRUE(says("policy files"));
}

} // namespace
