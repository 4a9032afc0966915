// SPDX-License-Identifier: MIT
#include "supervisor/file_access.h"

#include "base/die.h"
#include "base/fd.h"
#include "config/address.h"
#include "supervisor/install.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cloister::supervisor {
namespace {

namespace fs = std::filesystem;

// What libraries and we ourselves read: /etc (users, the loader's cache), /proc and /sys (limits), /dev/null.
constexpr const char* system_directories[] = {"/etc",   "/usr",  "/lib", "/lib32",
                                              "/lib64", "/proc", "/sys", "/dev"};
// Where the dynamic loader and the libraries of a new cloisterd lie.
constexpr const char* loader_directories[] = {"/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib64"};

constexpr std::uint64_t reading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t of_a_file =
    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE;
constexpr std::uint64_t binding = LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE;

/// All rights to files that an ABI knows: up to MAKE_SYM of ABI 1, REFER of 2, TRUNCATE of 3, IOCTL_DEV of 5.
std::uint64_t all_rights(long abi) {
    constexpr std::uint64_t by_abi[] = {0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff};
    return by_abi[std::clamp(abi, 1L, long{std::size(by_abi)}) - 1];
}

/// The directory of that path, and, where the file is a symbolic link, that of what it leads to. A file in /
/// is taken itself: / would be everything.
void add_directories_of(const fs::path& file, std::vector<std::string>& to) {
    if (file.empty()) {
        return;
    }
    std::error_code error;
    for (const fs::path& path : {file, fs::weakly_canonical(file, error)}) {
        const fs::path directory = fs::weakly_canonical(path.parent_path(), error);
        const std::string name = directory == directory.root_path() ? path.string() : directory.string();
        if (!name.empty() && std::find(to.begin(), to.end(), name) == to.end()) {
            to.push_back(name);
        }
    }
}

/// / itself would be everything.
void add_directory(const fs::path& directory, std::vector<std::string>& to) {
    if (directory != directory.root_path()) {
        add_directories_of(directory / "x", to);
    }
}

std::vector<std::string> readable_of(const config::Config& config) {
    std::vector<std::string> found;
    add_directories_of(config.file, found);
    add_directory(config.policy_dir, found);
    for (const config::Service& service : config.services) {
        add_directories_of(service.content, found);
    }
    return found;
}

std::vector<std::string> bindable_of(const config::Config& config) {
    std::vector<std::string> found;
    for (const config::Service& service : config.services) {
        for (const config::Address& address : service.listen) {
            const std::string path = config::unix_path(address.storage, address.length);
            if (path.starts_with('/')) {
                add_directories_of(path, found);
            }
        }
    }
    return found;
}

/// Where the opened file lies, whatever symbolic link led to it. Without /proc: empty.
fs::path path_of(int file) {
    std::error_code error;
    return fs::read_symlink(fmt::format("/proc/self/fd/{}", file), error);
}

bool is_within(const fs::path& path, const std::vector<std::string>& directories) {
    return std::any_of(directories.begin(), directories.end(), [&](const fs::path& directory) {
        return std::mismatch(directory.begin(), directory.end(), path.begin(), path.end()).first ==
               directory.end();
    });
}

/// A directory that is not there, or that we may not reach, has no rule: what is beneath it is denied.
/// False with errno.
bool allow(int ruleset, const std::string& path, std::uint64_t rights) {
    const Fd directory{::open(path.c_str(), O_PATH | O_CLOEXEC)};
    if (!directory.valid()) {
        return true;
    }
    landlock_path_beneath_attr rule{rights, directory.get()};
    const auto add = [&] {
        return ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
    };
    if (add()) {
        return true;
    }
    rule.allowed_access &= of_a_file; // EINVAL: it is no directory
    return errno == EINVAL && add();
}

/// Of the calls for Landlock, the one that failed; null if none did.
const char* enforce(long abi, const FileAccess& access) {
    const landlock_ruleset_attr handled{all_rights(abi)};
    const Fd ruleset{static_cast<int>(::syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0))};
    if (!ruleset.valid()) {
        return "landlock_create_ruleset";
    }
    const auto allow_all = [&](const auto& directories, std::uint64_t rights) {
        return std::all_of(std::begin(directories), std::end(directories),
                           [&](const std::string& path) { return allow(ruleset.get(), path, rights); });
    };
    if (!allow_all(access.readable, reading) || !allow_all(access.bindable, binding | reading) ||
        !allow_all(loader_directories, reading | LANDLOCK_ACCESS_FS_EXECUTE) ||
        !allow_all(access.executable, reading | LANDLOCK_ACCESS_FS_EXECUTE) ||
        !allow(ruleset.get(), "/dev/null", reading | LANDLOCK_ACCESS_FS_WRITE_FILE)) {
        return "landlock_add_rule";
    }
#ifdef CLOISTER_COVERAGE_DIR // where what was run is counted
    if (!allow(ruleset.get(), CLOISTER_COVERAGE_DIR, all_rights(abi))) {
        return "landlock_add_rule";
    }
#endif
    return ::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) == 0 ? nullptr : "landlock_restrict_self";
}

} // namespace

tl::expected<FileAccess, Failure> restrict_file_access(const config::Config& config,
                                                       const std::string& control_path,
                                                       std::span<const int> programs) {
    const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 0 && (errno == ENOSYS || errno == EOPNOTSUPP)) {
        return FileAccess{};
    }
    const auto failed = [](std::string_view call) {
        return tl::unexpected(Failure{
            ExitCode::NotPermitted, fmt::format("cannot enforce Landlock: {}: {}", call, error_text(errno))});
    };
    if (abi < 1) {
        return failed("landlock_create_ruleset");
    }
    FileAccess access{static_cast<int>(abi), readable_of(config), bindable_of(config), {}};
    add_directories_of(control_path, access.bindable);
    for (const fs::path& directory : program_directories()) {
        add_directory(directory, access.executable);
    }
    add_directories_of(installed_program(), access.executable); // where it lies in / itself
    for (const int program : programs) {
        add_directories_of(path_of(program), access.executable);
    }
    for (const char* directory : system_directories) {
        access.readable.emplace_back(directory);
    }
    if (const char* const call = enforce(abi, access)) {
        return failed(call);
    }
    if (::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0 || errno != EACCES) { // it cannot be read back
        return tl::unexpected(
            Failure{ExitCode::SelfTest, "asked Landlock to deny opening /, the kernel does not"});
    }
    return access;
}

std::optional<Failure> expect_within(const FileAccess& access, const config::Config& config) {
    if (access.landlock_abi == 0) {
        return {};
    }
    const auto outside = [](const std::string& path, const char* what) {
        return Failure{ExitCode::Config,
                       fmt::format("{}: Landlock allows cloisterd {} only in the directories that its "
                                   "configuration named when it was started; restart cloisterd",
                                   path, what)};
    };
    const auto exists = [](const std::string& path) { // else to use it gives an error that says more
        std::error_code error;
        return fs::exists(path, error);
    };
    for (const std::string& path : readable_of(config)) {
        if (!is_within(path, access.readable) && exists(path)) {
            return outside(path, "to read");
        }
    }
    for (const std::string& path : bindable_of(config)) {
        if (!is_within(path, access.bindable) && exists(path)) {
            return outside(path, "unix sockets");
        }
    }
    return {};
}

std::optional<Failure> expect_executable(const FileAccess& access, int program) {
    const fs::path path = path_of(program);
    if (access.landlock_abi == 0 || path.empty() || is_within(path, access.executable)) {
        return {};
    }
    return Failure{
        ExitCode::Config,
        fmt::format("{}: Landlock allows cloisterd to execute only where its listeners lay when it was "
                    "started; restart cloisterd",
                    path.string())};
}

} // namespace cloister::supervisor
