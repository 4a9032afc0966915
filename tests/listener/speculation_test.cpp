// SPDX-License-Identifier: MIT
// On answers that a kernel may give, whatever this processor has.
#include "listener/speculation.h"

#include <cerrno>
#include <gtest/gtest.h>
#include <linux/prctl.h>

namespace cloister::listener {
namespace {

using control::SpeculationState;

int answer, answer_afterwards, result;
bool asked;

SpeculationState state_of(unsigned get, int afterwards, int set_result) {
    answer = static_cast<int>(get);
    answer_afterwards = afterwards;
    result = set_result;
    asked = false;
    const SpeculationCalls calls{[](unsigned long) { return asked ? answer_afterwards : answer; },
                                 [](unsigned long) {
                                     asked = true;
                                     errno = ENXIO;
                                     return result;
                                 }};
    const auto [store_bypass, indirect_branch] = limit_speculation(calls);
    EXPECT_EQ(store_bypass, asked ? SpeculationState::Disabled : indirect_branch);
    return store_bypass;
}

TEST(Speculation, IsTurnedOffForGoodWhereTheKernelLetsUs) {
    static int disabled;
    disabled = 0;
    const SpeculationCalls calls{[](unsigned long kind) {
                                     const bool is = (disabled >> kind & 1) != 0;
                                     return static_cast<int>(PR_SPEC_PRCTL |
                                                             (is ? PR_SPEC_FORCE_DISABLE : PR_SPEC_ENABLE));
                                 },
                                 [](unsigned long kind) {
                                     disabled |= 1 << kind;
                                     return 0;
                                 }};
    const auto state = limit_speculation(calls);
    EXPECT_EQ(state.store_bypass, SpeculationState::Disabled);
    EXPECT_EQ(state.indirect_branch, SpeculationState::Disabled);
    EXPECT_EQ(disabled, 1 << PR_SPEC_STORE_BYPASS | 1 << PR_SPEC_INDIRECT_BRANCH);
}

TEST(Speculation, IsLeftWhereThereIsNoControl) {
    EXPECT_EQ(state_of(PR_SPEC_NOT_AFFECTED, 0, 0), SpeculationState::NotAffected);
    EXPECT_EQ(state_of(PR_SPEC_ENABLE, 0, 0), SpeculationState::Vulnerable);
    EXPECT_EQ(state_of(PR_SPEC_DISABLE, 0, 0), SpeculationState::Disabled) << "for all processes";
    EXPECT_EQ(state_of(static_cast<unsigned>(-1), 0, 0), SpeculationState::Unknown) << "an old kernel";
    EXPECT_FALSE(asked);
}

TEST(Speculation, ThatCannotBeTurnedOffThoughTheKernelOffersItEndsTheListener) {
    constexpr unsigned offered = PR_SPEC_PRCTL | PR_SPEC_ENABLE;
    EXPECT_EXIT((void)state_of(offered, 0, -1), testing::ExitedWithCode(77),
                "cannot disable the speculative bypass of stores: prctl: ENXIO");
    EXPECT_EXIT((void)state_of(offered, offered, 0), testing::ExitedWithCode(70),
                "asked to disable the speculative bypass of stores, the kernel did not");
}

} // namespace
} // namespace cloister::listener
