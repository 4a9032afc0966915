// SPDX-License-Identifier: MIT
#include "confine/confine.h"

#include "sys/calls.h"
#include "sys/die.h"

#include <cstdio>
#include <string_view>

namespace cloister::confine {
namespace {

/// The value of a line `name:\tvalue` of proc_pid_status(5).
std::string_view field(std::string_view status, std::string_view name) {
    for (std::size_t at = 0; at < status.size();) {
        const std::size_t newline = status.find('\n', at);
        const std::size_t end = newline == std::string_view::npos ? status.size() : newline;
        const std::string_view line{status.data() + at, end - at};
        if (line.size() >= name.size() + 2 && line.starts_with(name) && line[name.size()] == ':') {
            std::string_view value{line.data() + name.size() + 1, line.size() - name.size() - 1};
            while (!value.empty() && (value.front() == '\t' || value.front() == ' ')) {
                value.remove_prefix(1);
            }
            while (!value.empty() && (value.back() == '\t' || value.back() == ' ')) {
                value.remove_suffix(1);
            }
            return value;
        }
        at = end + 1;
    }
    die(ExitCode::SelfTest,
        "/proc/self/status has no line %.*s: this kernel can't tell us that we are confined",
        static_cast<int>(name.size()), name.data());
}

void expect(std::string_view status, const char* name, std::string_view wanted) {
    const std::string_view is = field(status, name);
    if (is != wanted) {
        die(ExitCode::SelfTest, "read back: %s must be '%.*s', the kernel says '%.*s'", name,
            static_cast<int>(wanted.size()), wanted.data(), static_cast<int>(is.size()), is.data());
    }
}

} // namespace

void verify(const Expected& expected, int status_fd) {
    char text[8192];
    const long size = sys::pread(status_fd, text, sizeof text);
    if (size <= 0) {
        die(ExitCode::SystemCall, "cannot read /proc/self/status: %s", error_text(size));
    }
    const std::string_view status{text, static_cast<std::size_t>(size)};
    constexpr std::string_view none = "0000000000000000";
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"}) {
        expect(status, set, none);
    }
    if (expected.bounding_empty) {
        expect(status, "CapBnd", none);
    }
    char ids[64];
    (void)std::snprintf(ids, sizeof ids, "%u\t%u\t%u\t%u", expected.uid, expected.uid, expected.uid,
                        expected.uid);
    expect(status, "Uid", ids);
    (void)std::snprintf(ids, sizeof ids, "%u\t%u\t%u\t%u", expected.gid, expected.gid, expected.gid,
                        expected.gid);
    expect(status, "Gid", ids);
    expect(status, "NoNewPrivs", "1");
    expect(status, "Threads", "1");
    expect(status, "SigCgt", none);
    expect(status, "SigIgn", none);
    if (expected.groups_empty) {
        expect(status, "Groups", "");
    }
    if (expected.filtered) {
        expect(status, "Seccomp", "2");
    }
}

} // namespace cloister::confine
