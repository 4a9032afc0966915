// SPDX-License-Identifier: MIT
#include "confine/confine.h"

#include "sys/calls.h"
#include "sys/die.h"

#include <cstdio>
#include <string_view>

namespace cloister::confine {
namespace {

/// Dies unless `status` has the line `name:\tvalue` (proc_pid_status(5)).
void expect(std::string_view status, const char* name, const char* value) {
    char start[32];
    const auto size = static_cast<std::size_t>(std::snprintf(start, sizeof start, "\n%s:\t", name));
    const std::size_t at = status.find({start, size});
    std::string_view is = at == std::string_view::npos ? "nothing" : status.substr(at + size);
    is = is.substr(0, is.find('\n'));
    if (is != value) {
        die(ExitCode::SelfTest, "read back: %s must be '%s', the kernel says '%.*s'", name, value,
            static_cast<int>(is.size()), is.data());
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
    const auto expect_ids = [status](const char* name, unsigned id) {
        char ids[64];
        (void)std::snprintf(ids, sizeof ids, "%u\t%u\t%u\t%u", id, id, id, id);
        expect(status, name, ids);
    };
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb", "SigCgt", "SigIgn", "CapBnd"}) {
        if (expected.bounding_empty || set != std::string_view{"CapBnd"}) {
            expect(status, set, "0000000000000000");
        }
    }
    expect_ids("Uid", expected.uid);
    expect_ids("Gid", expected.gid);
    expect(status, "NoNewPrivs", "1");
    expect(status, "Threads", "1");
    if (expected.groups_empty) {
        expect(status, "Groups", " ");
    }
    if (expected.filtered) {
        expect(status, "Seccomp", "2");
    }
}

} // namespace cloister::confine
