// SPDX-License-Identifier: MIT
#include "supervisor/generation.h"

#include "base/descriptors.h"
#include "base/die.h"
#include "control/judge.h"
#include "supervisor/self_test.h"
#include "supervisor/socket_options.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/core.h>
#include <memory>
#include <poll.h>
#include <string>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister::supervisor {
namespace {

constexpr int patience_ms = 20'000; // for each answer of a listener that starts
constexpr int above_all_targets = 256;

tl::unexpected<Failure> system_call(std::string_view what) {
    return tl::unexpected(Failure{ExitCode::SystemCall, fmt::format("{}: {}", what, error_text(errno))});
}

timeval timeval_of(std::chrono::milliseconds time) {
    return {time.count() / 1000, time.count() % 1000 * 1000};
}

/// In the child, until execveat: descriptors to the places that the launch configuration has for them,
/// nothing else left open.
[[noreturn]] void become_listener(const Setup& setup, int control) {
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    std::vector<std::pair<int, int>> moves{{null, control::connection_fd},
                                           {null, control::signal_fd},
                                           {setup.log_fd, control::log_fd},
                                           {control, control::control_fd}};
    for (const auto& socket : setup.sockets) {
        moves.emplace_back(socket.fd.get(),
                           static_cast<int>(moves.size())); // from control::first_socket_fd on
    }
    const auto expect = [](bool passed) {
        if (!passed) {
            die(ExitCode::SystemCall,
                "cannot pass a descriptor on to the listener: %s; raise RLIMIT_NOFILE above %d",
                error_text(errno), above_all_targets + control::status_fd);
        }
    };
    const int binary = fcntl(setup.binary_fd, F_DUPFD_CLOEXEC, above_all_targets);
    expect(binary >= 0);
    for (auto& [fd, target] : moves) { // first out of the way: a source may lie where another one goes
        fd = fcntl(fd, F_DUPFD_CLOEXEC, above_all_targets);
        expect(fd >= 0);
    }
    for (const auto& [fd, target] : moves) {
        expect(dup2(fd, target) == target);
    }
    close_descriptors(STDERR_FILENO, static_cast<int>(moves.size()), ~0U, Closing::AtExec);
    std::string name = "cloister-listener";
    std::string parent = fmt::format("({} of cloisterd)", setup.service.handler);
    std::string environment = control::listener_environment;
    char* const argv[] = {name.data(), parent.data(), nullptr};
    char* const envp[] = {environment.data(), nullptr};
    syscall(SYS_execveat, binary, "", argv, envp, AT_EMPTY_PATH);
    die(ExitCode::SystemCall, "cannot execute the listener of %s: %s", setup.service.handler.c_str(),
        error_text(errno));
}

void fill(control::Launch& launch, const Setup& setup, const policy::Program& program, pid_t listener,
          const control::Message& hello) {
    control::prepare(launch);
    const config::Service& service = setup.service;
    launch.arena = hello.arena;
    launch.call_sites = hello.call_sites;
    launch.parameters = {listener, static_cast<std::uint64_t>(service.cpu_limit.count()),
                         timeval_of(service.lifetime), cell::Mode::Serve, arch::has_xsave() ? 1 : 0};
    launch.max_connections = setup.max_connections;
    launch.content_size = setup.content.size();
    launch.socket_count = static_cast<std::uint32_t>(setup.sockets.size());
    launch.idle = timeval_of(service.idle_timeout);
    launch.socket_buffer = service.socket_buffer.value_or(0);
    launch.log_format = setup.log_format;
    launch.log_priorities = setup.log_priorities;
    launch.log_may_block = setup.log_may_block;
    launch.groups_empty = setup.groups_empty;
    launch.uid = geteuid();
    launch.gid = getegid();
    launch.filter_length = static_cast<std::uint32_t>(program.size());
    std::copy(program.begin(), program.end(), launch.filter);
    for (std::size_t i = 0; i < setup.sockets.size(); ++i) {
        const auto& socket = setup.sockets[i];
        auto& target = launch.sockets[i];
        target.set_name(socket.name);
        target.family = socket.address.ss_family;
        target.inherited = !socket.is_unix && !socket.activated;
    }
}

} // namespace

tl::expected<Generation, Failure> Generation::start(const Setup& setup) {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        return system_call("cannot start a listener: socketpair");
    }
    Fd ours{ends[0]};
    Fd theirs{ends[1]};
    // What a listener passes would be ours to close. An older kernel closes it as it comes.
    if (auto failure = refuse_descriptors(ours.get(), "cannot start a listener")) {
        return tl::unexpected(std::move(*failure));
    }
    if (auto failure = setup.oom_score.raise()) {
        return tl::unexpected(std::move(*failure));
    }
    const pid_t pid = fork();
    if (pid == 0) {
        become_listener(setup, theirs.get());
    }
    const int fork_error = errno;
    if (const auto failure = setup.oom_score.lower()) {
        die(failure->code, "%s", failure->message.c_str());
    }
    errno = fork_error;
    if (pid < 0) {
        return system_call("cannot start a listener: fork");
    }
    theirs.reset(); // the end of the listener shall be the end of the socket
    Generation generation{pid, std::move(ours)};
    if (auto armed = generation.arm(setup); !armed) {
        generation.kill();
        return tl::unexpected(armed.error());
    }
    return generation;
}

tl::expected<void, Failure> Generation::arm(const Setup& setup) {
    const auto hello = receive(setup, control::Message::Tag::Hello);
    if (!hello) {
        return tl::unexpected(hello.error());
    }
    if (auto sent = send_plan(setup, *hello); !sent) {
        return sent;
    }
    const auto armed = receive(setup, control::Message::Tag::Armed);
    if (!armed) {
        return tl::unexpected(armed.error());
    }
    landlock_abi_ = armed->landlock_abi;
    bounding_empty_ = armed->bounding_empty != 0;
    for (std::uint32_t i = 0; i < setup.sockets.size(); ++i) {
        const auto announce = [&](const sockaddr_storage& peer) {
            control::Message message{};
            message.tag = control::Message::Tag::SelfTest;
            message.socket = i;
            message.peer = peer;
            (void)control::send_message(control_.get(),
                                        message); // a listener that is gone does not echo either
        };
        const auto self_test = run_self_test(setup.sockets[i], {control_.get(), setup.stop_fd}, announce,
                                             conversation_, setup.content.bytes());
        if (!self_test) {
            return tl::unexpected(
                Failure{ExitCode::SelfTest, fmt::format("self-test: no {} from {}: {}", setup.service.handler,
                                                        setup.sockets[i].name, self_test.error())});
        }
        if (*self_test == SelfTest::interrupted) {
            // Told to stop, or the listener is gone, or it is full: then clients that waited have its cells,
            // and what a self-test would see, they see.
            const auto full = receive(setup, control::Message::Tag::Full);
            full_ = full.has_value();
            return full ? tl::expected<void, Failure>{} : tl::unexpected(full.error());
        }
    }
    return {};
}

tl::expected<control::Message, Failure> Generation::receive(const Setup& setup, control::Message::Tag tag) {
    std::array<pollfd, 2> polled{{{control_.get(), POLLIN, 0}, {setup.stop_fd, POLLIN, 0}}};
    const int ready = poll(polled.data(), polled.size(), patience_ms);
    if (polled[1].revents != 0) {
        return tl::unexpected(Failure{ExitCode::Ok, "told to stop while the listener started"});
    }
    if (ready <= 0) {
        return tl::unexpected(
            Failure{ExitCode::SelfTest, fmt::format("the listener, process {}, has not answered for {} s",
                                                    pid_, patience_ms / 1000)});
    }
    control::Message message{};
    const bool received = control::receive_message(control_.get(), message);
    if (!received && errno != EPROTO) {
        return tl::unexpected(death());
    }
    if (!received || message.tag != tag) {
        return tl::unexpected(Failure{
            ExitCode::SelfTest,
            fmt::format("the listener, process {}, sent what it should not: it is of another build", pid_)});
    }
    return message;
}

/// What the listener says of itself, before anything of it is used.
tl::expected<void, Failure> Generation::expect_fitting(const Setup& setup, const control::Message& hello) {
    const std::string& name = setup.service.handler;
    if (const auto ours = control::own_build(); !(hello.build == ours)) {
        return tl::unexpected(
            Failure{ExitCode::Config,
                    fmt::format("handler {} is of version {} ({}), cloisterd of {} ({}): rebuild it", name,
                                hello.build.name(), hello.build.contract, ours.name(), ours.contract)});
    }
    if (!control::is_sound(hello.conversation)) {
        return tl::unexpected(Failure{
            ExitCode::SelfTest,
            fmt::format("the listener, process {}, sent what it should not: it is of another build", pid_)});
    }
    if (const bool wants = hello.content_room != 0; wants != (setup.content.size() != 0)) {
        return tl::unexpected(Failure{
            ExitCode::Usage, wants ? fmt::format("handler {} serves a file; name it by --content", name)
                                   : fmt::format("handler {} serves no file; leave --content away", name)});
    }
    conversation_ = hello.conversation;
    return {};
}

tl::expected<void, Failure> Generation::send_plan(const Setup& setup, const control::Message& hello) {
    if (auto fits = expect_fitting(setup, hello); !fits) {
        return fits;
    }
    const auto program = compile_and_prove(setup.policies, {hello.arena, hello.call_sites});
    if (!program) {
        return tl::unexpected(program.error());
    }
    const auto launch = std::make_unique<control::Launch>();
    fill(*launch, setup, *program, pid_, hello);
    const Fd memory = control::seal(*launch);
    control::Message message{};
    message.tag = control::Message::Tag::Launch;
    if (!control::send_message(control_.get(), message, memory.get(), setup.content.fd())) {
        return tl::unexpected(death());
    }
    return {};
}

/// The end of the socket is that of the listener, which has said why itself; its exit code is ours. One that
/// has closed its socket and lives on is killed; one that ends already can't be any more (prepare_signal(),
/// kernel/signal.c), and its exit code stays.
Failure Generation::death() {
    int status = 0;
    (void)::kill(pid_, SIGKILL);
    if (waitpid(pid_, &status, 0) != pid_) {
        return {ExitCode::SystemCall, fmt::format("waitpid: {}", error_text(errno))};
    }
    const pid_t pid = std::exchange(pid_, 0);
    if (WIFEXITED(status)) {
        const bool one_of_ours = WEXITSTATUS(status) >= static_cast<int>(ExitCode::Usage);
        return {one_of_ours ? ExitCode{WEXITSTATUS(status)} : ExitCode::SelfTest,
                fmt::format("the listener, process {}, could not confine itself: exit code {}", pid,
                            WEXITSTATUS(status))};
    }
    if (WTERMSIG(status) == SIGKILL) {
        return {ExitCode::SelfTest,
                fmt::format("the listener, process {}, was killed, or had closed its socket, "
                            "while it started",
                            pid)};
    }
    return {ExitCode::SelfTest, fmt::format("the listener, process {}, ended with signal {} while it started",
                                            pid, WTERMSIG(status))};
}

void Generation::drain() {
    send(control::Message::Tag::Drain);
}

void Generation::end() {
    send(control::Message::Tag::End);
}

void Generation::kill() {
    if (pid_ > 0) {
        (void)::kill(pid_, SIGKILL);
        (void)waitpid(pid_, nullptr, 0);
        pid_ = 0;
    }
}

void Generation::send(control::Message::Tag tag) {
    control::Message message{};
    message.tag = tag;
    (void)control::send_message(control_.get(), message); // a listener that is gone has nothing to stop
}

} // namespace cloister::supervisor
