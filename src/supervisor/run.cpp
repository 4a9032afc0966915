// SPDX-License-Identifier: MIT
#include "supervisor/run.h"

#include "base/cure.h"
#include "base/die.h"
#include "base/last_text.h"
#include "base/signals.h"
#include "supervisor/assign_sockets.h"
#include "supervisor/log.h"
#include "supervisor/log_relay.h"
#include "supervisor/loop.h"
#include "supervisor/privileges.h"
#include "supervisor/programs.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace cloister::supervisor {
namespace {

ExitCode fail(const Failure& failure) {
    write_last_text(fmt::format("cloisterd: {}\n", with_cure(failure.message)));
    return failure.code;
}

constexpr std::chrono::seconds longest_goodbye{1}; // of the log relay

constexpr std::uint64_t bit(int signal) {
    return std::uint64_t{1} << (signal - 1);
}

/// TERM and INT stop us, CHLD tells of a listener; the others would end us by default and shall not. XFSZ:
/// memory files count for RLIMIT_FSIZE, too, and the error that write(2) gives then says more.
constexpr std::uint64_t blocked = bit(SIGTERM) | bit(SIGINT) | bit(SIGCHLD) | bit(SIGHUP) | bit(SIGUSR1) |
                                  bit(SIGUSR2) | bit(SIGPIPE) | bit(SIGXFSZ);

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
    write_fatal_errors_by(write_last_text); // no signal would end us while we wait
    // The cells of a listener that was killed are reaped here: a process 1 that reaps late, or never, would
    // keep their place in pids.max. Where the kernel refuses that, they go to it.
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    std::vector<Fd> binaries;
    binaries.reserve(config.services.size());
    for (const config::Service& service : config.services) {
        auto binary = open_binary(service);
        if (!binary) {
            return fail(binary.error());
        }
        binaries.push_back(std::move(*binary));
    }
    HandlerPolicies wanted;
    for (const config::Service& service : config.services) {
        wanted.emplace(service.handler, handler_policy(config.policy_dir, service.handler));
    }
    auto opened = open_policies(config.policy_dir, wanted, config.user);
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
    const Privileges privileges = give_up_privileges(config);

    const auto fail_bound = [&](const Failure& failure) {
        std::for_each(sockets->begin(), sockets->end(), remove_unix_paths);
        return fail(failure);
    };
    const auto policies = load_policies(*opened);
    if (!policies) {
        return fail_bound(policies.error());
    }
    opened->handlers.clear(); // closes them
    opened->shared.clear();
    std::vector<ServedContent> contents;
    for (const config::Service& service : config.services) {
        auto content = load_content(service);
        if (!content) {
            return fail_bound(content.error());
        }
        contents.push_back(std::move(*content));
    }
    auto relay_filter = relay_program(policies->begin()->second);
    if (!relay_filter) {
        return fail_bound(relay_filter.error());
    }
    if (config.check) { // else they are proved for each listener, for where its memory lies
        for (const auto& [handler, combined] : *policies) {
            if (const auto proved = compile_and_prove(combined, sample_addresses()); !proved) {
                return fail(proved.error());
            }
        }
        return ExitCode::Ok;
    }
    const bool priority =
        is_journal(STDERR_FILENO, std::getenv("JOURNAL_STREAM")); // NOLINT(concurrency-mt-unsafe)
    LogRelay relay{std::move(*relay_filter),
                   {geteuid(), getegid(), privileges.bounding_empty, privileges.groups_empty, false},
                   config.log_format,
                   priority};
    if (const auto started = relay.start(static_cast<unsigned>(config.services.size())); !started) {
        return fail_bound(started.error());
    }
    static Log log{config.log_format, relay.supervisor_fd(), priority};
    log_fatal_errors_to(log.writer());
    std::vector<RunnableService> services;
    for (std::size_t i = 0; i < config.services.size(); ++i) {
        auto shared = SharedMemory::create();
        if (!shared) {
            return fail_bound(shared.error());
        }
        services.push_back({config.services[i], policies->at(config.services[i].handler), contents[i],
                            std::make_shared<SharedMemory>(std::move(*shared)), std::move(binaries[i]),
                            std::move((*sockets)[i])});
    }
    Loop loop{config, std::move(services), oom_score, log, relay, priority, privileges.groups_empty};
    const ExitCode code = loop.run();
    log.writer().flush_for_the_last_time();
    relay.finish(log.writer().pending() ? std::chrono::milliseconds{0} : longest_goodbye);
    return code;
}

} // namespace cloister::supervisor
