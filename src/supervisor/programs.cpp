// SPDX-License-Identifier: MIT
#include "supervisor/programs.h"

#include "plan/plan.h"
#include "policy/prove.h"

#include <fmt/core.h>

namespace cloister::supervisor {
namespace {

Failure failure(const policy::Error& error) {
    const bool missing = error.kind == policy::Error::Kind::missing;
    return {missing ? ExitCode::NoInput : ExitCode::BadPolicy, error.text()};
}

tl::expected<policy::Program, Failure> make(const policy::Policy& policy, const policy::Bindings& bindings) {
    // A policy need not use every address that we know; one that we don't know is an error of compile().
    policy::Bindings used;
    for (const auto& param : policy.params) {
        if (const auto found = bindings.find(param.name); found != bindings.end()) {
            used.insert(*found);
        }
    }
    auto program = policy::compile(policy, policy::native_arch, used);
    if (!program) {
        return tl::unexpected(failure(program.error()));
    }
    if (const auto proved = policy::prove(policy, policy::native_arch, used, *program); !proved) {
        return tl::unexpected(failure(proved.error()));
    }
    return *program;
}

template <typename Member>
tl::expected<void, Failure> check_fits(const policy::Policy& policy, const policy::Program& program,
                                       const Member& room) {
    if (program.size() > std::size(room)) {
        return tl::unexpected(Failure{ExitCode::BadPolicy,
                                      fmt::format("{}: its program has {} instructions, there is room for {}",
                                                  policy.file, program.size(), std::size(room))});
    }
    return {};
}

} // namespace

tl::expected<Policies, Failure> load_policies(const std::filesystem::path& dir) {
    auto listener = policy::load(dir / "listener.policy");
    if (!listener) {
        return tl::unexpected(failure(listener.error()));
    }
    auto connection = policy::load(dir / "connection.policy");
    if (!connection) {
        return tl::unexpected(failure(connection.error()));
    }
    if (auto checked = policy::check(*listener, nullptr); !checked) {
        return tl::unexpected(failure(checked.error()));
    }
    if (auto checked = policy::check(*connection, &*listener); !checked) {
        return tl::unexpected(failure(checked.error()));
    }
    return Policies{std::move(*connection), std::move(*listener)};
}

tl::expected<Programs, Failure> compile_and_prove(const Policies& policies, std::uint64_t layout) {
    const std::uint64_t arena = layout + offsetof(cell::Layout, arena);
    const policy::Bindings bindings{
        {"buffer", arena + offsetof(cell::Arena, buffer)},
        {"stack", arena + offsetof(cell::Arena, stack) + cell::stack_size},
    };
    auto connection = make(policies.connection, bindings);
    if (!connection) {
        return tl::unexpected(connection.error());
    }
    auto listener = make(policies.listener, bindings);
    if (!listener) {
        return tl::unexpected(listener.error());
    }
    const auto fits = check_fits(policies.connection, *connection, cell::Orders{}.filter).and_then([&] {
        return check_fits(policies.listener, *listener, plan::Plan{}.filter);
    });
    if (!fits) {
        return tl::unexpected(fits.error());
    }
    return Programs{std::move(*connection), std::move(*listener)};
}

} // namespace cloister::supervisor
