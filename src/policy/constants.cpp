// SPDX-License-Identifier: MIT
// Constants that have one value on x86_64 and aarch64, from the kernel's headers (include/uapi) named above
// each group.
#include "policy/names.h"

#include <algorithm>
#include <iterator>

namespace cloister::policy {
namespace {

struct Constant {
    std::string_view name;
    std::uint64_t value;
};

// clang-format off
constexpr Constant constants[] = {
    // sockets: asm-generic/socket.h, linux/socket.h, uapi/linux/in.h, uapi/linux/tcp.h
    {"SOL_SOCKET", 1}, {"SO_DEBUG", 1}, {"SO_REUSEADDR", 2}, {"SO_TYPE", 3}, {"SO_ERROR", 4},
    {"SO_DONTROUTE", 5}, {"SO_BROADCAST", 6}, {"SO_SNDBUF", 7}, {"SO_RCVBUF", 8}, {"SO_KEEPALIVE", 9},
    {"SO_OOBINLINE", 10}, {"SO_LINGER", 13}, {"SO_REUSEPORT", 15}, {"SO_PASSCRED", 16}, {"SO_PEERCRED", 17},
    {"SO_RCVLOWAT", 18}, {"SO_SNDLOWAT", 19}, {"SO_ACCEPTCONN", 30}, {"SO_PROTOCOL", 38}, {"SO_DOMAIN", 39},
    {"SO_PEERSEC", 31}, {"SO_INCOMING_CPU", 49}, {"SO_COOKIE", 57}, {"SO_ATTACH_FILTER", 26},
    {"SO_BUSY_POLL", 46}, {"SO_PASSRIGHTS", 83}, {"AF_UNSPEC", 0}, {"AF_UNIX", 1}, {"AF_INET", 2}, {"AF_INET6", 10},
    {"AF_NETLINK", 16}, {"AF_PACKET", 17}, {"SOCK_STREAM", 1}, {"SOCK_DGRAM", 2}, {"SOCK_RAW", 3},
    {"SOCK_SEQPACKET", 5}, {"SOCK_NONBLOCK", 2048}, {"SOCK_CLOEXEC", 0x80000}, {"SOL_IP", 0},
    {"SOL_TCP", 6}, {"SOL_IPV6", 41}, {"IPPROTO_IP", 0}, {"IPPROTO_TCP", 6}, {"IPPROTO_UDP", 17},
    {"IPPROTO_IPV6", 41}, {"TCP_NODELAY", 1}, {"TCP_USER_TIMEOUT", 18}, {"TCP_KEEPIDLE", 4},
    {"TCP_KEEPINTVL", 5}, {"TCP_KEEPCNT", 6}, {"TCP_DEFER_ACCEPT", 9}, {"TCP_INFO", 11}, {"TCP_CORK", 3},
    {"TCP_QUICKACK", 12}, {"IPV6_V6ONLY", 26}, {"MSG_OOB", 1}, {"MSG_PEEK", 2}, {"MSG_DONTROUTE", 4},
    {"MSG_CTRUNC", 8}, {"MSG_TRUNC", 32}, {"MSG_DONTWAIT", 64}, {"MSG_EOR", 128}, {"MSG_WAITALL", 256},
    {"MSG_CONFIRM", 2048}, {"MSG_ERRQUEUE", 0x2000}, {"MSG_NOSIGNAL", 0x4000}, {"MSG_MORE", 0x8000},
    {"MSG_WAITFORONE", 0x10000}, {"MSG_ZEROCOPY", 0x4000000}, {"MSG_FASTOPEN", 0x20000000},
    {"MSG_CMSG_CLOEXEC", 0x40000000}, {"SHUT_RD", 0}, {"SHUT_WR", 1}, {"SHUT_RDWR", 2},
    {"SO_RCVTIMEO_OLD", 20}, {"SO_SNDTIMEO_OLD", 21}, {"SO_RCVTIMEO_NEW", 66}, {"SO_SNDTIMEO_NEW", 67},
    // processes: uapi/linux/sched.h, wait.h, prctl.h, seccomp.h, capability.h, close_range.h
    {"CLONE_VM", 256}, {"CLONE_FS", 512}, {"CLONE_FILES", 1024}, {"CLONE_SIGHAND", 2048},
    {"CLONE_PIDFD", 0x1000}, {"CLONE_PTRACE", 0x2000}, {"CLONE_VFORK", 0x4000}, {"CLONE_PARENT", 0x8000},
    {"CLONE_THREAD", 0x10000}, {"CLONE_NEWNS", 0x20000}, {"CLONE_SYSVSEM", 0x40000},
    {"CLONE_SETTLS", 0x80000}, {"CLONE_PARENT_SETTID", 0x100000}, {"CLONE_CHILD_CLEARTID", 0x200000},
    {"CLONE_UNTRACED", 0x800000}, {"CLONE_CHILD_SETTID", 0x1000000}, {"CLONE_NEWCGROUP", 0x2000000},
    {"CLONE_NEWUTS", 0x4000000}, {"CLONE_NEWIPC", 0x8000000}, {"CLONE_NEWUSER", 0x10000000},
    {"CLONE_NEWPID", 0x20000000}, {"CLONE_NEWNET", 0x40000000}, {"CLONE_IO", 0x80000000}, {"CSIGNAL", 255},
    {"WNOHANG", 1}, {"WUNTRACED", 2}, {"WSTOPPED", 2}, {"WEXITED", 4}, {"WCONTINUED", 8},
    {"WNOWAIT", 0x1000000}, {"__WNOTHREAD", 0x20000000}, {"__WALL", 0x40000000}, {"__WCLONE", 0x80000000},
    {"P_ALL", 0}, {"P_PID", 1}, {"P_PGID", 2}, {"P_PIDFD", 3}, {"PR_SET_PDEATHSIG", 1},
    {"PR_GET_PDEATHSIG", 2}, {"PR_GET_DUMPABLE", 3}, {"PR_SET_DUMPABLE", 4}, {"PR_GET_KEEPCAPS", 7},
    {"PR_SET_KEEPCAPS", 8}, {"PR_SET_NAME", 15}, {"PR_GET_NAME", 16}, {"PR_GET_SECCOMP", 21},
    {"PR_SET_SECCOMP", 22}, {"PR_CAPBSET_READ", 23}, {"PR_CAPBSET_DROP", 24}, {"PR_SET_SECUREBITS", 28},
    {"PR_SET_TIMERSLACK", 29}, {"PR_SET_CHILD_SUBREAPER", 36}, {"PR_SET_NO_NEW_PRIVS", 38},
    {"PR_GET_NO_NEW_PRIVS", 39}, {"PR_CAP_AMBIENT", 47}, {"PR_SET_MM", 35}, {"PR_SET_PTRACER", 0x59616d61},
    {"PR_SET_VMA", 0x53564d41}, {"PR_SET_MDWE", 65}, {"SECCOMP_SET_MODE_STRICT", 0},
    {"SECCOMP_SET_MODE_FILTER", 1}, {"SECCOMP_GET_ACTION_AVAIL", 2}, {"SECCOMP_GET_NOTIF_SIZES", 3},
    {"SECCOMP_FILTER_FLAG_TSYNC", 1}, {"SECCOMP_FILTER_FLAG_LOG", 2}, {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", 4},
    {"CLOSE_RANGE_UNSHARE", 2}, {"CLOSE_RANGE_CLOEXEC", 4},
    // limits, time: asm-generic/resource.h, uapi/linux/time.h, timerfd.h
    {"RLIMIT_CPU", 0}, {"RLIMIT_FSIZE", 1}, {"RLIMIT_DATA", 2}, {"RLIMIT_STACK", 3}, {"RLIMIT_CORE", 4},
    {"RLIMIT_RSS", 5}, {"RLIMIT_NPROC", 6}, {"RLIMIT_NOFILE", 7}, {"RLIMIT_MEMLOCK", 8}, {"RLIMIT_AS", 9},
    {"RLIMIT_LOCKS", 10}, {"RLIMIT_SIGPENDING", 11}, {"RLIMIT_MSGQUEUE", 12}, {"RLIMIT_NICE", 13},
    {"RLIMIT_RTPRIO", 14}, {"RLIMIT_RTTIME", 15}, {"ITIMER_REAL", 0}, {"ITIMER_VIRTUAL", 1},
    {"ITIMER_PROF", 2}, {"CLOCK_REALTIME", 0}, {"CLOCK_MONOTONIC", 1}, {"CLOCK_PROCESS_CPUTIME_ID", 2},
    {"CLOCK_THREAD_CPUTIME_ID", 3}, {"CLOCK_MONOTONIC_RAW", 4}, {"CLOCK_REALTIME_COARSE", 5},
    {"CLOCK_MONOTONIC_COARSE", 6}, {"CLOCK_BOOTTIME", 7}, {"CLOCK_REALTIME_ALARM", 8},
    {"CLOCK_BOOTTIME_ALARM", 9}, {"CLOCK_TAI", 11}, {"TIMER_ABSTIME", 1}, {"TFD_NONBLOCK", 2048},
    {"TFD_CLOEXEC", 0x80000},
    // signals: asm-generic/signal.h (x86 has the same numbers)
    {"SIGHUP", 1}, {"SIGINT", 2}, {"SIGQUIT", 3}, {"SIGILL", 4}, {"SIGTRAP", 5}, {"SIGABRT", 6},
    {"SIGBUS", 7}, {"SIGFPE", 8}, {"SIGKILL", 9}, {"SIGUSR1", 10}, {"SIGSEGV", 11}, {"SIGUSR2", 12},
    {"SIGPIPE", 13}, {"SIGALRM", 14}, {"SIGTERM", 15}, {"SIGSTKFLT", 16}, {"SIGCHLD", 17}, {"SIGCONT", 18},
    {"SIGSTOP", 19}, {"SIGTSTP", 20}, {"SIGTTIN", 21}, {"SIGTTOU", 22}, {"SIGURG", 23}, {"SIGXCPU", 24},
    {"SIGXFSZ", 25}, {"SIGVTALRM", 26}, {"SIGPROF", 27}, {"SIGWINCH", 28}, {"SIGIO", 29}, {"SIGPWR", 30},
    {"SIGSYS", 31}, {"SIG_BLOCK", 0}, {"SIG_UNBLOCK", 1}, {"SIG_SETMASK", 2},
    // memory: asm-generic/mman-common.h, uapi/linux/mman.h
    {"PROT_NONE", 0}, {"PROT_READ", 1}, {"PROT_WRITE", 2}, {"PROT_EXEC", 4}, {"MAP_SHARED", 1},
    {"MAP_PRIVATE", 2}, {"MAP_FIXED", 16}, {"MAP_ANONYMOUS", 32}, {"MAP_STACK", 0x20000},
    {"MAP_NORESERVE", 0x4000}, {"MAP_POPULATE", 0x8000}, {"MAP_FIXED_NOREPLACE", 0x100000},
    {"MADV_NORMAL", 0}, {"MADV_DONTNEED", 4}, {"MADV_FREE", 8}, {"MADV_DONTFORK", 10}, {"MADV_DOFORK", 11},
    {"MADV_WIPEONFORK", 18}, {"MADV_DONTDUMP", 16}, {"MFD_CLOEXEC", 1}, {"MFD_ALLOW_SEALING", 2},
    {"GRND_NONBLOCK", 1}, {"GRND_RANDOM", 2},
    // files, waiting: asm-generic/fcntl.h, uapi/linux/eventpoll.h, eventfd.h, futex.h. Left out:
    // what differs on aarch64 (O_DIRECTORY, O_NOFOLLOW, O_DIRECT)
    {"O_RDONLY", 0}, {"O_WRONLY", 1}, {"O_RDWR", 2}, {"O_CREAT", 64}, {"O_EXCL", 128}, {"O_NOCTTY", 256},
    {"O_TRUNC", 512}, {"O_APPEND", 1024}, {"O_NONBLOCK", 2048}, {"O_CLOEXEC", 0x80000}, {"FD_CLOEXEC", 1},
    {"F_DUPFD", 0}, {"F_GETFD", 1}, {"F_SETFD", 2}, {"F_GETFL", 3}, {"F_SETFL", 4},
    {"F_DUPFD_CLOEXEC", 1030}, {"SEEK_SET", 0}, {"SEEK_CUR", 1}, {"SEEK_END", 2}, {"POLLIN", 1},
    {"POLLOUT", 4}, {"POLLERR", 8}, {"POLLHUP", 16}, {"EPOLL_CLOEXEC", 0x80000}, {"EPOLL_CTL_ADD", 1},
    {"EPOLL_CTL_DEL", 2}, {"EPOLL_CTL_MOD", 3}, {"EFD_CLOEXEC", 0x80000}, {"EFD_NONBLOCK", 2048},
    {"EFD_SEMAPHORE", 1}, {"FUTEX_WAIT", 0}, {"FUTEX_WAKE", 1}, {"FUTEX_PRIVATE_FLAG", 128},
    {"FUTEX_WAIT_PRIVATE", 128}, {"FUTEX_WAKE_PRIVATE", 129},
};

// asm-generic/errno-base.h, asm-generic/errno.h
constexpr Constant errnos[] = {
    {"EPERM", 1}, {"ENOENT", 2}, {"ESRCH", 3}, {"EINTR", 4}, {"EIO", 5}, {"ENXIO", 6}, {"E2BIG", 7},
    {"ENOEXEC", 8}, {"EBADF", 9}, {"ECHILD", 10}, {"EAGAIN", 11}, {"ENOMEM", 12}, {"EACCES", 13},
    {"EFAULT", 14}, {"ENOTBLK", 15}, {"EBUSY", 16}, {"EEXIST", 17}, {"EXDEV", 18}, {"ENODEV", 19},
    {"ENOTDIR", 20}, {"EISDIR", 21}, {"EINVAL", 22}, {"ENFILE", 23}, {"EMFILE", 24}, {"ENOTTY", 25},
    {"ETXTBSY", 26}, {"EFBIG", 27}, {"ENOSPC", 28}, {"ESPIPE", 29}, {"EROFS", 30}, {"EMLINK", 31},
    {"EPIPE", 32}, {"EDOM", 33}, {"ERANGE", 34}, {"EDEADLK", 35}, {"ENAMETOOLONG", 36}, {"ENOLCK", 37},
    {"ENOSYS", 38}, {"ENOTEMPTY", 39}, {"ELOOP", 40}, {"ENOMSG", 42}, {"EIDRM", 43}, {"ECHRNG", 44},
    {"EL2NSYNC", 45}, {"EL3HLT", 46}, {"EL3RST", 47}, {"ELNRNG", 48}, {"EUNATCH", 49}, {"ENOCSI", 50},
    {"EL2HLT", 51}, {"EBADE", 52}, {"EBADR", 53}, {"EXFULL", 54}, {"ENOANO", 55}, {"EBADRQC", 56},
    {"EBADSLT", 57}, {"EBFONT", 59}, {"ENOSTR", 60}, {"ENODATA", 61}, {"ETIME", 62}, {"ENOSR", 63},
    {"ENONET", 64}, {"ENOPKG", 65}, {"EREMOTE", 66}, {"ENOLINK", 67}, {"EADV", 68}, {"ESRMNT", 69},
    {"ECOMM", 70}, {"EPROTO", 71}, {"EMULTIHOP", 72}, {"EDOTDOT", 73}, {"EBADMSG", 74}, {"EOVERFLOW", 75},
    {"ENOTUNIQ", 76}, {"EBADFD", 77}, {"EREMCHG", 78}, {"ELIBACC", 79}, {"ELIBBAD", 80}, {"ELIBSCN", 81},
    {"ELIBMAX", 82}, {"ELIBEXEC", 83}, {"EILSEQ", 84}, {"ERESTART", 85}, {"ESTRPIPE", 86}, {"EUSERS", 87},
    {"ENOTSOCK", 88}, {"EDESTADDRREQ", 89}, {"EMSGSIZE", 90}, {"EPROTOTYPE", 91}, {"ENOPROTOOPT", 92},
    {"EPROTONOSUPPORT", 93}, {"ESOCKTNOSUPPORT", 94}, {"EOPNOTSUPP", 95}, {"EPFNOSUPPORT", 96},
    {"EAFNOSUPPORT", 97}, {"EADDRINUSE", 98}, {"EADDRNOTAVAIL", 99}, {"ENETDOWN", 100},
    {"ENETUNREACH", 101}, {"ENETRESET", 102}, {"ECONNABORTED", 103}, {"ECONNRESET", 104}, {"ENOBUFS", 105},
    {"EISCONN", 106}, {"ENOTCONN", 107}, {"ESHUTDOWN", 108}, {"ETOOMANYREFS", 109}, {"ETIMEDOUT", 110},
    {"ECONNREFUSED", 111}, {"EHOSTDOWN", 112}, {"EHOSTUNREACH", 113}, {"EALREADY", 114},
    {"EINPROGRESS", 115}, {"ESTALE", 116}, {"EUCLEAN", 117}, {"ENOTNAM", 118}, {"ENAVAIL", 119},
    {"EISNAM", 120}, {"EREMOTEIO", 121}, {"EDQUOT", 122}, {"ENOMEDIUM", 123}, {"EMEDIUMTYPE", 124},
    {"ECANCELED", 125}, {"ENOKEY", 126}, {"EKEYEXPIRED", 127}, {"EKEYREVOKED", 128}, {"EKEYREJECTED", 129},
    {"EOWNERDEAD", 130}, {"ENOTRECOVERABLE", 131}, {"ERFKILL", 132}, {"EHWPOISON", 133},
};
// clang-format on

} // namespace

std::optional<std::uint64_t> constant_named(std::string_view name) {
    const auto* found = std::find_if(std::begin(constants), std::end(constants),
                                     [name](const Constant& c) { return c.name == name; });
    return found == std::end(constants) ? std::nullopt : std::optional{found->value};
}

std::optional<std::uint16_t> errno_named(std::string_view name) {
    const auto* found = std::find_if(std::begin(errnos), std::end(errnos),
                                     [name](const Constant& c) { return c.name == name; });
    return found == std::end(errnos) ? std::nullopt : std::optional{static_cast<std::uint16_t>(found->value)};
}

std::vector<std::string_view> all_constants() {
    std::vector<std::string_view> names;
    std::transform(std::begin(constants), std::end(constants), std::back_inserter(names),
                   [](const Constant& c) { return c.name; });
    return names;
}

std::vector<std::string_view> all_errnos() {
    std::vector<std::string_view> names;
    std::transform(std::begin(errnos), std::end(errnos), std::back_inserter(names),
                   [](const Constant& c) { return c.name; });
    return names;
}

} // namespace cloister::policy
