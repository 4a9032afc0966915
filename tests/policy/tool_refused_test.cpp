// SPDX-License-Identifier: MIT
// What the tool says of policies that `check` refuses: nothing, unless it is asked to.
#include "tool.h"

namespace cloister::tool {
namespace {

/// How `policy check` refuses a policy, and a text for each.
struct Refused {
    const char* name;
    const char* lines; ///< after the header
    const char* error;
};
const Refused refused_policies[] = {
    {"FailingTest", "allow getpid : x\ntest kill getpid\n",
     ":6:1: error: this test does not hold: the policy says allow (line 5) for getpid() on x86_64\n"},
    {"DenyThenAllow",
     "kill-process ioctl fd == 0  cmd == 1  arg any : never\nallow ioctl fd == 0  cmd any  arg any : yes\n",
     ":6:1: error: this rule says allow where line 5 says kill-process: ioctl(fd=0, cmd=1, arg=0) on "
     "x86_64\n"},
    {"AllowThenDeny",
     "allow ioctl fd == 0  cmd any  arg any : yes\nkill-process ioctl fd == 0  cmd == 1  arg any : never\n",
     ":6:1: error: this rule says kill-process where line 5 says allow: ioctl(fd=0, cmd=1, arg=0) on "
     "x86_64\n"},
    {"TwoErrors", "errno EPERM close fd <= 4 : x\nerrno EBADF close fd >= 4 : y\n",
     ":6:1: error: this rule says errno EBADF where line 5 says errno EPERM: close(fd=4) on x86_64\n"},
};
const std::string header = "policy p 1\nsyntax 1\narch x86_64\nelse kill-process\n";
const std::string note_that_it_is_refused =
    " is refused, see above; the answer is about its text as it stands, which cloisterd does not enforce\n";

TEST_F(PolicyTool, AnswersNothingAboutAPolicyThatCheckRefuses) {
    for (const auto& [name, lines, error] : refused_policies) {
        const auto file = write(name, header + lines);
        for (const std::string command : {"check", "prove", "bpf", "bpf --hex", "bpf --raw", "show"}) {
            EXPECT_EQ(policy(command + " " + file), 65) << name << ' ' << command;
            EXPECT_TRUE(err.starts_with(file + error)) << command << ": " << err;
            EXPECT_EQ(out, "") << command;
        }
        EXPECT_EQ(policy("ask " + file + " getpid"), 65) << name;
        EXPECT_TRUE(err.starts_with(file + error)) << err;
        EXPECT_EQ(out, "");
        for (const std::string command : {"prove --json", "bpf --json", "show --json"}) {
            EXPECT_EQ(policy(command + " " + file), 65) << name << ' ' << command;
            EXPECT_EQ(nlohmann::json::parse(out).at("error").at("line"), 6) << out;
        }
        EXPECT_EQ(policy("ask --json " + file + " getpid"), 65);
        EXPECT_EQ(nlohmann::json::parse(out).at("error").at("line"), 6) << out;
        EXPECT_EQ(policy("fmt " + file), 0) << "which changes how it looks, whatever it means";
        EXPECT_EQ(policy("prove --unchecked " + file), 64) << "there is nothing to prove";
    }
}

TEST_F(PolicyTool, UncheckedAnswersAndSaysThatThePolicyIsRefused) {
    for (const auto& [name, lines, error] : refused_policies) {
        const auto file = write(name, header + lines);
        for (const std::string command : {"bpf --unchecked", "show --unchecked"}) {
            EXPECT_EQ(policy(command + " " + file), 0) << name << ' ' << command;
            EXPECT_TRUE(err.starts_with(file + error)) << err;
            EXPECT_TRUE(says("note: " + file + note_that_it_is_refused)) << err;
            EXPECT_NE(out, "") << command;
        }
        EXPECT_EQ(policy("ask --unchecked " + file + " getuid"), 1) << name;
        EXPECT_TRUE(err.starts_with(file + error)) << err;
        EXPECT_EQ(out, "kill-process\nno rule names this call: else\n");
    }
    EXPECT_EQ(policy("show --unchecked " + echo), 0);
    EXPECT_EQ(err, "") << "it is not refused";
    const auto unreadable = write("unreadable", "policy p\n");
    EXPECT_EQ(policy("show --unchecked " + unreadable), 65) << "there is no policy to show";
    EXPECT_EQ(err, unreadable + ":1:9: error: expected a version\npolicy p\n        ^\n") << "said once";
}

TEST_F(PolicyTool, AskNamesTheRuleWhoseActionItReportsAndThoseThatContradictIt) {
    const auto asked = [&](int i, const std::string& call) {
        const auto& [name, lines, error] = refused_policies[i];
        return policy("ask --unchecked " + write(name, header + lines) + " '" + call + "'");
    };
    EXPECT_EQ(asked(1, "ioctl fd=0 cmd=1"), 1);
    EXPECT_EQ(out, "kill-process\nline 5: never\nline 6 says allow for this call: the rules contradict each "
                   "other, and the strictest one is shown here\n");
    EXPECT_EQ(asked(2, "ioctl fd=0 cmd=1"), 1);
    EXPECT_EQ(out, "kill-process\nline 6: never\nline 5 says allow for this call: the rules contradict each "
                   "other, and the strictest one is shown here\n");
    for (const int i : {1, 2}) {
        EXPECT_EQ(asked(i, "ioctl fd=0 cmd=2"), 0);
        EXPECT_EQ(out, i == 1 ? "allow\nline 6: yes\n" : "allow\nline 5: yes\n");
        EXPECT_EQ(asked(i, "ioctl fd=0"), 1);
        EXPECT_TRUE(out.starts_with("depends on the arguments left out\nallow: ioctl(fd=0, cmd=")) << out;
        EXPECT_TRUE(says("kill-process: ioctl(fd=0, cmd=1, arg=0) on x86_64\nline ")) << out;
    }
    EXPECT_EQ(asked(3, "close fd=4"), 1);
    EXPECT_EQ(out, "errno EPERM\nline 5: x\nline 6 says errno EBADF for this call: the rules contradict each "
                   "other, and the strictest one is shown here\n");
}

TEST_F(PolicyTool, BpfSaysWhereAnUncheckedProgramIsNotTheText) {
    const auto& [name, lines, error] = refused_policies[1];
    EXPECT_EQ(policy("bpf --unchecked " + write(name, header + lines)), 0) << err;
    EXPECT_TRUE(says(":5:1: warning: program and policy differ: for ioctl(fd=0, cmd=1, arg=0) on x86_64 the "
                     "program returns allow, the policy says kill-process\n"))
        << err;
}

TEST_F(PolicyTool, AnswersNothingAboutAPolicyWithoutOrWiderThanTheOneItIsUnder) {
    const auto child = write("child.policy", std::string{child_text} + "allow getuid : more\n");
    for (const std::string command : {"prove ", "bpf ", "show "}) {
        EXPECT_EQ(policy(command + child), 66);
        EXPECT_EQ(err, scratch + "/parent.policy: error: cannot open: No such file or directory (ENOENT)\n");
    }
    EXPECT_EQ(policy("ask " + child + " getuid"), 66);
    EXPECT_EQ(policy("ask --unchecked " + child + " getuid"), 0) << err;
    EXPECT_TRUE(says("parent.policy: error: cannot open")) << err;
    write("parent.policy", parent_text);
    for (const std::string command : {"prove ", "bpf ", "show "}) {
        EXPECT_EQ(policy(command + child), 65);
        EXPECT_TRUE(says("'child' is wider than 'parent': it says allow for getuid() on x86_64")) << err;
    }
    EXPECT_EQ(policy("ask " + child + " getuid"), 65);
    EXPECT_EQ(policy("ask --unchecked " + child + " getuid"), 0) << err;
    EXPECT_EQ(out, "allow\nline 7: more\n");
    write("child.policy", child_text);
    EXPECT_EQ(policy("ask " + child + " getpid"), 0) << err;
}

TEST_F(PolicyTool, AnswersNothingAboutADirectoryOfWhichOneFileIsRefusedOrThatIsNoFilter) {
    for (const std::string name : {"clone", "listener", "setup", "handlers/echo"}) {
        const std::filesystem::path file = together + "/" + name + ".policy";
        std::filesystem::copy(file, scratch + "/" + file.filename().string());
    }
    const std::vector<std::string> commands = {"prove " + scratch, "bpf " + scratch, "show " + scratch,
                                               "ask " + scratch + " --at elsewhere 'close fd=0'"};
    const auto expect_all = [&](int code, const std::string& error) {
        for (const auto& command : commands) {
            EXPECT_EQ(policy(command), code) << command << err;
            EXPECT_TRUE(code == 0 || (out.empty() && err.find(error) != std::string::npos)) << command << err;
        }
    };
    expect_all(0, "");
    const auto clone_site = read("clone.policy");
    write("clone.policy", clone_site + "test allow getpid\n");
    expect_all(65, "clone.policy:");
    EXPECT_TRUE(says("this test does not hold: the policy says kill-process for getpid()")) << err;
    EXPECT_EQ(policy("ask " + scratch + " --unchecked --at elsewhere 'close fd=0'"), 0);
    EXPECT_TRUE(says("note: " + scratch + note_that_it_is_refused)) << err;
    EXPECT_EQ(policy("show --unchecked " + scratch), 0);
    EXPECT_EQ(policy("bpf --unchecked " + scratch + bind_all), 0);
    EXPECT_TRUE(says("note: " + scratch + note_that_it_is_refused)) << err;
    write("clone.policy", clone_site);
    const auto other = write("other.policy", "policy other 1\nsyntax 1\narch x86_64\nelse kill-process\n");
    expect_all(65, "other.policy: error: it has no 'at', and neither has 'echo'");
    EXPECT_EQ(policy("show --unchecked " + scratch), 65) << "together they are no filter at all";
    // The one that a policy is under is found by its name, whatever its file is called.
    write("other.policy", "policy other 1\nsyntax 1\nunder echo\nat $x\narch x86_64\nelse kill-process\n"
                          "param $x addr : x\nparam $buffer addr : x\nallow close fd == 0 : x\n");
    std::filesystem::rename(scratch + "/echo.policy", scratch + "/cell.policy");
    expect_all(0, "");
}

TEST_F(PolicyTool, SaysWarningsBeforeEachAnswer) {
    const auto file = write("p", header + "allow close fd >= 4 : x\n");
    for (const std::string command : {"check ", "prove ", "bpf ", "show "}) {
        EXPECT_EQ(policy(command + file), 0) << err;
        EXPECT_TRUE(err.starts_with(file + ":5:13: warning: the kernel reads 32 bits of 'fd'")) << err;
    }
    EXPECT_EQ(policy("ask " + file + " 'close fd=4'"), 0);
    EXPECT_TRUE(err.starts_with(file + ":5:13: warning: the kernel reads 32 bits of 'fd'")) << err;
}

} // namespace
} // namespace cloister::tool
