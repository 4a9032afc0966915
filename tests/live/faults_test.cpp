// SPDX-License-Identifier: MIT
// A step of the confinement that fails, or that says it succeeded and did nothing, ends the daemon before a
// byte is echoed. An outer seccomp filter, put on before cloisterd starts, answers the one call in the
// kernel's place.
#include "base/memory_file.h"
#include "cell/cell.h"
#include "control/launch.h"
#include "fault.h"
#include "harness.h"
#include "machine.h"
#include "syscall/passrights.h"

#include <algorithm>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <regex>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

namespace cloister::live {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t first_inherited = 3;
constexpr std::uint32_t plan_first_above = control::status_fd + 1;
constexpr std::uint32_t smaps_buffer = 8192; // src/listener/memory.cpp
constexpr const char* not_given = "cannot give a connection to a cell: setsockopt: EINVAL"; // a unix one
#ifdef SYS_readlink
constexpr long read_link = SYS_readlink;
#else
constexpr long read_link = SYS_readlinkat;
#endif

/// Clients that try all the time, and what they hear.
class Clients {
  public:
    explicit Clients(fs::path path) : path_{std::move(path)} {}

    void try_again() {
        for (const Fd& client : connected_) {
            char byte = 0;
            heard_ += recv(client.get(), &byte, 1, MSG_DONTWAIT) == 1 ? 1U : 0U;
        }
        Fd client{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path_.string().copy(address.sun_path, sizeof address.sun_path - 1);
        if (connected_.size() < 20 &&
            connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
            (void)send(client.get(), "x", 1, MSG_NOSIGNAL);
            connected_.push_back(std::move(client));
        }
    }
    [[nodiscard]] unsigned heard() const { return heard_; }

  private:
    fs::path path_;
    std::vector<Fd> connected_;
    unsigned heard_ = 0;
};

struct Life {
    int exit_code = -1; ///< -1: it still ran at the deadline
    std::string said;
    unsigned heard = 0;
};

struct Start {
    std::string listen{};                  ///< empty: where the clients come
    bool in_users_directory = false;       ///< as root: the socket's directory belongs to --user
    std::vector<std::string> options = {}; ///< further ones
};

Life run_with(const Fault& fault, const Start& start = {}) {
    std::string directory = (fs::temp_directory_path() / "cloister-fault-XXXXXX").string();
    if (mkdtemp(directory.data()) == nullptr) {
        throw std::runtime_error{"mkdtemp"};
    }
    fs::permissions(directory, fs::perms{0755}); // cloisterd's own client comes as its user
    if (start.in_users_directory && chown(directory.c_str(), daemon_id, daemon_id) != 0) {
        throw std::runtime_error{"chown"};
    }
    const fs::path path = fs::path{directory} / "socket";
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        throw std::runtime_error{"pipe2"};
    }
    const Fd reading{ends[0]};
    Fd writing{ends[1]};
    std::vector<std::string> words{
        (fs::read_symlink("/proc/self/exe").parent_path() / "cloisterd").string(),
        "--listen=" + (start.listen.empty() ? "unix:" + path.string() + ",mode=0666" : start.listen)};
    for (const auto& more : {user_options(), start.options}) {
        words.insert(words.end(), more.begin(), more.end());
    }
    std::vector<char*> argv;
    for (auto& word : words) {
        argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(writing.get(), STDERR_FILENO);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        hold_what_must_be_given_up();
        answer_in_the_kernels_place(fault);
        execv(argv[0], argv.data());
        _exit(122);
    }
    writing.reset();
    Life run;
    Clients clients{path};
    const auto deadline = std::chrono::steady_clock::now() + 30s;
    bool open = true;
    while (open && std::chrono::steady_clock::now() < deadline) {
        clients.try_again();
        pollfd polled{reading.get(), POLLIN, 0};
        if (poll(&polled, 1, 5) == 1) {
            char text[4096];
            const ssize_t size = read(reading.get(), text, sizeof text);
            open = size > 0;
            run.said.append(text, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
        }
        if (clients.heard() > 0) {
            break; // it serves: no need to wait
        }
    }
    int status = 0;
    if (open) {
        kill(pid, SIGKILL);
    }
    waitpid(pid, &status, 0);
    run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    clients.try_again();
    run.heard = clients.heard();
    fs::remove_all(directory);
    return run;
}

TEST(Control, ADaemonWithoutAFaultEchoesToTheseClients) {
    const Life run = run_with({"None", SYS_sethostname, -1, 0, EPERM, -1, ""});
    EXPECT_EQ(run.exit_code, -1) << run.said;
    EXPECT_GT(run.heard, 0U) << run.said;
}

class FailedStep : public testing::TestWithParam<Fault> {};

TEST_P(FailedStep, EndsTheDaemonBeforeAByteIsEchoedAndSaysWhy) {
    const Fault& fault = GetParam();
    if (fault.needs_root && !am_root()) {
        GTEST_SKIP() << "an ordinary user has nothing to give up here";
    }
    const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, 1); // LANDLOCK_CREATE_RULESET_VERSION
    if (abi < fault.landlock_abi) {
        GTEST_SKIP() << "this kernel's Landlock has ABI " << abi << ", " << fault.landlock_abi
                     << " is needed";
    }
    const Life run = run_with(fault);
    EXPECT_EQ(run.exit_code, fault.exit_code) << run.said;
    EXPECT_TRUE(std::regex_search(run.said, std::regex{fault.said})) << run.said;
    EXPECT_EQ(run.heard, 0U);
}

INSTANTIATE_TEST_SUITE_P(
    Fault, FailedStep,
    testing::Values(
        Fault{"OwnProgram", read_link, -1, 0, EACCES, 71,
              "cannot read /proc/self/exe.*EACCES.*mount proc.*outer filters"},
        Fault{"OwnProgramFaked", read_link, -1, 0, faked, 71, "/proc/self/exe.*says ''"},
        Fault{"DirectoryOfASocket", SYS_fchdir, -1, 0, EACCES, 77, "give a directory that is ours"},
        Fault{"DirectoryOfASocketFaked", SYS_fchdir, -1, 0, faked, 70, "asked to go to its directory"},
        Fault{"WorkingDirectory", SYS_chdir, -1, 0, EACCES, 71, "chdir"},
        Fault{"WorkingDirectoryFaked", SYS_chdir, -1, 0, faked, 71, "chdir"},
        Fault{"Hello", SYS_sendmsg, -1, 0, EPERM, 71,
              "cannot ask cloisterd for our launch configuration: sendmsg: EPERM"},
        Fault{"HelloFaked", SYS_sendmsg, -1, 0, faked, 71,
              "cannot ask cloisterd for our launch configuration"},
        Fault{"PlaceOfTheCells", SYS_mmap, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, ENOMEM, 71,
              "cannot place"},
        Fault{"PlaceOfTheCellsElsewhere", SYS_mmap, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
              faked, 71, "cannot place"},
        Fault{"TableOfCells", SYS_mmap, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, ENOMEM, 71,
              "no memory for a table"},
        Fault{"DescriptorsInPlace", SYS_dup3, 2, O_CLOEXEC, EBUSY, 71, "cannot move descriptor"},
        Fault{"DescriptorsInPlaceFaked", SYS_dup3, 2, O_CLOEXEC, faked, 71, "cannot move descriptor"},
        Fault{"SignalDescriptor", SYS_signalfd4, -1, 0, EINVAL, 71, "signalfd"},
        Fault{"SignalActions", SYS_rt_sigaction, -1, 0, EINVAL, 71,
              "cloisterd: .*default action: rt_sigaction"},
        Fault{"SignalActionsFaked", SYS_rt_sigaction, -1, 0, faked, 70, "SigIgn"},
        Fault{"SignalMaskFaked", SYS_rt_sigprocmask, -1, 0, faked, 70, "cloisterd: .*block signals"},
        Fault{"BoundingSet", SYS_prctl, 0, PR_CAPBSET_DROP, EPERM, 70, "cloisterd: .*bounding set", true},
        Fault{"BoundingSetFaked", SYS_prctl, 0, PR_CAPBSET_DROP, faked, 70, "cloisterd: .*bounding set",
              true},
        Fault{"Groups", SYS_setgroups, -1, 0, EPERM, 77, "cloisterd: .*setgroups", true},
        Fault{"GroupsFaked", SYS_setgroups, -1, 0, faked, 70, "cloisterd: .*supplementary groups", true},
        Fault{"Gid", SYS_setresgid, -1, 0, EPERM, 77, "cloisterd: .*setresgid", true},
        Fault{"GidFaked", SYS_setresgid, -1, 0, faked, 70, "cloisterd: read back: Gid", true},
        Fault{"Uid", SYS_setresuid, -1, 0, EAGAIN, 77, "cloisterd: .*setresuid", true},
        Fault{"UidFaked", SYS_setresuid, -1, 0, faked, 70, "cloisterd: read back: Uid", true},
        Fault{"WhoWeAre", SYS_getresuid, -1, 0, EFAULT, 71, "cannot read our user: getresuid: EFAULT"},
        Fault{"WhichGroupWeAre", SYS_getresgid, -1, 0, EFAULT, 71,
              "cannot read our group: getresgid: EFAULT"},
        Fault{"WhichGroupWeAreFaked", SYS_getresgid, -1, 0, faked, 70, "asked to become that group"},
        Fault{"CapabilitiesReadBack", SYS_capget, -1, 0, EPERM, 77, "cloisterd: .*capget"},
        Fault{"CapabilitiesReadBackFaked", SYS_capget, -1, 0, faked, 77,
              "cloisterd: cannot read our capabilities"},
        Fault{"AmbientCapabilities", SYS_prctl, 0, PR_CAP_AMBIENT, EINVAL, 77,
              "cannot drop our ambient capabilities: prctl"},
        Fault{"Capabilities", SYS_capset, -1, 0, EPERM, 77, "cloisterd: .*drop our capabilities", true},
        Fault{"CapabilitiesFaked", SYS_capset, -1, 0, faked, 70, "cloisterd: read back: Cap", true},
        Fault{"NoNewPrivs", SYS_prctl, 0, PR_SET_NO_NEW_PRIVS, EINVAL, 71, "cloisterd: .*no_new_privs"},
        Fault{"NoNewPrivsFaked", SYS_prctl, 0, PR_SET_NO_NEW_PRIVS, faked, 70, "cloisterd: .*no_new_privs",
              true},
        Fault{"Dumpable", SYS_prctl, 0, PR_SET_DUMPABLE, EINVAL, 71, "cloisterd: .*dumpable"},
        Fault{"DumpableFaked", SYS_prctl, 0, PR_SET_DUMPABLE, faked, 70,
              "asked to make us not dumpable, the kernel did not", true},
        Fault{"DeathSignal", SYS_prctl, 0, PR_SET_PDEATHSIG, EINVAL, 71, "end with our parent"},
        Fault{"DeathSignalFaked", SYS_prctl, 0, PR_SET_PDEATHSIG, faked, 70, "end with our parent"},
        Fault{"Landlock", SYS_landlock_create_ruleset, -1, 0, EPERM, 77,
              "Landlock: landlock_create_ruleset: EPERM"},
        Fault{"LandlockFaked", SYS_landlock_create_ruleset, -1, 0, faked, 77,
              "cannot enforce Landlock: landlock_(create_ruleset|restrict_self): E(INVAL|BADF)"},
        Fault{"LandlockEnforcement", SYS_landlock_restrict_self, -1, 0, EPERM, 77,
              "cannot enforce Landlock: landlock_restrict_self: EPERM"},
        Fault{"LandlockEnforcementFaked", SYS_landlock_restrict_self, -1, 0, faked, 70, "Landlock to deny"},
        Fault{"LandlockOfFilesInVain", SYS_openat, 2, O_RDONLY | O_DIRECTORY | O_CLOEXEC, ENOENT, 70,
              "deny opening /"},
        Fault{"LandlockOfPortsFaked", SYS_bind, 2, sizeof(sockaddr_in), faked, 70, "deny bind", false, 4},
        Fault{"LandlockOfPortsInVain", SYS_bind, 2, sizeof(sockaddr_in), EADDRINUSE, 70, "deny bind", false,
              4},
        Fault{"ProcessLimit", SYS_prlimit64, 1, RLIMIT_NPROC, EPERM, 77, "RLIMIT_NPROC"},
        Fault{"SignalQueueLimit", SYS_prlimit64, 1, RLIMIT_SIGPENDING, EPERM, 77, "RLIMIT_SIGPENDING"},
        Fault{"CoreLimit", SYS_prlimit64, 1, RLIMIT_CORE, EPERM, 77, "RLIMIT_CORE"},
        Fault{"CoreLimitFaked", SYS_prlimit64, 1, RLIMIT_CORE, faked, 70, "RLIMIT_CORE"},
        Fault{"LockedMemoryLimit", SYS_prlimit64, 1, RLIMIT_MEMLOCK, EPERM, 77, "RLIMIT_MEMLOCK"},
        Fault{"LockedMemoryLimitFaked", SYS_prlimit64, 1, RLIMIT_MEMLOCK, faked, 70, "RLIMIT_MEMLOCK"},
        Fault{"DescriptorLimit", SYS_prlimit64, 1, RLIMIT_NOFILE, EPERM, 77, "RLIMIT_NOFILE"},
        Fault{"DescriptorLimitFaked", SYS_prlimit64, 1, RLIMIT_NOFILE, faked, 70, "RLIMIT_NOFILE"},
        Fault{"SmapsFromTheStart", SYS_lseek, -1, 0, ESPIPE, 71, "smaps: lseek"},
        Fault{"Smaps", SYS_read, 2, smaps_buffer, EIO, 71, "cannot read /proc/self/smaps"},
        Fault{"SmapsThatAreEmpty", SYS_read, 2, smaps_buffer, faked, 70, "smaps is empty"},
        Fault{"HidingOfMemory", SYS_madvise, -1, 0, EINVAL, 71, "madvise"},
        Fault{"HidingOfMemoryFaked", SYS_madvise, -1, 0, faked, 70, "hide memory"},
        Fault{"Rseq", SYS_rseq, -1, 0, EBUSY, 70, "libc has registered rseq .EBUSY"},
        Fault{"RseqGivenBack", SYS_rseq, 2, 1, EINVAL, 71, "cannot unregister rseq"},
        Fault{"RseqGivenBackFaked", SYS_rseq, 2, 1, faked, 70, "signal 11"},
        Fault{"Compiler", SYS_memfd_create, 1, MFD_CLOEXEC | noexec_seal, ENOSYS, 71,
              "cannot compile: memfd_create: ENOSYS"},
        Fault{"SharedMemory", SYS_memfd_create, 1, MFD_CLOEXEC | noexec_seal | MFD_ALLOW_SEALING, ENOSYS, 71,
              "generations of a service share: memfd_create"},
        Fault{"SharedMemorySize", SYS_ftruncate, -1, 0, ENOMEM, 71, "share: ftruncate: ENOMEM"},
        Fault{"SharedMemorySizeFaked", SYS_ftruncate, -1, 0, faked, 71, "share: F_ADD_SEALS"},
        Fault{"SharedMemorySealed", SYS_fcntl, 2, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, EPERM, 71,
              "share: F_ADD_SEALS"},
        Fault{"SharedMemorySealedFaked", SYS_fcntl, 2, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, faked, 71,
              "share: F_ADD_SEALS"},
        Fault{"LaunchWritten", SYS_write, 2, sizeof(control::Launch), ENOSPC, 71,
              "launch configuration: write"},
        Fault{"LaunchWrittenFaked", SYS_write, 2, sizeof(control::Launch), faked, 71,
              "launch configuration: write"},
        Fault{"LaunchSealed", SYS_fcntl, 2, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE, EPERM,
              71, "launch configuration: F_ADD_SEALS"},
        Fault{"LaunchSealedFaked", SYS_fcntl, 2, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE,
              faked, 71, "launch configuration: F_ADD_SEALS"},
        Fault{"Fork", SYS_clone, -1, 0, EAGAIN, 71,
              "cannot try whether a process can end: fork .clone.: EAGAIN.*pids.max"},
        Fault{"ForkFaked", SYS_clone, -1, 0, faked, 70, "asked for a child, the kernel made none"},
        Fault{"DryRun", SYS_clone, 0, 0, EAGAIN, 71, "cannot dry-run"},
        Fault{"DryRunReaped", SYS_wait4, 2, __WALL, ECHILD, 71, "cannot dry-run"},
        Fault{"DryRunReapedFaked", SYS_wait4, 2, __WALL, faked, 71, "cannot dry-run"},
        Fault{"CloneOfACell", SYS_clone, 0, cell::clone_flags, EAGAIN, 71, "cannot fork a cell"},
        Fault{"CloneOfACellFaked", SYS_clone, 0, cell::clone_flags, faked, 70, end_as_newborn},
        Fault{"NegativeSelfTestReaped", SYS_wait4, 2, WNOHANG | __WALL, ECHILD, 71,
              "cannot reap a cell of the self-test: wait4"},
        Fault{"NegativeSelfTestReapedFaked", SYS_wait4, 2, WNOHANG | __WALL, faked, 70, "still lives"},
        Fault{"InheritedDescriptors", SYS_close_range, 0, first_inherited, EPERM, 71,
              "cloisterd: cannot close the descriptors from 3 on"},
        Fault{"InheritedDescriptorsFaked", SYS_close_range, 0, first_inherited, faked, 70,
              "cloisterd: asked to close the descriptors from 3 on, "},
        Fault{"DescriptorsKeptFromTheListener", SYS_close_range, 2, CLOSE_RANGE_CLOEXEC, EPERM, 71,
              "cannot close the descriptors from 6 on"},
        Fault{"DescriptorsKeptFromTheListenerFaked", SYS_close_range, 2, CLOSE_RANGE_CLOEXEC, faked, 70,
              "asked to close the descriptors from 6 on at exec"},
        Fault{"DescriptorsOfTheListener", SYS_close_range, 1, control::status_fd - 1, EPERM, 71,
              "cannot close the descriptors from 6 on"},
        Fault{"DescriptorsOfTheListenerFaked", SYS_close_range, 1, control::status_fd - 1, faked, 70,
              "asked to close the descriptors from 6 on, "},
        Fault{"DescriptorsAboveThePlans", SYS_close_range, 0, plan_first_above, EPERM, 71,
              "cannot close the descriptors from 70 on"},
        Fault{"DescriptorsAboveThePlansFaked", SYS_close_range, 0, plan_first_above, faked, 70,
              "asked to close the descriptors from 70 on, "},
        Fault{"DescriptorsFromTheListener", SYS_setsockopt, 2, so_passrights, EPERM, 71,
              "setsockopt SO_PASSRIGHTS=0: EPERM"},
        Fault{"DescriptorsFromTheListenerFaked", SYS_setsockopt, 2, so_passrights, faked, 70,
              "SO_PASSRIGHTS was set to 0 and reads back as 1"},
        Fault{"SelfTestSocketShut", SYS_shutdown, 1, SHUT_RD, ENOTCONN, 71,
              "cannot make the self-test's socket: shutdown: ENOTCONN"},
        Fault{"SelfTestSocketShutFaked", SYS_shutdown, 1, SHUT_RD, faked, 70,
              "asked to shut the self-test's socket for others, the kernel did not"},
        Fault{"Filter", SYS_seccomp, 0, SECCOMP_SET_MODE_FILTER, EPERM, 77,
              "seccomp filter.*: seccomp: EPERM.*outer seccomp filter"},
        Fault{"FilterFaked", SYS_seccomp, 0, SECCOMP_SET_MODE_FILTER, faked, 70,
              "asked to install the seccomp filter, the kernel has"},
        Fault{"DescriptorsOfACell", SYS_close_range, 0, 1, EPERM, 71,
              "a cell cannot close what is not its own: close_range: EPERM"},
        Fault{"DescriptorsOfACellFaked", SYS_close_range, 0, 1, faked, 70, "close what is not its own"},
        Fault{"ParentOfACell", SYS_getppid, -1, 0, EPERM, 71, "cloisterd: getppid: EPERM"},
        Fault{"ParentOfACellFaked", SYS_getppid, -1, 0, faked, 70, "setup-orphan|parent, process"},
        Fault{"CpuLimitOfACell", SYS_prlimit64, 1, RLIMIT_CPU, EPERM, 71,
              "a cell cannot limit its CPU time: prlimit64: EPERM"},
        Fault{"CpuLimitOfACellFaked", SYS_prlimit64, 1, RLIMIT_CPU, faked, 78,
              "RLIMIT_CPU .LimitCPU=, ulimit -t. is 0 s"},
        Fault{"LifetimeOfACell", SYS_setitimer, -1, 0, EINVAL, 71,
              "a cell cannot limit its lifetime: setitimer: EINVAL"},
        Fault{"LifetimeOfACellFaked", SYS_setitimer, -1, 0, faked, 70, "limit its lifetime"},
        Fault{"SetupPageOfACell", SYS_munmap, 1, arch::max_page_size, EINVAL, 70, "setup-page"},
        Fault{"SetupPageOfACellFaked", SYS_munmap, 1, arch::max_page_size, faked, 70,
              "jumped to the setup call site.*exited with 5"},
        Fault{"Supervisor", SYS_write, 2, sizeof(control::Message), EPIPE, 70, "does not listen to us"},
        Fault{"SupervisorFaked", SYS_write, 2, sizeof(control::Message), faked, 70, "does not listen to us"},
        Fault{"ReceiveTimeoutOfAConnection", SYS_setsockopt, 2, SO_RCVTIMEO, EINVAL, 71, not_given},
        Fault{"SendTimeoutOfAConnection", SYS_setsockopt, 2, SO_SNDTIMEO, EINVAL, 71, not_given},
        Fault{"LingerOfAConnection", SYS_setsockopt, 2, SO_LINGER, EINVAL, 71, not_given},
        Fault{"OobInlineOfAConnection", SYS_setsockopt, 2, SO_OOBINLINE, EINVAL, 71, not_given},
        Fault{"OomScore", SYS_pwrite64, -1, 0, EACCES, 71,
              "cannot set /proc/self/oom_score_adj to [0-9]+: pwrite64: EACCES", true},
        Fault{"OomScoreFaked", SYS_pwrite64, -1, 0, faked, 70,
              "/proc/self/oom_score_adj was set to [0-9]+ and reads back as [0-9-]+", true},
        Fault{"Accept", SYS_accept4, -1, 0, EBADF, 71, "cannot accept"},
        Fault{"AcceptFaked", SYS_accept4, -1, 0, faked, 71, "cannot give a connection"}),
    [](const auto& instance) { return instance.param.name; });

/// The listener has been forked with a raised score by then. The two differ in their numbers of digits.
TEST(FailedStepBesideAListener, OfLoweringTheOomScoreEndsTheDaemonAndSaysWhy) {
    const std::string own = read_file("/proc/self/oom_score_adj");
    if (!am_root() || own != "0\n") {
        GTEST_SKIP() << "only root, with an oom_score_adj of 0, is sure to raise it";
    }
    const Life run = run_with({"OomScoreLowered", SYS_pwrite64, 2, 1, EACCES, 71, ""});
    EXPECT_EQ(run.exit_code, 71) << run.said;
    EXPECT_NE(run.said.find("cannot set /proc/self/oom_score_adj to 0: pwrite64: EACCES"), std::string::npos)
        << run.said;
    EXPECT_EQ(run.heard, 0U);
}

class FailedSocketOption : public testing::TestWithParam<Fault> {};

TEST_P(FailedSocketOption, EndsTheDaemonBeforeItServesAndSaysWhich) {
    const Fault& fault = GetParam();
    const bool ipv6 = fault.value == IPV6_V6ONLY;
    const Life run = run_with(fault, {.listen = ipv6 ? "[::1]:0" : "127.0.0.1:0"});
    if (ipv6 && run.exit_code == 69) {
        GTEST_SKIP() << "no IPv6 here: " << run.said;
    }
    EXPECT_EQ(run.exit_code, fault.exit_code) << run.said;
    EXPECT_TRUE(std::regex_search(run.said, std::regex{fault.said})) << run.said;
    EXPECT_EQ(run.said.find("\"ready\""), std::string::npos) << run.said;
}

INSTANTIATE_TEST_SUITE_P(
    Fault, FailedSocketOption,
    testing::Values(
        Fault{"ReuseAddress", SYS_setsockopt, 2, SO_REUSEADDR, ENOPROTOOPT, 71, "setsockopt SO_REUSEADDR="},
        Fault{"ReuseAddressFaked", SYS_setsockopt, 2, SO_REUSEADDR, faked, 70,
              "SO_REUSEADDR was set to .* and reads back as 0"},
        Fault{"ReuseAddressReadBack", SYS_getsockopt, 2, SO_REUSEADDR, EINVAL, 71,
              "getsockopt SO_REUSEADDR:"},
        Fault{"V6Only", SYS_setsockopt, 2, IPV6_V6ONLY, ENOPROTOOPT, 71, "setsockopt IPV6_V6ONLY="},
        Fault{"V6OnlyFaked", SYS_setsockopt, 2, IPV6_V6ONLY, faked, 70,
              "IPV6_V6ONLY was set to .* and reads back as 0"},
        Fault{"V6OnlyReadBack", SYS_getsockopt, 2, IPV6_V6ONLY, EINVAL, 71, "getsockopt IPV6_V6ONLY:"},
        Fault{"ReceiveTimeout", SYS_setsockopt, 2, SO_RCVTIMEO, ENOPROTOOPT, 71, "setsockopt SO_RCVTIMEO="},
        Fault{"ReceiveTimeoutFaked", SYS_setsockopt, 2, SO_RCVTIMEO, faked, 70,
              "SO_RCVTIMEO was set to .* and reads back as 0"},
        Fault{"ReceiveTimeoutReadBack", SYS_getsockopt, 2, SO_RCVTIMEO, EINVAL, 71,
              "getsockopt SO_RCVTIMEO:"},
        Fault{"SendTimeout", SYS_setsockopt, 2, SO_SNDTIMEO, ENOPROTOOPT, 71, "setsockopt SO_SNDTIMEO="},
        Fault{"SendTimeoutFaked", SYS_setsockopt, 2, SO_SNDTIMEO, faked, 70,
              "SO_SNDTIMEO was set to .* and reads back as 0"},
        Fault{"SendTimeoutReadBack", SYS_getsockopt, 2, SO_SNDTIMEO, EINVAL, 71, "getsockopt SO_SNDTIMEO:"},
        Fault{"NoDelay", SYS_setsockopt, 2, TCP_NODELAY, ENOPROTOOPT, 71, "setsockopt TCP_NODELAY="},
        Fault{"NoDelayFaked", SYS_setsockopt, 2, TCP_NODELAY, faked, 70,
              "TCP_NODELAY was set to .* and reads back as 0"},
        Fault{"NoDelayReadBack", SYS_getsockopt, 2, TCP_NODELAY, EINVAL, 71, "getsockopt TCP_NODELAY:"},
        Fault{"UserTimeout", SYS_setsockopt, 2, TCP_USER_TIMEOUT, ENOPROTOOPT, 71,
              "setsockopt TCP_USER_TIMEOUT="},
        Fault{"UserTimeoutFaked", SYS_setsockopt, 2, TCP_USER_TIMEOUT, faked, 70,
              "TCP_USER_TIMEOUT was set to .* and reads back as 0"},
        Fault{"UserTimeoutReadBack", SYS_getsockopt, 2, TCP_USER_TIMEOUT, EINVAL, 71,
              "getsockopt TCP_USER_TIMEOUT:"},
        Fault{"KeepAlive", SYS_setsockopt, 2, SO_KEEPALIVE, ENOPROTOOPT, 71, "setsockopt SO_KEEPALIVE="},
        Fault{"KeepAliveFaked", SYS_setsockopt, 2, SO_KEEPALIVE, faked, 70,
              "SO_KEEPALIVE was set to .* and reads back as 0"},
        Fault{"KeepAliveReadBack", SYS_getsockopt, 2, SO_KEEPALIVE, EINVAL, 71, "getsockopt SO_KEEPALIVE:"},
        Fault{"SendBuffer", SYS_setsockopt, 2, SO_SNDBUF, ENOPROTOOPT, 71, "setsockopt SO_SNDBUF=262144:"},
        Fault{"SendBufferFaked", SYS_setsockopt, 2, SO_SNDBUF, faked, 70,
              "SO_SNDBUF was set to 262144 and reads back as "},
        Fault{"SendBufferReadBack", SYS_getsockopt, 2, SO_SNDBUF, EINVAL, 71, "getsockopt SO_SNDBUF:"},
        Fault{"SendBufferReadBackFaked", SYS_getsockopt, 2, SO_SNDBUF, faked, 70,
              "SO_SNDBUF was set to 262144 and reads back as 0"},
        Fault{"ReceiveBuffer", SYS_setsockopt, 2, SO_RCVBUF, ENOPROTOOPT, 71, "setsockopt SO_RCVBUF=262144:"},
        Fault{"ReceiveBufferFaked", SYS_setsockopt, 2, SO_RCVBUF, faked, 70,
              "SO_RCVBUF was set to 262144 and reads back as "},
        Fault{"ReceiveBufferReadBack", SYS_getsockopt, 2, SO_RCVBUF, EINVAL, 71, "getsockopt SO_RCVBUF:"},
        Fault{"ReceiveBufferReadBackFaked", SYS_getsockopt, 2, SO_RCVBUF, faked, 70,
              "SO_RCVBUF was set to 262144 and reads back as 0"},
        Fault{"Linger", SYS_setsockopt, 2, SO_LINGER, ENOPROTOOPT, 71, "setsockopt SO_LINGER=0:"},
        Fault{"LingerReadBack", SYS_getsockopt, 2, SO_LINGER, EINVAL, 71, "getsockopt SO_LINGER:"},
        Fault{"LingerReadBackFaked", SYS_getsockopt, 2, SO_LINGER, faked, 70,
              "SO_LINGER was set to 0 and reads back as 1"},
        Fault{"OobInline", SYS_setsockopt, 2, SO_OOBINLINE, ENOPROTOOPT, 71, "setsockopt SO_OOBINLINE="},
        Fault{"OobInlineFaked", SYS_setsockopt, 2, SO_OOBINLINE, faked, 70,
              "SO_OOBINLINE was set to .* and reads back as 0"},
        Fault{"OobInlineReadBack", SYS_getsockopt, 2, SO_OOBINLINE, EINVAL, 71, "getsockopt SO_OOBINLINE:"}),
    [](const auto& instance) { return instance.param.name; });

class FailedStepInAUsersDirectory : public testing::TestWithParam<Fault> {};

TEST_P(FailedStepInAUsersDirectory, EndsTheDaemonBeforeItBinds) {
    if (!am_root()) {
        GTEST_SKIP() << "only root acts as another user";
    }
    const Fault& fault = GetParam();
    const Life run = run_with(fault, {.in_users_directory = true});
    EXPECT_EQ(run.exit_code, fault.exit_code) << run.said;
    EXPECT_TRUE(std::regex_search(run.said, std::regex{fault.said})) << run.said;
    EXPECT_EQ(run.heard, 0U);
}

INSTANTIATE_TEST_SUITE_P(
    Fault, FailedStepInAUsersDirectory,
    testing::Values(Fault{"Groups", SYS_setgroups, -1, 0, EPERM, 77, "our supplementary groups: setgroups"},
                    Fault{"GroupsFaked", SYS_setgroups, -1, 0, faked, 70,
                          "asked to set our supplementary groups"},
                    Fault{"Uid", SYS_setfsuid, -1, 0, faked, 70, "asked to reach files as another user"},
                    Fault{"Gid", SYS_setfsgid, -1, 0, faked, 70, "asked to reach files as another user"},
                    Fault{"Capabilities", SYS_capset, -1, 0, EPERM, 77, "our effective capabilities: capset"},
                    Fault{"CapabilitiesFaked", SYS_capset, -1, 0, faked, 70, "asked to set our effective"},
                    Fault{"CapabilitiesReadBack", SYS_capget, -1, 0, EPERM, 77, "read our capabilities"}),
    [](const auto& instance) { return instance.param.name; });

TEST(Control, InAUsersDirectoryADaemonEchoes) {
    if (!am_root()) {
        GTEST_SKIP() << "only root acts as another user";
    }
    const Life run = run_with({"None", SYS_sethostname, -1, 0, EPERM, -1, ""}, {.in_users_directory = true});
    EXPECT_EQ(run.exit_code, -1) << run.said;
    EXPECT_GT(run.heard, 0U) << run.said;
}

// The policies do not parse, and giving up root fails: what is complained of is what is done first.
TEST(Policies, AreNotParsedBeforePrivilegesAreGivenUp) {
    const TemporaryDirectory policies;
    std::filesystem::create_directory(policies.file("processes"));
    std::filesystem::create_directory(policies.file("handlers"));
    for (const char* name : {"handlers/echo", "listener", "clone", "setup", "processes/relay"}) {
        std::ofstream{policies.file(fmt::format("{}.policy", name))} << "nonsense\n";
    }
    const Fault none{"None", SYS_sethostname, -1, 0, EPERM, 65, "listener.policy:1:1: error"};
    const Fault still_root{"Uid", SYS_setresuid, -1, 0, EAGAIN, 77, "cannot become that user"};
    for (const std::string more : {"--idle-timeout=1s", "--check"}) {
        for (const Fault& fault : {none, still_root}) {
            const Life run = run_with(fault, {.options = {"--policy-dir=" + policies.path(), more}});
            EXPECT_EQ(run.exit_code, fault.exit_code) << run.said;
            EXPECT_TRUE(std::regex_search(run.said, std::regex{fault.said})) << run.said;
        }
    }
}

class OlderKernel : public testing::TestWithParam<Fault> {};

TEST_P(OlderKernel, IsServedOnWithoutWhatItLacks) {
    const Life run = run_with(GetParam());
    EXPECT_EQ(run.exit_code, -1) << run.said;
    EXPECT_GT(run.heard, 0U) << run.said;
}

INSTANTIATE_TEST_SUITE_P(
    Lack, OlderKernel,
    testing::Values(Fault{"OfLandlock", SYS_landlock_create_ruleset, -1, 0, ENOSYS, -1, ""},
                    Fault{"OfLandlockAtBoot", SYS_landlock_create_ruleset, -1, 0, EOPNOTSUPP, -1, ""},
                    Fault{"OfRseq", SYS_rseq, -1, 0, ENOSYS, -1, ""},
                    Fault{"OfPassRights", SYS_setsockopt, 2, so_passrights, ENOPROTOOPT, -1, ""}),
    [](const auto& instance) { return instance.param.name; });

} // namespace
} // namespace cloister::live
