// SPDX-License-Identifier: MIT
#include "base/record.h"

#include <gmock/gmock.h>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace cloister {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::int64_t some_time = 1'700'000'000'123'456'789; // 2023-11-14T22:13:20.123Z

TEST(Record, IsOneLineOfJson) {
    Record record{LogFormat::json, false, Level::info, "warning", some_time};
    record.text("quoted", "a\"b\\c\n\x01\xff")
        .number("negative", -9'223'372'036'854'775'807 - 1)
        .number("most", UINT64_MAX)
        .none("nothing")
        .list("list", std::vector<std::string>{"a", "b,\""})
        .list("empty", std::vector<std::string>{})
        .map("map", std::map<std::string, unsigned>{{"one", 1}, {"t\"wo", 2}});
    EXPECT_EQ(record.line(), "{\"ts\":\"2023-11-14T22:13:20.123Z\",\"level\":\"info\",\"event\":\"warning\","
                             "\"quoted\":\"a\\\"b\\\\c\\n\\u0001\ufffd\",\"negative\":-9223372036854775808,"
                             "\"most\":18446744073709551615,\"nothing\":null,\"list\":[\"a\",\"b,\\\"\"],"
                             "\"empty\":[],\"map\":{\"one\":1,\"t\\\"wo\":2}}\n");
}

TEST(Record, IsOneLineOfLogfmt) {
    Record record{LogFormat::logfmt, true, Level::error, "warning", some_time};
    record.text("plain", "x>")
        .text("brace", "{")
        .text("spaced", "a b")
        .text("empty", "")
        .none("nothing")
        .number("n", 0)
        .list("list", std::vector<std::string>{"a", "b"})
        .list("spaces", std::vector<std::string>{"a", "b c"})
        .list("none", std::vector<std::string>{})
        .map("map", std::map<std::string, std::string>{{"one", "1"}, {"two", "2 3"}});
    EXPECT_EQ(record.line(),
              "<3>ts=2023-11-14T22:13:20.123Z level=error event=warning plain=x> brace={ spaced=\"a b\" "
              "empty=\"\" n=0 list=a,b spaces=\"a,b c\" none=\"\" map.one=1 map.two=\"2 3\"\n");
}

TEST(Record, CutsWhatIsTooLongSaysSoAndHasRoomForWhatFollows) {
    for (const auto format : {LogFormat::json, LogFormat::logfmt}) {
        for (const auto& value :
             {std::string(100'000, 'x'), std::string(5000, '\x01'), std::string(4090, '\xff')}) {
            Record record{format, true, Level::info, "warning", some_time};
            record.text("long", value)
                .list("list", std::vector<std::string>(300, value))
                .map("map", std::map<std::string, std::string>{{"k", value}})
                .number("last", 1);
            const std::string line{record.line()};
            EXPECT_LE(line.size(), Record::capacity);
            EXPECT_THAT(line, HasSubstr("last"));
            EXPECT_THAT(line, HasSubstr("\u2026"));
            EXPECT_THAT(line, HasSubstr("truncated"));
            EXPECT_EQ(line.find('\n'), line.size() - 1);
            EXPECT_TRUE(format == LogFormat::logfmt || nlohmann::json::accept(line.substr(3))) << line;
        }
    }
}

TEST(Record, LeavesOutFieldsWhenThereIsNoRoomAtAllAndEndsWell) {
    for (const auto format : {LogFormat::json, LogFormat::logfmt}) {
        Record record{format, false, Level::debug, "warning", some_time};
        for (int i = 0; i < 1000; ++i) {
            record.number("field", i).text("t", "value");
        }
        const std::string line{record.line()};
        EXPECT_LE(line.size(), Record::capacity);
        EXPECT_THAT(line,
                    EndsWith(format == LogFormat::json ? ",\"truncated\":true}\n" : " truncated=true\n"));
        EXPECT_TRUE(format == LogFormat::logfmt || nlohmann::json::accept(line)) << line;
    }
}

TEST(Record, IsNotCutWithinACharacter) {
    for (std::size_t shift = 0; shift < 4; ++shift) {
        std::string value(shift, 'x');
        for (int i = 0; i < 4000; ++i) {
            value += "\u20ac";
        }
        Record record{LogFormat::json, false, Level::info, "warning", some_time};
        record.text("v", value);
        EXPECT_THAT(std::string{record.line()}, Not(HasSubstr("\ufffd")));
    }
}

TEST(Record, KeepsATextWholeThatTakesHalfOfTheRoomAndCutsALongerOne) {
    Record empty{LogFormat::json, false, Level::info, "warning", some_time};
    empty.text("v", "");
    const auto used = empty.line().size() - 3; // `"}\n` follows
    const auto room = Record::capacity - used - std::string_view{",\"truncated\":true}\n"}.size();
    for (const std::size_t more : {0U, 1U}) {
        Record record{LogFormat::json, false, Level::info, "warning", some_time};
        record.text("v", std::string(room / 2 + more, 'x'));
        const std::string line{record.line()};
        EXPECT_EQ(line.find("truncated") != std::string::npos, more != 0) << line;
        EXPECT_TRUE(nlohmann::json::accept(line));
    }
}

} // namespace
} // namespace cloister
