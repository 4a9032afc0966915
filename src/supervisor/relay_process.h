// SPDX-License-Identifier: MIT
#pragma once

#include "base/log_format.h"
#include "confine/confine.h"

#include <linux/filter.h>
#include <span>
#include <sys/types.h>

namespace cloister::supervisor {

/// What a log relay does and from what it is confined with.
struct RelayPlan {
    std::span<const int> pipes; ///< read ends, with O_DIRECT: a read takes what one write has put in
    std::span<const sock_filter> program;
    confine::Expected expected; ///< of /proc/self/status
    LogFormat format;           ///< of its own records
    bool priorities;
    bool after_another; ///< which may have been killed within a line
    pid_t supervisor;   ///< who has forked us
    int ready_fd;       ///< gets one byte when it is confined, and is closed
};

/// For a fresh child of the supervisor, which has no privileges: becomes the log relay. It keeps stderr and
/// the pipes, confines itself by its program, Landlock and resource limits, reads all that back, or dies.
/// Then it writes to stderr what comes through the pipes, one packet after the other, each of whole lines,
/// and ends when all writers have. A write to stderr may take for ever. A line that was torn by an error is
/// ended before the next one, and what could not be written is counted and logged (`log_dropped`).
[[noreturn]] void become_relay(const RelayPlan& plan);

} // namespace cloister::supervisor
