// SPDX-License-Identifier: MIT
#pragma once

#include "audit/model.h"
#include "policy/policy.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

/// Policies of other tools as text of our language. The text never allows what its source does not: where the
/// language cannot say what the source says it is stricter, and a reason says where. Pure: what an @include
/// names is read by a function that the caller gives.
namespace cloister::audit {

enum class Verdict {
    exact,    ///< both mean the same
    narrower, ///< the result allows less, or refuses more harshly
    wider,    ///< of an export: the result allows more, or refuses more mildly
    refused   ///< there is no result
};
[[nodiscard]] std::string_view to_string(Verdict verdict); ///< "EXACT"

struct Imported {
    Verdict verdict = Verdict::exact;
    std::string text;                 ///< empty when refused
    std::vector<std::string> reasons; ///< why it is not exact
    std::vector<std::string> notes;   ///< what the text does not show
};

enum class MinijailCompiler { unknown, minijail0, python };

struct ImportOptions {
    policy::Arch arch = policy::native_arch;
    std::string name;                                    ///< of the policy; empty: made of the file's name
    std::vector<std::string> caps;                       ///< of the container, "CAP_SYS_ADMIN"
    std::optional<std::pair<unsigned, unsigned>> kernel; ///< unset: newer than every number in the source
    MinijailCompiler compiler = MinijailCompiler::unknown;
    /// The content of the file that an @include names, or why it cannot be read.
    std::function<tl::expected<std::string, std::string>(const std::string& path)> include;
};

/// An OCI seccomp profile: Docker's and Podman's form, linux.seccomp of the runtime specification, or a whole
/// config.json. It means what runc and crun make of it by libseccomp. Malformed: an error with line and
/// column.
[[nodiscard]] tl::expected<Imported, policy::Error> import_oci(std::string_view text, const std::string& file,
                                                               const ImportOptions& options);
/// A policy of minijail0(5).
[[nodiscard]] tl::expected<Imported, policy::Error>
import_minijail(std::string_view text, const std::string& file, const ImportOptions& options);
/// SystemCallFilter=, SystemCallErrorNumber= and SystemCallArchitectures= of a unit file, systemd.exec(5),
/// with the groups of systemd 252.
[[nodiscard]] tl::expected<Imported, policy::Error>
import_systemd(std::string_view text, const std::string& file, const ImportOptions& options);

enum class Format { oci, minijail, systemd };
[[nodiscard]] std::optional<Format> format_named(std::string_view name);
/// By its content: JSON is OCI, a line SystemCallFilter= makes it systemd's, all else is minijail's.
[[nodiscard]] Format guess_format(std::string_view text);
[[nodiscard]] tl::expected<Imported, policy::Error>
import_policy(Format format, std::string_view text, const std::string& file, const ImportOptions& options);

} // namespace cloister::audit
