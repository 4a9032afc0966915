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
};

std::vector<State> states_of(const policy::Program& program) {
    std::vector<State> states(program.size());
    states.front().reached = true;
    const auto reach = [&](std::size_t at, int word, std::int64_t number) {
        if (at < states.size()) {
            auto& state = states[at];
            state = {true, !state.reached || state.word == word ? word : unknown,
                     !state.reached || state.number == number ? number : unknown};
        }
    };
    for (std::size_t at = 0; at < program.size(); ++at) {
        const auto& i = program[at];
        const auto [reached, before, number] = states[at];
        const bool load = i.code == (BPF_LD | BPF_W | BPF_ABS);
        const int word = load ? static_cast<int>(i.k / 4) : BPF_CLASS(i.code) == BPF_ALU ? unknown : before;
        if (!reached || BPF_CLASS(i.code) == BPF_RET) {
            continue;
        }
        if (BPF_CLASS(i.code) != BPF_JMP) {
            reach(at + 1, word, number);
        } else if (BPF_OP(i.code) == BPF_JA) {
            reach(at + 1 + i.k, word, number);
        } else {
            const bool tells = i.code == (BPF_JMP | BPF_JEQ | BPF_K) && word == 0;
            reach(at + 1 + i.jt, word, tells ? i.k : number);
            reach(at + 1 + i.jf, word, number);
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
    const auto jump = [&](std::string_view test) {
        return fmt::format("if {} 0x{:x} go to {} else {}", test, i.k, at + 1 + i.jt, at + 1 + i.jf);
    };
    switch (i.code) {
    case BPF_LD | BPF_W | BPF_ABS:
        return fmt::format("load [{}]", i.k);
    case BPF_ALU | BPF_AND | BPF_K:
        return fmt::format("and 0x{:x}", i.k);
    case BPF_RET | BPF_K:
        return fmt::format("return 0x{:08x}", i.k);
    case BPF_JMP | BPF_JA:
        return fmt::format("go to {}", at + 1 + i.k);
    case BPF_JMP | BPF_JEQ | BPF_K:
        return jump("==");
    case BPF_JMP | BPF_JGT | BPF_K:
        return jump(">");
    case BPF_JMP | BPF_JGE | BPF_K:
        return jump(">=");
    case BPF_JMP | BPF_JSET | BPF_K:
        return jump("has a bit of");
    default:
        return fmt::format("code 0x{:02x} jt {} jf {} k 0x{:x}", i.code, i.jt, i.jf, i.k);
    }
}

std::string remark(const sock_filter& i, int word, policy::Arch arch) {
    if (i.code == (BPF_LD | BPF_W | BPF_ABS)) {
        return word_name(i.k);
    }
    if (i.code == (BPF_RET | BPF_K)) {
        return policy::describe_return(i.k);
    }
    if (i.code == (BPF_JMP | BPF_JEQ | BPF_K) && word == 0) {
        return std::string{policy::name_of(policy::abi_of(arch), i.k)};
    }
    if (i.code == (BPF_JMP | BPF_JEQ | BPF_K) && word == 1 &&
        i.k == policy::audit_arch(policy::abi_of(arch))) {
        return std::string{to_string(arch)};
    }
    return {};
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
            const auto line = fmt::format("{:4}  {}", at, instruction(program[at], at));
            const auto note = policy == nullptr && program[at].code == (BPF_JMP | BPF_JA)
                                  ? begins_at(made, at + 1 + program[at].k)
                                  : remark(program[at], states[at].word, arch);
            const auto source = policy == nullptr ? "" : lines_of(*policy, states[at].number, arch);
            const auto gap = note.empty() || source.empty() ? "" : "  ";
            text += note.empty() && source.empty()
                        ? line + '\n'
                        : fmt::format("{:<50}  ; {}{}{}\n", line, note, gap, source);
        }
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
