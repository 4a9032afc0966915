// SPDX-License-Identifier: MIT
//
// The input becomes a policy, which becomes a program. The proof must accept it, and the two interpreters, of
// bytes and of text, must agree at the boundaries of every constant: three opinions that share no code.
//
// Byte 0: bit 0 the ABI, bits 1 and 2 the else action, bits 3 and 4 the kind, bit 5: two policies, the second
// at a place of its own, combined into one program. Then rules (of the first at most 16), until it is used
// up:
//   call    7 bits: which call of those that both ABIs have; the highest bit: the same as before
//   action  modulo 8
//   for each argument: 3 bits operator, 5 bits value (the table below; above it that many bytes follow)
#include "harness.h"
#include "policy/combine.h"
#include "policy/compile.h"
#include "policy/evaluate.h"
#include "policy/prove.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

namespace cloister::policy {
namespace {

constexpr std::size_t most_rules = 16; // libseccomp makes a tree from 13 on
const Bindings addresses = {{"buffer", 0x7f1234561000}};
const Bindings places = {{"buffer", 0x7f1234561000}, {"here", 0x7f1255555002}};

// clang-format off
constexpr std::uint64_t values[] = {
    0, 1, 2, 3, 7, 16, 255, 256, 0xffff, 0x10000, 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe,
    0xffffffff, 0x100000000, 0x100000001, 0xffffffff00000000, 0x7fffffffffffffff, 0x8000000000000000,
    0xfffffffffffffffe, 0xffffffffffffffff, 0x5555555555555555,
};
// clang-format on

const std::vector<const Prototype*>& calls() {
    static const auto all = [] {
        std::vector<const Prototype*> list;
        for (const auto name : all_prototypes()) {
            if (number_of(Abi::x86_64, name) && number_of(Abi::aarch64, name) && // and it is old enough for
                libseccomp_number(abi_of(native_arch), std::string{name})) {     // libseccomp
                list.push_back(prototype_of(name));
            }
        }
        return list;
    }();
    return all;
}

/// libseccomp 2.5.4 makes wrong programs of several rules for one call (GHSA-4q85-33p6-j5g6, fixed in 2.6.1)
/// when their shapes differ, and may never end when they compare by order. The proof must catch each such
/// program; of one rule for each call the program must be right.
enum class Kind {
    Single,      ///< one rule for each call, of any shape
    Apart,       ///< the rules for one call are told apart by their first argument, as in policy/*.policy,
                 ///< and none compares two by order
    Overlapping, ///< the rules for one call are of any shape, and none compares by order
};
constexpr Kind kinds[] = {Kind::Single, Kind::Single, Kind::Apart, Kind::Overlapping};
constexpr std::size_t most_of_a_call(Kind kind) {
    return kind == Kind::Single ? 1 : 4;
}

std::string condition(fuzz::Input& input, const Parameter& parameter, bool may_order) {
    constexpr std::array<std::string_view, 8> ops = {"any", "any", "==", "==", "<=", ">=", "in", "in"};
    const unsigned code = input.byte();
    auto op = ops.at(code & 7U);
    if (!may_order && (op == "<=" || op == ">=")) {
        op = "==";
    }
    const unsigned which = code >> 3U;
    if (op == "any") {
        return fmt::format("  {} any", parameter.name);
    }
    if (which == 31 && op != "in" && !parameter.narrow()) {
        return fmt::format("  {} {} $buffer", parameter.name, op);
    }
    auto value = which < std::size(values) ? values[which] : input.number(which - std::size(values) + 1);
    if (parameter.narrow()) {
        value &= 0xffffffff;
    }
    return fmt::format("  {} {} 0x{:x}", parameter.name, op, value);
}

std::string conditions(fuzz::Input& input, const Prototype& prototype, Kind kind, std::size_t earlier) {
    std::string text;
    for (const auto& parameter : prototype.parameters) {
        const bool ordered = text.find_first_of("<>") != std::string::npos;
        const bool may_order = kind == Kind::Single || (kind == Kind::Apart && !ordered);
        const bool tells_apart = kind == Kind::Apart && text.empty();
        text += tells_apart ? fmt::format("  {} == 0x{:x}", parameter.name, earlier)
                            : condition(input, parameter, may_order);
    }
    return text;
}

/// Rules for one call stand together, and none is there twice.
std::string policy_text(fuzz::Input& input, Kind kind, unsigned otherwise, bool at_a_place) {
    constexpr std::array<std::string_view, 4> others = {"kill-process", "kill-process", "errno EPERM",
                                                        "errno ENOSYS"};
    constexpr std::array<std::string_view, 8> actions = {"allow", "allow", "allow",       "allow",
                                                         "allow", "allow", "errno EPERM", "kill-process"};
    std::map<std::string_view, std::map<std::string, std::string_view>> rules;
    const auto* prototype = calls().front();
    for (std::size_t n = 0; n < most_rules && !input.empty(); ++n) {
        const unsigned call = input.byte();
        prototype = (call & 0x80U) != 0 ? prototype : calls().at(call % calls().size());
        const auto action = actions.at(input.byte() % actions.size());
        auto& variants = rules[prototype->name];
        if (variants.size() < most_of_a_call(kind)) {
            variants.try_emplace(conditions(input, *prototype, kind, variants.size()), action);
        }
    }
    auto text = fmt::format("policy {}\nsyntax 1\n{}arch x86_64 aarch64\nelse {}\n"
                            "param $buffer addr : somewhere\n{}",
                            at_a_place ? "place 1" : "random 1", at_a_place ? "at $here\n" : "",
                            others.at(otherwise), at_a_place ? "param $here addr : a place\n" : "");
    for (const auto& [name, variants] : rules) {
        for (const auto& [conditions, action] : variants) {
            text += fmt::format("{} {}{} : random\n", action, name, conditions);
        }
    }
    return text;
}

std::uint64_t value_of(const Policy& policy, const Operand& operand) {
    return operand.param ? addresses.at(policy.params.at(*operand.param).name) : operand.value;
}

seccomp_data call_at(const Policy& policy, const Rule& rule, Arch arch) {
    seccomp_data call{};
    call.arch = audit_arch(abi_of(arch));
    call.nr = static_cast<int>(number_of(abi_of(arch), rule.prototype->name).value());
    for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
        call.args[rule.prototype->index(i, arch)] = value_of(policy, rule.conditions[i].operand);
    }
    return call;
}

/// Only these can contradict themselves, and asking is dear.
bool has_mixed_actions(const Policy& policy) {
    const auto mixed = [](const Rule& a, const Rule& b) {
        return a.prototype == b.prototype && a.action != b.action;
    };
    return std::adjacent_find(policy.rules.begin(), policy.rules.end(), mixed) != policy.rules.end();
}

/// The calls that could tell the text from a program that is nearly right.
class Boundaries {
  public:
    Boundaries(const Policy& policy, Arch arch, const Program& program)
        : policy_{policy}, arch_{arch}, program_{program} {}

    void compare() const {
        for (const auto& rule : policy_.rules) {
            const auto edge = call_at(policy_, rule, arch_);
            compare(edge);
            arguments(rule, edge);
            numbers(edge);
        }
    }

  private:
    /// Each argument alone, over what any rule for this call says of it.
    void arguments(const Rule& rule, const seccomp_data& edge) const {
        for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
            const auto at = rule.prototype->index(i, arch_);
            std::set<std::uint64_t> around;
            for (const auto& other : policy_.rules) {
                if (other.prototype == rule.prototype) {
                    const auto v = value_of(policy_, other.conditions[i].operand);
                    around.insert({v, v - 1, v + 1, v ^ 1UL << 32U, ~0UL, 0});
                }
            }
            for (const auto value : around) {
                auto call = edge;
                call.args[at] = value;
                compare(call);
            }
        }
    }

    void numbers(const seccomp_data& edge) const {
        for (const auto abi : {Abi::x86_64, Abi::aarch64, Abi::i386}) {
            for (const auto number :
                 {edge.nr, edge.nr - 1, edge.nr + 1, edge.nr | static_cast<int>(x32_bit), -1}) {
                auto call = edge;
                call.arch = audit_arch(abi);
                call.nr = number;
                compare(call);
            }
        }
    }

    void compare(const seccomp_data& call) const {
        const auto said = evaluate(policy_, arch_, addresses, call).action.value();
        const auto returned = run(program_, call);
        if (returned != said) {
            fuzz::broken(fmt::format(
                "{}: the program says {}, the text {}, and the proof saw no difference:\n{}", describe(call),
                returned ? describe_return(*returned) : "nothing", describe_return(said), policy_.text));
        }
    }

    const Policy& policy_;
    Arch arch_;
    const Program& program_;
};

/// The proof may take no more than a fixed number of steps; a policy that needs more is refused.
struct GaveUp {};

template <class Text>
Prover prover_of(const Text& policy, Arch arch, const Bindings& bindings, const std::string& text) {
    auto prover = Prover::make(policy, arch, bindings);
    if (!prover && prover.error().message.rfind("cannot be proved: ", 0) == 0) {
        throw GaveUp{};
    }
    if (!prover) {
        fuzz::broken(prover.error().text() + '\n' + text);
    }
    return std::move(*prover);
}

std::optional<Call> difference(Prover& prover, const Program& program, const std::string& text) {
    try {
        return prover.difference(program);
    } catch (const Diagram::TooLarge&) {
        throw GaveUp{};
    } catch (const std::exception& error) {
        fuzz::broken(fmt::format("cannot be proved: {}\n{}", error.what(), text));
    }
}

Policy parsed(const std::string& text) {
    auto policy = parse(text, "random");
    if (!policy) {
        fuzz::broken("a valid policy is refused: " + policy.error().text());
    }
    return std::move(*policy);
}

/// Rules that overlap and differ: no daemon compiles these.
bool contradicts_itself(const Policy& policy) {
    return has_mixed_actions(policy) && !check(policy, nullptr);
}

void alone(const Policy& policy, Arch arch, Kind kind) {
    const auto program = compile(policy, arch, addresses);
    if (!program) {
        fuzz::broken("a valid policy does not compile: " + program.error().text() + '\n' + policy.text);
    }
    auto prover = prover_of(policy, arch, addresses, policy.text);
    if (const auto witness = difference(prover, *program, policy.text)) {
        const bool real =
            run(*program, witness->data) != evaluate(policy, arch, addresses, witness->data).action.value();
        if (!real || kind == Kind::Single) {
            fuzz::broken(fmt::format("text and program differ{}: {}\n{}",
                                     real ? "" : ", says the proof alone", describe(witness->data),
                                     policy.text));
        }
        return; // the daemon does not start with it
    }
    Boundaries{policy, arch, *program}.compare();
}

void together(const Policy& elsewhere, const Policy& place, Arch arch, Kind kind) {
    const auto text = elsewhere.text + place.text;
    const auto combined = combine({place, elsewhere});
    if (!combined && combined.error().message.find("policies that share a program") != std::string::npos) {
        return; // one of them could bring back a place that is lost
    }
    const auto program = combined ? compile(*combined, arch, places) : tl::unexpected{combined.error()};
    if (!program) {
        fuzz::broken("valid policies do not combine: " + program.error().text() + '\n' + text);
    }
    auto prover = prover_of(*combined, arch, places, text);
    const auto differ = [&](const seccomp_data& call) {
        return run(*program, call) != evaluate(*combined, arch, places, call).action.value();
    };
    const auto witness = difference(prover, *program, text);
    if (witness && (!differ(witness->data) || kind == Kind::Single)) {
        fuzz::broken(fmt::format("texts and program differ: {}\n{}",
                                 describe(*combined, places, witness->data), text));
    }
    const auto here = places.at("here");
    for (const auto* policy : all_of(*combined)) {
        for (const auto& rule : policy->rules) {
            auto call = call_at(*policy, rule, arch);
            for (const auto from :
                 {here, here - 1, here + 1, here ^ 1UL << 32U, here & 0xffffffff, 0UL, ~0UL}) {
                call.instruction_pointer = from;
                if (!witness && differ(call)) {
                    fuzz::broken(fmt::format("{}: the proof saw no difference:\n{}",
                                             describe(*combined, places, call), text));
                }
            }
        }
    }
}

} // namespace
} // namespace cloister::policy

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cloister;
    using namespace cloister::policy;
    fuzz::Input input{data, size};
    const unsigned head = input.byte();
    const auto arch = (head & 1U) == 0 ? Arch::x86_64 : Arch::aarch64;
    const auto kind = kinds[head >> 3U & 3U];
    const auto otherwise = head >> 1U & 3U;
    const auto policy = parsed(policy_text(input, kind, otherwise, false));
    if (contradicts_itself(policy)) {
        return 0;
    }
    try {
        if ((head & 0x20U) == 0) {
            alone(policy, arch, kind);
        } else if (const auto place = parsed(policy_text(input, kind, otherwise, true));
                   !contradicts_itself(place)) {
            together(policy, place, arch, kind);
        }
    } catch (const GaveUp&) {
        return 0;
    }
    return 0;
}
