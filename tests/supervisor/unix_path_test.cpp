// SPDX-License-Identifier: MIT
// Where a unix socket is bound, and with whose rights.
#include "child.h"
#include "supervisor/as_user.h"
#include "supervisor/sockets.h"

#include <chrono>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gmock/gmock.h>
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace cloister::supervisor {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::HasSubstr;

const config::User daemon_user{61007, 61007, "61007"};
constexpr uid_t stranger = 61010;

class UnixPath : public ::testing::Test {
  protected:
    UnixPath() {
        std::string pattern = (fs::temp_directory_path() / "cloister-path-XXXXXX").string();
        top = fs::canonical(::mkdtemp(pattern.data()));
        fs::permissions(top, fs::perms{0755});
        dir = top / "dir";
        path = dir / "socket";
        fs::create_directory(dir);
    }
    ~UnixPath() override { fs::remove_all(top); }
    UnixPath(const UnixPath&) = delete;
    UnixPath& operator=(const UnixPath&) = delete;

    static void give(const fs::path& file, uid_t uid) { ASSERT_EQ(::lchown(file.c_str(), uid, uid), 0); }
    static void set_mode(const fs::path& file, mode_t mode) { ASSERT_EQ(::chmod(file.c_str(), mode), 0); }

    [[nodiscard]] static tl::expected<std::vector<ListeningSocket>, Failure>
    open_at(const fs::path& path, const std::optional<config::User>& user = daemon_user) {
        config::Service options;
        options.listen_given = true;
        options.listen.push_back(config::parse_address("unix:" + path.string()).value());
        return open_sockets(options, user, {});
    }
    /// 'bound', or the failure.
    [[nodiscard]] static std::string bind_at(const fs::path& path,
                                             const std::optional<config::User>& user = daemon_user) {
        const auto listeners = open_at(path, user);
        return listeners ? "bound"
                         : fmt::format("{} {}", static_cast<int>(listeners.error().code),
                                       listeners.error().message);
    }
    [[nodiscard]] std::string refused(const std::string& why) const {
        return fmt::format("77 --listen unix:{}: the directory is not safe to bind in: {}", path.string(),
                           why);
    }
    /// A socket at `file` that nobody listens on.
    static void leave_stale_socket(const fs::path& file) {
        const Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        file.string().copy(address.sun_path, sizeof address.sun_path - 1);
        ASSERT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    }
    static struct stat status_of(const fs::path& file) {
        struct stat status {};
        EXPECT_EQ(::lstat(file.c_str(), &status), 0) << file;
        return status;
    }

    fs::path top, dir, path;
};

#define SKIP_UNLESS_ROOT()                                                                                   \
    if (::geteuid() != 0) {                                                                                  \
        GTEST_SKIP() << "only root can give files away";                                                     \
    }

TEST_F(UnixPath, IsToldAsItWasConfiguredAndTheWorkingDirectoryStays) {
    const auto before = fs::current_path();
    fs::create_symlink("dir", top / "link");
    const auto listeners = open_at(top / "link/./socket", {});
    ASSERT_TRUE(listeners) << listeners.error().message;
    EXPECT_EQ(listeners->front().name, "unix:" + (top / "link/./socket").string());
    EXPECT_EQ(config::unix_path(listeners->front().address, listeners->front().address_length),
              (top / "link/./socket").string());
    EXPECT_EQ(fs::current_path(), before);
    EXPECT_TRUE(fs::is_socket(path));
    remove_unix_paths(*listeners);
    EXPECT_FALSE(fs::exists(path));
}

TEST_F(UnixPath, EndsInTheNameOfAFile) {
    for (const char* end : {"/", "/.", "/.."}) {
        EXPECT_EQ(bind_at(dir.string() + end),
                  fmt::format("64 --listen unix:{}{}: the path does not end in the name of a file",
                              dir.string(), end));
    }
}

TEST_F(UnixPath, InADirectoryOfAStrangersIsRefused) {
    SKIP_UNLESS_ROOT();
    for (const auto& directory : {dir, top}) {
        give(directory, stranger);
        EXPECT_EQ(bind_at(path), refused(fmt::format("{0} belongs to user 61010, not to root or user 61007: "
                                                     "chown root {0}",
                                                     directory.string())));
        EXPECT_THAT(test::in_child([&] {
                        test::become_ordinary();
                        return bind_at(path, {});
                    }),
                    HasSubstr(fmt::format("{} belongs to user 61010, not to root or user 61008",
                                          directory.string())));
        give(directory, 0);
    }
    EXPECT_FALSE(fs::exists(path));
}

TEST_F(UnixPath, WhereAStrangersLinkLeadsIsRefused) {
    SKIP_UNLESS_ROOT();
    fs::create_symlink("dir", top / "link");
    give(top / "link", stranger);
    EXPECT_THAT(bind_at(top / "link/socket"), HasSubstr("the symbolic link " + (top / "link").string()));
    give(top / "link", daemon_user.uid);
    EXPECT_THAT(bind_at(top / "link/socket"), HasSubstr("no permission to create a file there"))
        << "the user's link, as the user, to root's directory";
}

TEST_F(UnixPath, AsRootIsRefusedWhereOthersMayWriteUnlessSticky) {
    SKIP_UNLESS_ROOT();
    set_mode(dir, 0777);
    EXPECT_EQ(bind_at(path),
              refused(fmt::format("others may write to {0} (mode 0777): chmod g-w,o-w {0}", dir.string())));
    EXPECT_EQ(test::in_child([&] {
                  test::become_ordinary();
                  return bind_at(path, {});
              }),
              "bound")
        << "an ordinary user has no other power there than everybody, as in a Kubernetes emptyDir";
    fs::remove(path);
    set_mode(dir, 01777);
    EXPECT_EQ(bind_at(path), "bound");
}

TEST_F(UnixPath, InTheUsersDirectoryIsTheUsersFromTheStart) {
    SKIP_UNLESS_ROOT();
    give(dir, daemon_user.uid);
    leave_stale_socket(path);
    give(path, daemon_user.uid);
    const auto listeners = open_at(path);
    ASSERT_TRUE(listeners) << listeners.error().message;
    EXPECT_EQ(status_of(path).st_uid, daemon_user.uid);
    EXPECT_EQ(status_of(path).st_gid, daemon_user.gid);
    EXPECT_EQ(status_of(path).st_mode & 07777U, 0660U);
    remove_unix_paths(*listeners);
    EXPECT_FALSE(fs::exists(path));
    set_mode(dir, 0555);
    EXPECT_THAT(bind_at(path), HasSubstr("no permission to create a file there")) << "nor may the user";
}

TEST_F(UnixPath, ThatRootCannotRemoveAnyMoreIsFoundStaleAtTheNextStart) {
    SKIP_UNLESS_ROOT();
    EXPECT_EQ(test::in_child([&] {
                  const auto listeners = open_at(path);
                  test::become_ordinary();
                  remove_unix_paths(*listeners);
                  return std::string{fs::exists(path) ? "left" : "removed"};
              }),
              "left");
    EXPECT_EQ(bind_at(path), "bound");
}

TEST_F(UnixPath, ThatALaterStepFailsForIsRemoved) {
    config::Service options;
    options.listen_given = true;
    options.listen = {config::parse_address("unix:" + path.string()).value(),
                      config::parse_address("192.0.2.1:0").value()};
    if (::geteuid() == 0) {
        give(dir, daemon_user.uid);
    }
    EXPECT_FALSE(open_sockets(options, geteuid() == 0 ? std::optional{daemon_user} : std::nullopt, {}));
    EXPECT_FALSE(fs::exists(path));
}

/// Another process, of another user, that does the same again and again until this object is gone.
class Meddler {
  public:
    template <class Step>
    Meddler(uid_t user, Step step) : pid_{::fork()} {
        if (pid_ == 0) {
            ::alarm(60);
            if (::setgroups(0, nullptr) != 0 || ::setresgid(user, user, user) != 0 ||
                ::setresuid(user, user, user) != 0) {
                ::_exit(1);
            }
            for (;;) {
                step();
            }
        }
    }
    ~Meddler() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    Meddler(const Meddler&) = delete;
    Meddler& operator=(const Meddler&) = delete;

  private:
    pid_t pid_;
};

/// Root's files, which nobody may touch: a stale socket, and a file.
class SwappedUnixPath : public UnixPath {
  protected:
    SwappedUnixPath() {
        fs::create_directory(top / "root");
        leave_stale_socket(top / "root/socket");
        std::ofstream{top / "root/file"} << "precious";
        set_mode(top / "root/socket", 0666);
        set_mode(top / "root/file", 0644);
        changed_ = fs::last_write_time(top / "root");
    }
    void expect_untouched() const {
        for (const auto& file : {top / "root/socket", top / "root/file", top / "root"}) {
            EXPECT_EQ(status_of(file).st_uid, 0U) << file;
            EXPECT_EQ(status_of(file).st_gid, 0U) << file;
        }
        EXPECT_EQ(fs::file_size(top / "root/file"), 8U);
        EXPECT_EQ(fs::last_write_time(top / "root"), changed_) << "something was removed or added";
        EXPECT_EQ(std::distance(fs::directory_iterator{top / "root"}, {}), 2) << "and nothing was added";
    }
    /// What somebody who may write in `home` can do to HOME/run/socket.
    [[nodiscard]] auto rearranging(const fs::path& home) const {
        return [this, home] {
            const auto socket = home / "run/socket";
            std::error_code ignored;
            ::unlink((home / "run").c_str());
            ::mkdir((home / "run").c_str(), 0755);
            ::unlink(socket.c_str());
            ::unlink((home / "aside/socket").c_str());
            const Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
            sockaddr_un address{};
            address.sun_family = AF_UNIX;
            socket.string().copy(address.sun_path, sizeof address.sun_path - 1);
            (void)::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
            for (const char* target : {"root/socket", "root/file"}) {
                ::unlink(socket.c_str());
                fs::create_symlink(top / target, socket, ignored);
                ::unlink(socket.c_str());
                fs::create_hard_link(top / target, socket, ignored); // where fs.protected_hardlinks is 0
            }
            (void)::rename((home / "run").c_str(), (home / "aside").c_str()); // and now the directory itself
            fs::create_symlink(top / "root", home / "run", ignored);
            ::usleep(20);
            ::unlink((home / "run").c_str());
            (void)::rename((home / "aside").c_str(), (home / "run").c_str());
        };
    }

  private:
    fs::file_time_type changed_;
};

TEST_F(SwappedUnixPath, ByAStrangerIsAlwaysRefused) {
    SKIP_UNLESS_ROOT();
    give(dir, stranger);
    const Meddler meddler{stranger, rearranging(dir)};
    for (int i = 0; i < 300; ++i) {
        ASSERT_THAT(bind_at(dir / "run/socket"), HasSubstr("belongs to user 61010"));
    }
    expect_untouched();
}

TEST_F(SwappedUnixPath, ByTheUserReachesNothingThatTheUserMayNot) {
    SKIP_UNLESS_ROOT();
    give(dir, daemon_user.uid);
    const Meddler meddler{daemon_user.uid, rearranging(dir)};
    unsigned bound = 0;
    unsigned refused = 0;
    for (const auto end = std::chrono::steady_clock::now() + 2s; std::chrono::steady_clock::now() < end;) {
        const auto listeners = open_at(dir / "run/socket");
        ++(listeners ? bound : refused);
        if (listeners) {
            remove_unix_paths(*listeners);
        }
    }
    EXPECT_GT(bound, 0U);
    EXPECT_GT(refused, 0U);
    expect_untouched();
}

TEST_F(UnixPath, AsUserHasTheUsersRightsAndThenOursAgain) {
    SKIP_UNLESS_ROOT();
    const auto now = [] {
        const int count = ::getgroups(0, nullptr);
        std::ifstream status{"/proc/self/status"};
        std::string effective;
        for (std::string line; std::getline(status, line);) {
            if (line.starts_with("CapEff:")) {
                effective = line;
            }
        }
        return fmt::format("{} {} {} {}", ::setfsuid(uid_t(-1)), ::setfsgid(gid_t(-1)), count, effective);
    };
    EXPECT_EQ(test::in_child([&]() -> std::string {
                  const std::array<gid_t, 2> groups{4, 5};
                  if (::setgroups(groups.size(), groups.data()) != 0) {
                      return "setgroups";
                  }
                  const auto before = now();
                  std::string during;
                  {
                      const AsUser as{daemon_user};
                      during = now();
                  }
                  return during + (now() == before ? ", then as before" : ", then not as before");
              }),
              "61007 61007 0 CapEff:\t0000000000000000, then as before");
}

} // namespace
} // namespace cloister::supervisor
