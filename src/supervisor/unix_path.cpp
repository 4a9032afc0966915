// SPDX-License-Identifier: MIT
#include "supervisor/unix_path.h"

#include "base/die.h"
#include "base/trust.h"
#include "supervisor/as_user.h"
#include "supervisor/bind.h"
#include "supervisor/socket_options.h"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace cloister::supervisor {
namespace {

tl::unexpected<Failure> refuse(ExitCode code, const config::Address& address, std::string_view why) {
    return tl::unexpected(Failure{code, fmt::format("--listen {}: {}", address.text, why)});
}

/// Opens the directory, as whom it will be used.
tl::expected<void, Failure> open_directory(UnixPath& place, const std::string& path,
                                           const config::Address& address,
                                           const std::optional<config::User>& user) {
    const bool root = ::geteuid() == 0;
    auto found = trust::find(path, {.user = ::geteuid(), .shared = !root});
    if (!found && found.error().error == 0 && root && user) { // the user's own?
        place.as = user;
        const AsUser as{*user};
        found = trust::find(path, {.user = user->uid});
    }
    if (found) {
        place.directory = std::move(*found);
        return {};
    }
    if (found.error().error != 0) {
        return tl::unexpected(bind_failure(address, found.error().error));
    }
    return refuse(ExitCode::NotPermitted, address,
                  "the directory is not safe to bind in: " + found.error().message);
}

/// The working directory while it lives, and then the earlier one again; / where there is no way back.
class WorkingDirectory {
  public:
    WorkingDirectory() : earlier_{::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC)} {}
    ~WorkingDirectory() {
        if (::fchdir(earlier_.get()) != 0 && ::chdir("/") != 0) {
            die(ExitCode::SystemCall, "cannot leave the directory of a socket: chdir: %s", error_text(errno));
        }
    }
    WorkingDirectory(WorkingDirectory&&) = delete;
    WorkingDirectory& operator=(WorkingDirectory&&) = delete;
    WorkingDirectory(const WorkingDirectory&) = delete;
    WorkingDirectory& operator=(const WorkingDirectory&) = delete;

    [[nodiscard]] static tl::expected<void, Failure> enter(const Fd& directory,
                                                           const config::Address& address) {
        struct stat wanted {};
        struct stat is {};
        if (::fchdir(directory.get()) != 0) {
            return tl::unexpected(errno == EACCES
                                      ? bind_failure(address, errno)
                                      : system_failure("--listen " + address.text, "fchdir", errno));
        }
        if (::fstat(directory.get(), &wanted) != 0 || ::stat(".", &is) != 0) {
            return tl::unexpected(bind_failure(address, errno));
        }
        if (is.st_dev != wanted.st_dev || is.st_ino != wanted.st_ino) {
            return refuse(ExitCode::SelfTest, address,
                          "asked to go to its directory, the kernel did not do it: fchdir");
        }
        return {};
    }

  private:
    Fd earlier_;
};

/// `name`, in the working directory.
struct BareAddress {
    explicit BareAddress(const std::string& name) {
        un.sun_family = AF_UNIX;
        name.copy(un.sun_path, sizeof un.sun_path - 1);
    }
    [[nodiscard]] const sockaddr* generic() const { return reinterpret_cast<const sockaddr*>(&un); }
    sockaddr_un un{};
};

/// Removes a socket that nobody listens on any more; whatever else is there stays, and is an error.
tl::expected<void, Failure> clear(const UnixPath& place, const config::Address& address) {
    struct stat status {};
    if (::fstatat(place.directory.get(), place.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return {}; // nothing there, or bind will say why
    }
    if (!S_ISSOCK(status.st_mode)) {
        return refuse(ExitCode::Unavailable, address,
                      "the file there is not a socket; remove it, or give another path");
    }
    const Fd probe{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    const BareAddress bare{place.name};
    const int error = ::connect(probe.get(), bare.generic(), sizeof bare.un) == 0 ? 0 : errno;
    if (error == EPERM || error == ENOSYS) {
        return tl::unexpected(system_failure("--listen " + address.text, "connect", error));
    }
    if (error != ECONNREFUSED) {
        return refuse(
            ExitCode::Unavailable, address,
            error == EACCES
                ? "there is a socket that we may not connect to, to see whether it is in use; remove "
                  "it by hand, or give another path"
                : "the socket there is in use; stop its owner, or give another path");
    }
    if (::unlinkat(place.directory.get(), place.name.c_str(), 0) != 0 && errno != ENOENT) {
        return refuse(
            ExitCode::Unavailable, address,
            fmt::format("the stale socket there can't be removed: {}; remove it by hand", error_text(errno)));
    }
    return {};
}

/// The very file that bind has made, before anything of it is changed.
Fd identify(UnixPath& place, uid_t creator) {
    Fd file{::openat(place.directory.get(), place.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
    struct stat status {};
    if (::fstat(file.get(), &status) != 0 || !S_ISSOCK(status.st_mode) || status.st_uid != creator ||
        status.st_nlink != 1) {
        return {};
    }
    place.device = status.st_dev;
    place.inode = status.st_ino;
    return file;
}

tl::expected<void, Failure> bind_in(UnixPath& place, int socket, const config::Address& address,
                                    const std::optional<config::User>& user) {
    const WorkingDirectory earlier; // left last: root may come back to where the user may not
    std::optional<AsUser> as;
    if (place.as) {
        as.emplace(*place.as);
    }
    auto ready = WorkingDirectory::enter(place.directory, address);
    if (ready) {
        ready = clear(place, address);
    }
    if (!ready) {
        return ready;
    }
    const BareAddress bare{place.name};
    const mode_t saved = ::umask(~address.mode & 0777);
    const int bound = ::bind(socket, bare.generic(), sizeof bare.un);
    const int error = errno;
    ::umask(saved);
    if (bound != 0) {
        return tl::unexpected(bind_failure(address, error));
    }
    const Fd file = identify(place, place.as ? place.as->uid : ::geteuid());
    if (!file.valid()) {
        return tl::unexpected(bind_failure(address, EADDRINUSE));
    }
    if (user && ::geteuid() == 0 && ::fchownat(file.get(), "", user->uid, user->gid, AT_EMPTY_PATH) != 0) {
        return tl::unexpected(system_failure(address.text, fmt::format("chown to {}", user->name), errno));
    }
    return {};
}

} // namespace

std::optional<Failure> bind_unix(ListeningSocket& socket, const config::Address& address,
                                 const std::optional<config::User>& user) {
    const auto path = config::unix_path(address.storage, address.length);
    const auto slash = path.rfind('/') + 1;
    socket.path.name = path.substr(slash);
    socket.name = config::name_of(address.storage, address.length); // the kernel would tell the bare name
    socket.address = address.storage;
    socket.address_length = address.length;
    if (socket.path.name.empty() || socket.path.name == "." || socket.path.name == "..") {
        return refuse(ExitCode::Usage, address, "the path does not end in the name of a file").value();
    }
    auto done = open_directory(socket.path, path.substr(0, slash), address, user);
    if (done) {
        done = bind_in(socket.path, socket.fd.get(), address, user);
    }
    return done ? std::nullopt : std::optional{std::move(done.error())};
}

void remove_unix_path(const ListeningSocket& socket) {
    const auto& place = socket.path;
    std::optional<AsUser> as;
    if (place.inode != 0 && place.as && ::geteuid() == 0) {
        as.emplace(*place.as);
    }
    struct stat status {};
    if (place.inode != 0 &&
        ::fstatat(place.directory.get(), place.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        status.st_dev == place.device && status.st_ino == place.inode) {
        (void)::unlinkat(place.directory.get(), place.name.c_str(), 0);
    }
}

} // namespace cloister::supervisor
