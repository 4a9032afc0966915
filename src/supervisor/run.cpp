// SPDX-License-Identifier: MIT
#include "supervisor/run.h"

#include "base/cure.h"
#include "base/die.h"
#include "base/last_text.h"
#include "base/signals.h"
#include "supervisor/assign_sockets.h"
#include "supervisor/control_socket.h"
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
constexpr std::size_t spare_log_pipes = 8;         // for services that a reload adds

constexpr std::uint64_t bit(int signal) {
    return std::uint64_t{1} << (signal - 1);
}

/// TERM and INT stop us, CHLD tells of a listener; the others would end us by default and shall not. XFSZ:
/// memory files count for RLIMIT_FSIZE, too, and the error that write(2) gives then says more.
constexpr std::uint64_t blocked = bit(SIGTERM) | bit(SIGINT) | bit(SIGCHLD) | bit(SIGHUP) | bit(SIGUSR1) |
                                  bit(SIGUSR2) | bit(SIGPIPE) | bit(SIGXFSZ);

/// The sockets of each service, passed or bound.
tl::expected<void, Failure> open_all_sockets(std::vector<Setup>& setups, const config::Config& config,
                                             Activation passed) {
    auto assigned = assign_sockets(std::move(passed), config.services);
    if (!assigned) {
        return tl::unexpected(assigned.error());
    }
    for (std::size_t i = 0; i < setups.size(); ++i) {
        auto sockets = open_sockets(setups[i].service, config.user, std::move((*assigned)[i]));
        if (!sockets) {
            return tl::unexpected(sockets.error());
        }
        for (ListeningSocket& socket : *sockets) {
            setups[i].sockets.push_back(std::make_shared<ListeningSocket>(std::move(socket)));
        }
    }
    return {};
}

/// None if it is off.
tl::expected<std::optional<ControlSocket>, Failure> open_control_socket(const config::Config& config) {
    const std::string path =
        config.control_socket
            ? config.control_socket->string()
            : control::default_control_path(geteuid(),
                                            std::getenv("XDG_RUNTIME_DIR")); // NOLINT(concurrency-mt-unsafe)
    if (path.empty() || config.check) {
        return std::optional<ControlSocket>{};
    }
    return ControlSocket::open(path, !config.control_socket, config.user).map([](ControlSocket opened) {
        return std::optional<ControlSocket>{std::move(opened)};
    });
}

} // namespace

/// With the privileges that cloisterd was started with: everything is opened and bound, nothing is parsed.
ExitCode run(const config::Config& config, tl::expected<Activation, Failure> activation,
             const OomScore& oom_score, const ReadConfig& read_config, const OpenBinary& open_binary) {
    reset_signals(blocked);
    write_fatal_errors_by(write_last_text); // no signal would end us while we wait
    // The cells of a listener that was killed are reaped here: a process 1 that reaps late, or never, would
    // keep their place in pids.max. Where the kernel refuses that, they go to it.
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    std::vector<Setup> setups;
    for (const config::Service& service : config.services) {
        setups.push_back({.service = service});
    }
    tl::expected<std::optional<ControlSocket>, Failure> control;
    const auto fail_bound = [&](const Failure& failure) {
        for (const Setup& setup : setups) {
            close_sockets(setup.sockets);
        }
        if (control && *control) {
            (*control)->close();
        }
        return fail(failure);
    };
    if (const auto opened = open_binaries(setups, open_binary); !opened) {
        return fail(opened.error());
    }
    auto opened = open_policies_of(config);
    if (!opened) {
        return fail(opened.error());
    }
    if (!config.check) {
        const auto bound = std::move(activation).and_then([&](Activation passed) {
            return open_all_sockets(setups, config, std::move(passed));
        });
        if (!bound) {
            return fail_bound(bound.error());
        }
    }
    control = open_control_socket(config);
    if (!control && config.control_socket) {
        return fail_bound(control.error());
    }
    const Privileges privileges = give_up_privileges(config);

    if (const auto loaded = load(setups, *opened); !loaded) {
        return fail_bound(loaded.error());
    }
    opened->handlers.clear(); // closes them
    opened->shared.clear();
    auto relay_filter = relay_program(*setups.front().policies);
    if (!relay_filter) {
        return fail_bound(relay_filter.error());
    }
    if (config.check) { // else they are proved for each listener, for where its memory lies
        for (const Setup& setup : setups) {
            if (const auto proved = compile_and_prove(*setup.policies, sample_addresses()); !proved) {
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
    const std::size_t pipes = std::min(config.services.size() + spare_log_pipes, config::max_services);
    if (const auto started = relay.start(static_cast<unsigned>(pipes)); !started) {
        return fail_bound(started.error());
    }
    static Log log{config.log_format, relay.supervisor_fd(), priority};
    log_fatal_errors_to(log.writer());
    const Host host{oom_score, config.log_format, priority, privileges.groups_empty};
    OperatorAccess access;
    if (control) {
        access.socket = std::move(*control);
    } else {
        access.why_not = with_cure(control.error().message);
    }
    Loop loop{config, std::move(setups), host, log, relay, std::move(access), read_config, open_binary};
    const ExitCode code = loop.run();
    log.writer().flush_for_the_last_time();
    relay.finish(log.writer().pending() ? std::chrono::milliseconds{0} : longest_goodbye);
    return code;
}

} // namespace cloister::supervisor
