// SPDX-License-Identifier: MIT
#include "supervisor/log.h"

#include <array>
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

namespace cloister::supervisor {
namespace {

using namespace std::chrono_literals;
using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr std::chrono::system_clock::time_point moment{1'700'000'000'042ms}; // 2023-11-14T22:13:20.042Z

std::string rendered(const Record& record, LogFormat format) {
    auto line = record.render(format, false, moment);
    return std::string{line.line()};
}

std::string value_in(LogFormat format, const std::string& value) {
    const auto line = rendered(Record{Level::info, "warning"}.add("v", value), format);
    return line.substr(line.find(format == LogFormat::json ? "\"v\":" : "v=", line.find("event")));
}
std::string json_of(const std::string& value) {
    return value_in(LogFormat::json, value);
}
std::string logfmt_of(const std::string& value) {
    return value_in(LogFormat::logfmt, value);
}

TEST(LogRecord, IsOneLineOfJson) {
    const auto line = rendered(Record{Level::info, "ready"}
                                   .add("pid", 42)
                                   .add("below", -1)
                                   .add("most", UINT64_MAX)
                                   .add("listen", Strings{"127.0.0.1:7007", "[::1]:7007"})
                                   .add("policy_sha256", StringMap{{"connection", "ab"}, {"listener", "cd"}})
                                   .add("limits", NumberMap{{"max_connections", 7}}),
                               LogFormat::json);
    EXPECT_EQ(line, R"({"ts":"2023-11-14T22:13:20.042Z","level":"info","event":"ready","pid":42,"below":-1,)"
                    R"("most":18446744073709551615,"listen":["127.0.0.1:7007","[::1]:7007"],)"
                    R"("policy_sha256":{"connection":"ab","listener":"cd"},"limits":{"max_connections":7}})"
                    "\n");
}

TEST(LogRecord, IsOneLineOfLogfmt) {
    const auto line = rendered(Record{Level::error, "violation"}
                                   .add("pid", 42)
                                   .add("peer", "127.0.0.1:5")
                                   .add("why", "bad system call")
                                   .add("listen", Strings{"a", "b"})
                                   .add("policy", StringMap{{"connection", "ab"}, {"listener", "c d"}})
                                   .add("limits", NumberMap{{"max_connections", 7}}),
                               LogFormat::logfmt);
    EXPECT_EQ(line, "ts=2023-11-14T22:13:20.042Z level=error event=violation pid=42 peer=127.0.0.1:5 "
                    "why=\"bad system call\" listen=a,b policy.connection=ab policy.listener=\"c d\" "
                    "limits.max_connections=7\n");
}

TEST(LogRecord, EscapesWhatWouldEndTheStringOrCommandATerminal) {
    EXPECT_EQ(json_of("a\"b\\c"), "\"v\":\"a\\\"b\\\\c\"}\n");
    EXPECT_EQ(json_of("\n\r\t\x01\x1b\x7f"), "\"v\":\"\\n\\r\\t\\u0001\\u001b\\u007f\"}\n");
    EXPECT_EQ(json_of(std::string{"\0", 1}), "\"v\":\"\\u0000\"}\n");
    EXPECT_EQ(json_of("\u009b"), "\"v\":\"\\u009b\"}\n");
}

TEST(LogRecord, KeepsUtf8AndReplacesWhatIsNone) {
    EXPECT_EQ(json_of("\u00a0\u00fc\u20ac\U0001f600"), "\"v\":\"\u00a0\u00fc\u20ac\U0001f600\"}\n");
    for (const char* bad : {"\x80", "\xff", "\xc0", "\xc3", "\xe2\x82", "\xf0\x9f\x98"}) {
        EXPECT_THAT(json_of(std::string{"a"} + bad + "z"), HasSubstr("\ufffd"))
            << testing::PrintToString(bad);
        EXPECT_THAT(json_of(std::string{"a"} + bad + "z"), EndsWith("z\"}\n"));
    }
    EXPECT_EQ(json_of("\xc0\x80"), "\"v\":\"\ufffd\ufffd\"}\n"); // overlong
    EXPECT_EQ(json_of("\xe0\x80\x80"), "\"v\":\"\ufffd\ufffd\ufffd\"}\n");
    EXPECT_EQ(json_of("\xf0\x80\x80\x80"), "\"v\":\"\ufffd\ufffd\ufffd\ufffd\"}\n");
    EXPECT_EQ(json_of("\xed\xa0\x80"), "\"v\":\"\ufffd\ufffd\ufffd\"}\n");           // surrogate
    EXPECT_EQ(json_of("\xf4\x90\x80\x80"), "\"v\":\"\ufffd\ufffd\ufffd\ufffd\"}\n"); // above U+10FFFF
}

TEST(LogRecord, IsJsonWhateverTheBytesAre) {
    for (int first = 0; first < 256; ++first) {
        for (int second = 0; second < 256; ++second) {
            const std::string value{static_cast<char>(first), static_cast<char>(second)};
            const auto line = rendered(Record{Level::info, "warning"}.add("v", value), LogFormat::json);
            ASSERT_TRUE(nlohmann::json::accept(line)) << testing::PrintToString(value);
            ASSERT_EQ(line.find('\n'), line.size() - 1);
        }
    }
}

TEST(LogRecord, QuotesInLogfmtOnlyWhereNeeded) {
    EXPECT_EQ(logfmt_of("plain/[::1]:7"), "v=plain/[::1]:7\n");
    EXPECT_EQ(logfmt_of("\u00fc"), "v=\u00fc\n");
    EXPECT_EQ(logfmt_of(""), "v=\"\"\n");
    EXPECT_EQ(logfmt_of("a b"), "v=\"a b\"\n");
    EXPECT_EQ(logfmt_of("a=b"), "v=\"a=b\"\n");
    EXPECT_EQ(logfmt_of("a\"b"), "v=\"a\\\"b\"\n");
    EXPECT_EQ(logfmt_of("a\nb"), "v=\"a\\nb\"\n");
    EXPECT_EQ(logfmt_of("a\xff"), "v=\"a\ufffd\"\n");
}

TEST(LogOutput, KnowsTheJournalByDeviceAndInode) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const Fd reader{ends[0]};
    const Fd writer{ends[1]};
    struct stat status {};
    ASSERT_EQ(::fstat(writer.get(), &status), 0);
    const auto stream = fmt::format("{}:{}", status.st_dev, status.st_ino);
    EXPECT_TRUE(is_journal(writer.get(), stream.c_str()));
    EXPECT_FALSE(is_journal(writer.get(), (stream + "1").c_str()));
    EXPECT_FALSE(is_journal(writer.get(), ""));
    EXPECT_FALSE(is_journal(writer.get(), nullptr));
    EXPECT_FALSE(is_journal(-1, stream.c_str()));
}

} // namespace
} // namespace cloister::supervisor
