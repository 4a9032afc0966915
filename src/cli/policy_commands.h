// SPDX-License-Identifier: MIT
#pragma once

#include "base/exit_code.h"

#include <string>
#include <vector>

/// The subcommands of `cloister policy`. Each prints its answer and returns what to exit with.
namespace cloister::tool {

inline constexpr int answer_yes = 0; ///< equal, allowed
inline constexpr int answer_no = 1;  ///< different, not allowed

struct Question {
    std::string file;              ///< or a directory: its policies, combined
    std::string handler;           ///< of a directory: with its policy; a name, or a file; empty: any
    std::vector<std::string> bind; ///< "buffer=0x7f0000000000"
    std::string arch;              ///< empty: this machine's, or the policy's first
    std::string at;                ///< of a directory: "listener_return", "elsewhere"
    bool json = false;
    bool unchecked = false; ///< answer for a policy that `check` refuses, too
};

[[nodiscard]] int policy_check(const std::vector<std::string>& files, const std::string& handler, bool json);
[[nodiscard]] int policy_prove(const Question& question, const std::string& bytes_file);
enum class Form { listing, raw, hex };
[[nodiscard]] int policy_bpf(const Question& question, Form form);
[[nodiscard]] int policy_show(const Question& question);
[[nodiscard]] int policy_ask(const Question& question, const std::string& call);
[[nodiscard]] int policy_fmt(const std::string& file);

} // namespace cloister::tool
