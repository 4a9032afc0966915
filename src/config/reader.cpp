// SPDX-License-Identifier: MIT
#include "config/reader.h"

#include "base/cure.h"
#include "base/descriptors.h"
#include "base/fd.h"
#include "base/signals.h"
#include "base/tracing.h"
#include "config/reader_policy.h"
#include "confine/confine.h"
#include "policy/compile.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <new>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::config {
namespace {

using Clock = std::chrono::steady_clock;

// The child's descriptors; reader.policy has the same numbers.
constexpr int out_fd = 3;
constexpr int status_fd = 4;

#ifdef CLOISTER_INSTRUMENTED // whose runtime makes calls of its own, and reserves terabytes of addresses
constexpr bool fully_confined = false;
#else
constexpr bool fully_confined = true;
#endif

constexpr int no_memory = 1; // the one exit code but 0 that reader.policy allows

/// To `most`, or what was inherited, if that is less.
void limit(__rlimit_resource resource, const char* name, rlim_t most) {
    rlimit is{};
    (void)::getrlimit(resource, &is);
    const rlim_t value = std::min(most, is.rlim_max);
    const rlimit wanted{value, value};
    if (::setrlimit(resource, &wanted) != 0 || ::getrlimit(resource, &is) != 0 || is.rlim_cur != value ||
        is.rlim_max != value) {
        die(ExitCode::SystemCall, "cannot set %s to %llu: %s", name, static_cast<unsigned long long>(value),
            error_text(errno));
    }
}

policy::Program compiled_policy() {
    const auto policy = policy::parse(reader_policy, "reader.policy");
    if (!policy) {
        bug("%s", policy.error().text().c_str());
    }
    auto program = policy::compile(*policy, policy::native_arch, {});
    if (!program && program.error().kind == policy::Error::Kind::system) {
        die(ExitCode::SystemCall, "%s", program.error().message.c_str());
    }
    if (!program) {
        bug("%s", program.error().text().c_str());
    }
    return std::move(*program);
}

/// While what is wrong can be said: with RLIMIT_FSIZE of 0 nothing is written to a file, which stderr may be.
/// EFAULT: the kernel would install one (seccomp(2), NOTES).
void expect_seccomp() {
    if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, nullptr) != 0 && errno != EFAULT) {
        die(ExitCode::NotPermitted,
            "cannot install the seccomp filter, for which the kernel needs CONFIG_SECCOMP_FILTER: seccomp: "
            "%s",
            error_text(errno));
    }
}

bool write_all(int fd, const Wire& wire) {
    const char* bytes = reinterpret_cast<const char*>(&wire);
    for (size_t written = 0; written < sizeof wire;) {
        const ssize_t n = ::write(fd, bytes + written, sizeof wire - written);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        written += n < 0 ? 0 : static_cast<size_t>(n);
    }
    return true;
}

/// All that comes until the end, the deadline, or more than a Wire has.
struct Received {
    std::vector<char> bytes;
    bool in_time = true;
};

Received receive(int fd, Clock::time_point until) {
    Received received;
    received.bytes.resize(sizeof(Wire) + 1);
    size_t size = 0;
    while (size < received.bytes.size()) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
        pollfd polled{fd, POLLIN, 0};
        if (left <= 0) {
            received.in_time = false;
            break;
        }
        if (::poll(&polled, 1, static_cast<int>(std::min<long>(left, 1000))) <= 0) {
            continue;
        }
        const ssize_t n = ::read(fd, received.bytes.data() + size, received.bytes.size() - size);
        if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
            break;
        }
        size += n < 0 ? 0 : static_cast<size_t>(n);
    }
    received.bytes.resize(size);
    return received;
}

std::string how_it_ended(int status) {
    if (!WIFSIGNALED(status)) {
        return fmt::format("it ended with exit code {}", WEXITSTATUS(status));
    }
    const char* const description = ::sigdescr_np(WTERMSIG(status));
    return fmt::format("signal {} ({}) ended it", WTERMSIG(status),
                       description == nullptr ? "unknown" : description);
}

} // namespace

void confine_reader(int out, pid_t parent, const std::optional<User>& user) {
    reset_signals(std::uint64_t{1} << (SIGXFSZ - 1)); // RLIMIT_FSIZE: EFBIG says it
    if (out != out_fd && ::dup2(out, out_fd) != out_fd) {
        die(ExitCode::SystemCall, "dup2: %s", error_text(errno));
    }
    close_descriptors(out_fd, status_fd);
    if (::open("/proc/self/status", O_RDONLY | O_CLOEXEC) != status_fd) {
        die(ExitCode::SystemCall, "cannot open /proc/self/status: %s", error_text(errno));
    }
    const bool bounding_empty = confine::empty_bounding_set();
    uid_t uid = ::geteuid();
    gid_t gid = ::getegid();
    if (uid == 0) {
        constexpr uid_t nobody = 65534;
        uid = user ? user->uid : nobody;
        gid = user ? user->gid : nobody;
        expect_untraceable_as(uid);
    }
    const bool groups_empty = confine::become(uid, gid);
    confine::drop_all_capabilities();
    confine::forbid_new_privileges();
    confine::forbid_dumping();
    confine::die_with_parent(parent);
    (void)confine::deny_by_landlock();
    const auto program = compiled_policy(); // libseccomp needs a memory file
    confine::limit_resources(status_fd + 1);
    limit(RLIMIT_CPU, "RLIMIT_CPU", 5);
    // When memory runs out, malloc tries another arena, by mprotect(2).
    ::mallopt(M_ARENA_MAX, 1); // NOLINT(concurrency-mt-unsafe)
    if (fully_confined) {
        limit(RLIMIT_AS, "RLIMIT_AS", 256UL << 20U);
        expect_seccomp();
    }
    limit(RLIMIT_FSIZE, "RLIMIT_FSIZE", 0);
    if (fully_confined) {
        confine::install_filter(program);
    }
    confine::verify({uid, gid, bounding_empty, groups_empty, fully_confined}, status_fd);
}

ReaderBody confined_reader(std::string_view text, const std::optional<User>& user) {
    return [text, user, parent = ::getpid()](int out) {
        confine_reader(out, parent, user);
        std::set_new_handler([] { ::_exit(no_memory); }); // to throw, libgcc calls futex(2)
        ::_exit(write_all(out_fd, *encode(parse_file(text))) ? 0 : no_memory);
    };
}

tl::expected<FileResult, ReaderFailure> read_in_child(std::string_view text, const std::string& file,
                                                      const ReaderBody& body,
                                                      std::chrono::milliseconds deadline) {
    const auto failed = [&](ExitCode code, const std::string& why) {
        return tl::unexpected{ReaderFailure{code, with_cure(fmt::format("cannot read {}: {}", file, why))}};
    };
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) {
        return failed(ExitCode::SystemCall, fmt::format("pipe2: {}", error_text(errno)));
    }
    Fd in{ends[0]};
    Fd out{ends[1]};
    (void)::signal(SIGCHLD, SIG_DFL); // where it was inherited as ignored nothing could be waited for
    const auto until = Clock::now() + deadline;
    const pid_t child = ::fork();
    if (child < 0) {
        return failed(ExitCode::SystemCall, fmt::format("fork (clone): {}", error_text(errno)));
    }
    if (child == 0) {
        in.reset();
        body(out.get());
        ::_exit(0);
    }
    out.reset();
    const auto [bytes, in_time] = receive(in.get(), until);
    int status = 0;
    (void)::kill(child, SIGKILL); // it has nothing left to do, whatever it does
    while (::waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) {
            return failed(ExitCode::SystemCall, fmt::format("wait4: {}", error_text(errno)));
        }
    }
    if (!in_time) {
        return failed(
            ExitCode::SelfTest,
            fmt::format("the process that parses it said nothing more for {} ms; is the machine overloaded?",
                        deadline.count()));
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == no_memory) {
        return failed(ExitCode::SystemCall, fmt::format("no memory to parse it: {}", error_text(ENOMEM)));
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) >= static_cast<int>(ExitCode::Usage) &&
        WEXITSTATUS(status) != static_cast<int>(ExitCode::SelfTest)) { // it has said why
        return failed(ExitCode{WEXITSTATUS(status)},
                      fmt::format("the process that parses it could not confine itself: exit code {}",
                                  WEXITSTATUS(status)));
    }
    if (bytes.size() < sizeof(Wire)) { // it came to its end before it had said all
        return failed(
            ExitCode::SelfTest,
            fmt::format(
                "the process that parses it failed: {}; it said {} of {} bytes. If it says nothing above, "
                "this is a bug",
                how_it_ended(status), bytes.size(), sizeof(Wire)));
    }
    const auto lines = static_cast<unsigned>(std::ranges::count(text, '\n')) + 1;
    auto decoded = decode(bytes, lines);
    if (!decoded) {
        return failed(
            ExitCode::SelfTest,
            fmt::format(
                "the process that parses it handed over what it can't have read ({}): this is a bug, or "
                "something in the file took that process over; see who can change the file",
                decoded.error()));
    }
    return std::move(*decoded);
}

} // namespace cloister::config
