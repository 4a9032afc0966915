// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

/// `cloister doctor`: what of the host cloisterd needs, what protects it less than it could, and the command
/// that changes it. Nothing is changed here.
namespace cloister::tool {

/// What is looked at. docs/doctor.md has the same table.
struct Check {
    const char* id;
    const char* what;
    const char* why;
};
[[nodiscard]] std::span<const Check> checks();

enum class Verdict { ok, note, warning, error };

struct Finding {
    const Check* check;
    Verdict verdict;
    std::string is;      ///< what was found
    std::string should;  ///< what it should be; empty if it is so
    std::string command; ///< that changes it; empty: none does
};

/// The host. What is not in a file is asked for by the caller.
struct Host {
    std::filesystem::path root = "/"; ///< above proc and sys
    int landlock_abi = 0;             ///< 0: there is none
    bool clock_synchronised = true;
};
[[nodiscard]] Host this_host();

/// A finding for each check. `connections`: that cloisterd shall serve at a time.
[[nodiscard]] std::vector<Finding> examine(const Host& host, std::uint64_t connections);

[[nodiscard]] std::string findings_text(const std::vector<Finding>& findings);
[[nodiscard]] nlohmann::json findings_json(const std::vector<Finding>& findings);

/// The subcommand. Exit code 0, or 69 if something is missing that cloisterd needs.
[[nodiscard]] int doctor(std::uint64_t connections, bool json);

} // namespace cloister::tool
