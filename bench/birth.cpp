// SPDX-License-Identifier: MIT
// What each step of a cell's birth costs, and each call under a filter. Every step is timed inside a child of
// its own that ends right after it, as only a newborn pays the first-time costs. Nothing here is taken from
// src/: the filter is a file of bytes, and what a step does is a system call.
#include <algorithm>
#include <array>
#include <benchmark/benchmark.h>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

using Clock =
    std::chrono::steady_clock; // read without a system call where the kernel's clock source is the TSC

constexpr long page = 4096;
constexpr std::size_t buffer_size = 65536;
void* const buffer_address =
    reinterpret_cast<void*>(0x100000000); // what the program's $buffer must be bound to
constexpr int births = 1000;
constexpr int calls = 200000;

std::vector<sock_filter> program;

/// A page that the children share with us; on it a child leaves its result.
struct Result {
    double seconds;
    bool there;
};
Result* result = nullptr;
char* spare_page = nullptr;

bool load_filter() {
    const sock_fprog fprog{static_cast<unsigned short>(program.size()), program.data()};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &fprog) == 0;
}

bool drop_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct none[2]{};
    return syscall(SYS_capset, &header, none) == 0;
}

bool limit_cpu() {
    const rlimit limit{10, 10};
    return prlimit(0, RLIMIT_CPU, &limit, nullptr) == 0;
}

bool limit_lifetime() {
    const itimerval limit{{0, 0}, {600, 0}};
    return setitimer(ITIMER_REAL, &limit, nullptr) == 0;
}

struct Step {
    const char* name;
    bool (*run)();
};
constexpr std::array steps{
    Step{"nothing", [] { return true; }}, // what reading the clock twice costs
    Step{"close_range", [] { return syscall(SYS_close_range, 1, ~0U, 0) == 0; }},
    Step{"prctl", [] { return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0; }},
    Step{"getppid", [] { return syscall(SYS_getppid) > 0; }},
    Step{"prlimit64", limit_cpu},
    Step{"setitimer", limit_lifetime},
    Step{"capset", drop_capabilities},
    Step{"munmap", [] { return munmap(spare_page, page) == 0; }},
};
constexpr Step filter_step{"seccomp", load_filter};

/// Runs `work` in a child; what it returns is whether it was done, and how long it took is in *result.
template <typename Work>
bool in_child(const Work& work) {
    result->there = false;
    const pid_t pid = fork();
    if (pid == 0) {
        _exit(work() ? 0 : 1);
    }
    int status = 0;
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 && result->there;
}

template <typename Work>
bool timed(const Work& work) {
    const auto begun = Clock::now();
    const bool good = work();
    result->seconds = std::chrono::duration<double>(Clock::now() - begun).count();
    result->there = true;
    return good;
}

void report_median(benchmark::State& state, std::vector<double>& times) {
    std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
                     times.end());
    state.counters["p50_ns"] = times[times.size() / 2] * 1e9;
}

void birth_step(benchmark::State& state, Step step) {
    std::vector<double> times;
    for ([[maybe_unused]] auto _ : state) {
        const bool good = in_child([&] {
            spare_page[0] = 1; // a page of its own, as a child's stack is
            return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && timed(step.run);
        });
        if (!good) {
            state.SkipWithError("the step failed in the child");
            return;
        }
        state.SetIterationTime(result->seconds);
        times.push_back(result->seconds);
    }
    report_median(state, times);
}

/// From the fork to the reaping, of this process, which is small.
void fork_and_reap(benchmark::State& state) {
    std::vector<double> times;
    for ([[maybe_unused]] auto _ : state) {
        const auto begun = Clock::now();
        const pid_t pid = fork();
        if (pid == 0) {
            _exit(0);
        }
        if (pid < 0 || waitpid(pid, nullptr, 0) != pid) {
            state.SkipWithError("fork");
            return;
        }
        times.push_back(std::chrono::duration<double>(Clock::now() - begun).count());
        state.SetIterationTime(times.back());
    }
    report_median(state, times);
}

struct Call {
    const char* name;
    long (*run)(char* buffer);
    long answer;
};
// None moves a byte, so that what is timed is the call's way in and out, and the filter.
constexpr std::array timed_calls{
    Call{"recvfrom",
         [](char* buffer) { return syscall(SYS_recvfrom, 0, buffer, buffer_size, 0, nullptr, 0); }, -1},
    Call{"sendto", [](char* buffer) { return syscall(SYS_sendto, 0, buffer, 0, MSG_NOSIGNAL, nullptr, 0); },
         0},
    Call{"getppid", [](char*) { return syscall(SYS_getppid); }, 0},
};

bool call_often(const Call& call, bool filtered) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0 || dup2(pair[0], 0) != 0) {
        return false;
    }
    auto* const buffer = static_cast<char*>(buffer_address);
    const long answer = call.answer != 0 || call.name == std::string_view{"sendto"} ? call.answer : getppid();
    if (filtered && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !load_filter())) {
        return false;
    }
    return timed([&] {
        bool good = true;
        for (int i = 0; i < calls; ++i) {
            good = call.run(buffer) == answer && good;
        }
        return good;
    });
}

void call_cost(benchmark::State& state, Call call, bool filtered) {
    for ([[maybe_unused]] auto _ : state) {
        if (!in_child([&] { return call_often(call, filtered); })) {
            state.SkipWithError(filtered ? "not allowed by the program" : "the call failed");
            return;
        }
        state.SetIterationTime(result->seconds / calls);
    }
}

std::vector<sock_filter> read_program(const char* path) {
    std::ifstream file{path, std::ios::binary};
    const std::string bytes{std::istreambuf_iterator<char>{file}, {}};
    if (!file || bytes.empty() || bytes.size() % sizeof(sock_filter) != 0 ||
        bytes.size() / sizeof(sock_filter) > BPF_MAXINSNS) {
        std::fprintf(stderr, "cloister-birth: %s is not a raw seccomp program of 1 to %d instructions\n",
                     path, BPF_MAXINSNS);
        std::exit(64);
    }
    std::vector<sock_filter> out(bytes.size() / sizeof(sock_filter));
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(out.data()));
    return out;
}

void* map(void* where, std::size_t size, int flags) {
    void* const memory = mmap(where, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
    if (memory == MAP_FAILED) {
        std::perror("cloister-birth: mmap");
        std::exit(71);
    }
    return memory;
}

void add_benchmarks() {
    namespace bm = benchmark;
    bm::RegisterBenchmark("birth/fork_and_reap", fork_and_reap)->UseManualTime()->Iterations(births);
    for (const Step& step : steps) {
        bm::RegisterBenchmark((std::string{"birth/"} + step.name).c_str(), birth_step, step)
            ->UseManualTime()
            ->Iterations(births);
    }
    if (!program.empty()) {
        bm::RegisterBenchmark("birth/seccomp", birth_step, filter_step)->UseManualTime()->Iterations(births);
    }
    for (const Call& call : timed_calls) {
        for (const bool filtered : {false, true}) {
            if (!filtered || !program.empty()) {
                const std::string name =
                    std::string{"call/"} + call.name + (filtered ? "/filtered" : "/free");
                bm::RegisterBenchmark(name.c_str(), call_cost, call, filtered)
                    ->UseManualTime()
                    ->Iterations(3);
            }
        }
    }
}

} // namespace

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        std::fprintf(stderr,
                     "usage: cloister-birth [PROGRAM] [--benchmark_...]\n"
                     "PROGRAM is a raw seccomp program for calls on descriptor 0 and a buffer at %p:\n"
                     "  cloister policy bpf policy/connection.policy --bind buffer=%p --raw > PROGRAM\n",
                     buffer_address, buffer_address);
        return 64;
    }
    if (argc == 2) {
        program = read_program(argv[1]);
    }
    result = static_cast<Result*>(map(nullptr, page, MAP_SHARED));
    spare_page = static_cast<char*>(map(nullptr, page, MAP_PRIVATE));
    map(buffer_address, buffer_size, MAP_PRIVATE | MAP_FIXED_NOREPLACE);
    add_benchmarks();
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
