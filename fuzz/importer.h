// SPDX-License-Identifier: MIT
#pragma once

#include "audit/export.h"
#include "audit/import.h"

#include "harness.h"

#include <algorithm>

namespace cloister::fuzz {

/// The input is a policy of another tool. An error must point into it; text that comes of it must parse; and
/// what is exported of that exactly must mean the same when it is imported again.
inline void import_and_back(audit::Format format, audit::Target target, const std::uint8_t* data,
                            std::size_t size) {
    const std::string source{data, data + size};
    audit::ImportOptions options;
    options.arch = policy::Arch::x86_64;
    options.compiler = audit::MinijailCompiler::python;
    const auto imported = audit::import_policy(format, source, "input", options);
    if (!imported) {
        const auto& error = imported.error();
        const auto lines = static_cast<unsigned>(std::count(source.begin(), source.end(), '\n')) + 1;
        if (error.line == 0 || error.line > lines || error.column == 0 || error.message.empty() ||
            error.text().empty()) {
            broken("an error that points nowhere: " + error.text());
        }
        return;
    }
    if (imported->verdict == audit::Verdict::refused) {
        if (imported->reasons.empty() || !imported->text.empty()) {
            broken("refused without a reason");
        }
        return;
    }
    const auto policy = policy::parse(imported->text, "imported");
    if (!policy) {
        broken("what was imported does not parse: " + policy.error().text());
    }
    constexpr std::size_t many = 60; // rules; more take long to compare
    if (policy->rules.size() > many) {
        return;
    }
    const auto exported = audit::export_policy(*policy, options.arch, {}, target);
    for (const auto& why : exported.refused) {
        if (why.starts_with("imported again")) {
            broken(why + "\n" + imported->text);
        }
    }
}

} // namespace cloister::fuzz
