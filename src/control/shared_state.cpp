// SPDX-License-Identifier: MIT
#include "control/shared_state.h"

#include "base/die.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace cloister::control {
namespace {

constexpr char magic[8] = {'s', 'h', 'a', 'r', 'e', 'd', '-', 's'};

} // namespace

void prepare(SharedState& state, unsigned sources) {
    std::memcpy(state.magic, magic, sizeof magic);
    state.version = shared_state_version;
    state.sources = sources;
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
    if (std::memcmp(state.magic, magic, sizeof magic) != 0 || state.version != shared_state_version ||
        state.sources != sources) {
        bug("the shared state of the service has version %u, not %u", state.version, shared_state_version);
    }
    return state;
}

} // namespace cloister::control
