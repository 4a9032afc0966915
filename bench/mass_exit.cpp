// SPDX-License-Identifier: MIT
//
// cloister-mass-exit PROCESSES own|inherited, cloister-mass-exit load: what it costs a kernel when many
// filtered processes end at the same moment. Starts that many, each with a seccomp filter of its own or all
// with the one that their parent installed; lets all end at once; and times how long a fresh process then
// takes to install a filter. Prints one JSON object.
//
// With filters of their own this can wedge Linux 6.18 for good (docs/limits.md), so more than 1000 of these
// are for a virtual machine whose kernel was told so at boot: bench/mass-exit-vm.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr int filter_length = 72; // as long as a cell's
constexpr long most_on_a_host = 1000;
constexpr double give_up_s = 120;

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "cloister-mass-exit: %s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

/// Whether whoever booted this kernel gave it to us to wedge. Nothing a process can be by accident, such as a
/// child of init.
bool kernel_is_ours() {
    std::ifstream file{"/proc/cmdline"};
    return std::find(std::istream_iterator<std::string>{file}, {}, "cloister.mass_exit=1") !=
           std::istream_iterator<std::string>{};
}

/// Allows everything, after as many comparisons as a cell's filter has.
void install_filter() {
    std::vector<sock_filter> code{{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0}};
    while (code.size() < filter_length - 1) {
        code.push_back({BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0xffff0000});
    }
    code.push_back({BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW});
    const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
        fail("seccomp");
    }
}

/// Programs that the kernel holds in memory: each has an allocation by bpf_prog_alloc. -1 if it doesn't say.
long programs() {
    std::ifstream file{"/proc/vmallocinfo"};
    long count = file ? 0 : -1;
    for (std::string line; std::getline(file, line);) {
        count += line.find("bpf_prog_alloc") != std::string::npos;
    }
    return count;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double time_a_fresh_load() {
    const auto start = std::chrono::steady_clock::now();
    const pid_t child = fork();
    if (child < 0) {
        fail("fork");
    }
    if (child == 0) {
        install_filter();
        _exit(0);
    }
    waitpid(child, nullptr, 0);
    return seconds_since(start);
}

/// One of many. Ends when the pipe does: all that read from it wake at the same moment.
[[noreturn]] void live(int pipe, int ready, bool own) {
    if (own) {
        install_filter();
    }
    char byte = 0;
    _exit(write(ready, "r", 1) == 1 && read(pipe, &byte, 1) == 0 ? 0 : 1);
}

/// The parent of the many: ends with the last of them.
[[noreturn]] void raise(long count, bool own, const int (&go)[2], const int (&ready)[2]) {
    close(go[1]);
    close(ready[0]);
    if (!own) {
        install_filter();
    }
    for (long i = 0; i < count; ++i) {
        const pid_t child = fork();
        if (child < 0) {
            fail("fork");
        }
        if (child == 0) {
            live(go[0], ready[1], own);
        }
    }
    close(ready[1]);
    while (wait(nullptr) > 0) {
    }
    _exit(0);
}

} // namespace

int main(int argc, char** argv) {
    const long count = argc == 3 ? std::strtol(argv[1], nullptr, 10) : 0;
    const std::string whose = argc == 3 ? argv[2] : "";
    if (argc == 2 && std::string{argv[1]} == "load") {
        std::printf("{\"load_s\":%.4f}\n", time_a_fresh_load());
        return 0;
    }
    if (count < 1 || (whose != "own" && whose != "inherited")) {
        std::fputs("usage: cloister-mass-exit PROCESSES own|inherited, or cloister-mass-exit load\n", stderr);
        return 64;
    }
    if (whose == "own" && count > most_on_a_host && !kernel_is_ours()) {
        std::fputs("cloister-mass-exit: more than 1000 filters that go at once can wedge the kernel: "
                   "bench/mass-exit-vm\n",
                   stderr);
        return 64;
    }
    const double load_before = time_a_fresh_load();
    const long programs_before = programs();
    int go[2];
    int ready[2];
    if (pipe(go) != 0 || pipe(ready) != 0) {
        fail("pipe");
    }
    const pid_t parent = fork();
    if (parent < 0) {
        fail("fork");
    }
    if (parent == 0) {
        raise(count, whose == "own", go, ready);
    }
    close(go[0]);
    close(ready[1]);
    char bytes[4096];
    long up = 0;
    for (ssize_t got = 1; up < count && got > 0; up += got) {
        got = read(ready[0], bytes, sizeof bytes);
    }
    if (up != count) {
        fail("not all came up");
    }
    const long programs_live = programs() - programs_before;
    const auto start = std::chrono::steady_clock::now();
    close(go[1]);
    const double first_load = time_a_fresh_load();
    double longest_load = first_load;
    while (waitpid(parent, nullptr, WNOHANG) == 0) {
        longest_load = std::max(longest_load, time_a_fresh_load());
    }
    const double all_ended = seconds_since(start);
    while (programs() > programs_before && seconds_since(start) < give_up_s) {
        longest_load = std::max(longest_load, time_a_fresh_load());
    }
    std::printf(
        "{\"processes\":%ld,\"filters\":\"%s\",\"programs\":%ld,\"load_before_s\":%.4f,\"first_load_s\":%.4f,"
        "\"longest_load_s\":%.4f,\"all_ended_s\":%.3f,\"programs_gone_s\":%.3f,\"programs_left\":%ld}\n",
        count, whose.c_str(), programs_live, load_before, first_load, longest_load, all_ended,
        seconds_since(start), programs() - programs_before);
    return 0;
}
