// SPDX-License-Identifier: MIT
//
// minijail: minijail0(5) and its tools/parser.py. kafel: google/kafel, src/parser.y. systemd:
// systemd.exec(5).
#include "audit/export_forms.h"
#include "audit/libseccomp_rules.h"
#include "audit/systemd_groups.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <set>

namespace cloister::audit {
namespace {

constexpr std::size_t max_alternatives = 256;

std::string hex(std::uint64_t value) {
    return value < 10 ? fmt::to_string(value) : fmt::format("0x{:x}", value);
}

// "arg1 == 3 && arg2 in 0xf"
std::string minijail_clause(const Tests& tests) {
    std::vector<std::string> atoms;
    for (const auto& test : tests) {
        const auto argument = fmt::format("arg{}", test.argument);
        switch (test.op) {
        case Test::Op::eq:
            atoms.push_back(fmt::format("{} == {}", argument, hex(test.value)));
            break;
        case Test::Op::ne:
            atoms.push_back(fmt::format("{} != {}", argument, hex(test.value)));
            break;
        case Test::Op::le:
            atoms.push_back(fmt::format("{} <= {}", argument, hex(test.value)));
            break;
        case Test::Op::ge:
            atoms.push_back(fmt::format("{} >= {}", argument, hex(test.value)));
            break;
        case Test::Op::masked:
            for (unsigned bit = 0; bit < 64; ++bit) {
                if ((test.value >> bit & 1U) != 0) {
                    atoms.push_back(fmt::format("{} & {}", argument, hex(std::uint64_t{1} << bit)));
                }
            }
            if (const auto clear = test.mask & ~test.value; clear != 0) {
                atoms.push_back(fmt::format("{} in {}", argument, hex(~clear)));
            }
            break;
        }
    }
    return fmt::format("{}", fmt::join(atoms, " && "));
}

// As "return N" and keywords; a @denylist has "return N" alone.
std::string minijail_action(const Action& action) {
    switch (action.kind) {
    case Action::Kind::kill_process:
        return "kill-process";
    case Action::Kind::kill_thread:
        return "kill-thread";
    case Action::Kind::trap:
        return "trap";
    case Action::Kind::errno_code:
        return fmt::format("return {}", action.code);
    case Action::Kind::notify:
        return "user-notify";
    case Action::Kind::trace:
        return "trace";
    case Action::Kind::log:
        return "log";
    case Action::Kind::allow:
        break;
    }
    return "1";
}

std::string kafel_action(const Action& action) {
    switch (action.kind) {
    case Action::Kind::kill_process:
        return "KILL_PROCESS";
    case Action::Kind::kill_thread:
        return "KILL_THREAD";
    case Action::Kind::trap:
        return fmt::format("TRAP({})", action.code);
    case Action::Kind::errno_code:
        return fmt::format("ERRNO({})", action.code);
    case Action::Kind::notify:
        return "USER_NOTIF";
    case Action::Kind::trace:
        return fmt::format("TRACE({})", action.code);
    case Action::Kind::log:
        return "LOG";
    case Action::Kind::allow:
        break;
    }
    return "ALLOW";
}

std::string kafel_test(const Test& test) {
    auto left = fmt::format("a{}", test.argument);
    if (test.op == Test::Op::masked) {
        return fmt::format("({} & {}) == {}", left, hex(test.mask), hex(test.value));
    }
    if (test.half) {
        left = fmt::format("({} & 0xffffffff)", left);
    }
    const auto* op = test.op == Test::Op::eq   ? "=="
                     : test.op == Test::Op::ne ? "!="
                     : test.op == Test::Op::le ? "<="
                                               : ">=";
    return fmt::format("{} {} {}", left, op, hex(test.value));
}

// One name a line, or a few.
std::string wrapped(std::string_view key, const std::string& prefix, const std::set<std::string>& names) {
    std::string text;
    std::string line = fmt::format("{}={}", key, prefix);
    bool empty = true;
    for (const auto& name : names) {
        if (line.size() + name.size() > 100) {
            text += line + '\n';
            line = fmt::format("{}={}", key, prefix);
            empty = true;
        }
        line += (empty ? "" : " ") + name;
        empty = false;
    }
    return empty ? text : text + line + '\n';
}

std::set<std::string> group_members(std::string_view group) {
    std::set<std::string> all;
    for (const auto& known : systemd_groups()) {
        if (known.name != group) {
            continue;
        }
        for (auto rest = known.members; !rest.empty();) {
            const auto end = std::min(rest.find(' '), rest.size());
            const auto member = rest.substr(0, end);
            if (member.starts_with('@')) {
                all.merge(group_members(member));
            } else {
                all.emplace(member);
            }
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
    }
    return all;
}

} // namespace

std::string minijail_text(const Model& model, Exported& result, bool& python) {
    const bool denylist = model.otherwise.kind == Action::Kind::allow;
    std::string text =
        fmt::format("# policy {} {}, for {}\n", model.name, model.version, to_string(model.arch));
    switch (model.otherwise.kind) {
    case Action::Kind::kill_process:
        break;
    case Action::Kind::kill_thread:
    case Action::Kind::trap:
    case Action::Kind::notify:
        text += fmt::format("@default {}\n", minijail_action(model.otherwise));
        python = true;
        break;
    case Action::Kind::allow:
        text += "@denylist\n";
        python = true;
        break;
    case Action::Kind::errno_code:
    case Action::Kind::trace:
    case Action::Kind::log:
        result.narrower.push_back(
            fmt::format("the format has no default {}; calls that are not listed end the process",
                        model.otherwise.text()));
        break;
    }
    for (const auto& call : model.calls) {
        std::vector<std::string> filters;
        std::vector<std::string> allowed;
        for (const auto& rule : call.rules) {
            if (call.name.starts_with("syscall ") || !exists(policy::abi_of(model.arch), call.name)) {
                leave_out(model, call, rule,
                          fmt::format("minijail knows no such call of {}", to_string(model.arch)), result);
                continue;
            }
            if (denylist && rule.action.kind != Action::Kind::errno_code) {
                leave_out(model, call, rule, "in a @denylist every action is 'return N'", result);
                continue;
            }
            if ((rule.action.kind == Action::Kind::trap || rule.action.kind == Action::Kind::trace) &&
                rule.action.code != 0) {
                result.wider.push_back(fmt::format("{}: the action's number becomes 0", named(call, rule)));
            }
            const auto action = minijail_action(rule.action);
            if (rule.tests.empty()) {
                filters.push_back(action);
                python = python || !(rule.action.kind == Action::Kind::allow ||
                                     rule.action.kind == Action::Kind::errno_code);
                continue;
            }
            const bool half =
                std::any_of(rule.tests.begin(), rule.tests.end(), [](const Test& test) { return test.half; });
            const auto sets = half ? one_test_each(rule.tests, max_alternatives)
                                   : std::optional{std::vector<Tests>{rule.tests}};
            if (!sets) {
                leave_out(model, call, rule, "its conditions on 32 bits are too many alternatives", result);
                continue;
            }
            for (const auto& tests : *sets) {
                if (rule.action.kind == Action::Kind::allow) {
                    allowed.push_back(minijail_clause(tests));
                } else {
                    filters.push_back(fmt::format("{}; {}", minijail_clause(tests), action));
                    python = true;
                }
            }
        }
        if (!allowed.empty()) {
            filters.push_back(fmt::format("{}", fmt::join(allowed, " || ")));
        }
        if (filters.size() == 1) {
            text += fmt::format("{}: {}\n", call.name, filters.front());
        } else if (!filters.empty()) {
            python = true;
            text += fmt::format("{}: {{ {} }}\n", call.name, fmt::join(filters, ", "));
        }
    }
    if (python) {
        result.notes.push_back(
            "for compile_seccomp_policy.py; minijail0 -S itself reads it otherwise or not at all");
    }
    result.notes.push_back("the default is kill-process with minijail0 on Linux 4.14 or later and with "
                           "compile_seccomp_policy.py --use-kill-process, else kill-thread");
    compare_foreign(model, false, {Action::Kind::kill_process}, result);
    return text;
}

std::string kafel_text(const Model& model, Exported& result) {
    auto name = model.name;
    std::replace(name.begin(), name.end(), '-', '_');
    std::vector<std::pair<Action, std::vector<std::string>>> blocks;
    const auto abi = policy::abi_of(model.arch);
    for (const auto& call : model.calls) {
        const auto number = policy::number_of(abi, call.name);
        for (const auto& rule : call.rules) {
            if (!number) {
                leave_out(model, call, rule, fmt::format("{} has no such call", to_string(abi)), result);
                continue;
            }
            // By number: an argument of a call that kafel knows by name is compared in as many bits as
            // kafel's table says.
            auto filter = fmt::format("/* {} */ SYSCALL[{}]", call.name, *number);
            if (!rule.tests.empty()) {
                unsigned last = 0;
                std::vector<std::string> conditions;
                for (const auto& test : rule.tests) {
                    last = std::max(last, test.argument);
                    conditions.push_back(kafel_test(test));
                }
                std::vector<std::string> arguments;
                for (unsigned i = 0; i <= last; ++i) {
                    arguments.push_back(fmt::format("a{}", i));
                }
                filter +=
                    fmt::format("({}) {{ {} }}", fmt::join(arguments, ", "), fmt::join(conditions, " && "));
            }
            auto block = std::find_if(blocks.begin(), blocks.end(),
                                      [&](const auto& other) { return other.first == rule.action; });
            if (block == blocks.end()) {
                block = blocks.insert(blocks.end(), {rule.action, {}});
            }
            block->second.push_back(std::move(filter));
        }
    }
    std::vector<std::string> texts;
    texts.reserve(blocks.size());
    for (const auto& [action, filters] : blocks) {
        texts.push_back(
            fmt::format("  {} {{\n    {}\n  }}", kafel_action(action), fmt::join(filters, ",\n    ")));
    }
    compare_foreign(model, false, {Action::Kind::kill_thread}, result);
    return fmt::format("/* policy {} {}, for {} */\nPOLICY {} {{\n{}\n}}\n\nUSE {} DEFAULT {}\n", model.name,
                       model.version, to_string(model.arch), name, fmt::join(texts, ",\n"), name,
                       kafel_action(model.otherwise));
}

std::string systemd_text(const Model& model, Exported& result) {
    const auto kind = model.otherwise.kind;
    const bool allow_list = kind != Action::Kind::allow;
    if (kind == Action::Kind::trap || kind == Action::Kind::notify || kind == Action::Kind::trace ||
        kind == Action::Kind::log) {
        result.refused.push_back(
            fmt::format("'else {}': a unit can kill, return an error or allow", model.otherwise.text()));
        return {};
    }
    if (kind == Action::Kind::kill_thread) {
        result.narrower.push_back("'else kill-thread': a unit's filter ends the process");
    }
    std::set<std::string> listed;
    std::map<std::string, std::set<std::string>> denied; // by what stands behind the colon
    for (const auto& call : model.calls) {
        if (call.name.starts_with("syscall ")) {
            for (const auto& rule : call.rules) {
                leave_out(model, call, rule, "a unit has names alone, not numbers", result);
            }
            continue;
        }
        // The mildest rule decides, since a name has one action.
        const auto& rule =
            *std::max_element(call.rules.begin(), call.rules.end(),
                              [](const Rule& a, const Rule& b) { return stricter(a.action, b.action); });
        for (const auto& other : call.rules) {
            if (&other != &rule) {
                (stricter(other.action, rule.action) ? result.wider : result.narrower)
                    .push_back(fmt::format("{}: a name has one action", named(call, other)));
            }
        }
        if (!rule.tests.empty() && !stricter(model.otherwise, rule.action)) {
            leave_out(model, call, rule, "a unit has no conditions on arguments", result);
            continue;
        }
        if (!rule.tests.empty()) {
            apply_wider(model, call, rule, "a unit has no conditions on arguments", result);
        }
        if (reaches_through_i386(model, call, rule)) {
            result.wider.push_back(fmt::format(
                "{}: libseccomp makes it apply to socketcall or ipc of i386, too", named(call, rule)));
        }
        switch (rule.action.kind) {
        case Action::Kind::allow:
            listed.insert(call.name);
            break;
        case Action::Kind::kill_thread:
        case Action::Kind::trap:
            result.narrower.push_back(
                fmt::format("{}: a unit can kill the process alone", named(call, rule)));
            denied["kill"].insert(call.name);
            break;
        case Action::Kind::kill_process:
            denied["kill"].insert(call.name);
            break;
        case Action::Kind::errno_code:
            denied[fmt::to_string(rule.action.code)].insert(call.name);
            break;
        case Action::Kind::log:
            result.wider.push_back(fmt::format("{}: allowed without a record", named(call, rule)));
            listed.insert(call.name);
            break;
        case Action::Kind::notify:
        case Action::Kind::trace:
            leave_out(model, call, rule, "a unit has no such action", result);
            break;
        }
    }
    std::string text =
        fmt::format("# policy {} {}, for {}\n[Service]\n", model.name, model.version, to_string(model.arch));
    std::vector<std::string> abis{"native"};
    for (const auto abi : model.also) {
        abis.emplace_back(abi == policy::Abi::i386 ? "x86" : "x32");
    }
    text += fmt::format("SystemCallArchitectures={}\n", fmt::join(abis, " "));
    if (kind == Action::Kind::errno_code) {
        text += fmt::format("SystemCallErrorNumber={}\n", model.otherwise.code);
    }
    if (allow_list) {
        // Every list begins with @default, without which few programs start. What the policy lacks is taken
        // out again, but for execve, by which systemd starts the program.
        auto extra = group_members("@default");
        const auto all = model.abis();
        std::erase_if(extra, [&](const std::string& name) {
            return listed.contains(name) ||
                   std::none_of(all.begin(), all.end(), [&](policy::Abi abi) { return exists(abi, name); });
        });
        if (extra.erase("execve") != 0) {
            result.wider.push_back("execve is allowed: systemd starts the program by it");
            listed.insert("execve");
        }
        text += listed.empty() ? "SystemCallFilter=@default\n" : wrapped("SystemCallFilter", "", listed);
        text += wrapped("SystemCallFilter", "~", extra);
    }
    for (const auto& [error, names] : denied) {
        std::set<std::string> words;
        for (const auto& name : names) {
            words.insert(fmt::format("{}:{}", name, error));
        }
        text += wrapped("SystemCallFilter", "~", words);
    }
    compare_foreign(model, true, {Action::Kind::kill_thread}, result);
    return text;
}

} // namespace cloister::audit
