// SPDX-License-Identifier: MIT
#pragma once

#include "control/operator.h"
#include "supervisor/limits.h"

#include <string>
#include <vector>

namespace cloister::supervisor {

/// What the metrics tell.
struct Metrics {
    struct Service {
        control::Reply::Service counts;
        std::string policy_sha256;         ///< of all its policies
        std::uint64_t generations[4] = {}; ///< by Reply::State
        std::uint64_t setup_ns = 0;        ///< 0: not known
    };
    std::string version;
    double started = 0, now = 0; ///< Unix time
    std::uint64_t reloads = 0, reload_failures = 0, log_dropped = 0;
    bool reload_successful = true;
    std::vector<Bound> bounds;
    std::vector<Service> services;
};

/// The answer of HTTP/1.1 to a scraper: OpenMetrics 1.0, of base/metric_names.h.
[[nodiscard]] std::string page_of(const Metrics& metrics);

} // namespace cloister::supervisor
