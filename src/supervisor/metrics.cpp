// SPDX-License-Identifier: MIT
#include "supervisor/metrics.h"

#include "base/log_names.h"
#include "base/metric_names.h"

#include <fmt/format.h>
#include <iterator>

namespace cloister::supervisor {
namespace {

/// Label values are names of services and handlers, hashes, versions, and names of limits: none has a quote,
/// a backslash or a line break, which would have to be escaped.
class Page {
  public:
    template <typename Samples>
    void family(Metric metric, Samples samples) {
        family_ = &metrics[static_cast<std::size_t>(metric)];
        fmt::format_to(out(), "# TYPE {} {}\n", family_->name, name_of(family_->type));
        if (constexpr std::string_view unit = "_seconds"; family_->name.ends_with(unit)) {
            fmt::format_to(out(), "# UNIT {} {}\n", family_->name, unit.substr(1));
        }
        fmt::format_to(out(), "# HELP {} {}.\n", family_->name, family_->meaning);
        samples();
    }
    /// `labels`: `a="b",c="d"`, or empty.
    template <typename Value>
    void sample(std::string_view labels, Value value) {
        fmt::format_to(out(), "{}{}", family_->name, suffix_of(family_->type));
        if (!labels.empty()) {
            fmt::format_to(out(), "{{{}}}", labels);
        }
        fmt::format_to(out(), " {}\n", value);
    }
    template <typename Value>
    void one(Metric metric, Value value) {
        family(metric, [&] { sample("", value); });
    }
    [[nodiscard]] std::string finish() && {
        text_ += "# EOF\n";
        return std::move(text_);
    }

  private:
    [[nodiscard]] std::back_insert_iterator<std::string> out() { return std::back_inserter(text_); }
    const MetricText* family_ = nullptr;
    std::string text_;
};

std::string body_of(const Metrics& metrics) {
    using Service = Metrics::Service;
    Page page;
    const auto each = [&](Metric metric, auto value) {
        page.family(metric, [&] {
            for (const Service& service : metrics.services) {
                page.sample(fmt::format("service=\"{}\"", service.counts.name), value(service));
            }
        });
    };
    const auto by_reason = [&](Metric metric, const auto& reasons, auto values) {
        page.family(metric, [&] {
            for (const Service& service : metrics.services) {
                for (std::size_t i = 0; i < std::size(reasons); ++i) {
                    page.sample(
                        fmt::format("service=\"{}\",reason=\"{}\"", service.counts.name, reasons[i].name),
                        values(service)[i]);
                }
            }
        });
    };
    page.family(Metric::Build, [&] {
        for (const Service& service : metrics.services) {
            page.sample(fmt::format("version=\"{}\",service=\"{}\",handler=\"{}\",policy_sha256=\"{}\"",
                                    metrics.version, service.counts.name, service.counts.handler,
                                    service.policy_sha256),
                        1);
        }
    });
    page.one(Metric::StartTime, fmt::format("{:.3f}", metrics.started));
    page.one(Metric::PageTime, fmt::format("{:.3f}", metrics.now));
    page.one(Metric::Reloads, metrics.reloads);
    page.one(Metric::ReloadFailures, metrics.reload_failures);
    page.one(Metric::ReloadSuccessful, metrics.reload_successful ? 1 : 0);
    page.one(Metric::LogDropped, metrics.log_dropped);
    page.family(Metric::SystemLimit, [&] {
        for (const Bound& bound : metrics.bounds) {
            page.sample(fmt::format("limit=\"{}\"", bound.name), bound.allows);
        }
    });
    each(Metric::Connections, [](const Service& service) { return service.counts.connections; });
    each(Metric::Live, [](const Service& service) { return service.counts.live; });
    by_reason(Metric::Ends, exit_reasons, [](const Service& service) { return service.counts.ends; });
    each(Metric::Violations, [](const Service& service) {
        return service.counts.ends[static_cast<std::size_t>(ExitReason::Violation)];
    });
    by_reason(Metric::Refusals, refusals, [](const Service& service) { return service.counts.refusals; });
    each(Metric::Untracked, [](const Service& service) { return service.counts.untracked; });
    each(Metric::Penalised, [](const Service& service) { return service.counts.penalised; });
    each(Metric::MaxConnections, [](const Service& service) { return service.counts.max_connections; });
    each(Metric::Configured, [](const Service& service) { return service.counts.configured; });
    each(Metric::Reserved, [](const Service& service) { return service.counts.reserved; });
    each(Metric::MaxPerSource, [](const Service& service) { return service.counts.max_per_source; });
    page.family(Metric::Generations, [&] {
        constexpr std::string_view states[] = {"starting", "serving", "draining", "ending"};
        for (const Service& service : metrics.services) {
            for (std::size_t i = 0; i < std::size(states); ++i) {
                page.sample(fmt::format("service=\"{}\",state=\"{}\"", service.counts.name, states[i]),
                            service.generations[i]);
            }
        }
    });
    each(Metric::Failures, [](const Service& service) { return service.counts.failures; });
    page.family(Metric::CellSetup, [&] {
        for (const Service& service : metrics.services) {
            if (service.setup_ns != 0) {
                page.sample(fmt::format("service=\"{}\"", service.counts.name),
                            fmt::format("{:.9f}", static_cast<double>(service.setup_ns) / 1e9));
            }
        }
    });
    return std::move(page).finish();
}

} // namespace

std::string page_of(const Metrics& metrics) {
    const std::string body = body_of(metrics);
    return fmt::format("HTTP/1.1 200 OK\r\n"
                       "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"
                       "Content-Length: {}\r\n"
                       "Connection: close\r\n"
                       "\r\n{}",
                       body.size(), body);
}

} // namespace cloister::supervisor
