// SPDX-License-Identifier: MIT
#include "base/trust.h"

#include "base/die.h"

#include <array>
#include <climits>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <optional>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <vector>

namespace cloister::trust {
namespace {

constexpr int most_links = 40; // path_resolution(7)

/// A component of the path: opened, and to be checked.
struct Component {
    Fd fd; ///< O_PATH
    struct stat status {};
    std::string path; ///< without symbolic links
    std::string name; ///< in its directory
};

using Components = std::vector<Component>;

tl::unexpected<Refusal> failed(const std::string& path, int error, const char* call = "") {
    return tl::unexpected(Refusal{error, fmt::format("{}: {}{}", path, call, error_text(error))});
}

void prepend(std::deque<std::string>& names, std::string_view path) {
    std::vector<std::string> parts{""};
    for (const char c : path) {
        if (c == '/') {
            parts.emplace_back();
        } else {
            parts.back() += c;
        }
    }
    names.insert(names.begin(), parts.begin(), parts.end());
}

/// If there is an access control list, the group bits of the mode are its mask (acl(5)). O_PATH
/// descriptors have no extended attributes, so it is opened again; what can't be opened has a list.
bool has_access_list(const Component& component, const Component& directory) {
    const Fd fd{::openat(directory.fd.get(), component.name.c_str(),
                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)};
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0 || status.st_dev != component.status.st_dev ||
        status.st_ino != component.status.st_ino) {
        return true;
    }
    return ::fgetxattr(fd.get(), "system.posix_acl_access", nullptr, 0) >= 0 ||
           (errno != ENODATA && errno != EOPNOTSUPP);
}

/// Whether the group is the owner's alone, by the accounts that can be listed.
bool is_private_group(uid_t owner, gid_t group) {
    // NOLINTBEGIN(concurrency-mt-unsafe): there is one thread
    const passwd* account = ::getpwuid(owner);
    const std::string name = account == nullptr ? "" : account->pw_name;
    const struct group* entry = ::getgrgid(group);
    if (name.empty() || entry == nullptr || entry->gr_name != name) {
        return false;
    }
    for (char** member = entry->gr_mem; *member != nullptr; ++member) {
        if (*member != name) {
            return false;
        }
    }
    bool alone = true;
    ::setpwent();
    while (const passwd* other = ::getpwent()) {
        alone = alone && (other->pw_gid != group || other->pw_uid == owner);
    }
    ::endpwent();
    // NOLINTEND(concurrency-mt-unsafe)
    return alone;
}

/// Who besides its owner may write to it against the rule, and the cure; empty: nobody. `directory` is null
/// for /.
std::string who_else_may_write(const Component& component, const Component* directory) {
    const auto& status = component.status;
    const bool group = (status.st_mode & S_IWGRP) != 0;
    const bool others = (status.st_mode & S_IWOTH) != 0;
    if (!group && !others) {
        return {};
    }
    if (S_ISDIR(status.st_mode)) {
        struct statvfs mount {};
        if ((status.st_uid == 0 && (status.st_mode & S_ISVTX) != 0) ||
            (::fstatvfs(component.fd.get(), &mount) == 0 && (mount.f_flag & ST_RDONLY) != 0)) {
            return {};
        }
    }
    const bool regular = S_ISDIR(status.st_mode) || S_ISREG(status.st_mode); // nothing else may be opened
    if (!others && regular && directory != nullptr && is_private_group(status.st_uid, status.st_gid) &&
        !has_access_list(component, *directory)) {
        return {};
    }
    return fmt::format("{}{} may write to {} (mode {:04o}): chmod {}{}{} {}", others ? "others" : "group ",
                       others ? "" : fmt::to_string(status.st_gid), component.path, status.st_mode & 07777U,
                       group ? "g-w" : "", group && others ? "," : "", others ? "o-w" : "", component.path);
}

std::optional<Refusal> check(const Component& component, const Component* directory, const Rule& rule) {
    const auto owner = component.status.st_uid;
    const bool link = S_ISLNK(component.status.st_mode);
    if (owner != 0 && owner != rule.user) {
        constexpr uid_t unmapped = 65534; // /proc/sys/fs/overflowuid: user_namespaces(7)
        return Refusal{
            0, fmt::format("{}{} belongs to user {}{}, not to root{}: chown {}root {}",
                           link ? "the symbolic link " : "", component.path, owner,
                           owner == unmapped ? " (or to one that this user namespace does not map)" : "",
                           rule.user == 0 ? "" : fmt::format(" or user {}", rule.user), link ? "-h " : "",
                           component.path)};
    }
    if (link || rule.shared) { // a link's mode means nothing
        return {};
    }
    auto why = who_else_may_write(component, directory);
    return why.empty() ? std::nullopt : std::optional{Refusal{0, std::move(why)}};
}

/// `path` step by step: / first, each the directory of the next, no symbolic link among them.
tl::expected<Components, Refusal> walk(const std::string& path, const Rule& rule) {
    if (!path.starts_with('/')) {
        return tl::unexpected(Refusal{EINVAL, fmt::format("'{}' is not an absolute path", path)});
    }
    Components at;
    std::deque<std::string> names;
    prepend(names, path);
    names.front() = "/";
    for (int links = 0; !names.empty();) {
        Component next;
        next.name = std::move(names.front());
        names.pop_front();
        if (!at.empty()) {
            if (!S_ISDIR(at.back().status.st_mode)) {
                return failed(at.back().path, ENOTDIR);
            }
            if (next.name.empty() || next.name == ".") {
                continue;
            }
            if (next.name == "..") { // as we came: without symbolic links that is the directory above
                at.resize(std::max<std::size_t>(at.size() - 1, 1));
                continue;
            }
        }
        const Component* directory = at.empty() ? nullptr : &at.back();
        next.path = directory == nullptr ? next.name
                    : at.size() == 1     ? '/' + next.name
                                         : directory->path + '/' + next.name;
        next.fd = Fd{::openat(directory == nullptr ? AT_FDCWD : directory->fd.get(), next.name.c_str(),
                              O_PATH | O_NOFOLLOW | O_CLOEXEC)};
        if (!next.fd.valid() || ::fstat(next.fd.get(), &next.status) != 0) {
            return failed(next.path, errno);
        }
        if (auto refusal = check(next, directory, rule)) {
            return tl::unexpected(std::move(*refusal));
        }
        if (!S_ISLNK(next.status.st_mode)) {
            at.push_back(std::move(next));
            continue;
        }
        std::array<char, PATH_MAX> target{};
        const auto size = ::readlinkat(next.fd.get(), "", target.data(), target.size());
        if (size <= 0 || ++links > most_links) {
            return size < 0 ? failed(next.path, errno, "readlinkat: ")
                            : failed(next.path, size == 0 ? ENOENT : ELOOP);
        }
        const std::string_view text{target.data(), static_cast<std::size_t>(size)};
        if (text.starts_with('/')) {
            at.resize(1);
        }
        prepend(names, text);
    }
    return at;
}

} // namespace

tl::expected<Fd, Refusal> find(const std::string& path, const Rule& rule) {
    return walk(path, rule).map([](Components found) { return std::move(found.back().fd); });
}

tl::expected<Fd, Refusal> open_file(const std::string& path, const Rule& rule) {
    auto found = walk(path, rule);
    if (!found) {
        return tl::unexpected(std::move(found.error()));
    }
    Component& file = found->back();
    if (!S_ISREG(file.status.st_mode)) { // not opened: to open a device may do something
        return tl::unexpected(
            Refusal{EINVAL, fmt::format("{} is {}", file.path,
                                        S_ISDIR(file.status.st_mode) ? "a directory, not a regular file"
                                                                     : "not a regular file")});
    }
    const Component& directory = *(found->end() - 2);
    file.fd = Fd{::openat(directory.fd.get(), file.name.c_str(),
                          O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)};
    if (!file.fd.valid() || ::fstat(file.fd.get(), &file.status) != 0) {
        return failed(file.path, errno);
    }
    if (!S_ISREG(file.status.st_mode)) { // another one by now
        return failed(file.path, EINVAL);
    }
    if (auto refusal = check(file, &directory, rule)) {
        return tl::unexpected(std::move(*refusal));
    }
    return std::move(file.fd);
}

} // namespace cloister::trust
