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
#include "supervisor/resume.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fmt/format.h>
#include <functional>
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

/// After an upgrade has checked us: that we can take over its state.
ExitCode confirm_check() {
    const char* const wanted = std::getenv(Handover::check_variable); // NOLINT(concurrency-mt-unsafe)
    if (wanted == nullptr) {
        return ExitCode::Ok;
    }
    if (wanted != std::to_string(Handover::version)) {
        return fail(
            {ExitCode::Config,
             fmt::format("cannot take over a state of version {}, only of {}; stop the other cloisterd, "
                         "and start this one",
                         wanted, Handover::version)});
    }
    fmt::print("{}\n", confirmation());
    return ExitCode::Ok;
}

/// From here on we are nobody else any more. Starts the log relay, or takes it over, and runs the loop.
class Service {
  public:
    Service(const config::Config& config, const Beginning& beginning, const Privileges& privileges,
            FileAccess file_access, policy::Program relay_filter)
        : config_{config}, beginning_{beginning},
          priority_{
              is_journal(STDERR_FILENO, std::getenv("JOURNAL_STREAM"))}, // NOLINT(concurrency-mt-unsafe)
          host_{beginning.oom_score,     config.log_format,         priority_,
                privileges.groups_empty, privileges.bounding_empty, std::move(file_access)},
          relay_{std::move(relay_filter),
                 {geteuid(), getegid(), privileges.bounding_empty, privileges.groups_empty, false},
                 config.log_format,
                 priority_} {}

    [[nodiscard]] LogRelay& relay() { return relay_; }

    ExitCode run(std::vector<Setup> setups, OperatorAccess access,
                 const std::function<void(Loop&)>& prepare) {
        static Log log{config_.log_format, relay_.supervisor_fd(), priority_};
        log_fatal_errors_to(log.writer());
        Loop loop{config_,
                  std::move(setups),
                  host_,
                  log,
                  relay_,
                  std::move(access),
                  beginning_.read_config,
                  beginning_.open_binary,
                  beginning_.invocation};
        prepare(loop);
        const ExitCode code = loop.run();
        log.writer().flush_for_the_last_time();
        relay_.finish(log.writer().pending() ? std::chrono::milliseconds{0} : longest_goodbye);
        return code;
    }

  private:
    const config::Config& config_;
    const Beginning& beginning_;
    bool priority_;
    Host host_;
    LogRelay relay_;
};

void prepare_signals() {
    reset_signals(blocked);
    write_fatal_errors_by(write_last_text); // no signal would end us while we wait
    // The cells of a listener that was killed are reaped here: a process 1 that reaps late, or never, would
    // keep their place in pids.max. Where the kernel refuses that, they go to it.
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/// After execve(2) of a new binary: everything is there, and our privileges are gone already.
ExitCode resume(const config::Config& config, const Beginning& beginning) {
    const Handover& state = *beginning.handover;
    auto resumed = take_over(state);
    if (!resumed) {
        return fail(resumed.error());
    }
    const Privileges privileges = give_up_privileges(config); // what is left of them; read back
    auto change = prepare_change(
        config, resumed->setups, state.file_access,
        [&]() -> tl::expected<config::Config, Failure> { return config; }, beginning.open_binary);
    if (!change) {
        return fail(change.error());
    }
    auto relay_filter = relay_program(*change->services.front().setup->policies);
    if (!relay_filter) {
        return fail(relay_filter.error());
    }
    Service service{config, beginning, privileges, state.file_access, std::move(*relay_filter)};
    service.relay().adopt(state.relay, state.pipes);
    return service.run({}, {std::move(resumed->control), {}},
                       [&](Loop& loop) { loop.resume(state, resumed->setups, std::move(*change)); });
}

} // namespace

/// With the privileges that cloisterd was started with: everything is opened and bound, nothing is parsed.
ExitCode run(const config::Config& config, Beginning beginning) {
    prepare_signals();
    if (beginning.handover && !config.check) {
        return resume(config, beginning);
    }
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
    if (const auto opened = open_binaries(setups, beginning.open_binary); !opened) {
        return fail(opened.error());
    }
    auto opened = open_policies_of(config);
    if (!opened) {
        return fail(opened.error());
    }
    if (!config.check) {
        const auto bound = std::move(beginning.activation).and_then([&](Activation passed) {
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
        return confirm_check();
    }
    constexpr std::string_view scheme = "unix:";
    std::vector<int> programs;
    programs.reserve(setups.size());
    for (const Setup& setup : setups) {
        programs.push_back(setup.binary->get());
    }
    auto file_access = restrict_file_access(
        config, control && *control ? (*control)->name().substr(scheme.size()) : std::string{}, programs);
    if (!file_access) {
        return fail_bound(file_access.error());
    }
    Service service{config, beginning, privileges, std::move(*file_access), std::move(*relay_filter)};
    const std::size_t pipes = std::min(config.services.size() + spare_log_pipes, config::max_services);
    if (const auto started = service.relay().start(static_cast<unsigned>(pipes)); !started) {
        return fail_bound(started.error());
    }
    OperatorAccess access;
    if (control) {
        access.socket = std::move(*control);
    } else {
        access.why_not = with_cure(control.error().message);
    }
    return service.run(std::move(setups), std::move(access), [](Loop&) {});
}

} // namespace cloister::supervisor
