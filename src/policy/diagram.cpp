// SPDX-License-Identifier: MIT
#include "policy/diagram.h"

#include <algorithm>
#include <unordered_map>

namespace cloister::policy {
namespace {

constexpr std::size_t max_nodes = 4'000'000;
// Some functions take minutes to reach the limit of nodes, because the cache of results is small. This many
// steps take some seconds; the shipped policies take 14 000. Steps, not seconds: whether a policy can be
// proved must not depend on the machine.
constexpr std::size_t max_steps = 10'000'000;
constexpr std::size_t result_slots = 1U << 15U;

std::size_t mix(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    std::uint64_t h = a * 0x9e3779b97f4a7c15 ^ b * 0xc2b2ae3d27d4eb4f ^ c * 0x165667b19e3779f9;
    h ^= h >> 32U;
    h *= 0x9e3779b97f4a7c15;
    return h ^ h >> 29U;
}

} // namespace

Diagram::Diagram() : table_(1U << 12U), results_(result_slots) {
    nodes_.push_back({leaf_level, 0, 0});
    nodes_.push_back({leaf_level, 1, 0});
}

Diagram::Node Diagram::leaf(std::uint32_t value) {
    return value <= 1 ? value : intern({leaf_level, value, 0});
}

Diagram::Node Diagram::choose(Level level, Node high, Node low) {
    return high == low ? high : intern({level, high, low});
}

Diagram::Node Diagram::intern(const Branch& branch) {
    const std::size_t mask = table_.size() - 1;
    std::size_t slot = mix(branch.level, branch.high, branch.low) & mask;
    for (; table_[slot] != 0; slot = (slot + 1) & mask) {
        if (nodes_[table_[slot]] == branch) {
            return table_[slot];
        }
    }
    if (nodes_.size() == max_nodes) {
        throw TooLarge{"the decision diagram grew beyond its limit"};
    }
    const auto node = static_cast<Node>(nodes_.size());
    nodes_.push_back(branch);
    table_[slot] = node;
    if (nodes_.size() * 2 > table_.size()) {
        rehash();
    }
    return node;
}

void Diagram::rehash() {
    std::vector<Node> larger(table_.size() * 4);
    const std::size_t mask = larger.size() - 1;
    for (Node node = 2; node < nodes_.size(); ++node) {
        const auto& branch = nodes_[node];
        std::size_t slot = mix(branch.level, branch.high, branch.low) & mask;
        while (larger[slot] != 0) {
            slot = (slot + 1) & mask;
        }
        larger[slot] = node;
    }
    table_ = std::move(larger);
}

// Recursion is as deep as there are levels, at most a thousand.
Diagram::Node Diagram::if_else(Node condition, Node yes, Node no) {
    if (condition <= 1) {
        return condition == 1 ? yes : no;
    }
    if (yes == no) {
        return yes;
    }
    if (yes == 1 && no == 0) {
        return condition;
    }
    const auto slot = mix(condition, yes, no) & (result_slots - 1);
    if (const auto& r = results_[slot]; r.condition == condition && r.yes == yes && r.no == no) {
        return r.node;
    }
    if (++steps_ > max_steps) {
        throw TooLarge{"the decision diagram took more steps than its limit"};
    }
    const auto level = std::min({nodes_[condition].level, nodes_[yes].level, nodes_[no].level});
    const auto high = if_else(at(condition, level, true), at(yes, level, true), at(no, level, true));
    const auto low = if_else(at(condition, level, false), at(yes, level, false), at(no, level, false));
    const auto node = choose(level, high, low);
    results_[slot] = {condition, yes, no, node};
    return node;
}

Diagram::Node Diagram::combine(Node a, Node b,
                               const std::function<std::uint32_t(std::uint32_t, std::uint32_t)>& pick) {
    std::unordered_map<std::uint64_t, Node> done;
    const std::function<Node(Node, Node)> visit = [&](Node left, Node right) -> Node {
        const auto level = std::min(nodes_[left].level, nodes_[right].level);
        if (level == leaf_level) {
            return leaf(pick(nodes_[left].high, nodes_[right].high));
        }
        const auto key = std::uint64_t{left} << 32U | right;
        if (const auto known = done.find(key); known != done.end()) {
            return known->second;
        }
        if (++steps_ > max_steps) {
            throw TooLarge{"the decision diagram took more steps than its limit"};
        }
        const auto high = visit(at(left, level, true), at(right, level, true));
        const auto low = visit(at(left, level, false), at(right, level, false));
        return done[key] = choose(level, high, low);
    };
    return visit(a, b);
}

Diagram::Node Diagram::equals(Node function, std::uint32_t value) {
    // Bottom up: a node's children have been made before it.
    std::vector<Node> mapped(function + 1);
    for (Node node = 0; node <= function; ++node) {
        const auto branch = nodes_[node];
        mapped[node] = branch.level == leaf_level
                           ? truth(branch.high == value)
                           : choose(branch.level, mapped[branch.high], mapped[branch.low]);
    }
    return mapped[function];
}

std::vector<std::uint32_t> Diagram::values(Node function) const {
    std::vector<bool> seen(nodes_.size());
    std::vector<Node> todo{function};
    std::vector<std::uint32_t> found;
    while (!todo.empty()) {
        const auto node = todo.back();
        todo.pop_back();
        if (seen[node]) {
            continue;
        }
        seen[node] = true;
        const auto& branch = nodes_[node];
        if (branch.level == leaf_level) {
            found.push_back(branch.high);
        } else {
            todo.push_back(branch.high);
            todo.push_back(branch.low);
        }
    }
    return found;
}

std::string Diagram::canonical(Node function) const {
    std::string text;
    std::unordered_map<Node, std::size_t> numbers; // by first visit, children before their parents
    const std::function<std::size_t(Node)> visit = [&](Node node) {
        if (const auto known = numbers.find(node); known != numbers.end()) {
            return known->second;
        }
        const auto& branch = nodes_[node];
        std::string line;
        if (branch.level == leaf_level) {
            line = "= " + std::to_string(branch.high);
        } else {
            const auto high = visit(branch.high);
            const auto low = visit(branch.low);
            line = std::to_string(branch.level) + ' ' + std::to_string(high) + ' ' + std::to_string(low);
        }
        text += line + '\n';
        return numbers[node] = numbers.size();
    };
    (void)visit(function);
    return text;
}

std::uint32_t Diagram::value_at(Node function, const std::vector<Bit>& input) const {
    while (nodes_[function].level != leaf_level) {
        const auto level = nodes_[function].level;
        const bool set = std::any_of(input.begin(), input.end(),
                                     [level](const Bit& bit) { return bit.level == level && bit.set; });
        function = at(function, level, set);
    }
    return nodes_[function].high;
}

std::optional<std::vector<Diagram::Bit>> Diagram::find(Node condition) const {
    return find_difference(condition, 0);
}

std::optional<std::vector<Diagram::Bit>> Diagram::find_difference(Node a, Node b) const {
    if (a == b) {
        return std::nullopt;
    }
    std::vector<Bit> path;
    while (nodes_[a].level != leaf_level || nodes_[b].level != leaf_level) {
        const auto level = std::min(nodes_[a].level, nodes_[b].level);
        // Diagrams are canonical: different nodes differ on some input, below at least one of the branches.
        const bool set = at(a, level, false) == at(b, level, false);
        path.push_back({level, set});
        a = at(a, level, set);
        b = at(b, level, set);
    }
    return path;
}

} // namespace cloister::policy
