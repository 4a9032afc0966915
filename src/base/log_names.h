// SPDX-License-Identifier: MIT
#pragma once

#include "base/log_format.h"

#include <cstdint>
#include <iterator>
#include <string_view>

/// Every event of the log, every field, and every reason for which a connection ends: what the code may
/// write, and what docs/log.md says (tests/docs/log_names.cpp prints it).
namespace cloister {

enum class ExitReason : std::uint8_t {
    Closed,
    Idle,
    Stalled,
    Reset,
    Lifetime,
    Cpu,
    Ended,
    Killed,
    Violation,
    Crashed,
    Resources,
    Bug,
    Unknown,
    Probe,
    SetupDescriptors,
    SetupDeathSignal,
    SetupOrphan,
    SetupCpuLimit,
    SetupLifetime,
    SetupPage,
};

// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order in which they are read
struct ExitReasonText {
    ExitReason reason;
    std::string_view name;
    Level level;
    std::string_view meaning;
};

/// In the order of ExitReason.
inline constexpr ExitReasonText exit_reasons[] = {
    {ExitReason::Closed, "closed", Level::info,
     "The client ended its stream, and all that it sent was handed to the kernel to send back. Whether that "
     "arrived is not known"},
    {ExitReason::Idle, "idle", Level::info, "Nothing was received for `--idle-timeout`"},
    {ExitReason::Stalled, "stalled", Level::info,
     "Nothing could be sent for that long: the client did not read, or the network did not deliver"},
    {ExitReason::Reset, "reset", Level::info,
     "The connection broke: reset by the client or on the way, timed out, or unreachable"},
    {ExitReason::Lifetime, "lifetime", Level::info, "SIGALRM: `--lifetime` was reached"},
    {ExitReason::Cpu, "cpu", Level::warning, "SIGXCPU: `--cpu-limit` was reached"},
    {ExitReason::Ended, "ended", Level::info, "SIGKILL, sent by the listener after the drain"},
    {ExitReason::Killed, "killed", Level::warning,
     "SIGKILL, not sent by the listener: memory ran out, or another process sent it"},
    {ExitReason::Violation, "violation", Level::error,
     "SIGSYS: the cell made a call that its policy does not allow"},
    {ExitReason::Crashed, "crashed", Level::error, "Any other signal"},
    {ExitReason::Resources, "resources", Level::warning, "The kernel had no memory for the connection"},
    {ExitReason::Bug, "bug", Level::error, "The kernel answered what it cannot"},
    {ExitReason::Unknown, "unknown", Level::error, "An exit code that no cell has"},
    {ExitReason::Probe, "probe", Level::debug,
     "The client went without having said anything, before `--idle-timeout`: a health check or a port scan. "
     "It has no other consequence"},
    {ExitReason::SetupDescriptors, "setup-descriptors", Level::error,
     "The cell could not close the other descriptors. It received nothing, as in all that follow"},
    {ExitReason::SetupDeathSignal, "setup-death-signal", Level::error,
     "It could not ask to be ended with the listener"},
    {ExitReason::SetupOrphan, "setup-orphan", Level::error, "Its listener had ended"},
    {ExitReason::SetupCpuLimit, "setup-cpu-limit", Level::error, "It could not set its CPU limit"},
    {ExitReason::SetupLifetime, "setup-lifetime", Level::error, "It could not set its lifetime"},
    {ExitReason::SetupPage, "setup-page", Level::error, "It could not unmap the page of its setup call site"},
};

constexpr bool are_in_order() {
    for (std::size_t i = 0; i < std::size(exit_reasons); ++i) {
        if (static_cast<std::size_t>(exit_reasons[i].reason) != i) {
            return false;
        }
    }
    return std::size(exit_reasons) == static_cast<std::size_t>(ExitReason::SetupPage) + 1;
}
static_assert(are_in_order());

constexpr const ExitReasonText& text_of(ExitReason reason) {
    return exit_reasons[static_cast<std::size_t>(reason)];
}
constexpr bool is_failed_setup(ExitReason reason) {
    return reason >= ExitReason::SetupDescriptors;
}

/// Why a client got no cell.
enum class Refusal : std::uint8_t {
    Source,
    Network,
    Rate,
    NetworkRate,
    Penalty,
    Reserved,
    Loop,
    Port,
};

struct RefusalText {
    Refusal refusal;
    std::string_view name;
    std::string_view meaning;
};

/// In the order of Refusal.
inline constexpr RefusalText refusals[] = {
    {Refusal::Source, "source", "Its source has `--max-per-source` connections"},
    {Refusal::Network, "network", "Its network, the wider source, has `--max-per-network` connections"},
    {Refusal::Rate, "rate", "Its source connects more often than `--source-rate` allows"},
    {Refusal::NetworkRate, "network-rate", "Its network connects more often than `--network-rate` allows"},
    {Refusal::Penalty, "penalty",
     "Its source is shut out for a time: a cell of it crashed or broke its policy, or it was over its rate "
     "for `--over-rate-penalty`"},
    {Refusal::Reserved, "reserved", "The places that are left are kept for exempt sources (`--reserve`)"},
    {Refusal::Loop, "loop", "It connects from one of our own listening sockets"},
    {Refusal::Port, "port", "It connects from a port below 1024, and `--privileged-ports` is `refuse`"},
};

constexpr bool refusals_are_in_order() {
    for (std::size_t i = 0; i < std::size(refusals); ++i) {
        if (static_cast<std::size_t>(refusals[i].refusal) != i) {
            return false;
        }
    }
    return std::size(refusals) == static_cast<std::size_t>(Refusal::Port) + 1;
}
static_assert(refusals_are_in_order());

constexpr const RefusalText& text_of(Refusal refusal) {
    return refusals[static_cast<std::size_t>(refusal)];
}

struct EventText {
    std::string_view name;
    std::string_view levels; ///< `error`, or several with spaces between them
    std::string_view meaning;
    std::string_view fields; ///< besides ts, level and event; with spaces between them, `?`: not always there
};

inline constexpr EventText events[] = {
    {"ready", "info", "A service is ready: its listener serves",
     "service pid listener? generation listener_pid listen policy_sha256 landlock_abi "
     "capability_bounding_set "
     "speculation limits"},
    {"started", "info", "Every service has become ready for the first time",
     "services landlock_abi control_socket?"},
    {"connection", "debug info warning error", "A connection has ended",
     "conn pid socket peer start duration_ms reason exit signal cpu_us maxrss_kb"},
    {"violation", "error",
     "A cell was ended by SIGSYS, as one that breaks the policy is; the record `connection` follows",
     "conn pid socket peer"},
    {"refused", "info",
     "Clients got no cell, and were reset at once. Of each reason the first ten in ten seconds are logged, "
     "and then how many more there were",
     "reason socket? peer? source? limit? wait_ms? more?"},
    {"refused_mostly", "warning",
     "In the last minute most refusals, at least 100, were of one source. It may be a proxy, behind which "
     "every client is one source: exempt it",
     "source count of message"},
    {"penalty", "warning", "A source is shut out", "source reason turn duration_ms"},
    {"paused", "warning",
     "The kernel had no room for a connection, a cell or a releaser; logged at most once a minute",
     "call error peer live times"},
    {"limit", "warning info",
     "At start: a limit of the system binds before ours (`allows`), or a buffer is smaller than "
     "`--socket-buffer`, at level `info` where that is the default (`socket_buffer`)",
     "service? limit is allows? max_connections? socket_buffer? message"},
    {"warning", "warning", "Something protects less than it could, or cannot be reached", "message"},
    {"listener_died", "error", "A listener has ended by itself and is replaced", "service pid exit? signal?"},
    {"listener_failed", "error",
     "A listener could not start, or was ended because it misbehaved; another one is tried",
     "service message"},
    {"service_down", "error",
     "The listeners of a service ended again and again; it is tried again later, while other services go on",
     "service failures retry_ms message"},
    {"service_waiting", "warning",
     "A service has no listener: there is no room for one, or somebody kills or stops it; it is tried for as "
     "long as it takes. Logged at the failures 1, 2, 4, 8, …",
     "service failures retry_ms message"},
    {"listener_silent", "warning",
     "A listener has not answered the supervisor; after 12 s it is killed, and replaced if it served",
     "service pid silent_ms"},
    {"socket_unreachable", "warning", "A socket cannot be reached from where cloisterd stands",
     "service socket message"},
    {"socket_busy", "info", "A socket was not tried to the end: clients that wait there are served first",
     "service socket message"},
    {"log_relay_died", "error",
     "The log relay has ended and is replaced; up to 4 KiB of records that it held are lost",
     "pid exit? signal?"},
    {"log_dropped", "warning", "Records were lost, since the log took no more or refused them",
     "process count"},
    {"reloading", "info", "HUP came, or `cloister reload`: the configuration is read again", ""},
    {"reload_waits", "info warning",
     "A reload waits for an earlier one, or for a generation that still has connections", "service? message"},
    {"reloaded", "info", "The new configuration is in effect", "changed added removed"},
    {"reload_failed", "error", "It is not, or not for all services; what served before goes on",
     "changed added removed message"},
    {"upgrading", "info", "USR2 came: the new binary is tried", "binary"},
    {"upgraded", "info", "The new binary serves: each service has a new generation",
     "from version changed added removed"},
    {"upgrade_failed", "error", "It does not, or not for all services; what served before goes on",
     "from? version? changed? added? removed? message"},
    {"fresh_layout", "warning",
     "Cells crashed or broke their policy: a new generation, whose memory lies elsewhere; at most one a "
     "minute",
     "service count"},
    {"status", "info", "USR1 came: what each service does",
     "service live max_connections connections refused draining"},
    {"stopping", "info", "TERM or INT came: nobody is accepted any more", "signal drain_timeout_ms"},
    {"draining", "info", "While cloisterd stops, every 5 s: how many connections are left", "live"},
    {"stopped", "info", "The last listener has ended, and cloisterd ends", "exit"},
    {"fatal", "error", "A process ends because of an error", "process exit message step errno? cure?"},
};

struct FieldText {
    std::string_view name;
    std::string_view meaning;
};

inline constexpr FieldText fields[] = {
    {"ts", "When, RFC 3339 in UTC with milliseconds"},
    {"level", "`error`, `warning`, `notice`, `info` or `debug`"},
    {"event", "See above"},
    {"truncated",
     "`true`: the record would have been longer than 4096 bytes, and texts were cut or fields left out"},
    {"added", "The services that are new"},
    {"allows", "How many connections that limit leaves room for"},
    {"binary", "The path of the program"},
    {"call", "The system call that failed"},
    {"capability_bounding_set", "`empty`, or why it is not"},
    {"changed", "The services that have a new generation"},
    {"conn", "The connection's number, from 1 on in each listener"},
    {"connections", "How many had a cell since cloisterd began"},
    {"control_socket", "Where `cloister status`, `reload` and `explain` ask; or why nowhere"},
    {"count", "How many of that"},
    {"cpu_us", "CPU time of the cell, in microseconds"},
    {"cure", "What to do about it, where that is known"},
    {"drain_timeout_ms", "`--drain-timeout`"},
    {"draining", "How many earlier generations still have connections"},
    {"duration_ms", "From accept to the cell's end; of a penalty, for how long"},
    {"errno", "The name of the error that the kernel gave, such as `EPERM`"},
    {"error", "The error that the kernel gave, in words"},
    {"exit", "An exit code; `null` after a signal"},
    {"failures", "How many in a row"},
    {"from", "The version before"},
    {"generation", "Counts the listeners of the service that were started"},
    {"is", "The limit's value"},
    {"landlock_abi",
     "Of the kernel; 0: it has no Landlock. Of `ready`: around the listener; of `started`: the supervisor"},
    {"limit", "The limit's name; of a refused client, its value"},
    {"limits", "What is enforced: `max_connections` and the times in milliseconds"},
    {"listen", "The names of the sockets"},
    {"listener", "Which of the service's listeners it is, where it has several: `2 of 4`"},
    {"listener_pid", "The listener's process number"},
    {"live", "How many connections there are"},
    {"max_connections", "`--max-connections`; of all services together where a limit is shared"},
    {"maxrss_kb", "What the kernel accounts; 0 for a process as small as a cell since Linux 6.2"},
    {"message", "A sentence: what happened, why, and the cure"},
    {"more", "How many more clients were refused for this reason"},
    {"of", "How many refusals there were"},
    {"peer", "The client's address; of a unix socket its user and process"},
    {"pid", "A process number: the supervisor's, the cell's, or that of the process that ended"},
    {"policy_sha256", "The SHA-256 of each policy's text, by its name"},
    {"process", "`supervisor`, `listener` or `relay`: who writes this"},
    {"reason", "See below"},
    {"refused", "How many clients got no cell since cloisterd began"},
    {"removed", "The services that are there no more"},
    {"retry_ms", "When the next one is tried, in milliseconds"},
    {"service", "The name of the service"},
    {"services", "How many services there are"},
    {"signal", "The number of a signal; `null` after an exit"},
    {"silent_ms", "Since it was asked, in milliseconds"},
    {"socket", "The name of the listening socket"},
    {"socket_buffer", "`--socket-buffer` in bytes"},
    {"source",
     "Clients whose address begins alike: `192.0.2.1`, `2001:db8::/64`; or the user of a unix socket, "
     "`uid:1000`"},
    {"speculation", "What holds in the listener and its cells for each kind of speculation that a process "
                    "may disable: `disabled`, "
                    "`not affected`, `vulnerable` (the kernel offers no control), `unknown`"},
    {"start", "When the connection was accepted"},
    {"step", "What was tried"},
    {"times", "How often since the last such record"},
    {"turn", "How often in a row; the time doubles with each"},
    {"version", "The version of cloisterd"},
    {"wait_ms", "After which time it is let in again, in milliseconds"},
};

void this_event_is_not_in_base_log_names(); ///< of the compiler's message

/// The name of an event: one of the table, or it does not compile.
class EventName {
  public:
    // NOLINTNEXTLINE(google-explicit-constructor): stands where a literal is written
    consteval EventName(const char* name) : name_{name} {
        bool found = false;
        for (const EventText& event : events) {
            found = found || event.name == name_;
        }
        if (!found) {
            this_event_is_not_in_base_log_names();
        }
    }
    [[nodiscard]] constexpr std::string_view text() const { return name_; }

  private:
    std::string_view name_;
};

} // namespace cloister
