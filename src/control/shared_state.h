// SPDX-License-Identifier: MIT
#pragma once

#include "base/log_names.h"
#include "control/source.h"

#include <atomic>
#include <cstdint>
#include <span>

/// What the listeners of one service share, of all its generations, and the supervisor reads: counters, and
/// the source table. It lies in a memory file that every listener of the service maps, and no cell. All of it
/// is atomic words and no lock: a listener that is killed at any instruction leaves nothing behind that
/// another one waits for. What counts living connections stands in rows, one a listener process: only this
/// one writes it, and when it has been reaped, the supervisor clears the row. What a listener writes is not
/// believed: a value that cannot be is treated as one that can (source_table.h), and indices are never read
/// from here.
namespace cloister::control {

inline constexpr unsigned max_rows = 64; ///< listeners of a service at a time, those that drain included
inline constexpr unsigned min_sources = 1U << 6, max_sources = 1U << 16;
inline constexpr std::uint32_t shared_state_version = 2;

using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free && sizeof(Word) == 8);

/// Of one generation; `live` is zero when it has ended.
struct Counters {
    Word connections;  ///< that were given to a cell
    Word ends[32];     ///< by ExitReason
    Word refusals[16]; ///< by Refusal
    Word untracked;    ///< connections that found no room in the source table
    Word live;
};
static_assert(std::size(exit_reasons) <= std::size(Counters{}.ends) &&
              std::size(refusals) <= std::size(Counters{}.refusals));

/// What is known of one source besides its living connections. One cache line.
struct alignas(64) SourceEntry {
    Word tag;        ///< of the source under the secret key; 0: the entry is free
    Word due_ns;     ///< CLOCK_MONOTONIC: the theoretical arrival time of its next connection (GCRA)
    Word penalty;    ///< packed, see source_table.cpp; 0: none
    Word over_rate;  ///< packed: since when and when last its rate was exceeded, in seconds
    Word address[2]; ///< of the source, to be listed; checked against `tag`
    Word label;      ///< its kind and prefix
    Word spare;
};
static_assert(sizeof(SourceEntry) == 64);

/// One of our own listening sockets of TCP, of any service.
struct OwnSocket {
    Source address; ///< a wildcard has prefix 0
    std::uint16_t port = 0;
};

/// How it stands in the memory.
struct OwnSocketEntry {
    Word address[2];
    Word label; ///< port, kind, prefix; 0: none
};
inline constexpr unsigned max_own_sockets = 256;

/// The start of the memory; `sources` entries follow, and max_rows times as many counts of living
/// connections, row after row.
struct SharedState {
    char magic[8];
    std::uint32_t version;
    std::uint32_t sources;               ///< a power of two, min_sources … max_sources
    std::uint64_t secret[2];             ///< of the hash; random, the supervisor's choice
    Word rows;                           ///< those in use, by bits; written by the supervisor
    OwnSocketEntry own[max_own_sockets]; ///< of all services; the supervisor's
    Counters ended;                      ///< the sum of the generations that have ended; the supervisor's
    alignas(64) Counters counters[max_rows];
};

/// The size of all, in bytes.
[[nodiscard]] constexpr std::size_t shared_size(unsigned sources) {
    return sizeof(SharedState) +
           sources * (sizeof(SourceEntry) + max_rows * sizeof(std::atomic<std::uint32_t>));
}

/// A fresh one in zeroed memory of that size, but for `secret`.
void prepare(SharedState& state, unsigned sources);

// How a source stands there: two words of address, and its kind and prefix in the low 16 bits of a label.
[[nodiscard]] std::uint64_t label_of(const Source& source);
void store_address(const Source& source, Word (&address)[2]);
[[nodiscard]] Source load_source(const Word (&address)[2], std::uint64_t label);

void write_own_sockets(SharedState& state, std::span<const OwnSocket> sockets);
/// That entry; its port is 0 where there is none.
[[nodiscard]] OwnSocket own_socket(const SharedState& state, unsigned index);

/// Whether it is one, of this version.
[[nodiscard]] bool is_sound(const SharedState& state, unsigned sources);

/// Whether the memory file has the size of a shared state, and is sealed to it (F_SEAL_SHRINK, F_SEAL_GROW):
/// for how many sources; 0: it is not.
[[nodiscard]] unsigned sources_in(int fd);

/// Maps the shared state, for good, and checks seals, version and size. Dies when it is not as it must be.
/// `sources` becomes their number, which is not to be read from there again.
[[nodiscard]] SharedState& open_shared_state(int fd, unsigned& sources);

} // namespace cloister::control
