// SPDX-License-Identifier: MIT
#include "base/siphash.h"
#include "control/source.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>

namespace cloister::control {
namespace {

/// The vectors of the reference implementation (vectors.h): key 00 01 … 0f, input 00 01 ….
TEST(SipHash, GivesTheReferenceVectors) {
    const std::uint64_t key[2] = {0x0706050403020100U, 0x0f0e0d0c0b0a0908U};
    std::uint8_t input[16];
    for (std::uint8_t i = 0; i < sizeof input; ++i) {
        input[i] = i;
    }
    EXPECT_EQ(siphash(key, input, 0), 0x726fdb47dd0e0e31U);
    EXPECT_EQ(siphash(key, input, 1), 0x74f839c593dc67fdU);
    EXPECT_EQ(siphash(key, input, 8), 0x93f5f5799a932462U);
    EXPECT_EQ(siphash(key, input, 15), 0xa129ca6149be45e5U);
}

std::string printed(std::string_view text) {
    const auto source = parse_source(text);
    return source ? SourceText{*source}.text : "none";
}

TEST(Source, IsReadAndPrintedAlike) {
    for (const char* text : {"192.0.2.7", "192.0.2.0/24", "0.0.0.0/0", "10.0.0.0/8", "2001:db8::/32", "::/0",
                             "2001:db8::1", "uid:0", "uid:4294967295"}) {
        EXPECT_EQ(printed(text), text);
    }
    EXPECT_EQ(printed("192.0.2.7/32"), "192.0.2.7");
    EXPECT_EQ(printed("::ffff:192.0.2.7"), "192.0.2.7") << "a mapped address is one of IPv4";
    EXPECT_EQ(printed("::ffff:192.0.2.0/120"), "192.0.2.0/24");
}

TEST(Source, IsRefusedIfItIsNone) {
    for (const char* text : {"",
                             "/",
                             "/8",
                             "192.0.2.7/",
                             "192.0.2.7/33",
                             "192.0.2.7/-1",
                             "192.0.2.7/ 8",
                             "192.0.2.1/24",
                             "192.0.2",
                             "192.0.2.0.0",
                             "localhost",
                             "2001:db8::/129",
                             "2001:db8::1/64",
                             "::ffff:192.0.2.0/95",
                             "uid:",
                             "uid:-1",
                             "uid:4294967296",
                             "uid:0x0",
                             "uid:root",
                             "192.0.2.7/8/8",
                             "[::1]",
                             "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd"}) {
        EXPECT_EQ(printed(text), "none") << text;
    }
}

TEST(Source, CoversWhatBeginsAlike) {
    const auto covers_text = [](const char* range, const char* one) {
        return covers(*parse_source(range), *parse_source(one));
    };
    EXPECT_TRUE(covers_text("192.0.2.0/24", "192.0.2.255"));
    EXPECT_FALSE(covers_text("192.0.2.0/24", "192.0.3.0"));
    EXPECT_TRUE(covers_text("192.0.2.128/25", "192.0.2.129"));
    EXPECT_FALSE(covers_text("192.0.2.128/25", "192.0.2.127"));
    EXPECT_TRUE(covers_text("0.0.0.0/0", "203.0.113.9"));
    EXPECT_FALSE(covers_text("0.0.0.0/0", "::1")) << "another family";
    EXPECT_TRUE(covers_text("::/0", "2001:db8::1"));
    EXPECT_FALSE(covers_text("::/0", "::ffff:192.0.2.7"));
    EXPECT_TRUE(covers_text("2001:db8::/33", "2001:db8:7fff::1"));
    EXPECT_FALSE(covers_text("2001:db8::/33", "2001:db8:8000::1"));
    EXPECT_TRUE(covers_text("uid:7", "uid:7"));
    EXPECT_FALSE(covers_text("uid:7", "uid:8"));
    EXPECT_FALSE(covers_text("192.0.2.7", "192.0.2.0/24")) << "the range is wider";
}

TEST(Source, LosesTheBitsBehindItsPrefix) {
    const auto cut = [](const char* text, std::uint8_t bits) {
        return std::string{SourceText{with_prefix(*parse_source(text), bits)}.text};
    };
    EXPECT_EQ(cut("192.0.2.255", 24), "192.0.2.0/24");
    EXPECT_EQ(cut("192.0.2.255", 31), "192.0.2.254/31");
    EXPECT_EQ(cut("192.0.2.255", 0), "0.0.0.0/0");
    EXPECT_EQ(cut("192.0.2.255", 32), "192.0.2.255");
    EXPECT_EQ(cut("2001:db8:1:2:3:4:5:6", 64), "2001:db8:1:2::/64");
    EXPECT_EQ(cut("2001:db8:1:2:3:4:5:6", 127), "2001:db8:1:2:3:4:5:6/127");
    EXPECT_EQ(cut("uid:1000", 3), "uid:1000") << "a user is one";
}

} // namespace
} // namespace cloister::control
