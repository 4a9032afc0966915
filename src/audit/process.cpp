// SPDX-License-Identifier: MIT
#include "audit/process.h"

#include "base/die.h"
#include "base/fd.h"

#include <algorithm>
#include <cap-ng.h>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <sstream>
#include <unistd.h>

namespace cloister::audit {
namespace {

std::string path_of(pid_t pid, std::string_view file) {
    return fmt::format("/proc/{}/{}", pid, file);
}

CannotTell gone(pid_t pid) {
    return {fmt::format("there is no process {}: it has ended, or is in another PID namespace (its number "
                        "there: the field NSpid of /proc/*/status)",
                        pid),
            true};
}

tl::unexpected<CannotTell> refused(pid_t pid, std::string_view file, int error) {
    if (error == ENOENT || error == ESRCH) {
        return tl::unexpected{gone(pid)};
    }
    const bool forbidden = error == EACCES || error == EPERM;
    return tl::unexpected{CannotTell{fmt::format(
        "cannot read {}: {}{}", path_of(pid, file), error_text(error),
        forbidden ? "; it needs the rights of ptrace(2) over that process: run this as root" : "")}};
}

Told<std::string> read_file(pid_t pid, std::string_view file) {
    const Fd fd{::open(path_of(pid, file).c_str(), O_RDONLY | O_CLOEXEC)};
    if (fd.get() < 0) {
        return refused(pid, file, errno);
    }
    std::string text;
    char block[16384];
    for (;;) {
        const auto got = ::read(fd.get(), block, sizeof block);
        if (got < 0) {
            return refused(pid, file, errno);
        }
        if (got == 0) {
            return text;
        }
        text.append(block, static_cast<std::size_t>(got));
    }
}

/// The numbers that a directory of /proc/PID has as names, in order.
Told<std::vector<int>> numbers_in(pid_t pid, std::string_view directory) {
    std::vector<int> numbers;
    std::error_code failed;
    for (std::filesystem::directory_iterator at{path_of(pid, directory), failed}, end; !failed && at != end;
         at.increment(failed)) {
        const auto name = at->path().filename().string();
        int number = 0;
        const auto* const last = name.data() + name.size();
        if (std::from_chars(name.data(), last, number).ptr == last) {
            numbers.push_back(number);
        }
    }
    if (failed) {
        return refused(pid, directory, failed.value());
    }
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

Told<std::string> link_of(pid_t pid, const std::string& file) {
    std::string target(4096, '\0');
    const auto size = ::readlink(path_of(pid, file).c_str(), target.data(), target.size());
    if (size < 0) {
        return refused(pid, file, errno);
    }
    target.resize(static_cast<std::size_t>(size));
    return target;
}

} // namespace

std::string Status::text(std::string_view field) const {
    const auto found = fields.find(field);
    return found == fields.end() ? std::string{} : found->second;
}

long Status::number(std::string_view field) const {
    const auto value = text(field);
    long number = -1;
    (void)std::from_chars(value.data(), value.data() + value.size(), number);
    return number;
}

char Status::state() const {
    const auto value = text("State");
    return value.empty() ? '?' : value.front();
}

Told<Status> status_of(pid_t pid) {
    const auto text = read_file(pid, "status");
    const auto stat = text ? read_file(pid, "stat") : text;
    if (!stat) {
        return tl::unexpected{stat.error()};
    }
    Status status;
    status.pid = pid;
    std::istringstream lines{*text};
    for (std::string line; std::getline(lines, line);) {
        const auto colon = line.find(':');
        const auto value = line.find_first_not_of(" \t", colon == std::string::npos ? colon : colon + 1);
        if (colon != std::string::npos) {
            status.fields[line.substr(0, colon)] = value == std::string::npos ? "" : line.substr(value);
        }
    }
    // The name, in parentheses, may hold blanks and parentheses: fields are counted behind the last one.
    std::istringstream fields{stat->substr(stat->rfind(')') + 2)};
    constexpr int flags_field = 9;
    constexpr int start_field = 22;
    std::string value;
    for (int field = 3; fields >> value; ++field) {
        if (field == flags_field) {
            constexpr unsigned long pf_kthread = 0x00200000; // include/linux/sched.h
            status.kernel_thread = (std::strtoul(value.c_str(), nullptr, 10) & pf_kthread) != 0;
        } else if (field == start_field) {
            status.start = std::strtoull(value.c_str(), nullptr, 10);
        }
    }
    return status;
}

Told<std::vector<pid_t>> threads_of(pid_t pid) {
    return numbers_in(pid, "task");
}

Children children_of_all() {
    Children children;
    std::error_code failed;
    for (std::filesystem::directory_iterator at{"/proc", failed}, end; !failed && at != end;
         at.increment(failed)) {
        const auto name = at->path().filename().string();
        const auto* const last = name.data() + name.size();
        pid_t pid = 0;
        if (std::from_chars(name.data(), last, pid).ptr != last) {
            continue;
        }
        // "1234 (name) S 1 …": the name may hold blanks and parentheses.
        const auto stat = read_file(pid, "stat").value_or("");
        const auto behind = stat.rfind(')');
        pid_t parent = 0;
        if (behind != std::string::npos && behind + 4 < stat.size()) {
            (void)std::from_chars(stat.data() + behind + 4, stat.data() + stat.size(), parent);
            children[parent].push_back(pid);
        }
    }
    return children;
}

Told<std::vector<Mapping>> mappings_of(pid_t pid) {
    const auto text = read_file(pid, "maps");
    if (!text) {
        return tl::unexpected{text.error()};
    }
    std::vector<Mapping> mappings;
    std::istringstream lines{*text};
    for (std::string line; std::getline(lines, line);) {
        Mapping mapping;
        std::istringstream words{line};
        std::string ignored;
        char dash = 0;
        words >> std::hex >> mapping.start >> dash >> mapping.end >> mapping.permissions >> ignored >>
            ignored >> ignored >> std::ws;
        std::getline(words, mapping.name);
        mappings.push_back(std::move(mapping));
    }
    return mappings;
}

Told<std::vector<Descriptor>> descriptors_of(pid_t pid) {
    const auto numbers = numbers_in(pid, "fd");
    if (!numbers) {
        return tl::unexpected{numbers.error()};
    }
    std::vector<Descriptor> descriptors;
    for (const int number : *numbers) {
        const auto what = link_of(pid, fmt::format("fd/{}", number));
        if (what) {
            descriptors.push_back({number, *what});
        } else if (!what.error().gone) { // gone: closed since
            return tl::unexpected{what.error()};
        }
    }
    return descriptors;
}

Told<std::string> program_of(pid_t pid) {
    return link_of(pid, "exe");
}

Told<std::string> command_line_of(pid_t pid) {
    return read_file(pid, "cmdline").map([](std::string text) {
        std::replace(text.begin(), text.end(), '\0', ' ');
        return text;
    });
}

Told<std::string> memory_of(pid_t pid, std::uint64_t address, std::size_t size) {
    const Fd fd{::open(path_of(pid, "mem").c_str(), O_RDONLY | O_CLOEXEC)};
    std::string bytes(size, '\0');
    if (fd.get() < 0) {
        return refused(pid, "mem", errno);
    }
    const auto got = ::pread(fd.get(), bytes.data(), size, static_cast<off_t>(address));
    if (got != static_cast<ssize_t>(size)) {
        return tl::unexpected{
            CannotTell{fmt::format("cannot read {} bytes at {:#x} of process {}: {}", size, address, pid,
                                   got < 0 ? error_text(errno) : "nothing is there")}};
    }
    return bytes;
}

Told<std::map<std::string, std::vector<std::string>>> capabilities_of(pid_t pid) {
    static constexpr std::pair<const char*, capng_type_t> sets[] = {{"effective", CAPNG_EFFECTIVE},
                                                                    {"permitted", CAPNG_PERMITTED},
                                                                    {"inheritable", CAPNG_INHERITABLE},
                                                                    {"bounding", CAPNG_BOUNDING_SET},
                                                                    {"ambient", CAPNG_AMBIENT}};
    capng_clear(CAPNG_SELECT_ALL);
    capng_setpid(pid);
    if (capng_get_caps_process() != 0) {
        return tl::unexpected{gone(pid)};
    }
    std::map<std::string, std::vector<std::string>> all;
    for (const auto& [name, type] : sets) {
        auto& set = all[name];
        for (unsigned capability = 0; capability <= CAP_LAST_CAP; ++capability) {
            if (capng_have_capability(type, capability) != 0) {
                const char* text = capng_capability_to_name(capability);
                set.emplace_back(text == nullptr ? std::to_string(capability) : text);
            }
        }
    }
    return all;
}

Told<Status> expect_living(pid_t pid) {
    auto status = status_of(pid);
    if (!status) {
        return status;
    }
    if (status->kernel_thread) {
        return tl::unexpected{CannotTell{
            fmt::format("{} ({}) is a thread of the kernel: it makes no system calls and has no filters", pid,
                        status->name())}};
    }
    if (status->state() == 'Z' || status->state() == 'X') {
        return tl::unexpected{
            CannotTell{fmt::format("process {} ({}) has ended and waits for its parent {} to take its exit "
                                   "status: a zombie has no filters any more",
                                   pid, status->name(), status->number("PPid")),
                       true}};
    }
    if (status->number("Tgid") == ::getpid()) {
        return tl::unexpected{CannotTell{fmt::format(
            "process {} is this very command: no process can trace itself; name another one", pid)}};
    }
    return status;
}

} // namespace cloister::audit
