// SPDX-License-Identifier: MIT
//
// The loop's part of the metrics: once a second it writes a page of them, if a service serves them.
#include "policy/sha256.h"
#include "supervisor/loop.h"

#include <algorithm>
#include <chrono>
#include <fmt/core.h>

namespace cloister::supervisor {
namespace {

constexpr std::chrono::seconds renewed_after{1};

double seconds(std::chrono::nanoseconds time) {
    return std::chrono::duration<double>{time}.count();
}

/// Empty of a service that an earlier program of this process has configured.
std::string hash_of(const Setup& setup) {
    if (setup.policies == nullptr) {
        return {};
    }
    std::string lines;
    for (const auto& [name, hash] : setup.policies->hashes()) {
        lines += fmt::format("{} {}\n", name, hash);
    }
    return policy::sha256_hex(lines);
}

} // namespace

Metrics Loop::metrics() const {
    Metrics metrics;
    const std::chrono::nanoseconds age =
        std::chrono::steady_clock::now().time_since_epoch() - std::chrono::nanoseconds{started_ns_};
    metrics.version = control::own_build().name();
    metrics.now = seconds(std::chrono::system_clock::now().time_since_epoch());
    metrics.started = metrics.now - seconds(age);
    metrics.reloads = reloads_;
    metrics.reload_failures = reload_failures_;
    metrics.reload_successful = reload_successful_;
    metrics.log_dropped = log_.dropped();
    metrics.bounds = bounds_;
    for (std::size_t i = 0; i < services_.size(); ++i) {
        const auto& setup = services_[i].setup;
        if (setup == nullptr || !is_first(i)) {
            continue;
        }
        Metrics::Service service{describe(*setup).service, hash_of(*setup)};
        for (const auto& [id, running] : running_) {
            if (const auto stage = machine_.stage(id); is_of(running, *setup) && stage) {
                ++service.generations[static_cast<std::size_t>(*stage)];
                service.setup_ns =
                    *stage == Stage::serving ? running.generation.setup_ns() : service.setup_ns;
            }
        }
        metrics.services.push_back(std::move(service));
    }
    return metrics;
}

/// While a self-test compares what came back with the newest page, that stays.
bool Loop::is_page_tested() const {
    return std::any_of(running_.begin(), running_.end(), [](const auto& running) {
        return running.second.generation.serves_metrics() && running.second.generation.is_tested();
    });
}

void Loop::publish_metrics() {
    const auto now = std::chrono::steady_clock::now();
    if (!pages_ || now < page_due_) {
        return;
    }
    page_due_ = now + renewed_after;
    if (!is_page_tested()) {
        pages_->publish(page_of(metrics()));
    }
}

void Loop::reload_ended(bool successful) {
    ++reloads_;
    reload_failures_ += successful ? 0 : 1;
    reload_successful_ = successful;
}

} // namespace cloister::supervisor
