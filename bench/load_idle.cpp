// SPDX-License-Identifier: MIT
// Many connections that stay, held by as many processes as the limit on descriptors makes necessary. They
// come up a few at a time, so that no backlog overflows, and go at a rate: many confined processes that end
// at once are a hazard on some kernels.
#include "idle_holder.h"
#include "load.h"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <new>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace cloister::bench {

namespace {

using namespace std::chrono_literals;
constexpr std::uint64_t other_descriptors = 32; // standard streams, pipes, what the caller left open
constexpr auto progress_interval = 1s;

/// A holder in a process of its own. It goes on from phase to phase by a byte from us each, and ends if we
/// do.
struct Worker {
    pid_t pid = -1;
    Fd parameters; ///< our end
    Fd answers;    ///< a byte when the phase is done
};

/// Memory that the holders share with us: each writes its own tally.
class Tallies {
  public:
    explicit Tallies(std::size_t count) : count_{count} {
        void* const memory =
            ::mmap(nullptr, count * sizeof(Tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            throw std::bad_alloc{};
        }
        tallies_ = static_cast<Tally*>(memory);
        std::uninitialized_default_construct_n(tallies_, count);
    }
    Tallies(const Tallies&) = delete;
    Tallies& operator=(const Tallies&) = delete;
    ~Tallies() { ::munmap(tallies_, count_ * sizeof(Tally)); }

    Tally& operator[](std::size_t i) { return tallies_[i]; }
    [[nodiscard]] std::uint64_t sum(std::atomic<std::uint64_t> Tally::*what) const {
        std::uint64_t total = 0;
        std::for_each_n(tallies_, count_, [&](const Tally& one) { total += (one.*what).load(); });
        return total;
    }
    [[nodiscard]] Failures failures() const {
        Failures all;
        std::for_each_n(tallies_, count_, [&](const Tally& one) { all.add(one.failures); });
        return all;
    }

  private:
    std::size_t count_;
    Tally* tallies_;
};

std::uint64_t connections_per_process() {
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    return std::max<std::uint64_t>(files.rlim_cur, 2 * other_descriptors) - other_descriptors;
}

class IdleLoad {
  public:
    explicit IdleLoad(const Options& options)
        : options_{options},
          workers_((options.connections + connections_per_process() - 1) / connections_per_process()),
          tallies_{workers_.size()} {}

    int run() {
        for (std::size_t i = 0; i < workers_.size(); ++i) {
            fork_holder(i);
        }
        const bool all_up = each("up", &Tally::up) && tallies_.failures().total() == 0;
        print_line(fmt::format(
            "{{\"mode\":\"idle\",\"target\":\"{}\",\"up\":{},\"processes\":{},\"echoed\":{},\"errors\":{}}}",
            options_.target.text, tallies_.sum(&Tally::up), workers_.size(), options_.echo,
            tallies_.failures().json()));
        if (all_up) {
            hold();
        }
        const bool looked = each("there", &Tally::up);
        const std::uint64_t lost = tallies_.sum(&Tally::lost);
        if (all_up) {
            print_line(fmt::format("{{\"mode\":\"idle\",\"held\":{},\"lost\":{}}}",
                                   tallies_.sum(&Tally::up) - lost, lost));
        }
        const bool closed = each("closed", &Tally::closed);
        while (::waitpid(-1, nullptr, 0) > 0) {
        }
        return all_up && looked && closed && lost == 0 ? 0 : 1;
    }

  private:
    void fork_holder(std::size_t i) {
        int parameters[2];
        int answers[2];
        if (::pipe2(parameters, O_CLOEXEC) != 0 || ::pipe2(answers, O_CLOEXEC) != 0) {
            throw std::system_error{errno, std::generic_category(), "pipe"};
        }
        const pid_t parent = ::getpid();
        const pid_t pid = ::fork();
        if (pid == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::getppid() != parent) {
                ::_exit(1);
            }
            ::close(parameters[1]);
            ::close(answers[0]);
            const std::size_t holders = workers_.size();
            workers_.clear(); // the pipes to the holders before us
            const Share share{i, holders, Fd{parameters[0]}, Fd{answers[1]}};
            ::_exit(hold_idle(options_, share, tallies_[i]));
        }
        ::close(parameters[0]);
        ::close(answers[1]);
        workers_[i] = Worker{pid, Fd{parameters[1]}, Fd{answers[0]}};
        if (pid < 0) {
            throw std::system_error{errno, std::generic_category(), "fork"};
        }
    }

    /// One phase in every holder, with a line on stderr now and then; false if a holder died.
    bool each(std::string_view what, std::atomic<std::uint64_t> Tally::*count) {
        for (const Worker& worker : workers_) {
            (void)!::write(worker.parameters.get(), "", 1);
        }
        auto last_progress = Clock::now();
        bool alive = true;
        for (const Worker& worker : workers_) {
            pollfd answer{worker.answers.get(), POLLIN, 0};
            while (::poll(&answer, 1, 100) == 0) {
                if (Clock::now() - last_progress > progress_interval) {
                    last_progress = Clock::now();
                    fmt::print(stderr, "cloister-load: {} of {} {}\n", tallies_.sum(count),
                               options_.connections, what);
                }
            }
            char done = 0;
            alive = ::read(worker.answers.get(), &done, 1) == 1 && alive;
        }
        return alive;
    }

    /// Until stdin ends or the duration is over.
    void hold() const {
        pollfd input{STDIN_FILENO, POLLIN, 0};
        const auto until = Clock::now() + options_.duration;
        for (;;) {
            auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()) + 1ms;
            if (options_.duration == 0ms) {
                left = -1ms;
            } else if (left <= 1ms) {
                return;
            }
            char ignored[256];
            if (::poll(&input, 1, static_cast<int>(left.count())) == 1 &&
                ::read(STDIN_FILENO, ignored, sizeof ignored) <= 0) {
                return;
            }
        }
    }

    const Options& options_;
    std::vector<Worker> workers_;
    Tallies tallies_;
};

} // namespace

int run_idle(const Options& options) {
    return IdleLoad{options}.run();
}

} // namespace cloister::bench
