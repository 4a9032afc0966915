// SPDX-License-Identifier: MIT
// Wrong input: the exit code says of what kind, the message says what to do.
#include "client.h"
#include "harness.h"
#include "policy/names.h"

#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <regex>

namespace cloister::live {
namespace {

namespace fs = std::filesystem;

struct Case {
    const char* name;
    std::vector<std::string> options;
    int code;
    const char* said; ///< a regular expression for stderr
};

void PrintTo(const Case& refused, std::ostream* out) {
    *out << refused.name;
}

class Refuses : public ::testing::TestWithParam<Case> {};

TEST_P(Refuses, WithItsExitCodeAndAReason) {
    auto options = user_options();
    options.insert(options.end(), GetParam().options.begin(), GetParam().options.end());
    const Outcome outcome = run_cloisterd(options);
    EXPECT_EQ(outcome.exit_code, GetParam().code) << outcome.err;
    EXPECT_TRUE(std::regex_search(outcome.err, std::regex{GetParam().said})) << outcome.err;
    EXPECT_EQ(outcome.out, "");
}

INSTANTIATE_TEST_SUITE_P(
    Option, Refuses,
    ::testing::Values(
        Case{"Unknown", {"--no-such-option"}, 64, "there is no option --no-such-option; see --help"},
        Case{"Misspelt", {"--idle-timout=5s"}, 64, "--idle-timout; did you mean --idle-timeout\\?"},
        Case{"Argument", {"7007"}, 64, "'7007' is not an option, and nothing else is expected"},
        Case{"TooManyConnections",
             {"--max-connections=1048577"},
             64,
             "--max-connections 1048577: more connections than any machine carries; give 1 to 1048576"},
        Case{"NoConnections",
             {"--max-connections=0"},
             64,
             "--max-connections 0: not a number of connections; give 1 to 1048576"},
        Case{"ConnectionsInWords",
             {"--max-connections=many"},
             64,
             "--max-connections many: not a number of connections"},
        Case{"DurationWithoutUnit",
             {"--idle-timeout=5"},
             64,
             "--idle-timeout 5: a time is a whole number and a unit"},
        Case{"DurationOfZero", {"--lifetime=0s"}, 64, "--lifetime 0s: out of range; give 1ms to 24h"},
        Case{"NegativeDuration",
             {"--drain-timeout=-1s"},
             64,
             "--drain-timeout -1s: a time is a whole number and a unit"},
        Case{"LogFormat",
             {"--log-format=xml"},
             64,
             "--log-format xml: there is no such format; give json or logfmt"},
        Case{"AddressWithoutPort", {"--listen=127.0.0.1"}, 64, "--listen 127\\.0\\.0\\.1: there is no port"},
        Case{"AddressByName",
             {"--listen=localhost:7007"},
             64,
             "'localhost' is not an address, and names are not looked up"},
        Case{"PortTooLarge", {"--listen=127.0.0.1:65536"}, 64, "'65536' is not a port"},
        Case{"Udp", {"--listen=udp:127.0.0.1:7007"}, 64, "'udp:127\\.0\\.0\\.1' is not an address"},
        Case{"ForeignAddress",
             {"--listen=192.0.2.1:7007"},
             69,
             "--listen 192\\.0\\.2\\.1:7007: no interface has this address"},
        Case{"LinkLocalAddressWithoutInterface",
             {"--listen=[fe80::1]:7007"},
             64,
             "a link-local address needs its interface: \\[fe80::1%eth0\\]:7007"},
        Case{"MulticastAddress", {"--listen=[ff02::1]:7007"}, 64, "that is a multicast address"},
        Case{"BroadcastAddress", {"--listen=127.255.255.255:0"}, 69, "that is a broadcast address"},
        Case{"MissingPolicyDirectory",
             {"--policy-dir=/nonexistent"},
             66,
             "/nonexistent/[a-z/]+\\.policy: cannot open: /nonexistent: ENOENT"}),
    [](const auto& instance) { return instance.param.name; });

TEST(Usage, RootMustNameAUserToBecome) {
    if (!am_root()) {
        GTEST_SKIP() << "we are not root";
    }
    const Outcome outcome = run_cloisterd({"--listen=127.0.0.1:0"});
    EXPECT_EQ(outcome.exit_code, 77);
    EXPECT_NE(outcome.err.find("started as root without a user to become; give --user NAME"),
              std::string::npos)
        << outcome.err;
}

TEST(Usage, RootIsNoUserToBecome) {
    if (!am_root()) {
        GTEST_SKIP() << "we are not root";
    }
    for (const char* root : {"--user=root", "--user=0", "--user=0:0", "--user=61007:0"}) {
        const Outcome outcome = run_cloisterd({"--listen=127.0.0.1:0", root});
        EXPECT_EQ(outcome.exit_code, 77) << root;
        EXPECT_TRUE(std::regex_search(outcome.err, std::regex{"that is root's (user|group), which is what "
                                                              "--user is there to leave"}))
            << outcome.err;
    }
}

TEST(Usage, AnOrdinaryUserCannotBecomeAnother) {
    if (am_root()) {
        GTEST_SKIP() << "we are root";
    }
    const Outcome outcome = run_cloisterd({"--listen=127.0.0.1:0", "--user=61007:61007"});
    EXPECT_EQ(outcome.exit_code, 77) << outcome.err;
    EXPECT_NE(outcome.err.find(
                  "cannot become that group: setresgid: EPERM (Operation not permitted); start as root, "
                  "or as that user, and let outer seccomp filters allow the call"),
              std::string::npos)
        << outcome.err;
}

TEST(Usage, ABusyPortIs69AndNamed) {
    const Daemon daemon;
    auto options = user_options();
    options.push_back("--listen=" + daemon.address());
    const Outcome outcome = run_cloisterd(options);
    EXPECT_EQ(outcome.exit_code, 69);
    EXPECT_NE(outcome.err.find(daemon.address() + ": the port is in use"), std::string::npos) << outcome.err;
}

TEST(Usage, APrivilegedPortIs77ForAnOrdinaryUser) {
    if (am_root() || std::stoi(read_file("/proc/sys/net/ipv4/ip_unprivileged_port_start")) <= 7) {
        GTEST_SKIP() << "we may bind any port";
    }
    const Outcome outcome = run_cloisterd({"--listen=127.0.0.1:7"});
    EXPECT_EQ(outcome.exit_code, 77) << outcome.err;
    EXPECT_NE(outcome.err.find("need CAP_NET_BIND_SERVICE"), std::string::npos) << outcome.err;
}

TEST(Usage, HelpAndVersionSucceed) {
    const Outcome help = run_cloisterd({"--help"});
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_EQ(help.err, "");
    for (const char* option :
         {"--listen", "--user", "--policy-dir", "--max-connections", "--idle-timeout", "--lifetime",
          "--cpu-limit", "--drain-timeout", "--log-format", "--check", "--version", "--help"}) {
        EXPECT_NE(help.out.find(option), std::string::npos) << option;
    }
    const Outcome version = run_cloisterd({"--version"});
    EXPECT_EQ(version.exit_code, 0) << version.err;
    EXPECT_NE(version.out.find("libseccomp"), std::string::npos) << version.out;
    const std::regex hash{"[0-9a-f]{64}"};
    EXPECT_EQ(std::distance(std::sregex_iterator{version.out.begin(), version.out.end(), hash}, {}), 9)
        << version.out;
}

TEST(Usage, VersionAndReadyNameTheSamePolicies) {
    const Daemon daemon;
    const Outcome version = run_cloisterd({"--version"});
    for (const auto& [name, hash] : daemon.ready().at("policy_sha256").items()) {
        EXPECT_NE(version.out.find(hash.get<std::string>()), std::string::npos) << name << version.out;
    }
}

TEST(Usage, CheckIsSilentWhenAllIsGood) {
    auto options = user_options();
    options.push_back("--check");
    const Outcome outcome = run_cloisterd(options);
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_EQ(outcome.err + outcome.out, "");
}

TEST(Usage, TooFewDescriptorsAreNamedAsTheCause) {
    const auto run_with = [](const std::string& limit) {
        std::vector<std::string> command{"prlimit", "--nofile=" + limit, program_path("cloisterd"),
                                         "--listen=127.0.0.1:0"};
        const auto user = user_options();
        command.insert(command.end(), user.begin(), user.end());
        return run_program(command);
    };
    const auto to_open = run_with("8:8"); // enough for the dynamic linker, whatever is inherited
    EXPECT_TRUE(std::regex_search(to_open.err, std::regex{"cannot open.*: EMFILE"})) << to_open.err;
    EXPECT_EQ(to_open.err.find("install"), std::string::npos) << to_open.err;
    for (const char* limit : {"64:64", "200:200"}) { // for the log relay, for the listener
        const auto to_pass = run_with(limit);
        EXPECT_EQ(to_pass.exit_code, 71) << limit;
        EXPECT_TRUE(std::regex_search(to_pass.err, std::regex{"EINVAL .*; raise RLIMIT_NOFILE .*above 325"}))
            << limit << to_pass.err;
    }
}

TEST(Usage, TheListenerIsNotStartedByHand) {
    const Outcome outcome = run_program({program_path("cloister-listener-echo")});
    EXPECT_EQ(outcome.exit_code, 64);
    EXPECT_NE(outcome.err.find("is started by cloisterd"), std::string::npos) << outcome.err;
}

class Policy : public ::testing::Test {
  protected:
    Policy() {
        fs::copy(CLOISTER_POLICY_SOURCE, directory_.path(), fs::copy_options::recursive);
        for (const auto& entry : fs::recursive_directory_iterator{directory_.path()}) {
            fs::permissions(entry, fs::perms{entry.is_directory() ? 0755U : 0644U});
        }
    }
    [[nodiscard]] std::string text() const { return read_file(file_); }
    void write(const std::string& text) const { std::ofstream{file_} << text; }
    void replace(const std::string& from, const std::string& to) const {
        std::string changed = text();
        const auto at = changed.find(from);
        ASSERT_NE(at, std::string::npos) << from;
        write(changed.replace(at, from.size(), to));
    }
    [[nodiscard]] Outcome start(const std::string& option = "--listen=127.0.0.1:0") const {
        auto options = user_options();
        options.push_back(option);
        options.push_back("--policy-dir=" + directory_.path());
        return run_cloisterd(options);
    }
    TemporaryDirectory directory_;
    std::string file_ = directory_.file("handlers/echo.policy");
};

TEST_F(Policy, ControlACopyOfWhatIsShippedIsTaken) {
    const Outcome outcome = start("--check");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    const Daemon daemon{{.options = {"--policy-dir=" + directory_.path()}}};
    EXPECT_TRUE(Client{daemon.address()}.echoes("hello"));
}

TEST_F(Policy, ThatIsMissingIs66) {
    fs::remove(file_);
    const Outcome outcome = start();
    EXPECT_EQ(outcome.exit_code, 66);
    EXPECT_NE(outcome.err.find("/handlers/echo.policy: ENOENT (No such file or directory)"),
              std::string::npos)
        << outcome.err;
}

TEST_F(Policy, ThatDoesNotParseIs65WithFileLineAndColumn) {
    replace("allow close", "alow close");
    for (const char* option : {"--listen=127.0.0.1:0", "--check"}) {
        const Outcome outcome = start(option);
        EXPECT_EQ(outcome.exit_code, 65);
        EXPECT_TRUE(std::regex_search(outcome.err, std::regex{"/echo\\.policy:\\d+:1: error: .*'alow'"}))
            << outcome.err;
    }
}

// Each file by itself: the relay's policy is combined with no other.
TEST_F(Policy, OfWhichElseIsPermissiveIs65) {
    for (const auto* name : {"handlers/echo.policy", "listener.policy", "processes/relay.policy"}) {
        const auto file = directory_.file(name);
        const auto shipped = read_file(file);
        const auto weak =
            std::regex_replace(shipped, std::regex{"\\nelse +kill-process\\n"}, "\nelse allow\n");
        ASSERT_NE(weak, shipped) << name;
        std::ofstream{file} << std::regex_replace(weak, std::regex{"\\ntest[^\\n]*"}, "");
        const Outcome outcome = start();
        EXPECT_EQ(outcome.exit_code, 65) << name << outcome.err;
        EXPECT_NE(outcome.err.find("its else action is allow: cloisterd confines nothing by it"),
                  std::string::npos)
            << name << outcome.err;
        std::ofstream{file} << shipped;
    }
}

TEST_F(Policy, ThatContradictsItsOwnTestsIs65) {
    write(text() +
          "allow openat dfd any  filename any  flags any  mode any : to see whether anybody notices\n");
    for (const char* option : {"--listen=127.0.0.1:0", "--check"}) {
        const Outcome outcome = start(option);
        EXPECT_EQ(outcome.exit_code, 65) << outcome.err;
        EXPECT_TRUE(std::regex_search(
            outcome.err, std::regex{"/echo\\.policy:\\d+:1: error: this test does not hold: the policy "
                                    "says allow \\(line \\d+\\) for openat\\(dfd=0, .*\ntest +kill +openat"}))
            << outcome.err;
    }
}

TEST_F(Policy, WhoseRulesContradictEachOtherIs65) {
    replace("allow close ", "kill-process close fd <= 1 : to see whether anybody notices\nallow close ");
    const Outcome outcome = start();
    EXPECT_EQ(outcome.exit_code, 65) << outcome.err;
    EXPECT_TRUE(std::regex_search(
        outcome.err, std::regex{"/echo\\.policy:\\d+:1: error: this rule says allow where line \\d+ says "
                                "kill-process: close\\(fd=0\\) on "}))
        << outcome.err;
}

// libseccomp 2.5.4 compiles this union as if it were 'any' (GHSA-4q85-33p6-j5g6): the text is good, its bytes
// are not.
TEST_F(Policy, WhoseProgramSaysMoreThanItsTextIs65WithTheCallAndNeverBecomesReady) {
    write(text() + "allow munmap addr >= 0x100000000  len any : x\n"
                   "allow munmap addr <= 1  len any : x\n");
    if (run_program({program_path("cloister"), "policy", "prove", directory_.path()}).exit_code == 0) {
        GTEST_SKIP() << "this libseccomp compiles it right";
    }
    for (const char* option : {"--listen=127.0.0.1:0", "--check"}) {
        const Outcome outcome = start(option);
        EXPECT_EQ(outcome.exit_code, 65) << outcome.err;
        EXPECT_TRUE(std::regex_search(
            outcome.err,
            std::regex{fmt::format("program and policy differ: for munmap\\(addr=.* on {} elsewhere "
                                   ".* the program returns allow, the policy says kill-process",
                                   to_string(policy::native_arch))}))
            << outcome.err;
        EXPECT_EQ(outcome.err.find("\"ready\""), std::string::npos) << outcome.err;
    }
}

TEST_F(Policy, AtAnotherCallSiteThanItsOwnIs65) {
    const auto expect_refusal = [this](const std::string& name, const std::string& from,
                                       const std::string& to, const char* said) {
        file_ = directory_.file(name);
        const std::string shipped = text();
        replace(from, to);
        const Outcome outcome = start("--check");
        EXPECT_EQ(outcome.exit_code, 65) << outcome.err;
        EXPECT_TRUE(std::regex_search(outcome.err, std::regex{said})) << outcome.err;
        write(shipped);
    };
    expect_refusal("clone.policy", "at         $clone_return\n", "at $stack\n",
                   "clone\\.policy:4:4: error: cloisterd enforces this policy at \\$clone_return");
    expect_refusal("listener.policy", "at         $listener_return\n", "",
                   "listener\\.policy: error: cloisterd enforces this policy at \\$listener_return");
    expect_refusal("handlers/echo.policy", "arch ", "at $buffer\narch ",
                   "echo\\.policy:5:4: error: a cell's policy holds everywhere else: it has no 'at'");
    EXPECT_EQ(start("--check").exit_code, 0) << "all is as it was shipped";
}

TEST_F(Policy, OfAHandlerThatCouldClaimAFailedSetupIs65) {
    const std::string shipped = text();
    for (const std::string rule : {"exit_group code <= 6", "exit_group code any", "exit_group code >= 1",
                                   "exit_group code == 6", "exit_group code in 7", "exit code <= 255"}) {
        write(shipped);
        // Without its test line, which would refuse it, too.
        replace("test  kill  exit_group code=6\n", "");
        replace("allow exit_group code <= 5", "allow " + rule);
        const Outcome outcome = start("--check");
        EXPECT_EQ(outcome.exit_code, 65) << rule << outcome.err;
        EXPECT_TRUE(std::regex_search(
            outcome.err,
            std::regex{fmt::format("echo\\.policy:\\d+:1: error: a handler's policy can allow {} only with "
                                   "codes up to 5 \\(write "
                                   "'code <= 5'\\): the others say that the setup of a cell failed",
                                   rule.substr(0, rule.find(' ')))}))
            << rule << outcome.err;
    }
    for (const std::string rule : {"exit_group code == 5", "exit_group code in 5", "exit code <= 5"}) {
        write(shipped);
        replace("test  kill  exit_group code=6\n", "");
        replace("allow exit_group code <= 5", "allow " + rule);
        EXPECT_EQ(start("--check").exit_code, 0) << rule;
    }
}

TEST_F(Policy, ThatAnybodyMayWriteIsRefused) {
    fs::permissions(file_, fs::perms::others_write, fs::perm_options::add);
    const Outcome outcome = start();
    EXPECT_EQ(outcome.exit_code, 65);
    EXPECT_NE(outcome.err.find("/echo.policy (mode 0646): chmod o-w "), std::string::npos) << outcome.err;
}

TEST_F(Policy, ThatIsTooNarrowToServeFailsTheSelfTestAndNeverBecomesReady) {
    // A valid policy under which no cell can answer: the self-test is there for that.
    std::string changed;
    std::istringstream lines{text()};
    for (std::string line; std::getline(lines, line);) {
        if (line.find("sendto") == std::string::npos) {
            changed += line + "\n";
        }
    }
    write(changed);
    const Outcome outcome = start();
    EXPECT_EQ(outcome.exit_code, 70) << outcome.err;
    EXPECT_NE(outcome.err.find("self-test: no echo: "), std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.err.find("\"ready\""), std::string::npos) << outcome.err;
}

TEST_F(Policy, ThatIsNarrowerStillServesAndHasAnotherHash) {
    replace("code <= 5", "code <= 4");
    const Daemon narrower{{.options = {"--policy-dir=" + directory_.path()}}};
    EXPECT_TRUE(Client{narrower.address()}.echoes("hello"));
    const Daemon shipped;
    EXPECT_NE(narrower.ready().at("policy_sha256").at("echo"),
              shipped.ready().at("policy_sha256").at("echo"));
    EXPECT_EQ(narrower.ready().at("policy_sha256").at("listener"),
              shipped.ready().at("policy_sha256").at("listener"));
}

} // namespace
} // namespace cloister::live
