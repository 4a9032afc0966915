// SPDX-License-Identifier: MIT
#include "supervisor/install.h"

#include "policy/policy.h"
#include "supervisor/version.h"

#include <fmt/core.h>

namespace cloister::supervisor {
namespace {

namespace fs = std::filesystem;

fs::path binary_dir() {
    std::error_code error;
    return fs::read_symlink("/proc/self/exe", error).parent_path();
}

bool in_build_tree(const fs::path& bin) {
    std::error_code error;
    return fs::exists(bin.parent_path() / "CMakeCache.txt", error);
}

fs::path default_policy_dir() {
    const fs::path bin = binary_dir();
    return in_build_tree(bin) ? bin.parent_path().parent_path().parent_path() / "policy"
                              : bin.parent_path() / "share/cloister/policy";
}

std::string hash_of(const fs::path& file) {
    const auto policy = policy::load(file);
    return policy ? policy->sha256 : "refused: cloisterd --check says why";
}

std::string version_text(const fs::path& policy_dir) {
    return fmt::format("cloisterd {}\n{}connection.policy {}\nlistener.policy   {}\n", version, build_notes(),
                       hash_of(policy_dir / "connection.policy"), hash_of(policy_dir / "listener.policy"));
}

} // namespace

fs::path listener_path() {
    const fs::path bin = binary_dir();
    std::error_code error;
    const fs::path beside = bin / "cloister-listener";
    return fs::exists(beside, error) ? beside : bin.parent_path() / "libexec/cloister/cloister-listener";
}

Surroundings installed_surroundings() {
    return {.default_policy_dir = default_policy_dir(), .version_text = version_text};
}

} // namespace cloister::supervisor
