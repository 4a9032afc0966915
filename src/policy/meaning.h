// SPDX-License-Identifier: MIT
#pragma once

#include "policy/diagram.h"
#include "policy/policy.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <span>
#include <string>

/// What a policy's text and a program's bytes mean, as diagrams over the same input: the 16 words of
/// seccomp_data, and in front the parameters, where they are left open.
namespace cloister::policy {

/// A call as the filter sees it, and the values of open parameters under which it was found.
struct Call {
    seccomp_data data{};
    std::vector<std::uint64_t> params;
};

class Meaning {
  public:
    using Node = Diagram::Node;

    /// With bindings every parameter has its value; without, a diagram speaks for all values but 0.
    Meaning(const Policy& policy, const std::vector<std::string>& params, const Bindings* bindings);

    /// The action, as a filter returns it, of the text on that ABI; any other ABI gets the else action. Of
    /// rules that contradict each other (check() refuses them) the strictest counts, as in evaluate().
    [[nodiscard]] Node of_text(const Policy& policy, Arch arch);
    /// The same of one rule: where it applies.
    [[nodiscard]] Node of_rule(const Policy& policy, const Rule& rule, Arch arch);
    /// True for calls from that address.
    [[nodiscard]] Node of_call_site(std::uint64_t instruction_pointer);
    /// The calls of a pattern, on that ABI; false where the ABI has no such call.
    [[nodiscard]] Node of_pattern(const Policy& policy, const Pattern& pattern, Arch arch);
    /// The value that the program returns. Throws std::invalid_argument: an instruction outside the fragment.
    [[nodiscard]] Node of_program(std::span<const sock_filter> program);
    /// True unless an open parameter is 0.
    [[nodiscard]] Node bound() const { return bound_; }

    [[nodiscard]] Diagram& diagram() { return diagram_; }
    [[nodiscard]] Call call(const std::vector<Diagram::Bit>& bits) const;

  private:
    [[nodiscard]] Diagram::Level level(unsigned word, unsigned bit) const;
    [[nodiscard]] Node word_test(unsigned word, std::uint32_t mask, std::uint16_t op, std::uint32_t k);
    [[nodiscard]] Node word_equals(unsigned word, std::uint32_t value);
    [[nodiscard]] Node argument_test(const Policy& policy, std::size_t index, Op op, const Operand& operand);
    [[nodiscard]] std::size_t slot_of(const Policy& policy, const Operand& operand) const;

    Diagram diagram_;
    std::vector<std::string> params_; ///< the open or bound parameters, by name: two policies share them
    std::vector<std::uint64_t> values_;
    bool open_;
    Node bound_ = 1;
};

} // namespace cloister::policy
