// SPDX-License-Identifier: MIT
#include "policy/meaning.h"

#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>

namespace cloister::policy {
namespace {

// seccomp_data in 32-bit words, little endian: number, ABI, instruction pointer, six arguments.
constexpr unsigned number_word = 0;
constexpr unsigned abi_word = 1;
constexpr unsigned pointer_word = 2;
constexpr unsigned argument_word = 4;

} // namespace

Meaning::Meaning(const Policy& policy, const std::vector<std::string>& params, const Bindings* bindings)
    : params_{params}, open_{bindings == nullptr} {
    for (const auto& name : params_) {
        if (bindings == nullptr) {
            Node zero = diagram_.truth(true);
            const auto slot = values_.size();
            for (unsigned bit = 0; bit < 64; ++bit) {
                zero = diagram_.choose(level(16 + static_cast<unsigned>(slot), bit), 0, zero);
            }
            bound_ = diagram_.both(bound_, diagram_.if_else(zero, 0, 1));
            values_.push_back(0);
            continue;
        }
        const auto value = bindings->find(name);
        if (value == bindings->end() || value->second == 0) {
            throw policy.error_at({}, value == bindings->end()
                                          ? fmt::format("the parameter ${} is not bound", name)
                                          : fmt::format("the parameter ${} is bound to 0", name));
        }
        values_.push_back(value->second);
    }
}

// The order of the bits decides the size of diagrams. First the ABI, the instruction pointer and the number,
// which separate the calls: with the pointer last, the diagram of a combined program would hold all policies
// down to the last level. Then the arguments and the open parameters, their bits interleaved, so that
// "argument equals parameter" stays small.
Diagram::Level Meaning::level(unsigned word, unsigned bit) const {
    constexpr auto stride = static_cast<unsigned>(6 + max_params);
    constexpr unsigned first_argument = 32 + 64 + 32;
    unsigned column = 0;
    if (word == abi_word) {
        return static_cast<Diagram::Level>(31 - bit);
    }
    if (word == pointer_word || word == pointer_word + 1) {
        return static_cast<Diagram::Level>(32 + 63 - bit - (word - pointer_word) * 32);
    }
    if (word == number_word) {
        return static_cast<Diagram::Level>(32 + 64 + 31 - bit);
    }
    if (word >= 16) {
        column = word - 16; // a parameter, all 64 bits
    } else {
        bit += (word - argument_word) % 2 * 32;
        column = static_cast<unsigned>(max_params) + (word - argument_word) / 2;
    }
    return static_cast<Diagram::Level>(first_argument + (63 - bit) * stride + column);
}

Call Meaning::call(const std::vector<Diagram::Bit>& bits) const {
    std::array<std::uint32_t, 16> words{};
    Call call;
    call.params = values_;
    for (unsigned word = 0; word < 16 + (open_ ? params_.size() : 0); ++word) {
        for (unsigned bit = 0; bit < (word < 16 ? 32U : 64U); ++bit) {
            const auto at = level(word, bit);
            const bool set =
                std::any_of(bits.begin(), bits.end(), [at](const auto& b) { return b.level == at && b.set; });
            if (set && word < 16) {
                words.at(word) |= 1U << bit;
            } else if (set) {
                call.params[word - 16] |= std::uint64_t{1} << bit;
            }
        }
    }
    static_assert(sizeof words == sizeof call.data);
    std::copy(words.begin(), words.end(), reinterpret_cast<std::uint32_t*>(&call.data));
    return call;
}

// (word & mask) op k, from the lowest bit up. A bit that is masked out counts as 0.
Meaning::Node Meaning::word_test(unsigned word, std::uint32_t mask, std::uint16_t op, std::uint32_t k) {
    Node node = op == BPF_JEQ || op == BPF_JGE ? 1 : 0;
    for (unsigned bit = 0; bit < 32; ++bit) {
        const bool variable = (mask >> bit & 1U) != 0;
        const bool wanted = (k >> bit & 1U) != 0;
        Node high = node;
        Node low = node;
        switch (op) {
        case BPF_JEQ:
            (wanted ? low : high) = 0;
            break;
        case BPF_JGT:
        case BPF_JGE:
            if (wanted) {
                low = 0;
            } else {
                high = 1;
            }
            break;
        default: // BPF_JSET
            if (wanted) {
                high = 1;
            }
        }
        node = variable ? diagram_.choose(level(word, bit), high, low) : low;
    }
    return node;
}

Meaning::Node Meaning::word_equals(unsigned word, std::uint32_t value) {
    return word_test(word, ~0U, BPF_JEQ, value);
}

std::size_t Meaning::slot_of(const Policy& policy, const Operand& operand) const {
    const auto& name = policy.params.at(*operand.param).name;
    return static_cast<std::size_t>(std::find(params_.begin(), params_.end(), name) - params_.begin());
}

// argument op operand over all 64 bits, from the lowest bit up.
Meaning::Node Meaning::argument_test(const Policy& policy, std::size_t index, Op op, const Operand& operand) {
    const auto slot = operand.param ? slot_of(policy, operand) : 0;
    const auto value = operand.param ? values_.at(slot) : operand.value;
    Node node = 1;
    for (unsigned bit = 0; bit < 64 && op != Op::any; ++bit) {
        const auto at = level(argument_word + static_cast<unsigned>(index) * 2 + bit / 32, bit % 32);
        // What remains to be true when the operand's bit is 1, and when it is 0.
        const auto step = [&](bool one) {
            switch (op) {
            case Op::le:
                return diagram_.choose(at, one ? node : 0, one ? 1 : node);
            case Op::ge:
                return diagram_.choose(at, one ? node : 1, one ? 0 : node);
            case Op::in:
                return one ? node : diagram_.choose(at, 0, node);
            default:
                return diagram_.choose(at, one ? node : 0, one ? 0 : node);
            }
        };
        if (operand.param && open_) {
            node = diagram_.choose(level(16 + static_cast<unsigned>(slot), bit), step(true), step(false));
        } else {
            node = step((value >> bit & 1U) != 0);
        }
    }
    return node;
}

Meaning::Node Meaning::of_rule(const Policy& policy, const Rule& rule, Arch arch) {
    Node applies = word_equals(number_word, number_of(abi_of(arch), rule.prototype->name).value());
    for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
        const auto& condition = rule.conditions[i];
        const auto holds =
            argument_test(policy, rule.prototype->index(i, arch), condition.op, condition.operand);
        applies = diagram_.both(applies, holds);
    }
    return diagram_.both(word_equals(abi_word, audit_arch(abi_of(arch))), applies);
}

Meaning::Node Meaning::of_text(const Policy& policy, Arch arch) {
    const Node otherwise = diagram_.leaf(policy.otherwise.value());
    Node meaning = otherwise;
    for (const auto kind : {Action::Kind::allow, Action::Kind::errno_code, Action::Kind::kill_process}) {
        for (auto rule = policy.rules.rbegin(); rule != policy.rules.rend(); ++rule) {
            if (rule->action.kind == kind) { // the last one put on top counts: of the strictest, the first
                meaning = diagram_.if_else(of_rule(policy, *rule, arch), diagram_.leaf(rule->action.value()),
                                           meaning);
            }
        }
    }
    return meaning;
}

Meaning::Node Meaning::of_call_site(std::uint64_t instruction_pointer) {
    return diagram_.both(
        word_equals(pointer_word, static_cast<std::uint32_t>(instruction_pointer)),
        word_equals(pointer_word + 1, static_cast<std::uint32_t>(instruction_pointer >> 32U)));
}

Meaning::Node Meaning::of_pattern(const Policy& policy, const Pattern& pattern, Arch arch) {
    const Abi abi = pattern.abi.value_or(abi_of(arch));
    const auto number = number_of(abi, pattern.name);
    if (!number) {
        return 0;
    }
    Node calls = diagram_.both(word_equals(abi_word, audit_arch(abi)), word_equals(number_word, *number));
    for (std::size_t i = 0; i < pattern.arguments.size(); ++i) {
        if (const auto& value = pattern.arguments[i]) {
            const auto index =
                pattern.prototype->index(i, abi == Abi::aarch64 ? Arch::aarch64 : Arch::x86_64);
            calls = diagram_.both(calls, argument_test(policy, index, Op::eq, *value));
        }
    }
    return calls;
}

namespace {

struct Accumulator {
    unsigned word = 0;
    std::uint32_t mask = 0; ///< starts as 0 & word: the kernel clears the register
    friend bool operator==(const Accumulator&, const Accumulator&) = default;
};

struct Known {
    Accumulator accumulator;
    Diagram::Node node;
};

void check_fragment(std::span<const sock_filter> program, std::size_t at) {
    const auto& i = program[at];
    const auto refuse = [&](std::string_view why) {
        throw std::invalid_argument{fmt::format("instruction {} (code 0x{:02x} jt {} jf {} k 0x{:x}): {}", at,
                                                i.code, i.jt, i.jf, i.k, why)};
    };
    const std::size_t after = program.size() - at - 1; // instructions that follow
    switch (i.code) {
    case BPF_LD | BPF_W | BPF_ABS:
        if (i.k % 4 != 0 || i.k >= sizeof(seccomp_data)) {
            refuse("loads from outside seccomp_data");
        }
        break;
    case BPF_ALU | BPF_AND | BPF_K:
    case BPF_RET | BPF_K:
        break;
    case BPF_JMP | BPF_JA:
        if (i.k >= after) {
            refuse("jumps out of the program");
        }
        break;
    case BPF_JMP | BPF_JEQ | BPF_K:
    case BPF_JMP | BPF_JGT | BPF_K:
    case BPF_JMP | BPF_JGE | BPF_K:
    case BPF_JMP | BPF_JSET | BPF_K:
        if (std::max(i.jt, i.jf) >= after) {
            refuse("jumps out of the program");
        }
        break;
    default:
        refuse("is outside the fragment that can be proved");
    }
    if (after == 0 && i.code != (BPF_RET | BPF_K)) {
        refuse("the program runs off its end");
    }
}

} // namespace

// Jumps go forward only, so one pass from the end does: what the program returns from an instruction on, for
// each state of the accumulator (a masked input word) in which it can be reached.
Meaning::Node Meaning::of_program(std::span<const sock_filter> program) {
    if (program.empty() || program.size() > BPF_MAXINSNS) {
        throw std::invalid_argument{fmt::format("a program of {} instructions", program.size())};
    }
    std::vector<std::vector<Known>> states(program.size());
    states[0].push_back({{}, 0});
    const auto each_step = [&](std::size_t at, const auto& visit) {
        const auto& i = program[at];
        for (auto& state : states[at]) {
            auto next = state.accumulator;
            if (i.code == (BPF_LD | BPF_W | BPF_ABS)) {
                next = {i.k / 4, ~0U};
            } else if (i.code == (BPF_ALU | BPF_AND | BPF_K)) {
                next.mask &= i.k;
            }
            visit(state, next);
        }
    };
    const auto targets = [&](std::size_t at) -> std::pair<std::size_t, std::size_t> {
        const auto& i = program[at];
        if (BPF_CLASS(i.code) != BPF_JMP) {
            return {at + 1, at + 1};
        }
        return BPF_OP(i.code) == BPF_JA ? std::pair{at + 1 + i.k, at + 1 + i.k}
                                        : std::pair{at + 1 + i.jt, at + 1 + i.jf};
    };
    for (std::size_t at = 0; at < program.size(); ++at) {
        check_fragment(program, at);
        if (BPF_CLASS(program[at].code) == BPF_RET) {
            continue;
        }
        const auto [yes, no] = targets(at);
        each_step(at, [&, yes = yes, no = no](const Known&, const Accumulator& next) {
            for (const auto to : {yes, no}) {
                auto& there = states[to];
                if (std::none_of(there.begin(), there.end(),
                                 [&](const Known& k) { return k.accumulator == next; })) {
                    there.push_back({next, 0});
                }
            }
        });
    }
    const auto result = [&](std::size_t at, const Accumulator& accumulator) {
        return std::find_if(states[at].begin(), states[at].end(),
                            [&](const Known& k) { return k.accumulator == accumulator; })
            ->node;
    };
    for (std::size_t at = program.size(); at-- > 0;) {
        const auto& i = program[at];
        each_step(at, [&](Known& state, const Accumulator& next) {
            if (BPF_CLASS(i.code) == BPF_RET) {
                state.node = diagram_.leaf(i.k);
                return;
            }
            const auto [yes, no] = targets(at);
            const bool branches = BPF_CLASS(i.code) == BPF_JMP && BPF_OP(i.code) != BPF_JA;
            state.node = !branches ? result(yes, next)
                                   : diagram_.if_else(word_test(next.word, next.mask, BPF_OP(i.code), i.k),
                                                      result(yes, next), result(no, next));
        });
    }
    return states[0].front().node;
}

} // namespace cloister::policy
