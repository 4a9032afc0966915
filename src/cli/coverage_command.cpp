// SPDX-License-Identifier: MIT
#include "cli/coverage_command.h"

#include "audit/coverage.h"
#include "base/die.h"
#include "cli/answer.h"
#include "cli/check.h"
#include "cli/combined_commands.h"
#include "policy/compile.h"

#include <algorithm>
#include <cerrno>
#include <fmt/ranges.h>
#include <fstream>
#include <iterator>

namespace cloister::tool {
namespace {

using nlohmann::json;

/// How the log is best made; in every error about it.
constexpr auto best = "strace -f -n -e raw=all -o LOG PROGRAM";

std::vector<audit::TracedCall> calls_in(const std::vector<std::string>& logs) {
    std::vector<audit::TracedCall> calls;
    for (const auto& log : logs) {
        std::ifstream file{log, std::ios::binary};
        if (!file) {
            fmt::print(stderr, "cloister policy coverage: cannot read {}: {}\n", log, error_text(errno));
            throw Exit{static_cast<int>(ExitCode::NoInput)};
        }
        const std::string text{std::istreambuf_iterator<char>{file}, {}};
        auto parsed = audit::parse_strace(text);
        if (parsed.calls.empty()) {
            const bool bad = !parsed.not_understood.empty();
            fmt::print(
                stderr, "{}:{} error: {}; make the log by '{}'\n", log,
                bad ? fmt::format("{}:", parsed.not_understood.front().number) : "",
                bad ? fmt::format("{}, and the file has no call at all", parsed.not_understood.front().why)
                    : std::string{"no call is in it"},
                best);
            throw Exit{static_cast<int>(ExitCode::BadPolicy)};
        }
        constexpr std::size_t shown = 5;
        for (std::size_t i = 0; i < parsed.not_understood.size(); ++i) {
            const auto& [number, why] = parsed.not_understood[i];
            if (i < shown) {
                fmt::print(stderr, "{}:{}: warning: left out: {}\n", log, number, why);
            } else if (i == shown) {
                fmt::print(stderr, "{}: warning: {} more lines are left out\n", log,
                           parsed.not_understood.size() - shown);
            }
        }
        calls.insert(calls.end(), std::make_move_iterator(parsed.calls.begin()),
                     std::make_move_iterator(parsed.calls.end()));
    }
    return calls;
}

std::string condition_text(const policy::Rule& rule, std::size_t i) {
    return as_written(rule.prototype->parameters[i], rule.conditions[i]);
}

std::string times(std::size_t number) {
    return number == 1 ? "once" : fmt::format("{} times", number);
}

std::string values_text(const audit::ConditionUse& use) {
    if (use.values.empty()) {
        return "";
    }
    std::vector<std::string> shown;
    for (const auto value : use.values) {
        shown.push_back(value < 4096 ? std::to_string(value) : fmt::format("{:#x}", value));
    }
    return use.values.size() < audit::ConditionUse::max_values
               ? fmt::format(" with {}", fmt::join(shown, ", "))
               : fmt::format(" with many values, the largest {}", use.largest);
}

std::size_t outcomes_used(const audit::Coverage& found) {
    std::size_t used = 0;
    for (const auto& branch : found.branches) {
        used += static_cast<std::size_t>(branch.taken) + static_cast<std::size_t>(branch.passed);
    }
    return used;
}

void print(const policy::Policy& policy, const audit::Coverage& found) {
    const auto used = std::count_if(found.rules.begin(), found.rules.end(),
                                    [](const audit::RuleUse& rule) { return rule.used > 0; });
    fmt::print("{} calls; {} of {} rules used; {} of {} outcomes of the filter's branches used\n",
               found.calls, used, policy.rules.size(), outcomes_used(found), 2 * found.branches.size());
    for (std::size_t i = 0; i < policy.rules.size(); ++i) {
        const auto& rule = policy.rules[i];
        const auto& use = found.rules[i];
        fmt::print("{}:{}: {} {}: {}{}\n", policy.file, rule.where.line, rule.action.text(),
                   rule.prototype->name,
                   use.used == 0 ? std::string{"unused"} : fmt::format("used {}", times(use.used)),
                   use.possibly == 0 ? "" : fmt::format(", perhaps {} more", use.possibly));
        for (std::size_t j = 0; j < use.conditions.size(); ++j) {
            const auto& condition = use.conditions[j];
            if (rule.conditions[j].op != policy::Op::any) {
                fmt::print("    {}: held {}{}, failed {}{}\n", condition_text(rule, j), condition.held,
                           values_text(condition), times(condition.failed),
                           condition.unknown == 0 ? ""
                                                  : fmt::format(", unknown {}", times(condition.unknown)));
            }
        }
    }
    for (const auto& denied : found.denied) {
        fmt::print("denied but tried: {} on {}, {}: {}{}, first in line {}: {}\n", denied.call,
                   to_string(denied.abi), denied.action, times(denied.times),
                   denied.possibly == 0 ? "" : fmt::format(", perhaps {} more", denied.possibly), denied.line,
                   denied.example);
    }
    std::vector<std::string> never;
    for (const auto& branch : found.branches) {
        if (!branch.taken || !branch.passed) {
            never.push_back(fmt::format("{} {}", branch.at,
                                        !branch.taken && !branch.passed ? "not reached"
                                        : branch.taken                  ? "always true"
                                                                        : "always false"));
        }
    }
    if (!never.empty()) {
        fmt::print("branches (numbers as in 'cloister policy bpf'): {}\n", fmt::join(never, ", "));
    }
    if (!found.unknown_arguments.empty()) {
        fmt::print("{} calls could not be decided: these arguments cannot be known from this log (make it by "
                   "'{}'):\n",
                   found.undecided, best);
        for (const auto& why : found.unknown_arguments) {
            fmt::print("    {}\n", why);
        }
    }
}

json json_of(const policy::Policy& policy, const audit::Coverage& found) {
    json rules = json::array();
    for (std::size_t i = 0; i < policy.rules.size(); ++i) {
        const auto& rule = policy.rules[i];
        const auto& use = found.rules[i];
        json conditions = json::array();
        for (std::size_t j = 0; j < use.conditions.size(); ++j) {
            const auto& condition = use.conditions[j];
            if (rule.conditions[j].op != policy::Op::any) {
                conditions.push_back({{"condition", condition_text(rule, j)},
                                      {"held", condition.held},
                                      {"failed", condition.failed},
                                      {"unknown", condition.unknown},
                                      {"values", condition.values},
                                      {"largest", condition.largest}});
            }
        }
        rules.push_back({{"line", rule.where.line},
                         {"call", rule.prototype->name},
                         {"action", rule.action.text()},
                         {"used", use.used},
                         {"possibly", use.possibly},
                         {"conditions", std::move(conditions)}});
    }
    json denied = json::array();
    for (const auto& one : found.denied) {
        denied.push_back({{"call", one.call},
                          {"abi", to_string(one.abi)},
                          {"action", one.action},
                          {"times", one.times},
                          {"possibly", one.possibly},
                          {"line", one.line},
                          {"example", one.example}});
    }
    json branches = json::array();
    for (const auto& branch : found.branches) {
        branches.push_back({{"instruction", branch.at}, {"true", branch.taken}, {"false", branch.passed}});
    }
    return {{"policy", policy.file}, {"sha256", policy.sha256},
            {"calls", found.calls},  {"undecided", found.undecided},
            {"rules", rules},        {"denied", denied},
            {"branches", branches},  {"unknown_arguments", found.unknown_arguments}};
}

} // namespace

int policy_coverage(const Question& question, const std::vector<std::string>& logs) {
    return guarded([&] {
        if (is_directory(question.file) && question.at.empty()) {
            usage(fmt::format(
                "coverage: {} is a directory of policies for several call sites, and strace does not "
                "tell where a call came from: choose one policy, by its file or by --at",
                question.file));
        }
        const auto policy =
            is_directory(question.file) ? combined_policy_at(question) : load_checked(question);
        const auto arch = arch_for({&policy}, question);
        const auto bindings = bindings_for({&policy}, question);
        const auto program = or_exit(policy::compile(policy, arch, bindings), question.json);
        const auto found = audit::coverage(policy, arch, bindings, program, calls_in(logs));
        if (question.json) {
            fmt::print("{}\n", json_of(policy, found).dump(2));
        } else {
            print(policy, found);
        }
        return 0;
    });
}

} // namespace cloister::tool
