// SPDX-License-Identifier: MIT
// What each step of the cell setup costs, and each call under the combined program of listener and cells.
// Setups are real: in a process under the program each newborn comes through the one instruction that may
// clone, makes the calls of policy/setup.policy through the one that may make them, in that order, and loses
// it. Only the newborn's code is ours, not src/cell's: it looks at the clock between the steps.
#include "cell/cell.h"
#include "policy/combine.h"

#include <algorithm>
#include <array>
#include <benchmark/benchmark.h>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>
#include <x86intrin.h>

// Pages like those of src/cell/arch/x86_64/cell.ld: listener, clone, setup call site, and the page to which
// the setup call site returns. A newborn comes back on an empty stack, and calls what its parent had in rbx.
asm(R"(
    .pushsection .setups, "ax", @progbits
    .balign 4096
    .globl cloister_listener_call, cloister_clone_call, cloister_setup_call
    .hidden cloister_listener_call, cloister_clone_call, cloister_setup_call
setups:
cloister_listener_call:
        syscall
        ret
        .org  setups + 2 * 4096 - 2, 0xcc
cloister_clone_call:
        syscall
        test  %rax, %rax
        jz    1f
        ret
    1:  call  *%rbx
        .org  setups + 3 * 4096 - 2, 0xcc
cloister_setup_call:
        syscall
        ret
        .balign 4096, 0xcc
    .popsection
)");

namespace {

namespace arch = cloister::arch;
namespace cell = cloister::cell;
namespace policy = cloister::policy;
namespace sys = cloister::sys;
constexpr std::size_t setups = 1000;
constexpr int calls = 200000;
constexpr long connection = 0;

cell::Arena arena;
policy::Program program;

long address(const void* pointer) {
    return reinterpret_cast<long>(pointer);
}

/// The address that seccomp sees.
std::uint64_t after(const std::uint8_t* instruction) {
    return reinterpret_cast<std::uint64_t>(instruction) + arch::system_call_size;
}

/// Pages that the children share with us; on them they leave what they measured.
struct Results {
    std::array<double, setups> seconds;
    std::size_t born;
};
Results* results = nullptr;

/// Runs `work` in a child; true if it was done there.
template <typename Work>
bool in_child(const Work& work) {
    const pid_t pid = fork();
    if (pid == 0) {
        sys::cell_call(SYS_exit_group, work() ? 0 : 1); // all that the filter allows anywhere
    }
    int status = 0;
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/// The processor's own clock: nothing of libc works in a newborn, which has no thread pointer.
double seconds_per_tick = 0;

template <typename Work>
double seconds_of(const Work& work, bool& good) {
    const auto begun = __rdtsc();
    good = work() && good;
    return static_cast<double>(__rdtsc() - begun) * seconds_per_tick;
}

void calibrate() {
    using Clock = std::chrono::steady_clock;
    const auto begun = Clock::now();
    const auto tick = __rdtsc();
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
    seconds_per_tick =
        std::chrono::duration<double>(Clock::now() - begun).count() / static_cast<double>(__rdtsc() - tick);
}

bool load_filter() {
    const sock_fprog fprog{static_cast<unsigned short>(program.size()), program.data()};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &fprog) == 0;
}

bool be_filtered() {
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && load_filter();
}

struct Step {
    const char* name;
    bool (*run)();
};
// In the order of src/cell/cell.cpp.
constexpr std::array steps{
    Step{"nothing", [] { return true; }}, // what looking at the clock costs is in every figure
    Step{"close_range", [] { return sys::setup_call(SYS_close_range, 1, ~0U, 0) == 0; }},
    Step{"prctl", [] { return sys::setup_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL) == 0; }},
    Step{"getppid", [] { return sys::setup_call(SYS_getppid) > 0; }},
    Step{"prlimit64",
         [] {
             const rlimit64 limit{10, 11};
             return sys::setup_call(SYS_prlimit64, 0, RLIMIT_CPU, address(&limit)) == 0;
         }},
    Step{"setitimer",
         [] {
             const itimerval limit{{}, {600, 0}};
             return sys::setup_call(SYS_setitimer, ITIMER_REAL, address(&limit)) == 0;
         }},
    Step{"capset",
         [] {
             __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
             const __user_cap_data_struct none[2]{};
             return sys::setup_call(SYS_capset, address(&header), address(none)) == 0;
         }},
    Step{"munmap",
         [] {
             const long end = address(cell::cloister_setup_call) + arch::system_call_size;
             return sys::setup_call(SYS_munmap, end - static_cast<long>(arch::max_page_size),
                                    arch::max_page_size) == 0;
         }},
};

constexpr std::size_t the_clone = steps.size();
std::size_t timed_part = 0; ///< of a setup: a step, or the_clone

[[noreturn]] void set_up() {
    bool good = true;
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const double seconds = seconds_of(steps[i].run, good);
        if (i == timed_part) {
            results->seconds[results->born] = seconds;
        }
    }
    for (;;) {
        sys::cell_call(SYS_exit_group, good ? 0 : 1);
    }
}

long clone_cell() {
    long result = SYS_clone;
    register long child_tid asm("r10") = 0;
    register long tls asm("r8") = 0;
    asm volatile("lea -128(%%rsp), %%rsp\n call cloister_clone_call\n lea 128(%%rsp), %%rsp"
                 : "+a"(result)
                 : "D"(cell::clone_flags), "S"(arena.buffer), "d"(0), "r"(child_tid), "r"(tls), "b"(set_up)
                 : "rcx", "r11", "memory");
    return result;
}

constexpr std::uint64_t exit_signals = std::uint64_t{1} << (cell::exit_signal - 1);

bool reap(long pid) {
    int status = 0;
    return sys::listener_call(SYS_rt_sigtimedwait, address(&exit_signals), 0, 0, sizeof exit_signals) ==
               cell::exit_signal &&
           sys::listener_call(SYS_wait4, pid, address(&status), WNOHANG | __WALL) == pid && status == 0;
}

/// What the listener is to its cells.
bool raise_newborns() {
    bool good = madvise(const_cast<unsigned char*>(sys::cloister_listener_call), 2 * arch::max_page_size,
                        MADV_DONTFORK) == 0 &&
                syscall(SYS_rt_sigprocmask, SIG_BLOCK, &exit_signals, nullptr, sizeof exit_signals) == 0 &&
                be_filtered();
    for (results->born = 0; good && results->born < setups; ++results->born) {
        long pid = 0;
        const double seconds = seconds_of([&] { return (pid = clone_cell()) > 0; }, good);
        if (timed_part == the_clone) {
            results->seconds[results->born] = seconds;
        }
        good = good && reap(pid);
    }
    return good;
}

void report(benchmark::State& state) {
    auto times = results->seconds;
    std::size_t i = 0;
    for ([[maybe_unused]] auto _ : state) {
        state.SetIterationTime(times[i++]);
    }
    auto* const median = times.begin() + setups / 2;
    std::nth_element(times.begin(), median, times.end());
    state.counters["p50_ns"] = *median * 1e9;
}

void setup(benchmark::State& state, std::size_t part) {
    timed_part = part;
    if (!in_child(raise_newborns)) {
        state.SkipWithError("a newborn could not do what setup.policy names");
        return;
    }
    report(state);
}

/// What each cell would pay for a filter of its own.
void filter_load(benchmark::State& state) {
    for (double& seconds : results->seconds) {
        const bool done = in_child([&] {
            bool good = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
            seconds = seconds_of(load_filter, good);
            return good;
        });
        if (!done) {
            state.SkipWithError("seccomp");
            return;
        }
    }
    report(state);
}

/// From the fork to the reaping, of this process, which is small.
void fork_and_reap(benchmark::State& state) {
    bool good = true;
    for (double& seconds : results->seconds) {
        seconds = seconds_of([] { return in_child([] { return true; }); }, good);
    }
    if (!good) {
        state.SkipWithError("fork");
        return;
    }
    report(state);
}

struct Call {
    const char* name;
    long (*run)();
    long answer;
};
// None moves a byte, so that what is timed is the call's way in and out, and the filter.
constexpr std::array timed_calls{
    Call{"recvfrom",
         [] { return sys::cell_call(SYS_recvfrom, connection, address(arena.buffer), cell::buffer_size); },
         -EAGAIN},
    Call{"sendto",
         [] { return sys::cell_call(SYS_sendto, connection, address(arena.buffer), 0, MSG_NOSIGNAL); }, 0},
    Call{"shutdown", [] { return sys::cell_call(SYS_shutdown, connection, SHUT_WR); }, 0},
    // Of a descriptor that is closed already: the first of many would be all that closes.
    Call{"close", [] { return sys::cell_call(SYS_close, connection); }, -EBADF},
    Call{"listener_clock_gettime",
         [] {
             timespec now{};
             return sys::listener_call(SYS_clock_gettime, CLOCK_MONOTONIC, address(&now));
         },
         0},
    Call{"listener_getsockopt",
         [] {
             ucred peer{};
             socklen_t size = sizeof peer;
             return sys::listener_call(SYS_getsockopt, connection, SOL_SOCKET, SO_PEERCRED, address(&peer),
                                       address(&size));
         },
         0},
    Call{"listener_rt_sigtimedwait",
         [] {
             const std::uint64_t signals = 1 << (SIGUSR1 - 1);
             const timespec at_once{};
             return sys::listener_call(SYS_rt_sigtimedwait, address(&signals), 0, address(&at_once),
                                       sizeof signals);
         },
         -EAGAIN},
};
bool call_often(const Call& call, bool filtered) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0 || dup2(pair[0], connection) != 0) {
        return false;
    }
    if (call.answer == -EBADF) {
        close(connection);
    }
    bool good = !filtered || be_filtered();
    results->seconds[0] = seconds_of(
        [&] {
            bool all = true;
            for (int i = 0; i < calls; ++i) {
                all = call.run() == call.answer && all;
            }
            return all;
        },
        good);
    return good;
}

void call_cost(benchmark::State& state, Call call, bool filtered) {
    for ([[maybe_unused]] auto _ : state) {
        if (!in_child([&] { return call_often(call, filtered); })) {
            state.SkipWithError("the call was not answered as it must be");
            return;
        }
        state.SetIterationTime(results->seconds[0] / calls);
    }
}

[[noreturn]] void refuse(const std::string& why) {
    std::fprintf(stderr, "cloister-setup: %s\n", why.c_str());
    std::exit(64);
}

template <typename Value>
Value or_refuse(tl::expected<Value, policy::Error> result) {
    if (!result) {
        refuse(result.error().text());
    }
    return std::move(*result);
}

/// The one program, for our instructions.
policy::Program compile(const std::filesystem::path& directory) {
    std::vector<policy::Policy> policies;
    for (const char* file : {"listener.policy", "clone.policy", "setup.policy", "handlers/echo.policy"}) {
        policies.push_back(or_refuse(policy::load(directory / file)));
    }
    const auto bound = [](const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); };
    const std::uint64_t setup_end = after(cell::cloister_setup_call);
    return or_refuse(policy::compile(or_refuse(policy::combine(std::move(policies))), policy::Arch::x86_64,
                                     {{"buffer", bound(arena.buffer)},
                                      {"stack", bound(arena.buffer)},
                                      {"listener_return", after(sys::cloister_listener_call)},
                                      {"clone_return", after(cell::cloister_clone_call)},
                                      {"setup_page", setup_end - arch::max_page_size},
                                      {"setup_page_size", arch::max_page_size},
                                      {"setup_return", setup_end}}));
}

void add_benchmarks() {
    const auto add = [](const std::string& name, benchmark::IterationCount iterations, auto... what) {
        benchmark::RegisterBenchmark(name.c_str(), what...)->UseManualTime()->Iterations(iterations);
    };
    add("setup/fork_and_reap", setups, fork_and_reap);
    add("setup/clone", setups, setup, the_clone);
    for (std::size_t i = 0; i < steps.size(); ++i) {
        add(std::string{"setup/"} + steps[i].name, setups, setup, i);
    }
    add("spared/seccomp", setups, filter_load);
    for (const Call& call : timed_calls) {
        for (const bool filtered : {false, true}) {
            add(std::string{"call/"} + call.name + (filtered ? "/filtered" : "/free"), 3, call_cost, call,
                filtered);
        }
    }
}

} // namespace

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (argc != 2 || argv[1][0] == '-') {
        refuse("usage: cloister-setup POLICIES [--benchmark_...]; POLICIES is the directory of the policies");
    }
    calibrate();
    program = compile(argv[1]);
    void* const shared =
        mmap(nullptr, sizeof(Results), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        refuse("mmap");
    }
    results = static_cast<Results*>(shared);
    add_benchmarks();
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
