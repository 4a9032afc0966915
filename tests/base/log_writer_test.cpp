// SPDX-License-Identifier: MIT
#include "base/log.h"

#include "base/fd.h"

#include <array>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <memory>
#include <string>
#include <unistd.h>

namespace cloister {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class LogWriter : public ::testing::Test {
  protected:
    LogWriter() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC), 0);
        reader = Fd{ends[0]};
        writer = Fd{ends[1]};
    }
    std::string read_all() {
        std::string text(1 << 20, '\0');
        const ssize_t n = ::read(reader.get(), text.data(), text.size());
        text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
        return text;
    }
    static std::unique_ptr<Log> log_to(int fd, bool priorities = false) {
        return std::make_unique<Log>(LogFormat::logfmt, priorities, fd, "test");
    }
    static void write(Log& log, EventName event, std::size_t filler = 0) {
        Record record = log.record(Level::info, event, 0);
        record.text("v", std::string(filler, 'x'));
        log.add(record, 0);
        log.flush(0);
    }

    Fd reader, writer;
};

TEST_F(LogWriter, LeadsEachLineWithItsPriority) {
    write(*log_to(writer.get(), true), "warning");
    EXPECT_THAT(read_all(), StartsWith("<6>ts="));
}

TEST_F(LogWriter, NeverWaitsForAFullPipeAndLogsHowManyWereDropped) {
    ::alarm(10); // fails instead of hanging
    const auto log = log_to(writer.get());
    for (int i = 0; i < 1000; ++i) {
        write(*log, "limit", 1500);
    }
    const auto dropped = log->dropped();
    EXPECT_GT(dropped, 900U);
    EXPECT_TRUE(log->pending());
    std::string text;
    for (int i = 0; i < 10; ++i) { // what the pipe held, then what the buffer did
        text += read_all();
        log->flush(0);
    }
    ::alarm(0);
    EXPECT_FALSE(log->pending());
    EXPECT_THAT(text,
                EndsWith(fmt::format("level=warning event=log_dropped process=test count={}\n", dropped)));
    EXPECT_EQ(log->dropped(), 0U);
    std::size_t lines = 0;
    for (std::size_t at = 0; (at = text.find("event=limit", at)) != std::string::npos; ++at) {
        ++lines;
    }
    EXPECT_EQ(lines + dropped, 1000U);
    write(*log, "ready");
    EXPECT_THAT(read_all(), Not(HasSubstr("log_dropped")));
}

TEST_F(LogWriter, CountsWhatALostReaderDoesNotGet) {
    ::signal(SIGPIPE, SIG_IGN);
    reader.reset();
    const auto broken = log_to(writer.get());
    write(*broken, "warning");
    EXPECT_EQ(broken->dropped(), 1U);
    const auto none = log_to(-1);
    write(*none, "warning");
    EXPECT_EQ(none->dropped(), 1U);
}

} // namespace
} // namespace cloister
