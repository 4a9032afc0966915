// SPDX-License-Identifier: MIT
// A listener that starts, in wrong hands or out of order: cloisterd says so and ends, or ends as it is told
// to.
#include "harness.h"

#include <csignal>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <regex>

namespace cloister::live {
namespace {

/// What tests/hostile/listener.cpp does, and how cloisterd must end of it.
struct Misbehaviour {
    const char* name;
    int exit_code;
    const char* said; ///< a regular expression for stderr
};

void PrintTo(const Misbehaviour& misbehaviour, std::ostream* out) {
    *out << misbehaviour.name;
}

Setup setup_of(const TemporaryDirectory& directory, const std::string& misbehaviour) {
    return {.program = "../tests/hostile/start/cloisterd",
            .listen = {"unix:" + directory.file(misbehaviour)},
            .options = {"--policy-dir=" CLOISTER_POLICY_SOURCE},
            .await_ready = false};
}

class BadStart : public testing::TestWithParam<Misbehaviour> {};

TEST_P(BadStart, ThatGoesWrongIsGivenUpAtOnce) {
    const TemporaryDirectory directory;
    Daemon daemon{setup_of(directory, GetParam().name)};
    EXPECT_EQ(daemon.ends_within(5s), GetParam().exit_code) << daemon.log();
    EXPECT_TRUE(std::regex_search(daemon.log(), std::regex{GetParam().said})) << daemon.log();
    EXPECT_EQ(daemon.log().find("\"ready\""), std::string::npos) << daemon.log();
}

const char* const out_of_order = "listener, process [0-9]+, sent what it should not";
const char* const killed = "listener, process [0-9]+, was killed, or had closed its socket";

INSTANTIATE_TEST_SUITE_P(
    Misbehaviour, BadStart,
    testing::Values(
        Misbehaviour{"closes-its-socket", 70, killed}, Misbehaviour{"says-hello-and-closes", 70, killed},
        Misbehaviour{"sends-nothing-at-all", 70, killed},
        Misbehaviour{"ends", 70, "could not confine itself: exit code 0"},
        Misbehaviour{"ends-with-1", 70, "could not confine itself: exit code 1"},
        Misbehaviour{"ends-with-77", 77, "could not confine itself: exit code 77"},
        Misbehaviour{"leaves-a-child-behind", 77, "could not confine itself: exit code 77"},
        Misbehaviour{"says-hello-twice", 70, out_of_order}, Misbehaviour{"is-armed-twice", 70, out_of_order},
        Misbehaviour{"crashes", 70, "ended with signal 6 while it started"},
        Misbehaviour{"sends-too-much", 70, out_of_order}, Misbehaviour{"sends-too-little", 70, out_of_order},
        Misbehaviour{"sends-nonsense", 70, out_of_order},
        Misbehaviour{"is-of-another-version", 78,
                     "handler echo is of version 9.1.0 .*, cloisterd of 0.1.0 .*: rebuild it"},
        Misbehaviour{"is-armed-too-early", 70, out_of_order}, Misbehaviour{"floods", 70, out_of_order},
        Misbehaviour{"passes-two-descriptors", 70, "descriptors (not )?taken"}),
    [](const auto& instance) { return std::regex_replace(instance.param.name, std::regex{"-"}, ""); });

class StopDuringAStart : public testing::TestWithParam<const char*> {};

TEST_P(StopDuringAStart, IsObeyedAtOnce) {
    const TemporaryDirectory directory;
    Daemon daemon{setup_of(directory, GetParam())};
    pid_t listener = 0;
    ASSERT_TRUE(within(5s, [&] {
        listener = daemon.listener();
        return listener != 0;
    })) << daemon.log();
    std::this_thread::sleep_for(200ms); // by then it is at its misbehaviour
    daemon.signal(SIGTERM);
    EXPECT_EQ(daemon.ends_within(5s), 0) << daemon.log();
    EXPECT_FALSE(is_alive(listener));
}

INSTANTIATE_TEST_SUITE_P(Misbehaviour, StopDuringAStart,
                         testing::Values("is-silent", "stops", "says-hello-and-is-silent",
                                         "is-armed-and-silent"),
                         [](const auto& instance) {
                             return std::regex_replace(instance.param, std::regex{"-"}, "");
                         });

TEST(SlowStart, ThatNeverEndsIsGivenUpWhenItsTimeIsOver) {
    const TemporaryDirectory directory;
    const Misbehaviour slow[] = {
        {"is-armed-and-silent", 70, "self-test: no answer within 10 s"},
        {"is-silent", 70, "the listener, process [0-9]+, has not answered for 20 s"}};
    Daemon first{setup_of(directory, slow[0].name)}; // at the same time
    Daemon second{setup_of(directory, slow[1].name)};
    for (Daemon* const daemon : {&first, &second}) {
        const Misbehaviour& misbehaviour = slow[daemon == &second];
        EXPECT_EQ(daemon->ends_within(40s), misbehaviour.exit_code) << daemon->log();
        EXPECT_TRUE(std::regex_search(daemon->log(), std::regex{misbehaviour.said})) << daemon->log();
    }
}

} // namespace
} // namespace cloister::live
