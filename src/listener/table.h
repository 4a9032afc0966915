// SPDX-License-Identifier: MIT
#pragma once

#include "control/source_table.h"

#include <cstddef>
#include <cstdint>
#include <sys/types.h>

namespace cloister::listener {

/// Who is at the other end. Of a unix socket: the user and process that connected.
struct Peer {
    std::uint16_t family;
    std::uint16_t port;       ///< host byte order
    std::uint8_t address[16]; ///< network byte order; AF_INET uses the first four
    std::uint32_t scope;      ///< of a link-local IPv6 address
    std::uint32_t uid;
    pid_t pid;
};

/// `127.0.0.1:5000`, `[fe80::1%2]:5000`, `unix:uid=1000,pid=4711`.
struct PeerText {
    explicit PeerText(const Peer& peer);
    char text[80];
};

/// Where the connection is counted in the source table: its source and its network; nowhere.
struct Ticket {
    control::SourceTable::Place places[2] = {control::SourceTable::nowhere, control::SourceTable::nowhere};
    bool counts = false; ///< it is a client's, not the supervisor's own
};

/// A living cell, and what the log must know at its end.
struct Cell {
    pid_t pid; ///< 0: a free place
    std::uint32_t socket;
    std::uint64_t connection;
    std::int64_t started_ns; ///< CLOCK_MONOTONIC
    bool ended_by_us;
    bool releaser; ///< serves no connection: src/listener/release.cpp
    Peer peer;
    Ticket ticket;
};

/// The living cells by process number. Sized once, never grows: register and close are O(1).
class CellTable {
  public:
    /// Room for `limit` cells. Dies when there is no memory.
    explicit CellTable(std::size_t limit);

    [[nodiscard]] std::size_t live() const { return live_; }
    [[nodiscard]] bool full() const { return live_ == limit_; }

    /// Not when full, and not for a pid that is in the table.
    Cell& add(pid_t pid);
    [[nodiscard]] Cell* find(pid_t pid);
    /// `cell` and all pointers into the table become invalid.
    void remove(Cell& cell);

    // Places, for walking over all cells a slice at a time; remove() may move a cell to an earlier place.
    [[nodiscard]] std::size_t places() const { return mask_ + 1; }
    [[nodiscard]] Cell* at(std::size_t place) {
        return cells_[place & mask_].pid != 0 ? &cells_[place & mask_] : nullptr;
    }

  private:
    Cell* cells_;
    std::size_t limit_;
    std::size_t mask_;
    std::size_t live_ = 0;

    [[nodiscard]] std::size_t home(pid_t pid) const;
};

} // namespace cloister::listener
