// SPDX-License-Identifier: MIT
#include "listener/table.h"

#include "base/die.h"

#include <bit>
#include <cerrno>
#include <sys/mman.h>

namespace cloister::listener {

CellTable::CellTable(std::size_t limit) : limit_{limit}, mask_{std::bit_ceil(2 * limit) - 1} {
    void* const memory = mmap(nullptr, places() * sizeof(Cell), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) {
        die(ExitCode::SystemCall, "no memory for a table of %zu cells: mmap: %s; lower --max-connections",
            limit, error_text(errno));
    }
    cells_ = static_cast<Cell*>(memory);
}

std::size_t CellTable::home(pid_t pid) const {
    return (static_cast<std::uint32_t>(pid) * 0x9e3779b1U >> 7U) &
           mask_; // Fibonacci hashing: pids come in rows
}

Cell& CellTable::add(pid_t pid) {
    if (full() || pid <= 0) {
        bug("no room for cell %d among %zu", pid, live_);
    }
    std::size_t place = home(pid);
    while (cells_[place].pid != 0) {
        place = (place + 1) & mask_;
    }
    ++live_;
    cells_[place] = Cell{};
    cells_[place].pid = pid;
    return cells_[place];
}

Cell* CellTable::find(pid_t pid) {
    if (pid <= 0) {
        return nullptr;
    }
    for (std::size_t place = home(pid); cells_[place].pid != 0; place = (place + 1) & mask_) {
        if (cells_[place].pid == pid) {
            return &cells_[place];
        }
    }
    return nullptr;
}

void CellTable::remove(Cell& cell) {
    // Linear probing without tombstones: close the gap with the next cell that may stand there.
    std::size_t gap = static_cast<std::size_t>(&cell - cells_);
    for (std::size_t place = (gap + 1) & mask_; cells_[place].pid != 0; place = (place + 1) & mask_) {
        const std::size_t distance = (place - home(cells_[place].pid)) & mask_;
        if (distance >= ((place - gap) & mask_)) {
            cells_[gap] = cells_[place];
            gap = place;
        }
    }
    cells_[gap].pid = 0;
    --live_;
}

} // namespace cloister::listener
