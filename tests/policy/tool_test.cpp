// SPDX-License-Identifier: MIT
// The tool as its users meet it: exit codes and output.
#include "tool.h"

namespace cloister::tool {
namespace {

TEST_F(PolicyTool, ChecksWhatIsShipped) {
    EXPECT_EQ(policy("check " + echo + " " + listener), 0) << err;
    EXPECT_TRUE(says("echo 3: 5 rules, 12 tests proved\n")) << out;
}

TEST_F(PolicyTool, ChecksADirectoryAndThatItsPoliciesCanBeCombined) {
    EXPECT_EQ(policy("check " + together), 0) << err;
    EXPECT_TRUE(says("listener 4: 22 rules, 19 tests proved\n")) << out;
    EXPECT_TRUE(says(together +
                     ": one filter: clone at $clone_return, listener at $listener_return, setup at "
                     "$setup_return, echo elsewhere\n"))
        << out;
    EXPECT_EQ(policy("check --json " + together), 0) << err;
    const auto answer = nlohmann::json::parse(out);
    ASSERT_EQ(answer.size(), 3U + 5 + 5) << "shared policies, handlers, filters";
    EXPECT_EQ(answer.at(2).at("at"), "setup_return");
    EXPECT_EQ(answer.at(8).at("combined").at(3).at("name"), "daytime");
    EXPECT_EQ(answer.at(10).at("handler"), "echo");
}

TEST_F(PolicyTool, TakesEachHandlerOfADirectoryInTurnOrTheOneThatIsNamed) {
    EXPECT_EQ(policy("check " + together), 0) << err;
    EXPECT_EQ(policy("prove " + together), 0) << err;
    for (const std::string name : {"daytime", "discard", "echo", "metrics", "static"}) {
        EXPECT_TRUE(says(" are equivalent to the policies in " + together + " with that of " + name + "\n"))
            << out;
    }
    EXPECT_EQ(policy("prove --json " + together), 0) << err;
    EXPECT_EQ(nlohmann::json::parse(out).at(1).at("handler"), "discard");
    EXPECT_EQ(policy("prove --json --handler discard " + together), 0) << err;
    EXPECT_EQ(nlohmann::json::parse(out).at("handler"), "discard");
    EXPECT_EQ(policy("prove " + together + " " + write("bytes", "12345678")), 64);
    EXPECT_TRUE(says("bytes are of one filter: give --handler NAME")) << err;
    const auto call = " --at elsewhere 'clock_gettime which=0 tp=0x7f0000001000'" +
                      bind_all.substr(0, bind_all.find(" --bind stack"));
    EXPECT_EQ(policy("ask " + together + call), 1) << "echo's" << err;
    EXPECT_EQ(policy("ask --handler daytime " + together + call), 0) << out << err;
    EXPECT_EQ(policy("check --handler finger " + together), 66);
    EXPECT_TRUE(says("has no handlers/finger.policy; there are: daytime, discard, echo, metrics, static"))
        << err;
}

TEST_F(PolicyTool, TakesAHandlersPolicyFromAnywhere) {
    const auto mine = write("mine.policy", "policy mine 1\nsyntax 1\narch x86_64 aarch64\nelse kill-process\n"
                                           "param $buffer addr : b\nallow close fd == 0 : x\n");
    EXPECT_EQ(policy("check " + together + " --handler " + mine), 0) << err;
    EXPECT_TRUE(says("setup at $setup_return, mine elsewhere\n")) << out;
    EXPECT_FALSE(says("echo")) << out;
    write("mine.policy", "policy mine 1\nsyntax 1\narch x86_64 aarch64\nelse kill-process\n"
                         "allow brk brk any : x\n");
    EXPECT_EQ(policy("prove " + together + " --handler " + mine), 65);
    EXPECT_TRUE(says("mine.policy:5:1: error: 'brk' could bring back memory")) << err;
}

TEST_F(PolicyTool, CheckRefusesADirectoryThatIsNoFilter) {
    EXPECT_EQ(policy("check " + scratch), 66);
    EXPECT_TRUE(says(scratch + ": error: no *.policy files are in this directory")) << err;
    std::filesystem::copy(listener, scratch + "/listener.policy");
    EXPECT_EQ(policy("check " + scratch), 65);
    EXPECT_TRUE(says("listener.policy:5:12: error: each of the policies has an 'at'")) << err;
    std::filesystem::copy(echo, scratch + "/echo.policy");
    EXPECT_EQ(policy("check " + scratch), 0) << err;
    const auto other = write("other.policy", "policy other 1\nsyntax 1\narch x86_64\nelse kill-process\n");
    EXPECT_EQ(policy("check " + scratch), 65);
    EXPECT_TRUE(says("other.policy: error: it has no 'at', and neither has 'echo'")) << err;
    EXPECT_EQ(policy("prove " + scratch), 65);
    EXPECT_TRUE(says("other.policy: error: it has no 'at', and neither has 'echo'")) << err;
    EXPECT_EQ(policy("check --json " + scratch), 65);
    EXPECT_EQ(nlohmann::json::parse(out).at(3).at("ok"), false);
    EXPECT_EQ(nlohmann::json::parse(out).at(3).at("error").at("file"), other);
    write("other.policy", "policy other 1\nsyntax 1\nat $x\narch x86_64\nelse kill-process\n");
    EXPECT_EQ(policy("check " + scratch), 65);
    EXPECT_TRUE(says("other.policy:3:4: error: unknown parameter '$x'\nat $x\n   ^\n")) << err;
}

TEST_F(PolicyTool, CheckFindsTheParentBesideTheFile) {
    write("parent.policy", parent_text);
    EXPECT_EQ(policy("check " + write("child.policy", child_text)), 0) << err;
    EXPECT_TRUE(says("1 rules, 0 tests proved, no wider than parent\n")) << out;
}

TEST_F(PolicyTool, CheckTakesTheParentFromTheCommandLine) {
    const auto parent = write("p", parent_text);
    const auto child = write("child.policy", child_text);
    EXPECT_EQ(policy("check " + child), 66);
    EXPECT_TRUE(says("parent.policy: error: cannot open: No such file or directory (ENOENT)\n")) << err;
    EXPECT_EQ(policy("check " + child + " " + parent), 0) << err;
}

TEST_F(PolicyTool, CheckRefusesAWiderCell) {
    write("parent.policy", parent_text);
    EXPECT_EQ(policy("check " + write("child.policy", std::string{child_text} + "allow getuid : more\n")),
              65);
    EXPECT_TRUE(says("'child' is wider than 'parent': it says allow for getuid() on x86_64")) << err;
}

TEST_F(PolicyTool, CheckTellsBadFromMissing) {
    EXPECT_EQ(policy("check " + write("p", "policy p\n")), 65);
    EXPECT_TRUE(says("/p:1:9: error: expected a version\npolicy p\n        ^\n")) << err;
    EXPECT_EQ(policy("check " + scratch + "/none"), 66);
    EXPECT_EQ(err, scratch + "/none: error: cannot open: No such file or directory (ENOENT)\n");
}

TEST_F(PolicyTool, CheckAnswersInJson) {
    EXPECT_EQ(policy("check --json " + echo + " " + write("p", "policy p\n")), 65);
    const auto answer = nlohmann::json::parse(out);
    EXPECT_EQ(answer.at(0).at("ok"), true);
    EXPECT_EQ(answer.at(0).at("tests"), 12);
    EXPECT_EQ(answer.at(1).at("error").at("line"), 1);
    EXPECT_EQ(answer.at(1).at("error").at("message"), "expected a version");
}

TEST_F(PolicyTool, ProvesItsOwnOutput) {
    for (const auto* arch : {"x86_64", "aarch64"}) {
        EXPECT_EQ(policy("prove " + echo + bind + " --arch " + arch), 0) << err;
        EXPECT_TRUE(says("equal: ")) << out;
    }
}

TEST_F(PolicyTool, ProvesBytesAndFindsTheOneThatIsWrong) {
    ASSERT_EQ(policy("bpf --raw " + echo + bind), 0) << err;
    auto bytes = out;
    EXPECT_EQ(policy("prove " + echo + " " + write("good", bytes) + bind), 0) << err;
    EXPECT_EQ(policy("prove " + echo + " " + write("good", bytes) + " --bind buffer=0x7f0000002000"), 1);
    EXPECT_TRUE(says("program and policy differ: for ")) << err;
    bytes.at(bytes.size() - 16 + 6) = 0; // the last but one returns allow
    EXPECT_EQ(policy("prove " + echo + " " + write("bad", bytes) + bind), 1);
    EXPECT_TRUE(says("program and policy differ: for ")) << err;
    EXPECT_EQ(policy("prove " + echo + " " + write("short", bytes.substr(1)) + bind), 65);
    EXPECT_EQ(err, scratch + "/short: error: is not a raw array of 1 to 4096 sock_filter instructions of 8 "
                             "bytes each\n");
    EXPECT_EQ(policy("prove " + echo + " " + scratch + "/none" + bind), 66);
    EXPECT_EQ(err, scratch + "/none: error: cannot open: no such file\n");
}

TEST_F(PolicyTool, ProveAnswersInJson) {
    EXPECT_EQ(policy("prove --json " + echo + bind), 0);
    const auto answer = nlohmann::json::parse(out);
    EXPECT_EQ(answer.at("equal"), true);
    EXPECT_EQ(answer.at("bindings").at("buffer"), 0x7f0000001000);
}

TEST_F(PolicyTool, SaysWhichAddressStandsInForAnUnboundParameter) {
    EXPECT_EQ(policy("prove " + echo), 0);
    EXPECT_EQ(err, "note: $buffer is not bound; 0x7f0000000000 stands in for it\n");
}

TEST_F(PolicyTool, ListsTheProgram) {
    EXPECT_EQ(policy("bpf " + echo + bind), 0);
    EXPECT_EQ(out.substr(0, out.find('\n')), "   0  load [4]                                      ; ABI");
    EXPECT_TRUE(says("; recvfrom\n"));
    EXPECT_TRUE(says("; argument 3, low half  echo.policy:10\n"));
    EXPECT_EQ(policy("bpf --hex " + echo + bind), 0);
    EXPECT_EQ(out.substr(0, 17), "2000000004000000\n");
    EXPECT_EQ(policy("bpf --hex --raw " + echo), 64);
    EXPECT_TRUE(says("--raw excludes --hex")) << err;
}

TEST_F(PolicyTool, ListsTheCombinedProgramWithTheLineBesideEachInstruction) {
    EXPECT_EQ(policy("bpf " + together + bind_all), 0);
    EXPECT_EQ(err, "");
    EXPECT_EQ(out.rfind("# the ABI, and where the call comes from\n   0  load [4] ", 0), 0U) << out;
    EXPECT_TRUE(says("   8  load [8]                                      ; instruction pointer, low half\n"
                     "   9  if == 0x17 go to 10 else 13\n"
                     "  10  load [12]                                     ; instruction pointer, high half\n"
                     "  11  if == 0x55 go to 12 else 13\n"))
        << out;
    EXPECT_TRUE(says("; clone\n"));
    EXPECT_TRUE(says("\n# echo: calls from elsewhere\n"));
    EXPECT_TRUE(says("\n# listener: calls from $listener_return\n"));
    EXPECT_TRUE(says("; argument 5, low half  listener.policy:22-27\n")) << "six rules for setsockopt";
    EXPECT_TRUE(says("; argument 2, low half  setup.policy:16\n")) << "munmap";
    EXPECT_EQ(policy("bpf --json " + together + bind_all), 0);
    EXPECT_EQ(nlohmann::json::parse(out).at("combined").at(2).at("at"), "setup_return");
}

TEST_F(PolicyTool, ProvesTheCombinedProgramAndFindsTheByteThatIsWrong) {
    for (const auto* arch : {" --arch x86_64", " --arch aarch64"}) {
        EXPECT_EQ(policy("prove " + together + arch), 0) << err;
        EXPECT_TRUE(says(" are equivalent to the policies in ")) << out;
    }
    EXPECT_TRUE(says("note: $setup_page is not bound; 0x7f")) << err;
    ASSERT_EQ(policy("bpf --raw " + together + bind_all), 0) << err;
    auto bytes = out;
    const auto good = write("good", bytes);
    EXPECT_EQ(policy("prove --handler echo " + together + " " + good + bind_all), 0) << err;
    EXPECT_EQ(policy("prove --json --handler echo " + together + " " + good + bind_all), 0) << err;
    EXPECT_EQ(nlohmann::json::parse(out).at("equal"), true);
    bytes.at(8 * 9 + 3) = 0; // whatever the low word, it counts as the listener call site's
    EXPECT_EQ(policy("prove --handler echo " + together + " " + write("bad", bytes) + bind_all), 1);
    EXPECT_TRUE(says(" elsewhere (0x5500000000) the program returns allow, the policy says kill-process"))
        << err;
    EXPECT_EQ(policy("prove --handler echo " + together + " " + good + bind), 64);
    EXPECT_TRUE(says("$clone_return is not bound: give --bind clone_return=ADDRESS")) << err;
    EXPECT_EQ(policy("prove " + together + " --bind listener_return=1 --bind clone_return=1"), 65);
    EXPECT_TRUE(says("are both bound to 0x1")) << err;
    EXPECT_EQ(policy("prove " + together + " --bind roof=1"), 64);
    EXPECT_TRUE(says("has no parameter $roof")) << err;
}

TEST_F(PolicyTool, ShowsWhereAPolicyHolds) {
    EXPECT_EQ(policy("show " + listener), 0);
    EXPECT_TRUE(
        says("It holds for calls from one instruction only, the one in front of $listener_return (the "
             "address after that instruction).\n"))
        << out;
    EXPECT_EQ(policy("show " + echo), 0);
    EXPECT_TRUE(says("It holds for calls from every instruction; combined with others, from every "
                     "instruction but their call sites.\n"));
    EXPECT_EQ(policy("show " + together), 0);
    EXPECT_TRUE(says("setup, version 4, on " + native + "\n")) << out;
    EXPECT_TRUE(says("echo, version 3, on " + native + "\n")) << out;
    EXPECT_EQ(policy("show --json " + together), 0);
    EXPECT_EQ(nlohmann::json::parse(out).at(1).at("at"), "listener_return");
}

TEST_F(PolicyTool, AnswersWhichActionACallGetsFromACallSite) {
    EXPECT_EQ(policy("ask " + together + " --at listener_return 'accept4 fd=4 flags=0'"), 0) << err;
    EXPECT_EQ(policy("ask " + together + " --at '$listener_return' clone"), 1) << err;
    EXPECT_EQ(out, "kill-process\nno rule names this call: else\n");
    EXPECT_EQ(policy("ask " + together + " --at elsewhere accept4"), 1) << err;
    EXPECT_EQ(out, "kill-process\nno rule names this call: else\n");
    EXPECT_EQ(policy("ask " + together + " accept4"), 64);
    EXPECT_TRUE(says("--at : say where the call comes from: clone_return")) << err;
    EXPECT_EQ(policy("ask " + together + " --at roof accept4"), 64);
    EXPECT_TRUE(says(
        "--at roof: say where the call comes from: clone_return, listener_return, setup_return, elsewhere"))
        << err;
    EXPECT_EQ(policy("ask " + echo + " --at elsewhere close"), 64);
    EXPECT_TRUE(says("--at elsewhere: " + echo +
                     " is one policy; call sites are told apart where FILE is a "
                     "directory"))
        << err;
}

TEST_F(PolicyTool, ShowsAPolicyInPlainWords) {
    EXPECT_EQ(policy("show --arch x86_64 " + echo), 0);
    EXPECT_TRUE(
        says("recvfrom, call number 45\n  allow, line 10: recv(): read what the client sent\n    fd is 0\n"));
    EXPECT_TRUE(says("uretprobe (335) and uprobe (336)"));
    EXPECT_EQ(policy("show --arch aarch64 " + echo), 0);
    EXPECT_TRUE(says("recvfrom, call number 207"));
    EXPECT_EQ(policy("show --json " + listener), 0);
    EXPECT_EQ(nlohmann::json::parse(out).at("name"), "listener");
}

TEST_F(PolicyTool, AnswersWhichActionACallGets) {
    EXPECT_EQ(policy("ask " + echo + bind + " 'close fd=0'"), 0);
    EXPECT_EQ(out, "allow\nline 13: release the socket\n");
    EXPECT_EQ(policy("ask " + echo + bind + " 'close fd=1'"), 1);
    EXPECT_EQ(out, "kill-process\nline 13 requires 'fd == 0', but fd is 0x1\n");
    EXPECT_EQ(policy("ask " + echo + bind + " openat"), 1);
    EXPECT_EQ(out, "kill-process\nno rule names this call: else\n");
    for (const auto* foreign : {" x32:recvfrom", " i386:socketcall"}) {
        EXPECT_EQ(policy("ask " + echo + bind + foreign), 1);
        EXPECT_EQ(out, "kill-process\nno rule names this call: else\n");
    }
    EXPECT_EQ(policy("ask " + echo + bind + " close"), 1);
    EXPECT_TRUE(says("depends on the arguments left out\nallow: close(fd=0) on " + native + "\n")) << out;
    EXPECT_EQ(policy("ask " + echo + bind + " recv"), 65);
    EXPECT_TRUE(says("recv(3) issues recvfrom. Write recvfrom.")) << err;
}

TEST_F(PolicyTool, FormatsWhatIsShippedToItself) {
    for (const auto& file : {echo, listener}) {
        EXPECT_EQ(policy("fmt " + file), 0);
        std::ifstream stream{file};
        EXPECT_EQ(out, (std::string{std::istreambuf_iterator<char>{stream}, {}}));
    }
}

TEST_F(PolicyTool, RefusesWrongUsage) {
    const std::pair<const char*, const char*> wrong[] = {
        {"", "A subcommand is required"},
        {"policy", "A subcommand is required"},
        {"policy frobnicate", "A subcommand is required"},
        {"policy check", "FILE is required"},
        {"policy ask", "FILE is required"},
        {"policy check --what x", "The following argument was not expected: --what"},
    };
    for (const auto& [arguments, message] : wrong) {
        EXPECT_EQ(tool(arguments), 64) << arguments;
        EXPECT_TRUE(says(message)) << arguments << ": " << err;
    }
    const std::string form = ": write NAME=ADDRESS, the address in decimal or 0x…, not 0";
    const std::string no_stack = ": " + echo + " has no parameter $";
    const std::pair<std::string, std::string> options[] = {
        {" --bind buffer", "--bind buffer" + form},
        {" --bind buffer=0", "--bind buffer=0" + form},
        {" --bind buffer=x", "--bind buffer=x" + form},
        {" --bind stack=1", "--bind stack=1" + no_stack + "stack"},
        {" --bind =1", "--bind =1" + no_stack},
        {" --bind buffer=1 --bind buffer=2", "--bind buffer=2: $buffer is bound twice"},
        {" --arch i386", "--arch i386: " + echo + " does not list it"},
        {" --arch ''x", "--arch x: " + echo + " does not list it"}};
    for (const auto& [option, message] : options) {
        EXPECT_EQ(policy("prove " + echo + option), 64) << option;
        EXPECT_TRUE(says(message)) << option << ": " << err;
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
} // namespace cloister::tool
