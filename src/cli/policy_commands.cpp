// SPDX-License-Identifier: MIT
#include "cli/policy_commands.h"

#include "cli/answer.h"
#include "cli/bpf_listing.h"
#include "cli/check.h"
#include "cli/combined_commands.h"
#include "cli/files.h"
#include "cli/policy_report.h"
#include "cli/subject.h"
#include "policy/compile.h"
#include "policy/evaluate.h"
#include "policy/prove.h"
#include "policy/sha256.h"

#include <fmt/format.h>

namespace cloister::tool {
using nlohmann::json;

int policy_prove(const Question& question, const std::string& bytes_file) {
    return guarded([&] {
        if (is_directory(question.file)) {
            return combined_prove(question, bytes_file);
        }
        const auto policy = load_checked(question);
        const auto arch = arch_for({&policy}, question);
        const auto bindings = bindings_for({&policy}, question);
        const auto program =
            or_exit(bytes_file.empty() ? policy::compile(policy, arch, bindings) : load_program(bytes_file),
                    question.json);
        const auto proved = policy::prove(policy, arch, bindings, program);
        const auto hash = policy::sha256_hex(bytes_of(program));
        if (question.json) {
            json answer = {{"equal", proved.has_value()},    {"arch", to_string(arch)},
                           {"instructions", program.size()}, {"sha256", policy.sha256},
                           {"program_sha256", hash},         {"bindings", bindings}};
            if (!proved) {
                answer["error"] = as_json(proved.error());
            }
            fmt::print("{}\n", answer.dump(2));
        } else if (proved) {
            fmt::print(
                "equal: {} instructions on {} are equivalent to {}\nSHA-256 of the text:  {}\nSHA-256 of "
                "the bytes: {}\n",
                program.size(), to_string(arch), question.file, policy.sha256, hash);
        }
        if (!proved) {
            fmt::print(stderr, "{}\n", proved.error().text());
        }
        return proved ? answer_yes : answer_no;
    });
}

int policy_bpf(const Question& question, Form form) {
    return guarded([&] {
        if (is_directory(question.file)) {
            return combined_bpf(question, form);
        }
        const auto policy = load_checked(question);
        const auto arch = arch_for({&policy}, question);
        const auto bindings = bindings_for({&policy}, question);
        const auto program = or_exit(policy::compile(policy, arch, bindings), question.json);
        say_if_different(question, policy::prove(policy, arch, bindings, program));
        const json about = {{"sha256", policy.sha256}};
        return print_program({program, {{&policy, 0, program.size()}}}, arch, question, form, about);
    });
}

int policy_show(const Question& question) {
    return guarded([&] {
        if (kind_of(question.file) == Kind::policies) {
            return combined_show(question);
        }
        const auto policy = load_as_text(question);
        const auto arch = arch_for({&policy}, question);
        fmt::print("{}\n", question.json ? as_json(policy, arch).dump(2) : in_words(policy, arch));
        return 0;
    });
}

namespace {

// The line that decided, and those that contradict it; for a call to which no rule applies, a condition of
// each rule for it that does not hold.
std::string because(const policy::Policy& policy, policy::Arch arch, const policy::Bindings& bindings,
                    const seccomp_data& call) {
    std::string text;
    if (const auto* decisive = policy::evaluate(policy, arch, bindings, call).rule; decisive != nullptr) {
        text = fmt::format("line {}: {}\n", decisive->where.line, decisive->reason);
        for (const auto& rule : policy.rules) {
            if (rule.name == decisive->name && rule.action != decisive->action &&
                !policy::failing_condition(policy, rule, arch, bindings, call)) {
                text += fmt::format("line {} says {} for this call: the rules contradict each other, and the "
                                    "strictest one is shown here\n",
                                    rule.where.line, rule.action.text());
            }
        }
        return text;
    }
    for (const auto& rule : policy.rules) {
        if (call.arch != policy::audit_arch(policy::abi_of(arch)) ||
            policy::number_of(policy::abi_of(arch), rule.name) != static_cast<std::uint32_t>(call.nr)) {
            continue;
        }
        if (const auto failing = policy::failing_condition(policy, rule, arch, bindings, call)) {
            const auto& condition = rule.conditions[*failing];
            const auto& parameter = rule.parameter_of(condition);
            text += fmt::format("line {} requires '{}', but {} is 0x{:x}\n", rule.where.line,
                                as_written(parameter, condition), parameter.name,
                                call.args[rule.prototype->index(condition.parameter, arch)]);
        }
    }
    return text.empty() ? "no rule names this call: else\n" : text;
}

// The policy of the file, or of a directory the one that applies at that call site.
policy::Policy policy_asked(const Question& question) {
    if (kind_of(question.file) == Kind::policies) {
        return combined_policy_at(question);
    }
    if (!question.at.empty()) {
        usage(fmt::format("--at {}: {} is one policy; call sites are told apart where FILE is a directory",
                          question.at, question.file));
    }
    return load_as_text(question);
}

} // namespace

int policy_ask(const Question& question, const std::string& call) {
    return guarded([&] {
        const auto policy = policy_asked(question);
        const auto pattern = or_exit(policy::parse_pattern(policy, call), question.json);
        auto arch = arch_for({&policy}, question);
        if (question.arch.empty() && pattern.abi == policy::Abi::aarch64) {
            auto asked = question;
            asked.arch = "aarch64";
            arch = arch_for({&policy}, asked);
        }
        if (!pattern.abi && !policy::number_of(policy::abi_of(arch), pattern.name)) {
            usage(fmt::format("{} has no call {}", to_string(arch), pattern.name));
        }
        const auto bindings = bindings_for({&policy}, question);
        const auto found = or_exit(policy::examples(policy, pattern, arch, bindings), question.json);
        const bool allowed = found.allowed && !found.refused;
        const auto& decisive = allowed ? *found.allowed : *found.refused;
        const auto verdict = policy::evaluate(policy, arch, bindings, decisive.data).action.text();
        const auto reason = because(policy, arch, bindings, decisive.data);
        const auto* answer = allowed ? "allow" : found.allowed ? "depends" : verdict.c_str();
        if (question.json) {
            json out = {{"verdict", answer}, {"because", reason}};
            if (found.allowed) {
                out["allowed"] = policy::describe(found.allowed->data);
            }
            if (found.refused) {
                out["refused"] = policy::describe(found.refused->data);
            }
            fmt::print("{}\n", out.dump(2));
        } else if (!allowed && found.allowed) {
            fmt::print("depends on the arguments left out\nallow: {}\n{}: {}\n{}",
                       policy::describe(found.allowed->data), verdict, policy::describe(decisive.data),
                       reason);
        } else {
            fmt::print("{}\n{}", answer, reason);
        }
        return allowed ? answer_yes : answer_no;
    });
}

int policy_fmt(const std::string& file) {
    return guarded([&] {
        fmt::print("{}", policy::format(or_exit(policy::load(file), false)));
        return 0;
    });
}

} // namespace cloister::tool
