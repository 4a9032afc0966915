// SPDX-License-Identifier: MIT
// An outer seccomp filter, such as a container's profile, denies a system call that cloisterd makes; or a
// resource limit is inherited that is too low. Either the daemon serves, and is confined as ever, or it ends
// with a message that names the call or the limit, and the cure.
#include "client.h"
#include "fault.h"
#include "harness.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <regex>
#include <seccomp.h>
#include <set>
#include <sstream>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace cloister::live {
namespace {

/// A configuration of which each part makes calls of its own: a file, two services, a TCP and a unix socket,
/// content, a user.
class Start {
  public:
    explicit Start(bool plain) {
        setup.await_ready = false;
        if (plain) {
            return;
        }
        std::ofstream{directory_.file("motd")} << "hello\n";
        std::filesystem::create_symlink("real.toml", directory_.file("cloister.toml")); // it calls readlinkat
        std::ofstream{directory_.file("cloister.toml")} << fmt::format(
            "[[service]]\nname = \"echo\"\nlisten = [\"127.0.0.1:0\", \"unix:{0}/socket,mode=0666\"]\n"
            "[[service]]\nname = \"motd\"\nhandler = \"static\"\ncontent = \"{0}/motd\"\nlisten = "
            "[\"127.0.0.1:0\"]\n",
            directory_.path());
        std::filesystem::permissions(directory_.file("motd"), std::filesystem::perms{0644});
        std::filesystem::permissions(directory_.file("cloister.toml"), std::filesystem::perms{0644});
        setup.listen.clear();
        setup.options = {"--config=" + directory_.file("cloister.toml")};
    }

    struct Result {
        std::optional<int> exit_code; ///< nothing: it serves
        std::string said;             ///< every message, one a line, in alphabetical order
    };

    Result run() {
        Daemon daemon{setup};
        return follow(daemon);
    }

    Result follow(Daemon& daemon) {
        std::optional<int> code;
        bool started = false;
        (void)within(60s, [&] { // where every call is traced, and the processor is emulated
            code = daemon.ends_within(0ms);
            started = !daemon.records("started").empty();
            return code || started;
        });
        if (!code && started) {
            for (const Json& ready : daemon.records("ready")) {
                for (const std::string address : ready.at("listen")) {
                    Client client{address};
                    client.send("hello\n");
                    EXPECT_EQ(client.receive(6), "hello\n") << address;
                }
            }
        } else if (!code) {
            ADD_FAILURE() << "neither serves nor ends";
        }
        return {code, messages(daemon.log())};
    }

    Setup setup;

  private:
    [[nodiscard]] std::string messages(const std::string& log) const {
        std::set<std::string> all;
        std::istringstream lines{log};
        for (std::string line; std::getline(lines, line);) {
            const Json record = Json::parse(line, nullptr, false);
            if (record.is_discarded()) {
                all.insert(general(line));
            } else if (record.at("level") != "info" && record.at("event") != "limit") {
                all.insert(general(fmt::format("{}: {}",
                                               record.value("process", record.at("event").get<std::string>()),
                                               record.value("message", ""))));
            }
        }
        std::erase_if(all, [](const std::string& line) { // of another process, after the supervisor's end
            return line.ends_with(": our parent, process N, has ended");
        });
        if (!am_root()) { // who may not lower it
            std::erase_if(all, [](const std::string& line) {
                return line.starts_with("warning: cannot open /proc/self/oom_score_adj");
            });
        }
        return fmt::format("{}", fmt::join(all, "\n"));
    }

    /// Without what is different each time. Both services may say the same, or only one of them comes to it.
    [[nodiscard]] std::string general(std::string line) const {
        const std::pair<std::string, std::string> same[] = {
            {directory_.path(), "DIR"},
            {program_path(""), "BIN/"},
            {CLOISTER_POLICY_SOURCE, "POLICY"},
            {"process [0-9]+", "process N"},
            {"descriptor [0-9]+ to [0-9]+", "descriptor N to N"},
            {"0x[0-9a-f]{4,}", "ADDRESS"},
            {"127\\.0\\.0\\.1:[0-9]+", "127.0.0.1:PORT"},
            {"(listener of|self-test: no) (echo|static)", "$1 SERVICE"},
        };
        for (const auto& [from, to] : same) {
            line = std::regex_replace(line, std::regex{from}, to);
        }
        return line;
    }

    TemporaryDirectory directory_;
};

/// Who ends, and so in which words.
enum class Who {
    nobody,   ///< it serves
    loader,   ///< before main: the dynamic loader, or what libraries do when they are loaded
    early,    ///< the supervisor, before there is a log
    reader,   ///< the process that parses the configuration file, and then the supervisor
    starter,  ///< a listener, before it has a log, and then the supervisor
    listener, ///< a listener, by a record, and then the supervisor
    forked,   ///< the supervisor's child that becomes a listener, and then the supervisor
    relay,    ///< the log relay, by a record, and then the supervisor
    supervisor
};

/// A denied call; what it must come to.
struct Denied {
    const char* call;
    int exit_code;
    Who who;
    const char* said = "";          ///< {} is the error; the usual cure follows unless there is one
    std::optional<Who> plain_who{}; ///< where it is another without a configuration file
    const char* plain_said = nullptr;
    bool only_root = false; ///< an ordinary user's start does not make the call
};

const Denied denied[] = {
    {"accept4", 71, Who::listener, "cannot accept on self-test: accept4"},
    {"access", 0, Who::nobody},
    {"arch_prctl", 127, Who::loader},
    {"bind", 71, Who::early, "bind"},
    {"brk", 71, Who::early, "brk"},
    {"capget", 77, Who::reader, "cannot read our capabilities: capget"},
    {"capset", 77, Who::early, "cannot drop our capabilities: capset", {}, nullptr, true},
    {"chdir", 71, Who::starter, "cannot go to /: chdir"},
    {"clock_gettime", 71, Who::early, "clock_gettime"},
    {"clock_nanosleep", 0, Who::nobody},
    {"clone", 71, Who::early, "cannot try whether a process can end: fork (clone)"},
    {"close", 127, Who::loader},
    {"close_range", 71, Who::early, "cannot close the descriptors from 3 on: close_range"},
    {"connect", 71, Who::supervisor, "cannot make the self-test's socket: connect"},
    {"dup2", 71, Who::early, "cannot use descriptor 3: dup2"},
    {"dup3", 71, Who::listener, "cannot move descriptor N to N: dup3"},
    {"execve", 127, Who::loader},
    {"execveat", 71, Who::forked, "cannot execute the listener of SERVICE: execveat"},
    {"exit_group", 71, Who::early, "exit_group"},
    {"fchdir", 71, Who::early, "--listen unix:DIR/socket,mode=0666: fchdir", Who::nobody},
    {"fchownat", 71, Who::early, "unix:DIR/socket,mode=0666: chown to 61007", Who::nobody, nullptr, true},
    {"fcntl", 71, Who::early, "cannot see whether descriptor 0 is open: fcntl"},
    {"fstatfs", 0, Who::nobody},
    {"ftruncate", 71, Who::early,
     "cannot make the memory that the generations of a service share: ftruncate"},
    {"futex", -6, Who::loader},
    {"getcwd", 71, Who::starter, "cannot go to /: chdir says that it did, getcwd"},
    {"getegid", 71, Who::early, "getegid"},
    {"geteuid", 71, Who::early, "geteuid"},
    {"getgroups", 71, Who::reader, "cannot read our supplementary groups: getgroups"},
    {"getitimer", 71, Who::listener, "a cell cannot limit its lifetime: getitimer"},
    {"getpid", 71, Who::early, "getpid"},
    {"getppid", 71, Who::early, "getppid"},
    {"getrandom", 71, Who::early,
     "cannot make the memory that the generations of a service share: getrandom"},
    {"getresgid", 71, Who::reader, "cannot read our group: getresgid", Who::listener},
    {"getresuid", 71, Who::reader, "cannot read our user: getresuid", Who::listener},
    {"getsockname", 71, Who::early, "127.0.0.1:PORT: getsockname"},
    {"getsockopt", 71, Who::early, "getsockopt"},
    {"gettid", 71, Who::early, "gettid"},
    {"kill", 71, Who::early, "kill"},
    {"landlock_add_rule", 77, Who::early, "cannot enforce Landlock: landlock_add_rule"},
    {"landlock_create_ruleset", 77, Who::reader, "cannot enforce Landlock: landlock_create_ruleset",
     Who::early},
    {"landlock_restrict_self", 77, Who::reader, "cannot enforce Landlock: landlock_restrict_self",
     Who::early},
    {"listen", 71, Who::early, "--listen 127.0.0.1:PORT: listen"},
    {"lseek", 71, Who::listener, "cannot read /proc/self/smaps: lseek"},
    {"madvise", 71, Who::listener, "cannot hide memory at ADDRESS from cells: madvise"},
    {"memfd_create", 71, Who::reader, "cannot compile: memfd_create", Who::early,
     "cannot make the memory that the generations of a service share: memfd_create"},
    {"mmap", -11, Who::loader},
    {"mprotect", 127, Who::loader},
    {"munmap", 71, Who::early, "munmap"},
    {"newfstatat", 127, Who::loader},
    {"openat", 127, Who::loader},
    {"pidfd_open", 0, Who::nobody},
    {"pipe2", 71, Who::early, "cannot read DIR/cloister.toml: pipe2", Who::early,
     "cannot start the log relay: pipe2"},
    {"poll", 71, Who::early, "poll"},
    {"ppoll", 71, Who::relay, "the log relay cannot wait: ppoll"},
    {"prctl", 71, Who::early, "cannot make us not dumpable: prctl"},
    {"pread64", 127, Who::loader},
    {"prlimit64", 77, Who::early, "cannot raise RLIMIT_NOFILE to its hard limit: prlimit64"},
    {"pwrite64",
     71,
     Who::supervisor,
     "cannot set /proc/self/oom_score_adj to 500: pwrite64",
     {},
     nullptr,
     true},
    {"read", 127, Who::loader},
    {"readlink", 71, Who::early,
     "cannot read /proc/self/exe, from which cloisterd knows where its handlers and policies are: {}; mount "
     "proc on "
     "/proc, and let outer filters allow readlink"},
    {"readlinkat", 71, Who::early, "DIR/cloister.toml: cannot open: DIR/cloister.toml: readlinkat",
     Who::nobody},
    {"recvfrom", 70, Who::supervisor, "self-test: no SERVICE: recvfrom"},
    {"recvmsg", 71, Who::early, "recvmsg"},
    {"rseq", 0, Who::nobody},
    {"rt_sigaction", 71, Who::reader, "cannot give signal 1 its default action: rt_sigaction"},
    {"rt_sigprocmask", 71, Who::early, "rt_sigprocmask"},
    {"rt_sigtimedwait", 71, Who::listener, "cannot await a cell of the self-test: rt_sigtimedwait"},
    {"seccomp", 77, Who::reader,
     "cannot install the seccomp filter, for which the kernel needs CONFIG_SECCOMP_FILTER: seccomp",
     Who::relay},
    {"sendmsg", 71, Who::starter, "cannot ask cloisterd for our launch configuration: sendmsg"},
    {"sendto", 70, Who::supervisor, "self-test: no SERVICE: sendto"},
    {"set_robust_list", 0, Who::nobody},
    {"set_tid_address", 0, Who::nobody},
    {"setfsuid", 0, Who::nobody, "", {}, nullptr, true},
    {"setgroups", 77, Who::reader, "cannot drop the supplementary groups: setgroups", {}, nullptr, true},
    {"setitimer", 71, Who::listener, "a cell cannot limit its lifetime: setitimer"},
    {"setresgid", 77, Who::reader, "cannot become that group (start as root, or as that user): setresgid",
     Who::early, "cannot become that group: setresgid", true},
    {"setresuid", 77, Who::reader, "cannot become that user (start as root, or as that user): setresuid",
     Who::early, "cannot become that user: setresuid", true},
    {"setsockopt", 71, Who::early, "127.0.0.1:PORT: setsockopt SO_REUSEADDR=1"},
    {"shutdown", 71, Who::supervisor, "cannot make the self-test's socket: shutdown"},
    {"signalfd4", 71, Who::supervisor, "signalfd"},
    {"socket", 71, Who::early, "127.0.0.1:PORT: socket"},
    {"socketpair", 71, Who::supervisor, "cannot start a listener: socketpair"},
    {"umask", 71, Who::early, "umask"},
    {"unlinkat", 0, Who::nobody},
    {"wait4", 71, Who::early, "cannot try whether a process can end: wait4"},
    {"write", 71, Who::early, "write"},
};

void PrintTo(const Denied& row, std::ostream* out) {
    *out << row.call;
}

std::string expected(const Denied& row, int error, bool plain) {
    if (plain && row.plain_who == Who::nobody) {
        return {};
    }
    const std::string error_name =
        error == EPERM ? "EPERM (Operation not permitted)" : "ENOSYS (Function not implemented)";
    const std::string_view said = plain && row.plain_said != nullptr ? row.plain_said : row.said;
    std::string message;
    if (said.find("{}") != said.npos) {
        message = fmt::format(fmt::runtime(said), error_name);
    } else if (!am_root() && plain && said.starts_with("cannot become")) {
        message = fmt::format(
            "{}: {}; start as root, or as that user, and let outer seccomp filters allow the call", said,
            error_name);
    } else {
        message = fmt::format("{}: {}; an outer seccomp filter, such as a container's profile, may deny the "
                              "call: allow it there",
                              said, error_name);
    }
    const auto failed = [&](const char* process) {
        return fmt::format("{} could not confine itself: exit code {}", process, row.exit_code);
    };
    std::set<std::string> lines;
    switch (plain ? row.plain_who.value_or(row.who == Who::reader ? Who::early : row.who) : row.who) {
    case Who::nobody:
    case Who::loader:
        break;
    case Who::reader:
        lines.insert("cloisterd: cannot read DIR/cloister.toml: " + failed("the process that parses it"));
        [[fallthrough]];
    case Who::early:
        lines.insert("cloisterd: " + message);
        break;
    case Who::starter:
        lines = {"cloister-listener: " + message, "supervisor: " + failed("the listener, process N,")};
        break;
    case Who::listener:
        lines = {"listener: " + message, "supervisor: " + failed("the listener, process N,")};
        break;
    case Who::forked:
        lines = {"supervisor: " + message, "supervisor: " + failed("the listener, process N,")};
        break;
    case Who::relay:
        lines = {"relay: " + message, "cloisterd: " + failed("the log relay, process N,")};
        break;
    case Who::supervisor:
        lines = {"supervisor: " + message};
        break;
    }
    return fmt::format("{}", fmt::join(lines, "\n"));
}

class DeniedCall : public testing::TestWithParam<Denied> {};

TEST_P(DeniedCall, IsNamedWithItsCureOrDoesNotMatter) {
    const Denied& row = GetParam();
    const int number = seccomp_syscall_resolve_name(row.call);
    if (!am_root() && row.call == std::string_view{"pwrite64"}) {
        GTEST_SKIP() << "an ordinary user's start makes the call if the program is theirs";
    }
    if (number < 0) {
        GTEST_SKIP() << "this processor has no such call";
    }
    for (const bool plain : {false, true}) {
        for (const int error : {EPERM, ENOSYS}) {
            SCOPED_TRACE(fmt::format("{}, {}", plain ? "without a configuration file" : "with one", error));
            Start start{plain};
            start.setup.faults = {Fault{"", number, -1, 0, error, 0, ""}};
            const auto [exit_code, said] = start.run();
            const bool old_kernel =
                error == ENOSYS && row.call == std::string_view{"landlock_create_ruleset"};
            if (old_kernel || (row.only_root && !am_root()) || row.who == Who::nobody ||
                (plain && row.plain_who == Who::nobody)) {
                EXPECT_EQ(exit_code, std::nullopt);
                EXPECT_EQ(said, old_kernel ? "warning: this kernel has no Landlock, or it is not enabled at "
                                             "boot (lsm=landlock,…): seccomp alone confines"
                                           : "");
            } else {
                EXPECT_EQ(exit_code, row.exit_code);
                if (row.who != Who::loader) {
                    EXPECT_EQ(said, expected(row, error, plain));
                }
            }
        }
    }
}

/// Other calls come first then: whatever is said, it names the denied one.
TEST_P(DeniedCall, IsNamedWhereASocketWasPassed) {
    const Denied& row = GetParam();
    const int number = seccomp_syscall_resolve_name(row.call);
    if (number < 0) {
        GTEST_SKIP() << "this processor has no such call";
    }
    for (const int error : {EPERM, ENOSYS}) {
        Fd listening{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        ASSERT_EQ(listen(listening.get(), 5), 0); // on any port
        Start start{true};
        start.setup.passed = {listening.get()};
        (void)listening.release();
        start.setup.faults = {Fault{"", number, -1, 0, error, 0, ""}};
        const auto [exit_code, said] = start.run();
        const std::string name = row.call == std::string_view{"signalfd4"} ? "signalfd" : row.call;
        EXPECT_TRUE(!exit_code || row.who == Who::loader ||
                    std::regex_search(said, std::regex{"\\b" + name + "\\b"}))
            << said;
    }
}

INSTANTIATE_TEST_SUITE_P(, DeniedCall, testing::ValuesIn(denied),
                         [](const auto& row) { return std::string{row.param.call}; });

/// Notes each call of a process that is about to execute, and of its children (seccomp_unotify(2)).
class Trace {
  public:
    /// For Setup::last.
    static void ask_for_it() {
        const sock_filter program[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)};
        const sock_fprog filter{1, const_cast<sock_filter*>(program)};
        if ((!am_root() && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) ||
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter) < 0) {
            _exit(121);
        }
    }
    explicit Trace(pid_t pid) : notify_{find(pid)}, thread_{[this] { follow(); }} {}
    ~Trace() { thread_.join(); }
    Trace(const Trace&) = delete;
    Trace& operator=(const Trace&) = delete;

    /// When all that was traced has ended.
    [[nodiscard]] std::set<std::string> names() {
        while (!ended_) {
            std::this_thread::sleep_for(5ms);
        }
        return names_;
    }

  private:
    static Fd find(pid_t pid) {
        Fd found;
        (void)within(10s, [&] {
            const Fd process{static_cast<int>(syscall(SYS_pidfd_open, pid, 0))};
            for (const int fd : descriptors_of(pid)) {
                std::error_code error;
                const auto link =
                    std::filesystem::read_symlink(fmt::format("/proc/{}/fd/{}", pid, fd), error);
                if (link == "anon_inode:seccomp notify") {
                    found.reset(static_cast<int>(syscall(SYS_pidfd_getfd, process.get(), fd, 0)));
                }
            }
            return found.valid();
        });
        EXPECT_TRUE(found.valid());
        return found;
    }
    void follow() {
        for (pollfd polled{notify_.get(), POLLIN, 0};
             notify_.valid() && poll(&polled, 1, 20'000) > 0 && (polled.revents & POLLIN) != 0;) {
            seccomp_notif asked{};
            if (ioctl(notify_.get(), SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) {
                continue; // the caller was killed
            }
            char* const name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, asked.data.nr);
            names_.insert(name == nullptr ? std::to_string(asked.data.nr) : name);
            free(name);
            seccomp_notif_resp answer{asked.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE};
            (void)ioctl(notify_.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer);
        }
        ended_ = true;
    }

    Fd notify_;
    std::set<std::string> names_;
    std::atomic<bool> ended_ = false;
    std::thread thread_;
};

TEST(DeniedCalls, AreNamedWithAnUnusualErrorToo) {
    for (const char* call : {"getpid", "umask", "kill", "bind", "getsockopt", "write"}) {
        Start start{true};
        start.setup.faults = {Fault{"", seccomp_syscall_resolve_name(call), -1, 0, EACCES, 0, ""}};
        const auto [exit_code, said] = start.run();
        EXPECT_EQ(exit_code, 71) << call;
        EXPECT_EQ(said, fmt::format("cloisterd: {}: EACCES (Permission denied)", call));
    }
}

TEST(DeniedCalls, AreAllThatAStartMakes) {
    if (!am_root()) {
        GTEST_SKIP() << "which calls an ordinary user's start makes depends on whose the program is";
    }
#ifndef __x86_64__
    GTEST_SKIP() << "the table has the calls of x86_64; other processors have some under other names";
#endif
    std::set<std::string> known;
    for (const Denied& row : denied) {
        known.insert(row.call);
    }
    Start start{false};
    start.setup.last = Trace::ask_for_it;
    std::set<std::string> made;
    {
        std::optional<Trace> trace;
        Daemon daemon{start.setup};
        trace.emplace(daemon.pid());
        EXPECT_EQ(start.follow(daemon).exit_code, std::nullopt) << daemon.log();
        daemon.signal(SIGTERM);
        EXPECT_EQ(daemon.ends_within(10s), 0) << daemon.log();
        made = trace->names();
    }
    std::vector<std::string> differ;
    std::set_symmetric_difference(made.begin(), made.end(), known.begin(), known.end(),
                                  std::back_inserter(differ));
    EXPECT_THAT(differ, testing::IsEmpty());
}

/// A resource limit that is inherited, hard and soft; what it must come to.
struct LowLimit {
    const char* name;
    __rlimit_resource resource;
    std::vector<rlim_t> values;
    bool last_serves = true;
    int exit_code = 0;
    const char* line = "-"; ///< a regular expression; each line that is said when the daemon ends matches it,
                            ///< or says which process ended of it
    const char* warning = "-"; ///< one for each line of a daemon that serves
    bool soft_serves = false;  ///< the hard limit being high
};

void PrintTo(const LowLimit& row, std::ostream* out) {
    *out << row.name;
}

std::vector<rlim_t> steps(std::vector<rlim_t> first, rlim_t from, rlim_t to, rlim_t step) {
    for (rlim_t value = from; value <= to; value += step) {
        first.push_back(value);
    }
    return first;
}

constexpr const char* no_memory =
    ".*: ENOMEM \\(Cannot allocate memory\\); memory has run out: raise memory\\.max, "
    "RLIMIT_AS or RLIMIT_DATA, or lower --max-connections|supervisor: the listener, "
    "process N, ended with signal (9|11) while it started: it may need more than "
    "RLIMIT_(AS|DATA) \\([0-9]+\\) allows; raise it";
constexpr rlim_t million = 1'000'000;

const LowLimit low_limits[] = {
    {"AS", RLIMIT_AS, steps({0, 1}, 4 * million, 56 * million, million), true, 71, no_memory},
    {"DATA", RLIMIT_DATA, steps({0, 1}, million / 5, 24 * million, million * 7 / 10), true, 71, no_memory},
    {"FSIZE",
     RLIMIT_FSIZE,
     {0, 1, 100, 1000, 3000, 20'000, million},
     true,
     71,
     ".*: (write|ftruncate): EFBIG \\(File too large\\); raise RLIMIT_FSIZE \\(LimitFSIZE=, ulimit -f\\), "
     "which counts "
     "memory files, "
     "too",
     "limit: RLIMIT_FSIZE leaves room for a source table of [0-9]+ sources, not 65536; .*",
     true},
    {"NOFILE", RLIMIT_NOFILE, steps({0, 1}, 3, 363, 8), true, 71,
     ".*: E(MFILE|INVAL) \\(.*\\); raise RLIMIT_NOFILE( \\(LimitNOFILE=, ulimit -n\\)| above 325, which a "
     "listener needs, "
     "too| \\(LimitNOFILE=\\) above 325)",
     "-", true},
    // Whoever runs beside us as the same user counts.
    {"NPROC", RLIMIT_NPROC, steps({0}, 1, 8, 1), false, 71,
     ".*: (fork \\(clone\\)|clone): EAGAIN \\(.*\\); there is no room for another process: raise pids\\.max "
     "\\(TasksMax=\\), "
     "RLIMIT_NPROC of the user, or kernel\\.pid_max",
     "socket_unreachable: .*|paused: ", true},
    {"CPU",
     RLIMIT_CPU,
     {0, 1, 9, 10, 11},
     true,
     78,
     "(warning: RLIMIT_CPU .*)|listener: RLIMIT_CPU \\(LimitCPU=, ulimit -t\\) is [0-9]+ s, not more than a "
     "cell's limit of 10 s; raise it, or lower --cpu-limit|cloisterd: RLIMIT_CPU \\(LimitCPU=, ulimit -t\\) "
     "is [01] s, not more than the least limit of a cell, 1 s; raise it above --cpu-limit",
     "warning: RLIMIT_CPU is 11 s: the kernel ends cloisterd, and each listener, after so much CPU time; "
     "raise it \\(LimitCPU=, ulimit -t\\)",
     true},
    {"STACK", RLIMIT_STACK, {0, 1, 65'536, million}},
    {"SIGPENDING", RLIMIT_SIGPENDING, {0, 1, 2, 3}, true, 0, "-", "-", true},
    {"CORE", RLIMIT_CORE, {0, 1}, true, 0, "-", "-", true},
    {"MEMLOCK", RLIMIT_MEMLOCK, {0, 1}, true, 0, "-", "-", true},
    {"MSGQUEUE", __RLIMIT_MSGQUEUE, {0, 1}, true, 0, "-", "-", true},
    {"NICE", __RLIMIT_NICE, {0}, true, 0, "-", "-", true},
    {"RSS", __RLIMIT_RSS, {0, 1}, true, 0, "-", "-", true},
    {"RTPRIO", __RLIMIT_RTPRIO, {0}, true, 0, "-", "-", true},
    {"RTTIME", __RLIMIT_RTTIME, {0, 1}, true, 0, "-", "-", true},
};

bool all_match(const std::string& said, const std::string& expression) {
    std::istringstream lines{said};
    for (std::string line; std::getline(lines, line);) {
        if (!std::regex_match(line, std::regex{expression})) {
            return false;
        }
    }
    return true;
}

class InheritedLimit : public testing::TestWithParam<LowLimit> {
  protected:
    static Start::Result start(rlim_t value, bool soft) {
        Start start{false};
        start.setup.last = [value, soft] {
            rlimit limit{};
            if (getrlimit(GetParam().resource, &limit) != 0) {
                _exit(122);
            }
            limit = {value, soft ? limit.rlim_max : value};
            if (setrlimit(GetParam().resource, &limit) != 0) {
                _exit(123);
            }
        };
        return start.run();
    }
};

TEST_P(InheritedLimit, ThatIsTooLowIsNamedWithItsCureOrDoesNotMatter) {
    const LowLimit& row = GetParam();
    for (const rlim_t value : row.values) {
        SCOPED_TRACE(value);
        const auto [exit_code, said] = start(value, false);
        if (!exit_code) {
            EXPECT_TRUE(all_match(said, row.warning)) << said;
        } else if (*exit_code < 0 || *exit_code == 127) { // before main: by the kernel, or the dynamic loader
            EXPECT_TRUE(all_match(
                said, "(.*: error while loading shared libraries: .*)|cannot .* TLS .*|out of memory|"
                      "terminate called .*"))
                << said;
        } else {
            EXPECT_EQ(*exit_code, row.exit_code) << said;
            EXPECT_FALSE(said.empty());
            EXPECT_TRUE(
                all_match(said, fmt::format("{}|{}|.* could not confine itself: exit code {}|cloisterd: "
                                            "our parent, process N, has ended",
                                            row.line, row.warning, row.exit_code)))
                << said;
        }
        if (row.last_serves && value == row.values.back()) {
            EXPECT_EQ(exit_code, std::nullopt) << said;
        }
    }
}

TEST_P(InheritedLimit, ThatIsLowIsRaisedToTheHardOneWhereThatHelps) {
    const LowLimit& row = GetParam();
    if (!row.soft_serves) {
        GTEST_SKIP() << "the loader needs it, or it is a limit that an administrator set on purpose";
    }
    const rlim_t needed = row.resource == RLIMIT_NOFILE ? 8
                          : row.resource == RLIMIT_CPU  ? 1
                                                        : 0; // by the loader
    const auto [exit_code, said] = start(needed, true);
    EXPECT_EQ(exit_code, std::nullopt) << said;
    EXPECT_EQ(said, "");
}

INSTANTIATE_TEST_SUITE_P(, InheritedLimit, testing::ValuesIn(low_limits),
                         [](const auto& row) { return std::string{row.param.name}; });

} // namespace
} // namespace cloister::live
