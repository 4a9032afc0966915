// SPDX-License-Identifier: MIT
// How calls and verdicts are shown.
#include "fixture.h"

#include <linux/audit.h>

namespace cloister::policy {
namespace {

seccomp_data call_of(std::uint32_t arch, std::uint32_t number, std::uint64_t first = 0,
                     std::uint64_t last = 0) {
    return {static_cast<int>(number), arch, 0, {first, 0, 0, 0, 0, last}};
}

TEST(Describe, ACallByTheNamesOfItsAbi) {
    EXPECT_EQ(describe(call_of(AUDIT_ARCH_X86_64, 3, 7)), "close(fd=7) on x86_64");
    EXPECT_EQ(describe(call_of(AUDIT_ARCH_AARCH64, 57, 7)), "close(fd=7) on aarch64");
    EXPECT_EQ(describe(call_of(AUDIT_ARCH_I386, 6, 7)), "close(fd=7) on i386");
    EXPECT_EQ(describe(call_of(AUDIT_ARCH_X86_64, x32_bit | 39)), "getpid() on x32");
}

TEST(Describe, WhatHasNoNameByItsNumber) {
    EXPECT_EQ(describe(call_of(AUDIT_ARCH_X86_64, 9999)), "call 9999() on x86_64");
    EXPECT_EQ(describe(call_of(AUDIT_ARCH_X86_64, 0xffffffff)), "call 0xffffffff() on x86_64");
    EXPECT_EQ(describe(call_of(0x28, 3)), "call 3() on ABI 0x28");
}

TEST(Describe, AnArgumentThatThePrototypeDoesNotHaveUnlessItIsZero) {
    EXPECT_EQ(describe(call_of(AUDIT_ARCH_X86_64, 3, 7, 1048576)),
              "close(fd=7, argument 6=0x100000) on x86_64");
    EXPECT_EQ(describe(call_of(AUDIT_ARCH_X86_64, 9999, 1)), "call 9999(argument 1=1) on x86_64");
}

TEST(Describe, WhatAFilterReturns) {
    EXPECT_EQ(describe_return(SECCOMP_RET_ALLOW), "allow");
    EXPECT_EQ(describe_return(SECCOMP_RET_KILL_PROCESS), "kill-process");
    EXPECT_EQ(describe_return(SECCOMP_RET_ERRNO | 1U), "errno EPERM");
    EXPECT_EQ(describe_return(SECCOMP_RET_ERRNO | 4000U), "errno 4000") << "no error has that number";
    EXPECT_EQ(describe_return(SECCOMP_RET_TRAP), "trap");
    EXPECT_EQ(describe_return(SECCOMP_RET_ALLOW | 1U), "allow (0x7fff0001)");
}

} // namespace
} // namespace cloister::policy
