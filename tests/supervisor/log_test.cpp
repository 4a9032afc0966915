// SPDX-License-Identifier: MIT
#include "supervisor/log.h"

#include "child.h"

#include <array>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/stat.h>

namespace cloister::supervisor {
namespace {

using namespace std::chrono_literals;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::chrono::system_clock::time_point moment{1'700'000'000'042ms}; // 2023-11-14T22:13:20.042Z

std::string value_in(LogFormat format, const std::string& value) {
    const auto line = Record{Level::info, "e"}.add("v", value).render(format, moment);
    return line.substr(line.find(format == LogFormat::json ? "\"v\":" : "v=", line.find("event")));
}
std::string json_of(const std::string& value) {
    return value_in(LogFormat::json, value);
}
std::string logfmt_of(const std::string& value) {
    return value_in(LogFormat::logfmt, value);
}

TEST(LogRecord, IsOneLineOfJson) {
    const auto line = Record{Level::info, "ready"}
                          .add("pid", 42)
                          .add("below", -1)
                          .add("most", UINT64_MAX)
                          .add("listen", Strings{"127.0.0.1:7007", "[::1]:7007"})
                          .add("policy_sha256", StringMap{{"connection", "ab"}, {"listener", "cd"}})
                          .add("limits", NumberMap{{"max_connections", 7}})
                          .render(LogFormat::json, moment);
    EXPECT_EQ(line, R"({"ts":"2023-11-14T22:13:20.042Z","level":"info","event":"ready","pid":42,"below":-1,)"
                    R"("most":18446744073709551615,"listen":["127.0.0.1:7007","[::1]:7007"],)"
                    R"("policy_sha256":{"connection":"ab","listener":"cd"},"limits":{"max_connections":7}})"
                    "\n");
}

TEST(LogRecord, IsOneLineOfLogfmt) {
    const auto line = Record{Level::error, "violation"}
                          .add("pid", 42)
                          .add("peer", "127.0.0.1:5")
                          .add("why", "bad system call")
                          .add("listen", Strings{"a", "b"})
                          .add("policy", StringMap{{"connection", "ab"}, {"listener", "c d"}})
                          .add("limits", NumberMap{{"max_connections", 7}})
                          .render(LogFormat::logfmt, moment);
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
            const auto line = Record{Level::info, "e"}.add("v", value).render(LogFormat::json, moment);
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

TEST(LogRecord, HasAtMost4096BytesAndSaysThatItWasCut) {
    for (const auto format : {LogFormat::json, LogFormat::logfmt}) {
        for (const auto& value :
             {std::string(100'000, 'x'), std::string(5000, '\x01'), std::string(4090, '\xff')}) {
            const auto line = Record{Level::info, "e"}
                                  .add("a", value)
                                  .add("list", Strings(300, value))
                                  .add("map", StringMap{{"k", value}})
                                  .add("last", 1)
                                  .render(format, moment);
            EXPECT_LE(line.size(), 4092U); // with room for "\n<6>"
            EXPECT_THAT(line, HasSubstr("truncated"));
            EXPECT_THAT(line, HasSubstr("last"));
            EXPECT_TRUE(format == LogFormat::logfmt || nlohmann::json::accept(line)) << line;
        }
    }
}

TEST(LogRecord, DropsFieldsWhenCuttingValuesIsNotEnough) {
    Record record{Level::info, "e"};
    for (int i = 0; i < 1000; ++i) {
        record.add("field", i);
    }
    const auto line = record.render(LogFormat::logfmt, moment);
    EXPECT_LE(line.size(), 4092U);
    EXPECT_THAT(line, EndsWith("truncated=true\n"));
}

TEST(LogRecord, IsNotCutWithinACharacter) {
    for (size_t shift = 0; shift < 4; ++shift) {
        std::string value(shift, 'x');
        for (int i = 0; i < 4000; ++i) {
            value += "\u20ac";
        }
        EXPECT_THAT(json_of(value), ::testing::Not(HasSubstr("\ufffd")));
    }
}

TEST(LogRecord, IsWholeWhenItJustFits) {
    const auto empty = Record{Level::info, "e"}.add("v", "").render(LogFormat::json, moment).size();
    const auto fits =
        Record{Level::info, "e"}.add("v", std::string(4092 - empty, 'x')).render(LogFormat::json, moment);
    EXPECT_EQ(fits.size(), 4092U);
    EXPECT_THAT(fits, ::testing::Not(HasSubstr("truncated")));
    const auto longer =
        Record{Level::info, "e"}.add("v", std::string(4093 - empty, 'x')).render(LogFormat::json, moment);
    EXPECT_LE(longer.size(), 4092U);
}

class LogOutput : public ::testing::Test {
  protected:
    LogOutput() {
        EXPECT_EQ(::pipe2(ends_.data(), O_NONBLOCK), 0);
        reader = Fd{ends_[0]};
        writer = Fd{ends_[1]};
    }
    std::string read_all() {
        std::string text(1 << 20, '\0');
        const ssize_t n = ::read(reader.get(), text.data(), text.size());
        text.resize(n > 0 ? static_cast<size_t>(n) : 0);
        return text;
    }
    static void make_blocking(int fd) { ASSERT_EQ(::fcntl(fd, F_SETFL, 0), 0); }

    Fd reader, writer;

  private:
    std::array<int, 2> ends_{};
};

TEST_F(LogOutput, LeadsEachLineWithItsPriorityForTheJournal) {
    Log log{LogFormat::logfmt, std::move(writer), true};
    log.write(Record{Level::error, "bad"});
    EXPECT_THAT(read_all(), StartsWith("<3>ts="));
}

TEST_F(LogOutput, NeverBlocksOnAFullPipeAndCountsWhatIsDropped) {
    make_blocking(writer.get()); // the worst case: stderr could not be opened anew
    ::alarm(10);                 // fails instead of hanging
    Log log{LogFormat::logfmt, std::move(writer), false};
    const Record record = Record{Level::info, "filler"}.add("v", std::string(3000, 'x'));
    for (int i = 0; i < 1000; ++i) {
        log.write(record);
    }
    const auto dropped = log.dropped();
    EXPECT_GT(dropped, 900U);
    read_all();
    log.write(Record{Level::info, "again"});
    ::alarm(0);
    const auto text = read_all();
    EXPECT_THAT(text, HasSubstr("event=again\n"));
    EXPECT_THAT(text, EndsWith(fmt::format("level=warning event=log_dropped count={}\n", dropped)));
    EXPECT_EQ(log.dropped(), 0U);
    log.write(Record{Level::info, "once"});
    EXPECT_THAT(read_all(), ::testing::Not(HasSubstr("log_dropped")));
}

TEST_F(LogOutput, SurvivesAFullDeviceAndALostReader) {
    Log full{LogFormat::json, Fd{::open("/dev/full", O_WRONLY)}, false};
    full.write(Record{Level::info, "e"});
    EXPECT_EQ(full.dropped(), 1U);

    ::signal(SIGPIPE, SIG_IGN);
    reader.reset();
    Log broken{LogFormat::json, std::move(writer), false};
    broken.write(Record{Level::info, "e"});
    EXPECT_EQ(broken.dropped(), 1U);
    Log none{LogFormat::json, Fd{}, false};
    none.write(Record{Level::info, "e"});
    EXPECT_EQ(none.dropped(), 1U);
}

TEST_F(LogOutput, OpensStderrAnewSoThatOthersStayBlocking) {
    make_blocking(writer.get());
    const auto report = test::in_child([&] {
        ::dup2(writer.get(), STDERR_FILENO);
        const Fd log = open_log_without_blocking();
        const bool ours = (::fcntl(log.get(), F_GETFL) & O_NONBLOCK) != 0;
        const bool theirs = (::fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK) != 0;
        const bool kept = (::fcntl(log.get(), F_GETFD) & FD_CLOEXEC) != 0 && log.get() > 2;
        return fmt::format("{} {} {}", ours, theirs, kept);
    });
    EXPECT_EQ(report, "true false true");
}

TEST_F(LogOutput, FallsBackToADuplicateWhereStderrIsASocket) {
    std::array<int, 2> pair{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()), 0);
    const Fd near{pair[0]};
    const Fd far{pair[1]};
    const auto report = test::in_child([&] {
        ::dup2(far.get(), STDERR_FILENO);
        Log log{LogFormat::logfmt, open_log_without_blocking(), false};
        for (int i = 0; i < 1000; ++i) { // more than the socket holds
            log.write(Record{Level::info, "e"}.add("v", std::string(3000, 'x')));
        }
        return std::string{log.dropped() > 0 ? "dropped" : "all through"};
    });
    EXPECT_EQ(report, "dropped");
}

TEST_F(LogOutput, KnowsTheJournalByDeviceAndInode) {
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
