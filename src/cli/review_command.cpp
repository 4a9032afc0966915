// SPDX-License-Identifier: MIT
#include "cli/review_command.h"

#include "audit/difference.h"
#include "audit/review.h"
#include "cli/answer.h"
#include "cli/check.h"
#include "policy/prove.h"

#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>

namespace cloister::tool {
namespace {

struct ReviewQuestion {
    std::vector<std::string> files;
    std::string reviewer;
};

std::string today() {
    const auto now = std::time(nullptr);
    std::tm date{};
    ::gmtime_r(&now, &date);
    return fmt::format("{:04}-{:02}-{:02}", date.tm_year + 1900, date.tm_mon + 1, date.tm_mday);
}

// The policy files that an operand stands for.
std::vector<std::string> policies_in(const std::string& operand) {
    return is_directory(operand) ? files_of(or_exit(filters_in(operand, ""), false)) : std::vector{operand};
}

int policy_review(const ReviewQuestion& question) {
    if (question.reviewer.empty() || question.reviewer.find_first_of("\r\n") != std::string::npos) {
        usage("--reviewer: one line, such as 'Jane Doe <jane@example.org>'");
    }
    for (const auto& operand : question.files) {
        for (const auto& file : policies_in(operand)) {
            Question checked;
            checked.file = file;
            const auto policy = load_checked(checked);
            const audit::Review review{question.reviewer, today(), audit::meaning_hash(policy), policy.text};
            const auto name = audit::review_file(file);
            std::ofstream stream{name, std::ios::binary | std::ios::trunc};
            stream << audit::as_text(review);
            stream.close();
            if (!stream) {
                fmt::print(stderr, "cloister policy review: {}: cannot be written\n", name);
                return static_cast<int>(ExitCode::SystemCall);
            }
            fmt::print("{}: {} {}, reviewed {} by {}\n", name, policy.name, policy.version, review.date,
                       review.reviewer);
        }
    }
    return 0;
}

std::string_view word_for(audit::Direction direction) {
    return direction == audit::Direction::wider      ? "wider"
           : direction == audit::Direction::narrower ? "narrower"
                                                     : "other";
}

int require_one(const std::string& file) {
    const auto name = audit::review_file(file);
    std::ifstream stream{name, std::ios::binary};
    if (!stream) {
        fmt::print(stderr,
                   "{}: error: not reviewed: there is no {}. After the review: cloister policy review "
                   "--reviewer NAME {}\n",
                   file, name, file);
        return answer_no;
    }
    std::string text(policy::max_file_size + 4096, '\0');
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(stream.gcount()));
    const auto review = or_exit(audit::parse_review(text, name), false);
    const auto then = or_exit(policy::parse(review.text, fmt::format("{} ({})", name, review.date)), false);
    if (audit::meaning_hash(then) != review.hash) {
        fmt::print(stderr,
                   "{}: error: the record was changed by hand: its hash is not that of the policy in it\n",
                   name);
        return static_cast<int>(ExitCode::BadPolicy);
    }
    const auto now = or_exit(policy::load(file), false);
    if (audit::meaning_hash(now) == review.hash) {
        return answer_yes;
    }
    fmt::print(stderr, "{}: error: it has another meaning than when {} reviewed it on {}:\n", file,
               review.reviewer, review.date);
    for (const auto arch : now.archs) {
        if (std::find(then.archs.begin(), then.archs.end(), arch) == then.archs.end()) {
            fmt::print(stderr, "  {} was not listed\n", to_string(arch));
            continue;
        }
        for (const auto& change : audit::difference(then, now, arch, {})) {
            fmt::print(stderr, "  {} on {}: {} from {} to {}: {}\n", change.call, to_string(arch),
                       word_for(change.direction), change.before.text(), change.after.text(),
                       policy::describe(change.witness.data));
        }
    }
    fmt::print(stderr, "After the review: cloister policy review --reviewer NAME {}\n", file);
    return answer_no;
}

} // namespace

int require_reviewed(const std::vector<std::string>& files) {
    return guarded([&] {
        int worst = 0;
        for (const auto& operand : files) {
            for (const auto& file : policies_in(operand)) {
                worst = std::max(worst, require_one(file));
            }
        }
        return worst;
    });
}

void add_review_command(CLI::App& policy, int& code) {
    auto& command = *policy.add_subcommand("review", "write beside each policy that it was reviewed, in "
                                                     "FILE.review, for 'check --reviewed'. Such as: cloister "
                                                     "policy review --reviewer 'Jane Doe' my.policy");
    const auto asked = std::make_shared<ReviewQuestion>();
    command.add_option("FILE", asked->files, "policy files, or directories of such")->required();
    command.add_option("--reviewer", asked->reviewer, "who has reviewed them")->type_name("NAME")->required();
    command.callback([asked, &code] { code = guarded([&] { return policy_review(*asked); }); });
}

} // namespace cloister::tool
