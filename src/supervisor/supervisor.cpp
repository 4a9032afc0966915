// SPDX-License-Identifier: MIT
#include "supervisor/supervisor.h"

#include "base/die.h"
#include "base/signals.h"
#include "base/soft_limit.h"
#include "base/tracing.h"
#include "confine/confine.h"
#include "supervisor/generation.h"
#include "supervisor/install.h"
#include "supervisor/limits.h"
#include "supervisor/log.h"
#include "supervisor/programs.h"
#include "supervisor/sockets.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <fmt/core.h>
#include <optional>
#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

namespace cloister::supervisor {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto steady_after = 10s;     // a listener that lived this long is no sign of trouble when it ends
constexpr unsigned deaths_limit = 6;   // in a row, of listeners that were not steady
constexpr auto first_back_off = 100ms; // doubles with each
constexpr auto grace = 5s;             // for a listener to end its cells

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

Fd open_signals(std::initializer_list<int> signals) {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : signals) {
        sigaddset(&set, signal);
    }
    Fd fd{signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)};
    if (!fd.valid()) {
        die(ExitCode::SystemCall, "signalfd: %s", error_text(errno));
    }
    return fd;
}

/// Says what of the system binds before our own limit does. Returns how many connections may be.
unsigned find_limits(const config::Service& service, const std::vector<ListeningSocket>& sockets, Log& log) {
    std::uint64_t buffers = service.socket_buffer ? 0 : largest_automatic_buffers();
    unsigned own_processes = 2; // the listener and we
    for (const ListeningSocket& socket : sockets) {
        own_processes = socket.is_unix ? 3 : own_processes; // a releaser, for what clients can pass
        buffers = std::max(buffers, static_cast<std::uint64_t>(socket.send_buffer) +
                                        static_cast<std::uint64_t>(socket.receive_buffer));
    }
    const auto found = bounds(service.max_connections, connection_cost(buffers), own_processes);
    for (const Bound& bound : found) {
        log.write(
            Record{Level::warning, "limit"}
                .add("limit", bound.name)
                .add("is", bound.is)
                .add("allows", bound.allows)
                .add("max_connections", service.max_connections)
                .add("message", fmt::format("{} allows {} connections, fewer than --max-connections: {}",
                                            bound.name, bound.allows, bound.consequence)));
    }
    return allowed_connections(service.max_connections, found);
}

/// Says which buffers the kernel made smaller than --socket-buffer.
void report_capped_buffers(const config::Service& service, const std::vector<ListeningSocket>& sockets,
                           Log& log) {
    const auto report = [&](const char* limit, int ListeningSocket::*buffer) {
        for (const ListeningSocket& socket : sockets) {
            const unsigned is = static_cast<unsigned>(socket.*buffer) / 2;
            if (service.socket_buffer && is < *service.socket_buffer) {
                log.write(Record{service.socket_buffer_given ? Level::warning : Level::info, "limit"}
                              .add("limit", limit)
                              .add("is", is)
                              .add("socket_buffer", *service.socket_buffer)
                              .add("message", fmt::format("{} allows buffers of {} bytes, fewer than "
                                                          "--socket-buffer: raise it, or ask for less",
                                                          limit, is)));
                return;
            }
        }
    };
    report("net.core.wmem_max", &ListeningSocket::send_buffer);
    report("net.core.rmem_max", &ListeningSocket::receive_buffer);
}

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

class Supervisor {
  public:
    /// All privileges have been given up.
    Supervisor(const config::Config& config, const Policies& policies, const ServedContent& content,
               std::vector<ListeningSocket> sockets, Fd binary, const OomScore& oom_score, Log log,
               bool log_priorities, bool groups_empty)
        : config_{config}, service_{config.services.front()}, policies_{policies}, sockets_{std::move(
                                                                                       sockets)},
          log_{std::move(log)}, binary_{std::move(binary)}, stop_signals_{open_signals({SIGTERM, SIGINT})},
          other_signals_{open_signals({SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2})}, setup_{service_,
                                                                                    config_.log_format,
                                                                                    policies_,
                                                                                    content,
                                                                                    sockets_,
                                                                                    oom_score,
                                                                                    find_limits(service_,
                                                                                                sockets_,
                                                                                                log_),
                                                                                    binary_.get(),
                                                                                    log_.fd(),
                                                                                    log_may_block(),
                                                                                    log_priorities,
                                                                                    groups_empty,
                                                                                    stop_signals_.get()} {
        report_capped_buffers(service_, sockets_, log_);
    }

    ExitCode run() {
        for (const auto& warning : config_.warnings) {
            log_.write(Record{Level::warning, "warning"}.add("message", warning));
        }
        if (auto started = start_generation(); !started) {
            remove_unix_paths(sockets_);
            return started.error().code == ExitCode::Ok ? ExitCode::Ok : fail(started.error());
        }
        while (!result_) {
            wait();
            take_signals();
            reap();
            if (restart_at_ && Clock::now() >= *restart_at_) {
                restart_at_.reset();
                restart();
            }
            if (end_at_ && Clock::now() >= *end_at_) {
                end_now();
            }
        }
        if (!stopping_) {
            remove_unix_paths(sockets_);
        }
        log_.write(Record{Level::info, "stopped"}.add("exit", static_cast<int>(*result_)));
        return *result_;
    }

  private:
    const config::Config& config_;
    const config::Service& service_;
    const Policies& policies_;
    std::vector<ListeningSocket> sockets_;
    Log log_;
    Fd binary_;
    Fd stop_signals_;
    Fd other_signals_;
    Setup setup_;
    std::optional<Generation> generation_;
    unsigned generations_ = 0;
    unsigned deaths_ = 0; // in a row, of listeners that were not steady
    Clock::time_point ready_at_;
    std::optional<Clock::time_point> restart_at_;
    std::optional<Clock::time_point> end_at_;
    bool stopping_ = false;
    bool ending_ = false;
    std::optional<ExitCode> result_;

    [[nodiscard]] bool log_may_block() const { return (fcntl(log_.fd(), F_GETFL) & O_NONBLOCK) == 0; }

    tl::expected<void, Failure> start_generation() {
        auto started = Generation::start(setup_);
        if (!started) {
            return tl::unexpected(started.error());
        }
        generation_ = std::move(*started);
        ready_at_ = Clock::now();
        ++generations_;
        log_ready();
        return {};
    }

    void log_ready() {
        Strings names;
        for (const auto& socket : sockets_) {
            names.push_back(socket.name);
        }
        const auto milliseconds = [](auto time) {
            return static_cast<std::uint64_t>(
                std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
        };
        log_.write(Record{Level::info, "ready"}
                       .add("pid", getpid())
                       .add("generation", generations_)
                       .add("listener_pid", generation_->pid())
                       .add("listen", names)
                       .add("policy_sha256", policies_.hashes())
                       .add("landlock_abi", generation_->landlock_abi())
                       .add("capability_bounding_set",
                            generation_->bounding_empty() ? "empty" : "kept, inert under no_new_privs")
                       .add("limits", NumberMap{{"max_connections", setup_.max_connections},
                                                {"idle_timeout_ms", milliseconds(service_.idle_timeout)},
                                                {"lifetime_ms", milliseconds(service_.lifetime)},
                                                {"cpu_limit_ms", milliseconds(service_.cpu_limit)},
                                                {"drain_timeout_ms", milliseconds(service_.drain_timeout)}}));
        if (generation_->full()) {
            log_.write(Record{Level::warning, "warning"}.add(
                "message",
                "clients that waited took all connections before the self-test's own client was served"));
        }
        if (generation_->landlock_abi() == 0) {
            log_.write(Record{Level::warning, "warning"}.add(
                "message", "this kernel has no Landlock, or it is not enabled at boot (lsm=landlock,…): "
                           "seccomp alone confines"));
        }
    }

    void wait() {
        std::array<pollfd, 2> polled{{{stop_signals_.get(), POLLIN, 0}, {other_signals_.get(), POLLIN, 0}}};
        int timeout_ms = -1;
        for (const auto& due : {restart_at_, end_at_}) {
            if (due) {
                const auto left = std::chrono::ceil<std::chrono::milliseconds>(*due - Clock::now()).count();
                const int left_ms = static_cast<int>(std::max<long>(left, 0));
                timeout_ms = timeout_ms < 0 ? left_ms : std::min(timeout_ms, left_ms);
            }
        }
        (void)poll(polled.data(), polled.size(), timeout_ms);
    }

    void take_signals() {
        signalfd_siginfo info{};
        while (read(stop_signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
            stopping_ ? end_now() : stop(static_cast<int>(info.ssi_signo));
        }
        while (read(other_signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
            if (info.ssi_signo != SIGCHLD) {
                log_.write(Record{Level::warning, "signal_ignored"}.add("signal", info.ssi_signo));
            }
        }
    }

    /// Accept no more: what is connected may go on until the drain timeout.
    void stop(int signal) {
        stopping_ = true;
        log_.write(Record{Level::info, "stopping"}
                       .add("signal", signal)
                       .add("drain_timeout_ms", service_.drain_timeout.count()));
        remove_unix_paths(sockets_);
        sockets_.clear();
        if (!generation_) {
            result_ = ExitCode::Ok;
            return;
        }
        generation_->drain();
        end_at_ = Clock::now() + service_.drain_timeout;
    }

    /// End what is left; a listener that does not do so in time is killed, and its cells with it.
    void end_now() {
        if (ending_) {
            if (end_at_ && Clock::now() >= *end_at_) {
                end_at_.reset();
                (void)::kill(generation_->pid(), SIGKILL); // reaped as it always is
            }
            return;
        }
        ending_ = true;
        end_at_ = Clock::now() + grace;
        if (generation_) {
            generation_->end();
        }
    }

    void reap() {
        int status = 0;
        for (pid_t pid = 0;
             (pid = waitpid(-1, &status, WNOHANG)) > 0;) { // as process 1, also children that are not ours
            if (generation_ && pid == generation_->pid()) {
                generation_.reset();
                ended(pid, status);
            }
        }
    }

    void ended(pid_t pid, int status) {
        if (stopping_) {
            result_ = ExitCode::Ok;
            return;
        }
        Record record{Level::error, "listener_died"};
        record.add("pid", pid);
        if (WIFEXITED(status)) {
            record.add("exit", WEXITSTATUS(status));
        } else {
            record.add("signal", WTERMSIG(status));
        }
        log_.write(record);
        if (Clock::now() - ready_at_ >= steady_after) {
            deaths_ = 0;
        }
        // Memory may have run out, and is still being freed. Nobody but us would be left to be ended.
        const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        back_off_or_give_up(killed ? first_back_off : 0ms);
    }

    /// The first replacement starts after `least`, the next ones ever later.
    void back_off_or_give_up(std::chrono::milliseconds least = 0ms) {
        if (++deaths_ > deaths_limit) {
            result_ = fail(
                {ExitCode::SelfTest, "the listener ended again and again; see the records listener_died"});
            return;
        }
        restart_at_ = Clock::now() + (deaths_ == 1 ? least : first_back_off * (1U << (deaths_ - 2)));
    }

    void restart() {
        if (const auto started = start_generation(); !started && started.error().code != ExitCode::Ok) {
            log_.write(Record{Level::error, "listener_failed"}.add("message", started.error().message));
            back_off_or_give_up();
        }
    }
};

} // namespace

/// With the privileges that cloisterd was started with: everything is opened and bound, nothing is parsed.
ExitCode run(const config::Config& config, tl::expected<Activation, Failure> activation,
             const OomScore& oom_score) {
    reset_signals(blocked);
    umask(077);
    raise_soft_limit(RLIMIT_NOFILE, "RLIMIT_NOFILE"); // a start needs more than 256: generation.cpp
    const config::Service& service = config.services.front();
    auto binary = open_listener_binary(service.handler);
    if (!binary) {
        return fail(binary.error());
    }
    auto opened =
        open_policies(config.policy_dir, handler_policy(config.policy_dir, service.handler), config.user);
    if (!opened) {
        return fail(opened.error());
    }
    tl::expected<std::vector<ListeningSocket>, Failure> sockets;
    if (!config.check) {
        sockets = std::move(activation).and_then([&](Activation passed) {
            return open_sockets(service, config.user, std::move(passed));
        });
    }
    if (!sockets) {
        return fail(sockets.error());
    }
    Fd log_fd = open_log_without_blocking();
    const bool groups_empty = give_up_privileges(config);

    auto policies = load_policies(*opened);
    *opened = {};
    const auto proved =
        policies ? compile_and_prove(*policies, sample_places()) : tl::unexpected(policies.error());
    if (!proved) {
        remove_unix_paths(*sockets);
        return fail(proved.error());
    }
    auto content = load_content(service);
    if (!content) {
        remove_unix_paths(*sockets);
        return fail(content.error());
    }
    if (config.check) {
        return ExitCode::Ok;
    }
    const bool priority =
        is_journal(STDERR_FILENO, std::getenv("JOURNAL_STREAM")); // NOLINT(concurrency-mt-unsafe)
    Supervisor supervisor{config,
                          *policies,
                          *content,
                          std::move(*sockets),
                          std::move(*binary),
                          oom_score,
                          Log{config.log_format, std::move(log_fd), priority},
                          priority,
                          groups_empty};
    return supervisor.run();
}

} // namespace cloister::supervisor
