// SPDX-License-Identifier: MIT
// cloisterd with a configuration file.
#include "client.h"
#include "harness.h"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <sstream>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cloister::live {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class ConfigurationFile : public ::testing::Test {
  protected:
    void write(const std::string& text) const {
        std::ofstream{file} << text;
        ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
    }
    [[nodiscard]] Outcome start(std::vector<std::string> options) const {
        options.insert(options.begin(), {"--config", file});
        return run_cloisterd(options);
    }
    /// Of the test's own user and, where that is root, of an ordinary one too.
    [[nodiscard]] std::vector<Outcome> start_as_each(const std::vector<std::string>& options) const {
        std::vector<Outcome> all{start(options)};
        if (am_root()) {
            std::vector<std::string> command{"setpriv",
                                             "--reuid=61010",
                                             "--regid=61010",
                                             "--clear-groups",
                                             program_path("cloisterd"),
                                             "--config",
                                             file};
            command.insert(command.end(), options.begin(), options.end());
            all.push_back(run_program(command));
        }
        return all;
    }

    TemporaryDirectory directory;
    std::string file = directory.file("cloister.toml");
};

TEST_F(ConfigurationFile, IsServed) {
    write("log-format = \"json\"\n[defaults]\nidle-timeout = \"7s\"\n[[service]]\nname = \"one\"\n"
          "listen = [\"127.0.0.1:0\", \"[::1]:0\"]\nmax-connections = 5\n");
    const Daemon daemon{{.listen = {}, .options = {"--config", file, "--lifetime=3m"}}};
    EXPECT_TRUE(Client{daemon.address(0)}.echoes("hello"));
    EXPECT_TRUE(Client{daemon.address(1)}.echoes("hello"));
    const auto& limits = daemon.ready().at("limits");
    EXPECT_EQ(limits.at("max_connections"), 5);
    EXPECT_EQ(limits.at("idle_timeout_ms"), 7000);
    EXPECT_EQ(limits.at("lifetime_ms"), 180'000);
    EXPECT_EQ(limits.at("drain_timeout_ms"), 30'000);
}

TEST_F(ConfigurationFile, NamesTheUserThatRootBecomes) {
    if (!am_root()) {
        GTEST_SKIP() << "we are not root";
    }
    write("user = \"61007:61007\"\n");
    EXPECT_EQ(start({"--check"}).exit_code, 0);
    write("user = \"0:61007\"\n");
    const Outcome outcome = start({"--check"});
    EXPECT_EQ(outcome.exit_code, 77) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("cloister.toml:1:8: error: user: that is root's user"));
    write("");
    EXPECT_EQ(start({}).exit_code, 77) << "there is none";
}

TEST_F(ConfigurationFile, IsCheckedSilently) {
    for (const auto& outcome : start_as_each({"--check", "-c", CLOISTER_EXAMPLES "/cloister.toml"})) {
        EXPECT_EQ(outcome.exit_code, 64) << "--config twice: " << outcome.err;
    }
    std::filesystem::copy_file(CLOISTER_EXAMPLES "/cloister.toml", file);
    ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
    for (const auto& outcome : start_as_each({"--check"})) {
        EXPECT_EQ(outcome.exit_code, 0);
        EXPECT_EQ(outcome.err + outcome.out, "") << "examples/cloister.toml";
    }
}

TEST_F(ConfigurationFile, ThatIsWrongIs78WithItsPlace) {
    write("[defaults]\nidle-timeot = \"5s\"\n");
    for (const auto& options : {std::vector<std::string>{}, {"-t"}, {"-T"}}) {
        for (const auto& outcome : start_as_each(options)) {
            EXPECT_EQ(outcome.exit_code, 78);
            EXPECT_EQ(outcome.out, "");
            EXPECT_EQ(outcome.err,
                      "cloisterd: " + file +
                          ":2:1: error: there is no key 'idle-timeot' in [defaults]; did you mean "
                          "'idle-timeout'?\nidle-timeot = \"5s\"\n^\n");
        }
    }
}

TEST_F(ConfigurationFile, ThatIsMissingIs66) {
    for (const auto& outcome : start_as_each({"-t"})) {
        EXPECT_EQ(outcome.exit_code, 66) << outcome.err;
        EXPECT_THAT(outcome.err, HasSubstr("cloister.toml: cannot open: "));
    }
}

TEST_F(ConfigurationFile, CanNamePoliciesThatAreCheckedToo) {
    write("policy-dir = \"/nonexistent\"\n");
    for (const auto& outcome : start_as_each({"-t"})) {
        EXPECT_EQ(outcome.exit_code, 66) << outcome.err;
        EXPECT_THAT(outcome.err, HasSubstr("/nonexistent/"));
    }
}

TEST_F(ConfigurationFile, OfAnotherUserIsNotBelieved) {
    if (!am_root()) {
        GTEST_SKIP() << "only root can give files away";
    }
    write("");
    ASSERT_EQ(::chown(file.c_str(), 61011, 61011), 0);
    for (const auto& outcome : start_as_each({"-t"})) {
        EXPECT_EQ(outcome.exit_code, 78);
        EXPECT_THAT(outcome.err,
                    HasSubstr("cloister.toml: not to be trusted: " + file + " belongs to user 61011"));
    }
    ASSERT_EQ(::chown(file.c_str(), 61010, 61010), 0);
    const auto outcomes = start_as_each({"-t"});
    EXPECT_EQ(outcomes[0].exit_code, 78) << "root's child would parse what a user wrote";
    EXPECT_EQ(outcomes[1].exit_code, 0) << "it is that user's own: " << outcomes[1].err;
}

TEST_F(ConfigurationFile, IsWhatShowConfigPrints) {
    write("[[service]]\nname = \"one\"\nlisten = [\"127.0.0.1:0\"]\nidle-timeout = \"7s\"\n");
    auto shown = start({"--show-config", "--max-connections=5"});
    EXPECT_EQ(shown.exit_code, 0);
    EXPECT_EQ(shown.err, "");
    EXPECT_THAT(shown.out, HasSubstr("\nidle-timeout = \"7s\"  # " + file + ":4\n"));
    EXPECT_THAT(shown.out, HasSubstr("\nmax-connections = 5  # option --max-connections\n"));
    EXPECT_THAT(shown.out, HasSubstr("\n# lifetime = \"10m\"  # default\n"));
    write(shown.out);
    const Daemon daemon{{.listen = {}, .options = {"-c", file}}};
    EXPECT_EQ(daemon.ready().at("limits").at("max_connections"), 5);
    EXPECT_EQ(daemon.ready().at("limits").at("idle_timeout_ms"), 7000);
    EXPECT_TRUE(Client{daemon.address()}.echoes("hello"));
}

TEST_F(ConfigurationFile, IsNamedByTheEnvironmentToo) {
    write("log-format = \"logfmt\"\n");
    const Outcome outcome = run_program(
        {"env", "CLOISTER_CONFIG=" + file, "CLOISTER_LIFETIME=9s", program_path("cloisterd"), "-T"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("\nlog-format = \"logfmt\"  # " + file + ":1\n"));
    EXPECT_THAT(outcome.out, HasSubstr("\nlifetime = \"9s\"  # environment CLOISTER_LIFETIME\n"));
}

/// The process that parses it may write no file, which standard error can be.
TEST_F(ConfigurationFile, IfItsReaderCannotConfineItselfTheReasonComesIntoAFileToo) {
    write("log-format = \"json\"\n");
    const std::string log = directory.file("log");
    const Fd to{::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)};
    const Fault no_seccomp{"Seccomp", SYS_seccomp, -1, 0, ENOSYS, 77, ""};
    Daemon daemon{{.listen = {},
                   .options = {"-c", file},
                   .await_ready = false,
                   .stderr_fd = to.get(),
                   .faults = {no_seccomp}}};
    EXPECT_EQ(daemon.ends_within(20s), 77);
    std::stringstream said;
    said << std::ifstream{log}.rdbuf();
    EXPECT_THAT(said.str(), HasSubstr("cannot install the seccomp filter"));
    EXPECT_THAT(said.str(), HasSubstr("seccomp: ENOSYS"));
}

} // namespace
} // namespace cloister::live
