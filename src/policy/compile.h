// SPDX-License-Identifier: MIT
#pragma once

#include "policy/policy.h"

#include <linux/filter.h>
#include <vector>

namespace cloister::policy {

using Program = std::vector<sock_filter>;

/// The policy as a filter program for one ABI, by libseccomp. Not to be trusted: see prove.h.
/// The same input gives the same bytes for one version of libseccomp.
[[nodiscard]] tl::expected<Program, Error> compile(const Policy& policy, Arch arch, const Bindings& bindings);

/// libseccomp's own number of a call: a second opinion on names.h, for tests.
[[nodiscard]] std::optional<std::uint32_t> libseccomp_number(Abi abi, const std::string& name);
[[nodiscard]] std::string libseccomp_version();

} // namespace cloister::policy
