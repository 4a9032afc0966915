// SPDX-License-Identifier: MIT
#include "fixture.h"

#include <algorithm>
#include <set>

namespace cloister::policy {
namespace {

class Numbers : public testing::TestWithParam<Abi> {};

// libseccomp has tables of its own, made from the kernel's by other hands.
TEST_P(Numbers, AreThoseOfLibseccompWhereItKnowsTheCall) {
    const auto abi = GetParam();
    std::size_t compared = 0;
    std::set<std::uint32_t> seen;
    for (const auto name : all_names(abi)) {
        const auto number = number_of(abi, name);
        ASSERT_TRUE(number);
        EXPECT_TRUE(seen.insert(*number).second) << name << " shares a number";
        EXPECT_EQ(name_of(abi, *number), name);
        if (const auto other = libseccomp_number(abi, std::string{name})) {
            EXPECT_EQ(*number, *other) << name;
            ++compared;
        }
    }
    EXPECT_GT(compared, 300U);
}
INSTANTIATE_TEST_SUITE_P(Each, Numbers, testing::Values(Abi::x86_64, Abi::aarch64, Abi::i386, Abi::x32),
                         [](const auto& test) { return std::string{to_string(test.param)}; });

TEST(Names, AreSortedSoThatLookupFindsThem) {
    for (const auto abi : {Abi::x86_64, Abi::aarch64, Abi::i386, Abi::x32}) {
        const auto names = all_names(abi);
        EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
    }
}

TEST(Names, OfCallsThatNoFilterStopsAreKnown) {
    EXPECT_EQ(number_of(Abi::x86_64, "uretprobe"), 335U);
    EXPECT_EQ(number_of(Abi::x86_64, "uprobe"), 336U);
    EXPECT_FALSE(number_of(Abi::aarch64, "uprobe"));
}

TEST(Prototypes, AreOfCallsAndHaveAtMostSixArguments) {
    for (const auto name : all_prototypes()) {
        EXPECT_TRUE(number_of(Abi::x86_64, name)) << name;
        EXPECT_TRUE(number_of(Abi::aarch64, name)) << name;
        const auto* prototype = prototype_of(name);
        EXPECT_LE(prototype->parameters.size(), 6U) << name;
        for (const auto& parameter : prototype->parameters) {
            const std::set<std::string_view> types = {"int", "uint", "long", "size", "ptr"};
            EXPECT_EQ(types.count(parameter.type), 1U) << name << ' ' << parameter.name;
        }
    }
}

TEST(Prototypes, OfCloneSwapsItsLastTwoArgumentsOnAarch64) {
    const auto* clone = prototype_of("clone");
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(clone->index(i, Arch::aarch64), i);
    }
    EXPECT_EQ(clone->index(3, Arch::aarch64), 4U);
    EXPECT_EQ(clone->index(4, Arch::aarch64), 3U);
    EXPECT_EQ(clone->index(3, Arch::x86_64), 3U);
}

TEST(Constants, HaveUniqueNames) {
    auto names = all_constants();
    std::sort(names.begin(), names.end());
    EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
    EXPECT_EQ(constant_named("SO_RCVTIMEO_OLD"), 20U);
    EXPECT_EQ(constant_named("SO_SNDTIMEO_OLD"), 21U);
    EXPECT_EQ(constant_named("SOL_SOCKET"), 1U);
    EXPECT_EQ(constant_named("MSG_NOSIGNAL"), 0x4000U);
    EXPECT_FALSE(constant_named("O_DIRECTORY")) << "differs between the two ABIs";
}

} // namespace
} // namespace cloister::policy
