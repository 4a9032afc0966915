// SPDX-License-Identifier: MIT
#include "base/fd.h"
#include "policy/policy.h"

#include <array>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

namespace cloister::policy {
namespace {

tl::unexpected<Error> refuse(const std::filesystem::path& path, std::string why,
                             Error::Kind kind = Error::Kind::refused) {
    Error error;
    error.kind = kind;
    error.file = path.string();
    error.message = std::move(why);
    return tl::unexpected{std::move(error)};
}

// strerrorname_np and strerrordesc_np keep no state, unlike strerror.
std::string reason(int code) {
    return fmt::format("{} ({})", strerrordesc_np(code), strerrorname_np(code));
}

} // namespace

tl::expected<std::string, Error> read(int fd, const std::filesystem::path& path) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) {
        return refuse(path, "cannot stat: " + reason(errno));
    }
    if (!S_ISREG(status.st_mode)) {
        return refuse(path, S_ISDIR(status.st_mode) ? "is a directory, not a regular file"
                                                    : "is not a regular file");
    }
    if ((status.st_mode & S_IWOTH) != 0) {
        return refuse(
            path, fmt::format("anyone may write to it (mode {:04o}): chmod o-w", status.st_mode & 07777U));
    }
    // One byte more than is allowed, so that a file that grows meanwhile is noticed too.
    std::string text(max_file_size + 1, '\0');
    std::size_t size = 0;
    while (size < text.size()) {
        const ssize_t got = ::read(fd, text.data() + size, text.size() - size);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return refuse(path, "cannot read: " + reason(errno));
        }
        if (got == 0) {
            break;
        }
        size += static_cast<std::size_t>(got);
    }
    if (size > max_file_size) {
        return refuse(path, fmt::format("is longer than {} bytes", max_file_size));
    }
    text.resize(size);
    return text;
}

tl::expected<std::string, Error> read(const std::filesystem::path& path) {
    // O_NONBLOCK: a FIFO in the file's place must not hold up the start. The checks are made on what was
    // opened.
    const Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    if (!fd.valid()) {
        const int code = errno;
        const bool missing = code == ENOENT || code == ENOTDIR;
        return refuse(path, "cannot open: " + reason(code),
                      missing ? Error::Kind::missing : Error::Kind::refused);
    }
    return read(fd.get(), path);
}

tl::expected<Policy, Error> load(const std::filesystem::path& path) {
    return read(path).and_then([&](const std::string& text) { return parse(text, path.string()); });
}

tl::expected<Policy, Error> load(int fd, const std::filesystem::path& path) {
    return read(fd, path).and_then([&](const std::string& text) { return parse(text, path.string()); });
}

} // namespace cloister::policy
