// SPDX-License-Identifier: MIT
#include "policy/meaning.h"

#include <algorithm>
#include <fmt/format.h>
#include <linux/audit.h>
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

Meaning::Meaning(Order order) : order_{order} {}

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
    return static_cast<Diagram::Level>(first_argument + (order_ == Order::interleaved
                                                             ? (63 - bit) * stride + column
                                                             : column * 64 + 63 - bit));
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

Meaning::Node Meaning::word_equals(unsigned word, std::uint32_t value) {
    Node node = 1;
    for (unsigned bit = 0; bit < 32; ++bit) {
        const bool set = (value >> bit & 1U) != 0;
        node = diagram_.choose(level(word, bit), set ? node : 0, set ? 0 : node);
    }
    return node;
}

// From the lowest bit up, as compare().
Meaning::Node Meaning::number_within(std::uint32_t first, std::uint32_t last) {
    Node from = 1;
    Node to = 1;
    for (unsigned bit = 0; bit < 32; ++bit) {
        const auto at = level(number_word, bit);
        from = (first >> bit & 1U) != 0 ? diagram_.choose(at, from, 0) : diagram_.choose(at, 1, from);
        to = (last >> bit & 1U) != 0 ? diagram_.choose(at, to, 1) : diagram_.choose(at, 0, to);
    }
    return diagram_.both(from, to);
}

std::size_t Meaning::slot_of(const Policy& policy, const Operand& operand) const {
    const auto& name = policy.params.at(*operand.param).name;
    return static_cast<std::size_t>(std::find(params_.begin(), params_.end(), name) - params_.begin());
}

Meaning::Node Meaning::argument_test(const Policy& policy, std::size_t index, const Condition& condition) {
    const unsigned width = condition.half ? 32 : 64;
    switch (condition.op) {
    case Op::any:
        return 1;
    case Op::ne:
        return diagram_.if_else(compare(policy, index, Op::eq, condition.operand, width), 0, 1);
    case Op::masked:
    case Op::not_masked: {
        Node node = 1;
        for (unsigned bit = 0; bit < width; ++bit) {
            const bool set = (condition.operand.value >> bit & 1U) != 0;
            if ((condition.mask.value >> bit & 1U) != 0) {
                node = diagram_.choose(argument_level(index, bit), set ? node : 0, set ? 0 : node);
            }
        }
        return condition.op == Op::masked ? node : diagram_.if_else(node, 0, 1);
    }
    default:
        return compare(policy, index, condition.op, condition.operand, width);
    }
}

Diagram::Level Meaning::argument_level(std::size_t index, unsigned bit) const {
    return level(argument_word + static_cast<unsigned>(index) * 2 + bit / 32, bit % 32);
}

// argument op operand over the lower `width` bits, from the lowest bit up.
Meaning::Node Meaning::compare(const Policy& policy, std::size_t index, Op op, const Operand& operand,
                               unsigned width) {
    const auto slot = operand.param ? slot_of(policy, operand) : 0;
    const auto value = operand.param ? values_.at(slot) : operand.value;
    Node node = 1;
    for (unsigned bit = 0; bit < width; ++bit) {
        const auto at = argument_level(index, bit);
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
    Node anywhere = 0;
    for (const auto abi : policy.abis(arch)) {
        const auto number = number_of(abi, rule.name);
        if ((!number && !rule.numbers) || rule.abi.value_or(abi) != abi) {
            continue; // beside x86_64 an ABI need not have it
        }
        Node applies = 1;
        for (const auto& condition : rule.conditions) {
            const auto index = rule.prototype->index(condition.parameter, abi);
            applies = diagram_.both(applies, argument_test(policy, index, condition));
        }
        const auto calls =
            rule.numbers
                ? diagram_.both(of_abi(abi), number_within(rule.numbers->first, rule.numbers->second))
                : of_number(abi, *number);
        anywhere = diagram_.if_else(diagram_.both(calls, applies), 1, anywhere);
    }
    return anywhere;
}

Meaning::Node Meaning::of_text(const Policy& policy, Arch arch) {
    Node meaning = diagram_.leaf(policy.otherwise.value());
    for (auto kind = static_cast<int>(Action::Kind::allow); kind >= 0; --kind) {
        for (auto rule = policy.rules.rbegin(); rule != policy.rules.rend(); ++rule) {
            if (static_cast<int>(rule->action.kind) ==
                kind) { // the last one put on top counts: of the strictest, the first
                meaning = diagram_.if_else(of_rule(policy, *rule, arch), diagram_.leaf(rule->action.value()),
                                           meaning);
            }
        }
    }
    if (policy.foreign == policy.otherwise) {
        return meaning;
    }
    Node listed = 0;
    for (const auto abi : policy.abis(arch)) {
        listed = diagram_.if_else(of_abi(abi), 1, listed);
    }
    return diagram_.if_else(listed, meaning, diagram_.leaf(policy.foreign.value()));
}

// x32's calls come with the ABI of x86_64; their numbers tell them apart. -1, by which a tracer skips a call,
// is none of theirs.
Meaning::Node Meaning::of_abi(Abi abi) {
    const auto token = word_equals(abi_word, audit_arch(abi));
    if (abi != Abi::x86_64 && abi != Abi::x32) {
        return token;
    }
    const auto x32 = number_within(x32_bit, ~0U - 1);
    return diagram_.both(token, abi == Abi::x32 ? x32 : diagram_.if_else(x32, 0, 1));
}

Meaning::Node Meaning::of_number(Abi abi, std::uint32_t number) {
    return diagram_.both(word_equals(abi_word, audit_arch(abi)), word_equals(number_word, number));
}

Meaning::Node Meaning::of_call_site(std::uint64_t instruction_pointer) {
    return diagram_.both(
        word_equals(pointer_word, static_cast<std::uint32_t>(instruction_pointer)),
        word_equals(pointer_word + 1, static_cast<std::uint32_t>(instruction_pointer >> 32U)));
}

Meaning::Node Meaning::of_pattern(const Policy& policy, const Pattern& pattern, Arch arch) {
    Node calls = 0;
    for (const auto abi : pattern.abi ? std::vector{*pattern.abi} : policy.abis(arch)) {
        const auto number = number_of(abi, pattern.name);
        if (!number) {
            continue;
        }
        Node these = of_number(abi, *number);
        for (std::size_t i = 0; i < pattern.arguments.size(); ++i) {
            if (const auto& value = pattern.arguments[i]) {
                these = diagram_.both(these,
                                      compare(policy, pattern.prototype->index(i, abi), Op::eq, *value, 64));
            }
        }
        calls = diagram_.if_else(these, 1, calls);
    }
    return calls;
}

Meaning::Node Meaning::possible(Arch arch) {
    if (arch == Arch::aarch64) {
        return diagram_.if_else(of_abi(Abi::aarch64), 1, word_equals(abi_word, AUDIT_ARCH_ARM));
    }
    Node i386 = of_abi(Abi::i386);
    for (unsigned argument = 0; argument < 6; ++argument) {
        i386 = diagram_.both(i386, word_equals(argument_word + 2 * argument + 1, 0));
    }
    return diagram_.if_else(word_equals(abi_word, AUDIT_ARCH_X86_64), 1, i386);
}

Meaning::Node Meaning::of_filters(std::span<const std::vector<sock_filter>> oldest_first) {
    Node decided = diagram_.leaf(SECCOMP_RET_ALLOW);
    for (std::size_t i = oldest_first.size(); i-- > 0;) {
        decided = diagram_.combine(decided, of_program(oldest_first[i]),
                                   [](std::uint32_t newer, std::uint32_t older) {
                                       return Action::of(older).kind < Action::of(newer).kind ? older : newer;
                                   });
    }
    return decided;
}

} // namespace cloister::policy
