// SPDX-License-Identifier: MIT
#include "audit/written.h"

#include "policy/meaning.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>

namespace cloister::audit {
namespace {

using namespace policy;
using Node = Diagram::Node;

constexpr unsigned abi_word = 1;
constexpr unsigned number_word = 0;
constexpr unsigned argument_word = 4;
constexpr std::size_t max_alternatives = 64; ///< rules that tell the values of one argument apart

struct Refusal {
    std::string why;
};

/// Numbers from first to last, for which the filters are the same function of the arguments.
struct Numbers {
    std::uint32_t first;
    std::uint32_t last;
    Node node;
};

/// A set of 64-bit values, by the conditions of which one holds. Each is a list of conditions that all hold.
using Conditions = std::vector<std::string>;

class Writer {
  public:
    Writer(std::span<const Program> programs, Arch arch)
        : arch_{arch}, whole_{meaning_.of_filters(programs)} {}

    std::string text(std::string_view name, std::string_view origin) {
        const auto foreign = action_of(function_at(0, 0), "calls of unknown ABIs");
        otherwise_ = action_of(function_at(audit_arch(abi_of(arch_)), unknown_call), "calls without a name");
        std::vector<Abi> abis{abi_of(arch_)};
        for (const auto abi : {Abi::i386, Abi::x32}) {
            if (arch_ == Arch::x86_64 && !all_of(abi, foreign)) {
                abis.push_back(abi);
            }
        }
        auto text = fmt::format("# {}\npolicy {} 1\nsyntax 1\narch", origin, name);
        for (const auto abi : abis) {
            text += fmt::format(" {}", to_string(abi));
        }
        text += fmt::format("\nelse {}", Action::of(otherwise_).text());
        text += foreign == otherwise_ ? "\n" : fmt::format(" abi {}\n", Action::of(foreign).text());
        for (const auto& [call, lines] : rules(abis)) {
            text += '\n';
            for (const auto& line : lines) {
                text += line;
            }
        }
        return text;
    }

  private:
    static constexpr std::uint32_t unknown_call = 0x3ffffff0; // of no ABI, and below x32's

    Diagram& diagram() { return meaning_.diagram(); }

    // The function of the arguments that is left of the filters for one call.
    Node function_at(std::uint32_t abi, std::uint32_t number) {
        Node node = whole_;
        const auto fix = [&](unsigned word, std::uint32_t value) {
            for (unsigned bit = 32; bit-- > 0;) {
                expect_no_pointer(node);
                node = diagram().branch(node, meaning_.level(word, bit), (value >> bit & 1U) != 0);
            }
        };
        fix(abi_word, abi);
        fix(number_word, number);
        expect_no_pointer(node);
        return node;
    }
    void expect_no_pointer(Node node) {
        if (const auto level = diagram().level_of(node);
            level >= meaning_.level(3, 31) && level <= meaning_.level(2, 0)) {
            throw Refusal{"they look at the instruction pointer, from where a call is made: a text speaks "
                          "for all places"};
        }
    }

    std::uint32_t action_of(Node node, std::string_view what) {
        if (!diagram().is_leaf(node)) {
            throw Refusal{fmt::format("they look at the arguments of {}", what)};
        }
        return diagram().leaf_value(node);
    }

    // All calls of that ABI get that action.
    bool all_of(Abi abi, std::uint32_t action) {
        const auto calls = meaning_.of_abi(abi);
        return diagram().if_else(calls, diagram().equals(whole_, action), 1) == 1;
    }

    // The ranges of numbers with one function each, of the ABI's own numbers.
    std::vector<Numbers> numbers_of(Abi abi) {
        Node node = whole_;
        for (unsigned bit = 32; bit-- > 0;) {
            expect_no_pointer(node);
            node = diagram().branch(node, meaning_.level(abi_word, bit), (audit_arch(abi) >> bit & 1U) != 0);
        }
        std::vector<Numbers> found;
        const auto add = [&](std::uint32_t first, std::uint32_t last, Node function) {
            if (!found.empty() && found.back().node == function && found.back().last + 1 == first) {
                found.back().last = last;
            } else {
                found.push_back({first, last, function});
            }
        };
        const std::function<void(Node, unsigned, std::uint32_t)> split = [&](Node at, unsigned bits,
                                                                             std::uint32_t first) {
            expect_no_pointer(at);
            const auto level = diagram().level_of(at);
            if (bits == 0 || level > meaning_.level(number_word, 0)) {
                add(first, first + static_cast<std::uint32_t>((std::uint64_t{1} << bits) - 1), at);
                return;
            }
            const auto here = meaning_.level(number_word, bits - 1);
            split(diagram().branch(at, here, false), bits - 1, first);
            split(diagram().branch(at, here, true), bits - 1, first | 1U << (bits - 1));
        };
        split(node, 32, 0);
        return found;
    }

    /// By name, in the order of numbers: its lines.
    std::vector<std::pair<std::string, std::vector<std::string>>> rules(const std::vector<Abi>& abis) {
        std::map<std::string, std::map<Abi, Node>> functions;
        std::vector<std::string> order;
        const auto note = [&](const std::string& name, Abi abi, Node node) {
            auto& by_abi = functions[name];
            if (by_abi.empty()) {
                order.push_back(name);
            }
            by_abi[abi] = node;
        };
        for (const auto abi : abis) {
            for (const auto& numbers : numbers_of(abi)) {
                if (diagram().is_leaf(numbers.node) && diagram().leaf_value(numbers.node) == otherwise_) {
                    continue;
                }
                for (const auto name : all_names(abi)) {
                    const auto number = number_of(abi, name).value();
                    if (number >= numbers.first && number <= numbers.last) {
                        note(std::string{name}, abi, numbers.node);
                    }
                }
                for (const auto& [first, last] : unnamed_in(abi, numbers)) {
                    if (last - first < 4 && last <= 0x7fffffff) {
                        for (std::uint64_t number = first; number <= last; ++number) {
                            note(call_name(abi, static_cast<std::uint32_t>(number)), abi, numbers.node);
                        }
                    } else {
                        note(fmt::format("syscall {}..{}", first, last), abi, numbers.node);
                    }
                }
            }
        }
        std::vector<std::pair<std::string, std::vector<std::string>>> all;
        all.reserve(order.size());
        for (const auto& name : order) {
            all.emplace_back(name, lines_of(name, functions[name], abis));
        }
        return all;
    }

    // The numbers of the ABI among them that have no name.
    static std::vector<std::pair<std::uint32_t, std::uint32_t>> unnamed_in(Abi abi, const Numbers& numbers) {
        std::vector<std::uint32_t> named;
        for (const auto name : all_names(abi)) {
            named.push_back(number_of(abi, name).value());
        }
        std::sort(named.begin(), named.end());
        std::vector<std::pair<std::uint32_t, std::uint32_t>> found;
        const auto add = [&](std::uint64_t first, std::uint64_t last) {
            first = std::max<std::uint64_t>(first, numbers.first);
            last = std::min<std::uint64_t>(last, numbers.last);
            if (first <= last) {
                found.emplace_back(static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(last));
            }
        };
        const auto between = [&](std::uint64_t first, std::uint64_t last) {
            for (const auto name : named) {
                if (name >= first && name <= last) {
                    if (name > first) {
                        add(first, name - 1);
                    }
                    first = std::uint64_t{name} + 1;
                }
            }
            if (first <= last) {
                add(first, last);
            }
        };
        if (abi == Abi::x86_64) {
            between(0, x32_bit - 1);
            between(0xffffffff, 0xffffffff);
        } else if (abi == Abi::x32) {
            between(x32_bit, 0xfffffffe);
        } else {
            between(0, 0xffffffff);
        }
        return found;
    }

    // One rule for all ABIs that have the call, where the filters are the same for them.
    std::vector<std::string> lines_of(const std::string& name, const std::map<Abi, Node>& functions,
                                      const std::vector<Abi>& abis) {
        const auto dots = name.find("..");
        const auto* prototype = prototype_of(name.substr(0, dots));
        std::vector<std::string> lines;
        const bool numbered = name.find(' ') != name.npos;
        const auto has = [&](Abi abi) {
            return numbered ? functions.contains(abi) : number_of(abi, name).has_value();
        };
        const auto first = functions.begin()->second;
        const bool alike =
            !numbered && prototype != nullptr && std::all_of(abis.begin(), abis.end(), [&](Abi abi) {
                const auto found = functions.find(abi);
                return !has(abi) ||
                       (found != functions.end() && found->second == first && same_order(*prototype, abi));
            });
        for (const auto& [abi, node] : functions) {
            if (prototype == nullptr) {
                throw Refusal{fmt::format("the prototype of {} is not known", name)};
            }
            const auto prefix =
                alike || abis.size() == 1 ? std::string{} : fmt::format("{}:", to_string(abi));
            write(lines, prefix + name, *prototype, abi, node, {});
            if (alike) {
                break;
            }
        }
        return lines;
    }
    [[nodiscard]] bool same_order(const Prototype& prototype, Abi abi) const {
        for (std::size_t i = 0; i < prototype.parameters.size(); ++i) {
            if (!prototype.has(i, abi) || prototype.index(i, abi) != prototype.index(i, abi_of(arch_))) {
                return false;
            }
        }
        return true;
    }

    using Taken = std::map<std::size_t, Conditions>; ///< by parameter

    void write(std::vector<std::string>& lines, const std::string& call, const Prototype& prototype, Abi abi,
               Node node, const Taken& taken) {
        if (diagram().is_leaf(node)) {
            if (diagram().leaf_value(node) != otherwise_) {
                lines.push_back(line_of(call, prototype, diagram().leaf_value(node), taken));
            }
            return;
        }
        const auto [argument, sets] = split(node);
        std::optional<std::size_t> parameter;
        for (std::size_t i = 0; i < prototype.parameters.size(); ++i) {
            if (prototype.has(i, abi) && prototype.index(i, abi) == argument) {
                parameter = i;
            }
        }
        if (!parameter) {
            throw Refusal{
                fmt::format("they look at register {} of {}, which holds no argument as a whole there",
                            argument + 1, call)};
        }
        for (const auto& [rest, set] : sets) {
            for (const auto& conditions : alternatives(argument, set, call)) {
                auto more = taken;
                more[*parameter] = conditions;
                write(lines, call, prototype, abi, rest, more);
            }
        }
    }

    static std::string line_of(const std::string& call, const Prototype& prototype, std::uint32_t action,
                               const Taken& taken) {
        auto line = fmt::format("{} {}", Action::of(action).text(), call);
        const auto last = taken.empty() ? 0 : taken.rbegin()->first + 1;
        for (std::size_t i = 0; i < last; ++i) {
            const auto found = taken.find(i);
            for (const auto& condition : found == taken.end() ? Conditions{"any"} : found->second) {
                line += fmt::format("  {} {}", prototype.parameters[i].name, condition);
            }
        }
        if (last < prototype.parameters.size()) {
            line += taken.empty() ? " any" : "  any";
        }
        line += " : in the filter\n";
        if (line.size() > max_line_length) {
            throw Refusal{
                fmt::format("a rule for {} would be longer than {} characters", call, max_line_length)};
        }
        return line;
    }

    /// By what follows: the values of one argument that lead there, as a condition (1 or 0) on its bits.
    std::pair<std::size_t, std::vector<std::pair<Node, Node>>> split(Node node) {
        const auto argument = argument_of(node);
        std::vector<Node> exits;
        std::map<Node, bool> seen;
        const std::function<void(Node)> collect = [&](Node at) {
            if (seen[at]) {
                return;
            }
            seen[at] = true;
            if (diagram().is_leaf(at) || argument_of(at) != argument) {
                exits.push_back(at);
                return;
            }
            const auto level = diagram().level_of(at);
            collect(diagram().branch(at, level, false));
            collect(diagram().branch(at, level, true));
        };
        collect(node);
        std::vector<std::pair<Node, Node>> sets;
        for (const auto exit : exits) {
            std::map<Node, Node> done;
            const std::function<Node(Node)> leads = [&](Node at) -> Node {
                if (at == exit) {
                    return 1;
                }
                if (diagram().is_leaf(at) || argument_of(at) != argument) {
                    return 0;
                }
                if (const auto known = done.find(at); known != done.end()) {
                    return known->second;
                }
                const auto level = diagram().level_of(at);
                const auto high = leads(diagram().branch(at, level, true));
                const auto low = leads(diagram().branch(at, level, false));
                return done[at] = diagram().choose(level, high, low);
            };
            sets.emplace_back(exit, leads(node));
        }
        return {argument, sets};
    }

    std::size_t argument_of(Node node) {
        const auto level = diagram().level_of(node);
        for (std::size_t argument = 0; argument < 6; ++argument) {
            const auto word = argument_word + static_cast<unsigned>(argument) * 2;
            if (level >= meaning_.level(word + 1, 31) && level <= meaning_.level(word, 0)) {
                return argument;
            }
        }
        throw Refusal{"they look at more than ABI, number and arguments"};
    }
    [[nodiscard]] Diagram::Level level_of_bit(std::size_t argument, unsigned bit) const {
        return meaning_.level(argument_word + static_cast<unsigned>(argument) * 2 + bit / 32, bit % 32);
    }

    /// The set in words: each element is a list of conditions, all of which hold.
    std::vector<Conditions> alternatives(std::size_t argument, Node set, const std::string& call) {
        // Only the lower half matters: the first bit that is looked at is one of it.
        const bool half = diagram().level_of(set) > level_of_bit(argument, 32);
        const unsigned width = half ? 32 : 64;
        const auto* mark = half ? "32" : "";
        const auto most = half ? 0xffffffff : ~std::uint64_t{0};
        const auto paths = cubes(argument, set);
        const auto ranges = ranges_of(argument, set, width);
        const auto number = [](std::uint64_t value) {
            return value < 4096 ? fmt::to_string(value) : fmt::format("0x{:x}", value);
        };
        const auto condition = [&](std::string_view op, std::uint64_t value) {
            return fmt::format("{}{} {}", op, mark, number(value));
        };
        std::vector<Conditions> found;
        // All but some values.
        if (const auto gaps = gaps_of(ranges, most);
            !gaps.empty() && gaps.size() <= 4 && ranges.size() > gaps.size()) {
            return {[&] {
                Conditions all;
                for (const auto gap : gaps) {
                    all.push_back(condition("!=", gap));
                }
                return all;
            }()};
        }
        const auto others = cubes(argument, diagram().if_else(set, 0, 1));
        const auto least = std::min(paths.empty() ? max_alternatives : paths.size(),
                                    ranges.empty() ? max_alternatives : ranges.size());
        if (!others.empty() && least > 4 && others.size() < least) { // what it is not: some patterns of bits
            Conditions all;
            for (const auto& [mask, value] : others) {
                all.push_back(mask == most ? condition("!=", value)
                                           : fmt::format("&{} {} != {}", mark, number(mask), number(value)));
            }
            return {all};
        }
        if (!paths.empty() && (ranges.empty() || paths.size() < ranges.size())) {
            for (const auto& [mask, value] : paths) {
                found.push_back({mask == most ? condition("==", value)
                                 : value == 0
                                     ? condition("in", ~mask & most)
                                     : fmt::format("&{} {} == {}", mark, number(mask), number(value))});
            }
            return found;
        }
        for (const auto& [first, last] : ranges) {
            found.push_back(first == last  ? Conditions{condition("==", first)}
                            : first == 0   ? Conditions{condition("<=", last)}
                            : last == most ? Conditions{condition(">=", first)}
                                           : Conditions{condition(">=", first), condition("<=", last)});
        }
        if (found.empty()) {
            throw Refusal{fmt::format("what they say of argument {} of {} takes more than {} rules",
                                      argument + 1, call, max_alternatives)};
        }
        return found;
    }

    using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

    // The single values between the ranges; none, where a gap is larger.
    static std::vector<std::uint64_t> gaps_of(const Ranges& ranges, std::uint64_t most) {
        std::vector<std::uint64_t> gaps;
        std::uint64_t next = 0;
        for (const auto& [first, last] : ranges) {
            if (first == next + 1) {
                gaps.push_back(next);
            } else if (first != next) {
                return {};
            }
            next = last + 1;
        }
        if (!ranges.empty() && ranges.back().second == most - 1) {
            gaps.push_back(most);
        } else if (ranges.empty() || ranges.back().second != most) {
            return {};
        }
        return gaps;
    }

    // As ranges; none, if there are too many.
    Ranges ranges_of(std::size_t argument, Node set, unsigned width) {
        Ranges ranges;
        bool too_many = false;
        const std::function<void(Node, unsigned, std::uint64_t)> visit = [&](Node at, unsigned bits,
                                                                             std::uint64_t first) {
            if (at == 0 || too_many) {
                return;
            }
            if (at == 1) {
                const auto last = first | (bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1);
                if (!ranges.empty() && ranges.back().second + 1 == first) {
                    ranges.back().second = last;
                } else {
                    ranges.emplace_back(first, last);
                }
                too_many = ranges.size() > max_alternatives;
                return;
            }
            const auto level = level_of_bit(argument, bits - 1);
            visit(diagram().branch(at, level, false), bits - 1, first);
            visit(diagram().branch(at, level, true), bits - 1, first | std::uint64_t{1} << (bits - 1));
        };
        visit(set, width, 0);
        return too_many ? Ranges{} : ranges;
    }

    // As pairs of a mask and the value of the bits under it, which may overlap; none, if there are too many.
    // An irredundant sum of products (Minato 1993): few pairs, where the paths of a diagram would be many.
    Ranges cubes(std::size_t argument, Node set) {
        const auto top = level_of_bit(argument, 63);
        bool too_many = false;
        // Covers all of `least` and nothing outside `most`; gives what it covers.
        const std::function<Node(Node, Node, Ranges&)> cover = [&](Node least, Node most,
                                                                   Ranges& found) -> Node {
            if (least == 0 || too_many) {
                return 0;
            }
            if (most == 1) {
                found.emplace_back(0, 0);
                return 1;
            }
            const auto level = std::min(diagram().level_of(least), diagram().level_of(most));
            const auto bit = std::uint64_t{1} << (63U - (level - top));
            const auto part = [&](Node node, bool set_bit) { return diagram().branch(node, level, set_bit); };
            const auto less = [&](Node from, Node what) { return diagram().if_else(what, 0, from); };
            const auto either = [&](Node one, Node other) { return diagram().if_else(one, 1, other); };
            Ranges low;
            Ranges high;
            const auto covered_low =
                cover(less(part(least, false), part(most, true)), part(most, false), low);
            const auto covered_high =
                cover(less(part(least, true), part(most, false)), part(most, true), high);
            const auto rest =
                either(less(part(least, false), covered_low), less(part(least, true), covered_high));
            const auto covered = cover(rest, diagram().both(part(most, false), part(most, true)), found);
            for (const auto& [mask, value] : low) {
                found.emplace_back(mask | bit, value);
            }
            for (const auto& [mask, value] : high) {
                found.emplace_back(mask | bit, value | bit);
            }
            too_many = too_many || found.size() > max_alternatives;
            return diagram().choose(level, either(covered_high, covered), either(covered_low, covered));
        };
        Ranges found;
        (void)cover(set, set, found);
        return too_many ? Ranges{} : found;
    }

    Meaning meaning_{Meaning::Order::by_argument};
    Arch arch_;
    Node whole_;
    std::uint32_t otherwise_ = 0;
};

} // namespace

Written written(std::span<const Program> oldest_first, Arch arch, std::string_view name,
                std::string_view origin) {
    try {
        return {Writer{oldest_first, arch}.text(name, origin), {}};
    } catch (const Refusal& refusal) {
        return {{}, refusal.why};
    }
}

} // namespace cloister::audit
