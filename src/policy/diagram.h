// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

/// Binary decision diagrams (Bryant 1986) whose leaves are 32-bit numbers. A diagram represents
/// a function of the input bits in its canonical form for this order of bits: two functions are equal exactly
/// if their nodes have the same number. Every value of every bit is covered; nothing is sampled.
namespace cloister::policy {

class Diagram {
  public:
    using Node = std::uint32_t;
    using Level = std::uint16_t; ///< a bit of the input; lower levels are decided first

    /// Thrown when a diagram outgrows its limit of nodes or steps: what was to be proved is then unproved.
    struct TooLarge : std::runtime_error {
        using std::runtime_error::runtime_error;
    };

    Diagram();
    [[nodiscard]] Node leaf(std::uint32_t value);
    [[nodiscard]] Node truth(bool value) { return leaf(value ? 1 : 0); }
    /// high where that bit is set, else low. Both must lie below that level.
    [[nodiscard]] Node choose(Level level, Node high, Node low);
    /// Point by point: yes where the condition is 1, no where it is 0.
    [[nodiscard]] Node if_else(Node condition, Node yes, Node no);
    [[nodiscard]] Node both(Node a, Node b) { return if_else(a, b, truth(false)); }
    /// Point by point: pick(the value of a, the value of b).
    [[nodiscard]] Node combine(Node a, Node b,
                               const std::function<std::uint32_t(std::uint32_t, std::uint32_t)>& pick);
    /// 1 where the leaf has that value, else 0.
    [[nodiscard]] Node equals(Node function, std::uint32_t value);
    /// The values that the function takes.
    [[nodiscard]] std::vector<std::uint32_t> values(Node function) const;

    /// An input on which the condition holds, or nothing. Bits that do not matter are 0.
    struct Bit {
        Level level;
        bool set;
    };
    [[nodiscard]] std::optional<std::vector<Bit>> find(Node condition) const;
    /// The function in a form that depends on nothing else: equal for equal functions, of whichever diagram.
    [[nodiscard]] std::string canonical(Node function) const;
    /// The value of the function there; bits that are not named are 0.
    [[nodiscard]] std::uint32_t value_at(Node function, const std::vector<Bit>& input) const;
    /// How a function is made: a leaf has its value, another node a level and two branches.
    [[nodiscard]] bool is_leaf(Node node) const { return nodes_[node].level == leaf_level; }
    [[nodiscard]] std::uint32_t leaf_value(Node node) const { return nodes_[node].high; }
    [[nodiscard]] Level level_of(Node node) const {
        return nodes_[node].level;
    } ///< beyond all others: a leaf
    /// The function where that bit, no lower level of which it depends on, is set or not.
    [[nodiscard]] Node branch(Node node, Level level, bool set) const { return at(node, level, set); }
    /// An input on which two functions differ, or nothing, when they are equal.
    [[nodiscard]] std::optional<std::vector<Bit>> find_difference(Node a, Node b) const;
    /// Begins a new count of steps, whose limit is for one question.
    void next_question() { steps_ = 0; }

  private:
    static constexpr Level leaf_level = 0xffff;
    struct Branch {
        Level level; ///< leaf_level: a leaf, its value in high
        Node high;
        Node low;
        friend bool operator==(const Branch&, const Branch&) = default;
    };
    struct Result {
        Node condition, yes, no, node;
    };
    [[nodiscard]] Node intern(const Branch& branch);
    void rehash();
    [[nodiscard]] Node at(Node node, Level level, bool set) const {
        const auto& branch = nodes_[node];
        return branch.level != level ? node : set ? branch.high : branch.low;
    }

    std::size_t steps_ = 0; ///< of if_else
    std::vector<Branch> nodes_;
    std::vector<Node>
        table_; ///< open addressing over nodes_; 0: free (node 0 is the leaf 0, found without it)
    std::vector<Result> results_; ///< direct-mapped memory of if_else
};

} // namespace cloister::policy
