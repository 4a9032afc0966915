// SPDX-License-Identifier: MIT
#pragma once

#include "audit/import.h"
#include "audit/model.h"

/// What an importer has found out, on its way to text. Internal to the importers.
namespace cloister::audit {

struct Draft {
    Model model;
    /// For calls of ABIs that the model does not list.
    Action foreign;
    bool by_libseccomp = false; ///< which the source's tool gives its rules to
    std::vector<std::string> narrower;
    std::vector<std::string> notes;
    std::string origin; ///< the first line of the text, a comment
};

/// Rules of a call are taken in their order, and the first that fits counts.
[[nodiscard]] Imported written(Draft draft);

/// "docker-default" of "/etc/docker default.json": a name for a policy.
[[nodiscard]] std::string policy_name(std::string_view file);
/// Printable ASCII, for comments and reasons; other bytes become '?'.
[[nodiscard]] std::string printable(std::string_view text);

/// Where the byte at `offset` stands in `text`.
[[nodiscard]] policy::Error error_at(std::string_view text, const std::string& file, std::size_t offset,
                                     std::string message);

} // namespace cloister::audit
