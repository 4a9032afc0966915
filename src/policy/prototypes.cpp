// SPDX-License-Identifier: MIT
// Prototypes of the calls that policies use. Source: include/linux/syscalls.h and the SYSCALL_DEFINEs of
// Linux 6.1, argument names without u, k, user_ and _addr. `long` and `size` are 64 bits wide,
// `int` and `uint` 32.
#include "policy/names.h"

#include <algorithm>
#include <iterator>

namespace cloister::policy {
namespace {

struct Line {
    std::string_view name;
    std::string_view parameters;
};

// clang-format off
constexpr Line table[] = {
    // sockets
    {"accept", "fd:int addr:ptr addrlen:ptr"},
    {"accept4", "fd:int addr:ptr addrlen:ptr flags:int"},
    {"bind", "fd:int addr:ptr addrlen:int"},
    {"connect", "fd:int addr:ptr addrlen:int"},
    {"getpeername", "fd:int addr:ptr addrlen:ptr"},
    {"getsockname", "fd:int addr:ptr addrlen:ptr"},
    {"getsockopt", "fd:int level:int optname:int optval:ptr optlen:ptr"},
    {"listen", "fd:int backlog:int"},
    {"recvfrom", "fd:int buf:ptr len:size flags:uint addr:ptr addrlen:ptr"},
    {"recvmmsg", "fd:int msg:ptr vlen:uint flags:uint timeout:ptr"},
    {"recvmsg", "fd:int msg:ptr flags:uint"},
    {"sendmmsg", "fd:int msg:ptr vlen:uint flags:uint"},
    {"sendmsg", "fd:int msg:ptr flags:uint"},
    {"sendto", "fd:int buf:ptr len:size flags:uint addr:ptr addrlen:int"},
    {"setsockopt", "fd:int level:int optname:int optval:ptr optlen:int"},
    {"shutdown", "fd:int how:int"},
    {"socket", "family:int type:int protocol:int"},
    {"socketpair", "family:int type:int protocol:int sv:ptr"},
    // descriptors and files
    {"close", "fd:uint"},
    {"close_range", "first:uint last:uint flags:uint"},
    {"dup", "fd:uint"},
    {"dup3", "oldfd:uint newfd:uint flags:int"},
    {"eventfd2", "count:uint flags:int"},
    {"fallocate", "fd:int mode:int offset:long len:long"},
    {"fcntl", "fd:uint cmd:uint arg:long"},
    {"fdatasync", "fd:uint"},
    {"fstat", "fd:uint statbuf:ptr"},
    {"fsync", "fd:uint"},
    {"ftruncate", "fd:uint length:long"},
    {"getdents64", "fd:uint dirent:ptr count:uint"},
    {"ioctl", "fd:uint cmd:uint arg:long"},
    {"lseek", "fd:uint offset:long whence:uint"},
    {"memfd_create", "name:ptr flags:uint"},
    {"newfstatat", "dfd:int filename:ptr statbuf:ptr flag:int"},
    {"openat", "dfd:int filename:ptr flags:int mode:uint"},
    {"openat2", "dfd:int filename:ptr how:ptr size:size"},
    {"pipe2", "fildes:ptr flags:int"},
    {"pread64", "fd:uint buf:ptr count:size pos:long"},
    {"pwrite64", "fd:uint buf:ptr count:size pos:long"},
    {"read", "fd:uint buf:ptr count:size"},
    {"readv", "fd:long vec:ptr vlen:long"},
    {"sendfile", "out_fd:int in_fd:int offset:ptr count:size"},
    {"splice", "fd_in:int off_in:ptr fd_out:int off_out:ptr len:size flags:uint"},
    {"statx", "dfd:int filename:ptr flags:uint mask:uint buffer:ptr"},
    {"unlinkat", "dfd:int pathname:ptr flag:int"},
    {"write", "fd:uint buf:ptr count:size"},
    {"writev", "fd:long vec:ptr vlen:long"},
    // waiting
    {"epoll_create1", "flags:int"},
    {"epoll_ctl", "epfd:int op:int fd:int event:ptr"},
    {"epoll_pwait", "epfd:int events:ptr maxevents:int timeout:int sigmask:ptr sigsetsize:size"},
    {"epoll_pwait2", "epfd:int events:ptr maxevents:int timeout:ptr sigmask:ptr sigsetsize:size"},
    {"futex", "uaddr:ptr op:int val:uint timeout:ptr uaddr2:ptr val3:uint"},
    {"ppoll", "fds:ptr nfds:uint timeout:ptr sigmask:ptr sigsetsize:size"},
    {"pselect6", "n:int inp:ptr outp:ptr exp:ptr timeout:ptr sig:ptr"},
    {"restart_syscall", ""},
    // time
    {"clock_getres", "which:int tp:ptr"},
    {"clock_gettime", "which:int tp:ptr"},
    {"clock_nanosleep", "which:int flags:int rqtp:ptr rmtp:ptr"},
    {"getitimer", "which:int value:ptr"},
    {"gettimeofday", "tv:ptr tz:ptr"},
    {"nanosleep", "rqtp:ptr rmtp:ptr"},
    {"setitimer", "which:int value:ptr ovalue:ptr"},
    {"timerfd_create", "clockid:int flags:int"},
    {"timerfd_gettime", "fd:int otmr:ptr"},
    {"timerfd_settime", "fd:int flags:int utmr:ptr otmr:ptr"},
    {"times", "buf:ptr"},
    // processes
    {"clone", "flags:long stack:long parent_tid:ptr child_tid:ptr tls:long"},
    {"clone3", "args:ptr size:size"},
    {"execve", "filename:ptr argv:ptr envp:ptr"},
    {"exit", "code:int"},
    {"exit_group", "code:int"},
    {"getpgid", "pid:int"},
    {"getpid", ""},
    {"getppid", ""},
    {"gettid", ""},
    {"getrusage", "who:int rusage:ptr"},
    {"kill", "pid:int sig:int"},
    {"pidfd_open", "pid:int flags:uint"},
    {"pidfd_send_signal", "pidfd:int sig:int info:ptr flags:uint"},
    {"prctl", "option:int arg2:long arg3:long arg4:long arg5:long"},
    {"prlimit64", "pid:int resource:uint new:ptr old:ptr"},
    {"rseq", "rseq:ptr len:uint flags:int sig:uint"},
    {"sched_getaffinity", "pid:int len:uint mask:ptr"},
    {"sched_yield", ""},
    {"set_robust_list", "head:ptr len:size"},
    {"set_tid_address", "tidptr:ptr"},
    {"tgkill", "tgid:int tid:int sig:int"},
    {"tkill", "pid:int sig:int"},
    {"wait4", "pid:int status:ptr options:int rusage:ptr"},
    {"waitid", "which:int pid:int info:ptr options:int rusage:ptr"},
    // signals
    {"rt_sigaction", "sig:int act:ptr oact:ptr size:size"},
    {"rt_sigpending", "set:ptr size:size"},
    {"rt_sigprocmask", "how:int set:ptr oset:ptr size:size"},
    {"rt_sigreturn", ""},
    {"rt_sigsuspend", "set:ptr size:size"},
    {"rt_sigtimedwait", "set:ptr info:ptr timeout:ptr size:size"},
    {"sigaltstack", "ss:ptr oss:ptr"},
    {"signalfd4", "fd:int mask:ptr sizemask:size flags:int"},
    // identity and confinement
    {"capget", "header:ptr data:ptr"},
    {"capset", "header:ptr data:ptr"},
    {"getegid", ""},
    {"geteuid", ""},
    {"getgid", ""},
    {"getuid", ""},
    {"landlock_restrict_self", "ruleset_fd:int flags:uint"},
    {"seccomp", "op:uint flags:uint args:ptr"},
    {"setgid", "gid:uint"},
    {"setgroups", "size:int list:ptr"},
    {"setresgid", "rgid:uint egid:uint sgid:uint"},
    {"setresuid", "ruid:uint euid:uint suid:uint"},
    {"setsid", ""},
    {"setuid", "uid:uint"},
    // memory and the rest
    {"brk", "brk:long"},
    {"getrandom", "buf:ptr count:size flags:uint"},
    {"madvise", "start:long len:size behavior:int"},
    {"mmap", "addr:long len:long prot:long flags:long fd:long off:long"},
    {"mprotect", "start:long len:size prot:long"},
    {"mremap", "addr:long old_len:long new_len:long flags:long new_addr:long"},
    {"munmap", "addr:long len:size"},
    {"uname", "name:ptr"},
};
// clang-format on

std::vector<Parameter> split(std::string_view text) {
    std::vector<Parameter> parameters;
    while (!text.empty()) {
        const auto colon = text.find(':');
        const auto space = std::min(text.find(' '), text.size());
        parameters.push_back({text.substr(0, colon), text.substr(colon + 1, space - colon - 1)});
        text.remove_prefix(std::min(space + 1, text.size()));
    }
    return parameters;
}

const std::vector<Prototype>& prototypes() {
    static const auto all = [] {
        std::vector<Prototype> list;
        for (const auto& line : table) {
            list.push_back({line.name, split(line.parameters)});
        }
        return list;
    }();
    return all;
}

} // namespace

const Prototype* prototype_of(std::string_view name) {
    if (name.substr(0, 8) == "syscall ") {
        static const Prototype nameless{"syscall",
                                        {{"arg1", "long"},
                                         {"arg2", "long"},
                                         {"arg3", "long"},
                                         {"arg4", "long"},
                                         {"arg5", "long"},
                                         {"arg6", "long"}}};
        return &nameless;
    }
    const auto& all = prototypes();
    const auto found =
        std::find_if(all.begin(), all.end(), [name](const Prototype& p) { return p.name == name; });
    return found == all.end() ? nullptr : &*found;
}

std::vector<std::string_view> all_prototypes() {
    std::vector<std::string_view> names;
    for (const auto& prototype : prototypes()) {
        names.push_back(prototype.name);
    }
    return names;
}

std::size_t Prototype::index(std::size_t parameter, Abi abi) const {
    // kernel/fork.c: arm64 and i386 select CLONE_BACKWARDS, where tls comes before child_tid.
    if ((abi == Abi::aarch64 || abi == Abi::i386) && name == "clone" && parameter >= 3) {
        return 7 - parameter;
    }
    return parameter;
}

} // namespace cloister::policy
