// SPDX-License-Identifier: MIT
#include "supervisor/programs.h"

#include "base/trust.h"
#include "control/launch.h"
#include "supervisor/as_user.h"

#include <cerrno>
#include <fmt/core.h>

namespace cloister::supervisor {
namespace {

Failure failure(const policy::Error& error) {
    switch (error.kind) {
    case policy::Error::Kind::missing:
        return {ExitCode::NoInput, error.text()};
    case policy::Error::Kind::system:
        return {ExitCode::SystemCall, error.text()};
    default:
        return {ExitCode::BadPolicy, error.text()};
    }
}

std::uint64_t address(const void* pointer) {
    return reinterpret_cast<std::uint64_t>(pointer);
}

/// Each policy is where the listener has its instruction, and there is one for each.
tl::expected<void, Failure> expect_call_site(const policy::Policy& policy, std::string_view wanted) {
    if (policy.at_name() == wanted) {
        return {};
    }
    return tl::unexpected(failure(policy.error_at(
        policy.at_where, wanted.empty() ? "a cell's policy holds everywhere else: it has no 'at'"
                                        : fmt::format("cloisterd enforces this policy at ${}", wanted))));
}

/// Codes above Exit::Bug say that the setup of a cell failed, which ends its listener (exit_reason.h). A cell
/// that serves must not be able to claim it.
tl::expected<void, Failure> expect_exit_reasons_of_a_served_cell(const policy::Policy& policy) {
    constexpr auto last = static_cast<std::uint64_t>(cell::Exit::Bug);
    for (const auto& rule : policy.rules) {
        const auto name = rule.prototype->name;
        if (rule.action.kind != policy::Action::Kind::allow || (name != "exit_group" && name != "exit")) {
            continue;
        }
        // For each of these operators the operand is the largest code that passes.
        const auto& code = rule.conditions.front();
        if ((code.op != policy::Op::eq && code.op != policy::Op::le && code.op != policy::Op::in) ||
            code.operand.value > last) {
            return tl::unexpected(failure(policy.error_at(
                rule.where, fmt::format("a handler's policy can allow {0} only with codes up to {1} (write "
                                        "'code <= {1}'): the others say that the setup of a cell failed",
                                        name, last))));
        }
    }
    return {};
}

tl::expected<OpenedPolicies::File, Failure> open_policy(const std::filesystem::path& path,
                                                        const char* call_site,
                                                        const std::optional<config::User>& user) {
    auto file = trust::open_file(path, {.user = geteuid()});
    if (!file && file.error().error == 0 && geteuid() == 0 && user) { // the user's own?
        const AsUser as{*user};
        file = trust::open_file(path, {.user = user->uid});
    }
    if (!file) {
        const auto& [error, message] = file.error();
        const bool exhausted = error == EMFILE || error == ENFILE || error == ENOMEM;
        return tl::unexpected(
            Failure{error == ENOENT || error == ENOTDIR ? ExitCode::NoInput
                    : exhausted                         ? ExitCode::SystemCall
                                                        : ExitCode::BadPolicy,
                    fmt::format("{}: {}{}", path.string(),
                                error == 0 ? "not to be trusted: " : "cannot open: ", message)});
    }
    return OpenedPolicies::File{std::move(*file), path, call_site};
}

tl::expected<policy::Policy, Failure> load_policy(const OpenedPolicies::File& file) {
    auto policy = policy::load(file.fd.get(), file.path);
    if (!policy) {
        return tl::unexpected(failure(policy.error()));
    }
    if (auto placed = expect_call_site(*policy, file.call_site); !placed) {
        return tl::unexpected(placed.error());
    }
    if (auto fit = policy::expect_enforceable(*policy); !fit) { // the relay's is combined with no other
        return tl::unexpected(failure(fit.error()));
    }
    if (auto checked = policy::check(*policy, nullptr); !checked) {
        return tl::unexpected(failure(checked.error()));
    }
    return std::move(*policy);
}

} // namespace

StringMap Policies::hashes() const {
    StringMap hashes;
    for (const auto* policy : policy::all_of(combined)) {
        hashes.emplace_back(policy->name, policy->sha256);
    }
    hashes.emplace_back(relay.name, relay.sha256);
    return hashes;
}

tl::expected<OpenedPolicies, Failure> open_policies(const std::filesystem::path& dir,
                                                    const HandlerPolicies& handlers,
                                                    const std::optional<config::User>& user) {
    OpenedPolicies opened;
    for (const auto& [handler, path] : handlers) {
        auto file = open_policy(path, "", user);
        if (!file) {
            return tl::unexpected(file.error());
        }
        opened.handlers.emplace(handler, std::move(*file));
    }
    std::vector<std::pair<std::filesystem::path, const char*>> shared;
    for (const auto& [name, call_site] : shared_policies) {
        shared.emplace_back(dir / fmt::format("{}.policy", name), call_site);
    }
    shared.emplace_back(dir / relay_policy_file, "");
    for (const auto& [path, call_site] : shared) {
        auto file = open_policy(path, call_site, user);
        if (!file) {
            return tl::unexpected(file.error());
        }
        opened.shared.push_back(std::move(*file));
    }
    return opened;
}

tl::expected<std::map<std::string, Policies>, Failure> load_policies(const OpenedPolicies& opened) {
    std::vector<policy::Policy> shared;
    for (const auto& file : opened.shared) {
        auto policy = load_policy(file);
        if (!policy) {
            return tl::unexpected(policy.error());
        }
        shared.push_back(std::move(*policy));
    }
    const policy::Policy relay = std::move(shared.back());
    shared.pop_back();
    std::map<std::string, Policies> all;
    for (const auto& [handler, file] : opened.handlers) {
        auto policy = load_policy(file);
        if (!policy) {
            return tl::unexpected(policy.error());
        }
        if (auto ends = expect_exit_reasons_of_a_served_cell(*policy); !ends) {
            return tl::unexpected(ends.error());
        }
        std::vector<policy::Policy> parts = shared;
        parts.push_back(std::move(*policy));
        auto combined = policy::combine(std::move(parts));
        if (!combined) {
            return tl::unexpected(failure(combined.error()));
        }
        all.emplace(handler, Policies{std::move(*combined), relay});
    }
    return all;
}

tl::expected<policy::Program, Failure> compile_and_prove(const Policies& policies,
                                                         const Addresses& addresses) {
    const auto behind = [](const std::uint8_t* instruction) {
        return address(instruction + arch::system_call_size);
    };
    const auto& at = addresses.call_sites;
    const auto buffer = address(addresses.arena) + offsetof(cell::Arena, buffer);
    const policy::Bindings bindings{
        {"buffer", buffer},
        {"stack", buffer}, // it grows down from there
        {"listener_return", behind(at.listener)},
        {"clone_return", behind(at.clone)},
        {"setup_return", behind(at.setup)},
        {"setup_page", behind(at.setup) - arch::max_page_size},
        {"setup_page_size", arch::max_page_size},
    };
    const auto program = policy::compile(policies.combined, policy::native_arch, bindings);
    if (!program) {
        return tl::unexpected(failure(program.error()));
    }
    if (const auto proved = policy::prove(policies.combined, policy::native_arch, bindings, *program);
        !proved) {
        return tl::unexpected(failure(proved.error()));
    }
    constexpr auto room = std::size(control::Launch{}.filter);
    if (program->size() > room) {
        return tl::unexpected(
            Failure{ExitCode::BadPolicy,
                    fmt::format("the policies' program has {} instructions, there is room for {}",
                                program->size(), room)});
    }
    return *program;
}

tl::expected<policy::Program, Failure> relay_program(const Policies& policies) {
    auto program = policy::compile(policies.relay, policy::native_arch, {});
    const auto proved = program.and_then(
        [&](const auto& bytes) { return policy::prove(policies.relay, policy::native_arch, {}, bytes); });
    if (!proved) {
        return tl::unexpected(failure(proved.error()));
    }
    return *program;
}

Addresses sample_addresses() {
    constexpr std::uintptr_t code = 0x5555'5556'0000;
    constexpr auto page = arch::max_page_size;
    const auto at = [](std::uintptr_t address) {
        return reinterpret_cast<const std::uint8_t*>(address); // NOLINT(performance-no-int-to-ptr)
    };
    return {reinterpret_cast<const cell::Arena*>(at(0x5555'5540'0000)),
            {at(code), at(code + 2 * page - arch::system_call_size),
             at(code + 3 * page - arch::system_call_size)}};
}

} // namespace cloister::supervisor
