// SPDX-License-Identifier: MIT
#include "confine/confine.h"

#include "base/die.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cloister::confine {
namespace {

// Debian 12's <linux/landlock.h> knows ABI 2; these are of Linux 6.18 (ABI 7). What is handled is denied
// unless a rule allows it. An older kernel takes the longer structure if the rest is 0.
struct Ruleset {
    std::uint64_t handled_access_fs;
    std::uint64_t handled_access_net; // from ABI 4: bind, connect TCP
    std::uint64_t scoped;             // from ABI 6: abstract unix sockets, signals
};
constexpr unsigned create_ruleset_version = 1;
constexpr long abi_with_net = 4;
constexpr long abi_with_scopes = 6;

/// All that an ABI can deny.
Ruleset everything(long abi) {
    constexpr std::uint64_t file_rights[] = {0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff}; // by ABI, from 1 on
    constexpr std::uint64_t both = 3;
    return {file_rights[std::clamp(abi, 1L, long{std::size(file_rights)}) - 1],
            abi >= abi_with_net ? both : 0, abi >= abi_with_scopes ? both : 0};
}

/// Landlock cannot be read back: try what it must deny.
void expect_denied(long abi) {
    if (open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0 || errno != EACCES) {
        die(ExitCode::SelfTest, "asked Landlock to deny opening /, the kernel does not");
    }
    sockaddr_in any{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
    const int probe = abi < abi_with_net ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe >= 0 && (bind(probe, reinterpret_cast<sockaddr*>(&any), sizeof any) == 0 || errno != EACCES)) {
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
    const Ruleset ruleset = everything(abi);
    const long fd = abi < 1 ? -1 : syscall(SYS_landlock_create_ruleset, &ruleset, sizeof ruleset, 0);
    if (fd < 0 || syscall(SYS_landlock_restrict_self, fd, 0) != 0) {
        die(ExitCode::NotPermitted, "cannot enforce Landlock: %s: %s",
            fd < 0 ? "landlock_create_ruleset" : "landlock_restrict_self", error_text(errno));
    }
    close(static_cast<int>(fd));
    expect_denied(abi);
    return static_cast<int>(abi);
}

} // namespace cloister::confine
