// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <iterator>
#include <string_view>

/// Every metric that is served: what the code may write, and what docs/metrics.md says
/// (tests/docs/log_names.cpp prints it). Names, types and suffixes are those of OpenMetrics 1.0.
namespace cloister {

enum class Metric : unsigned {
    Build,
    StartTime,
    PageTime,
    Reloads,
    ReloadFailures,
    ReloadSuccessful,
    LogDropped,
    SystemLimit,
    Connections,
    Live,
    Ends,
    Violations,
    Refusals,
    Untracked,
    Penalised,
    MaxConnections,
    Configured,
    Reserved,
    MaxPerSource,
    Generations,
    Failures,
    CellSetup,
};

enum class MetricType : unsigned char { counter, gauge, info };

// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order in which they are read
struct MetricText {
    Metric metric;
    std::string_view name; ///< of the family; a counter's sample has `_total` behind it, an info's `_info`
    MetricType type;
    std::string_view labels; ///< with spaces between them
    std::string_view meaning;
};

/// In the order of Metric.
inline constexpr MetricText metrics[] = {
    {Metric::Build, "cloister_build", MetricType::info, "version service handler policy_sha256",
     "What serves; policy_sha256 is the SHA-256 of the lines `NAME HASH` of the policies in the record "
     "ready"},
    {Metric::StartTime, "cloister_start_time_seconds", MetricType::gauge, "",
     "When cloisterd was started, Unix time; an upgrade does not change it"},
    {Metric::PageTime, "cloister_page_time_seconds", MetricType::gauge, "",
     "When this page was written, Unix time: once a second"},
    {Metric::Reloads, "cloister_reloads", MetricType::counter, "",
     "Reloads and upgrades that came to an end"},
    {Metric::ReloadFailures, "cloister_reload_failures", MetricType::counter, "",
     "Reloads and upgrades that failed, for one service at least"},
    {Metric::ReloadSuccessful, "cloister_reload_successful", MetricType::gauge, "",
     "1: the last reload or upgrade succeeded, or there was none; 0: what served before goes on"},
    {Metric::LogDropped, "cloister_log_dropped_records", MetricType::counter, "",
     "Records of the supervisor that were lost, since the log took no more"},
    {Metric::SystemLimit, "cloister_system_limit_connections", MetricType::gauge, "limit",
     "Connections of all services together that a limit of the system allows, where these are fewer than "
     "configured"},
    {Metric::Connections, "cloister_connections", MetricType::counter, "service",
     "Connections that were given to a cell"},
    {Metric::Live, "cloister_live_connections", MetricType::gauge, "service", "Connections now"},
    {Metric::Ends, "cloister_ends", MetricType::counter, "service reason",
     "Connections that have ended, by exit reason"},
    {Metric::Violations, "cloister_violations", MetricType::counter, "service",
     "Cells that made a call that their policy does not allow, the ends of reason violation"},
    {Metric::Refusals, "cloister_refusals", MetricType::counter, "service reason",
     "Clients that got no cell, by reason"},
    {Metric::Untracked, "cloister_untracked_connections", MetricType::counter, "service",
     "Connections that found no room in the source table, and so had no limits of a source"},
    {Metric::Penalised, "cloister_penalised_sources", MetricType::gauge, "service",
     "Sources that are shut out now"},
    {Metric::MaxConnections, "cloister_max_connections", MetricType::gauge, "service",
     "Connections at a time: as configured, or fewer where the system allows no more"},
    {Metric::Configured, "cloister_configured_max_connections", MetricType::gauge, "service",
     "Connections at a time, as configured"},
    {Metric::Reserved, "cloister_reserved_connections", MetricType::gauge, "service",
     "Of these, those that are kept for exempt sources"},
    {Metric::MaxPerSource, "cloister_max_per_source", MetricType::gauge, "service",
     "Connections at a time of one source"},
    {Metric::Generations, "cloister_generations", MetricType::gauge, "service state",
     "Listener processes: starting, serving, draining, ending"},
    {Metric::Failures, "cloister_listener_failures", MetricType::gauge, "service",
     "Listeners that failed, one after the other; 0 when one serves"},
    {Metric::CellSetup, "cloister_cell_setup_seconds", MetricType::gauge, "service",
     "From clone(2) to the end of a cell that did its whole setup and one call; the least of the last start"},
};

constexpr bool metrics_are_in_order() {
    for (std::size_t i = 0; i < std::size(metrics); ++i) {
        if (static_cast<std::size_t>(metrics[i].metric) != i) {
            return false;
        }
    }
    return std::size(metrics) == static_cast<std::size_t>(Metric::CellSetup) + 1;
}
static_assert(metrics_are_in_order());

constexpr std::string_view name_of(MetricType type) {
    return type == MetricType::counter ? "counter" : type == MetricType::gauge ? "gauge" : "info";
}

/// Behind the family's name in each sample.
constexpr std::string_view suffix_of(MetricType type) {
    return type == MetricType::counter ? "_total" : type == MetricType::gauge ? "" : "_info";
}

} // namespace cloister
