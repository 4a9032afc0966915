// SPDX-License-Identifier: MIT
// What a program returns, as a diagram: symbolic execution. Each register holds a word of 32 diagrams, one a
// bit.
#include "policy/meaning.h"

#include <algorithm>
#include <bit>
#include <bitset>
#include <fmt/format.h>
#include <map>
#include <stdexcept>

namespace cloister::policy {
namespace {

using Node = Diagram::Node;
using Word = std::array<Node, 32>; ///< the lowest bit first

constexpr std::size_t max_states = 200'000; ///< of all instructions together
constexpr std::size_t max_returns = 4096;   ///< different values of one BPF_RET | BPF_A

/// Words by number: equal words have the same.
class Words {
  public:
    using Id = std::uint32_t;
    explicit Words(Diagram& diagram) : diagram_{diagram} {}

    [[nodiscard]] Id intern(const Word& word) {
        const auto [at, fresh] = ids_.try_emplace(word, static_cast<Id>(words_.size()));
        if (fresh) {
            words_.push_back(&at->first);
        }
        return at->second;
    }
    [[nodiscard]] const Word& operator[](Id id) const { return *words_[id]; }
    [[nodiscard]] Id number(std::uint32_t value) {
        Word word{};
        for (unsigned bit = 0; bit < 32; ++bit) {
            word.at(bit) = value >> bit & 1U;
        }
        return intern(word);
    }
    /// Its value, if it has only one.
    [[nodiscard]] std::optional<std::uint32_t> constant(Id id) const {
        std::uint32_t value = 0;
        for (unsigned bit = 0; bit < 32; ++bit) {
            const auto node = (*this)[id].at(bit);
            if (node > 1) {
                return std::nullopt;
            }
            value |= node << bit;
        }
        return value;
    }

    /// The result of an instruction of class BPF_ALU; nothing, where it cannot be said.
    [[nodiscard]] std::optional<Id> calculate(std::uint16_t op, Id left, Id right) {
        const auto by = constant(right);
        switch (op) {
        case BPF_AND:
            return bitwise(left, right, [&](Node a, Node b) { return diagram_.both(a, b); });
        case BPF_OR:
            return bitwise(left, right, [&](Node a, Node b) { return diagram_.if_else(a, 1, b); });
        case BPF_XOR:
            return bitwise(left, right, [&](Node a, Node b) { return exclusive(a, b); });
        case BPF_ADD:
            return sum((*this)[left], (*this)[right], 0);
        case BPF_SUB:
            return sum((*this)[left], inverted(right), 1);
        case BPF_NEG:
            return sum((*this)[number(0)], inverted(left), 1);
        case BPF_LSH:
        case BPF_RSH:
            return by && *by < 32 ? std::optional{shifted(left, op == BPF_LSH, *by)} : std::nullopt;
        case BPF_MUL: {
            auto product = number(0);
            for (unsigned bit = 0; by && bit < 32; ++bit) {
                if ((*by >> bit & 1U) != 0) {
                    product = sum((*this)[product], (*this)[shifted(left, true, bit)], 0);
                }
            }
            return by ? std::optional{product} : std::nullopt;
        }
        case BPF_DIV:
            if (by && std::has_single_bit(*by)) {
                return shifted(left, false, static_cast<unsigned>(std::countr_zero(*by)));
            }
            return by && *by != 0 && constant(left) ? std::optional{number(*constant(left) / *by)}
                                                    : std::nullopt;
        default:
            return std::nullopt;
        }
    }

    /// Where a conditional jump is taken.
    [[nodiscard]] Node test(std::uint16_t op, Id left, Id right) {
        Node node = op == BPF_JEQ || op == BPF_JGE ? 1 : 0;
        for (unsigned bit = 0; bit < 32; ++bit) { // from the lowest on: a higher one decides over all below
            const auto a = (*this)[left].at(bit);
            const auto b = (*this)[right].at(bit);
            if (op == BPF_JEQ) {
                node = diagram_.if_else(a, diagram_.both(b, node), diagram_.if_else(b, 0, node));
            } else if (op == BPF_JSET) {
                node = diagram_.if_else(diagram_.both(a, b), 1, node);
            } else { // BPF_JGT, BPF_JGE
                node = diagram_.if_else(a, diagram_.if_else(b, node, 1), diagram_.if_else(b, 0, node));
            }
        }
        return node;
    }

  private:
    template <class Operation>
    Id bitwise(Id left, Id right, const Operation& operation) {
        Word word{};
        for (unsigned bit = 0; bit < 32; ++bit) {
            word.at(bit) = operation((*this)[left].at(bit), (*this)[right].at(bit));
        }
        return intern(word);
    }
    [[nodiscard]] Node exclusive(Node a, Node b) { return diagram_.if_else(a, diagram_.if_else(b, 0, 1), b); }
    [[nodiscard]] Word inverted(Id id) {
        Word word = (*this)[id];
        for (auto& bit : word) {
            bit = diagram_.if_else(bit, 0, 1);
        }
        return word;
    }
    [[nodiscard]] Id sum(const Word& left, const Word& right, Node carry) {
        Word word{};
        for (unsigned bit = 0; bit < 32; ++bit) {
            const auto a = left.at(bit);
            const auto b = right.at(bit);
            word.at(bit) = exclusive(exclusive(a, b), carry);
            carry = diagram_.if_else(a, diagram_.if_else(b, 1, carry), diagram_.both(b, carry));
        }
        return intern(word);
    }
    [[nodiscard]] Id shifted(Id id, bool up, unsigned by) {
        Word word{};
        for (unsigned bit = 0; bit + by < 32; ++bit) {
            word.at(up ? bit + by : bit) = (*this)[id].at(up ? bit : bit + by);
        }
        return intern(word);
    }

    Diagram& diagram_;
    std::map<Word, Id> ids_;
    std::vector<const Word*> words_;
};

/// The registers: accumulator, index register, scratch memory. One that is not read again is 0.
using Registers = std::array<Words::Id, 2 + BPF_MEMWORDS>;
constexpr std::size_t a_register = 0;
constexpr std::size_t x_register = 1;
constexpr std::size_t memory = 2;
using Live = std::bitset<2 + BPF_MEMWORDS>; ///< the registers that are read before they are written

bool is_branch(const sock_filter& i) {
    return BPF_CLASS(i.code) == BPF_JMP && BPF_OP(i.code) != BPF_JA;
}
bool with_x(const sock_filter& i) {
    return BPF_SRC(i.code) == BPF_X;
}

[[noreturn]] void refuse(std::span<const sock_filter> program, std::size_t at, std::string_view why) {
    const auto& i = program[at];
    throw std::invalid_argument{fmt::format("instruction {} (code 0x{:02x} jt {} jf {} k 0x{:x}): {}", at,
                                            i.code, i.jt, i.jf, i.k, why)};
}

// kernel/seccomp.c, seccomp_check_filter, and net/core/filter.c, bpf_check_classic.
void check_instruction(std::span<const sock_filter> program, std::size_t at) {
    const auto& i = program[at];
    const std::size_t after = program.size() - at - 1; // instructions that follow
    switch (i.code) {
    case BPF_LD | BPF_W | BPF_ABS:
        if (i.k % 4 != 0 || i.k >= sizeof(seccomp_data)) {
            refuse(program, at, "loads from outside seccomp_data");
        }
        break;
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
        if (i.k >= BPF_MEMWORDS) {
            refuse(program, at, "there is no such word of scratch memory");
        }
        break;
    case BPF_LD | BPF_IMM:
    case BPF_LDX | BPF_IMM:
    case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_W | BPF_LEN:
    case BPF_MISC | BPF_TAX:
    case BPF_MISC | BPF_TXA:
    case BPF_ALU | BPF_ADD | BPF_K:
    case BPF_ALU | BPF_ADD | BPF_X:
    case BPF_ALU | BPF_SUB | BPF_K:
    case BPF_ALU | BPF_SUB | BPF_X:
    case BPF_ALU | BPF_MUL | BPF_K:
    case BPF_ALU | BPF_MUL | BPF_X:
    case BPF_ALU | BPF_DIV | BPF_X:
    case BPF_ALU | BPF_AND | BPF_K:
    case BPF_ALU | BPF_AND | BPF_X:
    case BPF_ALU | BPF_OR | BPF_K:
    case BPF_ALU | BPF_OR | BPF_X:
    case BPF_ALU | BPF_XOR | BPF_K:
    case BPF_ALU | BPF_XOR | BPF_X:
    case BPF_ALU | BPF_LSH | BPF_X:
    case BPF_ALU | BPF_RSH | BPF_X:
    case BPF_ALU | BPF_NEG:
    case BPF_RET | BPF_K:
    case BPF_RET | BPF_A:
        break;
    case BPF_ALU | BPF_DIV | BPF_K:
        if (i.k == 0) {
            refuse(program, at, "divides by 0");
        }
        break;
    case BPF_ALU | BPF_LSH | BPF_K:
    case BPF_ALU | BPF_RSH | BPF_K:
        if (i.k >= 32) {
            refuse(program, at, "shifts by more than 31 bits");
        }
        break;
    case BPF_JMP | BPF_JA:
        if (i.k >= after) {
            refuse(program, at, "jumps out of the program");
        }
        break;
    case BPF_JMP | BPF_JEQ | BPF_K:
    case BPF_JMP | BPF_JEQ | BPF_X:
    case BPF_JMP | BPF_JGT | BPF_K:
    case BPF_JMP | BPF_JGT | BPF_X:
    case BPF_JMP | BPF_JGE | BPF_K:
    case BPF_JMP | BPF_JGE | BPF_X:
    case BPF_JMP | BPF_JSET | BPF_K:
    case BPF_JMP | BPF_JSET | BPF_X:
        if (std::max(i.jt, i.jf) >= after) {
            refuse(program, at, "jumps out of the program");
        }
        break;
    default:
        refuse(program, at, "seccomp(2) takes no such instruction");
    }
    if (after == 0 && BPF_CLASS(i.code) != BPF_RET) {
        refuse(program, at, "the program runs off its end");
    }
}

std::pair<std::size_t, std::size_t> targets(const sock_filter& i, std::size_t at) {
    if (BPF_CLASS(i.code) != BPF_JMP) {
        return {at + 1, at + 1};
    }
    return BPF_OP(i.code) == BPF_JA ? std::pair{at + 1 + i.k, at + 1 + i.k}
                                    : std::pair{at + 1 + i.jt, at + 1 + i.jf};
}

// What is read, by the instruction or later, before it is written.
Live live_before(const sock_filter& i, Live after) {
    switch (BPF_CLASS(i.code)) {
    case BPF_RET:
        after.reset();
        after[a_register] = BPF_RVAL(i.code) == BPF_A;
        break;
    case BPF_LD:
    case BPF_LDX:
        after.reset(BPF_CLASS(i.code) == BPF_LD ? a_register : x_register);
        if (BPF_MODE(i.code) == BPF_MEM) {
            after.set(memory + i.k);
        }
        break;
    case BPF_ST:
    case BPF_STX:
        after.reset(memory + i.k);
        after.set(BPF_CLASS(i.code) == BPF_ST ? a_register : x_register);
        break;
    case BPF_MISC:
        after.reset(BPF_MISCOP(i.code) == BPF_TAX ? x_register : a_register);
        after.set(BPF_MISCOP(i.code) == BPF_TAX ? a_register : x_register);
        break;
    case BPF_ALU:
        after.set(a_register);
        after[x_register] = after[x_register] || (with_x(i) && BPF_OP(i.code) != BPF_NEG);
        break;
    default:
        if (is_branch(i)) {
            after.set(a_register);
            after[x_register] = after[x_register] || with_x(i);
        }
    }
    return after;
}

/// Jumps go forward only, so two passes do: from the start, in which states each instruction is reached; from
/// the end, what the program returns from there on.
class Execution {
  public:
    Execution(Diagram& diagram, std::span<const sock_filter> program, const std::array<Word, 16>& input)
        : diagram_{diagram}, words_{diagram}, program_{program}, states_(program.size()),
          live_(program.size()) {
        for (std::size_t i = 0; i < input.size(); ++i) {
            input_.at(i) = words_.intern(input.at(i));
        }
    }

    Node run() {
        for (std::size_t at = 0; at < program_.size(); ++at) {
            check_instruction(program_, at);
        }
        for (std::size_t at = program_.size(); at-- > 0;) {
            Live after;
            if (BPF_CLASS(program_[at].code) != BPF_RET) {
                const auto [yes, no] = targets(program_[at], at);
                after = live_[yes] | live_[no];
            }
            live_[at] = live_before(program_[at], after);
        }
        for (std::size_t word = 0; word < BPF_MEMWORDS; ++word) {
            if (live_[0][memory + word]) {
                throw std::invalid_argument{fmt::format(
                    "the program reads word {} of its scratch memory, which it may not have written", word)};
            }
        }
        Registers start{};
        start.fill(words_.number(0)); // the kernel clears both registers
        states_[0].emplace(start, 0);
        for (std::size_t at = 0; at < program_.size(); ++at) {
            reach_from(at);
        }
        for (std::size_t at = program_.size(); at-- > 0;) {
            for (auto& [registers, node] : states_[at]) {
                node = returned(at, registers);
            }
        }
        return states_[0].begin()->second;
    }

  private:
    void reach_from(std::size_t at) {
        if (BPF_CLASS(program_[at].code) == BPF_RET) {
            return;
        }
        const auto [yes, no] = targets(program_[at], at);
        for (const auto& [registers, node] : states_[at]) {
            const auto next = after(at, registers);
            for (const auto to : {yes, no}) {
                if (states_[to].emplace(alive(next, to), 0).second && ++count_ > max_states) {
                    refuse(program_, to, "is reached in too many states");
                }
            }
        }
    }

    Node returned(std::size_t at, const Registers& registers) {
        const auto& i = program_[at];
        if (BPF_CLASS(i.code) == BPF_RET) {
            return BPF_RVAL(i.code) == BPF_A ? value_of(at, registers[a_register])
                                             : diagram_.leaf(Action::of(i.k).value());
        }
        const auto [yes, no] = targets(i, at);
        const auto next = after(at, registers);
        const auto there = [&](std::size_t to) { return states_[to].find(alive(next, to))->second; };
        if (!is_branch(i)) {
            return there(yes);
        }
        const auto right = with_x(i) ? registers[x_register] : words_.number(i.k);
        return diagram_.if_else(words_.test(BPF_OP(i.code), registers[a_register], right), there(yes),
                                there(no));
    }

    Registers after(std::size_t at, const Registers& registers) {
        const auto& i = program_[at];
        auto next = registers;
        switch (BPF_CLASS(i.code)) {
        case BPF_LD:
            next[a_register] = loaded(i, registers);
            break;
        case BPF_LDX:
            next[x_register] = loaded(i, registers);
            break;
        case BPF_ST:
            next.at(memory + i.k) = registers[a_register];
            break;
        case BPF_STX:
            next.at(memory + i.k) = registers[x_register];
            break;
        case BPF_MISC:
            (BPF_MISCOP(i.code) == BPF_TAX ? next[x_register] : next[a_register]) =
                BPF_MISCOP(i.code) == BPF_TAX ? registers[a_register] : registers[x_register];
            break;
        case BPF_ALU: {
            const auto right = with_x(i) ? registers[x_register] : words_.number(i.k);
            const auto result = words_.calculate(BPF_OP(i.code), registers[a_register], right);
            if (!result) {
                refuse(program_, at,
                       "cannot be proved: it multiplies, divides or shifts by what is no fixed number, or "
                       "divides by "
                       "one that is no power of two");
            }
            next[a_register] = *result;
            break;
        }
        default:
            break;
        }
        return next;
    }

    Words::Id loaded(const sock_filter& i, const Registers& registers) {
        switch (BPF_MODE(i.code)) {
        case BPF_ABS:
            return input_.at(i.k / 4);
        case BPF_MEM:
            return registers.at(memory + i.k);
        case BPF_LEN:
            return words_.number(sizeof(seccomp_data));
        default:
            return words_.number(i.k);
        }
    }

    [[nodiscard]] Registers alive(Registers registers, std::size_t at) {
        for (std::size_t i = 0; i < registers.size(); ++i) {
            if (!live_[at][i]) {
                registers.at(i) = 0;
            }
        }
        return registers;
    }

    // One leaf for each value that the word can have, from the highest bit down.
    Node value_of(std::size_t at, Words::Id id) {
        const auto& word = words_[id];
        std::size_t leaves = 0;
        Node whole = 0;
        const std::function<void(unsigned, std::uint32_t, Node)> split =
            [&](unsigned bits, std::uint32_t value, Node where) {
                if (where == 0) {
                    return;
                }
                if (bits == 0) {
                    if (++leaves > max_returns) {
                        refuse(program_, at, "returns too many values");
                    }
                    whole = diagram_.if_else(where, diagram_.leaf(Action::of(value).value()), whole);
                    return;
                }
                const auto bit = word.at(bits - 1);
                split(bits - 1, value | 1U << (bits - 1), diagram_.both(where, bit));
                split(bits - 1, value, diagram_.if_else(bit, 0, where));
            };
        split(32, 0, 1);
        return whole;
    }

    Diagram& diagram_;
    Words words_;
    std::span<const sock_filter> program_;
    std::array<Words::Id, 16> input_{};
    std::vector<std::map<Registers, Node>> states_;
    std::vector<Live> live_;
    std::size_t count_ = 0;
};

} // namespace

Meaning::Node Meaning::of_program(std::span<const sock_filter> program) {
    if (program.empty() || program.size() > BPF_MAXINSNS) {
        throw std::invalid_argument{fmt::format("a program of {} instructions", program.size())};
    }
    std::array<Word, 16> input{};
    for (unsigned word = 0; word < input.size(); ++word) {
        for (unsigned bit = 0; bit < 32; ++bit) {
            input.at(word).at(bit) = diagram_.choose(level(word, bit), 1, 0);
        }
    }
    return Execution{diagram_, program, input}.run();
}

} // namespace cloister::policy
