// SPDX-License-Identifier: MIT
#include "supervisor/generation.h"

#include "base/descriptors.h"
#include "base/die.h"
#include "control/judge.h"
#include "supervisor/explain.h"
#include "supervisor/socket_options.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/core.h>
#include <memory>
#include <string>
#include <sys/syscall.h>
#include <unistd.h>

namespace cloister::supervisor {
namespace {

constexpr int above_all_targets = 256;

tl::unexpected<Failure> system_call(std::string_view what) {
    return tl::unexpected(Failure{ExitCode::SystemCall, fmt::format("{}: {}", what, error_text(errno))});
}

timeval timeval_of(std::chrono::milliseconds time) {
    return {time.count() / 1000, time.count() % 1000 * 1000};
}

/// In the child, until execveat: descriptors to the places that the launch configuration has for them,
/// nothing else left open.
[[noreturn]] void become_listener(const Setup& setup, const Host& host, int log, int control, int self_test) {
    const int log_fd = fcntl(log, F_DUPFD_CLOEXEC, above_all_targets);
    if (log_fd >= 0) { // the supervisor's own descriptor may be taken by what is moved below
        static cloister::Log own{host.log_format, host.log_priorities, log_fd, "supervisor"};
        log_fatal_errors_to(own);
    }
    std::vector<std::pair<int, int>> moves{{log, control::connection_fd}, // it closes this,
                                           {log, control::signal_fd},     // and puts another one there
                                           {log, control::log_fd},
                                           {control, control::control_fd},
                                           {self_test, control::self_test_fd}};
    for (const auto& socket : setup.sockets) {
        moves.emplace_back(socket->fd.get(),
                           static_cast<int>(moves.size())); // from control::first_socket_fd on
    }
    const auto expect = [](bool passed, const char* call) {
        if (!passed && (errno == EMFILE || errno == EINVAL)) {
            die(ExitCode::SystemCall,
                "cannot pass a descriptor on to the listener: %s: %s; raise RLIMIT_NOFILE (LimitNOFILE=) "
                "above %d",
                call, error_text(errno), above_all_targets + control::status_fd);
        }
        if (!passed) {
            die(ExitCode::SystemCall, "cannot pass a descriptor on to the listener: %s: %s", call,
                error_text(errno));
        }
    };
    const int binary = fcntl(setup.binary->get(), F_DUPFD_CLOEXEC, above_all_targets);
    expect(binary >= 0, "fcntl");
    for (auto& [fd, target] : moves) { // first out of the way: a source may lie where another one goes
        fd = fcntl(fd, F_DUPFD_CLOEXEC, above_all_targets);
        expect(fd >= 0, "fcntl");
    }
    for (const auto& [fd, target] : moves) {
        expect(dup2(fd, target) == target, "dup2");
    }
    close_descriptors(STDERR_FILENO, static_cast<int>(moves.size()), ~0U, Closing::AtExec);
    std::string name = "cloister-listener";
    std::string parent = fmt::format("({} of cloisterd)", setup.service.handler);
    std::string environment = control::listener_environment;
    char* const argv[] = {name.data(), parent.data(), nullptr};
    char* const envp[] = {environment.data(), nullptr};
    syscall(SYS_execveat, binary, "", argv, envp, AT_EMPTY_PATH);
    die(ExitCode::SystemCall, "cannot execute the listener of %s: execveat: %s",
        setup.service.handler.c_str(), error_text(errno));
}

void fill(control::Admission& admission, const Setup& setup) {
    const config::Service& service = setup.service;
    admission.max_per_source = service.max_per_source;
    admission.max_per_network = service.max_per_network;
    admission.source_rate = rate_of(service.source_rate);
    admission.network_rate = rate_of(service.network_rate);
    admission.source_ipv4 = service.source_prefix.ipv4;
    admission.source_ipv6 = service.source_prefix.ipv6;
    admission.network_ipv4 = service.network_prefix.ipv4;
    admission.network_ipv6 = service.network_prefix.ipv6;
    admission.refuse_privileged_ports = service.refuse_privileged_ports;
    admission.reserved = reserved_places(setup);
    admission.penalty_ms = static_cast<std::uint64_t>(service.penalty.count());
    admission.over_rate_ms = static_cast<std::uint64_t>(service.over_rate_penalty.count());
    for (const auto& source : service.exempt) {
        admission.exempt[admission.exempt_count++] = source;
    }
}

/// Whether its clients say something before they are answered.
bool clients_speak_first(const control::Conversation& conversation, const config::Service& service) {
    return conversation.kind == control::Answer::Content
               ? service.content_after_request
               : conversation.kind == control::Answer::Same || conversation.request_size != 0;
}

void fill(control::Launch& launch, const Setup& setup, const Host& host, const policy::Program& program,
          pid_t listener, unsigned row, const control::Message& hello, std::size_t content_size) {
    control::prepare(launch);
    const config::Service& service = setup.service;
    launch.arena = hello.arena;
    launch.call_sites = hello.call_sites;
    launch.parameters = {listener, static_cast<std::uint64_t>(service.cpu_limit.count()),
                         timeval_of(service.lifetime), cell::Mode::Serve, arch::has_xsave() ? 1 : 0};
    launch.max_connections = setup.max_connections;
    launch.row = row;
    fill(launch.admission, setup);
    launch.content_size = content_size;
    launch.socket_count = static_cast<std::uint32_t>(setup.sockets.size());
    launch.idle = timeval_of(service.idle_timeout);
    launch.socket_buffer = service.socket_buffer.value_or(0);
    launch.log_format = host.log_format;
    launch.log_priorities = host.log_priorities;
    launch.groups_empty = host.groups_empty;
    launch.uid = geteuid();
    launch.gid = getegid();
    launch.filter_length = static_cast<std::uint32_t>(program.size());
    std::copy(program.begin(), program.end(), launch.filter);
    for (std::size_t i = 0; i < setup.sockets.size(); ++i) {
        const ListeningSocket& socket = *setup.sockets[i];
        auto& target = launch.sockets[i];
        target.set_name(socket.name);
        target.family = socket.address.ss_family;
        target.inherited = !socket.is_unix && !socket.activated;
    }
}

} // namespace

tl::expected<Generation, Failure> Generation::start(std::shared_ptr<const Setup> setup, const Host& host,
                                                    int log_fd, bool reach) {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        return system_call("cannot start a listener: socketpair");
    }
    Fd ours{ends[0]};
    const Fd theirs{ends[1]};
    // What a listener passes would be ours to close. An older kernel closes it as it comes.
    if (auto failure = refuse_descriptors(ours.get(), "cannot start a listener")) {
        return tl::unexpected(std::move(*failure));
    }
    if (fcntl(ours.get(), F_SETFL, O_NONBLOCK) != 0) {
        return system_call("cannot start a listener: fcntl");
    }
    auto private_socket = make_private_socket();
    if (!private_socket) {
        return tl::unexpected(private_socket.error());
    }
    const auto row = setup->shared->take_row();
    if (!row) {
        return tl::unexpected(
            Failure{ExitCode::SystemCall,
                    fmt::format("cannot start a listener: {} earlier ones of the service have not ended",
                                control::max_rows)});
    }
    if (auto failure = host.oom_score.raise()) {
        setup->shared->release_row(*row);
        return tl::unexpected(std::move(*failure));
    }
    const pid_t pid = fork();
    if (pid == 0) {
        become_listener(*setup, host, log_fd, theirs.get(), private_socket->listening.get());
    }
    const int fork_error = errno;
    if (const auto failure = host.oom_score.lower()) {
        if (pid > 0) {
            (void)::kill(pid, SIGKILL); // reaped by the loop
        }
        setup->shared->release_row(*row);
        return tl::unexpected(*failure);
    }
    errno = fork_error;
    if (pid < 0) {
        setup->shared->release_row(*row);
        errno = fork_error;
        return system_call("cannot start a listener: fork (clone)");
    }
    Generation generation{pid, ControlFd{ours.release()}, std::move(private_socket->client), std::move(setup),
                          *row};
    if (reach) {
        for (const auto& socket : generation.setup().sockets) {
            generation.reaching.push_back({make_public_client(*socket), std::nullopt});
        }
    }
    return generation;
}

Generation Generation::adopt(std::shared_ptr<const Setup> setup, const Handover::Generation& one) {
    Generation generation{one.pid, ControlFd{one.control}, Fd{}, std::move(setup), one.row};
    generation.message_size_ = one.message_size;
    return generation;
}

Handover::Generation Generation::hand_over(unsigned number, bool serves) const {
    return {number, pid_, control_.get(), row_, serves, message_size_};
}

/// Of another build: its messages begin with the tag all the same, and the only one that it sends any more is
/// its answer.
Generation::Heard Generation::hear_another_build() {
    std::vector<char> bytes(message_size_ + 1);
    const ssize_t size = recv(control_.get(), bytes.data(), bytes.size(), 0);
    if (size < 0) {
        return errno == EAGAIN || errno == EINTR ? Heard::nothing
               : errno == ECONNRESET             ? Heard::closed
                                                 : Heard::failed;
    }
    auto tag = control::Message::Tag::Hello;
    std::memcpy(&tag, bytes.data(), sizeof tag);
    return size == 0 ? Heard::closed
           : static_cast<std::size_t>(size) == message_size_ && tag == control::Message::Tag::Alive
               ? Heard::alive
               : Heard::nonsense;
}

Generation::Heard Generation::hear() {
    if (message_size_ != sizeof(control::Message)) {
        return hear_another_build();
    }
    control::Message message{};
    if (!control::receive_message(control_.get(), message)) {
        const int error = errno;
        if (error == EAGAIN || error == EINTR) {
            return Heard::nothing;
        }
        if (error != 0 && error != EPROTO && error != ECONNRESET) {
            return Heard::failed;
        }
        return error == EPROTO ? Heard::nonsense : Heard::closed;
    }
    switch (message.tag) {
    case control::Message::Tag::Hello:
        hello_ = message;
        return Heard::hello;
    case control::Message::Tag::Armed:
        landlock_abi_ = message.landlock_abi;
        bounding_empty_ = message.bounding_empty != 0;
        setup_ns_ = message.setup_ns;
        speculation_ = message.speculation;
        return Heard::armed;
    case control::Message::Tag::Alive:
        return Heard::alive;
    default:
        return Heard::nonsense;
    }
}

/// What the listener says of itself, before anything of it is used.
tl::expected<void, Failure> Generation::expect_fitting() {
    const control::Message& hello = hello_;
    const std::string& name = setup_->service.handler;
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
    if (const bool wants = hello.content_room != 0 && !serves_metrics();
        wants != (setup_->content->size() != 0)) {
        return tl::unexpected(Failure{
            ExitCode::Usage, wants ? fmt::format("handler {} serves a file; name it by --content", name)
                                   : fmt::format("handler {} serves no file; leave --content away", name)});
    }
    return {};
}

tl::expected<void, Failure> Generation::launch(const Host& host, const LivePages* pages) {
    const Setup& setup = *setup_;
    if (auto fits = expect_fitting(); !fits) {
        return fits;
    }
    const auto program = compile_and_prove(*setup.policies, {hello_.arena, hello_.call_sites});
    if (!program) {
        return tl::unexpected(program.error());
    }
    for (const auto& socket : setup.sockets) {
        if (auto failure = defer_accept(*socket, clients_speak_first(hello_.conversation, setup.service)
                                                     ? setup.service.defer_accept
                                                     : std::chrono::milliseconds{0})) {
            return tl::unexpected(std::move(*failure));
        }
    }
    pages_ = serves_metrics() ? pages : nullptr;
    const auto launch = std::make_unique<control::Launch>();
    fill(*launch, setup, host, *program, pid_, row_, hello_,
         pages_ != nullptr ? LivePages::size : setup.content->size());
    for (std::size_t i = 0; i < reaching.size(); ++i) {
        launch->sockets[i].own_client = reaching[i].client->own;
    }
    const auto memory = control::seal(*launch);
    if (!memory) {
        return system_call(fmt::format("cannot make the launch configuration: {}", memory.error()));
    }
    control::Message message{};
    message.tag = control::Message::Tag::Launch;
    (void)control::send_message(
        control_.get(), message,
        {memory->get(), setup.shared->fd(), pages_ != nullptr ? pages_->fd() : setup.content->fd()});
    return {};
}

void Generation::talk() {
    const Setup& setup = *setup_;
    const auto content = pages_ != nullptr ? pages_->newest() : setup.content->bytes();
    const auto script = [&] { return script_of(hello_.conversation, content); };
    self_test.emplace(std::move(client_), script());
    for (std::size_t i = 0; i < reaching.size(); ++i) {
        auto& [client, exchange] = reaching[i];
        if (client && client->error == 0) {
            exchange.emplace(connect(std::move(*client), *setup.sockets[i], script()));
        }
    }
}

bool Generation::is_tested() const {
    return self_test || std::any_of(reaching.begin(), reaching.end(), [](const Reaching& one) {
               return one.exchange && !one.exchange->over();
           });
}

std::uint64_t Generation::live() const {
    return setup_->shared->state().counters[row_].live.load(std::memory_order_relaxed);
}

void Generation::was_reaped() {
    if (!reaped_) {
        reaped_ = true;
        setup_->shared->release_row(row_);
    }
}

void Generation::ask() {
    send(control::Message::Tag::Ask);
}

void Generation::drain() {
    send(control::Message::Tag::Drain);
}

void Generation::end() {
    send(control::Message::Tag::End);
}

void Generation::kill() {
    if (!reaped_) {
        (void)::kill(pid_, SIGKILL);
    }
    control_.reset();
    client_.reset();
    self_test.reset();
    reaching.clear();
}

void Generation::send(control::Message::Tag tag) {
    control::Message message{};
    message.tag = tag;
    std::vector<char> bytes(message_size_); // the tag, and nothing else that these messages have
    std::memcpy(bytes.data(), &message.tag, sizeof message.tag);
    (void)::send(control_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); // it may be gone
}

} // namespace cloister::supervisor
