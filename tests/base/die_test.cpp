// SPDX-License-Identifier: MIT
#include "base/die.h"

#include "base/fd.h"
#include "base/log.h"

#include <array>
#include <fcntl.h>
#include <functional>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

namespace cloister {
namespace {

TEST(FatalText, HasAStepAnErrorAndACure) {
    const auto parts = split_fatal("cannot open /x: ENOENT (No such file or directory); mount /proc; or not");
    EXPECT_EQ(parts.step, "cannot open /x");
    EXPECT_EQ(parts.error, "ENOENT");
    EXPECT_EQ(parts.cure, "mount /proc; or not");
}

TEST(FatalText, NeedsNeitherErrorNorCure) {
    EXPECT_EQ(split_fatal("bug: it: Everything").step, "bug: it: Everything");
    EXPECT_EQ(split_fatal("bug: it: Everything").error, "");
    EXPECT_EQ(split_fatal("too weak; be strong").step, "too weak");
    EXPECT_EQ(split_fatal("too weak; be strong").cure, "be strong");
    EXPECT_EQ(split_fatal("a: EIO (Input/output error)").cure, "");
    EXPECT_EQ(split_fatal("").step, "");
    EXPECT_EQ(split_fatal("x: E").error, "");
}

/// What a child writes into a pipe with O_NONBLOCK, and its exit code.
std::pair<std::string, int> child_writes(const std::function<void(int)>& work) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) != 0) {
        return {"no pipe", -1};
    }
    const Fd reader{ends[0]};
    Fd writer{ends[1]};
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::alarm(10);
        work(writer.get());
        ::_exit(0);
    }
    writer.reset();
    int status = 0;
    ::waitpid(pid, &status, 0);
    std::string text(1 << 20, '\0');
    const ssize_t size = ::read(reader.get(), text.data(), text.size());
    text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return {text, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status)};
}

TEST(Die, WritesOneLineOfTextBeforeThereIsALog) {
    const auto [text, code] = child_writes([](int fd) {
        ::dup2(fd, 2);
        die(ExitCode::SystemCall, "cannot do it: %d", 7);
    });
    EXPECT_EQ(text, "base_tests: cannot do it: 7\n");
    EXPECT_EQ(code, 71);
}

TEST(Die, WritesARecordAfterWhatTheLogStillHolds) {
    const auto [text, code] = child_writes([](int fd) {
        static Log log{LogFormat::json, false, fd, "listener"};
        log_fatal_errors_to(log);
        Record before = log.record(Level::warning, "warning", 0);
        log.add(before, 0);
        die(ExitCode::NotPermitted, "cannot \"do\" it: %s; ask root", error_text(EPERM));
    });
    EXPECT_EQ(code, 77);
    const auto end = text.find('\n');
    EXPECT_EQ(nlohmann::json::parse(text.substr(0, end))["event"], "warning");
    const auto fatal = nlohmann::json::parse(text.substr(end + 1));
    EXPECT_EQ(fatal["event"], "fatal");
    EXPECT_EQ(fatal["level"], "error");
    EXPECT_EQ(fatal["process"], "listener");
    EXPECT_EQ(fatal["exit"], 77);
    EXPECT_EQ(fatal["step"], "cannot \"do\" it");
    EXPECT_EQ(fatal["errno"], "EPERM");
    EXPECT_EQ(fatal["cure"], "ask root");
    EXPECT_EQ(fatal["message"], "cannot \"do\" it: EPERM (Operation not permitted); ask root");
}

TEST(Die, WaitsForASecondAtMostWhenNobodyReads) {
    const auto begin = std::chrono::steady_clock::now();
    const auto [text, code] = child_writes([](int fd) {
        const std::string filler(4096, 'x');
        while (::write(fd, filler.data(), filler.size()) > 0) {
        }
        static Log log{LogFormat::json, false, fd, "listener"};
        log_fatal_errors_to(log);
        bug("nobody reads this");
    });
    EXPECT_EQ(code, 70);
    EXPECT_EQ(text.find("nobody"), std::string::npos);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds{5});
}

} // namespace
} // namespace cloister
