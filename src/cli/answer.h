// SPDX-License-Identifier: MIT
#pragma once

#include "cli/files.h"
#include "cli/policy_commands.h"
#include "cli/policy_report.h"
#include "policy/policy.h"

#include <fmt/format.h>

/// What the subcommands share: how they end, and what they take from the command line.
namespace cloister::tool {

/// Thrown to end a subcommand, after its message was printed.
struct Exit {
    int code;
};

[[noreturn]] void usage(const std::string& what);

template <class T>
T or_exit(tl::expected<T, policy::Error> result, bool as_json_too) {
    if (!result) {
        if (as_json_too) {
            fmt::print("{}\n", nlohmann::json{{"error", as_json(result.error())}}.dump(2));
        }
        throw Exit{static_cast<int>(report(result.error()))};
    }
    if constexpr (!std::is_void_v<T>) {
        return std::move(*result);
    }
}

template <class Body>
int guarded(const Body& body) {
    try {
        return body();
    } catch (const Exit& exit) {
        return exit.code;
    }
}

using Policies = std::vector<const policy::Policy*>;

/// The ABI that was asked for, or this machine's, or the first: one that all of them list.
[[nodiscard]] policy::Arch arch_for(const Policies& policies, const Question& question);
/// Every parameter gets a value: the one given, or a stand-in that is reported on standard error.
[[nodiscard]] policy::Bindings bindings_for(const Policies& policies, const Question& question);

} // namespace cloister::tool
