// SPDX-License-Identifier: MIT
#include "cli/check.h"

#include "cli/answer.h"
#include "cli/combined_commands.h"

#include <algorithm>

namespace cloister::tool {
using nlohmann::json;

namespace {

// Adds what is said of that file to the answers. Gives the exit code.
int check_file(const std::string& file, const std::vector<std::string>& others, json& answers, bool silent) {
    const auto loaded = load_with_under(file, others);
    const auto checked = loaded ? check(*loaded) : tl::unexpected{loaded.error()};
    if (!checked) {
        answers.push_back({{"file", file}, {"ok", false}, {"error", as_json(checked.error())}});
        return static_cast<int>(report(checked.error()));
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
                       {"at", policy.at_name()},
                       {"tests", policy.tests.size()},
                       {"warnings", warned}});
    if (!silent) {
        fmt::print("{}: {} {}: {} rules, {} tests proved{}\n", file, policy.name, policy.version,
                   policy.rules.size(), policy.tests.size(),
                   policy.under.empty() ? "" : fmt::format(", no wider than {}", policy.under));
    }
    return 0;
}

int check_directory(const std::string& directory, const std::string& handler, json& answers, bool silent) {
    const auto filters = filters_in(directory, handler);
    if (!filters) {
        answers.push_back({{"file", directory}, {"ok", false}, {"error", as_json(filters.error())}});
        return static_cast<int>(report(filters.error()));
    }
    int worst = 0;
    const auto files = files_of(*filters);
    for (const auto& file : files) {
        worst = std::max(worst, check_file(file, files, answers, silent));
    }
    for (const auto& filter : *filters) {
        worst = worst != 0 ? worst : check_combined(directory, filter, answers, silent);
    }
    return worst;
}

// `policy check` of the question's file or directory: says what is wrong, and nothing else.
int check_quietly(const Question& question, json& answers) {
    return is_directory(question.file) ? check_directory(question.file, question.handler, answers, true)
                                       : check_file(question.file, {}, answers, true);
}

} // namespace

int policy_check(const std::vector<std::string>& files, const std::string& handler, bool as_json_too) {
    int worst = 0;
    json answers = json::array();
    for (const auto& file : files) {
        worst = std::max(worst, is_directory(file) ? check_directory(file, handler, answers, as_json_too)
                                                   : check_file(file, files, answers, as_json_too));
    }
    if (as_json_too) {
        fmt::print("{}\n", answers.dump(2));
    }
    return worst;
}

void require_check(const Question& question) {
    json answers = json::array();
    if (const int code = check_quietly(question, answers); code != 0) {
        if (question.json) {
            const auto refused = std::find_if(answers.begin(), answers.end(),
                                              [](const json& answer) { return answer.at("ok") == false; });
            fmt::print("{}\n", json{{"error", refused->at("error")}}.dump(2));
        }
        throw Exit{code};
    }
}

void say_if_refused(const Question& question) {
    json answers = json::array();
    if (check_quietly(question, answers) != 0) {
        fmt::print(stderr,
                   "note: {} is refused, see above; the answer is about its text as it stands, which "
                   "cloisterd does not enforce\n",
                   question.file);
    }
}

void say_if_different(const Question& question, const tl::expected<void, policy::Error>& proved) {
    if (question.unchecked && !proved) {
        fmt::print(stderr, "{}\n", proved.error().text("warning"));
    }
}

policy::Policy load_checked(const Question& question) {
    return checked(question, [&] { return or_exit(policy::load(question.file), question.json); });
}

} // namespace cloister::tool
