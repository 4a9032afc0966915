// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"
#include "control/source_table.h"
#include "supervisor/failure.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <tl/expected.hpp>

namespace cloister::supervisor {

/// The memory that the generations of a service share (control/shared_state.h), and which of its rows are in
/// use. Nothing that a listener wrote there is believed.
class SharedMemory {
  public:
    /// With room for control::max_sources, or fewer where RLIMIT_FSIZE allows no more. Failure: SystemCall.
    [[nodiscard]] static tl::expected<SharedMemory, Failure> create();

    /// That of an earlier program of this process.
    [[nodiscard]] static tl::expected<SharedMemory, Failure> adopt(Fd file);

    /// Cells that crashed or broke their policy, in all generations.
    [[nodiscard]] std::uint64_t offences() const;

    [[nodiscard]] int fd() const { return file_.get(); }
    [[nodiscard]] const control::SharedState& state() const { return *map_; }
    /// The table, to be looked at. Its places may change meanwhile.
    [[nodiscard]] control::SourceTable sources() const { return {*map_, sources_}; }

    /// Every place that was ever used; reading the others would take memory for them.
    void for_each_source(
        const std::function<void(const control::SourceTable&, control::SourceTable::Place)>& visit) const;

    void write_own_sockets(std::span<const control::OwnSocket> sockets) {
        control::write_own_sockets(*map_, sockets);
    }

    /// A row for a new generation. Nothing if all are in use.
    [[nodiscard]] std::optional<unsigned> take_row();
    /// The process of that row has been reaped: what it counted is kept, its living connections are gone.
    void release_row(unsigned row);

    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;
    SharedMemory(SharedMemory&& other) noexcept;
    SharedMemory& operator=(SharedMemory&&) = delete;
    ~SharedMemory();

  private:
    SharedMemory(Fd file, unsigned sources, control::SharedState* map)
        : file_{std::move(file)}, sources_{sources}, map_{map} {}

    Fd file_;
    unsigned sources_;
    control::SharedState* map_;
};

} // namespace cloister::supervisor
