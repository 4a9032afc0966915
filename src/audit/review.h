// SPDX-License-Identifier: MIT
#pragma once

#include "policy/policy.h"

/// The record that a policy was reviewed, which lies beside it: who, when, and what the policy meant. A
/// change of a comment, or of words that leave the meaning as it is, needs no new review.
namespace cloister::audit {

struct Review {
    std::string reviewer;
    std::string date; ///< of the review, in UTC: "2026-11-27"
    std::string hash; ///< meaning_hash() of the text
    std::string text; ///< of the policy as it was reviewed
};

/// SHA-256, in hex, of what the text means: two policies have the same one exactly if they list the same ABIs
/// and decide every call alike, for all values of their parameters, which go by name. Throws what Meaning
/// throws.
[[nodiscard]] std::string meaning_hash(const policy::Policy& policy);

/// Name of the record of a policy file.
[[nodiscard]] std::string review_file(const std::string& policy_file);

/// The record as a file, and back. Malformed, or not what was written: an error with the line.
[[nodiscard]] std::string as_text(const Review& review);
[[nodiscard]] tl::expected<Review, policy::Error> parse_review(std::string_view text,
                                                               const std::string& file);

} // namespace cloister::audit
