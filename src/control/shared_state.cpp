// SPDX-License-Identifier: MIT
#include "control/shared_state.h"

#include "base/die.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace cloister::control {
namespace {

constexpr char magic[8] = {'s', 'h', 'a', 'r', 'e', 'd', '-', 's'};

} // namespace

std::uint64_t label_of(const Source& source) {
    return std::uint64_t{static_cast<std::uint8_t>(source.kind)} << 8U | source.prefix;
}

void store_address(const Source& source, Word (&address)[2]) {
    for (unsigned i = 0; i < 2; ++i) {
        std::uint64_t word = 0;
        std::memcpy(&word, source.address + std::size_t{8} * i, sizeof word);
        address[i].store(word, std::memory_order_relaxed);
    }
}

Source load_source(const Word (&address)[2], std::uint64_t label) {
    Source source;
    for (unsigned i = 0; i < 2; ++i) {
        const std::uint64_t word = address[i].load(std::memory_order_relaxed);
        std::memcpy(source.address + std::size_t{8} * i, &word, sizeof word);
    }
    const auto kind = static_cast<std::uint8_t>(label >> 8U);
    source.kind =
        kind <= static_cast<std::uint8_t>(Source::Kind::user) ? Source::Kind{kind} : Source::Kind::none;
    source.prefix = std::min(static_cast<std::uint8_t>(label), ipv6_bits);
    return source;
}

void prepare(SharedState& state, unsigned sources) {
    std::memcpy(state.magic, magic, sizeof magic);
    state.version = shared_state_version;
    state.sources = sources;
}

bool is_sound(const SharedState& state, unsigned sources) {
    return std::memcmp(state.magic, magic, sizeof magic) == 0 && state.version == shared_state_version &&
           state.sources == sources;
}

void write_own_sockets(SharedState& state, std::span<const OwnSocket> sockets) {
    for (std::size_t i = 0; i < max_own_sockets; ++i) {
        const OwnSocket socket = i < sockets.size() ? sockets[i] : OwnSocket{};
        OwnSocketEntry& entry = state.own[i];
        entry.label.store(0, std::memory_order_relaxed); // it is none while it changes
        store_address(socket.address, entry.address);
        entry.label.store(std::uint64_t{socket.port} << 16U | label_of(socket.address),
                          std::memory_order_release);
    }
}

OwnSocket own_socket(const SharedState& state, unsigned index) {
    const OwnSocketEntry& entry = state.own[index];
    const std::uint64_t label = entry.label.load(std::memory_order_acquire);
    return {load_source(entry.address, label), static_cast<std::uint16_t>(label >> 16U)};
}

unsigned sources_in(int fd) {
    constexpr int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    const int seals = fcntl(fd, F_GET_SEALS); // -1 has all bits
    struct stat status {};
    if (seals < 0 || (seals & wanted) != wanted || fstat(fd, &status) != 0) {
        return 0;
    }
    for (unsigned sources = min_sources; sources <= max_sources; sources *= 2) {
        if (status.st_size == static_cast<off_t>(shared_size(sources))) {
            return sources;
        }
    }
    return 0;
}

SharedState& open_shared_state(int fd, unsigned& sources) {
    sources = sources_in(fd);
    if (sources == 0) {
        bug("the shared state of the service is not sealed, or has a size that none has");
    }
    void* const mapped = mmap(nullptr, shared_size(sources), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        die(ExitCode::SystemCall, "cannot map the shared state of the service: mmap: %s", error_text(errno));
    }
    auto& state = *static_cast<SharedState*>(mapped);
    if (!is_sound(state, sources)) {
        bug("the shared state of the service has version %u, not %u", state.version, shared_state_version);
    }
    return state;
}

} // namespace cloister::control
