// SPDX-License-Identifier: MIT
#include "policy/names.h"

#include <algorithm>
#include <iterator>
#include <linux/audit.h>
#include <numeric>
#include <utility>

namespace cloister::policy {
namespace {

constexpr std::array<std::string_view, 4> abi_names = {"x86_64", "aarch64", "i386", "x32"};

// Functions of the C library that are no system call on at least one of our ABIs, and what they issue there.
constexpr std::pair<std::string_view, std::string_view> libc_functions[] = {
    {"recv", "recvfrom"},
    {"send", "sendto"},
    {"fork", "clone"},
    {"vfork", "clone"},
    {"open", "openat"},
    {"creat", "openat"},
    {"stat", "newfstatat"},
    {"lstat", "newfstatat"},
    {"fstatat", "newfstatat"},
    {"poll", "ppoll"},
    {"select", "pselect6"},
    {"epoll_wait", "epoll_pwait"},
    {"epoll_create", "epoll_create1"},
    {"eventfd", "eventfd2"},
    {"signalfd", "signalfd4"},
    {"pipe", "pipe2"},
    {"dup2", "dup3"},
    {"unlink", "unlinkat"},
    {"pread", "pread64"},
    {"pwrite", "pwrite64"},
    {"sigaction", "rt_sigaction"},
    {"sigprocmask", "rt_sigprocmask"},
    {"sigtimedwait", "rt_sigtimedwait"},
    {"sigwaitinfo", "rt_sigtimedwait"},
    {"sigsuspend", "rt_sigsuspend"},
    {"wait", "wait4"},
    {"waitpid", "wait4"},
    {"wait3", "wait4"},
    {"setrlimit", "prlimit64"},
    {"getrlimit", "prlimit64"},
    {"prlimit", "prlimit64"},
    {"time", "clock_gettime"},
    {"alarm", "setitimer"},
    {"_exit", "exit_group"},
    {"readdir", "getdents64"},
    {"execv", "execve"},
    {"raise", "tgkill"},
    {"sleep", "clock_nanosleep"},
    {"usleep", "clock_nanosleep"},
    {"sbrk", "brk"},
    {"malloc", "brk and mmap"},
};

// Damerau-Levenshtein (adjacent swaps count as one), three rows.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before;
    std::vector<std::size_t> above(b.size() + 1);
    std::iota(above.begin(), above.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::vector<std::size_t> row(b.size() + 1, i);
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t change = above[j - 1] + (a[i - 1] == b[j - 1] ? 0U : 1U);
            row[j] = std::min({above[j] + 1, row[j - 1] + 1, change});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = std::min(row[j], before[j - 2] + 1);
            }
        }
        before = std::exchange(above, std::move(row));
    }
    return above[b.size()];
}

} // namespace

std::string_view to_string(Abi abi) {
    return abi_names.at(static_cast<std::size_t>(abi));
}
std::string_view to_string(Arch arch) {
    return to_string(abi_of(arch));
}

std::optional<Abi> abi_named(std::string_view name) {
    const auto* found = std::find(abi_names.begin(), abi_names.end(), name);
    return found == abi_names.end() ? std::nullopt
                                    : std::optional{static_cast<Abi>(found - abi_names.begin())};
}

std::optional<Arch> arch_named(std::string_view name) {
    const auto abi = abi_named(name);
    return abi && *abi <= Abi::aarch64 ? std::optional{static_cast<Arch>(*abi)} : std::nullopt;
}

std::uint32_t audit_arch(Abi abi) {
    switch (abi) {
    case Abi::aarch64:
        return AUDIT_ARCH_AARCH64;
    case Abi::i386:
        return AUDIT_ARCH_I386;
    case Abi::x86_64:
    case Abi::x32:
        break;
    }
    return AUDIT_ARCH_X86_64;
}

std::string_view issued_by_libc(std::string_view function) {
    const auto* found = std::find_if(std::begin(libc_functions), std::end(libc_functions),
                                     [function](const auto& pair) { return pair.first == function; });
    return found == std::end(libc_functions) ? std::string_view{} : found->second;
}

std::string_view nearest(std::string_view name, const std::vector<std::string_view>& candidates) {
    std::string_view best;
    std::size_t least = std::max<std::size_t>(1, name.size() / 3) + 1;
    for (const auto candidate : candidates) {
        const auto d = distance(name, candidate);
        if (d < least) {
            least = d;
            best = candidate;
        }
    }
    return best;
}

} // namespace cloister::policy
