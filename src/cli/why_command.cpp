// SPDX-License-Identifier: MIT
#include "cli/why_command.h"

#include "audit/record.h"
#include "cli/answer.h"
#include "cli/check.h"
#include "policy/combine.h"
#include "policy/prove.h"

#include <algorithm>
#include <iostream>
#include <sstream>

namespace cloister::tool {
namespace {

using nlohmann::json;

constexpr auto not_told =
    "An audit record does not tell the arguments of the call, nor which of several filters "
    "decided, nor which function made it.";

std::vector<policy::Policy> policies_asked(const Question& question) {
    std::vector<policy::Policy> policies;
    if (question.file.empty()) {
        return policies;
    }
    std::vector<std::string> files{question.file};
    if (is_directory(question.file)) {
        files = files_of(or_exit(filters_in(question.file, question.handler), question.json));
    }
    for (const auto& file : files) {
        auto one = question;
        one.file = file;
        policies.push_back(load_checked(one));
    }
    return policies;
}

std::string source_line(const policy::Policy& policy, unsigned line) {
    std::istringstream lines{policy.text};
    std::string text;
    while (line-- > 0 && std::getline(lines, text)) {
    }
    return text;
}

struct Nearest {
    std::string policy;
    std::string says;
    unsigned line = 0; ///< 0: no rule names the call
};

/// The rules for that call. Without arguments none can be said to be the one.
std::vector<Nearest> nearest_in(const policy::Policy& policy, const audit::Record& record) {
    const auto else_action = policy.otherwise.text();
    const bool listed = std::any_of(policy.archs.begin(), policy.archs.end(),
                                    [&](policy::Arch arch) { return record.abi == policy::abi_of(arch); });
    if (!listed) {
        return {{policy.file, fmt::format("it is not for that ABI: else, {}", else_action)}};
    }
    std::vector<Nearest> found;
    for (const auto& rule : policy.rules) {
        if (rule.prototype->name == record.call) {
            found.push_back({policy.file, source_line(policy, rule.where.line), rule.where.line});
        }
    }
    if (!found.empty()) {
        return found;
    }
    std::vector<std::string_view> named;
    for (const auto& rule : policy.rules) {
        named.push_back(rule.prototype->name);
    }
    const auto near = record.call.empty() ? std::string_view{} : policy::nearest(record.call, named);
    return {
        {policy.file, fmt::format("no rule names this call: else, {}{}", else_action,
                                  near.empty() ? "" : fmt::format(" (the nearest name in it: {})", near))}};
}

std::string call_of(const audit::Record& record) {
    const auto abi =
        record.abi ? std::string{to_string(*record.abi)} : fmt::format("the ABI {:#010x}", record.arch);
    return record.call.empty() ? fmt::format("call {} of {}, which has no name here", record.number, abi)
                               : fmt::format("{}, call {} of {}", record.call, record.number, abi);
}

json json_of(const audit::Record& record, const std::vector<Nearest>& nearest) {
    json out = {
        {"call", record.call},
        {"number", record.number},
        {"abi", record.abi ? json(to_string(*record.abi)) : json(nullptr)},
        {"arch", fmt::format("{:#x}", record.arch)},
        {"not_told", {"arguments", "which of several filters decided", "which function made the call"}}};
    for (const auto& [name, value] :
         {std::pair{"pid", &record.pid}, std::pair{"uid", &record.uid}, std::pair{"comm", &record.comm},
          std::pair{"exe", &record.exe}, std::pair{"time", &record.time}}) {
        if (!value->empty()) {
            out[name] = *value;
        }
    }
    if (record.code) {
        out["action"] = audit::describe_code(*record.code);
        out["code"] = fmt::format("{:#x}", *record.code);
    }
    if (record.signal) {
        out["signal"] = *record.signal;
    }
    if (record.instruction_pointer) {
        out["ip"] = fmt::format("{:#x}", *record.instruction_pointer);
    }
    json rules = json::array();
    for (const auto& near : nearest) {
        rules.push_back({{"policy", near.policy}, {"line", near.line}, {"says", near.says}});
    }
    out["nearest"] = std::move(rules);
    return out;
}

void print(const audit::Record& record, const std::vector<Nearest>& nearest) {
    fmt::print("{}\n", call_of(record));
    if (!record.pid.empty() || !record.comm.empty()) {
        fmt::print("  made by:    process {}{}{}{}\n", record.pid.empty() ? "?" : record.pid,
                   record.comm.empty() ? "" : fmt::format(" ({})", record.comm),
                   record.exe.empty() ? "" : fmt::format(", {}", record.exe),
                   record.uid.empty() ? "" : fmt::format(", of user {}", record.uid));
    }
    if (record.instruction_pointer) {
        fmt::print("  from:       the instruction before {:#x}\n", *record.instruction_pointer);
    }
    if (record.code) {
        fmt::print("  the filter: {} ({:#x}){}\n", audit::describe_code(*record.code), *record.code,
                   record.signal.value_or(0) == 0 ? "" : fmt::format(", signal {}", *record.signal));
    }
    for (const auto& near : nearest) {
        fmt::print("  {}: {}\n", near.line == 0 ? near.policy : fmt::format("{}:{}", near.policy, near.line),
                   near.says);
    }
}

} // namespace

int policy_why(const std::string& text, const Question& question) {
    return guarded([&] {
        std::vector<std::string> lines{text};
        if (text == "-") {
            lines.clear();
            for (std::string line; std::getline(std::cin, line);) {
                if (line.find_first_not_of(" \t\r") != std::string::npos) {
                    lines.push_back(line);
                }
            }
            if (lines.empty()) {
                fmt::print(stderr, "cloister policy why: standard input: no line is there\n");
                return static_cast<int>(ExitCode::BadPolicy);
            }
        }
        const auto policies = policies_asked(question);
        bool bad = false;
        json all = json::array();
        std::size_t known = 0;
        for (std::size_t i = 0; i < lines.size(); ++i) {
            const auto record = audit::parse_record(lines[i]);
            const auto place =
                text == "-" ? fmt::format("standard input, line {}", i + 1) : std::string{"RECORD"};
            if (!record) {
                bad = true;
                fmt::print(stderr, "cloister policy why: {}: {}\n", place, record.error());
                continue;
            }
            ++known;
            std::vector<Nearest> nearest;
            for (const auto& policy : policies) {
                const auto found = nearest_in(policy, *record);
                nearest.insert(nearest.end(), found.begin(), found.end());
            }
            if (question.json) {
                all.push_back(json_of(*record, nearest));
            } else {
                print(*record, nearest);
            }
        }
        if (question.json) {
            fmt::print("{}\n", all.dump(2));
        } else if (known > 0) {
            fmt::print("{}\n", not_told);
        }
        return bad ? static_cast<int>(ExitCode::BadPolicy) : 0;
    });
}

} // namespace cloister::tool
