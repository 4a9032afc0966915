// SPDX-License-Identifier: MIT
//
// What the loop tells the service manager.
#include "supervisor/loop.h"

#include <fmt/format.h>

namespace cloister::supervisor {

std::string Loop::status_line() const {
    std::uint64_t live = 0;
    std::size_t draining = 0;
    for (const auto& [id, running] : running_) {
        live += running.generation.live();
        draining += machine_.stage(id) == Stage::draining ? 1U : 0U;
    }
    if (machine_.stage() == Stage::draining) {
        return fmt::format("STATUS=stopping: {} connections are left", live);
    }
    return fmt::format("STATUS=serving {} services, {} connections{}", config_.services.size(), live,
                       draining == 0 ? "" : fmt::format("; {} earlier listeners drain", draining));
}

/// Every now and then: that the listeners answer, how many connections there are, and, while they end, that
/// it takes longer.
void Loop::notify_in_time() {
    constexpr std::chrono::seconds status_every{5};
    constexpr std::chrono::seconds extension{20}; // of TimeoutStopSec=, again and again
    const auto now = Notifier::Clock::now();
    if (auto why = notifier_.take_why_not(); !why.empty()) {
        log_.write(Record{Level::warning, "warning"}.add("message", why));
    }
    if (notifier_.watchdog() && now >= watchdog_due_ && machine_.listeners_answer()) {
        watchdog_due_ = now + *notifier_.watchdog();
        notifier_.send("WATCHDOG=1");
    }
    const bool stopping = machine_.stage() == Stage::draining;
    if ((!notifier_.wanted() && !stopping) || now < status_due_) {
        return;
    }
    status_due_ = now + status_every;
    if (stopping && said_stopping_) {
        std::uint64_t live = 0;
        for (const auto& [id, running] : running_) {
            live += running.generation.live();
        }
        log_.write(Record{Level::info, "draining"}.add("live", live));
        notifier_.send(fmt::format("EXTEND_TIMEOUT_USEC={}\n{}",
                                   std::chrono::duration_cast<std::chrono::microseconds>(extension).count(),
                                   status_line()));
    } else if (machine_.stage() == Stage::serving) {
        notifier_.send(status_line());
    }
}

/// When notify_in_time() has something to do.
std::optional<Time> Loop::notify_due() const {
    const auto at = [](Notifier::Clock::time_point time) {
        return std::chrono::ceil<Time>(time.time_since_epoch());
    };
    std::optional<Time> due;
    if (notifier_.watchdog()) {
        due = at(watchdog_due_);
    }
    if (notifier_.wanted() || said_stopping_) {
        due = due ? std::min(*due, at(status_due_)) : at(status_due_);
    }
    return due;
}

} // namespace cloister::supervisor
