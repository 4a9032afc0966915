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

tl::expected<policy::Combined, policy::Error> load_combined(const Filter& filter) {
    std::vector<policy::Policy> policies;
    policies.reserve(filter.files.size());
    for (const auto& file : filter.files) {
        auto policy = policy::load(file);
        if (!policy) {
            return tl::unexpected{std::move(policy.error())};
        }
        policies.push_back(std::move(*policy));
    }
    return policy::combine(std::move(policies));
}

std::vector<Filter> filters_asked(const Question& question) {
    return or_exit(filters_in(question.file, question.handler), question.json);
}

std::string call_site_of(const policy::Policy& policy) {
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

policy::Combined load_combined_checked(const Question& question) {
    const auto filters = filters_asked(question);
    std::vector<std::string> names;
    names.reserve(filters.size());
    for (const auto& filter : filters) {
        names.push_back(filter.handler);
    }
    const auto echo = std::find(names.begin(), names.end(), "echo");
    if (filters.size() > 1 && echo == names.end()) {
        usage(fmt::format("{} has policies of several handlers: give --handler {}", question.file,
                          fmt::join(names, "|")));
    }
    auto one = question;
    one.handler = filters.size() > 1 ? "echo" : question.handler;
    const auto& filter =
        filters.size() > 1 ? filters[static_cast<std::size_t>(echo - names.begin())] : filters.front();
    return checked(one, [&] { return or_exit(load_combined(filter), question.json); });
}

int check_combined(const std::string& directory, const Filter& filter, json& answers, bool silent) {
    const auto combined = load_combined(filter);
    if (!combined) {
        answers.push_back({{"file", directory}, {"ok", false}, {"error", as_json(combined.error())}});
        return static_cast<int>(report(combined.error()));
    }
    const auto policies = all_of(*combined);
    std::vector<std::string> call_sites;
    call_sites.reserve(policies.size());
    for (const auto* policy : policies) {
        call_sites.push_back(fmt::format("{} {}", policy->name, call_site_of(*policy)));
    }
    answers.push_back(
        {{"file", directory}, {"ok", true}, {"handler", filter.handler}, {"combined", texts_of(*combined)}});
    if (!silent) {
        fmt::print("{}: one filter: {}\n", directory, fmt::join(call_sites, ", "));
    }
    return 0;
}

namespace {

/// Of one filter; `answers` gets what is said in JSON.
int prove_filter(const Question& question, const Filter& filter, const std::string& bytes_file,
                 json& answers) {
    const auto combined = or_exit(load_combined(filter), question.json);
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
                       {"program_sha256", hash},         {"bindings", bindings},
                       {"handler", filter.handler}};
        if (!proved) {
            answer["error"] = as_json(proved.error());
        }
        answers.push_back(std::move(answer));
    } else if (proved) {
        fmt::print("equal: {} instructions on {} are equivalent to the policies in {}{}\n", program.size(),
                   to_string(arch), question.file,
                   filter.handler.empty() ? "" : fmt::format(" with that of {}", filter.handler));
        for (const auto* policy : all_of(combined)) {
            fmt::print("  {:<30} {}\n", fmt::format("{} {}", policy->name, call_site_of(*policy)),
                       policy->sha256);
        }
        fmt::print("SHA-256 of the bytes: {}\n", hash);
    }
    if (!proved) {
        fmt::print(stderr, "{}\n", proved.error().text());
    }
    return proved ? answer_yes : answer_no;
}

} // namespace

int combined_prove(const Question& question, const std::string& bytes_file) {
    require_check(question);
    const auto filters = filters_asked(question);
    if (!bytes_file.empty() && filters.size() > 1) {
        usage("bytes are of one filter: give --handler NAME, as when they were made");
    }
    json answers = json::array();
    int worst = answer_yes;
    for (const auto& filter : filters) {
        worst = std::max(worst, prove_filter(question, filter, bytes_file, answers));
    }
    if (question.json) {
        fmt::print("{}\n", (answers.size() == 1 ? answers.front() : answers).dump(2));
    }
    return worst;
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
    const auto policies = all_of(combined);
    std::vector<std::string_view> call_sites;
    call_sites.reserve(policies.size());
    for (const auto* policy : policies) {
        call_sites.push_back(policy->at ? policy->at_name() : "elsewhere");
        if (call_sites.back() == wanted) {
            return *policy;
        }
    }
    usage(
        fmt::format("--at {}: say where the call comes from: {}", question.at, fmt::join(call_sites, ", ")));
}

} // namespace cloister::tool
