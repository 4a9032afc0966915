// SPDX-License-Identifier: MIT
#include "audit/review.h"

#include "policy/meaning.h"
#include "policy/sha256.h"

#include <algorithm>
#include <fmt/format.h>

namespace cloister::audit {
namespace {

using namespace policy;

constexpr std::string_view first_line = "# A review of the policy below. Made by 'cloister policy review'; "
                                        "read by 'cloister policy check --reviewed'.";
constexpr std::string_view hash_name = "meaning-1"; // 1: the order of bits in the diagrams that are hashed

} // namespace

std::string meaning_hash(const Policy& policy) {
    std::vector<std::string> params;
    for (const auto& param : policy.params) {
        params.push_back(param.name);
    }
    std::sort(params.begin(), params.end()); // the order in which they are declared means nothing
    auto archs = policy.archs;
    std::sort(archs.begin(), archs.end());
    std::string all = fmt::format("at {}\n", policy.at_name());
    for (const auto& param : params) {
        all += fmt::format("param {}\n", param);
    }
    for (const auto arch : archs) {
        Meaning meaning{policy, params, nullptr};
        auto& diagram = meaning.diagram();
        const auto text = diagram.if_else(meaning.bound(), meaning.of_text(policy, arch), 0);
        all += fmt::format("{}\n{}", to_string(arch), diagram.canonical(text));
    }
    return sha256_hex(all);
}

std::string review_file(const std::string& policy_file) {
    return policy_file + ".review";
}

std::string as_text(const Review& review) {
    return fmt::format("{}\nreviewer {}\ndate {}\n{} {}\n\n{}", first_line, review.reviewer, review.date,
                       hash_name, review.hash, review.text);
}

tl::expected<Review, Error> parse_review(std::string_view text, const std::string& file) {
    Review review;
    unsigned line = 1;
    const auto refuse = [&](std::string why) {
        return tl::unexpected{
            Error{.kind = Error::Kind::refused,
                  .file = file,
                  .line = line,
                  .column = 1,
                  .message = std::move(why),
                  .source_line = std::string{text.substr(0, std::min(text.find('\n'), std::size_t{80}))}}};
    };
    const auto take = [&](std::string_view key, std::string& value) {
        const auto end = text.find('\n');
        const auto here = text.substr(0, end);
        if (end == text.npos || !here.starts_with(key) || here.size() <= key.size() + 1 ||
            here[key.size()] != ' ' ||
            std::any_of(here.begin(), here.end(), [](char c) { return c >= 0 && c < ' '; })) {
            return false;
        }
        value = here.substr(key.size() + 1);
        text.remove_prefix(end + 1);
        ++line;
        return true;
    };
    if (!text.starts_with(first_line) || text.substr(first_line.size()).substr(0, 1) != "\n") {
        return refuse("this is no review record: make it by 'cloister policy review'");
    }
    text.remove_prefix(first_line.size() + 1);
    ++line;
    for (const auto& [key, value] :
         {std::pair{std::string_view{"reviewer"}, &review.reviewer},
          std::pair{std::string_view{"date"}, &review.date}, std::pair{hash_name, &review.hash}}) {
        if (!take(key, *value)) {
            return refuse(fmt::format("expected '{}' and its value", key));
        }
    }
    if (!text.starts_with('\n')) {
        return refuse("expected an empty line, then the policy as it was reviewed");
    }
    review.text = text.substr(1);
    return review;
}

} // namespace cloister::audit
