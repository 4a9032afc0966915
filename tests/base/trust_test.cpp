// SPDX-License-Identifier: MIT
#include "base/trust.h"

#include "supervisor/child.h"

#include <array>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>

namespace cloister::trust {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr uid_t us = 61007;
constexpr uid_t stranger = 61010;

/// A directory of root's, or of the user that runs the tests, with a file in it: DIR/sub/file.
class Trust : public ::testing::Test {
  protected:
    Trust() {
        std::string pattern = (fs::temp_directory_path() / "cloister-trust-XXXXXX").string();
        top = fs::canonical(::mkdtemp(pattern.data()));
        sub = top / "sub";
        file = sub / "file";
        fs::create_directory(sub);
        set_mode(top, 0755);
        set_mode(sub, 0755);
        write(file, "good");
    }
    ~Trust() override { fs::remove_all(top); }
    Trust(const Trust&) = delete;
    Trust& operator=(const Trust&) = delete;

    static void write(const fs::path& path, const std::string& text) {
        std::ofstream{path} << text;
        set_mode(path, 0644);
    }
    static void set_mode(const fs::path& path, mode_t mode) { ASSERT_EQ(::chmod(path.c_str(), mode), 0); }
    static void give(const fs::path& path, uid_t uid, gid_t gid = gid_t(-1)) {
        ASSERT_EQ(::lchown(path.c_str(), uid, gid), 0) << path;
    }
    /// What is read there, or the refusal.
    static std::string open(const fs::path& path, const Rule& rule = {::geteuid()}) {
        const auto opened = open_file(path, rule);
        if (!opened) {
            return fmt::format("{} {}", opened.error().error, opened.error().message);
        }
        std::array<char, 100> text{};
        const auto size = ::read(opened->get(), text.data(), text.size());
        return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
    }

    fs::path top, sub, file;
};

#define SKIP_UNLESS_ROOT()                                                                                   \
    if (::geteuid() != 0) {                                                                                  \
        GTEST_SKIP() << "only root can give files away and mount";                                           \
    }

TEST_F(Trust, OpensWhatNobodyElseMayWrite) {
    EXPECT_EQ(open(file), "good");
    const auto found = find(sub, {::geteuid()});
    ASSERT_TRUE(found);
    EXPECT_TRUE(::fcntl(found->get(), F_GETFL) & O_PATH);
    EXPECT_TRUE(::fcntl(found->get(), F_GETFD) & FD_CLOEXEC);
    EXPECT_EQ(open(top / "./sub//file"), "good");
}

TEST_F(Trust, TakesAbsolutePathsOnly) {
    for (const char* path : {"", ".", "sub/file", "../x"}) {
        EXPECT_EQ(open(path), fmt::format("{} '{}' is not an absolute path", EINVAL, path));
    }
}

TEST_F(Trust, SaysWhatIsMissing) {
    EXPECT_EQ(open(sub / "none"),
              fmt::format("{} {}/none: ENOENT (No such file or directory)", ENOENT, sub.string()));
    for (const char* below : {"file/x", "file/", "file/.", "file/.."}) {
        EXPECT_EQ(open(sub / below), fmt::format("{} {}: ENOTDIR (Not a directory)", ENOTDIR, file.string()));
    }
}

TEST_F(Trust, RefusesStrangersFilesDirectoriesAndLinks) {
    SKIP_UNLESS_ROOT();
    fs::create_symlink("sub", top / "link");
    for (const auto& path : {file, sub, top, top / "link"}) {
        give(path, stranger);
        const bool link = fs::is_symlink(path);
        EXPECT_EQ(open(top / "link/file"),
                  fmt::format("0 {0}{1} belongs to user 61010, not to root: chown {2}root {1}",
                              link ? "the symbolic link " : "", path.string(), link ? "-h " : ""));
        EXPECT_EQ(open(top / "link/file", {us}),
                  fmt::format("0 {0}{1} belongs to user 61010, not to root or user 61007: chown {2}root {1}",
                              link ? "the symbolic link " : "", path.string(), link ? "-h " : ""));
        EXPECT_EQ(open(top / "link/file", {stranger}), "good") << path;
        give(path, 0);
    }
    EXPECT_EQ(open(top / "link/file"), "good");
}

TEST_F(Trust, RefusesWhatOthersMayWrite) {
    for (const auto& path : {file, sub, top}) {
        const mode_t kept = fs::is_directory(path) ? 0755 : 0644;
        for (const mode_t bits : {mode_t{0002}, mode_t{0022}}) {
            set_mode(path, kept | bits);
            EXPECT_EQ(open(file), fmt::format("0 others may write to {0} (mode {1:04o}): chmod {2} {0}",
                                              path.string(), kept | bits, bits == 2 ? "o-w" : "g-w,o-w"));
            EXPECT_EQ(open(file, {::geteuid(), true}), "good") << "only owners are asked for";
        }
        set_mode(path, kept);
    }
}

TEST_F(Trust, RefusesWhatASharedGroupMayWrite) {
    SKIP_UNLESS_ROOT();
    for (const auto& path : {file, sub, top}) {
        const mode_t kept = fs::is_directory(path) ? 0755 : 0644;
        give(path, 0, 61011);
        set_mode(path, kept | 0020);
        EXPECT_EQ(open(file), fmt::format("0 group 61011 may write to {0} (mode {1:04o}): chmod g-w {0}",
                                          path.string(), kept | 0020));
        give(path, 0, 0);
        set_mode(path, kept);
    }
}

TEST_F(Trust, OfAStickyDirectoryTakesRootsOnly) {
    SKIP_UNLESS_ROOT();
    set_mode(sub, 01777);
    EXPECT_EQ(open(file), "good");
    fs::create_symlink("file", sub / "ours");
    EXPECT_EQ(open(sub / "ours"), "good");
    fs::create_symlink(file, sub / "theirs");
    give(sub / "theirs", stranger);
    EXPECT_THAT(open(sub / "theirs"), HasSubstr("theirs belongs to user 61010"));
    give(file, stranger);
    EXPECT_THAT(open(file), HasSubstr("file belongs to user 61010"));
    give(file, us);
    EXPECT_EQ(open(file, {us}), "good");
    give(sub, us);
    EXPECT_THAT(open(file, {us}), HasSubstr("others may write to")) << "not root's";
}

TEST_F(Trust, FollowsLinksAsTheKernelDoes) {
    fs::create_directories(top / "other/deep");
    write(top / "other/file", "other");
    fs::create_symlink("../other/deep", sub / "relative");
    fs::create_symlink(top / "other/deep", sub / "absolute");
    fs::create_symlink("relative/../file", sub / "through");
    for (const char* path : {"relative/../file", "absolute/../file", "through", "../sub/relative/../file",
                             "absolute/../../other/../other/file"}) {
        EXPECT_EQ(open(sub / path), "other") << path;
    }
    std::string up;
    for (int i = 0; i < 20; ++i) { // /.. is /
        up += "/..";
    }
    EXPECT_EQ(open(up + file.string()), "good");
    fs::create_symlink("loop", sub / "loop");
    EXPECT_THAT(open(sub / "loop"), HasSubstr("ELOOP"));
    fs::create_symlink("file", sub / "1");
    for (int i = 2; i <= 41; ++i) {
        fs::create_symlink(fmt::to_string(i - 1), sub / fmt::to_string(i));
    }
    EXPECT_EQ(open(sub / "40"), "good");
    EXPECT_THAT(open(sub / "41"), HasSubstr("ELOOP"));
}

TEST_F(Trust, ChecksWhatALinkLeadsThrough) {
    fs::create_directories(top / "wide/deep");
    write(top / "wide/deep/file", "bad");
    set_mode(top / "wide", 0777);
    fs::create_symlink("../wide/deep/file", sub / "link");
    EXPECT_THAT(open(sub / "link"), HasSubstr("others may write to " + (top / "wide").string()));
    fs::create_symlink("../wide/../sub/file", sub / "back");
    EXPECT_THAT(open(sub / "back"), HasSubstr("others may write to " + (top / "wide").string()));
}

TEST_F(Trust, OpensNothingButRegularFilesForReading) {
    ASSERT_EQ(::mkfifo((sub / "fifo").c_str(), 0600), 0);
    EXPECT_EQ(open(sub / "fifo"), fmt::format("{} {}/fifo is not a regular file", EINVAL, sub.string()));
    EXPECT_EQ(open(sub), fmt::format("{} {} is a directory, not a regular file", EINVAL, sub.string()));
    EXPECT_EQ(open("/"), fmt::format("{} / is a directory, not a regular file", EINVAL));
}

/// In a mount namespace of its own, where /etc/passwd and /etc/group are these.
template <class Body>
std::string with_accounts(const fs::path& dir, const std::string& passwd, const std::string& group,
                          Body body) {
    std::ofstream{dir / "passwd"} << "root:x:0:0::/:/bin/sh\n" << passwd;
    std::ofstream{dir / "group"} << "root:x:0:\n" << group;
    return test::in_child([&]() -> std::string {
        if (::unshare(CLONE_NEWNS) != 0 ||
            ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount((dir / "passwd").c_str(), "/etc/passwd", nullptr, MS_BIND, nullptr) != 0 ||
            ::mount((dir / "group").c_str(), "/etc/group", nullptr, MS_BIND, nullptr) != 0) {
            return fmt::format("no mount: {}", strerrorname_np(errno));
        }
        return body();
    });
}

TEST_F(Trust, AcceptsAGroupThatIsItsOwnersAlone) {
    SKIP_UNLESS_ROOT();
    for (const auto& path : {top, sub, file}) { // umask 002
        give(path, us, us);
        set_mode(path, fs::is_directory(path) ? 0775 : 0664);
    }
    const auto opened = [&] { return open(file, {us}); };
    const std::string owner = "owner:x:61007:61007::/:/bin/sh\n";
    const std::string alone = "owner:x:61007:\n";
    if (with_accounts(top, owner, alone, [] { return std::string{}; }).starts_with("no mount")) {
        GTEST_SKIP() << "we may not mount here";
    }
    EXPECT_EQ(with_accounts(top, owner, alone, opened), "good");
    EXPECT_EQ(with_accounts(top, owner, "owner:x:61007:owner\n", opened), "good");
    const std::pair<std::string, std::string> shared[] = {
        {owner, "owner:x:61007:owner,other\n"},
        {owner, "owner:x:61007:other\n"},
        {owner, "staff:x:61007:\n"},
        {owner, ""},
        {owner + "other:x:61010:61007::/:/bin/sh\n", alone},
        {"", alone},
    };
    for (const auto& [passwd, group] : shared) {
        EXPECT_THAT(with_accounts(top, passwd, group, opened),
                    HasSubstr("group 61007 may write to " + top.string()))
            << passwd << group;
    }
}

TEST_F(Trust, LooksForAccessListsBehindAPrivateGroup) {
    SKIP_UNLESS_ROOT();
    // acl(5) as the kernel stores it (linux/posix_acl_xattr.h): user 61010 may read and write.
    struct Entry {
        std::uint16_t tag, perm;
        std::uint32_t id;
    };
    struct {
        std::uint32_t version = 2;
        Entry entries[5] = {
            {0x01, 6, ~0U}, {0x02, 6, stranger}, {0x04, 4, ~0U}, {0x10, 6, ~0U}, {0x20, 4, ~0U}};
    } const list;
    for (const auto& path : {file, sub}) {
        if (::setxattr(path.c_str(), "system.posix_acl_access", &list, sizeof list, 0) != 0) {
            GTEST_SKIP() << "no access control lists here: " << strerrorname_np(errno);
        }
        EXPECT_THAT(open(file), HasSubstr(fmt::format("group 0 may write to {} (mode", path.string())));
        ::removexattr(path.c_str(), "system.posix_acl_access");
        set_mode(path, fs::is_directory(path) ? 0755 : 0644);
    }
}

/// A ConfigMap as Kubernetes mounts it: NAME -> ..data/NAME, ..data -> ..DATE.
class ConfigMap : public Trust {
  protected:
    std::string mounted(mode_t mode, bool read_only) {
        return test::in_child([&]() -> std::string {
            if (::unshare(CLONE_NEWNS) != 0 ||
                ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
                ::mount("none", sub.c_str(), "tmpfs", 0, fmt::format("mode={:o}", mode).c_str()) != 0) {
                return fmt::format("no mount: {}", strerrorname_np(errno));
            }
            fs::create_directory(sub / "..2026");
            write(sub / "..2026/file", "configured");
            ::chmod((sub / "..2026").c_str(), mode);
            fs::create_symlink("..2026", sub / "..data");
            fs::create_symlink("..data/file", sub / "file");
            if (read_only &&
                ::mount(nullptr, sub.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) != 0) {
                return "no remount";
            }
            return open(file);
        });
    }
};

TEST_F(ConfigMap, IsReadThoughItsDirectoriesAreWritable) {
    SKIP_UNLESS_ROOT();
    if (mounted(0755, false).starts_with("no mount")) {
        GTEST_SKIP() << "we may not mount here";
    }
    EXPECT_EQ(mounted(0777, true), "configured");
    EXPECT_EQ(mounted(01777, true), "configured");
    EXPECT_EQ(mounted(01777, false), "configured") << "sticky";
    EXPECT_THAT(mounted(0777, false), HasSubstr("others may write to " + sub.string()));
}

} // namespace
} // namespace cloister::trust
