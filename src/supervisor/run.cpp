// SPDX-License-Identifier: MIT
#include "supervisor/run.h"

#include "base/signals.h"
#include "base/soft_limit.h"
#include "base/tracing.h"
#include "confine/confine.h"
#include "supervisor/assign_sockets.h"
#include "supervisor/log.h"
#include "supervisor/loop.h"
#include "supervisor/programs.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace cloister::supervisor {
namespace {

ExitCode fail(const Failure& failure) {
    (void)std::fprintf(stderr, "cloisterd: %s\n", failure.message.c_str());
    return failure.code;
}

constexpr std::uint64_t bit(int signal) {
    return std::uint64_t{1} << (signal - 1);
}

/// TERM and INT stop us, CHLD tells of a listener; the others would end us by default and shall not.
constexpr std::uint64_t blocked =
    bit(SIGTERM) | bit(SIGINT) | bit(SIGCHLD) | bit(SIGHUP) | bit(SIGUSR1) | bit(SIGUSR2) | bit(SIGPIPE);

/// Gives up every privilege, for good. True if there are no supplementary groups.
bool give_up_privileges(const config::Config& config) {
    (void)confine::empty_bounding_set(); // the listener reads back whether it is
    const bool root = geteuid() == 0;
    config::User user{geteuid(), getegid(), {}};
    if (config.user && (root || !config.check)) { // an ordinary user may check what another one will be given
        user = *config.user;
    } else if (root) { // --check needs no --user
        user = {65534, 65534, "nobody"};
    }
    if (user.uid != geteuid()) {
        expect_untraceable_as(user.uid);
    }
    const bool groups_empty = confine::become(user.uid, user.gid);
    confine::drop_all_capabilities();
    confine::forbid_new_privileges();
    confine::forbid_dumping();
    return groups_empty;
}

/// The sockets of each service, passed or bound.
tl::expected<std::vector<std::vector<ListeningSocket>>, Failure>
open_all_sockets(const config::Config& config, Activation passed) {
    auto assigned = assign_sockets(std::move(passed), config.services);
    if (!assigned) {
        return tl::unexpected(assigned.error());
    }
    std::vector<std::vector<ListeningSocket>> all;
    for (std::size_t i = 0; i < config.services.size(); ++i) {
        auto sockets = open_sockets(config.services[i], config.user, std::move((*assigned)[i]));
        if (!sockets) {
            std::for_each(all.begin(), all.end(), remove_unix_paths);
            return tl::unexpected(sockets.error());
        }
        all.push_back(std::move(*sockets));
    }
    return all;
}

} // namespace

/// With the privileges that cloisterd was started with: everything is opened and bound, nothing is parsed.
ExitCode run(const config::Config& config, tl::expected<Activation, Failure> activation,
             const OomScore& oom_score, const OpenBinary& open_binary) {
    reset_signals(blocked);
    umask(077);
    raise_soft_limit(RLIMIT_NOFILE, "RLIMIT_NOFILE"); // a start needs more than 256: generation.cpp
    std::vector<Fd> binaries;
    for (const config::Service& service : config.services) {
        auto binary = open_binary(service);
        if (!binary) {
            return fail(binary.error());
        }
        binaries.push_back(std::move(*binary));
    }
    auto opened = open_policies(config.policy_dir, config.user);
    if (!opened) {
        return fail(opened.error());
    }
    tl::expected<std::vector<std::vector<ListeningSocket>>, Failure> sockets;
    if (!config.check) {
        sockets = std::move(activation).and_then([&](Activation passed) {
            return open_all_sockets(config, std::move(passed));
        });
    }
    if (!sockets) {
        return fail(sockets.error());
    }
    Fd log_fd = open_log_without_blocking();
    const bool groups_empty = give_up_privileges(config);

    auto policies = load_policies(*opened);
    *opened = {};
    if (!policies) {
        std::for_each(sockets->begin(), sockets->end(), remove_unix_paths);
        return fail(policies.error());
    }
    if (config.check) { // else they are proved for each listener, for where its memory lies
        const auto proved = compile_and_prove(*policies, sample_places());
        return proved ? ExitCode::Ok : fail(proved.error());
    }
    const bool priority =
        is_journal(STDERR_FILENO, std::getenv("JOURNAL_STREAM")); // NOLINT(concurrency-mt-unsafe)
    std::vector<RunnableService> services;
    for (std::size_t i = 0; i < config.services.size(); ++i) {
        services.push_back({config.services[i], *policies, std::move(binaries[i]), std::move((*sockets)[i])});
    }
    Loop loop{config,   std::move(services), oom_score, Log{config.log_format, std::move(log_fd), priority},
              priority, groups_empty};
    return loop.run();
}

} // namespace cloister::supervisor
