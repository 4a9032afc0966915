// SPDX-License-Identifier: MIT
// Prints what docs/log.md says from `## Events` on; with an argument, what docs/metrics.md says from
// `## Metrics` on.
#include "base/log_names.h"
#include "base/metric_names.h"

#include <fmt/core.h>
#include <string>

namespace {

/// `a b? c` as Markdown: `a` `b`? `c`
std::string as_code(std::string_view words, std::string_view separator) {
    std::string text;
    while (!words.empty()) {
        const auto end = std::min(words.find(' '), words.size());
        const bool optional = words[end - 1] == '?';
        text += fmt::format("{}`{}`{}", text.empty() ? "" : separator,
                            words.substr(0, end - (optional ? 1 : 0)), optional ? "?" : "");
        words.remove_prefix(std::min(end + 1, words.size()));
    }
    return text;
}

std::string_view name_of(cloister::Level level) {
    return level == cloister::Level::error     ? "error"
           : level == cloister::Level::warning ? "warning"
           : level == cloister::Level::debug   ? "debug"
                                               : "info";
}

void print_metrics() {
    using namespace cloister;
    fmt::print("## Metrics\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for (const MetricText& metric : metrics) {
        fmt::print("| `{}{}` | {} | {} | {} |\n", metric.name, suffix_of(metric.type),
                   cloister::name_of(metric.type), as_code(metric.labels, ", "), metric.meaning);
    }
    fmt::print(
        "\nThe values of `reason` are those of [log.md](log.md), of `state` those of `cloister status`.\n");
}

} // namespace

int main(int argc, char**) {
    using namespace cloister;
    if (argc > 1) {
        print_metrics();
        return 0;
    }
    fmt::print("## Events\n\nEach record has `ts`, `level` and `event`. A field with `?` is not in every "
               "record of that "
               "event.\n\n| event | level | when | fields |\n|---|---|---|---|\n");
    for (const EventText& event : events) {
        fmt::print("| `{}` | {} | {} | {} |\n", event.name, as_code(event.levels, ", "), event.meaning,
                   as_code(event.fields, " "));
    }
    fmt::print("\n## Fields\n\n| field | meaning |\n|---|---|\n");
    for (const FieldText& field : fields) {
        fmt::print("| `{}` | {} |\n", field.name, field.meaning);
    }
    fmt::print("\n## Why a connection ended\n\nThe values of `reason`, in records `connection`.\n\n| reason "
               "| level | what "
               "is known |\n|---|---|---|\n");
    for (const ExitReasonText& reason : exit_reasons) {
        fmt::print("| `{}` | `{}` | {} |\n", reason.name, name_of(reason.level), reason.meaning);
    }
    fmt::print("\n## Why a client was refused\n\nThe values of `reason`, in records `refused`; see "
               "[admission.md](admission.md).\n\n| reason | what is known |\n|---|---|\n");
    for (const RefusalText& refusal : refusals) {
        fmt::print("| `{}` | {} |\n", refusal.name, refusal.meaning);
    }
}
