// SPDX-License-Identifier: MIT
#include "cli/verify_command.h"

#include "audit/stack.h"
#include "audit/verify.h"
#include "cli/answer.h"
#include "cli/dump.h"
#include "policy/combine.h"
#include "policy/sha256.h"

#include <algorithm>
#include <filesystem>
#include <fmt/ranges.h>
#include <fstream>
#include <map>

namespace cloister::tool {
namespace {

using audit::Check;
using nlohmann::json;

namespace fs = std::filesystem;

/// The directory above that of this command: PREFIX, or that of the build.
fs::path prefix() {
    std::error_code failed;
    return fs::read_symlink("/proc/self/exe", failed).parent_path().parent_path();
}

/// The policies that are installed with this command; in a build tree, those of the sources.
std::string installed_policies() {
    std::error_code failed;
    const bool built = fs::exists(prefix() / "CMakeCache.txt", failed);
    return (built ? prefix().parent_path().parent_path() / "policy" : prefix() / "share/cloister/policy")
        .string();
}

tl::expected<policy::Combined, policy::Error> load_all(const std::vector<std::string>& files) {
    std::vector<policy::Policy> policies;
    for (const auto& file : files) {
        auto policy = policy::load(file);
        if (!policy) {
            return tl::unexpected{std::move(policy.error())};
        }
        if (auto checked = policy::check(*policy, nullptr); policy->under.empty() && !checked) {
            return tl::unexpected{std::move(checked.error())};
        }
        policies.push_back(std::move(*policy));
    }
    return policy::combine(std::move(policies));
}

/// The policies of a directory, by handler, each loaded when it is first asked for. A handler that was built
/// elsewhere has its policy beside its listener, which --handler names.
class Policies {
  public:
    explicit Policies(const VerifyQuestion& question)
        : directory_{question.policy_dir.empty() ? installed_policies() : question.policy_dir},
          handler_{question.handler} {
        if (!is_directory(directory_)) {
            policy::Error error;
            error.kind = policy::Error::Kind::missing;
            error.file = directory_;
            error.message = "no such directory; name that of the policies by --policy-dir";
            or_exit(tl::expected<void, policy::Error>{tl::unexpected{error}}, question.json);
        }
        const auto relay = fs::path{directory_} / "processes/relay.policy";
        std::error_code failed;
        if (fs::exists(relay, failed)) {
            reference_.relay = or_exit(policy::load(relay), question.json);
        }
        for (const auto& filter : or_exit(filters_in(directory_, handler_), question.json)) {
            files_[filter.handler] = filter.files;
        }
        reference_.of_handler = [this, &question](const std::string& name) {
            return of(name, question.json);
        };
    }
    Policies(const Policies&) = delete;
    Policies& operator=(const Policies&) = delete;
    Policies(Policies&&) = delete;
    Policies& operator=(Policies&&) = delete;
    ~Policies() = default;

    [[nodiscard]] const audit::Reference& reference() const { return reference_; }
    [[nodiscard]] const std::string& directory() const { return directory_; }

  private:
    audit::Told<const policy::Combined*> of(const std::string& name, bool as_json_too) {
        auto files = handler_.empty() ? files_.find(name) : files_.begin();
        // That of a handler that was added lies beside its listener (install.h).
        const auto beside = prefix() / "libexec/cloister/handlers" / fmt::format("{}.policy", name);
        std::error_code failed;
        if (files == files_.end() && fs::exists(beside, failed)) {
            const auto added = or_exit(filters_in(directory_, beside.string()), as_json_too);
            files = files_.emplace(name, added.front().files).first;
        }
        if (files == files_.end()) {
            return tl::unexpected{audit::CannotTell{
                fmt::format("{} has no handlers/{}.policy; name the policy of this handler by --handler FILE",
                            directory_, name)}};
        }
        auto loaded = loaded_.find(files->first);
        if (loaded == loaded_.end()) {
            loaded = loaded_.emplace(files->first, or_exit(load_all(files->second), as_json_too)).first;
        }
        return &loaded->second;
    }

    std::string directory_;
    std::string handler_;
    std::map<std::string, std::vector<std::string>> files_;
    std::map<std::string, policy::Combined> loaded_;
    audit::Reference reference_;
};

const char* text_of(Check::Result result) {
    return result == Check::Result::match      ? "match"
           : result == Check::Result::mismatch ? "MISMATCH"
                                               : "cannot tell";
}

json json_of(const audit::ProcessReport& report) {
    json checks = json::array();
    for (const auto& check : report.checks) {
        json one = {{"check", check.name},
                    {"result", check.result == Check::Result::match      ? "match"
                               : check.result == Check::Result::mismatch ? "mismatch"
                                                                         : "cannot-tell"},
                    {"found", check.found}};
        if (check.result == Check::Result::mismatch) {
            one["expected"] = check.expected;
        }
        checks.push_back(std::move(one));
    }
    json out = {{"pid", report.pid},
                {"role", audit::to_string(report.role)},
                {"ended", report.ended},
                {"checks", std::move(checks)},
                {"bindings", report.bindings}};
    if (!report.service.empty()) {
        out["service"] = report.service;
        out["handler"] = report.handler;
    }
    return out;
}

std::string title_of(const audit::ProcessReport& report) {
    return fmt::format("{} {}{}", audit::to_string(report.role), report.pid,
                       report.service.empty() ? "" : fmt::format(" ({})", report.service));
}

void print_check(const audit::ProcessReport& report, const Check& check) {
    const auto result = text_of(check.result);
    if (check.result == Check::Result::mismatch) {
        fmt::print("{}: {}: {}: expected {}, found {}\n", title_of(report), check.name, result,
                   check.expected, check.found);
    } else {
        fmt::print("{}: {}: {}: {}\n", title_of(report), check.name, result, check.found);
    }
}

struct Count {
    std::size_t processes = 0;
    std::size_t match = 0;
    std::size_t mismatch = 0;
    std::size_t unknown = 0;
    void add(const audit::ProcessReport& report) {
        processes += report.ended ? 0 : 1;
        for (const auto& check : report.checks) {
            ++(check.result == Check::Result::match      ? match
               : check.result == Check::Result::mismatch ? mismatch
                                                         : unknown);
        }
    }
    [[nodiscard]] const char* verdict() const {
        return mismatch > 0 ? "mismatch" : unknown > 0 ? "cannot-tell" : "match";
    }
    [[nodiscard]] int code() const {
        return mismatch > 0 ? answer_no : unknown > 0 ? static_cast<int>(ExitCode::Unavailable) : answer_yes;
    }
};

/// A line for each service, and for each check that does not match.
void print_services(const std::vector<audit::ProcessReport>& reports) {
    std::map<std::string, Count> services;
    for (const auto& report : reports) {
        services[report.service].add(report);
        for (const auto& check : report.checks) {
            if (check.result != Check::Result::match) {
                print_check(report, check);
            }
        }
    }
    for (const auto& [name, count] : services) {
        fmt::print("{}: {}: {} processes, {} checks\n",
                   name.empty() ? "supervisor and log relay" : fmt::format("service {}", name),
                   count.verdict(), count.processes, count.match + count.mismatch + count.unknown);
    }
}

int verify_daemon(const VerifyQuestion& question) {
    const Policies policies{question};
    const auto reports = audit::verify(question.pid, policies.reference());
    if (!reports) {
        cannot_tell(reports.error(), question.json);
    }
    Count count;
    json all = json::array();
    for (const auto& report : *reports) {
        count.add(report);
        all.push_back(json_of(report));
        for (const auto& check : question.json || question.services ? std::vector<Check>{} : report.checks) {
            print_check(report, check);
        }
        if (report.ended && !question.json && !question.services) {
            fmt::print("{}: it ended while it was looked at\n", title_of(report));
        }
    }
    if (question.json) {
        fmt::print("{}\n", json{{"pid", question.pid},
                                {"verdict", count.verdict()},
                                {"policies", policies.directory()},
                                {"processes", all}}
                               .dump(2));
        return count.code();
    }
    if (question.services) {
        print_services(*reports);
    }
    fmt::print("{}: {} processes, {} checks match, {} do not, {} could not be made\n", count.verdict(),
               count.processes, count.match, count.mismatch, count.unknown);
    return count.code();
}

/// Text is printable ASCII (docs/POLICY.md); a filter contains zeros.
bool is_raw(const std::string& file) {
    std::ifstream stream{file, std::ios::binary};
    char start[64];
    stream.read(start, sizeof start);
    return std::any_of(start, start + stream.gcount(), [](char c) {
        return static_cast<unsigned char>(c) < ' ' && c != '\n' && c != '\t' && c != '\r';
    });
}

audit::Told<std::optional<audit::Difference>> compare(const VerifyQuestion& question,
                                                      const audit::Filters& filters) {
    const auto& file = question.against.front();
    Question asked;
    asked.file = file;
    asked.handler = question.handler;
    asked.bind = question.bind;
    if (question.against.size() > 1 || (!is_directory(file) && is_raw(file))) {
        audit::Filters wanted;
        for (const auto& raw : question.against) {
            wanted.push_back(or_exit(load_program(raw), question.json));
        }
        return audit::difference(filters, wanted);
    }
    if (is_directory(file)) {
        const auto found = or_exit(filters_in(file, question.handler), question.json);
        if (found.size() > 1) {
            usage(fmt::format("{} has policies of several handlers: name one by --handler", file));
        }
        const auto combined = or_exit(load_all(found.front().files), question.json);
        return audit::difference(filters, combined, policy::native_arch,
                                 bindings_for(policy::all_of(combined), asked));
    }
    const auto loaded = or_exit(load_with_under(file, {}), question.json);
    or_exit(check(loaded), question.json);
    return audit::difference(filters, loaded.policy, policy::native_arch,
                             bindings_for({&loaded.policy}, asked));
}

int verify_against(const VerifyQuestion& question) {
    const auto threads = audit::filters_of_process(question.pid);
    if (!threads) {
        cannot_tell(threads.error(), question.json);
    }
    json all = json::array();
    bool equal = true;
    const audit::Filters* before = nullptr;
    audit::Told<std::optional<audit::Difference>> result;
    for (const auto& [thread, filters] : *threads) {
        if (before == nullptr || !audit::same(*before, filters)) {
            result = compare(question, filters);
            before = &filters;
        }
        if (!result) {
            cannot_tell(result.error(), question.json);
        }
        const auto& found = *result;
        json one = {
            {"thread", thread}, {"filters", filters.size()}, {"result", found ? "mismatch" : "match"}};
        if (found) {
            equal = false;
            one["call"] = policy::describe(found->call);
            one["expected"] = policy::describe_return(found->wanted);
            one["found"] = policy::describe_return(found->is);
        }
        if (!question.json) {
            fmt::print("{} {}: {}\n", threads->size() == 1 ? "process" : "thread", thread,
                       found ? fmt::format("MISMATCH: expected {}, found {} for {}",
                                           policy::describe_return(found->wanted),
                                           policy::describe_return(found->is), policy::describe(found->call))
                             : fmt::format("match: its {} proved equivalent to {}",
                                           filters.size() == 1
                                               ? "filter is"
                                               : fmt::format("{} filters together are", filters.size()),
                                           fmt::join(question.against, " ")));
        }
        all.push_back(std::move(one));
    }
    if (question.json) {
        fmt::print("{}\n", json{{"pid", question.pid},
                                {"verdict", equal ? "match" : "mismatch"},
                                {"against", question.against},
                                {"threads", all}}
                               .dump(2));
    }
    return equal ? answer_yes : answer_no;
}

} // namespace

int policy_verify(const VerifyQuestion& question) {
    return guarded([&] {
        expect_process_number(question.pid, "--pid");
        return question.against.empty() ? verify_daemon(question) : verify_against(question);
    });
}

} // namespace cloister::tool
