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

    /// In which order the bits of the arguments are decided.
    enum class Order {
        interleaved, ///< those of all arguments and parameters together: comparisons with open parameters
                     ///< stay small
        by_argument  ///< one argument after the other: what each argument may be can be read off
    };

    /// With bindings every parameter has its value; without, a diagram speaks for all values but 0.
    Meaning(const Policy& policy, const std::vector<std::string>& params, const Bindings* bindings);
    /// Of programs: without parameters.
    explicit Meaning(Order order = Order::interleaved);

    /// The action, as a filter returns it (Action::value), of the text on that processor; an ABI that it does
    /// not list gets the else action. Of rules that contradict each other (check() refuses them) the
    /// strictest counts, as in evaluate().
    [[nodiscard]] Node of_text(const Policy& policy, Arch arch);
    /// Where one rule applies.
    [[nodiscard]] Node of_rule(const Policy& policy, const Rule& rule, Arch arch);
    /// True for calls of that ABI; with a number (x32's have their bit), for that call.
    [[nodiscard]] Node of_abi(Abi abi);
    [[nodiscard]] Node of_number(Abi abi, std::uint32_t number);
    /// True for calls from that address.
    [[nodiscard]] Node of_call_site(std::uint64_t instruction_pointer);
    /// The calls of a pattern, on that ABI; false where the ABI has no such call.
    [[nodiscard]] Node of_pattern(const Policy& policy, const Pattern& pattern, Arch arch);
    /// What the kernel does on the value that the program returns, as Action::value() has it. Every
    /// instruction that seccomp(2) accepts is understood but division and shifts by what is no constant.
    /// Throws std::invalid_argument, which names the instruction.
    [[nodiscard]] Node of_program(std::span<const sock_filter> program);
    /// What the kernel does with a call of a process that has these filters, oldest first: the strictest
    /// action, and of two with the same action the newer one's (kernel/seccomp.c, seccomp_run_filters).
    /// Without any: allow.
    [[nodiscard]] Node of_filters(std::span<const std::vector<sock_filter>> oldest_first);
    /// True for calls that a kernel for that processor can get: of its ABIs, i386's with registers of 32
    /// bits.
    [[nodiscard]] Node possible(Arch arch);
    /// True unless an open parameter is 0.
    [[nodiscard]] Node bound() const { return bound_; }

    [[nodiscard]] Diagram& diagram() { return diagram_; }
    [[nodiscard]] Call call(const std::vector<Diagram::Bit>& bits) const;
    /// The level of a bit: of a word of seccomp_data (0 to 15), or of a parameter (16 and on, 64 bits each).
    [[nodiscard]] Diagram::Level level(unsigned word, unsigned bit) const;

  private:
    [[nodiscard]] Node number_within(std::uint32_t first, std::uint32_t last);
    [[nodiscard]] Node word_equals(unsigned word, std::uint32_t value);
    [[nodiscard]] Node argument_test(const Policy& policy, std::size_t index, const Condition& condition);
    [[nodiscard]] Diagram::Level argument_level(std::size_t index, unsigned bit) const;
    [[nodiscard]] Node compare(const Policy& policy, std::size_t index, Op op, const Operand& operand,
                               unsigned width);
    [[nodiscard]] std::size_t slot_of(const Policy& policy, const Operand& operand) const;

    Diagram diagram_;
    std::vector<std::string> params_; ///< the open or bound parameters, by name: two policies share them
    std::vector<std::uint64_t> values_;
    bool open_ = false;
    Order order_ = Order::interleaved;
    Node bound_ = 1;
};

} // namespace cloister::policy
