// SPDX-License-Identifier: MIT
#pragma once

#include "policy/names.h"

#include <array>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::tool {

inline const std::string native{to_string(policy::native_arch)};
inline const std::string echo = CLOISTER_POLICIES "/handlers/echo.policy";
inline const std::string listener = CLOISTER_POLICIES "/listener.policy";
inline const std::string together = CLOISTER_POLICIES;
inline const std::string bind_all =
    " --bind buffer=0x7f0000001000 --bind stack=0x7f0000009000 --bind listener_return=0x5500000017 "
    "--bind clone_return=0x550000005b --bind setup_page=0x7f0000010000 "
    "--bind setup_return=0x7f0000010017 --bind setup_page_size=0x1000";
inline const std::string bind = " --bind buffer=0x7f0000001000";

/// `cloister policy` as its users meet it, and a directory for what it reads.
class PolicyTool : public testing::Test {
  public:
    PolicyTool() {
        std::string name = (std::filesystem::temp_directory_path() / "cloister-tool-XXXXXX").string();
        if (::mkdtemp(name.data()) != nullptr) {
            scratch = name;
        }
    }
    ~PolicyTool() override {
        std::error_code ignored;
        std::filesystem::remove_all(scratch, ignored);
    }
    PolicyTool(const PolicyTool&) = delete;
    PolicyTool& operator=(const PolicyTool&) = delete;

    // Runs `cloister policy ARGUMENTS`; leaves what it printed in out and err.
    int policy(const std::string& arguments) { return tool("policy " + arguments); }
    int tool(const std::string& arguments) {
        const auto command =
            fmt::format("'{}' {} >{}/out 2>{}/err", CLOISTER_TOOL, arguments, scratch, scratch);
        const int status = std::system(command.c_str()); // NOLINT(concurrency-mt-unsafe): one thread
        out = read("out");
        err = read("err");
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    [[nodiscard]] std::string read(const std::string& name) const {
        std::ifstream stream{scratch + "/" + name, std::ios::binary};
        return {std::istreambuf_iterator<char>{stream}, {}};
    }
    std::string write(const std::string& name, const std::string& text) const {
        std::ofstream{scratch + "/" + name, std::ios::binary} << text;
        return scratch + "/" + name;
    }
    [[nodiscard]] bool says(const std::string& text) const {
        return (out + err).find(text) != std::string::npos;
    }

    std::string scratch;
    std::string out;
    std::string err;
};

inline constexpr const char* parent_text =
    "policy parent 1\nsyntax 1\narch x86_64\nelse kill-process\nallow getpid : x\n";
inline constexpr const char* child_text =
    "policy child 1\nsyntax 1\nunder parent\narch x86_64\nelse kill-process\nallow getpid : x\n";

} // namespace cloister::tool
