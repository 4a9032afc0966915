// SPDX-License-Identifier: MIT
#include "audit/model.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

namespace cloister::audit {
namespace {

constexpr std::uint64_t low_word = 0xffffffff;

Test opposite(Test test) {
    switch (test.op) {
    case Test::Op::eq:
        test.op = Test::Op::ne;
        break;
    case Test::Op::ne:
        test.op = Test::Op::eq;
        break;
    case Test::Op::le:
        test.op = Test::Op::ge;
        ++test.value; // always() excludes the highest value
        break;
    case Test::Op::ge:
        test.op = Test::Op::le;
        --test.value; // and 0
        break;
    case Test::Op::masked:
        break;
    }
    return test;
}

// The calls that do not pass the test, as a union of disjoint sets.
std::vector<Tests> complement(const Test& test) {
    if (test.always()) {
        return {};
    }
    if (test.never()) {
        return {Tests{}};
    }
    if (test.op != Test::Op::masked) {
        return {{opposite(test)}};
    }
    std::vector<Tests> sets;
    std::uint64_t above = 0; // bits that agree, from the highest on
    for (int bit = 63; bit >= 0; --bit) {
        const auto one = std::uint64_t{1} << bit;
        if ((test.mask & one) == 0) {
            continue;
        }
        above |= one;
        Test differs = test;
        differs.mask = above;
        differs.value = (test.value & above) ^ one;
        sets.push_back({differs});
    }
    return sets;
}

// What is known of one register. Only what is certain is kept.
struct Known {
    std::uint64_t low = 0;
    std::uint64_t high = ~std::uint64_t{0};
    std::uint64_t mask = 0;  ///< bits whose values are known ...
    std::uint64_t value = 0; ///< ... and which they are
    bool empty = false;

    void bits(std::uint64_t new_mask, std::uint64_t new_value) {
        empty = empty || ((value ^ new_value) & mask & new_mask) != 0 || (new_value & ~new_mask) != 0;
        value |= new_value;
        mask |= new_mask;
    }
    void narrow(const Test& test) {
        switch (test.op) {
        case Test::Op::eq:
            bits(test.half ? low_word : ~std::uint64_t{0}, test.value);
            break;
        case Test::Op::masked:
            bits(test.mask, test.value);
            break;
        case Test::Op::le:
            if (!test.half) {
                high = std::min(high, test.value);
            }
            break;
        case Test::Op::ge:
            if (!test.half) {
                low = std::max(low, test.value);
            }
            break;
        case Test::Op::ne:
            break;
        }
        // The known bits alone, all others 0 or 1, bound the value.
        empty = empty || low > high || (value & mask) > high || (value | ~mask) < low;
    }
    [[nodiscard]] bool refutes(const Test& test) const {
        const auto whole = test.half ? low_word : ~std::uint64_t{0};
        const bool fixed = (mask & whole) == whole;
        if (fixed && !test.half) {
            return !test.holds(value);
        }
        return fixed && !test.holds(value & whole);
    }
};

// Tests of `narrower` that are implied by others: the other is at least as strict.
bool implies(const Test& strict, const Test& loose) {
    if (strict.argument != loose.argument) {
        return false;
    }
    if (strict == loose) {
        return true;
    }
    if (strict.half != loose.half) {
        return strict.op == Test::Op::eq && !strict.half && loose.holds(strict.value);
    }
    if (strict.op == Test::Op::eq) {
        return loose.holds(strict.value);
    }
    if (strict.op == Test::Op::le) {
        return (loose.op == Test::Op::le && strict.value <= loose.value) ||
               (loose.op == Test::Op::ne && loose.value > strict.value);
    }
    if (strict.op == Test::Op::ge) {
        return (loose.op == Test::Op::ge && strict.value >= loose.value) ||
               (loose.op == Test::Op::ne && loose.value < strict.value);
    }
    if (strict.op == Test::Op::masked && loose.op == Test::Op::masked) {
        return (loose.mask & ~strict.mask) == 0 && (strict.value & loose.mask) == loose.value;
    }
    return strict.op == Test::Op::masked && loose.op == Test::Op::ne &&
           (loose.value & strict.mask) != strict.value;
}

// The values below, or from, a bound as a union of masked comparisons of `width` bits.
std::vector<Test> prefixes(const Test& test) {
    const unsigned width = test.half ? 32 : 64;
    const auto whole = test.half ? low_word : ~std::uint64_t{0};
    std::vector<Test> pieces;
    const auto add = [&](std::uint64_t mask, std::uint64_t value) {
        pieces.push_back({test.argument, Test::Op::masked, false, value & mask, mask});
    };
    switch (test.op) {
    case Test::Op::eq:
        add(whole, test.value);
        break;
    case Test::Op::masked:
        add(test.mask, test.value);
        break;
    case Test::Op::ne:
    case Test::Op::le:
    case Test::Op::ge:
        for (unsigned bit = width; bit-- > 0;) {
            const auto one = std::uint64_t{1} << bit;
            const auto mask = whole & ~(one - 1);
            const bool set = (test.value & one) != 0;
            if (test.op == Test::Op::ne || set == (test.op == Test::Op::le)) {
                add(mask, test.value ^ one);
            }
        }
        if (test.op != Test::Op::ne) {
            add(whole, test.value);
        }
        break;
    }
    return pieces;
}

} // namespace

bool Test::holds(std::uint64_t word) const {
    if (half) {
        word &= low_word;
    }
    switch (op) {
    case Op::eq:
        return word == value;
    case Op::ne:
        return word != value;
    case Op::le:
        return word <= value;
    case Op::ge:
        return word >= value;
    case Op::masked:
        break;
    }
    return (word & mask) == value;
}

bool Test::always() const {
    const auto whole = half ? low_word : ~std::uint64_t{0};
    switch (op) {
    case Op::eq:
        return false;
    case Op::ne:
        return value > whole;
    case Op::le:
        return value >= whole;
    case Op::ge:
        return value == 0;
    case Op::masked:
        break;
    }
    return mask == 0 && value == 0;
}

bool Test::never() const {
    const auto whole = half ? low_word : ~std::uint64_t{0};
    switch (op) {
    case Op::eq:
    case Op::ge:
        return value > whole;
    case Op::ne:
    case Op::le:
        return false;
    case Op::masked:
        break;
    }
    return (value & ~mask) != 0;
}

bool contradictory(const Tests& tests) {
    for (unsigned argument = 0; argument < 6; ++argument) {
        Known known;
        for (const auto& test : tests) {
            if (test.argument == argument) {
                if (test.never()) {
                    return true;
                }
                known.narrow(test);
            }
        }
        if (known.empty || std::any_of(tests.begin(), tests.end(), [&](const Test& test) {
                return test.argument == argument && known.refutes(test);
            })) {
            return true;
        }
    }
    return false;
}

Tests simplified(Tests tests) {
    // Bits that are compared one by one are compared together.
    for (std::size_t i = 0; i < tests.size(); ++i) {
        for (auto j = i + 1; j < tests.size() && tests[i].op == Test::Op::masked;) {
            const bool same = tests[j].op == Test::Op::masked && tests[j].argument == tests[i].argument &&
                              !tests[i].never() && !tests[j].never() &&
                              ((tests[i].value ^ tests[j].value) & tests[i].mask & tests[j].mask) == 0;
            if (same) {
                tests[i].mask |= tests[j].mask;
                tests[i].value |= tests[j].value;
                tests.erase(tests.begin() + static_cast<std::ptrdiff_t>(j));
            } else {
                ++j;
            }
        }
    }
    std::stable_sort(tests.begin(), tests.end(),
                     [](const Test& a, const Test& b) { return a.argument < b.argument; });
    Tests kept;
    for (std::size_t i = 0; i < tests.size(); ++i) {
        bool needed = !tests[i].always();
        for (std::size_t j = 0; j < tests.size() && needed; ++j) {
            // Of tests that imply each other the first stays.
            needed = i == j || !implies(tests[j], tests[i]) || (i < j && implies(tests[i], tests[j]));
        }
        if (needed) {
            kept.push_back(tests[i]);
        }
    }
    return kept;
}

std::vector<Tests> without(const Tests& from, const Tests& less) {
    Tests both = from;
    both.insert(both.end(), less.begin(), less.end());
    if (contradictory(both)) {
        return {from};
    }
    std::vector<Tests> sets;
    Tests before = from;
    for (const auto& test : less) {
        for (const auto& opposites : complement(test)) {
            Tests set = before;
            set.insert(set.end(), opposites.begin(), opposites.end());
            if (!contradictory(set)) {
                sets.push_back(simplified(std::move(set)));
            }
        }
        before.push_back(test);
    }
    return sets;
}

std::optional<std::vector<Tests>> one_test_each(const Tests& tests, std::size_t limit) {
    if (contradictory(tests)) {
        return std::vector<Tests>{};
    }
    std::vector<Tests> sets{Tests{}};
    for (unsigned argument = 0; argument < 6; ++argument) {
        Tests here;
        std::copy_if(tests.begin(), tests.end(), std::back_inserter(here),
                     [&](const Test& test) { return test.argument == argument; });
        here = simplified(std::move(here));
        if (here.empty()) {
            continue;
        }
        std::vector<Test> choices;
        if (here.size() == 1 && !here.front().half) {
            choices = here;
        } else {
            choices = prefixes(here.front());
            for (std::size_t i = 1; i < here.size(); ++i) {
                std::vector<Test> merged;
                for (const auto& left : choices) {
                    for (const auto& right : prefixes(here[i])) {
                        if (((left.value ^ right.value) & left.mask & right.mask) == 0) {
                            merged.push_back({argument, Test::Op::masked, false, left.value | right.value,
                                              left.mask | right.mask});
                        }
                    }
                }
                choices = std::move(merged);
                if (choices.size() > limit) {
                    return std::nullopt;
                }
            }
        }
        std::vector<Tests> product;
        for (const auto& set : sets) {
            for (const auto& choice : choices) {
                product.push_back(set);
                product.back().push_back(choice);
            }
        }
        sets = std::move(product);
        if (sets.size() > limit) {
            return std::nullopt;
        }
    }
    return sets;
}

std::vector<policy::Abi> Model::abis() const {
    std::vector<policy::Abi> all{policy::abi_of(arch)};
    all.insert(all.end(), also.begin(), also.end());
    return all;
}

Call& Model::call(std::string_view call_name) {
    const auto found =
        std::find_if(calls.begin(), calls.end(), [&](const Call& other) { return other.name == call_name; });
    if (found != calls.end()) {
        return *found;
    }
    calls.push_back({std::string{call_name}, {}});
    return calls.back();
}

bool exists(policy::Abi abi, std::string_view call) {
    return call.starts_with("syscall ") || policy::number_of(abi, call).has_value();
}

std::optional<bool> separate(Call& call, std::size_t limit) {
    bool overlapped = false;
    std::vector<Rule> result;
    for (const auto& rule : call.rules) {
        if (contradictory(rule.tests)) {
            continue;
        }
        std::vector<Tests> sets{simplified(rule.tests)};
        for (const auto& earlier : call.rules) {
            if (&earlier == &rule) {
                break;
            }
            if (earlier.action == rule.action || contradictory(earlier.tests)) {
                continue;
            }
            std::vector<Tests> rest;
            for (const auto& set : sets) {
                auto pieces = without(set, earlier.tests);
                overlapped = overlapped || pieces.size() != 1 || pieces.front() != set;
                rest.insert(rest.end(), pieces.begin(), pieces.end());
                if (rest.size() > limit) {
                    return std::nullopt;
                }
            }
            sets = std::move(rest);
        }
        for (auto& set : sets) {
            const bool repeats = std::any_of(result.begin(), result.end(), [&](const Rule& other) {
                return other.tests == set && other.action == rule.action;
            });
            if (!repeats) {
                result.push_back({rule.action, std::move(set), rule.reason, rule.line});
            }
        }
        if (result.size() > limit) {
            return std::nullopt;
        }
    }
    // An unconditional rule says what others of its action say again.
    for (const auto& rule : std::vector<Rule>{result}) {
        if (rule.tests.empty()) {
            std::erase_if(result, [&](const Rule& other) {
                return other.action == rule.action && !other.tests.empty();
            });
        }
    }
    call.rules = std::move(result);
    return overlapped;
}

} // namespace cloister::audit
