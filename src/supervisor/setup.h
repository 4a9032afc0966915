// SPDX-License-Identifier: MIT
#pragma once

#include "config/model.h"
#include "supervisor/content.h"
#include "supervisor/file_access.h"
#include "supervisor/oom_score.h"
#include "supervisor/programs.h"
#include "supervisor/shared_memory.h"
#include "supervisor/sockets.h"
#include "supervisor/state_machine.h"

#include <functional>
#include <memory>
#include <vector>

namespace cloister::supervisor {

/// What every generation of a service is started from: a service as it is configured, with everything open.
/// Another configuration is another Setup; a generation keeps the one that it was started from.
struct Setup {
    config::Service service;
    std::vector<std::shared_ptr<ListeningSocket>> sockets{};
    std::shared_ptr<const Fd> binary{}; ///< the listener's program; opened as who we were at the start
    std::shared_ptr<const Policies> policies{}; ///< the shared ones, and its handler's
    std::shared_ptr<const ServedContent> content{};
    std::shared_ptr<SharedMemory> shared{};
    unsigned max_connections = 0; ///< what was asked for, or fewer where the system allows no more
    unsigned log_slot = 0;        ///< of the log relay's pipes
};

/// What all services have in common, and does not change while cloisterd runs.
struct Host {
    const OomScore& oom_score;
    LogFormat log_format;
    bool log_priorities;
    bool groups_empty;
    bool bounding_empty;
    FileAccess file_access;
};

/// How cloisterd was started.
struct Invocation {
    const char* const* arguments = nullptr; ///< of main
    std::filesystem::path path{};           ///< of the program; empty: not known
};

/// Opens the program of a service's listener.
using OpenBinary = std::function<tl::expected<Fd, Failure>(const config::Service&)>;

/// Fills `binary` of each. With the privileges that cloisterd was started with, while there are any.
[[nodiscard]] tl::expected<void, Failure> open_binaries(std::vector<Setup>& setups,
                                                        const OpenBinary& open_binary);

/// Opens the policies of all handlers (open_policies).
[[nodiscard]] tl::expected<OpenedPolicies, Failure> open_policies_of(const config::Config& config);

/// Fills `policies`, `content`, and `shared` where there is none. Not as root.
[[nodiscard]] tl::expected<void, Failure> load(std::vector<Setup>& setups, const OpenedPolicies& opened);

/// Places that only exempt clients get.
[[nodiscard]] unsigned reserved_places(const Setup& setup);

/// Its listening sockets of TCP.
[[nodiscard]] std::vector<control::OwnSocket> own_sockets(const Setup& setup);

/// Of one of its listeners, from 0 on. The first one tries the public sockets.
[[nodiscard]] ServiceSpec spec_of(const Setup& setup, unsigned listener);

/// Whether a generation that was started from `a` serves as one that would be started from `b`.
[[nodiscard]] bool same(const Setup& a, const Setup& b);

} // namespace cloister::supervisor
