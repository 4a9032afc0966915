// SPDX-License-Identifier: MIT
#pragma once

namespace cloister {

/// Makes the calls that nobody expects to fail (who we are, the time, write, the end of a
/// process and others),
/// since an outer seccomp filter may deny these, too, and libc would take the error for an answer. Dies with
/// the name of the call. The children of this process are under the same filter. Sets the umask to 077.
void expect_kernel_answers();

} // namespace cloister
