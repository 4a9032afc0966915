// SPDX-License-Identifier: MIT
#pragma once

namespace cloister {

enum class Closing { Now, AtExec };

/// Closes every descriptor from `first` to `last` (close_range(2), Linux 5.9), now or at execve(2). Whether
/// it was done is read back from `first`, where a copy of `open`, which is not among them, is put before.
/// Dies.
void close_descriptors(int open, int first, unsigned last = ~0U, Closing closing = Closing::Now);

} // namespace cloister
