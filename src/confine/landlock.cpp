// SPDX-License-Identifier: MIT
#include "confine/confine.h"

#include "sys/die.h"

#include <cerrno>
#include <fcntl.h>
#include <iterator>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cloister::confine {
namespace {

// Debian 12's <linux/landlock.h> knows ABI 2; these are of include/uapi/linux/landlock.h of Linux 6.18 (ABI
// 7), where what is handled is denied unless a rule allows it.
struct Ruleset {
    std::uint64_t handled_access_fs;
    std::uint64_t handled_access_net; // ABI 4: bind, connect TCP
    std::uint64_t scoped;             // ABI 6: abstract unix sockets, signals
};
constexpr unsigned create_ruleset_version = 1;

constexpr std::uint64_t bits(unsigned count) {
    return (std::uint64_t{1} << count) - 1;
}

/// All that an ABI can deny: number of file system rights, of network rights, of scopes; size of the
/// structure.
struct Abi {
    unsigned fs, net, scopes;
    std::size_t size;
};
constexpr Abi abis[] = {
    {13, 0, 0, 8}, {14, 0, 0, 8}, {15, 0, 0, 8}, {15, 2, 0, 16}, {16, 2, 0, 16}, {16, 2, 2, 24},
};

/// Landlock has no read-back: try what it must deny.
void expect_denied(int version) {
    const int file = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file >= 0 || errno != EACCES) {
        die(ExitCode::SelfTest, "asked Landlock to deny opening /, the kernel answers %s",
            file >= 0 ? "yes" : error_text(errno));
    }
    if (abis[static_cast<std::size_t>(version) - 1].net == 0) {
        return;
    }
    const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (probe >= 0 &&
        (bind(probe, reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0 || errno != EACCES)) {
        die(ExitCode::SelfTest, "asked Landlock to deny bind, the kernel does not");
    }
    close(probe);
}

} // namespace

int deny_by_landlock() {
    const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, create_ruleset_version);
    if (abi < 0 && (errno == ENOSYS || errno == EOPNOTSUPP)) {
        return 0;
    }
    if (abi < 1) {
        die(ExitCode::NotPermitted,
            "cannot ask for Landlock: landlock_create_ruleset: %s; a container or service manager must allow "
            "the call",
            error_text(errno));
    }
    constexpr auto newest = static_cast<long>(std::size(abis));
    const Abi& have = abis[(abi > newest ? newest : abi) - 1];
    const Ruleset ruleset{bits(have.fs), bits(have.net), bits(have.scopes)};
    const auto fd = static_cast<int>(syscall(SYS_landlock_create_ruleset, &ruleset, have.size, 0));
    if (fd < 0) {
        die(ExitCode::SystemCall, "cannot make a Landlock ruleset of ABI %ld: %s", abi, error_text(errno));
    }
    if (syscall(SYS_landlock_restrict_self, fd, 0) != 0) {
        die(ExitCode::NotPermitted, "cannot enforce Landlock: landlock_restrict_self: %s", error_text(errno));
    }
    close(fd);
    expect_denied(static_cast<int>(abi > newest ? newest : abi));
    return static_cast<int>(abi);
}

} // namespace cloister::confine
