// SPDX-License-Identifier: MIT
#include "base/descriptors.h"

#include "base/die.h"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace cloister {

void close_descriptors(int open, int first, unsigned last, Closing closing) {
    const bool at_exec = closing == Closing::AtExec;
    if (dup2(open, first) != first) {
        if (errno == EBADF || errno == EMFILE) {
            die(ExitCode::SystemCall,
                "cannot use descriptor %d: dup2: %s; raise RLIMIT_NOFILE above that number", first,
                error_text(errno));
        }
        die(ExitCode::SystemCall, "cannot use descriptor %d: dup2: %s", first, error_text(errno));
    }
    if (close_range(static_cast<unsigned>(first), last, at_exec ? CLOSE_RANGE_CLOEXEC : 0) != 0) {
        die(ExitCode::SystemCall, "cannot close the descriptors from %d on: close_range: %s", first,
            error_text(errno));
    }
    if (fcntl(first, F_GETFD) != (at_exec ? FD_CLOEXEC : -1)) {
        die(ExitCode::SelfTest, "asked to close the descriptors from %d on%s, the kernel did not do it",
            first, at_exec ? " at exec" : "");
    }
}

} // namespace cloister
