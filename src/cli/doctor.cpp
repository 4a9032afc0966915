// SPDX-License-Identifier: MIT
#include "cli/doctor.h"

#include "base/exit_code.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <sstream>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

namespace cloister::tool {
namespace {

constexpr Check table[] = {
    {"proc", "/proc is mounted, and shows our own processes",
     "each step of confinement is read back from there"},
    {"smaps", "/proc/self/smaps has VmFlags", "a listener checks there what its cells inherit"},
    {"seccomp", "the kernel has seccomp filters that can kill a process", "they confine listeners and cells"},
    {"outer-filter", "whether we are under a seccomp filter already",
     "it may deny calls that cloisterd needs"},
    {"landlock", "the version of Landlock",
     "a second mechanism besides seccomp; 6 adds signals to other processes"},
    {"no-new-privs", "whether we may gain privileges by executing a program",
     "cloisterd as root with --user needs none of that; it sets no_new_privs itself"},
    {"capabilities", "our capability bounding set",
     "an empty one cannot come back; only CAP_SETPCAP can empty it"},
    {"nofile", "RLIMIT_NOFILE, the hard limit",
     "a start needs 325 descriptors, whatever the number of connections"},
    {"nproc", "RLIMIT_NPROC, the hard limit", "a connection is a process; it counts all processes of a user"},
    {"sigpending", "RLIMIT_SIGPENDING, the hard limit", "the end of a cell is a queued signal"},
    {"fsize", "RLIMIT_FSIZE, the hard limit", "the source table is a memory file of 8 MiB"},
    {"pids", "pids.max of our control group, and those above it", "a connection is a process"},
    {"memory", "memory.max of our control group, and those above it", "an idle connection takes some 60 KiB"},
    {"pid-max", "kernel.pid_max", "a connection is a process"},
    {"threads-max", "kernel.threads-max", "a connection is a process"},
    {"somaxconn", "net.core.somaxconn",
     "how many clients may wait in the backlog of a socket; we ask for 4096"},
    {"syncookies", "net.ipv4.tcp_syncookies", "clients get in while the backlog is full of half-open ones"},
    {"abort-on-overflow", "net.ipv4.tcp_abort_on_overflow",
     "1 resets clients that wait instead of letting them try again"},
    {"aslr", "kernel.randomize_va_space", "addresses of a listener shall not be known"},
    {"ptrace-scope", "kernel.yama.ptrace_scope", "processes of one user shall not trace each other"},
    {"suid-dumpable", "fs.suid_dumpable",
     "1 lets processes of a user trace those that root has become it in"},
    {"dmesg", "kernel.dmesg_restrict", "what the kernel says of a cell that it killed shows addresses"},
    {"bpf", "kernel.unprivileged_bpf_disabled",
     "programs of other users in the kernel are a way to attack it"},
    {"bpf-jit", "net.core.bpf_jit_enable", "without the compiler each system call takes longer"},
    {"bpf-jit-harden", "net.core.bpf_jit_harden", "1 blinds constants of programs of other users"},
    {"overcommit", "vm.overcommit_memory",
     "2 counts what a cell might write, and fork fails long before memory is used"},
    {"mitigations", "the processor's vulnerabilities", "side channels cross the boundary between processes"},
    {"clock", "whether the clock is synchronised", "times in the log; limits do not depend on it"},
};

constexpr std::uint64_t unlimited = ~std::uint64_t{0};
constexpr std::uint64_t spare_processes = 200; // of cloisterd itself, and of whoever else is its user
constexpr std::uint64_t idle_cost = 60UL * 1024;

const Check& check_of(std::string_view id) {
    const auto* found =
        std::find_if(std::begin(table), std::end(table), [&](const Check& one) { return id == one.id; });
    return *found;
}

std::optional<std::uint64_t> number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && stop != text.data() ? std::optional{value} : std::nullopt;
}

class Doctor {
  public:
    Doctor(const Host& host, std::uint64_t connections) : host_{host}, connections_{connections} {}

    std::vector<Finding> examine() {
        status_ = read("proc/self/status").value_or("");
        look_at_proc();
        look_at_confinement();
        look_at_limits();
        look_at_groups();
        look_at_sysctls();
        look_at_mitigations();
        add("clock", host_.clock_synchronised ? Verdict::ok : Verdict::note,
            host_.clock_synchronised ? "yes" : "no", "yes", "systemctl enable --now systemd-timesyncd");
        return std::move(findings_);
    }

  private:
    const Host& host_;
    std::uint64_t connections_;
    std::string status_;
    std::vector<Finding> findings_;

    [[nodiscard]] std::optional<std::string> read(const std::string& path) const {
        std::ifstream file{host_.root / path};
        std::ostringstream text;
        if (!file || !(text << file.rdbuf())) {
            return {};
        }
        std::string all = text.str();
        while (!all.empty() && all.back() == '\n') {
            all.pop_back();
        }
        return all;
    }
    /// The value of a line `NAME:\tVALUE` of /proc/self/status.
    [[nodiscard]] std::string status(const std::string& name) const {
        const auto at = ("\n" + status_).find("\n" + name + ":");
        if (at == status_.npos) {
            return {};
        }
        const auto line = status_.substr(at, status_.find('\n', at) - at);
        const auto value = line.find_first_not_of(" \t", name.size() + 1);
        return value == line.npos ? "" : line.substr(value);
    }
    void add(const char* id, Verdict verdict, std::string is, std::string should = {},
             std::string command = {}) {
        const bool fine = verdict == Verdict::ok;
        findings_.push_back({&check_of(id), verdict, std::move(is), fine ? "" : std::move(should),
                             fine ? "" : std::move(command)});
    }

    void look_at_proc() {
        add("proc", status_.empty() ? Verdict::error : Verdict::ok,
            status_.empty() ? "it is not there" : "it is", "mounted", "mount -t proc proc /proc");
        const auto smaps = read("proc/self/smaps");
        const bool flags = smaps && smaps->find("\nVmFlags:") != smaps->npos;
        add("smaps", flags ? Verdict::ok : Verdict::error, flags ? "it has" : "it has not",
            "a kernel with CONFIG_PROC_PAGE_MONITOR");
    }

    void look_at_confinement() {
        const auto actions = read("proc/sys/kernel/seccomp/actions_avail").value_or("");
        const bool kills = actions.find("kill_process") != actions.npos;
        add("seccomp", kills ? Verdict::ok : Verdict::error, actions.empty() ? "no seccomp filters" : actions,
            "kill_process among them: Linux 4.14 with CONFIG_SECCOMP_FILTER");
        const auto mode = status("Seccomp");
        add("outer-filter", mode == "2" ? Verdict::note : Verdict::ok,
            mode == "2" ? fmt::format("yes, {}", status("Seccomp_filters")) : "no",
            "one that allows what docs/faults.md lists");
        const int abi = host_.landlock_abi;
        add("landlock",
            abi == 0  ? Verdict::warning
            : abi < 6 ? Verdict::note
                      : Verdict::ok,
            abi == 0 ? "there is none" : fmt::format("version {}", abi),
            abi == 0 ? "1 or later" : "6 or later",
            abi == 0 ? "boot with lsm=landlock,… before the other modules" : "");
        add("no-new-privs", Verdict::ok, status("NoNewPrivs") == "1" ? "set" : "not set");
        const auto bounding = status("CapBnd");
        const bool empty = bounding.find_first_not_of('0') == bounding.npos;
        const auto effective = status("CapEff");
        std::uint64_t held = 0;
        (void)std::from_chars(effective.data(), effective.data() + effective.size(), held, 16);
        constexpr unsigned setpcap = 8;
        const bool can_empty = (held >> setpcap & 1U) != 0;
        add("capabilities", empty || can_empty ? Verdict::ok : Verdict::note,
            empty       ? "empty"
            : can_empty ? "not empty, and cloisterd can empty it"
                        : "not empty, and we cannot empty it: it is inert under no_new_privs",
            "empty, or root",
            "start cloisterd as root with --user, or with CapabilityBoundingSet= in its unit");
    }

    /// The hard limit of that line of /proc/self/limits.
    [[nodiscard]] std::optional<std::uint64_t> hard_limit(std::string_view name) const {
        const auto limits = read("proc/self/limits").value_or("");
        const auto at = limits.find(name);
        if (at == limits.npos) {
            return {};
        }
        std::istringstream words{limits.substr(at + name.size(), limits.find('\n', at) - at - name.size())};
        std::string soft;
        std::string hard;
        words >> soft >> hard;
        return hard == "unlimited" ? std::optional{unlimited} : number(hard);
    }
    void limit(const char* id, std::string_view line, const char* option, std::uint64_t least,
               Verdict below) {
        const auto is = hard_limit(line);
        const bool enough = is && *is >= least;
        add(id,
            enough ? Verdict::ok
            : is   ? below
                   : Verdict::note,
            !is                ? "not known: /proc/self/limits does not say"
            : *is == unlimited ? "unlimited"
                               : fmt::format("{}", *is),
            fmt::format("{} or more for {} connections", least, connections_),
            fmt::format("{}={} in the unit, or ulimit", option, least));
    }
    void look_at_limits() {
        constexpr std::uint64_t descriptors = 325;
        constexpr std::uint64_t table_size = 9UL << 20;
        limit("nofile", "Max open files", "LimitNOFILE", descriptors, Verdict::error);
        limit("nproc", "Max processes", "LimitNPROC", connections_ + spare_processes, Verdict::warning);
        limit("sigpending", "Max pending signals", "LimitSIGPENDING", connections_ + spare_processes,
              Verdict::warning);
        limit("fsize", "Max file size", "LimitFSIZE", table_size, Verdict::warning);
    }

    /// The smallest value of that file in our control group and those above it; nothing: no limit is known.
    [[nodiscard]] std::optional<std::uint64_t> group_limit(const std::string& controller,
                                                           const std::string& file_of_1,
                                                           const std::string& file_of_2) const {
        std::istringstream lines{read("proc/self/cgroup").value_or("")};
        std::optional<std::uint64_t> least;
        for (std::string line; std::getline(lines, line);) {
            const auto first = line.find(':');
            const auto second = line.find(':', first + 1);
            if (second == line.npos) {
                continue;
            }
            const auto controllers = "," + line.substr(first + 1, second - first - 1) + ",";
            const bool unified = controllers == ",,";
            if (!unified && controllers.find("," + controller + ",") == controllers.npos) {
                continue;
            }
            const std::filesystem::path mount = unified ? "sys/fs/cgroup" : "sys/fs/cgroup/" + controller;
            std::filesystem::path group = std::filesystem::path{line.substr(second + 1)}.relative_path();
            for (;; group = group.parent_path()) {
                const auto is = number(read(mount / group / (unified ? file_of_2 : file_of_1)).value_or(""));
                if (is && (!least || *is < *least)) {
                    least = is;
                }
                if (group.empty()) {
                    break;
                }
            }
        }
        return least;
    }
    void look_at_groups() {
        const auto pids = group_limit("pids", "pids.max", "pids.max");
        const std::uint64_t wanted = connections_ + spare_processes;
        add("pids", !pids || *pids >= wanted ? Verdict::ok : Verdict::warning,
            pids ? fmt::format("{}", *pids) : "no limit", fmt::format("{} or more", wanted),
            fmt::format("TasksMax={} in the unit", wanted));
        constexpr std::uint64_t most = std::uint64_t{1} << 60U; // version 1 says 2^63 less a page for none
        const auto memory = group_limit("memory", "memory.limit_in_bytes", "memory.max");
        const std::uint64_t need = connections_ * idle_cost;
        add("memory", !memory || *memory >= need ? Verdict::ok : Verdict::warning,
            memory && *memory < most ? fmt::format("{} bytes", *memory) : "no limit",
            fmt::format("{} bytes or more for {} idle connections", need, connections_),
            fmt::format("MemoryMax={} in the unit", need));
    }

    void sysctl(const char* id, const std::string& name, const std::function<bool(std::uint64_t)>& good,
                std::uint64_t should, Verdict otherwise) {
        std::string path = "proc/sys/" + name;
        std::replace(path.begin() + 9, path.end(), '.', '/');
        const auto text = read(path);
        const auto value = number(text.value_or(""));
        if (!value) {
            add(id, Verdict::note,
                text ? fmt::format("'{}', not a number", *text) : "this kernel has none, or hides it",
                fmt::format("{}", should), {});
            return;
        }
        add(id, good(*value) ? Verdict::ok : otherwise, fmt::format("{}", *value), fmt::format("{}", should),
            fmt::format("sysctl -w {}={}", name, should));
    }
    void look_at_sysctls() {
        const auto least = [](std::uint64_t n) { return [n](std::uint64_t is) { return is >= n; }; };
        const auto exactly = [](std::uint64_t n) { return [n](std::uint64_t is) { return is == n; }; };
        const std::uint64_t processes = 2 * (connections_ + spare_processes);
        constexpr std::uint64_t backlog = 4096;
        sysctl("pid-max", "kernel.pid_max", least(processes), processes, Verdict::warning);
        sysctl("threads-max", "kernel.threads-max", least(processes), processes, Verdict::warning);
        sysctl("somaxconn", "net.core.somaxconn", least(backlog), backlog, Verdict::note);
        sysctl("syncookies", "net.ipv4.tcp_syncookies", least(1), 1, Verdict::warning);
        sysctl("abort-on-overflow", "net.ipv4.tcp_abort_on_overflow", exactly(0), 0, Verdict::warning);
        sysctl("aslr", "kernel.randomize_va_space", exactly(2), 2, Verdict::warning);
        sysctl("ptrace-scope", "kernel.yama.ptrace_scope", least(1), 1, Verdict::note);
        sysctl(
            "suid-dumpable", "fs.suid_dumpable", [](std::uint64_t is) { return is != 1; }, 0, Verdict::error);
        sysctl("dmesg", "kernel.dmesg_restrict", exactly(1), 1, Verdict::note);
        sysctl("bpf", "kernel.unprivileged_bpf_disabled", least(1), 2, Verdict::warning);
        sysctl("bpf-jit", "net.core.bpf_jit_enable", exactly(1), 1, Verdict::note);
        sysctl("bpf-jit-harden", "net.core.bpf_jit_harden", least(1), 1, Verdict::note);
        sysctl(
            "overcommit", "vm.overcommit_memory", [](std::uint64_t is) { return is != 2; }, 0,
            Verdict::warning);
    }

    void look_at_mitigations() {
        std::string vulnerable;
        std::error_code error;
        bool any = false;
        for (std::filesystem::directory_iterator
                 at{host_.root / "sys/devices/system/cpu/vulnerabilities", error},
             end;
             !error && at != end; at.increment(error)) {
            any = true;
            const auto name = at->path().filename().string();
            const auto says = read("sys/devices/system/cpu/vulnerabilities/" + name).value_or("");
            if (says.starts_with("Vulnerable")) {
                vulnerable += fmt::format("{}{}", vulnerable.empty() ? "" : ", ", name);
            }
        }
        add("mitigations", !any || !vulnerable.empty() ? Verdict::note : Verdict::ok,
            !any                 ? "not known"
            : vulnerable.empty() ? "none that is not mitigated"
                                 : fmt::format("not mitigated: {}", vulnerable),
            "mitigated", "boot without mitigations=off, with the microcode of the day");
    }
};

const char* name_of(Verdict verdict) {
    constexpr const char* names[] = {"ok", "note", "warning", "error"};
    return names[static_cast<std::size_t>(verdict)];
}

} // namespace

std::span<const Check> checks() {
    return table;
}

Host this_host() {
    constexpr int version = 1; // LANDLOCK_CREATE_RULESET_VERSION
    const long abi = ::syscall(444 /* landlock_create_ruleset, on every architecture */, nullptr, 0, version);
    timex time{};
    const int clock = ::adjtimex(&time);
    return {"/", abi > 0 ? static_cast<int>(abi) : 0, clock >= 0 && clock != TIME_ERROR};
}

std::vector<Finding> examine(const Host& host, std::uint64_t connections) {
    return Doctor{host, connections}.examine();
}

std::string findings_text(const std::vector<Finding>& findings) {
    std::string all;
    for (const Finding& finding : findings) {
        all += fmt::format("{:<8} {:<18} {}\n", name_of(finding.verdict), finding.check->id, finding.is);
        if (finding.verdict != Verdict::ok) {
            all += fmt::format("         should be: {}; {}\n", finding.should, finding.check->why);
            all += finding.command.empty() ? "" : fmt::format("         change it: {}\n", finding.command);
        }
    }
    return all;
}

nlohmann::json findings_json(const std::vector<Finding>& findings) {
    auto all = nlohmann::json::array();
    for (const Finding& finding : findings) {
        all.push_back({{"id", finding.check->id},
                       {"verdict", name_of(finding.verdict)},
                       {"what", finding.check->what},
                       {"is", finding.is},
                       {"should", finding.should},
                       {"why", finding.check->why},
                       {"command", finding.command}});
    }
    return all;
}

int doctor(std::uint64_t connections, bool json) {
    const auto findings = examine(this_host(), connections);
    fmt::print("{}", json ? findings_json(findings).dump(2) + "\n" : findings_text(findings));
    const bool missing = std::any_of(findings.begin(), findings.end(),
                                     [](const Finding& one) { return one.verdict == Verdict::error; });
    return missing ? static_cast<int>(ExitCode::Unavailable) : 0;
}

} // namespace cloister::tool
