// SPDX-License-Identifier: MIT
#include "tool/policy_commands.h"

#include "policy/compile.h"
#include "policy/evaluate.h"
#include "policy/prove.h"
#include "policy/sha256.h"
#include "tool/bpf_listing.h"
#include "tool/files.h"
#include "tool/policy_report.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>

namespace cloister::tool {
namespace {

using nlohmann::json;

/// Thrown to end a subcommand; what to say has been said.
struct Exit {
    int code;
};

[[noreturn]] void usage(const std::string& what) {
    fmt::print(stderr, "cloister policy: {}\n", what);
    throw Exit{static_cast<int>(ExitCode::Usage)};
}

template <class T>
T or_exit(tl::expected<T, policy::Error> result, bool as_json_too) {
    if (!result) {
        if (as_json_too) {
            fmt::print("{}\n", json{{"error", as_json(result.error())}}.dump(2));
        }
        throw Exit{static_cast<int>(report(result.error()))};
    }
    if constexpr (!std::is_void_v<T>) {
        return std::move(*result);
    }
}

policy::Arch arch_for(const policy::Policy& policy, const std::string& wanted) {
    const auto listed = [&](policy::Arch arch) {
        return std::find(policy.archs.begin(), policy.archs.end(), arch) != policy.archs.end();
    };
    if (wanted.empty()) {
        return listed(policy::native_arch) ? policy::native_arch : policy.archs.front();
    }
    const auto arch = policy::arch_named(wanted);
    if (!arch || !listed(*arch)) {
        usage(fmt::format("--arch {}: {} does not list it", wanted, policy.file));
    }
    return *arch;
}

// Every parameter gets a value: the one given, or one of its own that is said aloud.
policy::Bindings bindings_for(const policy::Policy& policy, const std::vector<std::string>& given) {
    policy::Bindings bindings;
    for (const auto& text : given) {
        const auto equals = std::min(text.find('='), text.size());
        const auto name = text.substr(text.front() == '$' ? 1 : 0, equals - (text.front() == '$' ? 1 : 0));
        const auto number = text.substr(std::min(equals + 1, text.size()));
        const bool hex = number.rfind("0x", 0) == 0;
        std::uint64_t value = 0;
        const auto* end = number.data() + number.size();
        const auto result = std::from_chars(number.data() + (hex ? 2 : 0), end, value, hex ? 16 : 10);
        if (result.ec != std::errc{} || result.ptr != end || value == 0) {
            usage(fmt::format("--bind {}: write NAME=ADDRESS, the address in decimal or 0x…, not 0", text));
        }
        if (std::none_of(policy.params.begin(), policy.params.end(),
                         [&](const auto& p) { return p.name == name; })) {
            usage(fmt::format("--bind {}: {} has no parameter ${}", text, policy.file, name));
        }
        if (!bindings.emplace(name, value).second) {
            usage(fmt::format("--bind {}: ${} is bound twice", text, name));
        }
    }
    std::uint64_t placeholder = 0x7f0000000000;
    for (const auto& param : policy.params) {
        if (bindings.emplace(param.name, placeholder).second) {
            fmt::print(stderr, "note: ${} is not bound; 0x{:x} stands in for it\n", param.name, placeholder);
        }
        placeholder += 0x100000000;
    }
    return bindings;
}

template <class Body>
int guarded(const Body& body) {
    try {
        return body();
    } catch (const Exit& exit) {
        return exit.code;
    }
}

} // namespace

int policy_check(const std::vector<std::string>& files, bool as_json_too) {
    int worst = 0;
    json answers = json::array();
    for (const auto& file : files) {
        const auto loaded = load_with_under(file, files);
        const auto checked = loaded ? check(*loaded) : tl::unexpected{loaded.error()};
        if (!checked) {
            const auto code = static_cast<int>(report(checked.error()));
            worst = std::max(worst, code);
            answers.push_back({{"file", file}, {"ok", false}, {"error", as_json(checked.error())}});
            continue;
        }
        const auto& policy = loaded->policy;
        json warned = json::array();
        for (const auto& warning : policy::warnings(policy)) {
            fmt::print(stderr, "{}\n", warning.text("warning"));
            warned.push_back(as_json(warning));
        }
        answers.push_back({{"file", file},
                           {"ok", true},
                           {"name", policy.name},
                           {"version", policy.version},
                           {"sha256", policy.sha256},
                           {"under", policy.under},
                           {"tests", policy.tests.size()},
                           {"warnings", warned}});
        if (!as_json_too) {
            fmt::print("{}: {} {}: {} rules, {} tests proved{}\n", file, policy.name, policy.version,
                       policy.rules.size(), policy.tests.size(),
                       policy.under.empty() ? "" : fmt::format(", no wider than {}", policy.under));
        }
    }
    if (as_json_too) {
        fmt::print("{}\n", answers.dump(2));
    }
    return worst;
}

int policy_prove(const Question& question, const std::string& bytes_file) {
    return guarded([&] {
        const auto loaded = or_exit(load_with_under(question.file, {}), question.json);
        or_exit(check(loaded), question.json);
        const auto arch = arch_for(loaded.policy, question.arch);
        const auto bindings = bindings_for(loaded.policy, question.bind);
        const auto program = or_exit(bytes_file.empty() ? policy::compile(loaded.policy, arch, bindings)
                                                        : load_program(bytes_file),
                                     question.json);
        const auto proved = policy::prove(loaded.policy, arch, bindings, program);
        const auto hash = policy::sha256_hex(bytes_of(program));
        if (question.json) {
            json answer = {{"equal", proved.has_value()},    {"arch", to_string(arch)},
                           {"instructions", program.size()}, {"sha256", loaded.policy.sha256},
                           {"program_sha256", hash},         {"bindings", bindings}};
            if (!proved) {
                answer["error"] = as_json(proved.error());
            }
            fmt::print("{}\n", answer.dump(2));
        } else if (proved) {
            fmt::print("equal: {} instructions on {} say what {} says\nSHA-256 of the text:  {}\nSHA-256 of "
                       "the bytes: {}\n",
                       program.size(), to_string(arch), question.file, loaded.policy.sha256, hash);
        }
        if (!proved) {
            fmt::print(stderr, "{}\n", proved.error().text());
        }
        return proved ? answer_yes : answer_no;
    });
}

int policy_bpf(const Question& question, Form form) {
    return guarded([&] {
        const auto policy = or_exit(policy::load(question.file), question.json);
        const auto arch = arch_for(policy, question.arch);
        const auto program =
            or_exit(policy::compile(policy, arch, bindings_for(policy, question.bind)), question.json);
        const auto bytes = bytes_of(program);
        std::string hex;
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            hex += fmt::format("{:02x}", static_cast<unsigned char>(bytes[i]));
            if (form == Form::hex && !question.json && i % sizeof(sock_filter) == sizeof(sock_filter) - 1) {
                hex += '\n';
            }
        }
        if (question.json) {
            fmt::print("{}\n", json{{"arch", to_string(arch)},
                                    {"instructions", program.size()},
                                    {"sha256", policy.sha256},
                                    {"program_sha256", policy::sha256_hex(bytes)},
                                    {"bytes", hex}}
                                   .dump(2));
        } else if (form == Form::raw) {
            if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) {
                fmt::print(stderr, "cloister policy: cannot write the program\n");
                return static_cast<int>(ExitCode::SystemCall);
            }
        } else {
            fmt::print("{}", form == Form::hex ? hex : listing(program, arch));
        }
        return 0;
    });
}

int policy_show(const Question& question) {
    return guarded([&] {
        const auto policy = or_exit(policy::load(question.file), question.json);
        const auto arch = arch_for(policy, question.arch);
        fmt::print("{}\n", question.json ? as_json(policy, arch).dump(2) : in_words(policy, arch));
        return 0;
    });
}

namespace {

// Which line decided; for a refused call, what each rule for it asks that it does not meet.
std::string because(const policy::Policy& policy, policy::Arch arch, const policy::Bindings& bindings,
                    const seccomp_data& call) {
    if (const auto verdict = policy::evaluate(policy, arch, bindings, call); verdict.rule != nullptr) {
        return fmt::format("line {}: {}\n", verdict.rule->where.line, verdict.rule->reason);
    }
    std::string text;
    for (const auto& rule : policy.rules) {
        if (call.arch != policy::audit_arch(policy::abi_of(arch)) ||
            policy::number_of(policy::abi_of(arch), rule.prototype->name) !=
                static_cast<std::uint32_t>(call.nr)) {
            continue;
        }
        if (const auto failing = policy::failing_condition(policy, rule, arch, bindings, call)) {
            const auto& parameter = rule.prototype->parameters[*failing];
            text += fmt::format("line {} asks for '{}', and {} is 0x{:x}\n", rule.where.line,
                                as_written(parameter, rule.conditions[*failing]), parameter.name,
                                call.args[rule.prototype->index(*failing, arch)]);
        }
    }
    return text.empty() ? "no rule names this call: else\n" : text;
}

} // namespace

int policy_ask(const Question& question, const std::string& call) {
    return guarded([&] {
        const auto policy = or_exit(policy::load(question.file), question.json);
        const auto pattern = or_exit(policy::parse_pattern(policy, call), question.json);
        auto arch = arch_for(policy, question.arch);
        if (question.arch.empty() && pattern.abi == policy::Abi::aarch64) {
            arch = arch_for(policy, "aarch64");
        }
        if (!pattern.abi && !policy::number_of(policy::abi_of(arch), pattern.name)) {
            usage(fmt::format("{} has no call {}", to_string(arch), pattern.name));
        }
        const auto bindings = bindings_for(policy, question.bind);
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
