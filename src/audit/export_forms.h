// SPDX-License-Identifier: MIT
#pragma once

#include "audit/export.h"
#include "audit/model.h"

/// The writers of the formats. Each gives the text and adds to `result` what the text does not say as the
/// model does; a reason in `refused` makes the text void. Internal to export.cpp.
namespace cloister::audit {

[[nodiscard]] std::string oci_text(const Model& model, Exported& result);
[[nodiscard]] std::string systemd_text(const Model& model, Exported& result);
/// Sets `python` if compile_seccomp_policy.py alone reads it as it is meant.
[[nodiscard]] std::string minijail_text(const Model& model, Exported& result, bool& python);
[[nodiscard]] std::string kafel_text(const Model& model, Exported& result);
[[nodiscard]] std::string seccompiler_text(const Model& model, Exported& result);

/// The rule is left out: its calls get the action of `otherwise`.
void leave_out(const Model& model, const Call& call, const Rule& rule, std::string_view why,
               Exported& result);
/// The rule applies to more calls than it says.
void apply_wider(const Model& model, const Call& call, const Rule& rule, std::string_view why,
                 Exported& result);
/// Calls of ABIs other than `listed` get `foreign` from this format's compiler.
void compare_foreign(const Model& model, bool lists_all, Action foreign, Exported& result);
/// "line 12 (allow write)"
[[nodiscard]] std::string named(const Call& call, const Rule& rule);

} // namespace cloister::audit
