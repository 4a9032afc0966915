// SPDX-License-Identifier: MIT
#include "tool/bpf_listing.h"

#include "policy/prove.h"

#include <fmt/format.h>
#include <linux/seccomp.h>
#include <optional>

namespace cloister::tool {
namespace {

constexpr int unknown = -1;
constexpr int unreached = -2;

std::string word_name(std::uint32_t offset) {
    static constexpr std::array<std::string_view, 4> first = {
        "number", "ABI", "instruction pointer, low half", "instruction pointer, high half"};
    const auto word = offset / 4;
    return word < 4 ? std::string{first.at(word)}
                    : fmt::format("argument {}, {} half", (word - 4) / 2 + 1, word % 2 == 0 ? "low" : "high");
}

// Which word the accumulator holds on every way to each instruction, or unknown.
std::vector<int> loaded_words(const policy::Program& program) {
    std::vector<int> words(program.size(), unreached);
    words.front() = unknown;
    const auto reach = [&](std::size_t at, int word) {
        if (at < words.size()) {
            words[at] = words[at] == unreached || words[at] == word ? word : unknown;
        }
    };
    for (std::size_t at = 0; at < program.size(); ++at) {
        const auto& i = program[at];
        const bool load = i.code == (BPF_LD | BPF_W | BPF_ABS);
        const int word = load                           ? static_cast<int>(i.k / 4)
                         : BPF_CLASS(i.code) == BPF_ALU ? unknown
                                                        : words[at];
        if (words[at] == unreached || BPF_CLASS(i.code) == BPF_RET) {
            continue;
        }
        if (BPF_CLASS(i.code) != BPF_JMP) {
            reach(at + 1, word);
        } else if (BPF_OP(i.code) == BPF_JA) {
            reach(at + 1 + i.k, word);
        } else {
            reach(at + 1 + i.jt, word);
            reach(at + 1 + i.jf, word);
        }
    }
    return words;
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

} // namespace

std::string listing(const policy::Program& program, policy::Arch arch) {
    const auto words = loaded_words(program);
    std::string text;
    for (std::size_t at = 0; at < program.size(); ++at) {
        const auto note = remark(program[at], words[at], arch);
        const auto line = fmt::format("{:4}  {}", at, instruction(program[at], at));
        text += note.empty() ? line + '\n' : fmt::format("{:<50}  ; {}\n", line, note);
    }
    return text;
}

} // namespace cloister::tool
