// SPDX-License-Identifier: MIT
#include "cli/combined_commands.h"

#include "cli/answer.h"
#include "cli/bpf_listing.h"
#include "cli/check.h"
#include "cli/files.h"
#include "cli/policy_report.h"
#include "policy/combine.h"
#include "policy/sha256.h"

#include <algorithm>
#include <fmt/format.h>

namespace cloister::tool {
namespace {

using nlohmann::json;

tl::expected<policy::Combined, policy::Error> load_combined(const std::string& directory) {
    auto files = policy_files(directory);
    if (!files) {
        return tl::unexpected{std::move(files.error())};
    }
    std::vector<policy::Policy> policies;
    for (const auto& file : *files) {
        auto policy = policy::load(file);
        if (!policy) {
            return tl::unexpected{std::move(policy.error())};
        }
        policies.push_back(std::move(*policy));
    }
    return policy::combine(std::move(policies));
}

policy::Combined load_combined_checked(const Question& question) {
    return checked(question, [&] { return or_exit(load_combined(question.file), question.json); });
}

std::string place_of(const policy::Policy& policy) {
    return policy.at ? fmt::format("at ${}", policy.at_name()) : "elsewhere";
}

json texts_of(const policy::Combined& combined) {
    json texts = json::array();
    for (const auto* policy : all_of(combined)) {
        texts.push_back({{"name", policy->name},
                         {"version", policy->version},
                         {"at", policy->at_name()},
                         {"sha256", policy->sha256}});
    }
    return texts;
}

// Bytes were made for certain addresses; to prove them for others would only show that they differ.
void require_all_bound(const policy::Combined& combined, const Question& question) {
    for (const auto* policy : all_of(combined)) {
        for (const auto& param : policy->params) {
            const auto is_it = [&](const std::string& given) {
                return given.rfind(param.name + '=', 0) == 0 || given.rfind('$' + param.name + '=', 0) == 0;
            };
            if (std::none_of(question.bind.begin(), question.bind.end(), is_it)) {
                usage(fmt::format(
                    "${} is not bound: give --bind {}=ADDRESS, as it was when the bytes were made",
                    param.name, param.name));
            }
        }
    }
}

} // namespace

int check_combined(const std::string& directory, json& answers, bool silent) {
    const auto combined = load_combined(directory);
    if (!combined) {
        answers.push_back({{"file", directory}, {"ok", false}, {"error", as_json(combined.error())}});
        return static_cast<int>(report(combined.error()));
    }
    std::vector<std::string> places;
    for (const auto* policy : all_of(*combined)) {
        places.push_back(fmt::format("{} {}", policy->name, place_of(*policy)));
    }
    answers.push_back({{"file", directory}, {"ok", true}, {"combined", texts_of(*combined)}});
    if (!silent) {
        fmt::print("{}: one filter: {}\n", directory, fmt::join(places, ", "));
    }
    return 0;
}

int combined_prove(const Question& question, const std::string& bytes_file) {
    const auto combined = load_combined_checked(question);
    if (!bytes_file.empty()) {
        require_all_bound(combined, question);
    }
    const auto arch = arch_for(all_of(combined), question);
    const auto bindings = bindings_for(all_of(combined), question);
    const auto program =
        or_exit(bytes_file.empty() ? policy::compile(combined, arch, bindings) : load_program(bytes_file),
                question.json);
    const auto proved = policy::prove(combined, arch, bindings, program);
    const auto hash = policy::sha256_hex(bytes_of(program));
    if (question.json) {
        json answer = {{"equal", proved.has_value()},    {"arch", to_string(arch)},
                       {"instructions", program.size()}, {"combined", texts_of(combined)},
                       {"program_sha256", hash},         {"bindings", bindings}};
        if (!proved) {
            answer["error"] = as_json(proved.error());
        }
        fmt::print("{}\n", answer.dump(2));
    } else if (proved) {
        fmt::print("equal: {} instructions on {} are equivalent to the policies in {}\n", program.size(),
                   to_string(arch), question.file);
        for (const auto* policy : all_of(combined)) {
            fmt::print("  {:<30} {}\n", fmt::format("{} {}", policy->name, place_of(*policy)),
                       policy->sha256);
        }
        fmt::print("SHA-256 of the bytes: {}\n", hash);
    }
    if (!proved) {
        fmt::print(stderr, "{}\n", proved.error().text());
    }
    return proved ? answer_yes : answer_no;
}

int combined_bpf(const Question& question, Form form) {
    const auto combined = load_combined_checked(question);
    const auto arch = arch_for(all_of(combined), question);
    const auto bindings = bindings_for(all_of(combined), question);
    const auto made = or_exit(policy::assemble(combined, arch, bindings), question.json);
    say_if_different(question, policy::prove(combined, arch, bindings, made.program));
    return print_program(made, arch, question, form, {{"combined", texts_of(combined)}});
}

int combined_show(const Question& question) {
    const auto combined = load_combined_checked(question);
    const auto arch = arch_for(all_of(combined), question);
    json shown = json::array();
    std::string text;
    for (const auto* policy : all_of(combined)) {
        shown.push_back(as_json(*policy, arch));
        text += (text.empty() ? "" : "\n\n") + in_words(*policy, arch);
    }
    fmt::print("{}\n", question.json ? shown.dump(2) : text);
    return 0;
}

policy::Policy combined_policy_at(const Question& question) {
    const auto combined = load_combined_checked(question);
    const auto wanted = question.at.substr(question.at.rfind('$', 0) == 0 ? 1 : 0);
    std::vector<std::string_view> places;
    for (const auto* policy : all_of(combined)) {
        places.push_back(policy->at ? policy->at_name() : "elsewhere");
        if (places.back() == wanted) {
            return *policy;
        }
    }
    usage(fmt::format("--at {}: say where the call comes from: {}", question.at, fmt::join(places, ", ")));
}

} // namespace cloister::tool
