// SPDX-License-Identifier: MIT
#pragma once

namespace cloister {

/// Makes calls that nobody expects to fail (who we are, the time, write, the end of a process), and some
/// whose failure would be taken for another. An outer seccomp filter may deny these, too. Dies with the name
/// of the call. The children of this process are under the same filter. Sets the umask to 077.
void expect_kernel_answers();

} // namespace cloister
