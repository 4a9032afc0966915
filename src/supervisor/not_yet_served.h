// SPDX-License-Identifier: MIT
#pragma once

#include "config/model.h"

namespace cloister::supervisor {

/// Why this configuration, which is a good one, can't be served by this version; null if it can.
[[nodiscard]] inline const char* not_yet_served(const config::Config& config) {
    if (config.check) {
        return nullptr;
    }
    const config::Service& service = config.services.front();
    return service.handler != "echo" || !service.content.empty() || service.content_after_request
               ? "this version has no handler but echo, which sends no content; leave handler, content and "
                 "content-after away"
               : nullptr;
}

} // namespace cloister::supervisor
