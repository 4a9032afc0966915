// SPDX-License-Identifier: MIT
#pragma once

#include "policy/combine.h"
#include "policy/compile.h"
#include "policy/evaluate.h"
#include "policy/prove.h"

#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

namespace cloister::policy {

#ifdef CLOISTER_INSTRUMENTED
inline constexpr bool instrumented = true;
#else
inline constexpr bool instrumented = false;
#endif

// The listener call site and the setup call site differ by their high words alone, the listener call site and
// the clone call site by their low words.
inline const Bindings addresses = {{"buffer", 0x7f1234561000},          {"stack", 0x7f1234568000},
                                   {"listener_return", 0x55d2c0ffe017}, {"clone_return", 0x55d2c0ffe05b},
                                   {"setup_page", 0x7f12c0ffe000},      {"setup_return", 0x7f12c0ffe017},
                                   {"setup_page_size", 0x1000}};

/// A shipped policy, shared or a handler's: the fixture of these tests.
inline Policy shipped(std::string_view name) {
    const auto shared = fmt::format("{}/{}.policy", CLOISTER_POLICIES, name);
    auto policy =
        load(std::filesystem::exists(shared) ? shared
                                             : fmt::format("{}/handlers/{}.policy", CLOISTER_POLICIES, name));
    if (!policy) {
        throw std::runtime_error{policy.error().text()};
    }
    return std::move(*policy);
}

/// All of them, as one filter.
inline Combined shipped_together() {
    auto combined = combine({shipped("listener"), shipped("echo"), shipped("clone"), shipped("setup")});
    if (!combined) {
        throw std::runtime_error{combined.error().text()};
    }
    return std::move(*combined);
}

/// "line:column: message"; 0:0 is the file as a whole.
inline std::string placed(const Error& error) {
    return fmt::format("{}:{}: {}", error.line, error.column, error.message);
}

/// Whether a proof failed because the two sides differ, and for no other reason.
inline bool differ(const tl::expected<void, Error>& proved) {
    return !proved && proved.error().message.starts_with("program and policy differ: for ");
}

/// Five lines of header and declarations; what is under test comes on line 6.
inline constexpr std::string_view head = "policy p 1\n"
                                         "syntax 1\n"
                                         "arch x86_64 aarch64\n"
                                         "else kill-process\n"
                                         "param $buffer addr : somewhere\n";

inline Policy parsed(const std::string& lines, std::string_view before = head) {
    auto policy = parse(std::string{before} + lines, "p.policy");
    if (!policy) {
        throw std::runtime_error{policy.error().text()};
    }
    return std::move(*policy);
}

/// A directory of its own, gone with the test.
class Scratch {
  public:
    Scratch() {
        std::string name = (std::filesystem::temp_directory_path() / "cloister-policy-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error{"mkdtemp"};
        }
        path_ = name;
    }
    ~Scratch() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    [[nodiscard]] std::filesystem::path file(const std::string& name) const { return path_ / name; }
    [[nodiscard]] std::filesystem::path write(const std::string& name, std::string_view content) const {
        std::ofstream{file(name), std::ios::binary} << content;
        return file(name);
    }

  private:
    std::filesystem::path path_;
};

} // namespace cloister::policy
