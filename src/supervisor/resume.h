// SPDX-License-Identifier: MIT
#pragma once

#include "supervisor/control_socket.h"
#include "supervisor/handover.h"
#include "supervisor/setup.h"

#include <memory>
#include <optional>
#include <vector>

namespace cloister::supervisor {

/// What a state that was handed over names, owned again.
struct Resumed {
    std::vector<std::shared_ptr<const Setup>>
        setups; ///< of its services; they have a name, sockets and memory
    std::optional<ControlSocket> control;
};
/// Failure: Config or SystemCall; what it names is not what it says.
[[nodiscard]] tl::expected<Resumed, Failure> take_over(const Handover& state);

} // namespace cloister::supervisor
