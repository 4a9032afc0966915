// SPDX-License-Identifier: MIT
#include "audit/model.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <iterator>
#include <random>

namespace cloister::audit {
namespace {

using Condition = Test; // testing::Test has the name within a fixture

/// Random conditions over few values, so that they often meet, and the words on both sides of each value.
class Sets : public testing::Test {
  public:
    Condition condition() {
        Condition made;
        made.argument = static_cast<unsigned>(random_() % 2);
        made.op = static_cast<Condition::Op>(random_() % 5);
        made.half = random_() % 4 == 0;
        made.value = value();
        if (made.half) {
            made.value &= 0xffffffff;
        }
        if (made.op == Condition::Op::masked) {
            made.mask = value();
            made.value &= random_() % 8 == 0 ? ~std::uint64_t{0} : made.mask;
            made.half = false;
        }
        return made;
    }
    Tests tests(unsigned most) {
        Tests made;
        for (auto count = random_() % (most + 1); count > 0; --count) {
            made.push_back(condition());
        }
        return made;
    }
    std::uint64_t value() {
        static constexpr std::uint64_t values[] = {0,          1,           2,           3,     7,        8,
                                                   0xffffffff, 0x100000000, 0x100000007, ~0ULL, ~0ULL - 8};
        return values[random_() % std::size(values)];
    }
    static bool in(const Tests& tests, std::uint64_t first, std::uint64_t second) {
        return std::all_of(tests.begin(), tests.end(), [&](const Condition& test) {
            return test.holds(test.argument == 0 ? first : second);
        });
    }
    template <class Check>
    void each_call(const Check& check) {
        static const std::vector<std::uint64_t> words = {
            0,           1,           2,           3,           4,           6,
            7,           8,           9,           0xfffffffe,  0xffffffff,  0x100000000,
            0x100000001, 0x100000006, 0x100000007, 0x100000008, 0x1ffffffff, ~0ULL,
            ~0ULL - 1,   ~0ULL - 7,   ~0ULL - 8,   ~0ULL - 9,   0x700000000};
        for (const auto first : words) {
            for (const auto second : words) {
                check(first, second);
            }
        }
    }

  private:
    std::mt19937_64 random_{19};
};

TEST_F(Sets, DifferenceHasTheCallsOfTheFirstThatTheSecondLacks) {
    for (int round = 0; round < 1500; ++round) {
        const auto from = tests(3);
        const auto less = tests(3);
        const auto sets = without(from, less);
        each_call([&](std::uint64_t first, std::uint64_t second) {
            const auto count = std::count_if(sets.begin(), sets.end(),
                                             [&](const Tests& set) { return in(set, first, second); });
            ASSERT_EQ(count, in(from, first, second) && !in(less, first, second) ? 1 : 0)
                << "round " << round;
        });
        ASSERT_FALSE(HasFatalFailure());
    }
}

TEST_F(Sets, AContradictionHasNoCallAndASimplerSetHasTheSame) {
    int contradictions = 0;
    for (int round = 0; round < 3000; ++round) {
        const auto set = tests(4);
        const auto simple = simplified(set);
        const bool none = contradictory(set);
        contradictions += none ? 1 : 0;
        each_call([&](std::uint64_t first, std::uint64_t second) {
            ASSERT_EQ(in(set, first, second), in(simple, first, second)) << "round " << round;
            ASSERT_FALSE(none && in(set, first, second)) << "round " << round;
        });
        ASSERT_FALSE(HasFatalFailure());
    }
    EXPECT_GT(contradictions, 300);
}

TEST_F(Sets, OneTestForEachRegisterIsTheSameSet) {
    int done = 0;
    for (int round = 0; round < 1500; ++round) {
        const auto set = tests(3);
        const auto sets = one_test_each(set, 256);
        if (!sets) {
            continue;
        }
        ++done;
        for (const auto& one : *sets) {
            ASSERT_LE(std::count_if(one.begin(), one.end(),
                                    [](const Condition& test) { return test.argument == 0; }),
                      1);
            ASSERT_TRUE(
                std::none_of(one.begin(), one.end(), [](const Condition& test) { return test.half; }));
        }
        each_call([&](std::uint64_t first, std::uint64_t second) {
            const bool some = std::any_of(sets->begin(), sets->end(),
                                          [&](const Tests& one) { return in(one, first, second); });
            ASSERT_EQ(some, in(set, first, second)) << "round " << round;
        });
        ASSERT_FALSE(HasFatalFailure());
    }
    EXPECT_GT(done, 700);
}

TEST_F(Sets, SeparateRulesSayWhatTheFirstThatFitsSaid) {
    constexpr std::array<Action::Kind, 3> kinds = {Action::Kind::allow, Action::Kind::errno_code,
                                                   Action::Kind::log};
    for (int round = 0; round < 800; ++round) {
        Call call{"read", {}};
        for (const auto kind : kinds) {
            call.rules.push_back({{kind}, tests(2), "", 0});
        }
        auto separated = call;
        if (!separate(separated, 4000)) {
            continue;
        }
        each_call([&](std::uint64_t first, std::uint64_t second) {
            const auto fits = [&](const Rule& rule) { return in(rule.tests, first, second); };
            const auto wanted = std::find_if(call.rules.begin(), call.rules.end(), fits);
            for (const auto& rule : separated.rules) {
                ASSERT_FALSE(fits(rule) && (wanted == call.rules.end() || rule.action != wanted->action))
                    << "round " << round;
            }
            ASSERT_EQ(wanted != call.rules.end(),
                      std::any_of(separated.rules.begin(), separated.rules.end(), fits))
                << "round " << round;
        });
        ASSERT_FALSE(HasFatalFailure());
    }
}

} // namespace
} // namespace cloister::audit
