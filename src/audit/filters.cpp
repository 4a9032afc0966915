// SPDX-License-Identifier: MIT
#include "audit/filters.h"
#include "base/die.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fmt/format.h>
#include <linux/seccomp.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace cloister::audit {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 1s; // a process that runs or sleeps stops within microseconds

CannotTell cannot(std::string why) {
    return {std::move(why)};
}

std::string who(pid_t thread) {
    const auto status = status_of(thread);
    return status ? fmt::format("{} ({})", thread, status->name()) : std::to_string(thread);
}

/// Why the kernel lets nobody, or not us, trace that thread.
CannotTell not_traced(pid_t thread, int error) {
    if (error == ESRCH) {
        return {fmt::format("thread {} has ended", thread), true};
    }
    if (const auto status = status_of(thread)) {
        if (status->state() == 'Z' || status->state() == 'X') {
            return {fmt::format("thread {} has ended", thread), true};
        }
        if (const auto tracer = status->number("TracerPid"); tracer > 0) {
            return cannot(fmt::format("{} is traced by process {} already, and a process has one tracer: end "
                                      "that one (a debugger, strace) first",
                                      who(thread), who(static_cast<pid_t>(tracer))));
        }
    }
    return cannot(fmt::format("the kernel does not let us trace {}: {}; it needs root (CAP_SYS_PTRACE), and "
                              "kernel.yama.ptrace_scope below 3",
                              who(thread), error_text(error)));
}

CannotTell not_shown(pid_t thread, int error) {
    const auto us = status_of(::getpid());
    switch (error) {
    case EACCES:
        if (us && us->number("Seccomp") > 0) {
            return cannot("the kernel shows filters to no process that has one itself, and this command has: "
                          "run it outside of the container or service that gave it one");
        }
        return cannot("the kernel shows filters only to a process with CAP_SYS_ADMIN in the initial user "
                      "namespace: run this as root of the host, outside of user namespaces");
    case EIO:
        return cannot("this kernel cannot show filters: it lacks CONFIG_CHECKPOINT_RESTORE");
    case EMEDIUMTYPE:
        return cannot(fmt::format("the kernel has not kept the bytes of a filter of {}", who(thread)));
    case EINVAL:
        return cannot(fmt::format("{} is in the strict mode of seccomp, which has no filter: read, write, "
                                  "_exit and sigreturn are all that it may call",
                                  who(thread)));
    default:
        return cannot(
            fmt::format("the kernel does not show the filters of {}: {}", who(thread), error_text(error)));
    }
}

/// A thread of somebody, traced by our thread from here on. None of the options is set: PTRACE_O_EXITKILL
/// would end it with us.
class Stopped {
  public:
    static Told<Stopped> make(pid_t thread) {
        // Without a filter there is nothing to stop it for, and strict mode has none to show.
        if (::ptrace(PTRACE_SEIZE, thread, nullptr, nullptr) != 0) {
            return tl::unexpected{not_traced(thread, errno)};
        }
        Stopped stopped{thread};
        if (::ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr) != 0) {
            return tl::unexpected{not_traced(thread, errno)};
        }
        const auto end = std::chrono::steady_clock::now() + patience;
        for (auto pause = 1us; std::chrono::steady_clock::now() < end; pause = std::min(pause * 2, 1000us)) {
            int status = 0;
            const auto got = ::waitpid(thread, &status, __WALL | WNOHANG);
            if (got == thread && WIFSTOPPED(status)) {
                stopped.is_stopped_ = true;
                // Stopped as it was about to receive a signal, it must get it when it goes on.
                stopped.signal_ = status >> 16 == 0 ? WSTOPSIG(status) : 0;
                return stopped;
            }
            if (got == thread || got < 0) {
                return tl::unexpected{not_traced(thread, ESRCH)};
            }
            std::this_thread::sleep_for(pause);
        }
        return tl::unexpected{cannot(fmt::format(
            "{} did not stop within a second: it sleeps in the kernel where nothing interrupts it (state D), "
            "or the machine is busy; try again",
            who(thread)))};
    }
    Stopped(Stopped&& other) noexcept
        : thread_{std::exchange(other.thread_, 0)}, signal_{other.signal_}, is_stopped_{other.is_stopped_} {}
    Stopped(const Stopped&) = delete;
    Stopped& operator=(const Stopped&) = delete;
    Stopped& operator=(Stopped&&) = delete;
    ~Stopped() {
        if (thread_ != 0 && is_stopped_) {
            ::ptrace(PTRACE_DETACH, thread_, nullptr, signal_);
        }
        // One that is not stopped cannot be detached. It is let go when this thread of ours ends.
    }

    [[nodiscard]] Told<Filters> filters() const {
        Filters filters;
        for (unsigned long index = 0;; ++index) {
            const auto size = ::ptrace(PTRACE_SECCOMP_GET_FILTER, thread_, index, nullptr);
            if (size < 0 && errno == ENOENT) {
                return filters;
            }
            policy::Program program(size < 0 ? 0 : static_cast<std::size_t>(size));
            if (size < 0 || ::ptrace(PTRACE_SECCOMP_GET_FILTER, thread_, index, program.data()) != size) {
                return tl::unexpected{not_shown(thread_, errno)};
            }
            filters.push_back(std::move(program));
        }
    }

  private:
    explicit Stopped(pid_t thread) : thread_{thread} {}
    pid_t thread_;
    int signal_ = 0;
    bool is_stopped_ = false;
};

/// A signal that stops us (SIGTSTP) must not come while somebody else is stopped. SIGSTOP cannot be held up.
class SignalsHeldUp {
  public:
    SignalsHeldUp() {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsHeldUp() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsHeldUp(const SignalsHeldUp&) = delete;
    SignalsHeldUp& operator=(const SignalsHeldUp&) = delete;
    SignalsHeldUp(SignalsHeldUp&&) = delete;
    SignalsHeldUp& operator=(SignalsHeldUp&&) = delete;

  private:
    sigset_t before_{};
};

} // namespace

Told<Filters> filters_of(pid_t thread) {
    const auto status = expect_living(thread);
    if (!status) {
        return tl::unexpected{status.error()};
    }
    if (status->number("Seccomp") == SECCOMP_MODE_DISABLED) {
        return Filters{};
    }
    Told<Filters> filters;
    const SignalsHeldUp held_up;
    std::thread{[&] {
        const auto stopped = Stopped::make(thread);
        filters = stopped ? stopped->filters() : tl::unexpected{stopped.error()};
    }}.join();
    return filters;
}

Told<std::vector<ThreadFilters>> filters_of_process(pid_t pid) {
    if (const auto status = expect_living(pid); !status) {
        return tl::unexpected{status.error()};
    }
    const auto threads = threads_of(pid);
    if (!threads) {
        return tl::unexpected{threads.error()};
    }
    std::vector<ThreadFilters> all;
    for (const pid_t thread : *threads) {
        auto filters = filters_of(thread);
        if (filters) {
            all.push_back({thread, std::move(*filters)});
        } else if (!filters.error().gone) {
            return tl::unexpected{filters.error()};
        }
    }
    if (all.empty()) {
        return tl::unexpected{CannotTell{fmt::format("process {} has ended", pid), true}};
    }
    return all;
}

bool same(const Filters& a, const Filters& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& one, const auto& other) {
        return one.size() == other.size() &&
               std::memcmp(one.data(), other.data(), one.size() * sizeof(sock_filter)) == 0;
    });
}

} // namespace cloister::audit
