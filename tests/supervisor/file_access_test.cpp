// SPDX-License-Identifier: MIT
#include "supervisor/file_access.h"

#include "base/fd.h"
#include "child.h"
#include "config/address.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/core.h>
#include <fstream>
#include <functional>
#include <gmock/gmock.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace cloister::supervisor {
namespace {

namespace fs = std::filesystem;

/// Directories `named` and `other`, and a configuration that names the first.
class FileAccessTest : public testing::Test {
  protected:
    FileAccessTest() {
        std::string name = "/tmp/cloister-access-XXXXXX";
        EXPECT_NE(::mkdtemp(name.data()), nullptr);
        directory_ = name;
        for (const char* part : {"named", "other", "sockets"}) {
            fs::create_directory(directory_ / part);
            ::chmod((directory_ / part).c_str(), 0777);
            std::ofstream{directory_ / part / "file"} << "text";
        }
        ::chmod(directory_.c_str(), 0755);
        fs::create_symlink(directory_ / "other/file", directory_ / "named/link");
        config_.policy_dir = directory_ / "named";
        config_.file = directory_ / "named/cloister.toml";
        config_.services.resize(1);
        config_.services[0].content = directory_ / "named/file";
        config_.services[0].listen = {
            config::parse_address("unix:" + (directory_ / "sockets/s").string()).value()};
    }
    ~FileAccessTest() override { fs::remove_all(directory_); }
    FileAccessTest(const FileAccessTest&) = delete;
    FileAccessTest& operator=(const FileAccessTest&) = delete;

    /// What `body` returns in a process that was restricted.
    [[nodiscard]] std::string restricted(const std::function<std::string()>& body) const {
        return test::in_child([&]() -> std::string {
            test::become_ordinary();
            (void)::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            const auto access = restrict_file_access(config_, "", {});
            return !access ? access.error().message : access->landlock_abi == 0 ? "no Landlock" : body();
        });
    }
    static std::string outcome(bool succeeded) { return succeeded ? "yes" : ::strerrorname_np(errno); }
    static std::string opens(const fs::path& path, int flags) {
        return outcome(Fd{::open(path.c_str(), flags | O_CLOEXEC, 0644)}.valid());
    }
    static std::string binds(const fs::path& path) {
        sockaddr_un address{AF_UNIX, {}};
        std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
        const Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        return outcome(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    }
    /// As far as `file` may be executed.
    static std::string executes(const char* file) {
        const pid_t child = ::fork();
        if (child == 0) {
            ::execl(file, file, "--help", nullptr);
            ::_exit(errno);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        errno = WEXITSTATUS(status);
        return outcome(status == 0);
    }
    fs::path directory_;
    config::Config config_;
};

TEST_F(FileAccessTest, IsToReadBeneathWhatIsNamedAndToBindBesideItsSockets) {
    const std::string said = restricted([&] {
        std::string all;
        const auto add = [&](const char* what, const std::string& outcome) {
            all += fmt::format("{}: {}\n", what, outcome);
        };
        add("read what is named", opens(directory_ / "named/file", O_RDONLY));
        add("read the directory", opens(directory_ / "named", O_RDONLY | O_DIRECTORY));
        add("read elsewhere", opens(directory_ / "other/file", O_RDONLY));
        add("read elsewhere by a link", opens(directory_ / "named/link", O_RDONLY));
        add("read /", opens("/", O_RDONLY | O_DIRECTORY));
        add("read /proc", opens("/proc/self/status", O_RDONLY));
        add("write what is named", opens(directory_ / "named/file", O_WRONLY));
        add("make a file there", opens(directory_ / "named/new", O_WRONLY | O_CREAT));
        add("truncate", outcome(::truncate((directory_ / "named/file").c_str(), 0) == 0));
        add("remove", outcome(::unlink((directory_ / "named/file").c_str()) == 0));
        add("write /dev/null", opens("/dev/null", O_WRONLY));
        add("bind beside the socket", binds(directory_ / "sockets/s2"));
        add("remove that", outcome(::unlink((directory_ / "sockets/s2").c_str()) == 0));
        add("make a file beside it", opens(directory_ / "sockets/new", O_WRONLY | O_CREAT));
        add("bind elsewhere", binds(directory_ / "other/s"));
        add("execute", executes("/usr/bin/true"));
        return all;
    });
    if (said == "no Landlock") {
        GTEST_SKIP() << "this kernel has no Landlock";
    }
    EXPECT_EQ(said, "read what is named: yes\nread the directory: yes\nread elsewhere: EACCES\n"
                    "read elsewhere by a link: EACCES\nread /: EACCES\nread /proc: yes\n"
                    "write what is named: EACCES\nmake a file there: EACCES\ntruncate: EACCES\n"
                    "remove: EACCES\nwrite /dev/null: yes\nbind beside the socket: yes\nremove that: yes\n"
                    "make a file beside it: EACCES\nbind elsewhere: EACCES\nexecute: EACCES\n");
}

TEST_F(FileAccessTest, OfALinkThatIsNamedIsAlsoThatOfItsFile) {
    config_.services[0].content = directory_ / "named/link";
    const std::string said = restricted([&] { return opens(directory_ / "named/link", O_RDONLY); });
    EXPECT_TRUE(said == "yes" || said == "no Landlock") << said;
}

TEST_F(FileAccessTest, ControlWithoutItNothingOfThatIsDenied) {
    EXPECT_EQ(opens(directory_ / "other/file", O_WRONLY), "yes");
    EXPECT_EQ(opens(directory_ / "sockets/new", O_WRONLY | O_CREAT), "yes");
    EXPECT_EQ(binds(directory_ / "other/s"), "yes");
    EXPECT_EQ(executes("/usr/bin/true"), "yes");
}

TEST_F(FileAccessTest, OfALaterConfigurationMustBeWithin) {
    const FileAccess access{7,
                            {(directory_ / "named").string(), "/usr"},
                            {(directory_ / "sockets").string()},
                            {(directory_ / "named").string()}};
    EXPECT_FALSE(expect_within(access, config_));
    config::Config other = config_;
    other.services[0].content = directory_ / "other/file";
    ASSERT_TRUE(expect_within(access, other));
    EXPECT_EQ(expect_within(access, other)->code, ExitCode::Config);
    EXPECT_EQ(expect_within(access, other)->message,
              (directory_ / "other").string() +
                  ": Landlock allows cloisterd to read only in the directories that its configuration named "
                  "when it was started; restart cloisterd");
    EXPECT_FALSE(expect_within({}, other)) << "without Landlock";
    other = config_;
    other.services[0].listen = {config::parse_address("unix:" + (directory_ / "other/s").string()).value()};
    EXPECT_THAT(expect_within(access, other).value_or(Failure{ExitCode::Ok, ""}).message,
                testing::HasSubstr("unix sockets only in the directories"));
    other.services[0].listen = {config::parse_address("unix:/usr/lib/s").value()};
    EXPECT_TRUE(expect_within(access, other)) << "readable is not bindable";
    other = config_;
    fs::create_directory(directory_ / "named2"); // which `named` is not above
    other.policy_dir = directory_ / "named2";
    EXPECT_TRUE(expect_within(access, other));
    other.policy_dir = directory_ / "nowhere";
    EXPECT_FALSE(expect_within(access, other)) << "to open it says more";
}

TEST_F(FileAccessTest, OfALinkToAProgramIsThatOfTheProgram) {
    const FileAccess access{7, {}, {}, {(directory_ / "named").string()}};
    const Fd within{::open((directory_ / "named/file").c_str(), O_PATH)};
    const Fd outside{::open((directory_ / "named/link").c_str(), O_PATH)};
    EXPECT_FALSE(expect_executable(access, within.get()));
    EXPECT_EQ(expect_executable(access, outside.get()).value_or(Failure{ExitCode::Ok, ""}).message,
              (directory_ / "other/file").string() +
                  ": Landlock allows cloisterd to execute only where its listeners lay when it was started; "
                  "restart cloisterd");
    EXPECT_FALSE(expect_executable({}, outside.get())) << "without Landlock";
}

} // namespace
} // namespace cloister::supervisor
