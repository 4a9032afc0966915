// SPDX-License-Identifier: MIT
// Option over environment over file over default; and --show-config, which says which of them it was.
#include "config/values.h"

#include "fixture.h"

#include <fmt/format.h>

namespace cloister::config {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Precedence = test::ConfigurationTest;

/// Every key that several sources can give, four values of it, and how the model shows what it has.
struct Case {
    Key key;
    std::vector<std::string> values; ///< of the option, the environment, [[service]] or the top, [defaults]
    std::function<std::string(const Config&)> show;
};

std::string ms(std::chrono::milliseconds time) {
    return fmt::format("{}ms", time.count());
}

std::string off_or(std::chrono::milliseconds time) {
    return time.count() == 0 ? "off" : ms(time);
}

std::string rate(const RateLimit& limit) {
    return fmt::format("{}/s:{}", limit.per_second, limit.burst);
}

std::string prefixes(const Prefixes& bits) {
    return bits.ipv4 == 0 ? "off" : fmt::format("{},{}", bits.ipv4, bits.ipv6);
}

const std::vector<Case>& cases() {
    static const std::vector<Case> all{
        {Key::handler, {"a", "b", "c"}, [](const Config& c) { return c.services[0].handler; }},
        {Key::content, {"/1", "/2", "/3"}, [](const Config& c) { return c.services[0].content.string(); }},
        {Key::content_after,
         {"request", "request", "request"},
         [](const Config& c) {
             return std::string{c.services[0].content_after_request ? "request" : "connect"};
         }},
        {Key::listen,
         {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"},
         [](const Config& c) { return c.services[0].listen.at(0).text; }},
        {Key::max_connections,
         {"1", "2", "3", "4"},
         [](const Config& c) { return fmt::to_string(c.services[0].max_connections); }},
        {Key::listeners,
         {"1", "2", "3", "4"},
         [](const Config& c) { return fmt::to_string(c.services[0].listeners); }},
        {Key::exempt,
         {"uid:1", "uid:2", "uid:3", "uid:4"},
         [](const Config& c) {
             const auto& exempt = c.services[0].exempt;
             return std::string{exempt.empty() ? "" : control::SourceText{exempt.at(0)}.text};
         }},
        {Key::max_per_source,
         {"1", "2", "3", "4"},
         [](const Config& c) { return fmt::to_string(c.services[0].max_per_source); }},
        {Key::source_rate,
         {"1/s:1", "2/s:2", "3/s:3", "4/s:4"},
         [](const Config& c) { return rate(c.services[0].source_rate); }},
        {Key::source_prefix,
         {"1,1", "2,2", "3,3", "4,4"},
         [](const Config& c) { return prefixes(c.services[0].source_prefix); }},
        {Key::max_per_network,
         {"1", "2", "3", "4"},
         [](const Config& c) { return fmt::to_string(c.services[0].max_per_network); }},
        {Key::network_rate,
         {"1/s:1", "2/s:2", "3/s:3", "4/s:4"},
         [](const Config& c) { return rate(c.services[0].network_rate); }},
        {Key::network_prefix,
         {"1,1", "2,2", "3,3", "4,4"},
         [](const Config& c) { return prefixes(c.services[0].network_prefix); }},
        {Key::reserve,
         {"1%", "2%", "3%", "4%"},
         [](const Config& c) { return fmt::format("{}%", c.services[0].reserve); }},
        {Key::penalty,
         {"1ms", "2ms", "3ms", "4ms"},
         [](const Config& c) { return ms(c.services[0].penalty); }},
        {Key::over_rate_penalty,
         {"1ms", "2ms", "3ms", "4ms"},
         [](const Config& c) { return off_or(c.services[0].over_rate_penalty); }},
        {Key::privileged_ports,
         {"refuse", "refuse", "refuse", "refuse"},
         [](const Config& c) {
             return std::string{c.services[0].refuse_privileged_ports ? "refuse" : "accept"};
         }},
        {Key::defer_accept,
         {"1ms", "2ms", "3ms", "4ms"},
         [](const Config& c) { return off_or(c.services[0].defer_accept); }},
        {Key::idle_timeout,
         {"1ms", "2ms", "3ms", "4ms"},
         [](const Config& c) { return ms(c.services[0].idle_timeout); }},
        {Key::lifetime,
         {"1ms", "2ms", "3ms", "4ms"},
         [](const Config& c) { return ms(c.services[0].lifetime); }},
        {Key::cpu_limit,
         {"1000ms", "2000ms", "3000ms", "4000ms"},
         [](const Config& c) { return ms(c.services[0].cpu_limit); }},
        {Key::drain_timeout,
         {"1ms", "2ms", "3ms", "4ms"},
         [](const Config& c) { return ms(c.services[0].drain_timeout); }},
        {Key::socket_buffer,
         {"5K", "6K", "7K", "8K"},
         [](const Config& c) { return fmt::format("{}K", c.services[0].socket_buffer.value_or(0) / 1024); }},
        {Key::user,
         {"1:1", "2:2", "3:3"},
         [](const Config& c) { return fmt::format("{0}:{0}", c.user->uid); }},
        {Key::policy_dir, {"/1", "/2", "/3"}, [](const Config& c) { return c.policy_dir.string(); }},
        {Key::control_socket,
         {"/1", "/2", "/3"},
         [](const Config& c) { return c.control_socket.value_or("").string(); }},
        {Key::log_format,
         {"logfmt", "logfmt", "logfmt"},
         [](const Config& c) { return std::string{c.log_format == LogFormat::logfmt ? "logfmt" : "json"}; }},
    };
    return all;
}

/// A file that gives `key` in the tables that `own` and `defaults` say.
std::string file_with(const Case& tried, bool own, bool defaults) {
    const Spec& spec = spec_of(tried.key);
    const auto line = [&](const std::string& text) {
        const auto value = parse_value(spec, text).value();
        const auto shown = spelled(spec, value);
        return fmt::format("{} = {}\n", spec.name, is_list(spec.kind) ? "[" + shown + "]" : shown);
    };
    std::string text;
    if (own && spec.scope == Scope::daemon) {
        text += line(tried.values[2]);
    }
    if (defaults) {
        text += "[defaults]\n" + line(tried.values[3]);
    }
    text += "[[service]]\nname = \"one\"\n";
    if (own && of_service(spec)) {
        text += line(tried.values[2]);
    }
    return text;
}

TEST_F(Precedence, IsOptionEnvironmentFileDefaultsOfTheFileDefault) {
    for (const auto& tried : cases()) {
        const Spec& spec = spec_of(tried.key);
        const bool limit = spec.scope == Scope::limit;
        for (unsigned given = 0; given < 16; ++given) {
            const bool option = (given & 1U) != 0;
            const bool variable = (given & 2U) != 0;
            const bool own = (given & 4U) != 0;
            const bool defaults = (given & 8U) != 0;
            if (defaults && !limit) {
                continue;
            }
            if (tried.key == Key::user && given == 0) {
                continue; // root must have one
            }
            SCOPED_TRACE(fmt::format("{} {:04b}", spec.name, given));
            environment = {{"CLOISTER_USER", tried.key == Key::user ? "" : "7:7"}};
            if (variable) {
                environment[environment_name(spec.name)] = tried.values[1];
            }
            std::vector<std::string> arguments;
            if (option) {
                arguments = {fmt::format("--{}", spec.name), tried.values[0]};
            }
            const auto config = good(file_with(tried, own, defaults), arguments);
            const auto& origins = of_service(spec) ? config.services[0].origins : config.origins;
            const auto source = origins[tried.key].source;
            if (option) {
                EXPECT_EQ(tried.show(config), tried.values[0]);
                EXPECT_EQ(source, Origin::Source::option);
            } else if (variable) {
                EXPECT_EQ(tried.show(config), tried.values[1]);
                EXPECT_EQ(source, Origin::Source::environment);
            } else if (own || defaults) {
                EXPECT_EQ(tried.show(config), tried.values[own ? 2 : 3]);
                EXPECT_EQ(source, Origin::Source::file);
            } else {
                EXPECT_EQ(source, Origin::Source::standard);
                if (spec.standard != nullptr) {
                    const auto standard = parse_value(spec, spec.standard).value();
                    EXPECT_EQ(spelled(spec, parse_value(spec, tried.show(config)).value()),
                              spelled(spec, standard));
                }
            }
        }
    }
}

TEST_F(Precedence, HasATestForEveryOptionThatAFileCanGive) {
    for (const auto& spec : specs()) {
        if (spec.is_option && in_file(spec)) {
            EXPECT_TRUE(std::ranges::any_of(cases(), [&](const Case& one) { return one.key == spec.key; }))
                << spec.name;
        }
    }
}

TEST_F(Precedence, OfTheTableIsWhatAServiceHasInCode) {
    const auto config = good("");
    const Service service;
    EXPECT_EQ(config.services[0].name, service.name);
    EXPECT_EQ(config.services[0].handler, service.handler);
    for (const auto& spec : specs()) {
        if (spec.scope != Scope::limit || spec.standard == nullptr) {
            continue;
        }
        const auto standard = parse_value(spec, spec.standard);
        ASSERT_TRUE(standard) << spec.name;
        Config bare{{service}, {}, {}, {}, {}, {}, {}};
        for (const auto& tried : cases()) {
            if (tried.key == spec.key) {
                EXPECT_EQ(parse_value(spec, tried.show(bare)), standard) << spec.name;
                EXPECT_EQ(parse_value(spec, tried.show(config)), standard) << spec.name;
            }
        }
    }
}

constexpr const char* two = "[[service]]\nname = \"a\"\nlisten = [\"127.0.0.1:1\"]\nidle-timeout = \"3s\"\n"
                            "[[service]]\nname = \"b\"\nlisten = [\"127.0.0.1:2\"]\n";

TEST_F(Precedence, OfALimitIsForEachOfSeveralServices) {
    const auto config = good(two, {"--idle-timeout=9s"});
    EXPECT_EQ(config.services[0].idle_timeout, std::chrono::seconds{9});
    EXPECT_EQ(config.services[1].idle_timeout, std::chrono::seconds{9});
    environment["CLOISTER_LIFETIME"] = "8s";
    EXPECT_EQ(good(two).services[1].lifetime, std::chrono::seconds{8});
    EXPECT_EQ(good(two).services[0].idle_timeout, std::chrono::seconds{3});
}

TEST_F(Precedence, OfAnAddressIsAnErrorWithSeveralServices) {
    const std::string why =
        ": FILE has 2 services, and this belongs to one of them; write it there, as listen = "
        "[\"127.0.0.1:7007\"], or give another file with --config\n";
    EXPECT_EQ(refused(two, ExitCode::Usage, {"--listen=127.0.0.1:3"}), "cloisterd: --listen" + why);
    environment["CLOISTER_LISTEN"] = "127.0.0.1:3";
    EXPECT_EQ(refused(two, ExitCode::Usage), "cloisterd: CLOISTER_LISTEN" + why);
}

TEST_F(Precedence, OfAnAddressReplacesAllOfOneService) {
    const std::string one = "[[service]]\nname = \"a\"\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n";
    const auto config = good(one, {"--listen=127.0.0.1:3"});
    ASSERT_EQ(config.services[0].listen.size(), 1U);
    EXPECT_EQ(config.services[0].listen[0].text, "127.0.0.1:3");
    EXPECT_EQ(config.services[0].name, "a");
}

TEST_F(Precedence, LeavesNoAddressGivenTwice) {
    const auto config = read({"--listen=127.0.0.1:3", "--listen=127.0.0.1:3"});
    ASSERT_FALSE(config);
    EXPECT_EQ(config.error().err,
              "cloisterd: --listen 127.0.0.1:3: this address is given twice; leave one of them away\n");
    EXPECT_EQ(config.error().code, ExitCode::Usage);
    EXPECT_TRUE(read({"--listen=127.0.0.1:0", "--listen=127.0.0.1:0"})) << "any free one, twice";
    EXPECT_TRUE(read({"--listen=[::]:3", "--listen=0.0.0.0:3"}));
}

TEST_F(Precedence, OfIpv4OnOnePortIsTheIpv4AddressOfAnyService) {
    const auto service = [](const char* name, const char* address) {
        return fmt::format("[[service]]\nname = \"{}\"\nlisten = [\"{}\"]\n", name, address);
    };
    const auto with_ipv4 = [&](const std::string& text) {
        return good(text).services[0].listen[0].with_ipv4;
    };
    EXPECT_TRUE(with_ipv4(service("a", "[::]:7") + service("b", "0.0.0.0:8")));
    EXPECT_FALSE(with_ipv4(service("a", "[::]:7") + service("b", "0.0.0.0:7")));
    EXPECT_TRUE(with_ipv4(service("a", "[::]:0") + service("b", "0.0.0.0:0"))) << "ports of their own";
    EXPECT_FALSE(with_ipv4(service("a", "[::1]:7"))) << "which is no address of IPv4";
}

// --show-config

using ShowConfig = test::ConfigurationTest;

TEST_F(ShowConfig, NamesTheOriginOfEachValue) {
    environment = {{"CLOISTER_USER", ""}, {"CLOISTER_LIFETIME", "90s"}};
    const auto shown =
        read_text("user = \"daemon\"\n[defaults]\nsocket-buffer = \"auto\"\n[[service]]\nname = \"one\"\n"
                  "listen = [\"127.0.0.1:1\", \"unix:/run/x,mode=0600\"]\n",
                  {"-T", "--idle-timeout", "1500ms", "--exempt=192.0.2.0/24", "--exempt=uid:7"});
    ASSERT_FALSE(shown);
    EXPECT_EQ(shown.error().code, ExitCode::Ok);
    EXPECT_EQ(shown.error().err, "");
    EXPECT_EQ(
        with_file_named(shown.error().out),
        R"(# The configuration that is in effect, each value with its origin. What is commented out is a default.
user = "daemon:1"  # FILE:1
# policy-dir = "/policies"  # default
# log-format = "json"  # default
# control-socket: none  # default

[[service]]
name = "one"  # FILE:5
# handler = "echo"  # default
listen = ["127.0.0.1:1", "unix:/run/x,mode=0600"]  # FILE:6
# content: none  # default
# content-after = "connect"  # default
exempt = ["192.0.2.0/24", "uid:7"]  # option --exempt
# max-connections = 1000  # default
# listeners = 1  # default
# max-per-source = 64  # default
# source-rate = "32/s:128"  # default
# source-prefix = "32,64"  # default
# max-per-network = 256  # default
# network-rate = "128/s:512"  # default
# network-prefix = "off"  # default
# reserve = "10%"  # default
# penalty = "90s"  # default
# over-rate-penalty = "off"  # default
# privileged-ports = "accept"  # default
# defer-accept = "5s"  # default
idle-timeout = "1500ms"  # option --idle-timeout
lifetime = "90s"  # environment CLOISTER_LIFETIME
# cpu-limit = "10s"  # default
socket-buffer = "auto"  # FILE:3
# drain-timeout = "30s"  # default
)");
}

/// All but where it was said.
void expect_same(const Config& a, const Config& b) {
    ASSERT_EQ(a.services.size(), b.services.size());
    EXPECT_EQ(a.policy_dir, b.policy_dir);
    EXPECT_EQ(a.log_format, b.log_format);
    ASSERT_EQ(a.user.has_value(), b.user.has_value());
    if (a.user) {
        EXPECT_EQ(a.user->uid, b.user->uid);
        EXPECT_EQ(a.user->gid, b.user->gid);
        EXPECT_EQ(a.user->name, b.user->name);
    }
    for (size_t i = 0; i < a.services.size(); ++i) {
        const auto& x = a.services[i];
        const auto& y = b.services[i];
        EXPECT_EQ(x.name, y.name);
        EXPECT_EQ(x.handler, y.handler);
        EXPECT_EQ(x.content, y.content);
        EXPECT_EQ(x.content_after_request, y.content_after_request);
        EXPECT_EQ(x.listen_given, y.listen_given);
        EXPECT_EQ(x.max_connections, y.max_connections);
        EXPECT_EQ(x.listeners, y.listeners);
        EXPECT_EQ(x.idle_timeout, y.idle_timeout);
        EXPECT_EQ(x.lifetime, y.lifetime);
        EXPECT_EQ(x.cpu_limit, y.cpu_limit);
        EXPECT_EQ(x.drain_timeout, y.drain_timeout);
        EXPECT_EQ(x.socket_buffer, y.socket_buffer);
        EXPECT_EQ(x.socket_buffer_given, y.socket_buffer_given);
        ASSERT_EQ(x.listen.size(), y.listen.size());
        for (size_t n = 0; n < x.listen.size(); ++n) {
            EXPECT_EQ(x.listen[n].text, y.listen[n].text);
            EXPECT_EQ(x.listen[n].mode, y.listen[n].mode);
        }
    }
}

TEST_F(ShowConfig, IsReadAgainWithTheSameEffect) {
    const std::vector<std::pair<std::string, std::vector<std::string>>> starts{
        {"", {}},
        {"",
         {"--listen=unix:/tmp/a \"b\" \\ \t#x", "--policy-dir=/\"p\" \\ \xc3\xa4", "--max-connections=3"}},
        {"",
         {"-l", "127.0.0.1:1", "-l", "[::1]:1", "--socket-buffer=256K", "--log-format=logfmt", "-u",
          "daemon:5"}},
        {two, {"--lifetime=61s"}},
        {"[[service]]\nname = \"a\"\nhandler = \"static\"\ncontent = \"/c d\"\ncontent-after = \"request\"\n"
         "[[service]]\nname = \"b\"\n",
         {}},
    };
    for (const auto& [text, arguments] : starts) {
        environment = {};
        const auto config = good(text, arguments);
        auto to_show = arguments;
        to_show.emplace_back("--show-config");
        const auto shown = read_text(text, to_show);
        ASSERT_FALSE(shown);
        ASSERT_EQ(shown.error().code, ExitCode::Ok) << shown.error().err;
        environment = {{"CLOISTER_USER", ""}};
        expect_same(config, good(shown.error().out));
    }
}

TEST_F(ShowConfig, NeedsNoUserToBecome) {
    as_root_without_user = true;
    EXPECT_EQ(read({"-T"}).error().code, ExitCode::Ok);
    EXPECT_THAT(read({"-T"}).error().out, HasSubstr("# user: none  # default\n"));
}

TEST_F(ShowConfig, RefusesWhatNoFileCanHaveAndWhatContradictsIt) {
    EXPECT_EQ(read({"-T", "--policy-dir=/\xff"}).error().code, ExitCode::Config);
    EXPECT_EQ(read({"-T", "-t"}).error().err,
              "cloisterd: --check says nothing, and --show-config shows; give one of them\n");
    EXPECT_EQ(read({"-T", "-t"}).error().code, ExitCode::Usage);
    EXPECT_EQ(read({"-T", "--lifetime=1"}).error().code, ExitCode::Usage);
}

} // namespace
} // namespace cloister::config
