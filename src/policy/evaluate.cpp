// SPDX-License-Identifier: MIT
#include "policy/evaluate.h"

#include <array>
#include <cstring>

namespace cloister::policy {

namespace {

bool calculate(std::uint16_t op, std::uint32_t& a, std::uint32_t operand) {
    switch (op) {
    case BPF_ADD:
        a += operand;
        return true;
    case BPF_SUB:
        a -= operand;
        return true;
    case BPF_MUL:
        a *= operand;
        return true;
    case BPF_DIV:
        a = operand == 0 ? 0 : a / operand;
        return operand != 0;
    case BPF_AND:
        a &= operand;
        return true;
    case BPF_OR:
        a |= operand;
        return true;
    case BPF_XOR:
        a ^= operand;
        return true;
    case BPF_LSH:
        a = operand < 32 ? a << operand : 0;
        return operand < 32;
    case BPF_RSH:
        a = operand < 32 ? a >> operand : 0;
        return operand < 32;
    default:
        return false;
    }
}

} // namespace

std::optional<std::uint32_t> run(std::span<const sock_filter> program, const seccomp_data& call) {
    std::uint32_t a = 0;
    std::uint32_t x = 0;
    std::array<std::uint32_t, BPF_MEMWORDS> memory{};
    for (std::size_t at = 0; at < program.size(); ++at) {
        const auto& i = program[at];
        const auto operand = BPF_SRC(i.code) == BPF_X ? x : i.k;
        const bool in_memory = i.k < BPF_MEMWORDS;
        bool taken = false;
        switch (i.code) {
        case BPF_LD | BPF_W | BPF_ABS:
            if (i.k % 4 != 0 || i.k >= sizeof call) {
                return std::nullopt;
            }
            std::memcpy(&a, reinterpret_cast<const char*>(&call) + i.k, sizeof a);
            continue;
        case BPF_LD | BPF_IMM:
            a = i.k;
            continue;
        case BPF_LDX | BPF_IMM:
            x = i.k;
            continue;
        case BPF_LD | BPF_W | BPF_LEN:
            a = sizeof call;
            continue;
        case BPF_LDX | BPF_W | BPF_LEN:
            x = sizeof call;
            continue;
        case BPF_LD | BPF_MEM:
        case BPF_LDX | BPF_MEM:
        case BPF_ST:
        case BPF_STX:
            if (!in_memory) {
                return std::nullopt;
            }
            if (BPF_CLASS(i.code) == BPF_LD) {
                a = memory.at(i.k);
            } else if (BPF_CLASS(i.code) == BPF_LDX) {
                x = memory.at(i.k);
            } else {
                memory.at(i.k) = BPF_CLASS(i.code) == BPF_ST ? a : x;
            }
            continue;
        case BPF_MISC | BPF_TAX:
            x = a;
            continue;
        case BPF_MISC | BPF_TXA:
            a = x;
            continue;
        case BPF_ALU | BPF_NEG:
            a = 0 - a;
            continue;
        case BPF_RET | BPF_K:
            return i.k;
        case BPF_RET | BPF_A:
            return a;
        case BPF_JMP | BPF_JA:
            at += i.k;
            continue;
        default:
            break;
        }
        if (BPF_CLASS(i.code) == BPF_ALU) {
            if (!calculate(BPF_OP(i.code), a, operand)) {
                return std::nullopt;
            }
            continue;
        }
        if (BPF_CLASS(i.code) != BPF_JMP) {
            return std::nullopt;
        }
        switch (BPF_OP(i.code)) {
        case BPF_JEQ:
            taken = a == operand;
            break;
        case BPF_JGT:
            taken = a > operand;
            break;
        case BPF_JGE:
            taken = a >= operand;
            break;
        case BPF_JSET:
            taken = (a & operand) != 0;
            break;
        default:
            return std::nullopt;
        }
        at += taken ? i.jt : i.jf;
    }
    return std::nullopt; // ran off the end
}

bool holds(const Condition& condition, std::uint64_t argument, std::uint64_t value) {
    if (condition.half) {
        argument &= 0xffffffff;
    }
    switch (condition.op) {
    case Op::any:
        return true;
    case Op::eq:
        return argument == value;
    case Op::ne:
        return argument != value;
    case Op::le:
        return argument <= value;
    case Op::ge:
        return argument >= value;
    case Op::in:
        return (argument | value) == value;
    case Op::masked:
        return (argument & condition.mask.value) == value;
    case Op::not_masked:
        return (argument & condition.mask.value) != value;
    }
    return false;
}

namespace {

// The ABI whose numbers apply to the call: x32's come with the ABI of x86_64, and with a bit of their own.
std::optional<Abi> abi_of_call(const Policy& policy, Arch arch, const seccomp_data& call) {
    const bool x32 = call.arch == audit_arch(Abi::x86_64) && is_x32(static_cast<std::uint32_t>(call.nr));
    for (const auto abi : policy.abis(arch)) {
        if (call.arch == audit_arch(abi) && x32 == (abi == Abi::x32)) {
            return abi;
        }
    }
    return std::nullopt;
}

bool names(const Rule& rule, Abi abi, std::uint32_t number) {
    return rule.numbers ? number >= rule.numbers->first && number <= rule.numbers->second
                        : number == number_of(abi, rule.name);
}

} // namespace

std::optional<std::size_t> failing_condition(const Policy& policy, const Rule& rule, Arch arch,
                                             const Bindings& bindings, const seccomp_data& call) {
    const auto abi = abi_of_call(policy, arch, call).value_or(abi_of(arch));
    for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
        const auto& condition = rule.conditions[i];
        auto value = condition.operand.value;
        if (condition.operand.param) {
            const auto bound = bindings.find(policy.params.at(*condition.operand.param).name);
            if (bound == bindings.end()) {
                return i; // fail closed: no value equals an address that is not bound
            }
            value = bound->second;
        }
        if (!holds(condition, call.args[rule.prototype->index(condition.parameter, abi)], value)) {
            return i;
        }
    }
    return std::nullopt;
}

Verdict evaluate(const Policy& policy, Arch arch, const Bindings& bindings, const seccomp_data& call) {
    const Rule* found = nullptr;
    const auto abi = abi_of_call(policy, arch, call);
    if (!abi) {
        return {policy.foreign, nullptr};
    }
    for (const auto& rule : policy.rules) {
        if (rule.abi.value_or(*abi) == *abi && names(rule, *abi, static_cast<std::uint32_t>(call.nr)) &&
            (found == nullptr || rule.action.kind < found->action.kind) &&
            !failing_condition(policy, rule, arch, bindings, call)) {
            found = &rule;
        }
    }
    return found != nullptr ? Verdict{found->action, found} : Verdict{policy.otherwise, nullptr};
}

} // namespace cloister::policy
