// SPDX-License-Identifier: MIT
#include "config/options.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <map>

namespace cloister::config {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

struct Case {
    std::vector<std::string> arguments;
    ExitCode code;
    std::string message;
};

class CommandLine : public ::testing::Test {
  protected:
    tl::expected<Config, Exit> parse(std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), "cloisterd");
        std::vector<const char*> argv;
        for (const auto& argument : arguments) {
            argv.push_back(argument.c_str());
        }
        argv.push_back(nullptr);
        const Surroundings surroundings{
            "/policies", [](const std::filesystem::path& dir) { return "version, " + dir.string() + "\n"; },
            euid,
            [this](const char* name) {
                const auto found = environment.find(name);
                return found == environment.end() ? nullptr : found->second.c_str();
            }};
        return read_configuration(static_cast<int>(arguments.size()), argv.data(), surroundings);
    }
    Config good(const std::vector<std::string>& arguments) {
        auto options = parse(arguments);
        EXPECT_TRUE(options) << options.error().err;
        return options.value_or(Config{{Service{}}, {}, {}, {}, {}, {}});
    }
    void expect_refused(const std::vector<Case>& cases) {
        for (const auto& [arguments, code, message] : cases) {
            const auto options = parse(arguments);
            ASSERT_FALSE(options) << testing::PrintToString(arguments) << " was taken";
            EXPECT_EQ(options.error().err, "cloisterd: " + message + "\n");
            EXPECT_EQ(options.error().code, code) << message;
            EXPECT_EQ(options.error().out, "");
        }
    }

    uid_t euid = 1000;
    std::map<std::string, std::string> environment;
};

TEST_F(CommandLine, HasTheDocumentedDefaults) {
    const auto options = good({});
    ASSERT_EQ(options.services[0].listen.size(), 1U);
    EXPECT_EQ(options.services[0].listen[0].text, "127.0.0.1:7007");
    EXPECT_FALSE(options.services[0].listen_given);
    EXPECT_FALSE(options.user);
    EXPECT_EQ(options.policy_dir, "/policies");
    EXPECT_EQ(options.services[0].max_connections, 1000U);
    EXPECT_EQ(options.services[0].idle_timeout, 60s);
    EXPECT_EQ(options.services[0].lifetime, 10min);
    EXPECT_EQ(options.services[0].cpu_limit, 10s);
    EXPECT_EQ(options.services[0].drain_timeout, 30s);
    EXPECT_EQ(options.services[0].socket_buffer, 256U * 1024);
    EXPECT_FALSE(options.services[0].socket_buffer_given);
    EXPECT_EQ(options.log_format, LogFormat::json);
    EXPECT_FALSE(options.check);
    EXPECT_TRUE(options.warnings.empty());
}

TEST_F(CommandLine, SetsEachOption) {
    const auto options =
        good({"-l", "[::]:7", "--listen=unix:/run/x,mode=0600", "-u33:44", "--policy-dir", "/p",
              "--max-connections=7", "--idle-timeout", "500ms", "--lifetime=2m", "--cpu-limit", "1h",
              "--drain-timeout=24h", "--socket-buffer=64K", "--log-format", "logfmt", "-t"});
    ASSERT_EQ(options.services[0].listen.size(), 2U);
    EXPECT_EQ(name_of(options.services[0].listen[0].storage, options.services[0].listen[0].length), "[::]:7");
    EXPECT_EQ(name_of(options.services[0].listen[1].storage, options.services[0].listen[1].length),
              "unix:/run/x");
    EXPECT_EQ(options.services[0].listen[1].mode, 0600U);
    EXPECT_TRUE(options.services[0].listen_given);
    EXPECT_EQ(options.user->uid, 33U);
    EXPECT_EQ(options.user->gid, 44U);
    EXPECT_EQ(options.policy_dir, "/p");
    EXPECT_EQ(options.services[0].max_connections, 7U);
    EXPECT_EQ(options.services[0].idle_timeout, 500ms);
    EXPECT_EQ(options.services[0].lifetime, 2min);
    EXPECT_EQ(options.services[0].cpu_limit, 1h);
    EXPECT_EQ(options.services[0].drain_timeout, 24h);
    EXPECT_EQ(options.services[0].socket_buffer, 64U * 1024);
    EXPECT_TRUE(options.services[0].socket_buffer_given);
    EXPECT_EQ(options.log_format, LogFormat::logfmt);
    EXPECT_TRUE(options.check);
}

TEST_F(CommandLine, MakesThePolicyDirectoryAbsolute) {
    EXPECT_EQ(good({"--policy-dir", "here"}).policy_dir, std::filesystem::current_path() / "here");
}

TEST_F(CommandLine, TakesTheOptionOverTheEnvironmentOverTheDefault) {
    environment = {{"CLOISTER_LISTEN", "127.0.0.1:1 [::1]:2"},
                   {"CLOISTER_IDLE_TIMEOUT", "5s"},
                   {"CLOISTER_LIFETIME", "7s"},
                   {"CLOISTER_DRAIN_TIMEOUT", ""}};
    const auto options = good({"--lifetime", "9s"});
    ASSERT_EQ(options.services[0].listen.size(), 2U);
    EXPECT_EQ(options.services[0].listen[1].text, "[::1]:2");
    EXPECT_TRUE(options.services[0].listen_given);
    EXPECT_EQ(options.services[0].idle_timeout, 5s);
    EXPECT_EQ(options.services[0].lifetime, 9s);
    EXPECT_EQ(options.services[0].drain_timeout, 30s);
}

TEST_F(CommandLine, NamesTheVariableThatIsWrong) {
    environment = {{"CLOISTER_MAX_CONNECTIONS", "many"}};
    expect_refused({{{},
                     ExitCode::Usage,
                     "CLOISTER_MAX_CONNECTIONS many: not a number of connections; give 1 to 1048576"}});
}

TEST_F(CommandLine, RefusesWhatIsNoTime) {
    const std::string form = "a time is a whole number and a unit: 500ms, 10s, 2m, 1h; give 1ms to 24h";
    const std::string range = "out of range; give 1ms to 24h";
    expect_refused({
        {{"--idle-timeout", "10"}, ExitCode::Usage, "--idle-timeout 10: " + form},
        {{"--idle-timeout", "10 s"}, ExitCode::Usage, "--idle-timeout 10 s: " + form},
        {{"--lifetime=1.5s"}, ExitCode::Usage, "--lifetime 1.5s: " + form},
        {{"--lifetime=-1s"}, ExitCode::Usage, "--lifetime -1s: " + form},
        {{"--drain-timeout=1d"}, ExitCode::Usage, "--drain-timeout 1d: " + form},
        {{"--drain-timeout=s"}, ExitCode::Usage, "--drain-timeout s: " + form},
        {{"--idle-timeout=0s"}, ExitCode::Usage, "--idle-timeout 0s: " + range},
        {{"--idle-timeout=25h"}, ExitCode::Usage, "--idle-timeout 25h: " + range},
        {{"--idle-timeout=86400001ms"}, ExitCode::Usage, "--idle-timeout 86400001ms: " + range},
        {{"--idle-timeout=99999999999999999999h"},
         ExitCode::Usage,
         "--idle-timeout 99999999999999999999h: " + range},
        {{"--cpu-limit=1500ms"},
         ExitCode::Usage,
         "--cpu-limit 1500ms: the kernel counts this limit in whole seconds; give 1s to 24h"},
    });
}

TEST_F(CommandLine, TakesABufferOfASizeOrLeavesItToTheKernel) {
    EXPECT_EQ(good({"--socket-buffer=4K"}).services[0].socket_buffer, 4096U);
    EXPECT_EQ(good({"--socket-buffer", "1M"}).services[0].socket_buffer, 1U << 20);
    EXPECT_EQ(good({"--socket-buffer=64M"}).services[0].socket_buffer, 64U << 20);
    EXPECT_EQ(good({"--socket-buffer=65536K"}).services[0].socket_buffer, 64U << 20);
    const auto automatic = good({"--socket-buffer=auto"});
    EXPECT_EQ(automatic.services[0].socket_buffer, std::nullopt);
    EXPECT_TRUE(automatic.services[0].socket_buffer_given);
    environment = {{"CLOISTER_SOCKET_BUFFER", "8K"}};
    EXPECT_EQ(good({}).services[0].socket_buffer, 8192U);
    EXPECT_TRUE(good({}).services[0].socket_buffer_given);
    EXPECT_EQ(good({"--socket-buffer=auto"}).services[0].socket_buffer, std::nullopt);
    environment = {{"CLOISTER_SOCKET_BUFFER", "auto"}};
    EXPECT_EQ(good({}).services[0].socket_buffer, std::nullopt);
    EXPECT_EQ(good({"--socket-buffer=4K"}).services[0].socket_buffer, 4096U);
    environment = {{"CLOISTER_SOCKET_BUFFER", ""}};
    EXPECT_EQ(good({}).services[0].socket_buffer, 256U * 1024);
}

TEST_F(CommandLine, RefusesWhatIsNoSize) {
    const auto refused = [](const std::string& size, const std::string& why) {
        return Case{{"--socket-buffer=" + size}, ExitCode::Usage, "--socket-buffer " + size + ": " + why};
    };
    const std::string form = "a size is a whole number and a unit: 64K, 1M; give 4K to 64M, or auto";
    const std::string range = "out of range; give 4K to 64M, or auto";
    for (const auto* size : {"65536", "K", "64k", "64KB", "64KiB", "1G", "1.5M", "-4K", "+4K", "0x4K", "4 K",
                             " 4K", "4K ", "Auto", "auto4K", "4Kauto", "0"}) {
        expect_refused({refused(size, form)});
    }
    for (const auto* size : {"0K", "3K", "65537K", "65M", "4194304M", "4294967300K", "18446744073709551616K",
                             "99999999999999999999M"}) {
        expect_refused({refused(size, range)});
    }
    environment = {{"CLOISTER_SOCKET_BUFFER", "3K"}};
    expect_refused({{{}, ExitCode::Usage, "CLOISTER_SOCKET_BUFFER 3K: " + range}});
}

TEST_F(CommandLine, SaysWhyMoreConnectionsAreRefused) {
    const std::string why = ": more connections than any machine carries; give 1 to 1048576";
    const std::string form = ": not a number of connections; give 1 to 1048576";
    expect_refused({
        {{"--max-connections=1048577"}, ExitCode::Usage, "--max-connections 1048577" + why},
        {{"--max-connections=99999999999999999999"},
         ExitCode::Usage,
         "--max-connections 99999999999999999999" + why},
        {{"--max-connections=0"}, ExitCode::Usage, "--max-connections 0" + form},
        {{"--max-connections=10x"}, ExitCode::Usage, "--max-connections 10x" + form},
    });
}

TEST_F(CommandLine, RefusesWhatIsNoAddress) {
    const std::string forms = "write 127.0.0.1:7007, [::1]:7007 or unix:/path";
    const std::string long_path = "unix:/" + std::string(107, 'x');
    expect_refused({
        {{"-l", "7007"}, ExitCode::Usage, "--listen 7007: there is no port; " + forms},
        {{"-l", "[::1]"}, ExitCode::Usage, "--listen [::1]: there is no port; " + forms},
        {{"-l", ":7007"},
         ExitCode::Usage,
         "--listen :7007: the address is missing; for every interface write 0.0.0.0:PORT or [::]:PORT"},
        {{"-l", "::1:7007"},
         ExitCode::Usage,
         "--listen ::1:7007: an IPv6 address stands in brackets: [::1]:7007"},
        {{"-l", "fe80::1%lo:7007"},
         ExitCode::Usage,
         "--listen fe80::1%lo:7007: an IPv6 address stands in brackets: [::1]:7007"},
        {{"-l", "udp:127.0.0.1:7007"},
         ExitCode::Usage,
         "--listen udp:127.0.0.1:7007: 'udp:127.0.0.1' is not an address, and names are not looked up; " +
             forms},
        {{"-l", "localhost:7007"},
         ExitCode::Usage,
         "--listen localhost:7007: 'localhost' is not an address, and names are not looked up; " + forms},
        {{"-l", "127.1:7007"},
         ExitCode::Usage,
         "--listen 127.1:7007: '127.1' is not an address, and names are not looked up; " + forms},
        {{"-l", "[::g]:7007"},
         ExitCode::Usage,
         "--listen [::g]:7007: '::g' is not an IPv6 address; " + forms},
        {{"-l", "[::ffff:127.0.0.1]:7"},
         ExitCode::Usage,
         "--listen [::ffff:127.0.0.1]:7: a mapped address is IPv4; write it as 127.0.0.1:7007"},
        {{"-l", "[fe80::1%nowhere]:7"},
         ExitCode::Usage,
         "--listen [fe80::1%nowhere]:7: there is no network interface 'nowhere'; see ip -6 address"},
        {{"-l", "127.0.0.1:65536"},
         ExitCode::Usage,
         "--listen 127.0.0.1:65536: '65536' is not a port; write 0 (any free one) to 65535"},
        {{"-l", "unix:x"}, ExitCode::Usage, "--listen unix:x: the path of a unix socket starts with '/'"},
        {{"-l", "unix:@x"}, ExitCode::Usage, "--listen unix:@x: the path of a unix socket starts with '/'"},
        {{"-l", "unix:/x,mod=0600"},
         ExitCode::Usage,
         "--listen unix:/x,mod=0600: 'mod=0600' is no setting of a unix socket; write mode=0660 (octal, 0 to "
         "0777) "
         "after the comma"},
        {{"-l", "unix:/x,mode=1777"},
         ExitCode::Usage,
         "--listen unix:/x,mode=1777: 'mode=1777' is no setting of a unix socket; write mode=0660 (octal, 0 "
         "to 0777) "
         "after the comma"},
        {{"-l", long_path},
         ExitCode::Usage,
         "--listen " + long_path + ": the path of a unix socket has at most 107 bytes, this one has 108"},
    });
}

TEST_F(CommandLine, SaysWhyNobodyCanEverConnectToAnAddress) {
    const auto refused = [](const std::string& address, const std::string& why) {
        return Case{{"-l", address}, ExitCode::Usage, "--listen " + address + ": " + why};
    };
    const auto needs_interface = [](const std::string& form) {
        return "a link-local address needs its interface: " + form + "; see ip -6 address";
    };
    const std::string no_interface = "only a link-local address (fe80::/10) has an interface; write ";
    const std::string multicast = "that is a multicast address, and no TCP connection goes to one; give the "
                                  "address of an interface, or ";
    expect_refused({
        refused("[fe80::1]:7007", needs_interface("[fe80::1%eth0]:7007")),
        refused("[febf:ffff::1]:0", needs_interface("[febf:ffff::1%eth0]:0")),
        refused("[fe80::1%]:7", "there is no network interface ''; see ip -6 address"),
        refused("[fe80::1%0]:7", "there is no network interface '0'; see ip -6 address"),
        refused("[fe80::1%4294967295]:7", "there is no network interface '4294967295'; see ip -6 address"),
        refused("[fe80::1%1x]:7", "there is no network interface '1x'; see ip -6 address"),
        refused("[::1%lo]:7", no_interface + "[::1]:7"),
        refused("[::%lo]:7", no_interface + "[::]:7"),
        refused("[::%nowhere]:7", no_interface + "[::]:7"),
        refused("[2001:db8::1%1]:7", no_interface + "[2001:db8::1]:7"),
        refused("[fec0::1%lo]:7", no_interface + "[fec0::1]:7"),
        refused("[ff00::]:7", multicast + "[::] for all of them"),
        refused("[ff02::1]:7", multicast + "[::] for all of them"),
        refused("[ff02::1%lo]:7", multicast + "[::] for all of them"),
        refused("224.0.0.0:7", multicast + "0.0.0.0 for all of them"),
        refused("239.255.255.255:7", multicast + "0.0.0.0 for all of them"),
    });
    for (const auto* control : {"[fe80::1%lo]:7", "[fe80::1%1]:7", "[fec0::1]:7", "[fe00::1]:7",
                                "223.255.255.255:7", "240.0.0.1:7"}) {
        EXPECT_EQ(good({"-l", control}).services[0].listen.size(), 1U) << control;
    }
}

TEST_F(CommandLine, RefusesMoreThan64Addresses) {
    std::vector<std::string> arguments;
    for (int port = 1; port <= 64; ++port) {
        arguments.push_back(fmt::format("--listen=127.0.0.1:{}", port));
    }
    EXPECT_EQ(good(arguments).services[0].listen.size(), 64U);
    arguments.emplace_back("--listen=127.0.0.1:65");
    expect_refused({{arguments, ExitCode::Usage,
                     "--listen 127.0.0.1:65: there are more than 64 addresses; give fewer"}});
}

TEST_F(CommandLine, TakesUsersByNameAndByNumber) {
    EXPECT_EQ(good({"-u", "daemon"}).user->uid, 1U);
    EXPECT_EQ(good({"-u", "daemon"}).user->gid, 1U);
    EXPECT_EQ(good({"-u", "1"}).user->name, "daemon");
    EXPECT_EQ(good({"-u", "daemon:5"}).user->gid, 5U);
    const auto stranger = good({"-u", "61007"}).user;
    EXPECT_EQ(stranger->uid, 61007U);
    EXPECT_EQ(stranger->gid, 61007U);
    EXPECT_EQ(stranger->name, "61007");
}

TEST_F(CommandLine, RefusesUsersThatAreUnknownOrRoot) {
    const std::string cure =
        ", which is what --user is there to leave; give a user that nothing else runs as";
    const std::string unknown =
        "; create one that nothing else runs as (useradd --system {}), or give numbers, which "
        "need no account: 61007:61007";
    const auto create = [&](const std::string& name) { return fmt::format(fmt::runtime(unknown), name); };
    expect_refused({
        {{"-u", "no-one"}, ExitCode::Usage, "--user no-one: there is no user 'no-one'" + create("no-one")},
        {{"-u", ":5"}, ExitCode::Usage, "--user :5: there is no user ''" + create("cloister")},
        {{"-u", "4294967295"},
         ExitCode::Usage,
         "--user 4294967295: there is no user '4294967295'" + create("4294967295")},
        {{"-u", "61007:staff"},
         ExitCode::Usage,
         "--user 61007:staff: 'staff' is not the number of a group; give 0 < GID < 4294967295, or leave it "
         "away"},
        {{"-u", "root"}, ExitCode::NotPermitted, "--user root: that is root's user" + cure},
        {{"-u", "0:61007"}, ExitCode::NotPermitted, "--user 0:61007: that is root's user" + cure},
        {{"-u", "61007:0"}, ExitCode::NotPermitted, "--user 61007:0: that is root's group" + cure},
    });
}

TEST_F(CommandLine, WarnsOfNobody) {
    const auto options = good({"-u", "nobody"});
    ASSERT_EQ(options.warnings.size(), 1U);
    EXPECT_EQ(options.warnings[0],
              "--user nobody: other services run as nobody too, and processes of one user can "
              "signal each other; give cloisterd a user of its own");
    EXPECT_EQ(good({"-u", "65534"}).warnings.size(), 1U);
    EXPECT_TRUE(good({"-u", "daemon"}).warnings.empty());
}

TEST_F(CommandLine, RefusesRootWithoutAUser) {
    euid = 0;
    expect_refused(
        {{{},
          ExitCode::NotPermitted,
          "started as root without a user to become; give --user NAME, a user that nothing else runs as, or "
          "start it as an ordinary user"}});
    EXPECT_TRUE(parse({"--user", "61007"}));
    EXPECT_TRUE(parse({"--check"}));
    EXPECT_EQ(parse({"--version"}).error().out, "version, /policies\n");
    EXPECT_EQ(parse({"--version"}).error().code, ExitCode::Ok);
    EXPECT_EQ(parse({"--help"}).error().out.rfind("A TCP echo server", 0), 0U);
    EXPECT_EQ(parse({"--help"}).error().code, ExitCode::Ok);
    environment = {{"CLOISTER_USER", "61007"}};
    EXPECT_TRUE(parse({}));
}

TEST_F(CommandLine, SuggestsTheNearestOption) {
    expect_refused({
        {{"--idle-timeot=5s"},
         ExitCode::Usage,
         "there is no option --idle-timeot; did you mean --idle-timeout?"},
        {{"--lisen", "x"}, ExitCode::Usage, "there is no option --lisen; did you mean --listen?"},
        {{"--unconfined"}, ExitCode::Usage, "there is no option --unconfined; see --help"},
        {{"-x"}, ExitCode::Usage, "there is no option -x; see --help"},
    });
}

TEST_F(CommandLine, RefusesWhatIsLeftOverMissingOrDouble) {
    expect_refused({
        {{"127.0.0.1:7007"},
         ExitCode::Usage,
         "'127.0.0.1:7007' is not an option, and nothing else is expected; an address goes with --listen; "
         "see --help"},
        {{"-l", "127.0.0.1:1", "127.0.0.1:2"},
         ExitCode::Usage,
         "'127.0.0.1:2' is not an option, and nothing else is expected; an address goes with --listen; see "
         "--help"},
        {{"--lifetime"}, ExitCode::Usage, "--lifetime needs a value; see --help"},
        {{"--listen", "--check"},
         ExitCode::Usage,
         "--listen --check: there is no port; write 127.0.0.1:7007, [::1]:7007 or unix:/path"},
        {{"--lifetime", "1s", "--lifetime", "2s"},
         ExitCode::Usage,
         "--lifetime is given 2 times; give it once"},
        {{"--log-format", "xml"},
         ExitCode::Usage,
         "--log-format xml: there is no such format; give json or logfmt"},
    });
}

TEST_F(CommandLine, RefusesAnEmptyValue) {
    const std::map<std::string, std::string> why{
        {"--listen", "there is no port; write 127.0.0.1:7007, [::1]:7007 or unix:/path"},
        {"--user",
         "there is no user ''; create one that nothing else runs as (useradd --system cloister), or "
         "give numbers, which need no account: 61007:61007"},
        {"--policy-dir", "the path is empty; give a directory"},
        {"--max-connections", "not a number of connections; give 1 to 1048576"},
        {"--lifetime", "a time is a whole number and a unit: 500ms, 10s, 2m, 1h; give 1ms to 24h"},
        {"--socket-buffer", "a size is a whole number and a unit: 64K, 1M; give 4K to 64M, or auto"},
        {"--log-format", "there is no such format; give json or logfmt"}};
    for (const auto& [option, message] : why) {
        expect_refused({{{option, ""}, ExitCode::Usage, option + " : " + message},
                        {{option + "="}, ExitCode::Usage, option + " needs a value; see --help"}});
    }
}

TEST_F(CommandLine, RefusesAFlagWithAValue) {
    expect_refused({{{"--check=false"}, ExitCode::Usage, "--check takes no value; see --help"},
                    {{"--version=1"}, ExitCode::Usage, "--version takes no value; see --help"}});
}

TEST_F(CommandLine, PrintsTheVersionForThePolicyDirectoryGiven) {
    const auto exit = parse({"--version", "--policy-dir", "/other"}).error();
    EXPECT_EQ(exit.out, "version, /other\n");
    EXPECT_EQ(exit.err, "");
    EXPECT_EQ(exit.code, ExitCode::Ok);
}

TEST_F(CommandLine, HelpNamesEveryOptionAndItsDefault) {
    const auto exit = parse({"-h"}).error();
    EXPECT_EQ(exit.code, ExitCode::Ok);
    EXPECT_EQ(exit.err, "");
    for (const auto* part : {"-l,--listen ADDR:PORT", "-u,--user NAME|UID[:GID]", "--policy-dir DIR",
                             "(1000)", "(60s)", "(10m)", "(10s)", "(30s)", "--socket-buffer SIZE|auto",
                             "(256K)", "(json)", "-t,--check", "--version", "-h,--help", "CLOISTER_LISTEN"}) {
        EXPECT_THAT(exit.out, HasSubstr(part));
    }
}

} // namespace
} // namespace cloister::config
