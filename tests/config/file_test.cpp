// SPDX-License-Identifier: MIT
// What a configuration file may say, and what is said about one that is wrong: the whole of it.
#include "config/file.h"
#include "fixture.h"

#include <fmt/format.h>

namespace cloister::config {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ConfigurationFile = test::ConfigurationTest;

constexpr const char* whole = R"(# every key
user = "daemon"
policy-dir = "/p"
log-format = "logfmt"

[defaults]
max-connections = 5
idle-timeout = "5s"

[[service]]
name = "echo"
handler = "echo"
listen = ["127.0.0.1:1", "unix:/run/x,mode=0600"]
max-connections = 7
lifetime = "2m"
cpu-limit = "1h"
drain-timeout = "24h"
socket-buffer = "64K"

[[service]]
name = "motd-2"
handler = "static"
listen = ["[::1]:2"]
content = "/etc/motd"
content-after = "request"
socket-buffer = "auto"

[[service]]
name = "passed"
)";

TEST_F(ConfigurationFile, SaysEverything) {
    environment["CLOISTER_USER"] = "";
    const auto config = good(whole);
    EXPECT_EQ(config.user->name, "daemon");
    EXPECT_EQ(config.policy_dir, "/p");
    EXPECT_EQ(config.log_format, LogFormat::logfmt);
    EXPECT_EQ(config.file, dir / "c.toml");
    ASSERT_EQ(config.services.size(), 3U);
    const auto& echo = config.services[0];
    EXPECT_EQ(echo.name, "echo");
    EXPECT_EQ(echo.handler, "echo");
    ASSERT_EQ(echo.listen.size(), 2U);
    EXPECT_EQ(echo.listen[0].text, "127.0.0.1:1");
    EXPECT_EQ(echo.listen[1].mode, 0600U);
    EXPECT_TRUE(echo.listen_given);
    EXPECT_EQ(echo.max_connections, 7U);
    EXPECT_EQ(echo.idle_timeout, 5s);
    EXPECT_EQ(echo.lifetime, 2min);
    EXPECT_EQ(echo.cpu_limit, 1h);
    EXPECT_EQ(echo.drain_timeout, 24h);
    EXPECT_EQ(echo.socket_buffer, 64U * 1024);
    EXPECT_TRUE(echo.socket_buffer_given);
    EXPECT_EQ(echo.content, "");
    EXPECT_FALSE(echo.content_after_request);
    const auto& motd = config.services[1];
    EXPECT_EQ(motd.handler, "static");
    EXPECT_EQ(motd.content, "/etc/motd");
    EXPECT_TRUE(motd.content_after_request);
    EXPECT_EQ(motd.max_connections, 5U);
    EXPECT_EQ(motd.idle_timeout, 5s);
    EXPECT_EQ(motd.lifetime, 10min);
    EXPECT_EQ(motd.socket_buffer, std::nullopt);
    EXPECT_TRUE(config.services[2].listen.empty()) << "it waits for sockets that are passed";
    EXPECT_FALSE(config.services[2].listen_given);
}

TEST_F(ConfigurationFile, KnowsWhereEachValueWasSaid) {
    environment["CLOISTER_USER"] = "";
    const auto config = good(whole);
    const auto in_line = [](unsigned line) { return Origin{Origin::Source::file, line}; };
    EXPECT_EQ(config.origins[Key::user], in_line(2));
    EXPECT_EQ(config.origins[Key::policy_dir], in_line(3));
    EXPECT_EQ(config.services[0].origins[Key::max_connections], in_line(14));
    EXPECT_EQ(config.services[0].origins[Key::idle_timeout], in_line(8));
    EXPECT_EQ(config.services[1].origins[Key::max_connections], in_line(7));
    EXPECT_EQ(config.services[1].origins[Key::lifetime], Origin{});
}

TEST_F(ConfigurationFile, MayBeEmptyOrLeaveServicesAway) {
    for (const auto* text :
         {"", "\n", "# nothing", "log-format = \"logfmt\"\n", "[defaults]\nlifetime = \"10m\"\n"}) {
        const auto config = good(text);
        ASSERT_EQ(config.services.size(), 1U);
        EXPECT_EQ(config.services[0].name, "echo");
        EXPECT_EQ(config.services[0].listen[0].text, "127.0.0.1:7007");
        EXPECT_FALSE(config.services[0].listen_given);
    }
    EXPECT_EQ(good("[defaults]\nmax-connections = 3\n").services[0].max_connections, 3U);
}

struct Wrong {
    const char* text;
    const char* message; ///< what follows "cloisterd: FILE:"
};

/// toml++ 3.3.0 alone ran into undefined behaviour at letters with accents (file.cpp).
TEST_F(ConfigurationFile, MayNotHaveACharacterBeyondAsciiOutsideOfStrings) {
    for (unsigned code = 0x80; code < 0x3100; ++code) {
        const std::string character = code < 0x800 ? std::string{static_cast<char>(0xc0 | code >> 6),
                                                                 static_cast<char>(0x80 | (code & 63))}
                                                   : std::string{static_cast<char>(0xe0 | code >> 12),
                                                                 static_cast<char>(0x80 | (code >> 6 & 63)),
                                                                 static_cast<char>(0x80 | (code & 63))};
        for (const auto& [before, behind] : {std::pair{"", " = 1\n"}, std::pair{"user ", "= \"x\"\n"},
                                             std::pair{"user = ", "\n"}, std::pair{"user = \"x\"", "\n"}}) {
            const auto read = parse_file(before + character + behind);
            ASSERT_FALSE(read) << code << before;
            EXPECT_EQ(read.error().line, 1U) << code << before;
        }
        EXPECT_TRUE(parse_file("# " + character + "\n")) << code << " in a comment";
    }
}

TEST_F(ConfigurationFile, IsRefusedWithPlaceCauseAndCure) {
    const std::vector<Wrong> all{
        {"idle-timeot = \"5s\"\n", "1:1: error: there is no key 'idle-timeot'; did you mean 'idle-timeout'? "
                                   "it stands in a [[service]], or for all "
                                   "of them in [defaults]\nidle-timeot = \"5s\"\n^\n"},
        {"[defaults]\nidle-timeot = \"5s\"\n", "2:1: error: there is no key 'idle-timeot' in [defaults]; did "
                                               "you mean 'idle-timeout'?\nidle-timeot = "
                                               "\"5s\"\n^\n"},
        {"idle-timeout = \"5s\"\n", "1:1: error: 'idle-timeout' can't stand above the first table: it stands "
                                    "in a [[service]], or for all of them in "
                                    "[defaults]\nidle-timeout = \"5s\"\n^\n"},
        {"[defaults]\nlisten = [\"127.0.0.1:1\"]\n",
         "2:1: error: 'listen' can't stand in [defaults]: it stands in a [[service]]\nlisten = "
         "[\"127.0.0.1:1\"]\n^\n"},
        {"[[service]]\nname = \"a\"\n  user = \"x\"\n",
         "3:3: error: 'user' can't stand in a [[service]]: it stands above the first table\n  user = \"x\"\n "
         " ^\n"},
        {"check = true\n", "1:1: error: 'check' can't stand above the first table: it is an option of one "
                           "start, --check, and stands in no "
                           "file\ncheck = true\n^\n"},
        {"usr = \"x\"\n",
         "1:1: error: there is no key 'usr' above the first table; did you mean 'user'?\nusr = "
         "\"x\"\n^\n"},
        {"servise = 1\n", "1:1: error: there is no key 'servise' above the first table; did you mean "
                          "'service'?\nservise = 1\n^\n"},
        {"[services]\n", "1:2: error: there is no key 'services' above the first table; did you mean "
                         "[[service]]?\n[services]\n ^\n"},
        {"unconfined = true\n",
         "1:1: error: there is no key 'unconfined' above the first table; docs/configuration.md "
         "lists all of them\nunconfined = true\n^\n"},
        {"[service]\nname = \"a\"\n",
         "1:1: error: each service is an element of an array of tables, not the one table; "
         "write [[service]], with two brackets\n[service]\n^\n"},
        {"service = 3\n",
         "1:1: error: each service is an element of an array of tables, not an integer; write "
         "[[service]], with two brackets\nservice = 3\n^\n"},
        {"defaults = 3\n",
         "1:1: error: 'defaults' is a table, not an integer; write [defaults]\ndefaults = 3\n^\n"},
        {"[[service]]\nlisten = [\"127.0.0.1:1\"]\n",
         "1:1: error: this service has no name; give it one of its own: name = \"echo\"\n[[service]]\n^\n"},
        {"[[service]]\nname = \"a\"\n[[service]]\nname = \"a\"\n",
         "4:8: error: the service of line 1 has the name 'a', too; give each its own\nname = \"a\"\n       "
         "^\n"},
        {"[[service]]\nname = \"Echo\"\n", "2:8: error: name: a name has 1 to 32 of a to z, 0 to 9 and '-', "
                                           "which is not the first\nname = \"Echo\"\n    "
                                           "   ^\n"},
        {"[defaults]\nidle-timeout = 60\n", "2:16: error: idle-timeout is a string, not an integer; write "
                                            "idle-timeout = \"60s\"\nidle-timeout = 60\n        "
                                            "       ^\n"},
        {"[defaults]\nidle-timeout = \"60\"\n", "2:16: error: idle-timeout: a time is a whole number and a "
                                                "unit: 500ms, 10s, 2m, 1h; give 1ms to 24h\n"
                                                "idle-timeout = \"60\"\n               ^\n"},
        {"[defaults]\nidle-timeout = \"25h\"\n", "2:16: error: idle-timeout: out of range; give 1ms to 24h\n"
                                                 "idle-timeout = \"25h\"\n               ^\n"},
        {"[defaults]\ncpu-limit = \"1500ms\"\n",
         "2:13: error: cpu-limit: the kernel counts this limit in whole seconds; give 1s to 24h\ncpu-limit = "
         "\"1500ms\"\n            ^\n"},
        {"[defaults]\nmax-connections = \"7\"\n",
         "2:19: error: max-connections is a whole number, not a string; write "
         "max-connections = 1000\nmax-connections = \"7\"\n                  "
         "^\n"},
        {"[defaults]\nmax-connections = 0\n", "2:19: error: max-connections: not a number of connections; "
                                              "give 1 to 1048576\nmax-connections = 0\n             "
                                              "     ^\n"},
        {"[defaults]\nmax-connections = -3\n", "2:19: error: max-connections: not a number of connections; "
                                               "give 1 to 1048576\nmax-connections = -3\n            "
                                               "      ^\n"},
        {"[defaults]\nmax-connections = 1048577\n", "2:19: error: max-connections: more connections than any "
                                                    "machine carries; give 1 to 1048576\nmax-connections = "
                                                    "1048577\n                  ^\n"},
        {"[defaults]\nsocket-buffer = \"3K\"\n", "2:17: error: socket-buffer: out of range; give 4K to 64M, "
                                                 "or auto\nsocket-buffer = \"3K\"\n                ^\n"},
        {"log-format = \"xml\"\n", "1:14: error: log-format: there is no such format; give json or "
                                   "logfmt\nlog-format = \"xml\"\n             ^\n"},
        {"[[service]]\nname = \"a\"\ncontent-after = \"lunch\"\n",
         "3:17: error: content-after: there is no such value; give connect or request\ncontent-after = "
         "\"lunch\"\n        "
         "        ^\n"},
        {"policy-dir = \"here\"\n",
         "1:14: error: policy-dir: a path in a file is absolute, it starts with '/'\npolicy-dir "
         "= \"here\"\n             ^\n"},
        {"policy-dir = \"\"\n",
         "1:14: error: policy-dir: the path is empty; give a directory\npolicy-dir = \"\"\n             ^\n"},
        {"policy-dir = \"/a\\u0000b\"\n",
         "1:14: error: policy-dir: there is a NUL byte in it\npolicy-dir = \"/a\\u0000b\"\n             ^\n"},
        {"[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:1\"\n",
         "3:10: error: listen is an array of strings, not a string; write listen = "
         "[\"127.0.0.1:7007\"]\nlisten = "
         "\"127.0.0.1:1\"\n         ^\n"},
        {"[[service]]\nname = \"a\"\nlisten = []\n", "3:1: error: listen has no address; give one, or leave "
                                                     "the line away where the service manager passes the "
                                                     "sockets\nlisten = []\n^\n"},
        {"[[service]]\nname = \"a\"\nlisten = [\"127.0.0.1:1\", 7007]\n",
         "3:26: error: an address is a string, not an integer; write listen = [\"127.0.0.1:7007\"]\nlisten = "
         "[\"127.0.0.1:1\", 7007]\n                         ^\n"},
        {"[[service]]\nname = \"a\"\nlisten = [\n  \"127.0.0.1:1\",\n  \"localhost:1\",\n]\n",
         "5:3: error: listen: 'localhost' is not an address, and names are not looked up; write "
         "127.0.0.1:7007, "
         "[::1]:7007 or unix:/path\n  \"localhost:1\",\n  ^\n"},
        {"[[service]]\nname = \"a\"\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:1\"]\n",
         "3:26: error: listen: this address is given twice; leave one of them away\nlisten = "
         "[\"127.0.0.1:1\", "
         "\"127.0.0.1:1\"]\n                         ^\n"},
        {"[[service]]\nname = \"a\"\nlisten = [\"unix:/x\"]\n[[service]]\nname = \"b\"\nlisten = "
         "[\"unix:/x,mode=0600\"]\n",
         "6:11: error: listen: the service 'a' has this address, too; an address belongs to one "
         "service\nlisten = "
         "[\"unix:/x,mode=0600\"]\n          ^\n"},
        {"log-format = \"json\"\nlog-format = \"json\"\n",
         "2:14: error: 'log-format' stands here for the second time; leave one of them away\nlog-format = "
         "\"json\"\n             ^\n"},
        {"[defaults]\nidle-timeout = 60s\n",
         "2:18: error: this is not TOML: Error while parsing decimal integer: expected digit, saw 's'; every "
         "value but a "
         "plain number stands in quotes: idle-timeout = \"60s\"\nidle-timeout = 60s\n                 ^\n"},
        {"log-format = json\n", "1:14: error: this is not TOML: Error while parsing value: could not "
                                "determine value type; every value but a plain number stands in quotes: "
                                "idle-timeout = \"60s\"\nlog-format = json\n             ^\n"},
        {"listen 127.0.0.1:1\n",
         "1:8: error: this is not TOML: Error while parsing key-value pair: expected '=', saw '1'; a line is "
         "KEY = VALUE, [defaults], [[service]] or a comment after #\nlisten 127.0.0.1:1\n       ^\n"},
        {"log-format = \"json\n",
         "1:19: error: this is not TOML: Error while parsing string: unescaped control characters other than "
         "TAB (U+0009) are explicitly prohibited; a string begins and ends with \" in the same "
         "line\nlog-format = \"json\n                  ^\n"},
        {"log-format = \n", "1:14: error: this is not TOML: Error while parsing key-value pair: expected "
                            "value, saw '\\n'; a line is KEY = VALUE, [defaults], [[service]] or a comment "
                            "after #\nlog-format = \n             ^\n"},
        {"[[service]\n",
         "1:11: error: this is not TOML: Error while parsing table header: expected ']', saw '\\n'; a table "
         "is [defaults] or [[service]], alone in its line\n[[service]\n          ^\n"},
        {"a = 1979-05-27\n",
         "1:1: error: there is no key 'a' above the first table; docs/configuration.md lists all of "
         "them\na = 1979-05-27\n^\n"},
        {"# \xc3\xa4\nlog-format = \"\xc3\xa4\" # \x7f\n",
         "2:20: error: this is not TOML: Error while parsing comment: control characters other than TAB "
         "(U+0009) are explicitly prohibited in comments\nlog-format = \"?\" # ?\n                   ^\n"},
    };
    for (const auto& [text, message] : all) {
        const auto said = refused(text);
        EXPECT_EQ(said, std::string{"cloisterd: FILE:"} + message) << text;
    }
}

TEST_F(ConfigurationFile, NamesUsersThatAreUnknownOrRoot) {
    environment["CLOISTER_USER"] = "";
    EXPECT_EQ(refused("user = \"no-one\"\n"), "cloisterd: FILE:1:8: error: user: there is no user 'no-one'; "
                                              "create one that nothing else runs as (useradd "
                                              "--system no-one), or give numbers, which need no account: "
                                              "61007:61007\nuser = \"no-one\"\n       ^\n");
    EXPECT_THAT(refused("user = \"root\"\n", ExitCode::NotPermitted),
                StartsWith("cloisterd: FILE:1:8: error: user: that is root's user"));
    EXPECT_EQ(good("user = \"nobody\"\n").warnings.size(), 1U);
}

TEST_F(ConfigurationFile, ShowsTheLineWithoutWhatATerminalWouldObey) {
    const auto said = refused("a = \"\x1b[2J\xc3\xa4\xff\"\n");
    EXPECT_EQ(said.find('\x1b'), said.npos);
    EXPECT_EQ(said.find('\xc3'), said.npos);
    const auto long_line = refused("log-format = \"" + std::string(5000, 'x') + "\"\n");
    EXPECT_LT(long_line.size(), 500U) << long_line;
}

TEST_F(ConfigurationFile, HasAtMost64ServicesAndAddressesAnd256AddressesInAll) {
    const auto services = [](int count, int addresses) {
        std::string text;
        for (int s = 0; s < count; ++s) {
            text += fmt::format("[[service]]\nname = \"s{}\"\nlisten = [\n", s);
            for (int a = 0; a < addresses; ++a) {
                text += fmt::format("\"127.0.0.1:{}\",\n", 1 + s * addresses + a);
            }
            text += "]\n";
        }
        return text;
    };
    EXPECT_EQ(good(services(64, 4)).services.size(), 64U);
    EXPECT_EQ(good(services(4, 64)).services[3].listen.size(), 64U);
    EXPECT_THAT(
        refused(services(65, 1)),
        StartsWith(
            "cloisterd: FILE:321:1: error: there are more than 64 services; start a second cloisterd for the "
            "rest\n[[service]]\n^\n"));
    EXPECT_THAT(refused(services(1, 65)),
                HasSubstr("FILE:68:1: error: there are more than 64 addresses; give fewer\n"));
    EXPECT_THAT(refused(services(5, 52)),
                HasSubstr("error: there are more than 256 addresses in all services"));
}

TEST_F(ConfigurationFile, IsARegularFileOfAtMost256KThatIsThere) {
    EXPECT_EQ(good(std::string(max_file_size - 1, '#') + "\n").services.size(), 1U);
    EXPECT_EQ(refused(std::string(max_file_size + 1, '#')),
              "cloisterd: FILE: it has more than 262144 bytes; is it the right file?\n");
    EXPECT_THAT(read({"-c", dir / "none"}).error().err,
                ::testing::MatchesRegex(
                    "cloisterd: .*/none: cannot open: .*/none: ENOENT \\(No such file or directory\\)\n"));
    EXPECT_EQ(read({"-c", dir / "none"}).error().code, ExitCode::NoInput);
    EXPECT_THAT(read({"-c", dir}).error().err, HasSubstr("is a directory, not a regular file"));
    EXPECT_EQ(read({"-c", ""}).error().err, "cloisterd: --config : the path is empty; give a file\n");
}

TEST_F(ConfigurationFile, IsOneThatNobodyElseMayWrite) {
    const auto path = write("");
    EXPECT_TRUE(read({"-c", path}));
    ASSERT_EQ(::chmod(path.c_str(), 0646), 0);
    const auto config = read({"-c", path});
    ASSERT_FALSE(config);
    EXPECT_EQ(config.error().code, ExitCode::Config);
    EXPECT_EQ(with_file_named(config.error().err),
              "cloisterd: FILE: not to be trusted: others may write to FILE (mode 0646): chmod o-w FILE\n");
}

TEST_F(ConfigurationFile, AtTheDefaultPlaceIsReadIfItIsThere) {
    default_file = dir / "none.toml";
    EXPECT_EQ(read({})->file, "");
    default_file = write("log-format = \"logfmt\"\n");
    EXPECT_EQ(read({})->log_format, LogFormat::logfmt);
    EXPECT_EQ(read({})->file, default_file);
    const auto other = write("", "other.toml");
    EXPECT_EQ(read({"--config", other})->log_format, LogFormat::json);
    environment["CLOISTER_CONFIG"] = other;
    EXPECT_EQ(read({})->log_format, LogFormat::json);
    EXPECT_EQ(read({"-c", default_file})->log_format, LogFormat::logfmt);
    EXPECT_EQ(read({"--version"}).error().out, "version\n") << "and the file is not even looked at";
    write("nonsense");
    EXPECT_EQ(read({"--version"}).error().out, "version\n");
}

} // namespace
} // namespace cloister::config
