// SPDX-License-Identifier: MIT
#include "config/options.h"

#include "config/values.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <map>
#include <numeric>

namespace cloister::config {
namespace {

using namespace std::chrono_literals;

constexpr auto longest = 24h;

struct Spec {
    const char* name; ///< without the dashes
    char letter;      ///< 0: none
    const char* type; ///< nullptr: a flag
    const char* help;
};

constexpr std::array specs{
    Spec{"listen", 'l', "ADDR:PORT",
         "where to listen, repeatable: 127.0.0.1:7007 (default), [::]:7007 (IPv4 too), 127.0.0.1:0 (any free "
         "port), "
         "unix:/path, unix:/path,mode=0660"},
    Spec{"handler", 0, "NAME",
         "what is served: echo (default), discard, daytime, static, or one that was added"},
    Spec{"content", 0, "FILE", "what the handler static sends, up to 16 MiB"},
    Spec{"content-after", 0, "connect|request", "when: at once (connect), or after an empty line (connect)"},
    Spec{"user", 'u', "NAME|UID[:GID]", "become this user; required when started as root"},
    Spec{"policy-dir", 0, "DIR", "where the .policy files are"},
    Spec{"max-connections", 0, "N", "connections at a time, 1 to 1048576 (1000)"},
    Spec{"idle-timeout", 0, "TIME", "end a connection on which nothing moves for so long (60s)"},
    Spec{"lifetime", 0, "TIME", "end a connection after so long (10m)"},
    Spec{"cpu-limit", 0, "TIME", "CPU time of one connection, whole seconds (10s)"},
    Spec{"socket-buffer", 0, "SIZE|auto",
         "send and receive buffer of a connection (256K); auto: as large as the kernel likes"},
    Spec{"drain-timeout", 0, "TIME", "how long connections may go on after SIGTERM (30s)"},
    Spec{"log-format", 0, "json|logfmt", "form of the records on stderr (json)"},
    Spec{"check", 't', nullptr, "check options and policies, say nothing when they are good, and exit"},
    Spec{"version", 0, nullptr, "print version, libraries and policy hashes, and exit"},
};

constexpr const char* footer =
    "TIME is a whole number and a unit: 500ms, 10s, 2m, 1h; 1ms to 24h.\n"
    "SIZE is a whole number and a unit: 64K, 1M; 4K to 64M.\n"
    "Each value may also stand in the environment: CLOISTER_IDLE_TIMEOUT for --idle-timeout,\n"
    "CLOISTER_LISTEN with spaces between addresses. An option wins over the environment.\n"
    "Sockets that a service manager passes (LISTEN_FDS) take the place of the default address.";

std::string environment_name(std::string_view option) {
    std::string name = "CLOISTER_";
    std::ranges::transform(option, std::back_inserter(name), [](char c) {
        return c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    });
    return name;
}

size_t edit_distance(std::string_view from, std::string_view to) {
    std::vector<size_t> row(to.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 0; i < from.size(); ++i) {
        size_t diagonal = std::exchange(row[0], i + 1);
        for (size_t j = 0; j < to.size(); ++j) {
            const size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
        }
    }
    return row.back();
}

Exit usage(std::string_view message) {
    return {ExitCode::Usage, {}, fmt::format("cloisterd: {}\n", message)};
}

Exit unexpected_argument(const std::string& argument) {
    if (!argument.starts_with('-') || argument == "-") {
        return usage(fmt::format("'{}' is not an option, and nothing else is expected; an address goes with "
                                 "--listen; see --help",
                                 argument));
    }
    const auto given = argument.substr(0, argument.find('='));
    std::string nearest;
    size_t distance = 4; // farther is no likeness
    for (const auto& known : specs) {
        const auto name = fmt::format("--{}", known.name);
        if (const size_t d = edit_distance(given, name); d < distance) {
            nearest = name;
            distance = d;
        }
    }
    return usage(nearest.empty() ? fmt::format("there is no option {}; see --help", given)
                                 : fmt::format("there is no option {}; did you mean {}?", given, nearest));
}

/// The texts of the options and where each came from; the first one that can't be used is remembered in
/// `failure`, and later calls change nothing.
class Settings {
  public:
    explicit Settings(const Surroundings& surroundings) : surroundings_{surroundings} {}

    void add_to(CLI::App& app) {
        for (const auto& spec : specs) {
            auto& setting = settings_[spec.name];
            const auto flags =
                fmt::format("{}--{}", spec.letter == 0 ? "" : fmt::format("-{},", spec.letter), spec.name);
            if (spec.type == nullptr) {
                app.add_flag(flags, setting.flag, spec.help)->disable_flag_override();
            } else {
                app.add_option(flags, setting.values, spec.help)
                    ->type_name(spec.type)
                    ->expected(1)
                    ->allow_extra_args(false)
                    ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
            }
        }
    }
    [[nodiscard]] bool flag(const std::string& name) { return settings_[name].flag; }

    /// Calls `use(value)` for each value given; it returns what is wrong with the value, or nothing.
    template <class Use>
    bool each(const std::string& name, Use&& use) {
        auto values = settings_[name].values;
        std::string origin = "--" + name;
        if (values.empty()) {
            origin = environment_name(name);
            values = from_environment(origin, name == "listen");
        }
        for (const auto& value : values) {
            if (failure) {
                break;
            }
            if (std::optional<Refusal> refusal = use(value)) {
                failure = Exit{
                    refusal->code, {}, fmt::format("cloisterd: {} {}: {}\n", origin, value, refusal->why)};
            }
        }
        return !values.empty();
    }
    template <class Use>
    bool one(const std::string& name, Use&& use) {
        if (!failure && settings_[name].values.size() > 1) {
            failure = usage(
                fmt::format("--{} is given {} times; give it once", name, settings_[name].values.size()));
        }
        return each(name, std::forward<Use>(use));
    }
    template <class Duration>
    void duration(const std::string& name, Duration& into) {
        one(name, [&](const std::string& text) { return read_duration(text, longest, into); });
    }

    std::optional<Exit> failure;

  private:
    struct Setting {
        bool flag = false;
        std::vector<std::string> values;
    };

    [[nodiscard]] std::vector<std::string> from_environment(const std::string& variable, bool several) const {
        const char* text = surroundings_.environment(variable.c_str());
        if (text == nullptr || *text == '\0') {
            return {};
        }
        return several ? CLI::detail::split(text, ' ') : std::vector<std::string>{text};
    }

    const Surroundings& surroundings_;
    std::map<std::string, Setting> settings_;
};

std::optional<Exit> parse_command_line(CLI::App& app, int argc, const char* const* argv) {
    try {
        app.parse(argc, argv);
        return {};
    } catch (const CLI::CallForHelp&) {
        return Exit{ExitCode::Ok, app.help(), {}};
    } catch (const CLI::ExtrasError&) {
        return unexpected_argument(app.remaining().front());
    } catch (const CLI::ArgumentMismatch& error) {
        // "--listen: 1 required ADDR:PORT missing", "check was given a disallowed flag override"
        const std::string what = error.what();
        if (const auto flag = what.find(" was given a disallowed flag override"); flag != what.npos) {
            return usage(fmt::format("--{} takes no value; see --help", what.substr(0, flag)));
        }
        return usage(fmt::format("{} needs a value; see --help", what.substr(0, what.find(':'))));
    } catch (const CLI::ParseError& error) {
        return usage(fmt::format("{}; see --help", error.what()));
    }
}

} // namespace

tl::expected<Config, Exit> parse_options(int argc, const char* const* argv,
                                         const Surroundings& surroundings) {
    CLI::App app{"A TCP echo server in which every connection lives in a confined process of its own.",
                 "cloisterd"};
    app.footer(footer);
    app.get_formatter()->column_width(36);
    Settings settings{surroundings};
    settings.add_to(app);
    if (auto exit = parse_command_line(app, argc, argv)) {
        return tl::unexpected{*exit};
    }

    Config config;
    Service& service = config.services.emplace_back();
    if (!settings.one("policy-dir",
                      [&](const std::string& text) { return read_path(text, config.policy_dir); })) {
        const auto& installed = surroundings.default_policy_dir;
        if (!installed) {
            return tl::unexpected{
                Exit{ExitCode::SystemCall, {}, fmt::format("cloisterd: {}\n", installed.error())}};
        }
        config.policy_dir = *installed;
    }
    if (settings.flag("version")) {
        return tl::unexpected{
            settings.failure.value_or(Exit{ExitCode::Ok, surroundings.version_text(config.policy_dir), {}})};
    }
    config.check = settings.flag("check");
    service.listen_given =
        settings.each("listen", [&](const std::string& text) { return read_address(text, service.listen); });
    if (!service.listen_given) {
        service.listen.push_back(*parse_address("127.0.0.1:7007"));
    }
    settings.one("handler", [&](const std::string& text) { return read_handler(text, service.handler); });
    settings.one("content", [&](const std::string& text) { return read_file(text, service.content); });
    settings.one("content-after", [&](const std::string& text) {
        return read_content_after(text, service.content_after_request);
    });
    settings.one("user",
                 [&](const std::string& text) { return read_user(text, config.user, config.warnings); });
    settings.one("max-connections", [&](const std::string& text) {
        return read_max_connections(text, service.max_connections);
    });
    settings.duration("idle-timeout", service.idle_timeout);
    settings.duration("lifetime", service.lifetime);
    settings.duration("cpu-limit", service.cpu_limit);
    settings.duration("drain-timeout", service.drain_timeout);
    service.socket_buffer_given = settings.one("socket-buffer", [&](const std::string& text) {
        return read_buffer_size(text, service.socket_buffer);
    });
    settings.one("log-format",
                 [&](const std::string& text) { return read_log_format(text, config.log_format); });
    if (settings.failure) {
        return tl::unexpected{*settings.failure};
    }
    if (surroundings.euid == 0 && !config.user && !config.check) {
        return tl::unexpected{
            Exit{ExitCode::NotPermitted,
                 {},
                 "cloisterd: started as root without a user to become; give --user NAME, a user "
                 "that nothing else runs as, or start it as an ordinary user\n"}};
    }
    return config;
}

} // namespace cloister::config
