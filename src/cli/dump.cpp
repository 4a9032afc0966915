// SPDX-License-Identifier: MIT
#include "cli/dump.h"

#include "audit/filters.h"
#include "base/die.h"
#include "cli/answer.h"
#include "cli/bpf_listing.h"
#include "policy/sha256.h"

#include <cerrno>
#include <filesystem>
#include <fmt/ranges.h>
#include <fstream>

namespace cloister::tool {
namespace {

using nlohmann::json;

/// Threads that have the same filters.
struct Group {
    std::vector<pid_t> threads;
    audit::Filters filters;
};

std::vector<Group> groups_of(std::vector<audit::ThreadFilters> threads) {
    std::vector<Group> groups;
    for (auto& one : threads) {
        const auto alike = std::find_if(groups.begin(), groups.end(), [&one](const Group& group) {
            return audit::same(group.filters, one.filters);
        });
        if (alike == groups.end()) {
            groups.push_back({{one.thread}, std::move(one.filters)});
        } else {
            alike->threads.push_back(one.thread);
        }
    }
    return groups;
}

std::string counted(std::size_t number, const char* what) {
    return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
}

std::string hex_of(const policy::Program& program, bool lines) {
    const auto bytes = bytes_of(program);
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        text += fmt::format("{:02x}", static_cast<unsigned char>(bytes[i]));
        if (lines && i % sizeof(sock_filter) == sizeof(sock_filter) - 1) {
            text += '\n';
        }
    }
    return text;
}

/// Files of which none may be there: what was dumped before is not overwritten.
void write(const std::filesystem::path& path, const policy::Program& program) {
    const auto bytes = bytes_of(program);
    std::FILE* const file = std::fopen(path.c_str(), "wbx");
    const bool written = file != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
    const int error = errno;
    if (const bool closed = file == nullptr || std::fclose(file) == 0; !written || !closed) {
        fmt::print(stderr, "cloister policy dump: cannot write {}: {}{}\n", path.string(), error_text(error),
                   error == EEXIST ? "; name another directory, or remove it" : "");
        throw Exit{static_cast<int>(ExitCode::SystemCall)};
    }
}

int write_files(const DumpQuestion& question, pid_t pid, const std::vector<Group>& groups) {
    std::error_code failed;
    std::filesystem::create_directories(question.directory, failed);
    if (failed) {
        fmt::print(stderr, "cloister policy dump: cannot make the directory {}: {}\n", question.directory,
                   failed.message());
        return static_cast<int>(ExitCode::SystemCall);
    }
    for (const auto& group : groups) {
        for (std::size_t i = 0; i < group.filters.size(); ++i) {
            if (question.filter.value_or(i) == i) {
                const auto number = groups.size() == 1 ? pid : group.threads.front();
                const auto path =
                    std::filesystem::path{question.directory} / fmt::format("{}-{}.bpf", number, i);
                write(path, group.filters[i]);
                fmt::print("{}: {}\n", path.string(), counted(group.filters[i].size(), "instruction"));
            }
        }
    }
    return 0;
}

/// The one filter that was asked for.
const policy::Program& only_one(const DumpQuestion& question, const std::vector<Group>& groups) {
    if (groups.size() > 1) {
        usage("the threads of this process have different filters: name one by --tid");
    }
    const auto& filters = groups.front().filters;
    if (!question.filter && filters.size() != 1) {
        usage(
            fmt::format("--raw and --hex print one filter, and this process has {}: name one by --filter, or "
                        "write all by -o DIR",
                        filters.size()));
    }
    return filters.at(question.filter.value_or(0));
}

json as_json(pid_t pid, const std::string& name, const DumpQuestion& question,
             const std::vector<Group>& groups) {
    json all = json::array();
    for (const auto& group : groups) {
        json filters = json::array();
        for (std::size_t i = 0; i < group.filters.size(); ++i) {
            const auto& program = group.filters[i];
            if (question.filter.value_or(i) == i) {
                filters.push_back({{"index", i},
                                   {"instructions", program.size()},
                                   {"program_sha256", policy::sha256_hex(bytes_of(program))},
                                   {"bytes", hex_of(program, false)}});
            }
        }
        all.push_back({{"threads", group.threads}, {"filters", filters}});
    }
    return {{"pid", pid}, {"name", name}, {"threads_differ", groups.size() > 1}, {"groups", all}};
}

void print(pid_t pid, const std::string& name, const DumpQuestion& question,
           const std::vector<Group>& groups) {
    std::size_t threads = 0;
    for (const auto& group : groups) {
        threads += group.threads.size();
    }
    fmt::print("{} {} ({}), {}", question.tid ? "thread" : "process", pid, name, counted(threads, "thread"));
    if (groups.size() > 1) {
        fmt::print(": its threads have different filters\n");
    }
    for (const auto& group : groups) {
        if (groups.size() > 1) {
            fmt::print("{} {}", group.threads.size() == 1 ? "thread" : "threads",
                       fmt::join(group.threads, " "));
        }
        fmt::print("{} {}{}\n", groups.size() > 1 ? ":" : ",",
                   group.filters.empty() ? "no filter" : counted(group.filters.size(), "filter"),
                   group.filters.size() > 1 ? ", oldest first" : "");
        for (std::size_t i = 0; i < group.filters.size(); ++i) {
            if (question.filter.value_or(i) == i) {
                const auto& program = group.filters[i];
                fmt::print("filter {}: {}, SHA-256 {}\n{}", i, counted(program.size(), "instruction"),
                           policy::sha256_hex(bytes_of(program)), listing(program, policy::native_arch));
            }
        }
    }
}

} // namespace

void cannot_tell(const audit::CannotTell& why, bool as_json_too) {
    if (as_json_too) {
        fmt::print("{}\n", json{{"error", {{"message", why.why}}}}.dump(2));
    }
    fmt::print(stderr, "cloister policy: cannot tell: {}\n", why.why);
    throw Exit{static_cast<int>(ExitCode::Unavailable)};
}

void expect_process_number(pid_t pid, const char* option) {
    if (pid <= 0) {
        usage(fmt::format("{} {}: the number of a process is 1 or more; see ps(1)", option, pid));
    }
}

int policy_dump(const DumpQuestion& question) {
    return guarded([&] {
        if (!question.pid && !question.tid) {
            usage("dump: name a process by --pid, or a thread by --tid");
        }
        const pid_t pid = question.pid ? *question.pid : *question.tid;
        expect_process_number(pid, question.pid ? "--pid" : "--tid");
        const auto status = audit::expect_living(pid);
        if (!status) {
            cannot_tell(status.error(), question.json);
        }
        if (const auto process = status->number("Tgid"); question.pid && process != pid) {
            usage(fmt::format("{} is a thread of process {}: write --pid {}, or --tid {}", pid, process,
                              process, pid));
        }
        auto threads = question.pid ? audit::filters_of_process(pid)
                                    : audit::filters_of(pid).map([&](audit::Filters filters) {
                                          return std::vector{audit::ThreadFilters{pid, std::move(filters)}};
                                      });
        if (!threads) {
            cannot_tell(threads.error(), question.json);
        }
        const auto groups = groups_of(std::move(*threads));
        for (const auto& group : groups) {
            if (question.filter && *question.filter >= group.filters.size()) {
                usage(
                    fmt::format("--filter {}: thread {} has {}{}", *question.filter, group.threads.front(),
                                group.filters.empty() ? "no filter" : counted(group.filters.size(), "filter"),
                                group.filters.empty() ? "" : ", numbered from 0"));
            }
        }
        if (!question.directory.empty()) {
            return write_files(question, pid, groups);
        }
        if (question.raw) {
            const auto bytes = bytes_of(only_one(question, groups));
            if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) {
                fmt::print(stderr, "cloister policy: cannot write the program\n");
                return static_cast<int>(ExitCode::SystemCall);
            }
        } else if (question.hex) {
            fmt::print("{}", hex_of(only_one(question, groups), true));
        } else if (question.json) {
            fmt::print("{}\n", as_json(pid, status->name(), question, groups).dump(2));
        } else {
            print(pid, status->name(), question, groups);
        }
        return 0;
    });
}

} // namespace cloister::tool
