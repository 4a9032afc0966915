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
#include <fmt/format.h>
#include <set>
#include <sys/stat.h>

namespace cloister::supervisor {
namespace {

namespace fs = std::filesystem;

constexpr const char* own_link = "/proc/self/exe"; // proc_pid_exe(5)

/// Where cloisterd is. The kernel's answer counts only if it leads to the file that is executed: it does not
/// after that was deleted or replaced ("/sbin/cloisterd (deleted)"), outside of our root directory, of a
/// memory file ("/memfd:x"), or when an outer filter answers in the kernel's place.
tl::expected<fs::path, std::string> find_own_path() {
    constexpr auto needed = "from which cloisterd knows where its handlers and policies are";
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

/// Asked for once: a package that is upgraded replaces the file, and its place stays.
const tl::expected<fs::path, std::string>& own_path() {
    static const auto path = find_own_path();
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

constexpr std::string_view beside_prefix = "cloister-listener-";

fs::path installed_handlers(const fs::path& cloisterd) {
    return cloisterd.parent_path().parent_path() / "libexec/cloister/handlers";
}

fs::path listener_of(const fs::path& cloisterd, const std::string& handler) {
    const fs::path beside = cloisterd.parent_path() / fmt::format("{}{}", beside_prefix, handler);
    std::error_code error;
    return fs::exists(beside, error) ? beside : installed_handlers(cloisterd) / handler;
}

/// Names in `directory` that begin and end so, without that. What can't be read has none.
std::set<std::string> names_in(const fs::path& directory, std::string_view prefix, std::string_view suffix) {
    std::set<std::string> names;
    std::error_code error;
    for (fs::directory_iterator at{directory, error}, end; !error && at != end; at.increment(error)) {
        const std::string name = at->path().filename().string();
        if (name.size() > prefix.size() + suffix.size() && name.starts_with(prefix) &&
            name.ends_with(suffix)) {
            names.insert(name.substr(prefix.size(), name.size() - prefix.size() - suffix.size()));
        }
    }
    return names;
}

std::set<std::string> handlers(const fs::path& cloisterd) {
    std::set<std::string> found = names_in(cloisterd.parent_path(), beside_prefix, "");
    found.merge(names_in(installed_handlers(cloisterd), "", ""));
    std::erase_if(found, [](const std::string& name) { return name.find('.') != name.npos; });
    return found;
}

/// Of the bytes: as root nothing is parsed.
std::string hash_of(const fs::path& file) {
    const auto text = policy::read(file);
    return text ? policy::sha256_hex(*text) : "refused: cloisterd --check says why";
}

std::string version_text(const fs::path& policy_dir) {
    std::string text = fmt::format("cloisterd {}\n{}", version, build_notes());
    const auto add = [&](const std::string& name, const fs::path& file) {
        text += fmt::format("{:<24} {}\n", name, hash_of(file));
    };
    for (const auto& [name, call_site] : shared_policies) {
        add(fmt::format("{}.policy", name), policy_dir / fmt::format("{}.policy", name));
    }
    std::set<std::string> found = names_in(policy_dir / "handlers", "", ".policy");
    if (const auto& cloisterd = own_path()) {
        found.merge(names_in(installed_handlers(*cloisterd), "", ".policy"));
    }
    for (const std::string& name : found) {
        add(fmt::format("handlers/{}.policy", name), handler_policy(policy_dir, name));
    }
    add(relay_policy_file, policy_dir / relay_policy_file);
    return text;
}

Failure cannot_open(const fs::path& program, int error) {
    return {error == ENOENT || error == ENOTDIR ? ExitCode::NoInput : ExitCode::SystemCall,
            fmt::format("cannot open {}: {}", program.string(), error_text(error))};
}

Failure no_handler(const fs::path& cloisterd, const fs::path& program, const std::string& handler) {
    const auto known = handlers(cloisterd);
    return {ExitCode::NoInput,
            fmt::format("there is no handler '{}': no {}; {}", handler, program.string(),
                        known.empty() ? "and no other: install them there, or beside cloisterd"
                                      : fmt::format("there are: {}", fmt::join(known, ", ")))};
}

} // namespace

config::Surroundings installed_surroundings() {
    return {.default_policy_dir = own_path().map(policy_dir_of),
            .version_text = version_text,
            .default_file = is_installed() ? "/etc/cloister/cloister.toml" : ""};
}

fs::path installed_program() {
    return own_path().value_or(fs::path{});
}

std::vector<fs::path> program_directories() {
    const auto& cloisterd = own_path();
    return cloisterd ? std::vector<fs::path>{cloisterd->parent_path(), installed_handlers(*cloisterd)}
                     : std::vector<fs::path>{};
}

bool is_installed() {
    const auto& cloisterd = own_path();
    return !cloisterd || !in_build_tree(*cloisterd);
}

fs::path handler_policy(const fs::path& policy_dir, const std::string& handler) {
    const fs::path name = fmt::format("{}.policy", handler);
    fs::path ours = policy_dir / "handlers" / name;
    std::error_code error;
    const auto& cloisterd = own_path();
    if (!cloisterd || fs::exists(ours, error)) {
        return ours;
    }
    const fs::path beside = installed_handlers(*cloisterd) / name;
    return fs::exists(beside, error) ? beside : ours;
}

tl::expected<Fd, Failure> open_listener_binary(const std::string& handler) {
    const auto& cloisterd = own_path();
    if (!cloisterd) {
        return tl::unexpected(Failure{ExitCode::SystemCall, cloisterd.error()});
    }
    const auto listener = listener_of(*cloisterd, handler);
    if (std::error_code error; !fs::exists(listener, error) && error.value() == 0) {
        return tl::unexpected(no_handler(*cloisterd, listener, handler));
    }
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
