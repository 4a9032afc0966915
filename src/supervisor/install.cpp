// SPDX-License-Identifier: MIT
#include "supervisor/install.h"

#include "supervisor/programs.h"
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
    std::string text = fmt::format("cloisterd {}\n{}", version, build_notes());
    for (const auto& [name, place] : policy_files) {
        const std::string file = fmt::format("{}.policy", name);
        text += fmt::format("{:<17} {}\n", file, hash_of(policy_dir / file));
    }
    return text;
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
