// SPDX-License-Identifier: MIT
// What cloisterd executes, reads and binds is what nobody else can have put there.
#include "client.h"
#include "harness.h"

#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cloister::live {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr uid_t stranger = 61010;

#define SKIP_UNLESS_ROOT()                                                                                   \
    if (!am_root()) {                                                                                        \
        GTEST_SKIP() << "only root can give files away and mount";                                           \
    }

void give(const fs::path& path, uid_t uid, gid_t gid) {
    ASSERT_EQ(::lchown(path.c_str(), uid, gid), 0) << path;
}
void set_mode(const fs::path& path, mode_t mode) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0) << path;
}

/// A copy of the policies, with the modes that a checkout with umask 022 gives.
void copy_policies(const fs::path& to) {
    fs::create_directories(to);
    fs::copy(CLOISTER_POLICY_SOURCE, to, fs::copy_options::recursive);
    for (const auto& entry : fs::recursive_directory_iterator{to}) {
        set_mode(entry, entry.is_directory() ? 0755 : 0644);
    }
}

class TrustedPolicies : public ::testing::Test {
  protected:
    TrustedPolicies() { copy_policies(dir); }
    [[nodiscard]] Outcome check(std::vector<std::string> options = user_options()) const {
        options.insert(options.end(), {"--check", "--policy-dir=" + dir.string()});
        return run_cloisterd(options);
    }
    /// As root and as an ordinary user alike.
    void expect_refused(const std::string& why) const {
        const Outcome outcome = check();
        EXPECT_EQ(outcome.exit_code, 65) << outcome.err;
        EXPECT_THAT(outcome.err, HasSubstr(why));
    }

    TemporaryDirectory top;
    fs::path dir = top.file("policy");
    fs::path file = dir / "clone.policy";
};

TEST_F(TrustedPolicies, AreThoseThatNobodyElseMayWrite) {
    EXPECT_EQ(check().exit_code, 0);
    for (const auto& path : {file, dir, fs::path{top.path()}}) {
        const mode_t mode = fs::is_directory(path) ? 0777 : 0646;
        set_mode(path, mode);
        expect_refused(fmt::format("others may write to {} (mode {:04o}): chmod", path.string(), mode));
        set_mode(path, fs::is_directory(path) ? 0755 : 0644);
    }
    EXPECT_EQ(check().exit_code, 0);
}

TEST_F(TrustedPolicies, AreNoStrangersAndNoSharedGroups) {
    SKIP_UNLESS_ROOT();
    fs::rename(dir, top.file("real"));
    fs::create_symlink("real", dir);
    for (const auto& path : {file, fs::path{top.file("real")}, dir, fs::path{top.path()}}) {
        const auto real = path == file ? fs::path{top.file("real/clone.policy")} : path;
        give(path, stranger, 0);
        expect_refused(fmt::format("{} belongs to user 61010", real.string()));
        give(path, 0, 0);
    }
    give(file, 0, 61011);
    set_mode(file, 0664);
    expect_refused(fmt::format("group 61011 may write to {}", top.file("real/clone.policy")));
    give(file, 0, 0);
    EXPECT_EQ(check().exit_code, 0) << check().err << "umask 002: the group root is root's own";
}

TEST_F(TrustedPolicies, MayBelongToTheUserThatWeBecome) {
    SKIP_UNLESS_ROOT();
    for (const auto& entry : fs::recursive_directory_iterator{dir}) {
        give(entry, daemon_id, daemon_id);
        set_mode(entry, entry.is_directory() ? 0700 : 0600);
    }
    give(dir, daemon_id, daemon_id);
    set_mode(dir, 0700);
    EXPECT_EQ(check().exit_code, 0) << check().err;
    const Daemon daemon{{.options = {"--policy-dir=" + dir.string()}}};
    EXPECT_TRUE(Client{daemon.address()}.echoes("hello"));
    const Outcome without = check({});
    EXPECT_EQ(without.exit_code, 65) << without.err;
    EXPECT_THAT(without.err, HasSubstr("belongs to user 61007, not to root: chown root"));
}

TEST_F(TrustedPolicies, MayBeReadableToRootAlone) {
    SKIP_UNLESS_ROOT();
    set_mode(dir, 0700);
    set_mode(file, 0600);
    EXPECT_EQ(check().exit_code, 0) << check().err;
    EXPECT_EQ(check({}).exit_code, 0) << check().err << "without --user they are parsed as nobody";
    const Daemon daemon{{.options = {"--policy-dir=" + dir.string()}}};
    EXPECT_TRUE(Client{daemon.address()}.echoes("hello"));
}

// Root's right to read is not lent to the user who owns the directory: the message would show a line of it.
TEST_F(TrustedPolicies, ThroughAUsersLinkAreReadWithTheUsersRights) {
    SKIP_UNLESS_ROOT();
    std::ofstream{top.file("secret")} << "the first line of a secret\n";
    set_mode(top.file("secret"), 0600);
    fs::remove(file);
    fs::create_symlink(top.file("secret"), file);
    give(file, daemon_id, daemon_id);
    give(dir, daemon_id, daemon_id);
    const Outcome outcome = check();
    EXPECT_EQ(outcome.exit_code, 65);
    EXPECT_THAT(outcome.err, HasSubstr("EACCES"));
    EXPECT_EQ(outcome.err.find("first line"), std::string::npos) << outcome.err;
}

TEST_F(TrustedPolicies, AreHashedWithoutBeingParsedByVersion) {
    std::ofstream{file} << "nonsense\n";
    const Outcome version = run_cloisterd({"--version", "--policy-dir=" + dir.string()});
    EXPECT_EQ(version.exit_code, 0);
    EXPECT_THAT(version.out, // sha256sum
                HasSubstr("clone.policy             "
                          "2f9d23efc183016965f402b0ca2bfc1edb5830759a169288d8bc19dd99abe9c5"));
}

/// cloisterd, a listener and their policies as they are installed, in PREFIX.
class TrustedBinaries : public ::testing::Test {
  protected:
    TrustedBinaries() {
        for (const auto& [path, built] :
             {std::pair{cloisterd, "cloisterd"}, {listener, "cloister-listener-echo"}}) {
            fs::create_directories(path.parent_path());
            fs::copy_file(program_path(built), path);
            set_mode(path, 0755);
        }
        copy_policies(prefix.file("share/cloister/policy"));
    }
    [[nodiscard]] Outcome check() const { return run_program({cloisterd.string(), "--check"}); }

    TemporaryDirectory prefix;
    fs::path cloisterd = prefix.file("sbin/cloisterd");
    fs::path listener = prefix.file("libexec/cloister/handlers/echo");
};

TEST_F(TrustedBinaries, AreRootsAloneWhenStartedAsRoot) {
    SKIP_UNLESS_ROOT();
    EXPECT_EQ(check().exit_code, 0) << check().err;
    const auto expect_refused = [&](const fs::path& path, const std::string& why) {
        for (const char* option : {"--check", "--user=61007:61007"}) {
            const Outcome outcome = run_program({cloisterd.string(), "--listen=127.0.0.1:0", option});
            EXPECT_EQ(outcome.exit_code, 77) << outcome.err;
            EXPECT_THAT(outcome.err, HasSubstr(why)) << path;
            EXPECT_THAT(outcome.err, HasSubstr(path.string() + ": ch")) << "the cure";
        }
    };
    for (const auto& path : {cloisterd, listener, listener.parent_path(), fs::path{prefix.path()}}) {
        for (const uid_t other : {stranger, uid_t{daemon_id}}) {
            give(path, other, 0);
            const Outcome outcome = check();
            EXPECT_EQ(outcome.exit_code, 77) << outcome.err;
            EXPECT_THAT(outcome.err,
                        HasSubstr(fmt::format("{0} belongs to user {1}, not to root: chown root {0}",
                                              path.string(), other)));
            give(path, 0, 0);
        }
        set_mode(path, 0757);
        expect_refused(fmt::format("{} (mode 0757)", path.string()), "others may write to " + path.string());
        set_mode(path, 0775);
        give(path, 0, 61011);
        expect_refused(fmt::format("{} (mode 0775)", path.string()),
                       "group 61011 may write to " + path.string());
        give(path, 0, 0);
        set_mode(path, 0755);
    }
    EXPECT_EQ(check().exit_code, 0) << check().err;
}

// Where /proc is not mounted, or holds something else, nothing is taken from the working directory.
TEST_F(TrustedBinaries, AreNotTakenFromTheWorkingDirectoryWithoutProc) {
    SKIP_UNLESS_ROOT();
    const TemporaryDirectory decoys;
    for (const char* decoy : {"cloister-listener-echo", "libexec/cloister/handlers/echo"}) {
        fs::create_directories(fs::path{decoys.file(decoy)}.parent_path());
        std::ofstream{decoys.file(decoy)} << "#!/bin/sh\ntouch " << decoys.file("executed") << '\n';
        set_mode(decoys.file(decoy), 0755);
    }
    copy_policies(decoys.file("share/cloister/policy"));
    const auto without_proc = [&](const std::string& options) {
        return run_program({"unshare", "-m", "sh", "-c",
                            fmt::format("mount -t tmpfs none /proc || exit 99; cd {} && exec {} {}",
                                        decoys.path(), cloisterd.string(), options)});
    };
    const std::string policies = "--policy-dir=" + prefix.file("share/cloister/policy");
    const std::string user = " --user=61007:61007 --listen=127.0.0.1:0";
    if (without_proc("--help").exit_code == 99) {
        GTEST_SKIP() << "we may not mount here";
    }
    EXPECT_EQ(without_proc("--help").exit_code, 0);
    for (const std::string& options :
         {"--check" + user, user, policies + user, "--check " + policies, std::string{"--version"}}) {
        const Outcome outcome = without_proc(options);
        EXPECT_EQ(outcome.exit_code, 71) << options << outcome.err;
        EXPECT_THAT(outcome.err, HasSubstr("cannot read /proc/self/exe")) << options;
        EXPECT_THAT(outcome.err, HasSubstr("mount proc on /proc")) << options;
    }
    EXPECT_EQ(without_proc("--version " + policies).exit_code, 0);
    EXPECT_FALSE(fs::exists(decoys.file("executed")));
}

TEST_F(TrustedBinaries, AreNotSoughtBesideAProgramThatIsNotThereAnyMore) {
    // /proc/self/exe then says 'cloisterd (deleted)'; the second time there is such a file.
    for (const std::string& more :
         {std::string{}, fmt::format("cp {0} '{0} (deleted)'; ", cloisterd.string())}) {
        fs::copy_file(program_path("cloisterd"), cloisterd, fs::copy_options::overwrite_existing);
        const Outcome outcome = run_program(
            {"sh", "-c",
             fmt::format("{1}exec 9<{0}; rm {0}; exec /proc/self/fd/9 --check", cloisterd.string(), more)});
        EXPECT_EQ(outcome.exit_code, 71) << outcome.err;
        EXPECT_THAT(outcome.err, HasSubstr("cloisterd (deleted)', which is not the file that is executed"));
    }
}

TEST(UnixSockets, ThatRootCannotRemoveAfterGivingUpItsRightsAreRemovedByTheNextStart) {
    SKIP_UNLESS_ROOT();
    const TemporaryDirectory directory; // root's, 0755
    const std::string address = "unix:" + directory.file("socket");
    for (int start = 0; start < 3; ++start) {
        Daemon daemon{{.listen = {address}}};
        EXPECT_TRUE(Client{address}.echoes("hello"));
        daemon.signal(SIGTERM);
        EXPECT_EQ(daemon.ends_within(10s), 0);
        EXPECT_TRUE(fs::exists(directory.file("socket"))) << "user 61007 may not remove it";
    }
}

TEST(UnixSockets, InTheUsersDirectoryServeAndAreRemoved) {
    const TemporaryDirectory directory;
    if (am_root()) {
        give(directory.path(), daemon_id, daemon_id);
    }
    const std::string address = "unix:" + directory.file("socket");
    Daemon daemon{{.listen = {address}}};
    EXPECT_EQ(daemon.address(), address);
    EXPECT_TRUE(Client{address}.echoes("hello"));
    daemon.signal(SIGTERM);
    EXPECT_EQ(daemon.ends_within(10s), 0);
    EXPECT_FALSE(fs::exists(directory.file("socket")));
}

TEST(UnixSockets, OfADaemonWhosePolicyIsRefusedAreRemoved) {
    const TemporaryDirectory directory;
    copy_policies(directory.file("policy"));
    std::ofstream{directory.file("policy/clone.policy")} << "nonsense\n";
    fs::create_directory(directory.file("run"));
    if (am_root()) {
        give(directory.file("run"), daemon_id, daemon_id);
    }
    auto options = user_options();
    options.insert(options.end(), {"--listen=unix:" + directory.file("run/socket"),
                                   "--policy-dir=" + directory.file("policy")});
    EXPECT_EQ(run_cloisterd(options).exit_code, 65);
    EXPECT_TRUE(fs::is_empty(directory.file("run")));
}

} // namespace
} // namespace cloister::live
