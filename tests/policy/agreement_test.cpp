// SPDX-License-Identifier: MIT
// Two interpreters, of bytes and of text, and the proof: three answers to one question.
#include "fixture.h"

#include <random>

namespace cloister::policy {
namespace {

constexpr std::uint64_t high_half = 0x100000000;

struct Shipped {
    const char* name;
    Arch arch;
};

class Agree : public testing::TestWithParam<Shipped> {
  public:
    // True if bytes and text agree; counts what was allowed, so that agreement on nothing but death shows.
    bool agree(const seccomp_data& call) {
        const auto said = evaluate(policy, arch, addresses, call).action;
        allowed += said.kind == Action::Kind::allow ? 1 : 0;
        return run(program, call) == said.value();
    }

    // The arguments that meet each condition of the rule, as near to its edge as can be.
    [[nodiscard]] seccomp_data call_of(const Rule& rule) const {
        seccomp_data call{};
        call.arch = audit_arch(abi_of(arch));
        call.nr = static_cast<int>(number_of(abi_of(arch), rule.prototype->name).value());
        for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
            call.args[rule.prototype->index(i, arch)] = value_of(rule.conditions[i].operand);
        }
        return call;
    }
    [[nodiscard]] std::uint64_t value_of(const Operand& operand) const {
        return operand.param ? addresses.at(policy.params.at(*operand.param).name) : operand.value;
    }
    [[nodiscard]] static std::vector<std::uint64_t> around(std::uint64_t v) {
        return {v,
                v - 1,
                v + 1,
                v | high_half,
                v ^ high_half,
                v | 0x8000000000000000,
                ~std::uint64_t{0},
                0,
                1,
                0xffffffff,
                v << 32U,
                ~v,
                v ^ 0x80000000};
    }

    Policy policy = shipped(GetParam().name);
    Arch arch = GetParam().arch;
    Program program = compile(policy, arch, addresses).value();
    std::size_t allowed = 0;
};
INSTANTIATE_TEST_SUITE_P(Each, Agree,
                         testing::Values(Shipped{"echo", Arch::x86_64}, Shipped{"echo", Arch::aarch64},
                                         Shipped{"discard", Arch::x86_64}, Shipped{"discard", Arch::aarch64},
                                         Shipped{"daytime", Arch::x86_64}, Shipped{"daytime", Arch::aarch64},
                                         Shipped{"static", Arch::x86_64}, Shipped{"static", Arch::aarch64},
                                         Shipped{"metrics", Arch::x86_64}, Shipped{"metrics", Arch::aarch64},
                                         Shipped{"listener", Arch::x86_64},
                                         Shipped{"listener", Arch::aarch64}, Shipped{"setup", Arch::x86_64},
                                         Shipped{"setup", Arch::aarch64}, Shipped{"clone", Arch::x86_64},
                                         Shipped{"clone", Arch::aarch64}),
                         [](const auto& test) {
                             return fmt::format("{}_{}", test.param.name, to_string(test.param.arch));
                         });

TEST_P(Agree, OnEveryRuleAtItsBoundaries) {
    for (const auto& rule : policy.rules) {
        const auto call = call_of(rule);
        ASSERT_TRUE(agree(call)) << describe(call);
        ASSERT_EQ(evaluate(policy, arch, addresses, call).action.kind, Action::Kind::allow) << describe(call);
    }
    EXPECT_EQ(allowed, policy.rules.size());
}

TEST_P(Agree, OnEveryArgumentAtItsBoundaries) {
    for (const auto& rule : policy.rules) {
        for (std::size_t a = 0; a < 6; ++a) {
            for (std::size_t b = 0; b < 6; ++b) {
                const auto edge = call_of(rule);
                for (const auto va : around(edge.args[a])) {
                    for (const auto vb : around(edge.args[b])) {
                        auto call = edge;
                        call.args[a] = va;
                        call.args[b] = vb;
                        ASSERT_TRUE(agree(call)) << describe(call);
                    }
                }
            }
        }
    }
}

TEST_P(Agree, OnEveryNumberOfEveryAbi) {
    for (const auto abi :
         {audit_arch(Abi::x86_64), audit_arch(Abi::aarch64), audit_arch(Abi::i386), 0U, ~0U}) {
        for (std::uint32_t number = 0; number < 1024; ++number) {
            for (const auto bits : {0U, x32_bit, 0x80000000U, ~0U << 10U, 0xffffU << 10U}) {
                for (const auto fill : {std::uint64_t{0}, ~std::uint64_t{0}, addresses.at("buffer")}) {
                    seccomp_data call{
                        static_cast<int>(number | bits), abi, fill, {fill, fill, fill, fill, fill, fill}};
                    ASSERT_TRUE(agree(call)) << describe(call);
                }
            }
        }
        for (const auto number : {-1, -2, INT32_MIN, INT32_MAX}) {
            seccomp_data call{number, abi, 0, {}};
            ASSERT_TRUE(agree(call)) << describe(call);
        }
    }
}

TEST_P(Agree, OnNoNumberButItsOwnWhateverTheRule) {
    for (const auto& rule : policy.rules) {
        const auto edge = call_of(rule);
        for (unsigned bit = 0; bit < 32; ++bit) {
            auto call = edge;
            call.nr = static_cast<int>(static_cast<std::uint32_t>(edge.nr) ^ 1U << bit);
            ASSERT_TRUE(agree(call)) << describe(call);
            call = edge;
            call.arch ^= 1U << bit;
            ASSERT_TRUE(agree(call)) << describe(call);
            ASSERT_EQ(evaluate(policy, arch, addresses, call).action, policy.otherwise);
        }
    }
}

// Ten million over the eight programs; each starts from a call that is allowed and changes a few things.
TEST_P(Agree, OnRandomCallsThatAreNearlyAllowed) {
    const std::size_t rounds = instrumented ? 25'000 : 1'250'000;
    std::mt19937_64 random{20240607};
    std::vector<seccomp_data> edges;
    std::vector<std::uint64_t> values = {0, 1, ~std::uint64_t{0}, 0xffffffff, high_half};
    for (const auto& rule : policy.rules) {
        edges.push_back(call_of(rule));
        for (const auto v : edges.back().args) {
            values.push_back(v);
        }
    }
    for (std::size_t i = 0; i < rounds; ++i) {
        const auto dice = random();
        auto call = edges[dice % edges.size()];
        for (unsigned changes = dice >> 32U & 3U; changes > 0; --changes) {
            const auto roll = random();
            auto& argument = call.args[roll % 6];
            switch (roll >> 8U & 7U) {
            case 0:
                argument ^= std::uint64_t{1} << (roll >> 16U & 63U);
                break;
            case 1:
                ++argument;
                break;
            case 2:
                --argument;
                break;
            case 3:
                argument = random();
                break;
            case 4:
                argument = roll >> 16U & 0xff;
                break;
            case 5:
                call.nr = static_cast<int>(roll >> 16U & 0x1ff);
                break;
            case 6:
                call.instruction_pointer = roll;
                break;
            default:
                argument = values[(roll >> 16U) % values.size()];
            }
        }
        ASSERT_TRUE(agree(call)) << describe(call);
    }
    EXPECT_GT(allowed, rounds / 10) << "the generator must meet what is allowed";
    EXPECT_LT(allowed, rounds * 9 / 10) << "and what is not";
}

// The proof's own reading of the text, asked about single calls.
TEST_P(Agree, WithTheProofAboutSingleCalls) {
    for (const auto& rule : policy.rules) {
        const auto edge = call_of(rule);
        for (std::size_t a = 0; a < rule.conditions.size(); ++a) {
            const auto index = rule.prototype->index(a, arch);
            for (const auto value : around(edge.args[index])) {
                auto call = edge;
                call.args[index] = value;
                Pattern pattern;
                pattern.name = rule.prototype->name;
                pattern.prototype = rule.prototype;
                for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
                    pattern.arguments.push_back(Operand{call.args[rule.prototype->index(i, arch)], {}, {}});
                }
                if (instrumented && value != edge.args[index]) {
                    continue;
                }
                const auto found = examples(policy, pattern, arch, addresses);
                ASSERT_TRUE(found);
                const bool says = evaluate(policy, arch, addresses, call).action.kind == Action::Kind::allow;
                EXPECT_EQ(found->allowed.has_value(), says) << describe(call);
                EXPECT_EQ(found->refused.has_value(), !says) << describe(call);
            }
        }
    }
}

} // namespace
} // namespace cloister::policy
