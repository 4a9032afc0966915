// SPDX-License-Identifier: MIT
#pragma once

#include "control/launch.h"
#include "control/source_table.h"
#include "listener/table.h"

#include <optional>
#include <utility>

namespace cloister::listener {

/// Whether a client may have a cell, by where it comes from. Decides in constant time, from the rules of the
/// launch configuration and the source table that all generations of the service share; makes no system call.
class Admission {
  public:
    Admission(control::SharedState& state, unsigned sources, const control::Launch& launch);

    struct Verdict {
        std::optional<Refusal> refusal; ///< nothing: it may
        Ticket ticket{};                ///< then
        control::Source source{};       ///< else which one is over its limit; of no kind for Loop and Port
        std::uint64_t limit = 0;        ///< that it has reached; 0: none
        std::uint64_t wait_ms = 0;      ///< until it may try again; 0: not known
    };
    /// `live`: connections of the service, in all generations. Charges the rates of a client that may. Over
    /// its rate for too long a source gets a penalty, which `penalty` then returns once.
    [[nodiscard]] Verdict admit(const Peer& peer, std::uint64_t now_ns, std::uint64_t live);

    // The connection of a client that was admitted has a cell; the cell has ended.
    void begin(const Ticket& ticket);
    void end(const Ticket& ticket);

    struct Penalised {
        control::Source source;
        control::Penalty penalty;
    };
    /// After admit().
    [[nodiscard]] std::optional<Penalised> take_penalty() { return std::exchange(penalised_, {}); }
    /// For the end of a cell. Nothing unless its source is shut out by it.
    [[nodiscard]] std::optional<Penalised> judge(const Ticket& ticket, ExitReason reason,
                                                 std::uint64_t now_ns);

    /// Whether the client's port is that of one of our own sockets, and its address the same, too; or that
    /// socket takes any address, and the client may be on this host.
    enum class Loop { no, yes, if_local };
    [[nodiscard]] Loop is_loop(const Peer& peer) const;

    /// Of this generation.
    [[nodiscard]] control::Counters& counters() { return state_.counters[row_]; }
    /// Connections of the other generations.
    [[nodiscard]] std::uint64_t live_elsewhere() const;

  private:
    control::SharedState& state_;
    control::SourceTable table_;
    const control::Admission& rules_;
    unsigned row_;
    std::uint32_t max_connections_;
    std::optional<Penalised> penalised_{};

    [[nodiscard]] bool is_exempt(const control::Source& source) const;
    [[nodiscard]] std::optional<Penalised> penalise(control::SourceTable::Place place, ExitReason cause,
                                                    std::uint64_t now_ns);
};

/// The client, as a source of its own.
[[nodiscard]] control::Source source_of(const Peer& peer);

} // namespace cloister::listener
