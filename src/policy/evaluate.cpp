// SPDX-License-Identifier: MIT
#include "policy/evaluate.h"

#include <cstring>

namespace cloister::policy {

std::optional<std::uint32_t> run(std::span<const sock_filter> program, const seccomp_data& call) {
    std::uint32_t accumulator = 0;
    for (std::size_t at = 0; at < program.size(); ++at) {
        const auto& i = program[at];
        bool taken = false;
        switch (i.code) {
        case BPF_LD | BPF_W | BPF_ABS:
            if (i.k % 4 != 0 || i.k >= sizeof call) {
                return std::nullopt;
            }
            std::memcpy(&accumulator, reinterpret_cast<const char*>(&call) + i.k, sizeof accumulator);
            continue;
        case BPF_ALU | BPF_AND | BPF_K:
            accumulator &= i.k;
            continue;
        case BPF_RET | BPF_K:
            return i.k;
        case BPF_JMP | BPF_JA:
            at += i.k;
            continue;
        case BPF_JMP | BPF_JEQ | BPF_K:
            taken = accumulator == i.k;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            taken = accumulator > i.k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            taken = accumulator >= i.k;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            taken = (accumulator & i.k) != 0;
            break;
        default:
            return std::nullopt;
        }
        at += taken ? i.jt : i.jf;
    }
    return std::nullopt; // ran off the end
}

namespace {

bool holds(Op op, std::uint64_t argument, std::uint64_t value) {
    switch (op) {
    case Op::any:
        return true;
    case Op::eq:
        return argument == value;
    case Op::le:
        return argument <= value;
    case Op::ge:
        return argument >= value;
    case Op::in:
        return (argument | value) == value;
    }
    return false;
}

} // namespace

std::optional<std::size_t> failing_condition(const Policy& policy, const Rule& rule, Arch arch,
                                             const Bindings& bindings, const seccomp_data& call) {
    for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
        const auto& [op, operand, where] = rule.conditions[i];
        auto value = operand.value;
        if (operand.param) {
            const auto bound = bindings.find(policy.params.at(*operand.param).name);
            if (bound == bindings.end()) {
                return i; // fail closed: no value equals an address that is not bound
            }
            value = bound->second;
        }
        if (!holds(op, call.args[rule.prototype->index(i, arch)], value)) {
            return i;
        }
    }
    return std::nullopt;
}

Verdict evaluate(const Policy& policy, Arch arch, const Bindings& bindings, const seccomp_data& call) {
    const Rule* found = nullptr;
    if (call.arch == audit_arch(abi_of(arch))) {
        for (const auto& rule : policy.rules) {
            if (static_cast<std::uint32_t>(call.nr) == number_of(abi_of(arch), rule.prototype->name) &&
                (found == nullptr || rule.action.kind < found->action.kind) &&
                !failing_condition(policy, rule, arch, bindings, call)) {
                found = &rule;
            }
        }
    }
    return found != nullptr ? Verdict{found->action, found} : Verdict{policy.otherwise, nullptr};
}

} // namespace cloister::policy
