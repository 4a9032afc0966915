// SPDX-License-Identifier: MIT
// What is in a cell's memory and registers, and what happens when a cell that was taken over tries more than
// it may. All of it takes root: cells can't be dumped.
#include "cell/cell.h"
#include "client.h"
#include "harness.h"
#include "machine.h"

#include <algorithm>
#include <csignal>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

namespace cloister::live {
namespace {

class CellMemory : public ::testing::Test {
  protected:
    void SetUp() override {
        if (!am_root()) {
            GTEST_SKIP() << "only root may look into a process that can't be dumped";
        }
    }
};

/// Without the page that the kernel shows in every process and that belongs to none.
std::vector<Mapping> own_mappings_of(pid_t pid) {
    auto mappings = mappings_of(pid);
    std::erase_if(mappings, [](const Mapping& mapping) { return mapping.name == "[vsyscall]"; });
    return mappings;
}

std::string text_of(const std::vector<Mapping>& mappings) {
    std::string text;
    for (const Mapping& mapping : mappings) {
        text +=
            fmt::format("{:x}-{:x} {} {}\n", mapping.start, mapping.end, mapping.permissions, mapping.name);
    }
    return text;
}

/// Blocked in recvfrom.
bool waits_in_recv(pid_t cell) {
    const auto number = fmt::format("{} ", SYS_recvfrom);
    return within(5s, [&] { return read_file(fmt::format("/proc/{}/syscall", cell)).starts_with(number); });
}

/// A process stopped wherever it is, and let go by the destructor.
class Traced {
  public:
    explicit Traced(pid_t pid) : pid_{pid} {
        int status = 0;
        if (::ptrace(PTRACE_SEIZE, pid_, nullptr, nullptr) != 0 ||
            ::ptrace(PTRACE_INTERRUPT, pid_, nullptr, nullptr) != 0 ||
            ::waitpid(pid_, &status, __WALL) != pid_ || !WIFSTOPPED(status)) {
            throw std::runtime_error("the cell can't be traced");
        }
    }
    ~Traced() { ::ptrace(PTRACE_DETACH, pid_, nullptr, nullptr); }
    Traced(const Traced&) = delete;
    Traced& operator=(const Traced&) = delete;

    [[nodiscard]] Registers registers() const {
        Registers registers{};
        (void)read_registers(pid_, NT_PRSTATUS, std::span{&registers, 1});
        return registers;
    }
    /// Makes it execute `number(arguments...)` with its own system call instruction, when it is let go.
    void force_call(long number, const std::array<std::uint64_t, 6>& arguments) const {
        Registers registers = this->registers();
        make_call(registers, number, arguments);
        iovec vector{&registers, sizeof registers};
        if (::ptrace(PTRACE_SETREGSET, pid_, NT_PRSTATUS, &vector) != 0) {
            throw std::runtime_error("the registers can't be set");
        }
    }

  private:
    pid_t pid_;
};

TEST_F(CellMemory, IsOnePageOfCodeAndTheArena) {
    const Daemon daemon;
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const auto mappings = own_mappings_of(daemon.only_cell());
    const std::string text = text_of(mappings);
    std::uint64_t code = 0;
    std::uint64_t writable = 0;
    for (const Mapping& mapping : mappings) {
        const std::uint64_t size = mapping.end - mapping.start;
        const bool executable = mapping.permissions[2] == 'x';
        const bool can_write = mapping.permissions[1] == 'w';
        EXPECT_FALSE(executable && can_write) << text;
        ASSERT_TRUE(executable || can_write) << text;
        (executable ? code : writable) += size;
        for (const char* foreign : {"[heap]", "[stack]", "[vdso]", "[vvar]", "libc", "ld-linux", "libcap"}) {
            EXPECT_EQ(mapping.name.find(foreign), std::string::npos) << text;
        }
    }
    EXPECT_EQ(code, arch::max_page_size) << text;
    EXPECT_EQ(writable, sizeof(cell::Arena)) << "the buffer and the stack\n" << text;
    EXPECT_EQ(mappings.size(), 2U) << text;
}

TEST_F(CellMemory, CostsFewMappingsOfTheListenerAtEachFork) {
#ifdef CLOISTER_INSTRUMENTED
    GTEST_SKIP() << "what counts coverage has mappings of its own";
#endif
    if (!am_root()) {
        GTEST_SKIP() << "only root may see the listener's memory";
    }
    const Daemon daemon;
    const auto mappings = own_mappings_of(daemon.listener());
    const std::string text = text_of(mappings);
    const auto left =
        static_cast<std::size_t>(std::count_if(mappings.begin(), mappings.end(), [](const Mapping& mapping) {
            return mapping.name.starts_with("[v"); // the vDSO's, where the kernel has sealed them
        }));
    EXPECT_TRUE(left == 0 || left == 3) << text;
    EXPECT_LE(mappings.size() - left, 14U) << text;
}

TEST_F(CellMemory, DoesNotHoldWhatAnEarlierClientSent) {
    const Daemon daemon;
    const std::string secret = "a secret of the first client, which the second must never see";
    {
        const Client first{daemon.address()};
        ASSERT_TRUE(first.echoes(secret));
        const Client still_there{daemon.address()};
        ASSERT_TRUE(still_there.echoes("x"));
        const Client second{daemon.address()};
        ASSERT_TRUE(daemon.has_cells(3));
        const auto cells = daemon.cells();
        int holders = 0;
        for (const pid_t cell : cells) {
            std::string memory;
            for (const Mapping& mapping : own_mappings_of(cell)) {
                std::string piece(mapping.end - mapping.start, '\0');
                const iovec local{piece.data(), piece.size()};
                const iovec remote{reinterpret_cast<void*>(mapping.start), piece.size()};
                ASSERT_EQ(::process_vm_readv(cell, &local, 1, &remote, 1, 0),
                          static_cast<ssize_t>(piece.size()));
                memory += piece;
            }
            holders += memory.find(secret) != std::string::npos ? 1 : 0;
        }
        EXPECT_EQ(holders, 1) << "the cell of the first client, so that the search is known to find it";
    }
}

TEST_F(CellMemory, RegistersAtTheFirstRecvPointNowhereElse) {
    const Daemon daemon;
    const Client client{daemon.address()};
    const pid_t cell = daemon.only_cell();
    // Blocked in recvfrom, before any byte.
    ASSERT_TRUE(waits_in_recv(cell));
    const auto mappings = own_mappings_of(cell);
    const Traced traced{cell};
    EXPECT_EQ(number_in(traced.registers()), SYS_recvfrom);
    for (const auto& [name, value] : named(traced.registers())) {
        const bool may_be_address = value > 0x10000 && value < end_of_addresses && value != left_of_setup;
        const bool ours =
            std::any_of(mappings.begin(), mappings.end(), [value = value](const Mapping& mapping) {
                return value >= mapping.start &&
                       value <= mapping.end; // the end of the stack is just behind it
            });
        EXPECT_TRUE(!may_be_address || ours) << fmt::format("{} = {:#x}\n{}", name, value, text_of(mappings));
    }
    const auto pointers = thread_pointers(cell);
    EXPECT_FALSE(pointers.empty());
    for (const std::uint64_t pointer : pointers) {
        EXPECT_EQ(pointer, 0U);
    }
}

TEST_F(CellMemory, VectorRegistersAtTheFirstRecvAreClear) {
    const Daemon daemon;
    const Client client{daemon.address()};
    const pid_t cell = daemon.only_cell();
    ASSERT_TRUE(waits_in_recv(cell));
    const Traced traced{cell};
    const auto state = vector_registers(cell);
    ASSERT_GE(state.size(), 384U);
    for (std::size_t at = 0; at < state.size(); ++at) {
        ASSERT_EQ(state[at], 0) << "at byte " << at;
    }
}

struct Attempt {
    const char* name;
    long number;
    std::array<std::uint64_t, 6> arguments{};
};

void PrintTo(const Attempt& attempt, std::ostream* out) {
    *out << attempt.name;
}

class TakenOverCell : public ::testing::TestWithParam<Attempt> {};

/// An allowed call by the same means is survived: else these tests would show nothing.
TEST(TakenOver, CellMayShutDownItsOwnConnection) {
    if (!am_root()) {
        GTEST_SKIP() << "only root may trace a process that can't be dumped";
    }
    const Daemon daemon;
    const Client client{daemon.address()};
    ASSERT_TRUE(client.echoes("hello"));
    const pid_t cell = daemon.only_cell();
    ASSERT_TRUE(waits_in_recv(cell));
    Traced{cell}.force_call(SYS_shutdown, {0, 1});
    EXPECT_EQ(client.receive_to_end(), "");
    // Its 0 then looks like the 0 of a recv: the cell leaves in order.
    EXPECT_EQ(daemon.end_of(client.name()).at("reason"), "closed");
}

TEST_P(TakenOverCell, DiesOf) {
    if (!am_root()) {
        GTEST_SKIP() << "only root may trace a process that can't be dumped";
    }
    const Daemon daemon;
    const Client client{daemon.address()};
    const Client other{daemon.address()};
    ASSERT_TRUE(other.echoes("hello"));
    ASSERT_TRUE(client.echoes("hello"));
    ASSERT_TRUE(daemon.has_cells(2));
    const pid_t cell = daemon.cells().back();
    Attempt attempt = GetParam();
    ASSERT_TRUE(waits_in_recv(cell));
    {
        const Traced traced{cell};
        if (attempt.arguments[1] == 1) { // stands for the one buffer
            attempt.arguments[1] = second_argument_in(traced.registers());
        }
        traced.force_call(attempt.number, attempt.arguments);
    }
    const auto of_the_cell = [&](const Json& record) { return record.value("pid", 0) == cell; };
    const Json end = daemon.await_record("connection", of_the_cell);
    EXPECT_EQ(end.at("reason"), "violation");
    EXPECT_EQ(end.at("signal"), SIGSYS);
    const Json violation = daemon.await_record("violation", of_the_cell);
    EXPECT_EQ(violation.at("level"), "error");
    EXPECT_EQ(violation.at("peer"), end.at("peer"));
    EXPECT_TRUE(Client{daemon.address()}.echoes("next"));
}

constexpr std::uint64_t no_signal = 0x4000;
INSTANTIATE_TEST_SUITE_P(
    Sigsys, TakenOverCell,
    ::testing::Values(
        Attempt{"read", SYS_read, {0, 1, 1}}, Attempt{"write", SYS_write, {0, 1, 1}},
        Attempt{"openat", SYS_openat}, Attempt{"socket", SYS_socket, {2, 1}}, Attempt{"connect", SYS_connect},
        Attempt{"accept4", SYS_accept4, {4}}, Attempt{"execve", SYS_execve},
        Attempt{"clone", SYS_clone, {0x80028}}, Attempt{"clone3", SYS_clone3},
        Attempt{"mmap", SYS_mmap, {0, 4096, 7, 34, ~0ULL}}, Attempt{"mprotect", SYS_mprotect},
        Attempt{"ptrace", SYS_ptrace}, Attempt{"kill", SYS_kill, {1}},
        Attempt{"tgkill", SYS_tgkill, {1, 1, 9}}, Attempt{"getpid", SYS_getpid},
        Attempt{"getppid", SYS_getppid}, Attempt{"seccomp", SYS_seccomp}, Attempt{"prctl", SYS_prctl},
        Attempt{"capset", SYS_capset}, Attempt{"bpf", SYS_bpf},
        Attempt{"io_uring_setup", SYS_io_uring_setup, {1}}, Attempt{"rt_sigreturn", SYS_rt_sigreturn},
        Attempt{"setitimer", SYS_setitimer}, Attempt{"prlimit64", SYS_prlimit64}, Attempt{"wait4", SYS_wait4},
        Attempt{"recvfrom_elsewhere", SYS_recvfrom, {0, 4096, 1}},
        Attempt{"recvfrom_too_long", SYS_recvfrom, {0, 1, 65537}},
        Attempt{"recvfrom_of_another", SYS_recvfrom, {1, 1, 1}},
        Attempt{"sendto_with_other_flags", SYS_sendto, {0, 1, 1, 0}},
        Attempt{"sendto_an_address", SYS_sendto, {0, 1, 1, no_signal, 4096, 16}},
        Attempt{"sendto_of_another", SYS_sendto, {2, 1, 1, no_signal}},
        Attempt{"shutdown_for_reading", SYS_shutdown, {0, 0}}, Attempt{"close_of_another", SYS_close, {1}},
        Attempt{"exit_group_16", SYS_exit_group, {16}}, Attempt{"x32_recvfrom", 0x40000000 + 517, {0, 1, 1}},
        Attempt{"no_such_call", 100000}),
    [](const auto& instance) { return instance.param.name; });

} // namespace
} // namespace cloister::live
