// SPDX-License-Identifier: MIT
#include "listener/memory.h"

#include "base/die.h"
#include "control/content.h"
#include "control/conversation.h"
#include "control/launch.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cloister::listener {
namespace {

/// What one page of the lowest level of page tables maps, at least.
constexpr std::uintptr_t table_span = 2UL << 20;

struct Range {
    std::uintptr_t start, end;
};

struct Mapping {
    Range range;
    bool vdso;
    bool hidden;
};

std::uintptr_t address_of(const void* pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer);
}

/// Reads the first line of a mapping, `start-end perms …`; false for any other line.
bool read_range(const char* line, Range& range) {
    char* end = nullptr;
    const std::uintptr_t start = std::strtoul(line, &end, 16);
    if (end == line || *end != '-') {
        return false;
    }
    range = {start, std::strtoul(end + 1, &end, 16)};
    return *end == ' ';
}

/// Reads smaps line by line in a fixed buffer, and yields a mapping at its last line, VmFlags.
class Smaps {
  public:
    explicit Smaps(int fd) : fd_{fd} {
        if (lseek(fd_, 0, SEEK_SET) != 0) {
            die(ExitCode::SystemCall, "cannot read /proc/self/smaps: lseek: %s", error_text(errno));
        }
    }

    /// False at the end. The one mapping above user space, [vsyscall], is not a process's own and is left
    /// out.
    bool next(Mapping& mapping) {
        bool seen = false;
        for (;;) {
            const std::string_view line = next_line();
            if (line.empty()) {
                if (seen) {
                    die(ExitCode::SelfTest,
                        "/proc/self/smaps has no VmFlags: the kernel lacks CONFIG_PROC_PAGE_MONITOR");
                }
                return false;
            }
            if (line.starts_with("VmFlags:")) {
                mapping.hidden = line.find(" dc") != std::string_view::npos;
                seen = false;
                if (mapping.range.start < table_top) {
                    return true;
                }
            } else if (!seen) {
                seen = read_range(line.data(), mapping.range);
                mapping.vdso = line.ends_with("[vdso]") || line.find("[vvar") != std::string_view::npos;
            }
        }
    }

  private:
    static constexpr std::uintptr_t table_top = 1UL << 63;
    int fd_;
    std::size_t used_ = 0; // of buffer_, by lines that were returned
    std::size_t size_ = 0;
    char buffer_[8192];

    std::string_view next_line() {
        for (;;) {
            char* const start = buffer_ + used_;
            if (auto* const newline = static_cast<char*>(std::memchr(start, '\n', size_ - used_));
                newline != nullptr) {
                *newline = '\0';
                used_ = static_cast<std::size_t>(newline + 1 - buffer_);
                return {start, static_cast<std::size_t>(newline - start)};
            }
            std::memmove(buffer_, start, size_ - used_);
            size_ -= used_;
            used_ = 0;
            const ssize_t got = ::read(fd_, buffer_ + size_, sizeof buffer_ - size_);
            if (got < 0 || (got == 0 && size_ != 0)) {
                die(ExitCode::SystemCall, "cannot read /proc/self/smaps: %s", error_text(errno));
            }
            if (got == 0) {
                return {};
            }
            size_ += static_cast<std::size_t>(got);
        }
    }
};

std::uintptr_t whole_pages(std::size_t size) {
    return (size + arch::max_page_size - 1) & ~(arch::max_page_size - 1);
}

/// Calls `rest` with the parts of `range` that none of the ranges a cell keeps covers.
template <typename Rest>
void without_kept(const Kept& kept, Range range, Rest rest) {
    const std::uintptr_t content = address_of(&control::cloister_content);
    Range ranges[] = {
        {content, content + whole_pages(kept.content_size)}, // the kernel's own pages may be smaller: holes
        {address_of(kept.arena), address_of(kept.arena + 1)},
        {address_of(cell::cloister_cell_start), address_of(cell::cloister_cell_end)},
    };
    std::sort(std::begin(ranges), std::end(ranges),
              [](const Range& a, const Range& b) { return a.start < b.start; });
    for (const Range& keep : ranges) {
        if (keep.end <= range.start || keep.start >= range.end) {
            continue;
        }
        if (range.start < keep.start) {
            rest(Range{range.start, keep.start});
        }
        range.start = keep.end;
    }
    if (range.start < range.end) {
        rest(range);
    }
}

} // namespace

const cell::Arena* map_arena() {
    constexpr std::size_t hole = 65536; // larger than any stack frame of a cell
    constexpr std::size_t size = hole + sizeof(cell::Arena) + hole;
    if (control::content_room() != 0) { // which would fill these 2 MiB
        auto* const gap = const_cast<std::uint8_t*>(control::cloister_content_gap);
        (void)munmap(gap, address_of(&control::cloister_content) - address_of(gap));
    }
    const std::uintptr_t code = address_of(cell::cloister_cell_start);
    const std::uintptr_t first = code & ~(table_span - 1);
    const auto map = [](std::uintptr_t at, std::size_t bytes, int protection) {
        return mmap(reinterpret_cast<void*>(at), bytes, protection, // NOLINT(performance-no-int-to-ptr)
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    };
    for (std::uintptr_t at = first; at + size <= first + table_span; at += arch::max_page_size) {
        void* const got = map(at, size, PROT_NONE);
        if (got == MAP_FAILED) {
            continue;
        }
        if (munmap(got, size) != 0) {
            die(ExitCode::SystemCall, "cannot place the cells' memory beside their code: munmap: %s",
                error_text(errno));
        }
        if (address_of(got) == at) { // before Linux 4.17 `at` is only a hint: mmap(2)
            void* const arena = map(at + hole, sizeof(cell::Arena), PROT_READ | PROT_WRITE);
            if (address_of(arena) == at + hole) {
                return static_cast<const cell::Arena*>(arena);
            }
        }
    }
    die(ExitCode::SystemCall, "cannot place the cells' memory beside their code: mmap: %s",
        error_text(errno));
}

void map_content(int fd, std::size_t size) {
    const std::size_t room = control::content_room();
    if (room == 0 && size == 0 && fd < 0) {
        return;
    }
    struct stat status {};
    const bool live = control::cloister_conversation.kind == control::Answer::Page;
    const bool sealed = live ? control::is_sealed_for_others(fd) : control::is_sealed(fd);
    if (fd < 0 || !sealed || fstat(fd, &status) != 0 || status.st_size != static_cast<off_t>(size) ||
        size <= sizeof(control::Content) || size > room) {
        bug("the content is not sealed, or not of the size that the launch configuration says");
    }
    auto* const place = const_cast<control::Content*>(&control::cloister_content);
    if (munmap(place, room) != 0 ||
        mmap(place, size, PROT_READ, (live ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED_NOREPLACE, fd, 0) !=
            place) {
        die(ExitCode::SystemCall, "cannot map the content: mmap: %s", error_text(errno));
    }
    if (place->size != size - sizeof(control::Content) || place->after_request > 1) {
        bug("the content does not say its size");
    }
}

void expect_no_rseq() {
    // The kernel takes one registration a thread, and gives it back only to who made it: ours succeeds if
    // there is none.
    alignas(32) static std::uint32_t area[8];
    constexpr int unregister = 1;
    constexpr std::uint32_t signature = 0x53053053; // RSEQ_SIG of <sys/rseq.h>
    if (syscall(SYS_rseq, area, sizeof area, 0, signature) != 0) {
        const int error = errno;
        // The kernel knows no such flag and says EINVAL, whatever is registered: EPERM is the answer of an
        // outer filter, which libc got, too.
        constexpr int no_flag = 1 << 30;
        if (error == ENOSYS ||
            (error == EPERM && syscall(SYS_rseq, area, sizeof area, no_flag, signature) != 0 &&
             errno == EPERM)) {
            return;
        }
        die(ExitCode::SelfTest,
            "libc has registered rseq (%s): cloisterd starts us with %s, which it ignored", error_text(error),
            control::listener_environment);
    }
    if (syscall(SYS_rseq, area, sizeof area, unregister, signature) != 0) {
        die(ExitCode::SystemCall, "cannot unregister rseq: %s", error_text(errno));
    }
}

void unmap_vdso(int smaps_fd) {
    Smaps smaps{smaps_fd};
    for (Mapping mapping{}; smaps.next(mapping);) {
        if (mapping.vdso) {
            void* const start =
                reinterpret_cast<void*>(mapping.range.start); // NOLINT(performance-no-int-to-ptr)
            (void)munmap(start, mapping.range.end - mapping.range.start);
        }
    }
}

void hide_from_cells(const Kept& kept, int smaps_fd) {
    Smaps smaps{smaps_fd};
    for (Mapping mapping{}; smaps.next(mapping);) {
        without_kept(kept, mapping.range, [](Range part) {
            void* const start = reinterpret_cast<void*>(part.start); // NOLINT(performance-no-int-to-ptr)
            if (madvise(start, part.end - part.start, MADV_DONTFORK) != 0) {
                die(ExitCode::SystemCall, "cannot hide memory at %p from cells: madvise: %s", start,
                    error_text(errno));
            }
        });
    }
}

void verify_hidden(const Kept& kept, int smaps_fd) {
    Smaps smaps{smaps_fd};
    bool seen = false;
    for (Mapping mapping{}; smaps.next(mapping);) {
        seen = true;
        if (!mapping.hidden) {
            without_kept(kept, mapping.range, [](Range part) {
                die(ExitCode::SelfTest, "asked to hide memory at %#lx from cells, the kernel did not",
                    part.start);
            });
        }
    }
    if (!seen) {
        die(ExitCode::SelfTest, "/proc/self/smaps is empty: this kernel can't tell what cells would inherit");
    }
}

} // namespace cloister::listener
