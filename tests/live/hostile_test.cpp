// SPDX-License-Identifier: MIT
// What an attacker can do who runs any code in a cell once it is born (tests/hostile), and what not.
#include "cell/cell.h"
#include "client.h"
#include "harness.h"
#include "hostile/monitor.h"
#include "machine.h"
#include "policy/names.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/syscall.h>

namespace cloister::live {
namespace {

using hostile::Action;
using hostile::Order;

constexpr std::uint64_t page =
    arch::max_page_size;                          // what listener, clone, setup call site and loop have each
constexpr std::uint64_t stack = cell::stack_size; // below the buffer
constexpr std::uint64_t call = arch::system_call_size; // the instruction

Setup hostile_setup(std::vector<std::string> options = {},
                    const std::string& policies = CLOISTER_POLICY_SOURCE) {
    options.insert(options.begin(), "--policy-dir=" + policies);
    return {.program = "../tests/hostile/bin/cloisterd", .options = std::move(options)};
}

/// A cell in the attacker's hands.
class Taken {
  public:
    explicit Taken(const Daemon& daemon) : daemon_{daemon}, client_{daemon.address()} {}

    void order(Action action, std::vector<std::uint64_t> arguments = {}, std::uint64_t target = 0) const {
        Order order{hostile::magic, action, {}, target, 0};
        std::copy(arguments.begin(), arguments.end(), order.arguments);
        std::string bytes(sizeof order, '\0');
        std::memcpy(bytes.data(), &order, sizeof order);
        client_.send(bytes);
    }
    /// What the action gives, if the cell survives it.
    [[nodiscard]] std::uint64_t does(Action action, std::vector<std::uint64_t> arguments = {},
                                     std::uint64_t target = 0) const {
        order(action, std::move(arguments), target);
        const std::string bytes = client_.receive(sizeof(hostile::Reply));
        hostile::Reply reply = 0;
        std::memcpy(&reply, bytes.data(), sizeof reply);
        return reply;
    }
    /// The log's account of its end.
    [[nodiscard]] Json end() const { return daemon_.end_of(client_.name()); }
    [[nodiscard]] const Client& client() const { return client_; }

    [[nodiscard]] std::uint64_t buffer() const { return does(Action::Where); }
    [[nodiscard]] std::uint64_t setup_page() const { return does(Action::SetupCallSite) + call - page; }

  private:
    const Daemon& daemon_;
    Client client_;
};

class HostileCell : public testing::Test {
  protected:
    Daemon daemon_{hostile_setup()};

    void expect_death(Action action, const std::vector<std::uint64_t>& arguments, int signal,
                      std::uint64_t target = 0) const {
        const Taken cell{daemon_};
        cell.order(action, arguments, target);
        const Json end = cell.end();
        EXPECT_EQ(end.at("signal"), signal) << end;
        EXPECT_EQ(end.at("reason"), signal == SIGSYS ? "violation" : "crashed") << end;
    }
};

TEST_F(HostileCell, ControlReadsAndWritesItsOwnBufferAndStack) {
    const Taken cell{daemon_};
    const std::uint64_t buffer = cell.buffer();
    EXPECT_EQ(cell.does(Action::Poke, {buffer + 4096, 4711}), 0U);
    EXPECT_EQ(cell.does(Action::Peek, {buffer + 4096}), 4711U);
    EXPECT_EQ(cell.does(Action::Poke, {buffer - stack, 815}), 0U);
    EXPECT_EQ(cell.does(Action::Peek, {buffer - stack}), 815U);
    EXPECT_TRUE(cell.client().echoes("it serves as well"));
}

TEST_F(HostileCell, HasNoneOfTheThreeCallSites) {
    const std::uint64_t setup_site = Taken{daemon_}.setup_page();
    const std::uint64_t pages[] = {setup_site - 2 * page, setup_site - page, setup_site};
    for (const std::uint64_t start : pages) {
        expect_death(Action::Peek, {start}, SIGSEGV);
        expect_death(Action::Peek, {start + page - 8}, SIGSEGV);
    }
    const std::uint64_t instructions[] = {setup_site - 2 * page, setup_site - call, setup_site + page - call};
    for (const std::uint64_t instruction : instructions) {
        expect_death(Action::Jump, {SYS_getppid}, SIGSEGV, instruction);
        expect_death(Action::Jump, {SYS_mmap, 0, page, 7, 0x22, ~0ULL, 0}, SIGSEGV, instruction);
    }
}

TEST_F(HostileCell, GetsNothingFromTheKernelsOwnPage) {
    constexpr std::uint64_t vsyscalls[] = {0xffffffffff600000, 0xffffffffff600400, 0xffffffffff600800};
    for (const std::uint64_t entry : vsyscalls) { // gettimeofday, time, getcpu; a fault where there is none
        const Taken cell{daemon_};
        cell.order(Action::Jump, {}, entry);
        const Json end = cell.end();
        EXPECT_TRUE(end.at("signal") == SIGSYS || end.at("signal") == SIGSEGV) << end;
    }
}

TEST_F(HostileCell, CannotBringThemBack) {
    const std::uint64_t setup_site = Taken{daemon_}.setup_page();
    for (const std::uint64_t where : {setup_site - 2 * page, setup_site - page, setup_site}) {
        expect_death(Action::Call, {SYS_mmap, where, page, 7, 0x32, ~0ULL, 0}, SIGSYS);
        expect_death(Action::Call, {SYS_mremap, setup_site + page, page, page, 3, where}, SIGSYS);
    }
    expect_death(Action::Call, {SYS_munmap, setup_site + page, page}, SIGSYS);
    expect_death(Action::Call, {SYS_mprotect, setup_site + page, page, 7}, SIGSYS);
    expect_death(Action::Call, {SYS_brk, 0}, SIGSYS);
}

TEST_F(HostileCell, CannotWriteItsCodeOrAroundItsArena) {
    const Taken cell{daemon_};
    const std::uint64_t buffer = cell.buffer();
    const std::uint64_t code = cell.setup_page() + page;
    expect_death(Action::Poke, {code + 8, 0}, SIGSEGV);
    expect_death(Action::Poke, {buffer - stack - 8, 0}, SIGSEGV);
    expect_death(Action::Poke, {buffer - stack + sizeof(cell::Arena), 0}, SIGSEGV);
}

/// The code that a cell has, up to what fills its page.
std::string code_of_a_cell() {
    const Daemon daemon{hostile_setup()};
    const Taken cell{daemon};
    const std::uint64_t code = cell.setup_page() + page;
    std::string written(page, '\0');
    for (std::uint64_t offset = 0; offset < page; offset += sizeof(std::uint64_t)) {
        const std::uint64_t bytes = cell.does(Action::Peek, {code + offset});
        std::memcpy(&written[offset], &bytes, sizeof bytes);
    }
    written.resize(written.find_last_not_of(code_fill) + 1);
    return written;
}

/// Sends cells of that daemon to every place of their own code where the processor takes an instruction,
/// meant as one or not, each with a call in its registers that is not its own: write(0, marker, 16). Whatever
/// the code does afterwards, its client would see that first; a reply that the code makes of a register has 8
/// bytes. Where it saw it; where the bytes are a system call instruction is in `call_sites`.
std::vector<std::uint64_t> places_that_write(const Daemon& daemon, std::vector<std::uint64_t>& instructions) {
    constexpr std::uint64_t marker[2] = {0x4b'52'41'4d'21'21'21'21, 0x4d'41'52'4b'3f'3f'3f'3f};
    constexpr std::uint64_t marker_at = offsetof(Order, arguments[5]); // the last two, which write ignores
    const std::uint64_t code = Taken{daemon}.setup_page() + page;
    const std::uint64_t buffer = Taken{daemon}.buffer();
    const std::string written = code_of_a_cell();
    EXPECT_GT(written.size(), 200U);
    std::vector<std::uint64_t> seen;
    for (std::uint64_t offset = 0; offset < written.size(); offset += instruction_alignment) {
        if (written.compare(offset, system_call_bytes.size(), system_call_bytes) == 0) {
            instructions.push_back(offset);
        }
        const Taken cell{daemon};
        cell.order(Action::Jump, {SYS_write, 0, buffer + marker_at, sizeof marker, 0, marker[0], marker[1]},
                   code + offset);
        cell.client().half_close();
        try {
            const std::string first = cell.client().receive(sizeof marker, 5s);
            if (std::memcmp(first.data(), marker, sizeof marker) == 0) {
                seen.push_back(offset);
            }
        } catch (const std::exception&) { // it died without a word
        }
    }
    return seen;
}

TEST(HostileCells, FindNoOtherSystemCallInTheirCode) {
    const Daemon daemon{hostile_setup({"--lifetime=500ms"})}; // some places loop for ever
    std::vector<std::uint64_t> instructions;
    for (const std::uint64_t offset : places_that_write(daemon, instructions)) {
        ADD_FAILURE() << "offset " << offset;
    }
}

/// Were that call allowed, it would be made, and seen, wherever there is an instruction for it.
TEST(HostileCells, ControlOfTheSearchFindsEachInstructionWhereThePolicyAllowsTheCall) {
    const TemporaryDirectory policies;
    std::filesystem::copy(CLOISTER_POLICY_SOURCE, policies.path(), std::filesystem::copy_options::recursive);
    std::ofstream{policies.file("handlers/echo.policy"), std::ios::app}
        << "allow write fd == 0  buf any  count any : control\n";
    const Daemon daemon{hostile_setup({"--lifetime=500ms"}, policies.path())};
    std::vector<std::uint64_t> instructions;
    const auto seen = places_that_write(daemon, instructions);
    EXPECT_GE(instructions.size(), 5U);
    EXPECT_TRUE(std::includes(seen.begin(), seen.end(), instructions.begin(), instructions.end()))
        << fmt::format("at {}; seen from {}", fmt::join(instructions, " "), fmt::join(seen, " "));
}

TEST_F(HostileCell, HasNothingOfTheListenersMemory) {
    if (!am_root()) {
        GTEST_SKIP() << "only root may see where the listener's memory lies";
    }
    unsigned tried = 0;
    const std::uint64_t arena = Taken{daemon_}.buffer() - stack;
    const std::uint64_t code = Taken{daemon_}.setup_page() + page;
    for (const Mapping& mapping : mappings_of(daemon_.listener())) {
        const bool kept = mapping.start == arena || mapping.start == code - page;
        if (!kept && mapping.name != "[vsyscall]") {
            const std::uint64_t middle = mapping.start + (mapping.end - mapping.start) / 2;
            for (const std::uint64_t where : {mapping.start, middle, mapping.end - sizeof(hostile::Reply)}) {
                expect_death(Action::Peek, {where}, SIGSEGV);
            }
            ++tried;
        }
    }
    EXPECT_GE(tried, 8U);
}

TEST_F(HostileCell, ReachesNoOtherProcess) {
    const Client other{daemon_.address()};
    ASSERT_TRUE(other.echoes("before"));
    const auto sibling = static_cast<std::uint64_t>(daemon_.cells().front());
    const auto listener = static_cast<std::uint64_t>(daemon_.listener());
    const auto supervisor = static_cast<std::uint64_t>(daemon_.pid());
    for (const std::uint64_t pid : {sibling, listener, supervisor}) {
        expect_death(Action::Call, {SYS_kill, pid, SIGKILL}, SIGSYS);
        expect_death(Action::Call, {SYS_tgkill, pid, pid, SIGKILL}, SIGSYS);
        expect_death(Action::Call, {SYS_ptrace, 16, pid}, SIGSYS);
        expect_death(Action::Call, {SYS_process_vm_readv, pid}, SIGSYS);
        expect_death(Action::Call, {SYS_pidfd_open, pid}, SIGSYS);
        expect_death(Action::Call, {SYS_prlimit64, pid, 0, 0, 0}, SIGSYS);
    }
    EXPECT_TRUE(other.echoes("after"));
}

TEST_F(HostileCell, GetsNoProcessNoFileNoSocketNoPrivilege) {
    for (const char* name :
         {"clone",       "fork",         "vfork",        "clone3",         "execve",
          "execveat",    "open",         "openat",       "openat2",        "socket",
          "connect",     "accept4",      "recvmsg",      "read",           "write",
          "dup",         "setuid",       "capset",       "prctl",          "seccomp",
          "unshare",     "setns",        "bpf",          "io_uring_setup", "perf_event_open",
          "userfaultfd", "rt_sigaction", "rt_sigreturn", "setitimer",      "mount",
          "chdir",       "getpid"}) {
        using policy::Abi;
        ASSERT_TRUE(policy::number_of(Abi::x86_64, name)) << name;
        const auto number = policy::number_of(policy::abi_of(policy::native_arch), name);
        if (number) { // aarch64 has no fork, vfork, open
            expect_death(Action::Call, {*number}, SIGSYS);
        }
    }
}

TEST_F(HostileCell, ReachesNoOtherDescriptorAndNoOtherBuffer) {
    const Taken cell{daemon_};
    const std::uint64_t buffer = cell.buffer();
    for (const std::uint64_t fd : {1ULL, 2ULL, 3ULL, 4ULL, 68ULL, ~0ULL}) {
        expect_death(Action::Call, {SYS_recvfrom, fd, buffer, 8, 0, 0, 0}, SIGSYS);
        expect_death(Action::Call, {SYS_sendto, fd, buffer, 8, MSG_NOSIGNAL, 0, 0}, SIGSYS);
        expect_death(Action::Call, {SYS_close, fd}, SIGSYS);
    }
    expect_death(Action::Call, {SYS_recvfrom, 0, buffer + 1, 8, 0, 0, 0}, SIGSYS);
    expect_death(Action::Call, {SYS_recvfrom, 0, buffer, 65537, 0, 0, 0}, SIGSYS);
    expect_death(Action::Call, {SYS_sendto, 0, buffer - 8, 8, MSG_NOSIGNAL, 0, 0}, SIGSYS);
}

TEST_F(HostileCell, MayClaimAnyOfSixExitCodesAndNoOther) {
    for (std::uint64_t code = 0; code <= 5; ++code) {
        const Taken cell{daemon_};
        cell.order(Action::Call, {SYS_exit_group, code});
        EXPECT_EQ(cell.end().at("exit"), code);
    }
    expect_death(Action::Call, {SYS_exit_group, 6}, SIGSYS);
    expect_death(Action::Call, {SYS_exit_group, 256}, SIGSYS);
}

/// A listener whose setups fail again and again ends: many cells that say so must not end it for the others.
TEST_F(HostileCell, CannotClaimThatItsSetupFailedAndSoEndTheListener) {
    const Client other{daemon_.address()};
    ASSERT_TRUE(other.echoes("before"));
    const pid_t listener = daemon_.listener();
    for (int i = 0; i < 40; ++i) {
        const auto code = static_cast<std::uint64_t>(6 + i % 10);
        expect_death(Action::Call, {SYS_exit_group, code}, SIGSYS);
    }
    EXPECT_TRUE(other.echoes("after"));
    EXPECT_TRUE(Client{daemon_.address()}.echoes("a new one"));
    EXPECT_EQ(daemon_.listener(), listener);
}

TEST(HostileCells, UseCpuUpToTheirLimit) {
    const Daemon daemon{hostile_setup({"--cpu-limit=1s"})};
    const Taken cell{daemon};
    cell.order(Action::Spin);
    EXPECT_TRUE(Client{daemon.address()}.echoes("others are served"));
    EXPECT_EQ(daemon.end_of(cell.client().name(), 30s).at("reason"), "cpu");
}

TEST(HostileCells, LiveUpToTheirLifetime) {
    const Daemon daemon{hostile_setup({"--lifetime=1s"})};
    const Taken cell{daemon};
    cell.order(Action::Spin);
    EXPECT_EQ(daemon.end_of(cell.client().name(), 30s).at("reason"), "lifetime");
}

} // namespace
} // namespace cloister::live
