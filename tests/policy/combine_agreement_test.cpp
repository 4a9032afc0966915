// SPDX-License-Identifier: MIT
// The combined program: the interpreters of bytes and of text, and the proof, asked the same questions.
#include "combined_calls.h"

#include <random>

namespace cloister::policy {
namespace {

class AgreeCombined : public testing::TestWithParam<Arch> {
  public:
    bool agree(const seccomp_data& call) {
        const auto said = evaluate(combined, arch, addresses, call).action;
        allowed += said.kind == Action::Kind::allow ? 1 : 0;
        return run(program, call) == said.value();
    }
    [[nodiscard]] std::string shown(const seccomp_data& call) const {
        return describe(combined, addresses, call);
    }

    Arch arch = GetParam();
    Combined combined = shipped_together();
    Program program = compile(combined, arch, addresses).value();
    std::vector<seccomp_data> edges = calls_at_the_edges(combined, arch);
    std::vector<std::uint64_t> from = interesting_addresses(combined);
    std::size_t allowed = 0;
};
INSTANTIATE_TEST_SUITE_P(Each, AgreeCombined, testing::Values(Arch::x86_64, Arch::aarch64),
                         [](const auto& test) { return std::string{to_string(test.param)}; });

TEST_P(AgreeCombined, OnEveryRuleFromEveryCallSiteAndAroundIt) {
    for (const auto& edge : edges) {
        ASSERT_TRUE(agree(edge)) << shown(edge);
        ASSERT_EQ(evaluate(combined, arch, addresses, edge).action.kind, Action::Kind::allow) << shown(edge);
        for (const auto address : from) {
            auto call = edge;
            call.instruction_pointer = address;
            ASSERT_TRUE(agree(call)) << shown(call);
        }
        for (unsigned bit = 0; bit < 64; ++bit) {
            auto call = edge;
            call.instruction_pointer ^= std::uint64_t{1} << bit;
            ASSERT_TRUE(agree(call)) << shown(call);
            if (policy_at(combined, addresses, edge.instruction_pointer).at) {
                ASSERT_FALSE(policy_at(combined, addresses, call.instruction_pointer).at) << shown(call);
            }
        }
    }
}

TEST_P(AgreeCombined, OnEveryNumberOfEveryAbiFromEveryCallSiteAndAroundIt) {
    for (const auto abi : {audit_arch(Abi::x86_64), audit_arch(Abi::aarch64), audit_arch(Abi::i386), 0U}) {
        for (std::uint32_t number = 0; number < 512; ++number) {
            for (const auto bits : {0U, x32_bit, 0x80000000U}) {
                for (const auto address : from) {
                    const seccomp_data call{static_cast<int>(number | bits), abi, address, {}};
                    ASSERT_TRUE(agree(call)) << shown(call);
                }
            }
        }
    }
}

// Ten million over the two ABIs; each starts from a call that is allowed and changes a few things.
TEST_P(AgreeCombined, OnRandomCallsThatAreNearlyAllowed) {
    const std::size_t rounds = instrumented ? 100'000 : 5'000'000;
    std::mt19937_64 random{20241124};
    std::vector<std::uint64_t> values = {0, 1, ~std::uint64_t{0}, 0xffffffff, 0x100000000};
    for (const auto& edge : edges) {
        values.insert(values.end(), std::begin(edge.args), std::end(edge.args));
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
                argument += (roll >> 16U & 1U) != 0 ? 1 : ~std::uint64_t{0};
                break;
            case 2:
                argument = values[(roll >> 16U) % values.size()];
                break;
            case 3:
                call.nr = edges[(roll >> 16U) % edges.size()].nr;
                break;
            case 4:
                call.nr = static_cast<int>(roll >> 16U & 0x1ff);
                break;
            case 5:
                call.instruction_pointer = from[(roll >> 16U) % from.size()];
                break;
            case 6:
                call.instruction_pointer ^= std::uint64_t{1} << (roll >> 16U & 63U);
                break;
            default:
                call.instruction_pointer = random();
            }
        }
        ASSERT_TRUE(agree(call)) << shown(call);
    }
    EXPECT_GT(allowed, rounds / 10) << "the generator must meet what is allowed";
    EXPECT_LT(allowed, rounds * 9 / 10) << "and what is not";
}

// The proof, asked about single calls: a program that is right but for one call, out of 2^512, is refused,
// with that call for a witness; and one that says of it what the text says, is equal.
TEST_P(AgreeCombined, WithTheProofAboutSingleCalls) {
    auto prover = Prover::make(combined, arch, addresses);
    ASSERT_TRUE(prover);
    const auto with_exception = [&](const seccomp_data& call, std::uint32_t value) {
        std::array<std::uint32_t, 16> words{};
        std::memcpy(words.data(), &call, sizeof call);
        Program made;
        for (std::size_t w = 0; w < words.size(); ++w) {
            made.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(4 * w)));
            made.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, words.at(w), 0,
                                    static_cast<std::uint8_t>(2 * (words.size() - w) - 1)));
        }
        made.push_back(BPF_STMT(BPF_RET | BPF_K, value));
        made.insert(made.end(), program.begin(), program.end());
        return made;
    };
    std::mt19937_64 random{7};
    for (std::size_t i = 0; i < (instrumented ? 20U : 400U); ++i) {
        auto call = edges[i % edges.size()];
        const auto address = from[random() % from.size()];
        call.instruction_pointer = i < edges.size() ? call.instruction_pointer : address;
        const auto said = evaluate(combined, arch, addresses, call).action.value();
        EXPECT_FALSE(prover->difference(with_exception(call, said))) << shown(call);
        const auto other = said == SECCOMP_RET_ALLOW ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ALLOW;
        const auto witness = prover->difference(with_exception(call, other));
        ASSERT_TRUE(witness) << shown(call);
        EXPECT_EQ(std::memcmp(&witness->data, &call, sizeof call), 0) << shown(call);
    }
}

} // namespace
} // namespace cloister::policy
