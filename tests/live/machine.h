// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <elf.h>
#include <linux/capability.h>
#include <span>
#include <stdexcept>
#include <string>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <vector>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

/// What these tests know of processors: their registers, as ptrace(2) shows them, and their instructions.
namespace cloister::live {

/// The registers of that set (NT_*) of a process that is stopped.
template <typename Registers>
std::size_t read_registers(pid_t pid, int set, std::span<Registers> registers) {
    iovec vector{registers.data(), registers.size_bytes()};
    if (::ptrace(PTRACE_GETREGSET, pid, set, &vector) != 0) {
        throw std::runtime_error("no registers");
    }
    return vector.iov_len;
}

struct Register {
    std::string name;
    std::uint64_t value;
};

#if defined(__x86_64__)

using Registers = user_regs_struct;
inline constexpr std::uint64_t end_of_addresses = 0x8000'0000'0000; ///< that a process may have
inline const std::string system_call_bytes = "\x0f\x05";
inline constexpr std::size_t instruction_alignment = 1;
inline constexpr char code_fill = '\xcc';
/// How the listener ends that takes itself for a newborn: its stack is not empty, so xrstor faults.
inline constexpr const char* end_as_newborn = "signal 11";
/// In a register at the first recv, though it is no address of the cell's: nothing.
inline constexpr std::uint64_t left_of_setup = 0;

inline std::vector<Register> named(const Registers& r) {
    return {{"rax", r.rax}, {"rbx", r.rbx}, {"rcx", r.rcx}, {"rdx", r.rdx}, {"rsi", r.rsi}, {"rdi", r.rdi},
            {"rbp", r.rbp}, {"rsp", r.rsp}, {"r8", r.r8},   {"r9", r.r9},   {"r10", r.r10}, {"r11", r.r11},
            {"r12", r.r12}, {"r13", r.r13}, {"r14", r.r14}, {"r15", r.r15}, {"rip", r.rip}};
}
/// Of the system call that it is in.
inline long number_in(const Registers& registers) {
    return static_cast<long>(registers.orig_rax);
}
inline std::uint64_t second_argument_in(const Registers& registers) {
    return registers.rsi;
}

/// Turns the system call within which it was stopped into another, by the same instruction.
inline void make_call(Registers& registers, long number, const std::array<std::uint64_t, 6>& arguments) {
    registers.rip -= system_call_bytes.size();
    registers.rax = static_cast<unsigned long long>(number);
    registers.orig_rax = ~0ULL; // nothing to restart
    registers.rdi = arguments[0];
    registers.rsi = arguments[1];
    registers.rdx = arguments[2];
    registers.r10 = arguments[3];
    registers.r8 = arguments[4];
    registers.r9 = arguments[5];
}

inline std::vector<std::uint64_t> thread_pointers(pid_t pid) {
    Registers registers{};
    (void)read_registers(pid, NT_PRSTATUS, std::span{&registers, 1});
    return {registers.fs_base, registers.gs_base};
}

/// All that XSAVE keeps, x87, SSE, AVX and what else there is, without what is no data: the first 32 bytes,
/// the header, and the protection keys, which start with a value of their own.
inline std::vector<std::uint8_t> vector_registers(pid_t pid) {
    std::vector<std::uint8_t> state(16384);
    state.resize(read_registers(pid, NT_X86_XSTATE, std::span{state}));
    unsigned keys_size = 0;
    unsigned keys_offset = 0;
    unsigned ignored = 0;
    __cpuid_count(0xd, 9, keys_size, keys_offset, ignored, ignored);
    std::vector<std::uint8_t> data;
    for (std::size_t at = 32; at < state.size(); ++at) {
        const bool header = at >= 416 && at < 576;
        const bool keys = at >= keys_offset && at < keys_offset + keys_size;
        if (!header && !keys) {
            data.push_back(state[at]);
        }
    }
    return data;
}

#elif defined(__aarch64__)

using Registers = user_regs_struct;
inline constexpr std::uint64_t end_of_addresses = 0x1'0000'0000'0000;
inline const std::string system_call_bytes{"\x01\x00\x00\xd4", 4};
inline constexpr std::size_t instruction_alignment = 4;
inline constexpr char code_fill = '\0';
/// How the listener ends that takes itself for a newborn: as somebody else's child.
inline constexpr const char* end_as_newborn = "exit code 8\n";
/// In a register at the first recv, though it is no address of the cell's: a constant of its setup.
inline constexpr std::uint64_t left_of_setup = _LINUX_CAPABILITY_VERSION_3;

inline std::vector<Register> named(const Registers& r) {
    std::vector<Register> all{{"sp", r.sp}, {"pc", r.pc}};
    for (std::size_t i = 0; i < std::size(r.regs); ++i) {
        all.push_back({"x" + std::to_string(i), r.regs[i]});
    }
    return all;
}
inline long number_in(const Registers& registers) {
    return static_cast<long>(registers.regs[8]);
}
inline std::uint64_t second_argument_in(const Registers& registers) {
    return registers.regs[1];
}

/// It was interrupted for good, since the socket has a timeout (signal(7)): nothing is restarted.
inline void make_call(Registers& registers, long number, const std::array<std::uint64_t, 6>& arguments) {
    if (static_cast<long>(registers.regs[0]) != -EINTR) {
        throw std::runtime_error("not stopped within a call that was interrupted");
    }
    registers.pc -= system_call_bytes.size();
    registers.regs[8] = static_cast<unsigned long long>(number);
    std::copy(arguments.begin(), arguments.end(), registers.regs);
}

/// One, or two where the processor has TPIDR2_EL0.
inline std::vector<std::uint64_t> thread_pointers(pid_t pid) {
    std::vector<std::uint64_t> pointers(2);
    pointers.resize(read_registers(pid, NT_ARM_TLS, std::span{pointers}) / sizeof pointers[0]);
    return pointers;
}

/// The vectors, and the registers that say how to count with them.
inline std::vector<std::uint8_t> vector_registers(pid_t pid) {
    std::vector<std::uint8_t> state(sizeof(user_fpsimd_struct));
    state.resize(read_registers(pid, NT_PRFPREG, std::span{state}));
    return state;
}

#endif

} // namespace cloister::live
