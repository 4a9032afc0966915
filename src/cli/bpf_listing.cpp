// SPDX-License-Identifier: MIT
#include "cli/bpf_listing.h"

#include "cli/files.h"
#include "policy/sha256.h"

#include <filesystem>
#include <fmt/format.h>
#include <linux/seccomp.h>

namespace cloister::tool {
namespace {

constexpr int unknown = -1;

std::string word_name(std::uint32_t offset) {
    static constexpr std::array<std::string_view, 4> first = {
        "number", "ABI", "instruction pointer, low half", "instruction pointer, high half"};
    const auto word = offset / 4;
    return word < 4 ? std::string{first.at(word)}
                    : fmt::format("argument {}, {} half", (word - 4) / 2 + 1, word % 2 == 0 ? "low" : "high");
}

// What is known at an instruction, on every path to it.
struct State {
    bool reached = false;
    int word = unknown;            ///< which the accumulator holds
    std::int64_t number = unknown; ///< of the call
    std::int64_t abi = unknown;    ///< as seccomp_data::arch has it
};

std::vector<State> states_of(const policy::Program& program) {
    std::vector<State> states(program.size());
    states.front().reached = true;
    const auto reach = [&](std::size_t at, const State& now) {
        if (at < states.size()) {
            auto& state = states[at];
            const bool first = !state.reached;
            state = {true, first || state.word == now.word ? now.word : unknown,
                     first || state.number == now.number ? now.number : unknown,
                     first || state.abi == now.abi ? now.abi : unknown};
        }
    };
    for (std::size_t at = 0; at < program.size(); ++at) {
        const auto& i = program[at];
        auto now = states[at];
        if (!now.reached || BPF_CLASS(i.code) == BPF_RET) {
            continue;
        }
        if (i.code == (BPF_LD | BPF_W | BPF_ABS)) {
            now.word = static_cast<int>(i.k / 4);
        } else if (BPF_CLASS(i.code) == BPF_LD || BPF_CLASS(i.code) == BPF_ALU ||
                   i.code == (BPF_MISC | BPF_TXA)) {
            now.word = unknown;
        }
        if (BPF_CLASS(i.code) != BPF_JMP) {
            reach(at + 1, now);
        } else if (BPF_OP(i.code) == BPF_JA) {
            reach(at + 1 + i.k, now);
        } else {
            auto yes = now;
            const bool tells = i.code == (BPF_JMP | BPF_JEQ | BPF_K);
            yes.number = tells && now.word == 0 ? i.k : now.number;
            yes.abi = tells && now.word == 1 ? i.k : now.abi;
            reach(at + 1 + i.jt, yes);
            reach(at + 1 + i.jf, now);
        }
    }
    return states;
}

// "echo.policy:9", or where the rules for a call are several, "listener.policy:20-22".
std::string lines_of(const policy::Policy& policy, std::int64_t number, policy::Arch arch) {
    const policy::Rule* first = nullptr;
    const policy::Rule* last = nullptr;
    for (const auto& rule : policy.rules) {
        if (policy::number_of(policy::abi_of(arch), rule.prototype->name) == number) {
            first = first == nullptr ? &rule : first;
            last = &rule;
        }
    }
    if (first == nullptr) {
        return {};
    }
    const auto file = std::filesystem::path{policy.file}.filename().string();
    return first == last ? fmt::format("{}:{}", file, first->where.line)
                         : fmt::format("{}:{}-{}", file, first->where.line, last->where.line);
}

std::string instruction(const sock_filter& i, std::size_t at) {
    const bool by_register = BPF_SRC(i.code) == BPF_X;
    const auto operand = by_register ? std::string{"X"} : fmt::format("0x{:x}", i.k);
    const auto raw = [&] {
        return fmt::format("code 0x{:02x} jt {} jf {} k 0x{:x}", i.code, i.jt, i.jf, i.k);
    };
    switch (BPF_CLASS(i.code)) {
    case BPF_LD:
    case BPF_LDX: {
        const auto load = BPF_CLASS(i.code) == BPF_LDX ? "load X" : "load";
        const auto mode = BPF_MODE(i.code);
        return mode == BPF_ABS   ? fmt::format("{} [{}]", load, i.k)
               : mode == BPF_IMM ? fmt::format("{} 0x{:x}", load, i.k)
               : mode == BPF_MEM ? fmt::format("{} memory {}", load, i.k)
               : mode == BPF_LEN ? fmt::format("{} size of the data", load)
                                 : raw();
    }
    case BPF_ST:
        return fmt::format("store memory {}", i.k);
    case BPF_STX:
        return fmt::format("store X memory {}", i.k);
    case BPF_ALU: {
        static constexpr std::array<std::string_view, 11> names = {
            "add",        "subtract",    "multiply", "divide", "or",          "and",
            "shift left", "shift right", "negate",   "modulo", "exclusive or"};
        const auto op = static_cast<std::size_t>(BPF_OP(i.code) >> 4U);
        return op >= names.size()          ? raw()
               : BPF_OP(i.code) == BPF_NEG ? "negate"
                                           : fmt::format("{} {}", names.at(op), operand);
    }
    case BPF_JMP: {
        static constexpr std::array<std::string_view, 5> names = {"", "==", ">", ">=", "has a bit of"};
        const auto op = static_cast<std::size_t>(BPF_OP(i.code) >> 4U);
        return op == 0              ? fmt::format("go to {}", at + 1 + i.k)
               : op >= names.size() ? raw()
                                    : fmt::format("if {} {} go to {} else {}", names.at(op), operand,
                                                  at + 1 + i.jt, at + 1 + i.jf);
    }
    case BPF_RET:
        return BPF_RVAL(i.code) == BPF_A ? "return A" : fmt::format("return 0x{:08x}", i.k);
    default:
        return i.code == (BPF_MISC | BPF_TAX)   ? "copy to X"
               : i.code == (BPF_MISC | BPF_TXA) ? "copy from X"
                                                : raw();
    }
}

std::optional<policy::Abi> abi_with(std::int64_t value) {
    for (const auto abi : {policy::Abi::x86_64, policy::Abi::aarch64, policy::Abi::i386}) {
        if (policy::audit_arch(abi) == value) {
            return abi;
        }
    }
    return std::nullopt;
}

std::string remark(const sock_filter& i, const State& state, policy::Arch arch) {
    if (i.code == (BPF_LD | BPF_W | BPF_ABS)) {
        return word_name(i.k);
    }
    if (i.code == (BPF_RET | BPF_K)) {
        return policy::describe_return(i.k);
    }
    if (i.code == (BPF_JMP | BPF_JEQ | BPF_K) && state.word == 0) {
        // A filter that does not say which ABI it speaks of speaks of the native one.
        const auto abi = state.abi == unknown ? policy::abi_of(arch) : abi_with(state.abi);
        const bool x32 = abi == policy::Abi::x86_64 && i.k >= policy::x32_bit;
        return abi ? std::string{policy::name_of(x32 ? policy::Abi::x32 : *abi, i.k)} : std::string{};
    }
    if (i.code == (BPF_JMP | BPF_JEQ | BPF_K) && state.word == 1) {
        const auto abi = abi_with(i.k);
        return abi ? std::string{to_string(*abi)} : std::string{};
    }
    return {};
}

std::string line_of(const policy::Program& program, std::size_t at) {
    return fmt::format("{:4}  {}", at, instruction(program[at], at));
}

std::string begins_at(const policy::Assembly& made, std::size_t first) {
    for (const auto& part : made.parts) {
        if (part.first == first && part.policy != nullptr) {
            return part.policy->name;
        }
    }
    return {};
}

} // namespace

std::string listing(const policy::Assembly& made, policy::Arch arch) {
    const auto& program = made.program;
    const auto states = states_of(program);
    std::string text;
    for (const auto& [policy, first, size] : made.parts) {
        if (policy == nullptr) {
            text += "# the ABI, and where the call comes from\n";
        } else if (made.parts.size() > 1) {
            text += fmt::format("# {}: calls from {}\n", policy->name,
                                policy->at ? fmt::format("${}", policy->at_name()) : "elsewhere");
        }
        for (auto at = first; at < first + size; ++at) {
            const auto line = line_of(program, at);
            const auto note = policy == nullptr && program[at].code == (BPF_JMP | BPF_JA)
                                  ? begins_at(made, at + 1 + program[at].k)
                                  : remark(program[at], states[at], arch);
            const auto source = policy == nullptr ? "" : lines_of(*policy, states[at].number, arch);
            const auto gap = note.empty() || source.empty() ? "" : "  ";
            text += note.empty() && source.empty()
                        ? line + '\n'
                        : fmt::format("{:<50}  ; {}{}{}\n", line, note, gap, source);
        }
    }
    return text;
}

std::string listing(const policy::Program& program, policy::Arch arch) {
    const auto states = states_of(program);
    std::string text;
    for (std::size_t at = 0; at < program.size(); ++at) {
        const auto line = line_of(program, at);
        const auto note = remark(program[at], states[at], arch);
        text += note.empty() ? line + '\n' : fmt::format("{:<50}  ; {}\n", line, note);
    }
    return text;
}

int print_program(const policy::Assembly& made, policy::Arch arch, const Question& question, Form form,
                  nlohmann::json about) {
    const auto bytes = bytes_of(made.program);
    std::string hex;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        hex += fmt::format("{:02x}", static_cast<unsigned char>(bytes[i]));
        if (form == Form::hex && !question.json && i % sizeof(sock_filter) == sizeof(sock_filter) - 1) {
            hex += '\n';
        }
    }
    if (question.json) {
        about["arch"] = to_string(arch);
        about["instructions"] = made.program.size();
        about["program_sha256"] = policy::sha256_hex(bytes);
        about["bytes"] = hex;
        fmt::print("{}\n", about.dump(2));
    } else if (form == Form::raw) {
        if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) {
            fmt::print(stderr, "cloister policy: cannot write the program\n");
            return static_cast<int>(ExitCode::SystemCall);
        }
    } else {
        fmt::print("{}", form == Form::hex ? hex : listing(made, arch));
    }
    return 0;
}

} // namespace cloister::tool
