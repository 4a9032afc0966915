// SPDX-License-Identifier: MIT
#include "config/options.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace cloister::config {
namespace {

constexpr const char* footer =
    "TIME is a whole number and a unit: 500ms, 10s, 2m, 1h; 1ms to 24h.\n"
    "SIZE is a whole number and a unit: 64K, 1M; 4K to 64M.\n"
    "Each value may also stand in the environment: CLOISTER_IDLE_TIMEOUT for --idle-timeout,\n"
    "CLOISTER_LISTEN with spaces between addresses. Most may stand in the configuration file.\n"
    "An option wins over the environment, and that over the file.\n"
    "Sockets that a service manager passes (LISTEN_FDS) take the place of the default address.";

Exit usage(std::string_view message) {
    return {ExitCode::Usage, {}, fmt::format("cloisterd: {}\n", message)};
}

Exit unexpected_argument(const std::string& argument) {
    if (!argument.starts_with('-') || argument == "-") {
        return usage(fmt::format("'{}' is not an option, and nothing else is expected; an address goes with "
                                 "--listen; see --help",
                                 argument));
    }
    std::vector<std::string> options;
    for (const auto& spec : specs()) {
        if (spec.is_option || spec.kind == Kind::flag) {
            options.push_back(fmt::format("--{}", spec.name));
        }
    }
    const auto given = argument.substr(0, argument.find('='));
    const std::vector<std::string_view> names{options.begin(), options.end()};
    const auto like = nearest(given, names);
    return usage(like.empty() ? fmt::format("there is no option {}; see --help", given)
                              : fmt::format("there is no option {}; did you mean {}?", given, like));
}

void add_options(CLI::App& app, CommandLine& line) {
    for (const auto& spec : specs()) {
        const auto at = static_cast<size_t>(spec.key);
        const auto flags =
            fmt::format("{}--{}", spec.letter == 0 ? "" : fmt::format("-{},", spec.letter), spec.name);
        if (spec.kind == Kind::flag) {
            app.add_flag(flags, line.flags.at(at), spec.help)->disable_flag_override();
        } else if (spec.is_option) {
            app.add_option(flags, line.values.at(at),
                           spec.standard == nullptr ? spec.help
                                                    : fmt::format("{} ({})", spec.help, spec.standard))
                ->type_name(spec.type)
                ->expected(1)
                ->allow_extra_args(false)
                ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
        }
    }
}

} // namespace

tl::expected<CommandLine, Exit> parse_command_line(int argc, const char* const* argv) {
    CLI::App app{"A TCP echo server in which every connection lives in a confined process of its own.",
                 "cloisterd"};
    app.footer(footer);
    app.get_formatter()->column_width(36);
    CommandLine line;
    add_options(app, line);
    try {
        app.parse(argc, argv);
        return line;
    } catch (const CLI::CallForHelp&) {
        return tl::unexpected{Exit{ExitCode::Ok, app.help(), {}}};
    } catch (const CLI::ExtrasError&) {
        return tl::unexpected{unexpected_argument(app.remaining().front())};
    } catch (const CLI::ArgumentMismatch& error) {
        // "--listen: 1 required ADDR:PORT missing", "check was given a disallowed flag override"
        const std::string what = error.what();
        if (const auto flag = what.find(" was given a disallowed flag override"); flag != what.npos) {
            return tl::unexpected{
                usage(fmt::format("--{} takes no value; see --help", what.substr(0, flag)))};
        }
        return tl::unexpected{
            usage(fmt::format("{} needs a value; see --help", what.substr(0, what.find(':'))))};
    } catch (const CLI::ParseError& error) {
        return tl::unexpected{usage(fmt::format("{}; see --help", error.what()))};
    }
}

} // namespace cloister::config
