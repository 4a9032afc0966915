// SPDX-License-Identifier: MIT
#include "supervisor/install.h"

#include "base/die.h"
#include "base/trust.h"
#include "policy/sha256.h"
#include "supervisor/programs.h"
#include "supervisor/version.h"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <fmt/core.h>
#include <sys/stat.h>

namespace cloister::supervisor {
namespace {

namespace fs = std::filesystem;

constexpr const char* own_link = "/proc/self/exe"; // proc_pid_exe(5)

/// Where cloisterd is. The kernel's answer counts only if it leads to the file that is executed: it does not
/// after that was deleted or replaced ("/sbin/cloisterd (deleted)"), outside of our root directory, of a
/// memory file ("/memfd:x"), or when an outer filter answers in the kernel's place.
tl::expected<fs::path, std::string> own_path() {
    constexpr auto needed = "from which cloisterd knows where cloister-listener and its policies are";
    std::error_code error;
    auto path = fs::read_symlink(own_link, error);
    if (error) {
        return tl::unexpected(
            fmt::format("cannot read {}, {}: {}; mount proc on /proc, and let outer filters allow readlink",
                        own_link, needed, error_text(error.value())));
    }
    struct stat executed {};
    struct stat found {};
    errno = 0;
    if (!path.is_absolute() || ::stat(own_link, &executed) != 0 || ::stat(path.c_str(), &found) != 0 ||
        executed.st_dev != found.st_dev || executed.st_ino != found.st_ino) {
        return tl::unexpected(fmt::format(
            "{}, {}, says '{}', which is not the file that is executed{}{}; start cloisterd from where it is "
            "installed, not from a file that was deleted or replaced or is outside of the root directory",
            own_link, needed, path.string(), errno == 0 ? "" : ": ", errno == 0 ? "" : error_text(errno)));
    }
    return path;
}

bool in_build_tree(const fs::path& cloisterd) {
    std::error_code error;
    return fs::exists(cloisterd.parent_path().parent_path() / "CMakeCache.txt", error);
}

fs::path policy_dir_of(const fs::path& cloisterd) {
    const fs::path above = cloisterd.parent_path().parent_path();
    return in_build_tree(cloisterd) ? above.parent_path().parent_path() / "policy"
                                    : above / "share/cloister/policy";
}

fs::path listener_of(const fs::path& cloisterd) {
    const fs::path beside = cloisterd.parent_path() / "cloister-listener";
    std::error_code error;
    return fs::exists(beside, error)
               ? beside
               : cloisterd.parent_path().parent_path() / "libexec/cloister/cloister-listener";
}

/// Of the bytes: as root nothing is parsed.
std::string hash_of(const fs::path& file) {
    const auto text = policy::read(file);
    return text ? policy::sha256_hex(*text) : "refused: cloisterd --check says why";
}

std::string version_text(const fs::path& policy_dir) {
    std::string text = fmt::format("cloisterd {}\n{}", version, build_notes());
    for (const auto& [name, place] : policy_files) {
        const std::string file = fmt::format("{}.policy", name);
        text += fmt::format("{:<17} {}\n", file, hash_of(policy_dir / file));
    }
    text += fmt::format("{:<17} {}\n", "relay.policy", hash_of(policy_dir / relay_policy_file));
    return text;
}

Failure cannot_open(const fs::path& program, int error) {
    const bool missing = error == ENOENT || error == ENOTDIR;
    return {missing ? ExitCode::NoInput : ExitCode::SystemCall,
            fmt::format("cannot open {}: {}{}", program.string(), error_text(error),
                        missing ? "; install cloister-listener there, or beside cloisterd" : "")};
}

} // namespace

config::Surroundings installed_surroundings() {
    return {.default_policy_dir = own_path().map(policy_dir_of),
            .version_text = version_text,
            .default_file = is_installed() ? "/etc/cloister/cloister.toml" : ""};
}

bool is_installed() {
    const auto cloisterd = own_path();
    return !cloisterd || !in_build_tree(*cloisterd);
}

tl::expected<Fd, Failure> open_listener_binary() {
    const auto cloisterd = own_path();
    if (!cloisterd) {
        return tl::unexpected(Failure{ExitCode::SystemCall, cloisterd.error()});
    }
    const auto listener = listener_of(*cloisterd);
    if (::geteuid() != 0) {
        Fd fd{::open(listener.c_str(), O_PATH | O_CLOEXEC)};
        return fd.valid() ? tl::expected<Fd, Failure>{std::move(fd)}
                          : tl::unexpected(cannot_open(listener, errno));
    }
    tl::expected<Fd, trust::Refusal> found;
    for (const fs::path& path : {*cloisterd, listener}) {
        found = trust::find(path, {.user = 0});
        if (!found && found.error().error == 0) {
            return tl::unexpected(Failure{
                ExitCode::NotPermitted,
                fmt::format("started as root from {}, which is not root's alone: {}; or install it, or "
                            "start it as an ordinary user",
                            path.string(), found.error().message)});
        }
        if (!found) {
            return tl::unexpected(cannot_open(path, found.error().error));
        }
    }
    return std::move(*found);
}

} // namespace cloister::supervisor
