// SPDX-License-Identifier: MIT
#include "audit/verify.h"

#include "audit/bindings.h"
#include "audit/checks.h"
#include "audit/stack.h"
#include "control/launch.h"
#include "policy/evaluate.h"
#include "policy/prove.h"
#include "policy/sha256.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fmt/format.h>
#include <map>
#include <thread>
#include <unistd.h>

namespace cloister::audit {
namespace {

using namespace std::chrono_literals;
using policy::native_arch;

constexpr auto patience = 2s;                            // in all, for those that are being set up
constexpr auto at_least = 100ms;                         // for each
constexpr const char* listener_name = "cloister-listen"; // the kernel keeps 15 characters
constexpr const char* relay_name = "cloister-relay";

bool is_named(pid_t pid, std::string_view name) {
    const auto status = status_of(pid);
    return status && status->name() == name;
}

/// "echo" of ".../cloister-listener-echo", ".../handlers/echo", and of the same if it was replaced since.
std::string handler_of(const std::string& program) {
    constexpr std::string_view prefix = "cloister-listener-";
    auto name = program.substr(program.rfind('/') + 1);
    name = name.substr(0, name.find(" (deleted)"));
    return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

/// "echo" of "cloister-listener (echo of cloisterd)".
std::string service_of(pid_t listener) {
    const auto line = command_line_of(listener).value_or("");
    const auto open = line.find('(');
    const auto end = line.find(" of ", open);
    return open == std::string::npos || end == std::string::npos ? "" : line.substr(open + 1, end - open - 1);
}

class Verification {
  public:
    explicit Verification(const Reference& reference) : reference_{reference} {}

    Told<std::vector<ProcessReport>> from(pid_t pid) {
        const auto status = expect_living(pid);
        if (!status) {
            return tl::unexpected{status.error()};
        }
        const auto parent = static_cast<pid_t>(status->number("PPid"));
        if (is_supervisor(*status)) {
            if (auto known = meet(*status); !known) {
                return tl::unexpected{known.error()};
            }
            look_at(pid, Role::supervisor, 0);
            for (const pid_t child : children_of(pid)) {
                if (is_named(child, listener_name)) {
                    listener_and_cells(child);
                } else if (status_of(child)) {
                    look_at(child, is_named(child, relay_name) ? Role::relay : Role::stranger, 0);
                }
            }
            return reports_;
        }
        const bool listener = status->name() == listener_name && !is_named(parent, listener_name);
        const bool cell = status->name() == listener_name && !listener;
        if (!listener && !cell && status->name() != relay_name) {
            return tl::unexpected{CannotTell{fmt::format(
                "process {} ({}) is no supervisor, listener, cell or log relay of cloisterd; compare "
                "another program's filters with a policy by --against FILE",
                pid, status->name())}};
        }
        const auto above = cell ? status_of(parent) : status;
        const auto supervisor =
            above ? status_of(static_cast<pid_t>(above->number("PPid"))) : tl::unexpected{above.error()};
        if (!supervisor) {
            return tl::unexpected{
                CannotTell{fmt::format("process {} ({}) has no supervisor", pid, status->name())}};
        }
        if (auto known = meet(*supervisor); !known) {
            return tl::unexpected{known.error()};
        }
        if (listener) {
            listener_and_cells(pid);
        } else {
            look_at(pid, cell ? Role::cell : Role::relay, cell ? parent : 0);
        }
        if (reports_.front().ended) {
            return tl::unexpected{CannotTell{fmt::format("process {} has ended", pid), true}};
        }
        return reports_;
    }

  private:
    [[nodiscard]] std::vector<pid_t> children_of(pid_t pid) const {
        const auto found = children_.find(pid);
        return found == children_.end() ? std::vector<pid_t>{} : found->second;
    }

    [[nodiscard]] bool is_supervisor(const Status& status) const {
        const auto children = children_of(status.pid);
        return status.name() != listener_name &&
               std::any_of(children.begin(), children.end(), [](pid_t child) {
                   return is_named(child, listener_name) || is_named(child, relay_name);
               });
    }

    Told<void> meet(const Status& supervisor) {
        family_.supervisor = supervisor;
        family_.inherited = filters_of(supervisor.pid);
        return {};
    }

    void listener_and_cells(pid_t listener) {
        look_at(listener, Role::listener, listener);
        children_ = children_of_all(); // as that may have taken its time
        for (const pid_t child : children_of(listener)) {
            look_at(child, Role::cell, listener);
        }
    }

    void look_at(pid_t pid, Role role, pid_t listener) {
        family_.listener_memory = tl::unexpected{CannotTell{}};
        if (listener != 0) {
            family_.listener_memory = mappings_of(listener);
            family_.listener_program = program_of(listener);
        }
        const auto end = std::max(patience_ends_, std::chrono::steady_clock::now() + at_least);
        for (auto pause = 1ms;; pause = std::min(pause * 2, 100ms)) {
            auto report = look_once(pid, role, listener);
            const bool wrong =
                std::any_of(report.checks.begin(), report.checks.end(),
                            [](const Check& check) { return check.result == Check::Result::mismatch; });
            if (!wrong || report.ended || std::chrono::steady_clock::now() > end) {
                reports_.push_back(std::move(report));
                return;
            }
            std::this_thread::sleep_for(pause);
        }
    }

    ProcessReport look_once(pid_t pid, Role role, pid_t listener) {
        ProcessReport report;
        report.pid = pid;
        report.role = role;
        if (listener != 0) {
            report.service = service_of(listener);
            report.handler = family_.listener_program ? handler_of(*family_.listener_program) : "";
        }
        const auto status = expect_living(pid);
        const auto ended = [&] {
            report.ended = true;
            report.checks.clear();
            return report;
        };
        if (!status) {
            return ended();
        }
        if (role == Role::stranger) {
            add(report.checks, "process", false, "listeners and a log relay below the supervisor",
                fmt::format("a process named {}", status->name()));
        } else {
            check_status(*status, role, family_, report.checks);
            check_descriptors(pid, role, family_.supervisor.pid, report.checks);
            check_memory(pid, role, family_, report.checks);
            check_filters(report);
        }
        if (role == Role::cell) {
            const auto children = children_of(pid);
            add(report.checks, "children", children.empty(), "none",
                children.empty() ? "none" : std::to_string(children.size()));
        }
        const auto after = status_of(pid);
        if (!after || after->state() == 'Z' || after->start != status->start) {
            return ended();
        }
        return report;
    }

    void check_filters(ProcessReport& report) {
        if (report.role == Role::supervisor) {
            return; // it has those that it inherited
        }
        const auto filters = filters_of(report.pid);
        if (!filters || !family_.inherited) {
            add_unknown(report.checks, "filter",
                        filters ? family_.inherited.error().why : filters.error().why);
            return;
        }
        const auto& inherited = *family_.inherited;
        const bool one_more = filters->size() == inherited.size() + 1 &&
                              same({filters->begin(), filters->end() - 1}, inherited);
        if (!one_more) {
            add(report.checks, "filter", false,
                fmt::format("the supervisor's {} filters and one more", inherited.size()),
                fmt::format("{} filters{}", filters->size(),
                            filters->size() == inherited.size() + 1 ? ", of which the older ones are others"
                                                                    : ""));
            return;
        }
        if (report.role == Role::relay) {
            check_relay(report, filters->back());
        } else {
            check_combined(report, filters->back());
        }
    }

    void check_relay(ProcessReport& report, const policy::Program& program) {
        if (!reference_.relay) {
            add_unknown(report.checks, "filter", "the policy directory has no processes/relay.policy");
            return;
        }
        judge(report, program, difference({program}, *reference_.relay, native_arch, {}), "relay");
    }

    void check_combined(ProcessReport& report, const policy::Program& program) {
        if (report.handler.empty()) {
            add_unknown(report.checks, "filter",
                        "the listener's program cannot be read, which tells its handler");
            return;
        }
        const auto policies = reference_.of_handler(report.handler);
        if (!policies) {
            add_unknown(report.checks, "filter", policies.error().why);
            return;
        }
        // Every listener of a handler has addresses of its own; its cells have the same bytes.
        const auto key = report.handler + std::string{reinterpret_cast<const char*>(program.data()),
                                                      program.size() * sizeof(sock_filter)};
        auto proved = proved_.find(key);
        if (proved == proved_.end()) {
            proved = proved_.emplace(key, prove(**policies, program)).first;
        }
        const auto& [bindings, result] = proved->second;
        if (judge(report, program, result, report.handler)) {
            report.bindings = bindings;
            check_addresses(report.pid, report.role, bindings, family_, report.checks);
        }
    }

    struct Proof {
        policy::Bindings bindings;
        Told<std::optional<Difference>> result;
    };

    Proof prove(const policy::Combined& policies, const policy::Program& program) {
        std::vector<policy::Bindings> candidates;
        if (auto found = bindings_in(policies, native_arch, program)) {
            candidates.push_back(std::move(*found));
        }
        if (auto found = from_memory(policies, program)) {
            candidates.push_back(std::move(*found));
        }
        Proof proof{{}, unlike(policies, program)};
        for (auto& bindings : candidates) {
            proof.result = difference({program}, policies, native_arch, bindings);
            proof.bindings = std::move(bindings);
            if (proof.result && !*proof.result) {
                break;
            }
        }
        return proof;
    }

    /// For a filter in which no addresses are found: a call that no policy names, whatever the addresses, and
    /// that the filter does not answer with the else action.
    static Told<std::optional<Difference>> unlike(const policy::Combined& policies,
                                                  const policy::Program& program) {
        const auto abi = policy::abi_of(native_arch);
        for (const auto name : policy::all_names(abi)) {
            const auto all = policy::all_of(policies);
            const bool named = std::any_of(all.begin(), all.end(), [&](const policy::Policy* policy) {
                return std::any_of(policy->rules.begin(), policy->rules.end(),
                                   [&](const policy::Rule& rule) { return rule.prototype->name == name; });
            });
            seccomp_data call{};
            call.arch = policy::audit_arch(abi);
            call.nr = static_cast<int>(policy::number_of(abi, name).value());
            const auto is = named ? std::nullopt : policy::run(program, call);
            if (is && *is != policies.elsewhere.otherwise.value()) {
                return Difference{call, policies.elsewhere.otherwise.value(), *is};
            }
        }
        return tl::unexpected{
            CannotTell{"the filter compares no addresses where those of a combined filter do: "
                       "it was made by another compiler"}};
    }

    /// As cloisterd binds them, for the memory that the listener has (programs.cpp).
    std::optional<policy::Bindings> from_memory(const policy::Combined& policies,
                                                const policy::Program& program) {
        auto bindings = call_sites_in(policies, program);
        const auto arena = family_.listener_memory ? arena_in(*family_.listener_memory) : std::nullopt;
        if (!bindings || !arena) {
            return std::nullopt;
        }
        const auto buffer = arena->start + offsetof(cell::Arena, buffer);
        const auto setup = bindings->find("setup_return");
        const std::map<std::string, std::uint64_t> known{
            {"buffer", buffer},
            {"stack", buffer},
            {"setup_page", setup == bindings->end() ? 0 : setup->second - arch::max_page_size},
            {"setup_page_size", arch::max_page_size}};
        for (const auto* policy : policy::all_of(policies)) {
            for (const auto& param : policy->params) {
                if (const auto value = known.find(param.name); value != known.end()) {
                    bindings->emplace(param.name, value->second);
                }
            }
        }
        return bindings;
    }

    static bool judge(ProcessReport& report, const policy::Program& program,
                      const Told<std::optional<Difference>>& result, const std::string& policies) {
        if (!result) {
            add_unknown(report.checks, "filter", result.error().why);
            return false;
        }
        const auto& witness = *result;
        add(report.checks, "filter", !witness, witness ? policy::describe_return(witness->wanted) : "",
            witness ? fmt::format("{} for {}{}", policy::describe_return(witness->is),
                                  policy::describe(witness->call),
                                  witness->call.instruction_pointer == 0
                                      ? ""
                                      : fmt::format(" from {:#x}", witness->call.instruction_pointer))
                    : fmt::format("{} instructions, proved equivalent to the policies of {}; SHA-256 {}",
                                  program.size(), policies,
                                  policy::sha256_hex({reinterpret_cast<const char*>(program.data()),
                                                      program.size() * sizeof(sock_filter)})));
        return !witness;
    }

    const Reference& reference_;
    std::chrono::steady_clock::time_point patience_ends_ = std::chrono::steady_clock::now() + patience;
    Children children_ = children_of_all();
    Family family_{{}, Filters{}, std::vector<Mapping>{}, std::string{}};
    std::vector<ProcessReport> reports_;
    std::map<std::string, Proof> proved_; ///< by handler and bytes
};

} // namespace

const char* to_string(Role role) {
    switch (role) {
    case Role::supervisor:
        return "supervisor";
    case Role::relay:
        return "log relay";
    case Role::listener:
        return "listener";
    case Role::cell:
        return "cell";
    default:
        return "process";
    }
}

Told<std::vector<ProcessReport>> verify(pid_t pid, const Reference& reference) {
    return Verification{reference}.from(pid);
}

} // namespace cloister::audit
