// SPDX-License-Identifier: MIT
#include "supervisor/shared_memory.h"

#include "base/die.h"
#include "base/memory_file.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>
#include <utility>

namespace cloister::supervisor {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;

/// A listener could make a counter anything; sums then wrap, which ends nothing.
void move_into(control::Word& sum, control::Word& from) {
    sum.fetch_add(from.exchange(0, relaxed), relaxed);
}

} // namespace

tl::expected<SharedMemory, Failure> SharedMemory::create() {
    const auto refused = [](const char* call) {
        return tl::unexpected(
            Failure{ExitCode::SystemCall,
                    fmt::format("cannot make the memory that the generations of a service share: {}: {}",
                                call, error_text(errno))});
    };
    Fd file = create_memory_file("cloister-shared", MFD_ALLOW_SEALING);
    if (!file.valid()) {
        return refused("memfd_create");
    }
    unsigned sources = control::max_sources;
    while (ftruncate(file.get(), static_cast<off_t>(control::shared_size(sources))) != 0) {
        if (errno != EFBIG || sources == control::min_sources) {
            return refused("ftruncate");
        }
        sources /= 2;
    }
    if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0 ||
        control::sources_in(file.get()) != sources) {
        return refused("F_ADD_SEALS");
    }
    void* const map =
        mmap(nullptr, control::shared_size(sources), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (map == MAP_FAILED) {
        return refused("mmap");
    }
    SharedMemory memory{std::move(file), sources, static_cast<control::SharedState*>(map)};
    control::prepare(*memory.map_, sources);
    if (getrandom(memory.map_->secret, sizeof memory.map_->secret, 0) !=
        static_cast<ssize_t>(sizeof memory.map_->secret)) {
        return refused("getrandom");
    }
    return memory;
}

tl::expected<SharedMemory, Failure> SharedMemory::adopt(Fd file) {
    const unsigned sources = control::sources_in(file.get());
    void* const map = sources == 0 ? MAP_FAILED
                                   : mmap(nullptr, control::shared_size(sources), PROT_READ | PROT_WRITE,
                                          MAP_SHARED, file.get(), 0);
    if (map == MAP_FAILED) {
        return tl::unexpected(Failure{
            ExitCode::SystemCall,
            fmt::format("cannot map the memory that generations share: mmap: {}", error_text(errno))});
    }
    SharedMemory memory{std::move(file), sources, static_cast<control::SharedState*>(map)};
    if (!control::is_sound(*memory.map_, sources)) {
        return tl::unexpected(Failure{ExitCode::Config, "the memory that generations share is of another "
                                                        "version; stop cloisterd and start the new one"});
    }
    return memory;
}

std::uint64_t SharedMemory::offences() const {
    std::uint64_t all = 0;
    const auto add = [&](const control::Counters& counters) {
        for (const ExitReason reason : {ExitReason::Violation, ExitReason::Crashed}) {
            all += counters.ends[static_cast<std::size_t>(reason)].load(relaxed);
        }
    };
    add(map_->ended);
    std::for_each(std::begin(map_->counters), std::end(map_->counters), add);
    return all;
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : file_{std::move(other.file_)}, sources_{other.sources_}, map_{std::exchange(other.map_, nullptr)} {}

SharedMemory::~SharedMemory() {
    if (map_ != nullptr) {
        (void)munmap(map_, control::shared_size(sources_));
    }
}

void SharedMemory::for_each_source(
    const std::function<void(const control::SourceTable&, control::SourceTable::Place)>& visit) const {
    const control::SourceTable table = sources();
    const auto first = static_cast<off_t>(sizeof(control::SharedState));
    const auto last = first + static_cast<off_t>(sources_ * sizeof(control::SourceEntry));
    const auto place_at = [&](off_t at) {
        return static_cast<control::SourceTable::Place>((std::clamp(at, first, last) - first) /
                                                        static_cast<off_t>(sizeof(control::SourceEntry)));
    };
    for (off_t data = first; (data = lseek(file_.get(), data, SEEK_DATA)) >= 0 && data < last;) {
        const off_t hole = lseek(file_.get(), data, SEEK_HOLE);
        for (auto place = place_at(data); place < place_at(hole); ++place) {
            visit(table, place);
        }
        if (hole <= data) {
            return;
        }
        data = hole;
    }
}

std::optional<unsigned> SharedMemory::take_row() {
    const std::uint64_t used = map_->rows.load(relaxed);
    const auto row = static_cast<unsigned>(std::countr_one(used));
    if (row >= control::max_rows) {
        return {};
    }
    map_->rows.store(used | std::uint64_t{1} << row, relaxed);
    return row;
}

void SharedMemory::release_row(unsigned row) {
    control::Counters& counters = map_->counters[row];
    control::Counters& ended = map_->ended;
    move_into(ended.connections, counters.connections);
    move_into(ended.untracked, counters.untracked);
    for (std::size_t i = 0; i < std::size(ended.ends); ++i) {
        move_into(ended.ends[i], counters.ends[i]);
    }
    for (std::size_t i = 0; i < std::size(ended.refusals); ++i) {
        move_into(ended.refusals[i], counters.refusals[i]);
    }
    counters.live.store(0, relaxed);
    sources().clear(row);
    map_->rows.store(map_->rows.load(relaxed) & ~(std::uint64_t{1} << row), relaxed);
}

} // namespace cloister::supervisor
