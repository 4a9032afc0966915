// SPDX-License-Identifier: MIT
//
// The records of the supervisor and those of the listener write a text alike: a name in `ready` is found by
// the same bytes in `connection`.
#include "base/record.h"
#include "base/text.h"

#include "supervisor/log.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace cloister {
namespace {

using namespace std::string_literals;

/// What stands after `v=` or `"v":`.
std::string value_in(std::string_view line, bool json) {
    line.remove_prefix(line.find(json ? "\"v\":" : " v=") + (json ? 4 : 3));
    line.remove_suffix(json ? 2 : 1); // `}` and the newline
    return std::string{line};
}

std::string of_supervisor(const std::string& text, bool json) {
    const auto format = json ? LogFormat::json : LogFormat::logfmt;
    auto record = supervisor::Record{Level::info, "warning"}.add("v", text).render(format, false, {});
    return value_in(record.line(), json);
}

std::string of_listener(const std::string& text, bool json) {
    Record record{json ? LogFormat::json : LogFormat::logfmt, false, Level::info, "warning", 0};
    return value_in(record.text("v", text).line(), json);
}

struct Shown {
    std::string text;
    std::string escaped; ///< between quotes
    bool bare;           ///< in logfmt
};

const Shown table[] = {
    {"unix:/run/x", "unix:/run/x", true},
    {"", "", false},
    {"\u00e9", "\u00e9", true},
    {"unix:/tmp/caf\u00e9", "unix:/tmp/caf\u00e9", true},
    {"\u20ac\U0001f600", "\u20ac\U0001f600", true},
    {"\u00a0\U0010ffff", "\u00a0\U0010ffff", true},
    {"\xc0\x80", "\ufffd\ufffd", false},                                               // overlong
    {"\xe0\x80\x80", "\ufffd\ufffd\ufffd", false},                                     // overlong
    {"\xf0\x80\x80\x80", "\ufffd\ufffd\ufffd\ufffd", false},                           // overlong
    {"\xed\xa0\x80", "\ufffd\ufffd\ufffd", false},                                     // a surrogate
    {"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd", false},                           // above U+10FFFF
    {"a\xc3z\xe2\x82z\xf0\x9f\x98", "a\ufffdz\ufffd\ufffdz\ufffd\ufffd\ufffd", false}, // cut sequences
    {"\x80\xbf\xfe\xff", "\ufffd\ufffd\ufffd\ufffd", false}, // no sequence starts so
    {"\x7f", "\\u007f", false},
    {"\xc2\x80\xc2\x9b\xc2\x9f", "\\u0080\\u009b\\u009f", false}, // C1: U+009B starts a terminal's command
    {"\x01\x1b[31m", "\\u0001\\u001b[31m", false},
    {"\n\r\t", "\\n\\r\\t", false},
    {"\"\\", "\\\"\\\\", false},
    {"a b", "a b", false},
    {"a=b", "a=b", false},
    {"'~/", "'~/", true},
    {"unix:@a\0b\0"s, "unix:@a\\u0000b\\u0000", false},
};

TEST(Text, IsWrittenAlikeBySupervisorAndListener) {
    for (const auto& [text, escaped, bare] : table) {
        const auto quoted = '"' + escaped + '"';
        EXPECT_EQ(of_supervisor(text, true), quoted);
        EXPECT_EQ(of_listener(text, true), quoted);
        EXPECT_EQ(of_supervisor(text, false), bare ? escaped : quoted);
        EXPECT_EQ(of_listener(text, false), bare ? escaped : quoted);
    }
}

TEST(Text, OfAnyTwoBytesIsWrittenAlikeAndIsJson) {
    for (int first = 0; first < 256; ++first) {
        for (int second = 0; second < 256; ++second) {
            const std::string text{static_cast<char>(first), static_cast<char>(second)};
            ASSERT_EQ(of_listener(text, true), of_supervisor(text, true)) << testing::PrintToString(text);
            ASSERT_EQ(of_listener(text, false), of_supervisor(text, false)) << testing::PrintToString(text);
            ASSERT_TRUE(nlohmann::json::accept(of_listener(text, true))) << testing::PrintToString(text);
        }
    }
}

} // namespace
} // namespace cloister
