// SPDX-License-Identifier: MIT
#include "cli/subject.h"

#include "audit/filters.h"
#include "audit/import.h"
#include "audit/written.h"
#include "cli/answer.h"
#include "cli/check.h"
#include "cli/combined_commands.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <map>

namespace cloister::tool {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::string_view process_prefix = "pid:";

[[noreturn]] void refuse(const Question& question, ExitCode code, const std::string& why) {
    if (question.json) {
        fmt::print("{}\n", json{{"error", {{"file", question.file}, {"message", why}}}}.dump(2));
    }
    fmt::print(stderr, "{}: error: {}\n", question.file, why);
    throw Exit{static_cast<int>(code)};
}

// The *.bpf files of a directory, by the last number in their names: 'dump -o' writes PID-0.bpf, PID-1.bpf, …
std::vector<std::string> dumped_in(const std::string& directory) {
    std::map<std::pair<unsigned long, std::string>, std::string> files;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator{directory, ignored}) {
        if (entry.path().extension() == ".bpf") {
            const auto stem = entry.path().stem().string();
            const auto digits = stem.find_last_not_of("0123456789") + 1;
            unsigned long number = 0;
            std::from_chars(stem.data() + digits, stem.data() + stem.size(), number);
            files[{number, stem}] = entry.path().string();
        }
    }
    std::vector<std::string> names;
    names.reserve(files.size());
    for (const auto& [key, name] : files) {
        names.push_back(name);
    }
    return names;
}

std::string beginning_of(const std::string& file, std::size_t size) {
    std::ifstream stream{file, std::ios::binary};
    std::string text(size, '\0');
    stream.read(text.data(), static_cast<std::streamsize>(size));
    text.resize(static_cast<std::size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
    return text;
}

std::vector<policy::Program> filters_of(const Question& question) {
    const auto digits = question.file.substr(process_prefix.size());
    pid_t pid = 0;
    const auto* end = digits.data() + digits.size();
    if (const auto result = std::from_chars(digits.data(), end, pid);
        result.ec != std::errc{} || result.ptr != end || pid <= 0) {
        usage(fmt::format("{}: write pid:N, N the number of a process", question.file));
    }
    if (const auto living = audit::expect_living(pid); !living) {
        refuse(question, ExitCode::Unavailable, living.error().why);
    }
    auto filters = audit::filters_of(pid);
    if (!filters) {
        refuse(question, ExitCode::Unavailable, filters.error().why);
    }
    return std::move(*filters);
}

policy::Policy import_profile(const Question& question) {
    const auto text = beginning_of(question.file, std::size_t{4} << 20U);
    audit::ImportOptions options;
    if (const auto arch = policy::arch_named(question.arch)) {
        options.arch = *arch;
    }
    const auto imported = or_exit(audit::import_oci(text, question.file, options), question.json);
    for (const auto& reason : imported.reasons) {
        fmt::print(stderr, "{}: {}: {}\n", question.file, to_string(imported.verdict), reason);
    }
    if (imported.verdict == audit::Verdict::refused) {
        refuse(question, ExitCode::BadPolicy, "the profile cannot be said as a policy, see above");
    }
    return or_exit(policy::parse(imported.text, question.file + " (imported)"), question.json);
}

policy::Arch arch_of(const Question& question) {
    const auto arch = policy::arch_named(question.arch);
    if (!question.arch.empty() && !arch) {
        usage(fmt::format("--arch {}: x86_64 or aarch64", question.arch));
    }
    return arch.value_or(policy::native_arch);
}

policy::Policy as_text(const Question& question, const std::vector<policy::Program>& filters) {
    try {
        const auto made =
            audit::written(filters, arch_of(question), "filter", fmt::format("from {}", question.file));
        if (made.text.empty()) {
            refuse(question, ExitCode::BadPolicy,
                   "these filters cannot be said as a policy: " + made.refusal);
        }
        return or_exit(policy::parse(made.text, question.file + " (as text)"), question.json);
    } catch (const std::exception& error) { // of the prover
        refuse(question, ExitCode::BadPolicy, error.what());
    }
}

} // namespace

Kind kind_of(const std::string& operand) {
    if (operand.starts_with(process_prefix)) {
        return Kind::process;
    }
    if (is_directory(operand)) {
        return dumped_in(operand).empty() ? Kind::policies : Kind::filters;
    }
    const auto text = beginning_of(operand, 512);
    if (text.find('\0') != text.npos) {
        return Kind::filters; // no text has such a byte, and each instruction has
    }
    const auto first = text.find_first_not_of(" \t\r\n");
    return first != text.npos && text[first] == '{' ? Kind::profile : Kind::policy;
}

audit::Subject load_subject(const Question& question) {
    switch (kind_of(question.file)) {
    case Kind::process:
        return filters_of(question);
    case Kind::filters: {
        const auto files =
            is_directory(question.file) ? dumped_in(question.file) : std::vector{question.file};
        std::vector<policy::Program> programs;
        programs.reserve(files.size());
        for (const auto& file : files) {
            programs.push_back(or_exit(load_program(file), question.json));
        }
        return programs;
    }
    case Kind::profile:
        return import_profile(question);
    case Kind::policies:
        return load_combined_checked(question);
    case Kind::policy:
        break;
    }
    return load_checked(question);
}

policy::Policy load_as_text(const Question& question) {
    auto subject = load_subject(question);
    if (auto* policy = std::get_if<policy::Policy>(&subject)) {
        return std::move(*policy);
    }
    if (const auto* filters = std::get_if<std::vector<policy::Program>>(&subject)) {
        return as_text(question, *filters);
    }
    return combined_policy_at(question);
}

std::vector<policy::Arch> archs_of(const audit::Subject& before, const audit::Subject& after,
                                   const Question& question) {
    const auto lists = [](const audit::Subject& subject, policy::Arch arch) {
        const auto one = [arch](const policy::Policy& policy) {
            return std::find(policy.archs.begin(), policy.archs.end(), arch) != policy.archs.end();
        };
        if (const auto* policy = std::get_if<policy::Policy>(&subject)) {
            return one(*policy);
        }
        if (const auto* combined = std::get_if<policy::Combined>(&subject)) {
            const auto all = policy::all_of(*combined);
            return std::all_of(all.begin(), all.end(),
                               [&](const policy::Policy* policy) { return one(*policy); });
        }
        return true;
    };
    const bool bytes = std::holds_alternative<std::vector<policy::Program>>(before) ||
                       std::holds_alternative<std::vector<policy::Program>>(after);
    std::vector<policy::Arch> archs;
    for (const auto arch : {policy::Arch::x86_64, policy::Arch::aarch64}) {
        const bool asked =
            question.arch.empty() ? !bytes || arch == policy::native_arch : arch == arch_of(question);
        if (asked && lists(before, arch) && lists(after, arch)) {
            archs.push_back(arch);
        }
    }
    if (archs.empty()) {
        usage(question.arch.empty()
                  ? "the two have no processor in common: --arch says which one the bytes are for"
                  : fmt::format("--arch {}: not both list it", question.arch));
    }
    return archs;
}

} // namespace cloister::tool
