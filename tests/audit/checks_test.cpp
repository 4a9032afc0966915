// SPDX-License-Identifier: MIT
// The addresses in a filter, checked against the memory of this test.
#include "audit/checks.h"

#include "control/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__aarch64__)
#define SYSTEM_CALL "svc #0"
#define ANOTHER "nop"
#else
#define SYSTEM_CALL "syscall"
#define ANOTHER "nop; nop"
#endif
asm(".text\n"
    "a_system_call: " SYSTEM_CALL "\n"
    "behind_a_system_call: ret\n"
    "another_instruction: " ANOTHER "\n"
    "behind_another_instruction: ret\n");
extern "C" const std::uint8_t behind_a_system_call[], behind_another_instruction[];

namespace cloister::audit {
namespace {

using ::testing::HasSubstr;

std::uint64_t address(const void* at) {
    return reinterpret_cast<std::uint64_t>(at);
}

/// The one check that an address of that name gets.
Check only(Role role, const std::string& name, std::uint64_t value) {
    const auto pid = ::getpid();
    const Family family{status_of(pid).value(), Filters{}, mappings_of(pid), program_of(pid)};
    std::vector<Check> checks;
    check_addresses(pid, role, {{name, value}}, family, checks);
    EXPECT_EQ(checks.size(), 1U);
    return checks.empty() ? Check{} : checks.front();
}

constexpr std::uint64_t nowhere = 0x10000; // below vm.mmap_min_addr, or free

TEST(Address, OfACallSiteOfAListenerIsBehindASystemCallOfItsProgram) {
    const auto check = only(Role::listener, "clone_return", address(behind_a_system_call));
    EXPECT_EQ(check.result, Check::Result::match) << check.found;
    const auto other = only(Role::listener, "clone_return", address(behind_another_instruction));
    EXPECT_EQ(other.result, Check::Result::mismatch);
    EXPECT_THAT(other.found, HasSubstr("behind another instruction"));
    const auto none = only(Role::listener, "clone_return", nowhere);
    EXPECT_EQ(none.result, Check::Result::mismatch);
    EXPECT_THAT(none.found, HasSubstr("nothing is mapped"));
    static std::uint8_t data[16] = {0x0f, 0x05};
    EXPECT_EQ(only(Role::listener, "clone_return", address(data + arch::system_call_size)).result,
              Check::Result::mismatch)
        << "it can be written";
    EXPECT_EQ(only(Role::listener, "clone_return", address(reinterpret_cast<const void*>(&::getpid))).result,
              Check::Result::mismatch)
        << "libc's";
}

TEST(Address, OfACallSiteIsNotInTheMemoryOfACell) {
    for (const auto* name : {"clone_return", "listener_return", "setup_return"}) {
        EXPECT_EQ(only(Role::cell, name, nowhere).result, Check::Result::match) << name;
        EXPECT_EQ(only(Role::cell, name, address(behind_a_system_call)).result, Check::Result::mismatch)
            << name;
    }
}

TEST(Address, OfTheBufferIsInTheMemoryForCells) {
    EXPECT_EQ(only(Role::cell, "buffer", nowhere).result, Check::Result::mismatch) << "there is none";
    // Apart from its neighbours, which the kernel would combine with it.
    constexpr std::size_t hole = 65536;
    auto* const around = static_cast<std::uint8_t*>(
        ::mmap(nullptr, sizeof(cell::Arena) + 2 * hole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(around, MAP_FAILED);
    ASSERT_EQ(::mprotect(around + hole, sizeof(cell::Arena), PROT_READ | PROT_WRITE), 0);
    const auto buffer = address(around + hole) + offsetof(cell::Arena, buffer);
    for (const auto* name : {"buffer", "stack"}) {
        EXPECT_EQ(only(Role::cell, name, buffer).result, Check::Result::match) << name;
        EXPECT_EQ(only(Role::cell, name, buffer + 8).result, Check::Result::mismatch) << name;
    }
    ASSERT_EQ(::munmap(around, sizeof(cell::Arena) + 2 * hole), 0);
}

TEST(Address, OfTheSetupPageIsThatBeforeItsReturn) {
    const auto pid = ::getpid();
    const Family family{status_of(pid).value(), Filters{}, mappings_of(pid), program_of(pid)};
    const auto result = [&](std::uint64_t page, std::uint64_t size) {
        std::vector<Check> checks;
        check_addresses(pid, Role::cell,
                        {{"setup_return", 0x20000}, {"setup_page", page}, {"setup_page_size", size}}, family,
                        checks);
        return std::count_if(checks.begin(), checks.end(),
                             [](const Check& check) { return check.result == Check::Result::mismatch; });
    };
    EXPECT_EQ(result(0x20000 - arch::max_page_size, arch::max_page_size), 0);
    EXPECT_EQ(result(0x20000, arch::max_page_size), 1);
    EXPECT_EQ(result(0x20000 - arch::max_page_size, 2 * arch::max_page_size), 1);
}

} // namespace
} // namespace cloister::audit
