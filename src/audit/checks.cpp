// SPDX-License-Identifier: MIT
#include "audit/checks.h"

#include "control/launch.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/seccomp.h>
#include <set>
#include <sys/stat.h>

namespace cloister::audit {
namespace {

std::string of(const Descriptor& descriptor) {
    return fmt::format("{} ({})", descriptor.number, descriptor.what);
}

std::string of(const Mapping& mapping) {
    return fmt::format("{:x}-{:x} {} {}", mapping.start, mapping.end, mapping.permissions,
                       mapping.name.empty() ? "anonymous" : mapping.name);
}

template <class Items>
std::string listed(const Items& items) {
    std::vector<std::string> texts;
    texts.reserve(items.size());
    for (const auto& item : items) {
        texts.push_back(of(item));
    }
    return texts.empty() ? "none" : fmt::format("{}", fmt::join(texts, ", "));
}

bool is_executable(const Mapping& mapping) {
    return mapping.permissions.size() > 2 && mapping.permissions[2] == 'x';
}
bool is_writable(const Mapping& mapping) {
    return mapping.permissions.size() > 1 && mapping.permissions[1] == 'w';
}

/// A page of the kernel that every process of x86_64 has, and code of it that a listener may be unable to
/// unmap (CONFIG_MSEAL_SYSTEM_MAPPINGS).
bool is_of_the_kernel(const Mapping& mapping) {
    return mapping.name == "[vsyscall]" || mapping.name == "[vdso]" || mapping.name.starts_with("[vvar");
}

const Mapping* holding(const std::vector<Mapping>& mappings, std::uint64_t address) {
    const auto found = std::find_if(mappings.begin(), mappings.end(),
                                    [address](const Mapping& mapping) { return mapping.holds(address); });
    return found == mappings.end() ? nullptr : &*found;
}

void check_capabilities(const Status& status, const Family& family, std::vector<Check>& checks) {
    const auto sets = capabilities_of(status.pid);
    if (!sets) {
        add_unknown(checks, "capabilities", sets.error().why);
        return;
    }
    // Who has no CAP_SETPCAP cannot empty the bounding set. Under no_new_privs it gives nothing.
    const bool inherited = status.text("CapBnd") == family.supervisor.text("CapBnd");
    for (const auto& [set, names] : *sets) {
        const bool inert = set == "bounding" && inherited && status.number("NoNewPrivs") == 1;
        add(checks, fmt::format("capabilities, {}", set), names.empty() || inert, "none",
            names.empty() ? "none"
            : inert       ? "as the supervisor was started; inert under no_new_privs"
                          : fmt::format("{}", fmt::join(names, " ")));
    }
}

std::string four_times(const std::string& ids) {
    const auto one = ids.substr(0, ids.find('\t'));
    return fmt::format("{0}\t{0}\t{0}\t{0}", one);
}

std::string shown(std::string text) {
    std::replace(text.begin(), text.end(), '\t', ' ');
    text.erase(text.find_last_not_of(' ') + 1);
    return text.empty() ? "none" : text;
}

} // namespace

void add(std::vector<Check>& checks, std::string name, bool match, std::string expected, std::string found) {
    checks.push_back({std::move(name), match ? Check::Result::match : Check::Result::mismatch,
                      std::move(expected), std::move(found)});
}

void add_unknown(std::vector<Check>& checks, std::string name, std::string why) {
    checks.push_back({std::move(name), Check::Result::unknown, "", std::move(why)});
}

void check_status(const Status& status, Role role, const Family& family, std::vector<Check>& checks) {
    const auto is = [&](const char* name, const char* field, const std::string& expected) {
        add(checks, name, status.text(field) == expected, shown(expected), shown(status.text(field)));
    };
    is("no_new_privs", "NoNewPrivs", "1");
    if (role != Role::supervisor) {
        is("seccomp mode", "Seccomp", std::to_string(SECCOMP_MODE_FILTER));
        const auto before = family.supervisor.number("Seccomp_filters");
        const auto filters = status.number("Seccomp_filters");
        if (before < 0 || filters < 0) { // before Linux 5.9
            add_unknown(checks, "number of filters", "this kernel does not tell how many filters there are");
        } else {
            add(checks, "number of filters", filters == before + 1,
                fmt::format("{}: one, and {} that the supervisor inherited", before + 1, before),
                std::to_string(filters));
        }
    }
    const auto user = status.text("Uid");
    const auto group = status.text("Gid");
    add(checks, "user", user == four_times(family.supervisor.text("Uid")) && status.number("Uid") != 0,
        status.number("Uid") == 0 ? "not root" : shown(four_times(family.supervisor.text("Uid"))),
        shown(user));
    add(checks, "group", group == four_times(family.supervisor.text("Gid")),
        shown(four_times(family.supervisor.text("Gid"))), shown(group));
    add(checks, "supplementary groups", status.text("Groups") == family.supervisor.text("Groups"),
        shown(family.supervisor.text("Groups")), shown(status.text("Groups")));
    check_capabilities(status, family, checks);
    is("threads", "Threads", "1");
    is("caught signals", "SigCgt", "0000000000000000");
    is("ignored signals", "SigIgn", "0000000000000000");
    is("tracer", "TracerPid", "0");
    struct stat owner {};
    if (::stat(fmt::format("/proc/{}/status", status.pid).c_str(), &owner) != 0) {
        add_unknown(checks, "dumping", "the owner of its files in /proc cannot be read");
    } else { // those of a process that can be dumped are its user's (proc(5))
        const bool forbidden = std::to_string(owner.st_uid) != user.substr(0, user.find('\t'));
        add(checks, "dumping", forbidden, "forbidden", forbidden ? "forbidden" : "possible");
    }
}

void check_descriptors(pid_t pid, Role role, pid_t supervisor, std::vector<Check>& checks) {
    if (role == Role::supervisor) {
        return; // what it holds depends on its services
    }
    const auto descriptors = descriptors_of(pid);
    if (!descriptors) {
        add_unknown(checks, "descriptors", descriptors.error().why);
        return;
    }
    const auto is = [](const Descriptor& descriptor, std::string_view kind) {
        return descriptor.what.starts_with(kind);
    };
    if (role == Role::cell) {
        const bool own =
            descriptors->empty() || (descriptors->size() == 1 && descriptors->front().number == 0 &&
                                     is(descriptors->front(), "socket:"));
        add(checks, "descriptors", own, "0 (its connection)", listed(*descriptors));
        return;
    }
    std::vector<Descriptor> foreign;
    if (role == Role::relay) {
        constexpr int last_pipe = 64;
        constexpr int error_output = 65; // policy/processes/relay.policy
        for (const auto& descriptor : *descriptors) {
            const bool pipe = descriptor.number <= last_pipe && is(descriptor, "pipe:");
            if (!pipe && descriptor.number != error_output) {
                foreign.push_back(descriptor);
            }
        }
        add(checks, "descriptors", foreign.empty(), "0 to 64 (pipes), 65 (standard error)",
            foreign.empty() ? listed(*descriptors) : listed(foreign));
        return;
    }
    std::set<std::string> of_supervisor;
    const auto theirs = descriptors_of(supervisor);
    for (const auto& descriptor : theirs.value_or(std::vector<Descriptor>{})) {
        of_supervisor.insert(descriptor.what);
    }
    for (const auto& descriptor : *descriptors) {
        const auto number = descriptor.number;
        const bool own = number == control::signal_fd    ? is(descriptor, "anon_inode:[signalfd]")
                         : number == control::log_fd     ? is(descriptor, "pipe:")
                         : number == control::control_fd ? is(descriptor, "socket:")
                         : number == control::connection_fd || number == control::self_test_fd
                             ? is(descriptor, "socket:") // for a moment
                             : number < control::status_fd && of_supervisor.contains(descriptor.what);
        if (!own) {
            foreign.push_back(descriptor);
        }
    }
    add(checks, "descriptors", foreign.empty(),
        "1 (signals), 2 (log), 3 (supervisor), from 5 on listening sockets that the supervisor has, too",
        foreign.empty() ? listed(*descriptors) : listed(foreign));
}

std::optional<Mapping> arena_in(const std::vector<Mapping>& mappings) {
    for (const auto& mapping : mappings) {
        if (mapping.end - mapping.start == sizeof(cell::Arena) && mapping.permissions == "rw-p" &&
            mapping.name.empty()) {
            return mapping;
        }
    }
    return std::nullopt;
}

void check_memory(pid_t pid, Role role, const Family& family, std::vector<Check>& checks) {
    const auto mappings = mappings_of(pid);
    if (!mappings || mappings->empty()) { // of a process that may not be looked into it is empty
        add_unknown(checks, "memory",
                    mappings ? fmt::format("/proc/{}/maps is empty: it needs the rights of ptrace(2) over "
                                           "that process: run this as root",
                                           pid)
                             : mappings.error().why);
        return;
    }
    std::vector<Mapping> both;
    std::vector<Mapping> foreign_code;
    std::vector<Mapping> others;
    const auto program = program_of(pid);
    for (const auto& mapping : *mappings) {
        if (is_writable(mapping) && is_executable(mapping)) {
            both.push_back(mapping);
        }
        if (is_executable(mapping) && !is_of_the_kernel(mapping) && mapping.name != program.value_or("")) {
            foreign_code.push_back(mapping);
        }
    }
    add(checks, "memory that is writable and executable", both.empty(), "none", listed(both));
    if (role != Role::listener && role != Role::cell) {
        return;
    }
    add(checks, "executable memory", foreign_code.empty(), "of its own program only",
        foreign_code.empty() ? "of its own program only" : listed(foreign_code));
    const auto arena = arena_in(*mappings);
    if (role == Role::listener) {
        add(checks, "memory for cells", arena.has_value(), "one mapping of stack and buffer",
            arena ? of(*arena) : "none");
        return;
    }
    add(checks, "program", program && family.listener_program && *program == *family.listener_program,
        family.listener_program.value_or("that of its listener"), program.value_or("not known"));
    std::size_t code = 0;
    std::size_t content = 0;
    for (const auto& mapping : *mappings) {
        if (mapping.name == "[vsyscall]" || (arena && mapping.start == arena->start)) {
            continue;
        }
        if (is_executable(mapping) && !is_writable(mapping)) {
            code += 1;
        } else if (!is_writable(mapping) && !is_executable(mapping) && mapping.name.starts_with("/memfd:")) {
            content += 1; // of a handler that serves content
        } else {
            others.push_back(mapping);
        }
    }
    const bool own = code == 1 && arena && content <= 1 && others.empty();
    add(checks, "memory", own,
        "one mapping of code, its stack and buffer, and at most one of content, read-only",
        own ? fmt::format("code, stack and buffer{}", content == 1 ? ", content" : "") : listed(*mappings));
}

void check_addresses(pid_t pid, Role role, const policy::Bindings& bindings, const Family& family,
                     std::vector<Check>& checks) {
    const auto mappings = mappings_of(pid);
    if (!mappings || mappings->empty() || !family.listener_memory || family.listener_memory->empty()) {
        add_unknown(checks, "addresses", "the memory map cannot be read: run this as root");
        return;
    }
    const auto value = [&](const char* name) {
        const auto found = bindings.find(name);
        return found == bindings.end() ? 0 : found->second;
    };
    const auto arena = arena_in(*mappings);
    const auto buffer = arena ? arena->start + offsetof(cell::Arena, buffer) : 0;
    for (const auto* name : {"buffer", "stack"}) {
        if (bindings.contains(name)) {
            add(checks, fmt::format("${}", name), value(name) == buffer,
                arena ? fmt::format("{:#x}, in the memory for cells", buffer) : "in the memory for cells",
                fmt::format("{:#x}", value(name)));
        }
    }
    for (const auto* name : {"clone_return", "listener_return", "setup_return"}) {
        if (!bindings.contains(name)) {
            continue;
        }
        const auto instruction = value(name) - arch::system_call_size;
        if (role == Role::cell) { // it has none of the three
            const auto* mapping = holding(*mappings, instruction);
            add(checks, fmt::format("${}", name), mapping == nullptr, "not in its memory",
                mapping == nullptr ? "not in its memory" : of(*mapping));
            continue;
        }
        const auto* mapping = holding(*mappings, instruction);
        const bool placed = mapping != nullptr && mapping->permissions == "r-xp" &&
                            mapping->name == family.listener_program.value_or("");
        const auto bytes = memory_of(pid, instruction, arch::system_call_size);
#if defined(__aarch64__)
        static const std::string system_call{"\x01\x00\x00\xd4", 4}; // svc #0
#else
        static const std::string system_call{"\x0f\x05", 2}; // syscall
#endif
        add(checks, fmt::format("${}", name), placed && bytes && *bytes == system_call,
            "behind a system call instruction of the listener's program",
            mapping == nullptr      ? fmt::format("{:#x}, where nothing is mapped", value(name))
            : !placed               ? of(*mapping)
            : !bytes                ? bytes.error().why
            : *bytes != system_call ? fmt::format("{:#x}, behind another instruction", value(name))
                                    : fmt::format("{:#x}", value(name)));
    }
    if (bindings.contains("setup_page")) {
        const auto page = value("setup_return") - arch::max_page_size;
        add(checks, "$setup_page", value("setup_page") == page, fmt::format("{:#x}", page),
            fmt::format("{:#x}", value("setup_page")));
    }
    if (bindings.contains("setup_page_size")) {
        add(checks, "$setup_page_size", value("setup_page_size") == arch::max_page_size,
            std::to_string(arch::max_page_size), std::to_string(value("setup_page_size")));
    }
}

} // namespace cloister::audit
