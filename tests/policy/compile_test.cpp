// SPDX-License-Identifier: MIT
// What libseccomp is asked for, and what becomes of it when it or the kernel refuses.
#include "fixture.h"

#include <sys/resource.h>

namespace cloister::policy {
namespace {

TEST(Compile, GivesEachActionToItsCallsAndToNoOthers) {
    const auto policy = parsed("allow getpid : x\nerrno EPERM getuid : x\nkill-process getgid\n",
                               "policy p 1\nsyntax 1\narch x86_64\nelse errno ENOSYS\n");
    const auto program = compile(policy, Arch::x86_64, {}).value();
    const auto returned = [&](std::string_view name) {
        seccomp_data call{};
        call.nr = static_cast<int>(*number_of(Abi::x86_64, name));
        call.arch = audit_arch(Abi::x86_64);
        return describe_return(run(program, call).value());
    };
    EXPECT_EQ(returned("getpid"), "allow");
    EXPECT_EQ(returned("getuid"), "errno EPERM");
    EXPECT_EQ(returned("getgid"), "kill-process");
    EXPECT_EQ(returned("getppid"), "errno ENOSYS");
    EXPECT_TRUE(prove(policy, Arch::x86_64, {}, program));
}

TEST(Compile, OmitsARuleWithTheActionOfElse) {
    const auto with = compile(parsed("allow getpid : x\nkill-process getuid\n"), native_arch, addresses);
    const auto without = compile(parsed("allow getpid : x\n"), native_arch, addresses);
    ASSERT_TRUE(with) << with.error().text();
    ASSERT_TRUE(without);
    EXPECT_EQ(with->size(), without->size());
}

TEST(Compile, TakesNoAddressZero) {
    const auto policy = parsed("allow munmap addr == $buffer  len any : x\n");
    const auto program = compile(policy, native_arch, {{"buffer", 0}});
    ASSERT_FALSE(program);
    EXPECT_EQ(placed(program.error()), "6:14: the parameter $buffer is not bound");
}

TEST(Compile, SaysThatTheProgramIsLargerThanFilesMayBe) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const rlimit small{16, before.rlim_max}; // a part of it, and no signal
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const auto program = compile(parsed(""), native_arch, addresses);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    ASSERT_FALSE(program);
    EXPECT_EQ(placed(program.error()), "0:0: cannot compile: write: EFBIG (File too large)");
}

TEST(Compile, SaysThatTheKernelGaveItNoDescriptor) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit none{0, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    const auto program = compile(parsed(""), native_arch, addresses);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    ASSERT_FALSE(program);
    EXPECT_EQ(placed(program.error()), "0:0: cannot compile: memfd_create: EMFILE (Too many open files)");
}

} // namespace
} // namespace cloister::policy
