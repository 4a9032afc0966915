// SPDX-License-Identifier: MIT
//
// The listener's own source against a scripted kernel that holds every call against policy/listener.policy.
#include "base/exit_code.h"
#include "scripted/listener.h"

#include <gtest/gtest.h>

namespace cloister::scripted {
namespace {

constexpr int exited(cell::Exit code) {
    return static_cast<int>(code) << 8;
}
constexpr int left_in_order = -1;

/// Whether the listener said so, in its log or with its last words.
testing::AssertionResult said(const ListenerWorld& world, std::string_view text) {
    return world.log().find(text) != std::string::npos
               ? testing::AssertionSuccess()
               : testing::AssertionFailure() << "it did not say '" << text << "' but: " << world.log();
}

TEST(Listener, GivesEachClientACellAndLogsItsEnd) {
    ListenerWorld world;
    world.then([&] { world.connect(3); });
    world.then([&] {
        for (const pid_t pid : world.born()) {
            world.end_cell(pid, exited(cell::Exit::Done));
        }
    });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.born().size(), 3U);
    const auto records = world.records("connection");
    ASSERT_EQ(records.size(), 3U);
    EXPECT_EQ(records[0]["conn"], 1);
    EXPECT_EQ(records[0]["pid"], 1000);
    EXPECT_EQ(records[0]["socket"], "the-listener");
    EXPECT_EQ(records[0]["peer"], "127.0.0.1:40000");
    EXPECT_EQ(records[0]["reason"], "closed");
    EXPECT_EQ(records[0]["exit"], 0);
    EXPECT_TRUE(records[0]["signal"].is_null());
    EXPECT_EQ(records[0]["cpu_us"], 1'000'305);
    EXPECT_EQ(records[0]["maxrss_kb"], 16);
}

TEST(Listener, LeavesThePollSetWhenFullAndComesBackWhenACellEnds) {
    ListenerWorld world{2};
    world.then([&] { world.connect(5); });
    world.then([&] {
        EXPECT_EQ(world.live().size(), 2U);
        EXPECT_FALSE(world.polled_listener());
        world.end_cell(1000, exited(cell::Exit::Done));
    });
    world.then([&] { EXPECT_TRUE(world.polled_listener()); });
    world.then([&] { EXPECT_FALSE(world.polled_listener()); });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.born().size(), 3U);
}

TEST(Listener, ServesTheSelfTestThoughClientsHaveAllPlacesAndBeforeTheyHave) {
    for (const unsigned clients : {0U, 1U, 5U}) {
        ListenerWorld world{1};
        world.then([&] { world.connect(clients); });
        world.then([&] { world.connect_self_test(); });
        world.then([&] {
            EXPECT_EQ(world.born().size(), clients == 0 ? 1U : 2U);
            EXPECT_FALSE(world.self_test_is_open());
            EXPECT_EQ(world.polled_listener(), clients == 0) << "the self-test takes nobody's place";
            world.end_cell(world.born().back(), exited(cell::Exit::Done));
        });
        EXPECT_EQ(world.serve(), left_in_order);
        EXPECT_EQ(world.records("connection").size(), clients == 0 ? 0U : 1U) << "it is not logged";
        EXPECT_TRUE(world.told().empty()) << "the supervisor need not know who is here";
    }
}

TEST(Listener, TakesTheSelfTestFirst) {
    ListenerWorld world{1};
    world.then([&] {
        world.connect(3);
        world.connect_self_test();
    });
    world.then([&] { world.end_cell(world.born().front(), exited(cell::Exit::SetupPage)); });
    EXPECT_EQ(world.serve(), left_in_order);
    ASSERT_GE(world.records("connection").size(), 2U) << "a self-test that failed is logged";
    EXPECT_EQ(world.records("connection")[0]["socket"], "self-test");
    EXPECT_EQ(world.records("connection")[0]["peer"], "unix:uid=1000,pid=4711");
}

TEST(Listener, DoesNotPollForTheSelfTestWhileItRests) {
    ListenerWorld world{1};
    world.clone_error = -EAGAIN;
    world.clone_errors = 1;
    world.then([&] { world.connect(); });
    unsigned polls = 0;
    world.then([&] {
        world.connect_self_test();
        polls = world.self_test_polls();
    });
    world.then([&] {
        EXPECT_EQ(world.self_test_polls(), polls) << "it would spin";
        EXPECT_TRUE(world.born().empty());
        world.pass(1'000'000'000);
    });
    world.then([] {});
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.born().size(), 2U) << "after its rest";
}

TEST(Listener, ClosesTheSelfTestsSocketWhenItStopsBefore) {
    ListenerWorld world;
    world.then([&] { world.order(control::Message::Tag::Drain); });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_FALSE(world.self_test_is_open());
}

TEST(Listener, LeavesThoughTheSelfTestsCellStillLives) {
    ListenerWorld world;
    world.then([&] { world.connect(2); });
    world.then([&] { world.connect_self_test(); });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.records("connection").size(), 2U);
    EXPECT_EQ(world.live().size(), 1U) << "it ends with the listener";
}

class PassingError : public testing::TestWithParam<int> {};

TEST_P(PassingError, OfAcceptIsTriedAgainAtOnce) {
    ListenerWorld world;
    world.then([&] {
        world.fail_accept(-GetParam(), 3);
        world.connect();
    });
    world.then([&] { EXPECT_TRUE(world.polled_listener()); });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.born().size(), 1U);
}

INSTANTIATE_TEST_SUITE_P(All, PassingError,
                         testing::Values(EINTR, ECONNABORTED, EPERM, ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN,
                                         ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, ENOSR,
                                         ESOCKTNOSUPPORT, EPROTONOSUPPORT, ETIMEDOUT, 999));

class NoRoom : public testing::TestWithParam<int> {};

TEST_P(NoRoom, ForAConnectionMakesTheListenerRestAndSaySoOnce) {
    ListenerWorld world;
    for (int i = 0; i < 50; ++i) {
        world.then([&] { world.fail_accept(-GetParam()); });
        world.then([&] {
            EXPECT_FALSE(world.polled_listener()) << "it must rest after the error";
            world.pass(200'000'000);
        });
    }
    world.then([&] { world.connect(); });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.born().size(), 1U);
    EXPECT_EQ(world.records("paused").size(), 1U);
    EXPECT_EQ(world.records("paused")[0]["call"], "accept4");
}

INSTANTIATE_TEST_SUITE_P(All, NoRoom, testing::Values(EMFILE, ENFILE, ENOBUFS, ENOMEM));

TEST(Listener, DatesWhatItLogsInItsFirstRound) {
    ListenerWorld world;
    world.then([&] { world.fail_accept(-EMFILE); });
    EXPECT_EQ(world.serve(), left_in_order);
    ASSERT_EQ(world.records("paused").size(), 1U);
    EXPECT_EQ(world.records("paused")[0]["ts"], "2023-11-14T22:13:25.000Z");
}

TEST(Listener, DatesByTheWallClockThatWasSetWhileItWaited) {
    ListenerWorld world;
    world.then([] {});
    world.then([&] {
        world.pass(2'000'000'000);
        world.set_wall_clock_forward(3'600'000'000'000);
        world.fail_accept(-EMFILE);
    });
    EXPECT_EQ(world.serve(), left_in_order);
    ASSERT_EQ(world.records("paused").size(), 1U);
    EXPECT_EQ(world.records("paused")[0]["ts"], "2023-11-14T23:13:27.000Z");
}

TEST(Listener, NamesItsSocketWholeEvenWithANulByteInIt) {
    ListenerWorld world{8, AF_UNIX};
    const std::string longest = "unix:@" + std::string(107, '\0');
    world.launch().sockets[0].set_name(longest);
    world.then([&] { world.connect(); });
    world.then([&] { world.end_cell(1000, SIGSYS); });
    EXPECT_EQ(world.serve(), left_in_order);
    for (const char* event : {"violation", "connection"}) {
        ASSERT_EQ(world.records(event).size(), 1U);
        EXPECT_EQ(world.records(event)[0]["socket"], longest);
        EXPECT_FALSE(world.records(event)[0].contains("truncated"));
    }
}

class ErrorOfTheListener : public testing::TestWithParam<int> {};

TEST_P(ErrorOfTheListener, EndsItWith71) {
    ListenerWorld world;
    world.then([&] { world.fail_accept(-GetParam()); });
    EXPECT_EQ(world.serve(), static_cast<int>(ExitCode::SystemCall));
    EXPECT_TRUE(said(world, "cannot accept on the-listener"));
}

INSTANTIATE_TEST_SUITE_P(All, ErrorOfTheListener, testing::Values(EBADF, ENOTSOCK, EINVAL, EFAULT));

TEST(Listener, GivesUpOnAnUnknownErrorThatNeverEnds) {
    ListenerWorld world;
    for (int i = 0; i < 20; ++i) {
        world.then([&] { world.fail_accept(-999, 64); });
    }
    EXPECT_EQ(world.serve(), static_cast<int>(ExitCode::SystemCall));
    EXPECT_TRUE(said(world, "can never accept on the-listener: accept4: error 999"));
}

TEST(Listener, DiesWhenDescriptor0WasNotFree) {
    ListenerWorld world;
    world.then([&] { world.fail_accept(7); });
    EXPECT_EQ(world.serve(), static_cast<int>(ExitCode::SelfTest));
    EXPECT_TRUE(said(world, "bug: accept4 returned descriptor 7: 0 was not free"));
}

class NoCell : public testing::TestWithParam<int> {};

TEST_P(NoCell, HoldsTheClientRestsAndTriesAgain) {
    ListenerWorld world;
    world.clone_error = -GetParam();
    world.clone_errors = 1;
    world.then([&] { world.connect(2); });
    world.then([&] {
        EXPECT_FALSE(world.polled_listener());
        world.pass(200'000'000);
    });
    world.then([] {});
    world.then([] {});
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.resets(), 0U);
    EXPECT_EQ(world.born().size(), 2U);
    ASSERT_EQ(world.records("paused").size(), 1U);
    EXPECT_EQ(world.records("paused")[0]["call"], "clone");
    EXPECT_EQ(world.records("paused")[0]["peer"], "127.0.0.1:40000");
}

TEST_P(NoCell, ResetsTheClientThatIsHeldWhenTheServiceStops) {
    ListenerWorld world;
    world.clone_error = -GetParam();
    world.clone_errors = 1000;
    world.then([&] { world.connect(2); });
    world.then([&] { world.pass(200'000'000); });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.resets(), 1U);
    EXPECT_EQ(world.born().size(), 0U);
}

INSTANTIATE_TEST_SUITE_P(All, NoCell, testing::Values(EAGAIN, ENOMEM));

TEST(Listener, DiesWhenThereCanNeverBeACell) {
    ListenerWorld world;
    world.clone_error = -ENOSYS;
    world.clone_errors = 1;
    world.then([&] { world.connect(); });
    EXPECT_EQ(world.serve(), static_cast<int>(ExitCode::SystemCall));
    EXPECT_TRUE(said(world, "cannot give a connection to a cell: clone: ENOSYS"));
    EXPECT_EQ(world.socket_options().at(SO_LINGER), 1) << "its end resets the client";
}

TEST(Listener, ReapsACellWhoseSignalWasLost) {
    ListenerWorld world;
    world.then([&] { world.connect(); });
    world.then([&] { world.end_cell_silently(1000, exited(cell::Exit::Idle)); });
    for (int i = 0; i < 4; ++i) {
        world.then([&] { world.pass(1'100'000'000); });
    }
    EXPECT_EQ(world.serve(), left_in_order);
    ASSERT_EQ(world.records("connection").size(), 1U);
    EXPECT_EQ(world.records("connection")[0]["reason"], "idle");
}

TEST(Listener, BelievesNoForgedSignal) {
    ListenerWorld world;
    world.then([&] { world.connect(); });
    world.then([&] {
        world.send_signal(cell::exit_signal, SI_USER, 1000);    // not of the kernel
        world.send_signal(cell::exit_signal, CLD_EXITED, 4242); // not a cell
        world.send_signal(cell::exit_signal, CLD_EXITED, 1000); // it lives
        world.send_signal(SIGTERM, SI_USER, 1);
        world.send_signal(SIGHUP, SI_USER, 1);
        world.send_signal(SIGCHLD, CLD_STOPPED, 1000);
    });
    world.then([&] {
        EXPECT_EQ(world.live().size(), 1U);
        EXPECT_TRUE(world.polled_listener());
        EXPECT_TRUE(world.records("connection").empty());
    });
    EXPECT_EQ(world.serve(), left_in_order);
}

TEST(Listener, DrainsWithoutCuttingACell) {
    ListenerWorld world;
    world.then([&] { world.connect(2); });
    world.then([&] { world.order(control::Message::Tag::Drain); });
    world.then([&] {
        EXPECT_FALSE(world.listens());
        EXPECT_EQ(world.live().size(), 2U);
        world.order(control::Message::Tag::Drain); // again: no harm
    });
    world.then([&] { world.end_cell(1000, exited(cell::Exit::Done)); });
    world.then([&] { world.end_cell(1001, exited(cell::Exit::Done)); });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.records("connection").size(), 2U);
    EXPECT_EQ(world.records("connection")[1]["reason"], "closed");
}

TEST(Listener, EndsItsCellsInBatchesOf200AtTheMost) {
    ListenerWorld world{1000};
    for (int i = 0; i < 20; ++i) {
        world.then([&] { world.connect(50); });
    }
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.born().size(), 1000U);
    EXPECT_TRUE(world.live().empty());
    EXPECT_EQ(world.most_killed_at_once(), 200U);
    const auto records = world.records("connection");
    ASSERT_EQ(records.size(), 1000U);
    EXPECT_EQ(records[999]["reason"], "ended");
    EXPECT_EQ(records[999]["signal"], SIGKILL);
}

TEST(Listener, EndsWhenTheSupervisorIsGone) {
    ListenerWorld world;
    world.then([&] { world.lose_supervisor(); });
    EXPECT_EQ(world.serve(), static_cast<int>(ExitCode::SelfTest));
    EXPECT_EQ(world.log(), "") << "nobody is left to hear it";
}

TEST(Listener, DiesOfAnOrderThatIsNone) {
    ListenerWorld world;
    world.then([&] { world.order(control::Message::Tag::Hello); });
    EXPECT_EQ(world.serve(), static_cast<int>(ExitCode::SelfTest));
    EXPECT_TRUE(said(world, "bug: the supervisor sent message 0"));
}

TEST(Listener, DiesOfAnOrderOfAnotherLength) {
    constexpr long right = sizeof(control::Message);
    for (const long size : {1L, right - 1, right + 1, right + 4096}) {
        ListenerWorld world;
        world.order_size = size;
        world.then([&] { world.order(control::Message::Tag::Drain); });
        EXPECT_EQ(world.serve(), static_cast<int>(ExitCode::SelfTest)) << size;
    }
}

TEST(Listener, TakesAnOrderAfterAnInterruptionOrAFalseAlarm) {
    for (const long error : {-EINTR, -EAGAIN}) {
        ListenerWorld world;
        world.then([&] {
            world.read_error = error;
            world.order(control::Message::Tag::Drain);
        });
        world.then([&] { EXPECT_TRUE(world.listens()) << "the order has not been read yet"; });
        EXPECT_EQ(world.serve(), left_in_order);
        EXPECT_EQ(world.read_error, 0);
        EXPECT_FALSE(world.listens());
    }
}

TEST(Listener, DiesWhenACellIsNotItsChild) {
    ListenerWorld world;
    world.then([&] { world.connect(); });
    world.then([&] {
        world.wait4_error = -ECHILD;
        world.end_cell(1000, exited(cell::Exit::Done));
    });
    EXPECT_EQ(world.serve(), static_cast<int>(ExitCode::SystemCall));
    EXPECT_TRUE(said(world, "cannot reap cell 1000: wait4: ECHILD"));
}

TEST(Listener, DiesWithoutAClock) {
    ListenerWorld world;
    world.clock_error = -EINVAL;
    EXPECT_EQ(world.serve(), static_cast<int>(ExitCode::SystemCall));
    EXPECT_TRUE(said(world, "clock_gettime: EINVAL"));
}

TEST(Listener, SurvivesAnInterruptedWaitAndNoOther) {
    ListenerWorld interrupted;
    interrupted.ppoll_error = -EINTR;
    EXPECT_EQ(interrupted.serve(), left_in_order);
    ListenerWorld broken;
    broken.ppoll_error = -EINVAL;
    EXPECT_EQ(broken.serve(), static_cast<int>(ExitCode::SystemCall));
    EXPECT_TRUE(said(broken, "ppoll: EINVAL"));
}

TEST(Listener, DoesNotLogTheSupervisorsConnectionToAPublicSocket) {
    ListenerWorld world;
    world.supervisor_comes_from(40001);
    world.then([&] { world.connect(2); });
    world.then([&] {
        world.end_cell(1000, exited(cell::Exit::Done));
        world.end_cell(1001, exited(cell::Exit::Done));
    });
    EXPECT_EQ(world.serve(), left_in_order);
    ASSERT_EQ(world.records("connection").size(), 1U);
    EXPECT_EQ(world.records("connection")[0]["peer"], "127.0.0.1:40000");
}

TEST(Listener, LogsALaterClientThatComesFromTheSupervisorsPort) {
    ListenerWorld world;
    world.supervisor_comes_from(40000);
    for (int i = 0; i < 2; ++i) {
        world.then([&] { world.connect(); });
        world.then([&] {
            world.end_cell(world.born().back(), exited(cell::Exit::Done));
            world.come_from(40000);
        });
    }
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.records("connection").size(), 1U);
}

TEST(Listener, LogsAConnectionOfTheSupervisorThatFailed) {
    ListenerWorld world;
    world.supervisor_comes_from(40000);
    world.then([&] { world.connect(); });
    world.then([&] { world.end_cell(1000, exited(cell::Exit::SetupPage)); });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.records("connection").size(), 1U);
}

TEST(Listener, DiesWhenCellsCannotBeConfined) {
    ListenerWorld world;
    for (int i = 0; i < 40; ++i) {
        world.then([&] { world.connect(); });
        world.then([&] { world.end_cell(world.born().back(), exited(cell::Exit::SetupPage)); });
    }
    EXPECT_EQ(world.serve(), static_cast<int>(ExitCode::SelfTest));
    EXPECT_EQ(world.born().size(), 32U);
    EXPECT_TRUE(said(world, "32 cells in a row could not be confined, the last one at setup-page"));
}

TEST(Listener, CarriesOnWhenOnlySomeCellsCannotBeConfined) {
    ListenerWorld world;
    for (int i = 0; i < 80; ++i) {
        world.then([&] { world.connect(); });
        world.then([&, i] {
            world.end_cell(world.born().back(), exited(i % 8 == 0 ? cell::Exit::Done : cell::Exit::CpuLimit));
        });
    }
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.born().size(), 80U);
}

TEST(Listener, ReportsAViolationAsARecordOfItsOwn) {
    ListenerWorld world;
    world.then([&] { world.connect(); });
    world.then([&] { world.end_cell(1000, SIGSYS); });
    EXPECT_EQ(world.serve(), left_in_order);
    ASSERT_EQ(world.records("violation").size(), 1U);
    EXPECT_EQ(world.records("violation")[0]["level"], "error");
    EXPECT_EQ(world.records("violation")[0]["peer"], "127.0.0.1:40000");
    EXPECT_EQ(world.records("connection")[0]["reason"], "violation");
    EXPECT_TRUE(world.records("connection")[0]["exit"].is_null());
}

TEST(Listener, NamesIpv6AndUnixClients) {
    ListenerWorld six{8, AF_INET6};
    six.then([&] { six.connect(); });
    six.then([&] { six.end_cell(1000, exited(cell::Exit::Done)); });
    six.then([&] {
        six.scope = 3;
        six.connect();
    });
    EXPECT_EQ(six.serve(), left_in_order);
    EXPECT_EQ(six.records("connection")[0]["peer"], "[::1]:40000");
    EXPECT_EQ(six.records("connection")[1]["peer"], "[::1%3]:40001");
    ListenerWorld local{8, AF_UNIX};
    local.then([&] { local.connect(); });
    EXPECT_EQ(local.serve(), left_in_order);
    EXPECT_EQ(local.records("connection")[0]["peer"], "unix:uid=1000,pid=4711");
}

TEST(Listener, GivesNoUnixClientACellWithoutItsTimeouts) {
    ListenerWorld world{8, AF_UNIX};
    world.setsockopt_error = -EINVAL;
    world.then([&] { world.connect(); });
    EXPECT_EQ(world.serve(), static_cast<int>(ExitCode::SystemCall));
    EXPECT_TRUE(said(world, "cannot give a connection to a cell: setsockopt: EINVAL"));
    EXPECT_TRUE(world.born().empty());
    EXPECT_EQ(world.socket_options().at(SO_LINGER), 1) << "its end resets the client";
}

TEST(Listener, LetsItsSocketsTakeTurnsWhenFewConnectionsMayBeAccepted) {
    ListenerWorld world{2, AF_INET, 3};
    world.then([&] { // the first one is always busy
        world.connect(100, 0);
        world.connect(2, 1);
        world.connect(2, 2);
    });
    for (std::size_t i = 0; i < 6; ++i) {
        world.then([&, i] { world.end_cell(world.born().at(i), exited(cell::Exit::Done)); });
        world.then([] {});
    }
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.accepted_from(), (std::vector<std::size_t>{0, 1, 2, 0, 1, 2, 0, 0}));
}

TEST(Listener, SetsOnAUnixConnectionWhatItDoesNotInherit) {
    ListenerWorld world{8, AF_UNIX};
    world.then([&] { world.connect(); });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.socket_options().at(SO_OOBINLINE), 1);
    EXPECT_EQ(world.socket_options().at(SO_SNDBUF), 65536);
    EXPECT_EQ(world.socket_options().at(SO_LINGER), 0);
    EXPECT_TRUE(world.socket_options().contains(SO_RCVTIMEO) && world.socket_options().contains(SO_SNDTIMEO));
    EXPECT_EQ(world.releasers().size(), 1U) << "of the listening socket at the end, and no other";
}

TEST(Listener, LeavesBuffersToTheKernelWhenAskedTo) {
    ListenerWorld world{8, AF_UNIX};
    world.launch().socket_buffer = 0;
    world.then([&] { world.connect(); });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_FALSE(world.socket_options().contains(SO_SNDBUF) || world.socket_options().contains(SO_RCVBUF));
}

TEST(Listener, SetsNothingOnATcpConnectionThatInherits) {
    ListenerWorld world;
    world.then([&] { world.connect(); });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_TRUE(world.socket_options().empty());
}

TEST(Listener, SetsOnATcpConnectionOfAPassedSocketWhatItMayNotHaveInherited) {
    ListenerWorld world;
    world.launch().sockets[0].inherited = false;
    world.then([&] { world.connect(); });
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.socket_options().size(), 6U);
}

/// What a client may have passed: the world throws if the listener itself closes it, or touches it while a
/// releaser is at work.
class Releasers : public testing::TestWithParam<long> {
  protected:
    Releasers() { world_.passrights = GetParam(); }
    void wait(int rounds) {
        for (int i = 0; i < rounds; ++i) {
            world_.then([] {});
        }
    }
    ListenerWorld world_{8, AF_UNIX};
};

INSTANTIATE_TEST_SUITE_P(PassRights, Releasers, testing::Values(1, -ENOPROTOOPT, -EINVAL));

TEST_P(Releasers, CloseTheConnectionsOfUnixClients) {
    world_.then([&] { world_.connect(3); });
    wait(6);
    world_.then([&] { world_.order(control::Message::Tag::Drain); });
    wait(1);
    world_.then([&] { EXPECT_FALSE(world_.listens()); });
    EXPECT_EQ(world_.serve(), left_in_order);
    EXPECT_EQ(world_.born().size(), 3U);
    EXPECT_EQ(world_.releasers().size(), 4U); // and the listening socket
    EXPECT_EQ(world_.records("connection").size(), 3U);
}

TEST_P(Releasers, AreNoConnections) {
    world_.launch().max_connections = 2;
    world_.at_releaser = [&](pid_t) { world_.release(); }; // they sleep
    world_.then([&] { world_.connect(5); });
    world_.then([&] { EXPECT_EQ(world_.born().size(), 1U); });
    wait(4);
    EXPECT_EQ(world_.serve(), left_in_order);
    EXPECT_EQ(world_.born().size(), 2U);
    EXPECT_EQ(world_.records("connection").size(), 2U);
}

TEST_P(Releasers, ThatDieBeforeTheyCloseAreReplaced) {
    world_.at_releaser = [&, dies = true](pid_t pid) mutable {
        if (!dies) {
            world_.release();
        }
        world_.end_cell(pid, dies ? SIGKILL : 0);
        dies = !dies;
    };
    world_.then([&] { world_.connect(2); });
    wait(8);
    world_.then([&] {
        EXPECT_EQ(world_.born().size(), 2U);
        EXPECT_EQ(world_.releasers().size(), 4U);
    });
    EXPECT_EQ(world_.serve(), left_in_order);
}

TEST_P(Releasers, ThatAreStoppedAreKilledAfterASecondAndReplacedOneAtATime) {
    world_.at_releaser = [&, stopped = true](pid_t pid) mutable {
        if (!stopped) {
            world_.release();
            world_.end_cell(pid, 0);
        }
        stopped = false;
    };
    world_.then([&] { world_.connect(2); });
    world_.then([&] {
        EXPECT_EQ(world_.releasers().size(), 1U);
        EXPECT_FALSE(world_.polled_listener());
        world_.pass(900'000'000);
    });
    world_.then([&] {
        EXPECT_EQ(world_.releasers().size(), 1U);
        world_.pass(200'000'000);
    });
    wait(8);
    world_.then([&] { EXPECT_EQ(world_.born().size(), 2U); });
    EXPECT_EQ(world_.serve(), left_in_order);
}

TEST_P(Releasers, ThatCannotBeHadAreTriedForAgainAndTheListenerGoesOnReaping) {
    world_.at_clone = [&](pid_t) {
        world_.clone_error = -EAGAIN;
        world_.clone_errors = 3;
    };
    world_.then([&] { world_.connect(2); });
    for (int i = 0; i < 3; ++i) {
        world_.then([&] {
            EXPECT_FALSE(world_.polled_listener());
            world_.pass(150'000'000);
        });
    }
    world_.then([&] { world_.end_cell(1000, exited(cell::Exit::Idle)); });
    wait(6);
    EXPECT_EQ(world_.serve(), left_in_order);
    EXPECT_EQ(world_.born().size(), 2U);
    EXPECT_EQ(world_.records("connection").front()["reason"], "idle");
    EXPECT_EQ(world_.records("paused").size(), 1U);
}

TEST_P(Releasers, CloseAClientThatIsHeldWhenTheServiceStops) {
    world_.then([&] { world_.connect(); });
    wait(4);
    world_.then([&] {
        ASSERT_EQ(world_.born().size(), 1U);
        world_.clone_error = -EAGAIN;
        world_.clone_errors = 1;
        world_.connect();
    });
    world_.then([&] { world_.order(control::Message::Tag::Drain); });
    for (int i = 0; i < 4; ++i) {
        world_.then([&] { world_.pass(150'000'000); });
    }
    EXPECT_EQ(world_.serve(), left_in_order);
    EXPECT_EQ(world_.born().size(), 1U);
    EXPECT_EQ(world_.releasers().size(), 3U) << "of both connections, and of the listening socket";
    EXPECT_EQ(world_.resets(), 0U) << "the listener itself closed it";
}

TEST_P(Releasers, ThatSleepTakeNoMoreThanTheirPlaces) {
    world_.launch().max_connections = 1000;
    world_.at_releaser = [&](pid_t) { world_.release(); };
    world_.then([&] { world_.connect(200); });
    wait(300);
    world_.then([&] {
        EXPECT_EQ(world_.releasers().size(), listener::max_releasers);
        EXPECT_FALSE(world_.polled_listener());
        world_.end_cell(world_.releasers().front(), SIGALRM);
    });
    wait(4);
    world_.then([&] { EXPECT_EQ(world_.releasers().size(), listener::max_releasers + 1); });
    EXPECT_EQ(world_.serve(), left_in_order);
}

TEST_P(Releasers, ThatCannotBeConfinedEndTheListener) {
    world_.at_releaser = [&](pid_t pid) { world_.end_cell(pid, exited(cell::Exit::SetupPage)); };
    world_.then([&] { world_.connect(); });
    wait(80);
    EXPECT_EQ(world_.serve(), static_cast<int>(ExitCode::SelfTest));
    EXPECT_EQ(world_.releasers().size(), 32U);
}

/// Ends `count` connections, one at a time, after `before` has happened, and then lets `after` happen.
void run_connections(ListenerWorld& world, int count) {
    for (int i = 0; i < count; ++i) {
        world.then([&] { world.connect(); });
        world.then([&] { world.end_cell(world.born().back(), exited(cell::Exit::Done)); });
    }
}

TEST(Listener, ServesOnWhenTheLogIsBlockedAndCountsWhatIsLost) {
    ListenerWorld world;
    world.write_error = -EAGAIN;
    run_connections(world, 1000);
    world.then([&] { world.write_error = 0; });
    world.then([] {});
    run_connections(world, 1);
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.born().size(), 1001U);
    const auto dropped = world.records("log_dropped");
    ASSERT_EQ(dropped.size(), 1U);
    EXPECT_EQ(dropped[0]["count"].get<std::size_t>() + world.records("connection").size(), 1001U);
}

TEST(Listener, CountsRecordsThatTheLogRefused) {
    ListenerWorld world;
    world.write_error = -ENOSPC;
    run_connections(world, 10);
    world.then([&] { world.write_error = 0; });
    run_connections(world, 1);
    EXPECT_EQ(world.serve(), left_in_order);
    ASSERT_EQ(world.records("log_dropped").size(), 1U);
    EXPECT_EQ(world.records("log_dropped")[0]["count"], 10);
}

TEST(Listener, WritesLogfmtWithPriorities) {
    ListenerWorld world;
    world.launch().log_format = LogFormat::logfmt;
    world.launch().log_priorities = true;
    run_connections(world, 1);
    EXPECT_EQ(world.serve(), left_in_order);
    EXPECT_EQ(world.log().substr(0, 6), "<6>ts=") << world.log();
    EXPECT_NE(world.log().find(" event=connection conn=1 pid=1000 socket=the-listener peer=127.0.0.1:40000 "),
              std::string::npos)
        << world.log();
    EXPECT_EQ(world.log().find("signal="), std::string::npos);
}

TEST(Listener, LeavesItsLastRecordsToAReaderThatIsSlow) {
    ListenerWorld world;
    world.write_error = -EAGAIN;
    world.then([&] { world.connect(3); });
    world.at_log_poll = [&] { world.write_error = 0; }; // polled only when there is nothing else to do
    EXPECT_EQ(world.serve(), -1);
    EXPECT_EQ(world.records("connection").size(), 3U);
}

TEST(Listener, DoesNotWaitForAReaderThatDoesNotRead) {
    ListenerWorld world;
    world.write_error = -EAGAIN;
    world.then([&] { world.connect(3); });
    EXPECT_EQ(world.serve(), -1);
    EXPECT_EQ(world.log(), "");
}

/// NegativeSelfTests are cells like all others, but that their end is awaited at once.
TEST(NegativeSelfTests, AreEndedByTheSignalThatBelongsToTheirAction) {
    for (const int right : {0, 1, 2, 3, 4}) { // so many die as they must
        ListenerWorld world;
        world.at_clone = [&, born = 0](pid_t pid) mutable {
            const bool first = born == 0;
            world.end_cell(pid, born++ < right ? (first ? SIGSYS : SIGSEGV) : SIGTERM);
        };
        EXPECT_EQ(world.run_negative_self_tests(),
                  right == 4 ? left_in_order : static_cast<int>(ExitCode::SelfTest));
        EXPECT_EQ(world.born().size(), right == 4 ? 4U : static_cast<unsigned>(right) + 1);
        const auto* const expected = right == 0 ? "should have died of signal 31; it died of signal 15"
                                                : "should have died of signal 11; it died of signal 15";
        EXPECT_TRUE(right == 4 ? world.log().empty() : said(world, expected)) << world.log();
    }
}

// When memory runs out, it says nothing of their confinement.
TEST(NegativeSelfTests, OfWhichOneIsKilledAreNoFailedConfinement) {
    ListenerWorld world;
    world.at_clone = [&](pid_t pid) { world.end_cell(pid, SIGKILL); };
    EXPECT_EQ(world.run_negative_self_tests(), static_cast<int>(ExitCode::SystemCall));
    EXPECT_TRUE(said(world, "a cell of the self-test was killed; see whether memory ran out"));
}

TEST(NegativeSelfTests, MustNotLeaveByThemselvesOrLive) {
    ListenerWorld leaves;
    leaves.at_clone = [&](pid_t pid) { leaves.end_cell(pid, exited(cell::Exit::Bug)); };
    EXPECT_EQ(leaves.run_negative_self_tests(), static_cast<int>(ExitCode::SelfTest));
    EXPECT_TRUE(said(leaves, "exited with 5"));
    ListenerWorld lives;
    EXPECT_EQ(lives.run_negative_self_tests(), static_cast<int>(ExitCode::SelfTest));
    EXPECT_TRUE(said(lives, "still lives"));
    EXPECT_TRUE(lives.live().empty()) << "it was killed";
}

TEST(NegativeSelfTests, AreNeededToServe) {
    ListenerWorld world;
    world.clone_error = -EAGAIN;
    world.clone_errors = 1;
    EXPECT_EQ(world.run_negative_self_tests(), static_cast<int>(ExitCode::SystemCall));
    EXPECT_TRUE(said(world, "cannot fork a cell")) << world.log();
}

} // namespace
} // namespace cloister::scripted
