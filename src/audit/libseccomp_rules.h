// SPDX-License-Identifier: MIT
#pragma once

#include "audit/draft.h"

/// How libseccomp reads a list of rules. Source: seccomp_rule_add(3), src/db.c and src/syscalls.c of 2.5.4.
/// Internal to importers and exporters of
/// formats that it compiles.
namespace cloister::audit {

/// Adds a rule for a call that the ABIs of the draft know. libseccomp makes a rule for a call that i386 also
/// has as a part of socketcall or ipc apply to that, too.
void add_rule(Draft& draft, const std::string& call, Rule rule);

/// A rule without conditions replaces all others for its call; of several the first counts. Where rules with
/// different actions overlap, the outcome depends on libseccomp's tree: the strictest counts, with a reason.
void settle(Draft& draft);

/// Whether libseccomp makes the rule apply to more calls of i386 than it names, which no rule of the model
/// says.
[[nodiscard]] bool reaches_through_i386(const Model& model, const Call& call, const Rule& rule);

} // namespace cloister::audit
