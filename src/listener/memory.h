// SPDX-License-Identifier: MIT
#pragma once

#include "cell/cell.h"

/// What a cell inherits of the listener's memory: the setup call site and the loop (the setup page and those
/// of its handler), the arena, and its content, if its handler has any; nothing else.
namespace cloister::listener {

/// Maps the arena, in the same 2 MiB as the cell's code: a cell then needs one page of each level of page
/// tables. Its neighbours are holes, so that the kernel combines it to no other mapping. Dies when there is
/// no room.
[[nodiscard]] const cell::Arena* map_arena();

/// Maps the content, read-only, `size` bytes of the sealed memory file `fd`, to where cells look for it; what
/// else is kept there is unmapped. Nothing for a handler without content. Dies if it is not as it must be.
void map_content(int fd, std::size_t size);

/// What cells keep besides their code.
struct Kept {
    const cell::Arena* arena;
    std::size_t content_size; ///< 0: none
};

/// Dies unless rseq(2) is unregistered: its area would lie in thread-local storage, which a cell doesn't
/// have, and the kernel writes there on return to user mode. control::listener_environment tells libc not to
/// register it.
void expect_no_rseq();

/// Unmaps what the kernel gave us to ask for the time without a call, vdso(7): nothing of ours uses it, and
/// each mapping costs every fork. Where the kernel has sealed it (CONFIG_MSEAL_SYSTEM_MAPPINGS), it stays, to
/// be hidden like the rest.
void unmap_vdso(int smaps_fd);

/// Marks all other mappings MADV_DONTFORK. `smaps_fd` is /proc/self/smaps.
void hide_from_cells(const Kept& kept, int smaps_fd);

/// Dies if a mapping that cells must not have is not marked so (`dc` in VmFlags, proc_pid_smaps(5)).
void verify_hidden(const Kept& kept, int smaps_fd);

} // namespace cloister::listener
