// SPDX-License-Identifier: MIT
#include "scripted/listener.h"

#include "scripted/allowed.h"

#include "policy/names.h"
#include "syscall/calls.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cstring>
#include <netinet/in.h>
#include <new>
#include <sstream>
#include <sys/mman.h>
#include <sys/wait.h>

namespace cloister::scripted {
namespace {

constexpr pid_t first_pid = 1000;
constexpr int not_zero = control::status_fd; // the lowest free descriptor while 0 is taken
constexpr pid_t first_releaser = 1'000'000;
constexpr pid_t supervisor_pid = 77;

template <typename T>
T* pointer(long address) {
    return reinterpret_cast<T*>(address); // NOLINT(performance-no-int-to-ptr)
}

/// Of zeros, most of which are never touched.
control::SharedState* make_state() {
    void* const memory = mmap(nullptr, control::shared_size(control::max_sources), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::bad_alloc{};
    }
    auto* const state = static_cast<control::SharedState*>(memory);
    control::prepare(*state, control::max_sources);
    state->rows = 1;
    return state;
}

} // namespace

ListenerWorld::ListenerWorld(unsigned max_connections, std::uint16_t family, unsigned listeners)
    : arena_{std::make_unique<cell::Arena>()}, state_{make_state(),
                                                      [](control::SharedState* state) {
                                                          munmap(state,
                                                                 control::shared_size(control::max_sources));
                                                      }},
      listener_call_{policy::load(CLOISTER_POLICIES "/listener.policy").value()},
      clone_call_{policy::load(CLOISTER_POLICIES "/clone.policy").value()} {
    launch_.sockets[control::self_test_socket].family = AF_UNIX;
    launch_.sockets[control::self_test_socket].set_name("self-test");
    launch_.max_connections = max_connections;
    launch_.socket_count = listeners;
    for (unsigned i = 0; i < listeners; ++i) {
        launch_.sockets[i].family = family;
        launch_.sockets[i].inherited = family != AF_UNIX;
        launch_.sockets[i].set_name("the-listener");
    }
    launch_.socket_buffer = 65536;
    launch_.admission.max_per_source = launch_.admission.max_per_network = control::connection_limit;
    launch_.admission.source_ipv4 = control::ipv4_bits;
    launch_.admission.source_ipv6 = control::ipv6_bits;
    backlogs_.resize(listeners);
    listens_.resize(listeners, true);
    bindings_ = {{"listener_return", 1}, // where a call comes from is known here by its call site
                 {"clone_return", 2},
                 {"stack", reinterpret_cast<std::uint64_t>(arena_->buffer)}};
    launch_.arena = arena_.get();
}

void ListenerWorld::end_cell_silently(pid_t pid, int wait_status) {
    if (live_.erase(pid) == 1) {
        zombies_[pid] = wait_status;
    }
}

void ListenerWorld::end_cell(pid_t pid, int wait_status) {
    end_cell_silently(pid, wait_status);
    send_signal(cell::exit_signal, CLD_EXITED, pid);
}

void ListenerWorld::send_signal(int signal, int code, pid_t sender) {
    siginfo_t info{};
    info.si_signo = signal;
    info.si_code = code;
    info.si_pid = sender;
    signals_.push_back(info);
}

void ListenerWorld::order(control::Message::Tag tag) {
    control::Message message{};
    message.tag = tag;
    parameters_.push_back(message);
}

void ListenerWorld::supervisor_comes_from(std::uint16_t port) {
    auto& in = reinterpret_cast<sockaddr_in&>(launch_.sockets[0].own_client);
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

int ListenerWorld::serve() {
    const Running running{*this};
    const auto server =
        std::make_unique<listener::Server>(launch_, *state_, control::max_sources, supervisor_pid);
    try {
        server->serve();
        return -1;
    } catch (const Exited& exited) {
        return exited.code;
    }
}

int ListenerWorld::run_negative_self_tests() {
    const Running running{*this};
    zero_ = Zero::Connection; // negative self-tests have none, and do not care
    try {
        listener::run_negative_self_tests(launch_);
        return -1;
    } catch (const Exited& exited) {
        return exited.code;
    }
}

std::vector<nlohmann::json> ListenerWorld::records(const std::string& event) const {
    std::vector<nlohmann::json> found;
    std::istringstream lines{log_};
    for (std::string line; std::getline(lines, line);) {
        auto record = nlohmann::json::parse(line);
        if (record.at("event") == event) {
            found.push_back(std::move(record));
        }
    }
    return found;
}

void ListenerWorld::expect_allowed(const Call& call) const {
    const bool from_clone = call.site == sys::CallSite::Clone;
    const auto& policy = from_clone ? clone_call_ : listener_call_;
    if ((call.site != sys::CallSite::Listener && !from_clone) || !allows(policy, bindings_, call)) {
        throw Broken{policy.file + " does not allow call " + std::to_string(call.number)};
    }
}

long ListenerWorld::answer(const Call& call) {
    expect_allowed(call);
    const auto& a = call.arguments;
    switch (call.number) {
    case SYS_ppoll:
        return wait(call);
    case SYS_accept4:
        return accept(call);
    case SYS_clone:
        return clone(call);
    case SYS_fcntl:
        return dup(static_cast<int>(a[0]));
    case SYS_close:
        return close(static_cast<int>(a[0]));
    case SYS_rt_sigtimedwait:
        return take_signal(call);
    case SYS_wait4:
        return reap(call);
    case SYS_tgkill:
        return kill(static_cast<pid_t>(a[0]));
    case SYS_write:
        return write(call);
    case SYS_read:
        return read(call);
    case SYS_clock_gettime: {
        if (clock_error != 0) {
            return clock_error;
        }
        const std::int64_t now = a[0] == CLOCK_REALTIME ? clock_ns_ + wall_clock_ns_ : clock_ns_;
        *pointer<timespec>(a[1]) = {now / 1'000'000'000, now % 1'000'000'000};
        return 0;
    }
    case SYS_setsockopt:
        return set_option(call);
    case SYS_getsockname:
        return name_socket(call);
    case SYS_getsockopt:
        return get_option(call);
    case SYS_exit_group:
        throw Exited{static_cast<int>(a[0])};
    default:
        throw Broken{"a call that is a cell's: " + std::to_string(call.number)};
    }
}

long ListenerWorld::wait(const Call& call) {
    const auto& a = call.arguments;
    auto* const fds = pointer<pollfd>(a[0]);
    if (a[1] == 1 && fds[0].fd == control::log_fd) {
        at_log_poll();
        fds[0].revents = POLLOUT;
        return 1;
    }
    if (++waits_ > 100'000) {
        throw Broken{"it never ends"};
    }
    if (ppoll_error != 0) {
        return std::exchange(ppoll_error, 0);
    }
    constexpr std::size_t first = 3; // of the public sockets
    polled_listener_ = a[1] == launch_.socket_count + 3 && fds[first].fd >= 0;
    self_test_polls_ += fds[2].fd >= 0 ? 1 : 0;
    if (!happenings_.empty()) {
        auto happening = std::move(happenings_.front());
        happenings_.pop_front();
        happening();
    } else if (!ended_) {
        ended_ = true;
        order(control::Message::Tag::End);
    } else if (signals_.empty() && parameters_.empty()) {
        clock_ns_ += a[2] != 0
                         ? pointer<timespec>(a[2])->tv_sec * 1'000'000'000 + pointer<timespec>(a[2])->tv_nsec
                         : 0;
    }
    fds[0].revents = signals_.empty() ? 0 : POLLIN;
    fds[1].revents = parameters_.empty() && !supervisor_gone_ ? 0 : POLLIN;
    if (fds[2].fd >= 0 && (fds[2].fd != control::self_test_fd || !self_test_listens_)) {
        throw Broken{"it polls for a self-test that can't come"};
    }
    fds[2].revents = self_test_waits_ && fds[2].fd >= 0 ? POLLIN : 0;
    for (std::size_t i = 0; i + first < static_cast<std::size_t>(a[1]); ++i) {
        const bool ready = listens_.at(i) && (backlogs_.at(i) > 0 || !accept_errors_.empty());
        fds[i + first].revents = ready && fds[i + first].fd >= 0 ? POLLIN : 0;
    }
    return 1;
}

long ListenerWorld::accept(const Call& call) {
    ++accepts_;
    if (zero_ != Zero::Free) {
        return 99; // 0 was not free
    }
    if (!accept_errors_.empty()) {
        const long error = accept_errors_.front();
        accept_errors_.pop_front();
        return error;
    }
    if (call.arguments[0] == control::self_test_fd) {
        if (!self_test_listens_ || !std::exchange(self_test_waits_, false)) {
            return -EINVAL;
        }
        ++self_tests_;
        zero_ = Zero::Connection;
        socket_options_.clear();
        chosen_ = lingers_ = false;
        return control::connection_fd;
    }
    const auto listener = static_cast<std::size_t>(call.arguments[0] - control::first_socket_fd);
    if (backlogs_.at(listener) == 0) {
        return -EAGAIN;
    }
    --backlogs_.at(listener);
    accepted_from_.push_back(listener);
    zero_ = Zero::Connection;
    lingers_ = false;
    socket_options_.clear();
    chosen_ = launch_.sockets[0].family == AF_UNIX && passrights != 0;
    if (launch_.sockets[0].family == AF_INET) {
        auto& in = *pointer<sockaddr_in>(call.arguments[1]);
        in.sin_family = AF_INET;
        in.sin_port = htons(next_port_++);
        in.sin_addr.s_addr = htonl(client);
    } else if (launch_.sockets[0].family == AF_INET6) {
        auto& in6 = *pointer<sockaddr_in6>(call.arguments[1]);
        in6.sin6_family = AF_INET6;
        in6.sin6_port = htons(next_port_++);
        in6.sin6_addr = in6addr_loopback;
        in6.sin6_scope_id = scope;
    }
    return control::connection_fd;
}

long ListenerWorld::dup(int fd) {
    if (zero_ != Zero::Free) {
        return fd == control::signal_fd ? not_zero : throw Broken{"dup while 0 is not free"};
    }
    zero_ = fd == control::signal_fd ? Zero::Dup : Zero::Listening;
    chosen_ = zero_ == Zero::Listening;
    return control::connection_fd;
}

void ListenerWorld::release() {
    zero_ = Zero::Free;
}

long ListenerWorld::set_option(const Call& call) {
    const auto& a = call.arguments;
    if (zero_ != Zero::Connection) {
        throw Broken{"an option of what is no connection"};
    }
    const auto& value = *pointer<int>(a[3]);
    lingers_ = a[2] == SO_LINGER ? value != 0 : lingers_;
    socket_options_[static_cast<int>(a[2])] = value;
    return a[2] == SO_LINGER ? 0 : setsockopt_error;
}

long ListenerWorld::name_socket(const Call& call) const {
    auto& in = *pointer<sockaddr_in>(call.arguments[1]);
    in.sin_family = AF_INET;
    in.sin_port = htons(7007);
    in.sin_addr.s_addr = htonl(ours);
    *pointer<socklen_t>(call.arguments[2]) = sizeof in;
    return 0;
}

long ListenerWorld::get_option(const Call& call) const {
    const auto& a = call.arguments;
    if (zero_ != Zero::Connection) {
        throw Broken{"an option of what is no connection"};
    }
    if (a[2] == SO_PEERCRED) {
        *pointer<ucred>(a[3]) = {4711, client_uid, client_uid};
    } else {
        *pointer<int>(a[3]) = passrights == 1 ? 1 : 0;
        return passrights < 0 ? passrights : 0;
    }
    return 0;
}

long ListenerWorld::clone(const Call& call) {
    if (zero_ != Zero::Connection && zero_ != Zero::Listening) {
        throw Broken{"a cell without a connection"};
    }
    if (clone_error != 0 && clone_errors > 0) {
        --clone_errors;
        return clone_error;
    }
    if (call.arguments[0] == static_cast<long>(cell::releaser_flags)) {
        const pid_t pid = first_releaser + static_cast<pid_t>(releasers_.size());
        releasers_.push_back(pid);
        live_.insert(pid);
        at_releaser(pid);
        return pid;
    }
    const pid_t pid = first_pid + static_cast<pid_t>(born_.size());
    born_.push_back(pid);
    live_.insert(pid);
    at_clone(pid);
    const auto cells =
        std::count_if(live_.begin(), live_.end(), [](pid_t one) { return one < first_releaser; });
    if (static_cast<unsigned>(cells) > launch_.max_connections + self_tests_) {
        throw Broken{"more cells than the limit"};
    }
    return pid;
}

long ListenerWorld::close(int fd) {
    const auto listener = static_cast<std::size_t>(fd) - control::first_socket_fd;
    if (fd == control::connection_fd && zero_ == Zero::Connection && !chosen_) {
        zero_ = Zero::Free;
        resets_ += lingers_ ? 1 : 0;
    } else if (fd == control::connection_fd && zero_ == Zero::Dup) {
        zero_ = Zero::Free;
    } else if (fd == control::self_test_fd && self_test_listens_) {
        self_test_listens_ = false;
    } else if (listener < listens_.size() && listens_.at(listener) &&
               (launch_.sockets[listener].family != AF_UNIX || zero_ == Zero::Listening)) {
        listens_.at(listener) = false;
    } else if (fd != not_zero) { // the duplicate that showed that 0 was not free
        throw Broken{"close of what is not open: " + std::to_string(fd)};
    }
    return 0;
}

long ListenerWorld::take_signal(const Call& call) {
    if (signals_.empty()) {
        return -EAGAIN;
    }
    *pointer<siginfo_t>(call.arguments[1]) = signals_.front();
    signals_.pop_front();
    return pointer<siginfo_t>(call.arguments[1])->si_signo;
}

long ListenerWorld::reap(const Call& call) {
    if (wait4_error != 0) {
        return wait4_error;
    }
    const auto pid = static_cast<pid_t>(call.arguments[0]);
    if (live_.contains(pid)) {
        return 0;
    }
    const auto zombie = zombies_.find(pid);
    if (zombie == zombies_.end()) {
        return -ECHILD;
    }
    *pointer<int>(call.arguments[1]) = zombie->second;
    auto& usage = *pointer<rusage>(call.arguments[3]);
    usage.ru_utime = {0, 300};
    usage.ru_stime = {1, 5};
    usage.ru_maxrss = 16;
    if (zombie->second == SIGKILL && dying_ > 0) {
        --dying_;
    }
    zombies_.erase(zombie);
    return pid;
}

long ListenerWorld::kill(pid_t pid) {
    if (!live_.contains(pid)) {
        throw Broken{"kills what is not its own: " + std::to_string(pid)};
    }
    end_cell(pid, SIGKILL);
    most_dying_ = std::max(most_dying_, ++dying_);
    return 0;
}

long ListenerWorld::write(const Call& call) {
    if (call.arguments[0] == control::control_fd) {
        told_.push_back(pointer<control::Message>(call.arguments[1])->tag);
        return call.arguments[2];
    }
    if (write_error != 0) {
        return write_error;
    }
    log_.append(pointer<const char>(call.arguments[1]), static_cast<std::size_t>(call.arguments[2]));
    return call.arguments[2];
}

long ListenerWorld::read(const Call& call) {
    if (supervisor_gone_) {
        return 0;
    }
    if (read_error != 0) {
        return std::exchange(read_error, 0);
    }
    *pointer<control::Message>(call.arguments[1]) = parameters_.front();
    parameters_.pop_front();
    return std::min(order_size, call.arguments[2]); // what is longer is cut off: unix(7), SOCK_SEQPACKET
}

} // namespace cloister::scripted

// In the daemon this is the cell setup (src/cell/cell.cpp); here only its system call is made.
extern "C" long cloister::cell::cloister_clone_cell(const Parameters*, const std::uint8_t* buffer,
                                                    unsigned long flags) {
    return sys::answer(sys::CallSite::Clone, SYS_clone, static_cast<long>(flags), sys::address(buffer), 0, 0,
                       0, 0);
}
