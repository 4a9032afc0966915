// SPDX-License-Identifier: MIT
#pragma once

#include "base/exit_code.h"
#include "config/reader.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <sys/types.h>
#include <tl/expected.hpp>
#include <unistd.h>
#include <vector>

namespace cloister::config {

/// Nothing to run: print `out` to stdout or `err` to stderr (both end in a newline) and exit with `code`.
struct Exit {
    ExitCode code;
    std::string out, err;
};

/// What the configuration is read against.
struct Surroundings {
    tl::expected<std::filesystem::path, std::string> default_policy_dir; ///< or why it is not known
    std::function<std::string(const std::filesystem::path& policy_dir)> version_text;
    uid_t euid = ::geteuid();
    std::function<const char*(const char*)> environment = ::getenv;
    std::filesystem::path default_file{}; ///< read if it is there; empty: none
    /// The child that parses the file.
    std::function<ReaderBody(std::string_view text, const std::optional<User>& user)> reader =
        confined_reader;
};

/// The command line, as texts.
struct CommandLine {
    std::array<std::vector<std::string>, key_count> values; ///< by Key
    std::array<bool, key_count> flags{};
    [[nodiscard]] bool flag(Key key) const { return flags.at(static_cast<size_t>(key)); }
    [[nodiscard]] const std::vector<std::string>& of(Key key) const {
        return values.at(static_cast<size_t>(key));
    }
};

/// Exit: --help, or what is not an option.
[[nodiscard]] tl::expected<CommandLine, Exit> parse_command_line(int argc, const char* const* argv);

/// Option over environment (CLOISTER_IDLE_TIMEOUT for --idle-timeout; an empty one counts as unset) over file
/// over default. The file is one that nobody but root, or the user who starts us, can change (trust::Rule); a
/// child parses it.
[[nodiscard]] tl::expected<Config, Exit> read_configuration(int argc, const char* const* argv,
                                                            const Surroundings& surroundings);

} // namespace cloister::config
