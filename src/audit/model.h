// SPDX-License-Identifier: MIT
#pragma once

#include "policy/names.h"
#include "policy/policy.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// What the formats of other tools have in common: calls, conditions on argument registers, actions.
/// Importers make a Model and write it as text of our language; exporters make one of a policy.
namespace cloister::audit {

using policy::Action;
[[nodiscard]] constexpr bool stricter(const Action& a, const Action& b) {
    return a.kind < b.kind;
}

/// A condition on one argument register, unsigned.
struct Test {
    enum class Op {
        eq,
        ne,
        le,
        ge,
        masked ///< the bits of `mask` have the values that `value` has
    };
    unsigned argument = 0; ///< the register, 0 to 5
    Op op = Op::eq;
    bool half = false; ///< compares the lower 32 bits alone
    std::uint64_t value = 0;
    std::uint64_t mask = 0; ///< of masked
    friend bool operator==(const Test&, const Test&) = default;
    [[nodiscard]] bool holds(std::uint64_t word) const;
    [[nodiscard]] bool always() const;
    [[nodiscard]] bool never() const;
};

/// All of them hold. Empty: every call.
using Tests = std::vector<Test>;

/// No value fulfils them. Sound, but not complete: false may mean that it is not known.
[[nodiscard]] bool contradictory(const Tests& tests);
/// Without tests that others imply, in the order of the registers.
[[nodiscard]] Tests simplified(Tests tests);
/// Calls of `from` that do not fulfil `less`, as a union of sets without common elements.
[[nodiscard]] std::vector<Tests> without(const Tests& from, const Tests& less);
/// The same set as a union in which each register has one test of eq, ne, le, ge or masked over 64 bits.
/// Nothing: more than `limit` sets would be needed.
[[nodiscard]] std::optional<std::vector<Tests>> one_test_each(const Tests& tests, std::size_t limit);

struct Rule {
    Action action;
    Tests tests;
    std::string reason;
    unsigned line = 0; ///< of a policy; 0: imported
};

struct Call {
    std::string name; ///< the kernel's, or "syscall 470"
    std::vector<Rule> rules;
};

struct Model {
    std::string name;
    unsigned version = 1;
    policy::Arch arch = policy::native_arch;
    std::vector<policy::Abi> also; ///< i386 and x32, of the same kernel
    Action otherwise;
    Action foreign; ///< of a policy: for calls of ABIs that it does not list
    std::vector<Call> calls;

    /// The native ABI, then `also`.
    [[nodiscard]] std::vector<policy::Abi> abis() const;
    /// A call's rules, made if there are none.
    [[nodiscard]] Call& call(std::string_view name);
};

/// Whether that ABI has the call. "syscall N" is a call of every ABI.
[[nodiscard]] bool exists(policy::Abi abi, std::string_view call);

/// The rule says `action` for calls of `tests`, and the first rule that fits counts: what later rules say for
/// calls of earlier ones is taken away. Rules of one action may overlap. Gives whether rules of different
/// actions did, or nothing when a call would need more than `limit` rules.
[[nodiscard]] std::optional<bool> separate(Call& call, std::size_t limit);

} // namespace cloister::audit
