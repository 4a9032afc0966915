// SPDX-License-Identifier: MIT
// What faults_test.cpp can't show, since cloisterd makes the same calls before and ends of it: that the
// listener's own steps notice, too. This test plays cloisterd, and only the listener has a kernel that fails
// or lies.
#include "control/launch.h"
#include "fault.h"
#include "harness.h"
#include "supervisor/programs.h"
#include "supervisor/shared_memory.h"

#include <fcntl.h>
#include <filesystem>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <regex>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

namespace cloister::live {
namespace {

constexpr int above_all_places = 256;

/// In the child: its descriptors to their places (src/control/launch.h), and as root, unless that is what the
/// fault is about, the ordinary user that cloisterd would have become.
[[noreturn]] void become_listener(const std::string& program, const Fault& fault, int log, int control,
                                  int self_test, int socket) {
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int moved[]{null, null, log, control, self_test, socket};
    for (int& fd : moved) {
        fd = fcntl(fd, F_DUPFD_CLOEXEC, above_all_places);
    }
    for (int place = 0; place <= control::first_socket_fd; ++place) {
        dup2(moved[place], place);
    }
    if (fault.needs_root || !am_root()) {
        hold_what_must_be_given_up();
    } else if (setgroups(0, nullptr) != 0 || setresgid(daemon_id, daemon_id, daemon_id) != 0 ||
               setresuid(daemon_id, daemon_id, daemon_id) != 0) {
        _exit(118);
    }
    answer_in_the_kernels_place(fault);
    std::string name = "cloister-listener";
    std::string parent = "(of a test)";
    std::string environment = control::listener_environment;
    char* const argv[] = {name.data(), parent.data(), nullptr};
    char* const envp[] = {environment.data(), nullptr};
    execve(program.c_str(), argv, envp);
    _exit(122);
}

/// A listener of which this process is the supervisor, and one client that waits in its socket's backlog.
class Listener {
  public:
    explicit Listener(const Fault& fault) {
        int ends[2];
        int pipe[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0 ||
            pipe2(pipe, O_CLOEXEC | O_NONBLOCK) != 0) {
            throw std::runtime_error{"no descriptors"};
        }
        control_.reset(ends[0]);
        log_.reset(pipe[0]);
        const Fd theirs{ends[1]};
        const Fd log{pipe[1]};
        const Fd socket = connect_client();
        const Fd self_test{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        constexpr sa_family_t unnamed = AF_UNIX; // the kernel gives it an abstract name: unix(7)
        if (bind(self_test.get(), reinterpret_cast<const sockaddr*>(&unnamed), sizeof unnamed) != 0 ||
            listen(self_test.get(), 0) != 0) {
            throw std::runtime_error{"no socket for a self-test"};
        }
        const std::string program = program_path("cloister-listener-echo");
        pid_ = fork();
        if (pid_ == 0) {
            become_listener(program, fault, log.get(), theirs.get(), self_test.get(), socket.get());
        }
    }
    ~Listener() { (void)end(); }
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    /// Whether it says that it is armed, once it has a launch configuration like cloisterd's.
    [[nodiscard]] bool arms() {
        const auto hello = hear();
        if (!hello || hello->tag != control::Message::Tag::Hello) {
            return false;
        }
        const auto policies =
            supervisor::open_policies(CLOISTER_POLICY_SOURCE,
                                      {{"echo", CLOISTER_POLICY_SOURCE "/handlers/echo.policy"}}, {})
                .and_then(supervisor::load_policies);
        const auto program =
            supervisor::compile_and_prove(policies.value().at("echo"), {hello->arena, hello->call_sites});
        const auto launch = std::make_unique<control::Launch>();
        control::prepare(*launch);
        launch->arena = hello->arena;
        launch->call_sites = hello->call_sites;
        launch->parameters = {pid_, 10, {600, 0}, cell::Mode::Serve, 0};
        launch->max_connections = 10;
        launch->socket_count = 1;
        launch->groups_empty = am_root() || getgroups(0, nullptr) == 0;
        launch->uid = am_root() ? daemon_id : geteuid();
        launch->gid = am_root() ? daemon_id : getegid();
        launch->filter_length = static_cast<std::uint32_t>(program->size());
        std::copy(program->begin(), program->end(), launch->filter);
        launch->sockets[0].set_name("the-listener");
        launch->sockets[0].family = AF_INET;
        const auto shared = supervisor::SharedMemory::create();
        control::Message message{};
        message.tag = control::Message::Tag::Launch;
        if (!control::send_message(control_.get(), message, {control::seal(*launch)->get(), shared->fd()})) {
            return false;
        }
        const auto armed = hear();
        return armed && armed->tag == control::Message::Tag::Armed;
    }

    [[nodiscard]] bool echoes(std::chrono::milliseconds limit) const {
        pollfd polled{client_.get(), POLLIN, 0};
        char byte = 0;
        return poll(&polled, 1, static_cast<int>(limit.count())) == 1 &&
               recv(client_.get(), &byte, 1, 0) == 1;
    }

    /// How it ended, by itself or since its supervisor is gone: the exit code, or minus the signal.
    int end() {
        if (pid_ > 0) {
            control_.reset();
            int status = 0;
            const bool ended = within(30s, [&] { return waitpid(pid_, &status, WNOHANG) == pid_; });
            if (!ended) {
                kill(pid_, SIGKILL);
                waitpid(pid_, &status, 0);
            }
            pid_ = 0;
            ended_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
            char text[4096];
            said_.assign(text,
                         static_cast<std::size_t>(std::max<ssize_t>(read(log_.get(), text, sizeof text), 0)));
        }
        return ended_;
    }
    [[nodiscard]] const std::string& said() const { return said_; }
    [[nodiscard]] pid_t pid() const { return pid_; }

  private:
    Fd control_, log_, client_;
    pid_t pid_ = 0;
    int ended_ = 0;
    std::string said_;

    /// The listening socket. Its port is any free one.
    [[nodiscard]] Fd connect_client() {
        Fd socket{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
        client_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
        socklen_t length = sizeof address;
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        if (bind(socket.get(), generic, length) != 0 || listen(socket.get(), 10) != 0 ||
            getsockname(socket.get(), generic, &length) != 0 ||
            connect(client_.get(), generic, length) != 0 || send(client_.get(), "x", 1, MSG_NOSIGNAL) != 1) {
            throw std::runtime_error{"no client"};
        }
        return socket;
    }

    /// Its next message; nothing at its end, or if none comes in time.
    [[nodiscard]] std::optional<control::Message> hear() const {
        pollfd polled{control_.get(), POLLIN, 0};
        control::Message message{};
        const bool heard = poll(&polled, 1, 30'000) == 1 && control::receive_message(control_.get(), message);
        return heard ? std::optional{message} : std::nullopt;
    }
};

constexpr Fault none{"None", SYS_sethostname, -1, 0, EPERM, 0, ""};

TEST(ControlOfTheListener, WithoutAFaultItArmsAndEchoesAsRootOrNot) {
    for (const bool as_root : {false, true}) {
        if (as_root && !am_root()) {
            continue;
        }
        Fault fault = none;
        fault.needs_root = as_root;
        Listener listener{fault};
        EXPECT_TRUE(listener.arms());
        EXPECT_TRUE(listener.echoes(10s));
    }
}

TEST(ControlOfTheListener, AmbientCapabilitiesGoWithTheOthersEvenIfTheirOwnCallIsFaked) {
    Listener listener{{"AmbientFaked", SYS_prctl, 0, PR_CAP_AMBIENT, faked, 0, "", am_root()}};
    EXPECT_TRUE(listener.arms());
    EXPECT_EQ(status_of(listener.pid())["CapAmb"], "0000000000000000");
}

class FailedStepOfTheListener : public testing::TestWithParam<Fault> {};

TEST_P(FailedStepOfTheListener, EndsItUnarmedBeforeAByteIsEchoedAndSaysWhy) {
    const Fault& fault = GetParam();
    if (fault.needs_root && !am_root()) {
        GTEST_SKIP() << "an ordinary user has nothing to give up here";
    }
    Listener listener{fault};
    EXPECT_FALSE(listener.arms());
    EXPECT_EQ(listener.end(), fault.exit_code) << listener.said();
    EXPECT_TRUE(std::regex_search(listener.said(), std::regex{fault.said})) << listener.said();
    EXPECT_FALSE(listener.echoes(0s));
}

INSTANTIATE_TEST_SUITE_P(
    Fault, FailedStepOfTheListener,
    testing::Values(
        Fault{"WhoStartsIt", SYS_getsockopt, -1, 0, ENOTSOCK, 64, "is started by cloisterd"},
        Fault{"WhoStartsItFaked", SYS_getsockopt, -1, 0, faked, 64, "is started by cloisterd"},
        Fault{"SignalActions", SYS_rt_sigaction, -1, 0, EINVAL, 71,
              "cannot give signal 1 its default action"},
        Fault{"SignalActionsFaked", SYS_rt_sigaction, -1, 0, faked, 70, "SigIgn must be", true},
        Fault{"SignalMask", SYS_rt_sigprocmask, -1, 0, EINVAL, 71, "cannot block signals: rt_sigprocmask"},
        Fault{"SignalMaskFaked", SYS_rt_sigprocmask, -1, 0, faked, 70, "asked to block signals"},
        Fault{"SealsOfThePlan", SYS_fcntl, 1, F_GET_SEALS, EINVAL, 70,
              "the launch configuration is not sealed"},
        Fault{"SealsOfThePlanFaked", SYS_fcntl, 1, F_GET_SEALS, faked, 70,
              "the launch configuration is not sealed"},
        Fault{"SignalDescriptor", SYS_signalfd4, -1, 0, EINVAL, 71, "signalfd"},
        Fault{"SignalDescriptorFaked", SYS_signalfd4, -1, 0, faked, 71, "signalfd"},
        Fault{"BoundingSet", SYS_prctl, 0, PR_CAPBSET_DROP, EPERM, 70, "bounding set", true},
        Fault{"BoundingSetFaked", SYS_prctl, 0, PR_CAPBSET_DROP, faked, 70, "bounding set", true},
        Fault{"Groups", SYS_setgroups, -1, 0, EPERM, 77, "setgroups", true},
        Fault{"GroupsFaked", SYS_setgroups, -1, 0, faked, 70, "supplementary groups", true},
        Fault{"Gid", SYS_setresgid, -1, 0, EPERM, 77, "setresgid", true},
        Fault{"GidFaked", SYS_setresgid, -1, 0, faked, 70, "asked to become that group", true},
        Fault{"Uid", SYS_setresuid, -1, 0, EAGAIN, 77, "setresuid", true},
        Fault{"UidFaked", SYS_setresuid, -1, 0, faked, 70, "asked to become that user", true},
        Fault{"WhoItIs", SYS_getresuid, -1, 0, EFAULT, 71, "cannot read our user: getresuid"},
        Fault{"WhoItIsFaked", SYS_getresuid, -1, 0, faked, 70, "asked to become that user"},
        Fault{"WhichGroupItIs", SYS_getresgid, -1, 0, EFAULT, 71, "cannot read our group: getresgid"},
        Fault{"WhichGroupItIsFaked", SYS_getresgid, -1, 0, faked, 70, "asked to become that group"},
        Fault{"CapabilitiesReadBack", SYS_capget, -1, 0, EPERM, 77, "capget"},
        Fault{"CapabilitiesReadBackFaked", SYS_capget, -1, 0, faked, 70,
              "asked to (empty the capability bounding set|drop our capabilities), the kernel did not"},
        Fault{"AmbientCapabilities", SYS_prctl, 0, PR_CAP_AMBIENT, EINVAL, 77,
              "drop our ambient capabilities"},
        Fault{"Capabilities", SYS_capset, -1, 0, EPERM, 77, "cannot drop our capabilities", true},
        Fault{"CapabilitiesFaked", SYS_capset, -1, 0, faked, 70, "asked to drop our capabilities", true},
        Fault{"Proc", SYS_openat, 2, O_RDONLY | O_CLOEXEC, EACCES, 71,
              "cannot open /proc/self/status: EACCES .*mount /proc"},
        Fault{"ProcFaked", SYS_openat, 2, O_RDONLY | O_CLOEXEC, faked, 71,
              "/proc/self/smaps|signalfd"}, // as an ordinary user something closes the 0 that it said
        Fault{"Dumpable", SYS_prctl, 0, PR_SET_DUMPABLE, EINVAL, 71, "cannot make us not dumpable"},
        Fault{"DumpableFaked", SYS_prctl, 0, PR_SET_DUMPABLE, faked, 70, "asked to make us not dumpable",
              true},
        Fault{"NoNewPrivs", SYS_prctl, 0, PR_SET_NO_NEW_PRIVS, EINVAL, 71, "no_new_privs"},
        Fault{"NoNewPrivsFaked", SYS_prctl, 0, PR_SET_NO_NEW_PRIVS, faked, 70, "no_new_privs", true},
        // The log relay takes these steps, too, and before a listener is started.
        Fault{"Landlock", SYS_landlock_create_ruleset, -1, 0, EPERM, 77,
              "Landlock: landlock_create_ruleset: EPERM"},
        Fault{"LandlockFaked", SYS_landlock_create_ruleset, -1, 0, faked, 77,
              "cannot enforce Landlock: landlock_create_ruleset: EINVAL"},
        Fault{"LandlockEnforcement", SYS_landlock_restrict_self, -1, 0, EPERM, 77,
              "cannot enforce Landlock: landlock_restrict_self: EPERM"},
        Fault{"LandlockEnforcementFaked", SYS_landlock_restrict_self, -1, 0, faked, 70, "Landlock to deny"},
        Fault{"LandlockOfFilesInVain", SYS_openat, 2, O_RDONLY | O_DIRECTORY | O_CLOEXEC, ENOENT, 70,
              "deny opening /"},
        Fault{"CoreLimit", SYS_prlimit64, 1, RLIMIT_CORE, EPERM, 77, "RLIMIT_CORE"},
        Fault{"CoreLimitFaked", SYS_prlimit64, 1, RLIMIT_CORE, faked, 70, "RLIMIT_CORE"},
        Fault{"LockedMemoryLimit", SYS_prlimit64, 1, RLIMIT_MEMLOCK, EPERM, 77, "RLIMIT_MEMLOCK"},
        Fault{"LockedMemoryLimitFaked", SYS_prlimit64, 1, RLIMIT_MEMLOCK, faked, 70, "RLIMIT_MEMLOCK"},
        Fault{"DescriptorLimit", SYS_prlimit64, 1, RLIMIT_NOFILE, EPERM, 77, "RLIMIT_NOFILE"},
        Fault{"DescriptorLimitFaked", SYS_prlimit64, 1, RLIMIT_NOFILE, faked, 70, "RLIMIT_NOFILE"},
        Fault{"Filter", SYS_seccomp, 0, SECCOMP_SET_MODE_FILTER, EPERM, 77,
              "seccomp filter.*: seccomp: EPERM.*outer seccomp filter"},
        Fault{"FilterFaked", SYS_seccomp, 0, SECCOMP_SET_MODE_FILTER, faked, 70,
              "signal 31; it exited with 5"},
        Fault{"ReadBack", SYS_pread64, -1, 0, EIO, 71, "cannot read /proc/self/status"},
        Fault{"ReadBackFaked", SYS_pread64, -1, 0, faked, 71, "cannot read /proc/self/status"}),
    [](const auto& instance) { return instance.param.name; });

} // namespace
} // namespace cloister::live
