// SPDX-License-Identifier: MIT
#include "supervisor/state_machine.h"

#include <fmt/core.h>
#include <gmock/gmock.h>

namespace cloister::supervisor {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using Said = std::vector<std::string>; ///< actions, in words

std::string status_text(const WaitStatus& status) {
    return fmt::format("{} {}", status.exited ? "exit" : "signal", status.value);
}

struct InWords {
    std::string operator()(const action::Start& a) const {
        return fmt::format("start {}: service {}, number {}{}", a.id, a.service, a.number,
                           a.reach ? ", reach" : "");
    }
    std::string operator()(const action::Launch& a) const { return fmt::format("launch {}", a.id); }
    std::string operator()(const action::SelfTest& a) const { return fmt::format("self-test {}", a.id); }
    std::string operator()(const action::Ask& a) const { return fmt::format("ask {}", a.id); }
    std::string operator()(const action::Drain& a) const { return fmt::format("drain {}", a.id); }
    std::string operator()(const action::End& a) const { return fmt::format("end {}", a.id); }
    std::string operator()(const action::Kill& a) const { return fmt::format("kill {}", a.id); }
    std::string operator()(const action::Forget& a) const { return fmt::format("forget {}", a.id); }
    std::string operator()(const action::Replaced& a) const { return fmt::format("replaced {}", a.service); }
    std::string operator()(const action::NotReplaced& a) const {
        return fmt::format("not replaced {}: {}", a.service, a.message);
    }
    std::string operator()(const action::SayReplaceWaits& a) const {
        return fmt::format("replace waits {}", a.service);
    }
    std::string operator()(const action::CloseSockets& /*a*/) const { return "close sockets"; }
    std::string operator()(const action::Exit& a) const {
        return fmt::format("exit {} '{}'", static_cast<int>(a.code), a.message);
    }
    std::string operator()(const action::SayReady& a) const { return fmt::format("ready {}", a.id); }
    std::string operator()(const action::SayStarted& /*a*/) const { return "started"; }
    std::string operator()(const action::SayDied& a) const {
        return fmt::format("died: service {}, process {}, {}", a.service, a.pid, status_text(a.status));
    }
    std::string operator()(const action::SayFailed& a) const {
        return fmt::format("failed: service {}: {}", a.service, a.message);
    }
    std::string operator()(const action::SayDown& a) const {
        return fmt::format("down: service {}, {} failures, again in {} ms", a.service, a.failures,
                           a.retry.count());
    }
    std::string operator()(const action::SayWaiting& a) const {
        return fmt::format("waiting: service {}, {} failures, again in {} ms: {}", a.service, a.failures,
                           a.retry.count(), a.message);
    }
    std::string operator()(const action::SaySilent& a) const {
        return fmt::format("silent: service {}, process {}, {} ms", a.service, a.pid, a.silence.count());
    }
    std::string operator()(const action::SayReach& a) const {
        return fmt::format("reach: service {}, socket {}: {} {}", a.service, a.socket,
                           static_cast<int>(a.reach), a.text);
    }
    std::string operator()(const action::SayStopping& a) const {
        return fmt::format("stopping {}", a.signal);
    }
};

Said in_words(const Actions& actions) {
    Said words;
    for (const Action& one : actions) {
        words.push_back(std::visit(InWords{}, one));
    }
    return words;
}

constexpr ServiceSpec spec{.drain_timeout = 30s, .sockets = 0};

/// A state machine with a clock of its own. Process 100 + N is generation N.
class World {
  public:
    explicit World(std::size_t services = 1, std::size_t sockets = 0)
        : machine_{std::vector<ServiceSpec>(services, {.drain_timeout = 30s, .sockets = sockets})} {}

    Said tell(const Event& event) { return in_words(machine_.handle(event, now)); }

    /// Lets time pass, with every deadline at its time. Listeners answer when they are asked, unless
    /// `silent`: then the questions are among what is returned.
    Said pass(Time time) {
        const Time until = now + time;
        Said all;
        for (auto next = machine_.next_deadline(); next && *next <= until; next = machine_.next_deadline()) {
            now = std::max(now, *next);
            add(all, machine_.advance(now));
        }
        now = until;
        return all;
    }
    /// Lets time pass until a listener is started, a minute at most; how long that took.
    std::optional<Time> pass_until_start() {
        for (const Time from = now; now - from <= 60s;) {
            for (const std::string& word : pass(due().value_or(120s))) {
                if (word.starts_with("start ")) {
                    return now - from;
                }
            }
        }
        return std::nullopt;
    }
    /// Nothing of us runs meanwhile.
    Said sleep(Time time) {
        Said all;
        now += time;
        add(all, machine_.advance(now));
        return all;
    }
    /// How long until something is due.
    std::optional<Time> due() const {
        const auto next = machine_.next_deadline();
        return next ? std::optional{*next - now} : std::nullopt;
    }

    Said begin() {
        const Said words = tell(event::Begin{});
        for (std::size_t i = 0; i < words.size(); ++i) {
            started(static_cast<Id>(i + 1));
        }
        return words;
    }
    void started(Id id) { EXPECT_THAT(tell(event::Started{id, pid(id)}), IsEmpty()); }
    Said become_ready(Id id) {
        Said all;
        for (const Event& one : std::vector<Event>{event::Said{id, Word::hello}, event::Said{id, Word::armed},
                                                   event::SelfTested{id, ""}}) {
            const Said words = tell(one);
            all.insert(all.end(), words.begin(), words.end());
        }
        return all;
    }
    Said die(Id id, WaitStatus status = {false, 11}) { return tell(event::Ended{id, status}); }
    static int pid(Id id) { return static_cast<int>(100 + id); }

    Time now{5'000};
    bool silent = false;

  private:
    void add(Said& all, const Actions& actions) {
        for (const Action& one : actions) {
            if (const auto* const ask = std::get_if<action::Ask>(&one); ask != nullptr && !silent) {
                EXPECT_THAT(tell(event::Said{ask->id, Word::alive}), IsEmpty());
            } else {
                all.push_back(std::visit(InWords{}, one));
            }
        }
    }

    StateMachine machine_;
};

const std::string again_and_again =
    "exit 70 'the listener ended again and again; see the records listener_died'";

TEST(StateMachine, StartsAListenerStepByStep) {
    World world;
    EXPECT_THAT(world.tell(event::Begin{}), ElementsAre("start 1: service 0, number 1, reach"));
    EXPECT_EQ(world.due(), answer_limit);
    world.started(1);
    EXPECT_THAT(world.tell(event::Said{1, Word::hello}), ElementsAre("launch 1"));
    EXPECT_THAT(world.tell(event::Said{1, Word::armed}), ElementsAre("self-test 1"));
    EXPECT_THAT(world.tell(event::SelfTested{1, ""}), ElementsAre("ready 1", "started"));
    EXPECT_THAT(world.pass(24h), IsEmpty()) << "a listener that serves may do so for ever";
}

TEST(StateMachine, StartsAllServicesAtOnceAndSaysWhenTheLastIsReady) {
    World world{3};
    EXPECT_EQ(world.begin().size(), 3U);
    EXPECT_EQ(world.become_ready(2).back(), "ready 2");
    EXPECT_EQ(world.become_ready(3).back(), "ready 3");
    EXPECT_EQ(world.become_ready(1).back(), "started");
}

TEST(StateMachine, GivesEachAnswerItsTimeAndKillsWhatIsLate) {
    for (int answers = 0; answers < 3; ++answers) {
        World world;
        world.begin();
        const Event said[] = {event::Said{1, Word::hello}, event::Said{1, Word::armed}};
        for (int i = 0; i < answers; ++i) {
            EXPECT_THAT(world.pass(answer_limit - 1ms), IsEmpty()) << "each has its own time";
            (void)world.tell(said[i]);
        }
        const Time limit = answers == 2 ? self_test_limit : answer_limit;
        EXPECT_THAT(world.pass(limit - 1ms), IsEmpty());
        EXPECT_THAT(world.pass(1ms), ElementsAre("kill 1"));
        EXPECT_THAT(world.die(1, {false, 9}),
                    ElementsAre("forget 1", "close sockets",
                                answers == 2
                                    ? "exit 70 'self-test: no answer within 10 s'"
                                    : "exit 70 'the listener, process 101, has not answered for 20 s'"));
    }
}

TEST(StateMachine, AListenerThatHangsDelaysNoOtherService) {
    World world{2};
    world.begin();
    EXPECT_THAT(world.become_ready(2), ElementsAre("launch 2", "self-test 2", "ready 2"));
}

TEST(StateMachine, EndsWithTheExitCodeOfAListenerThatFailsAtTheFirstStart) {
    const std::pair<WaitStatus, std::string> ends[] = {
        {{true, 77}, "exit 77 'the listener, process 101, could not confine itself: exit code 77'"},
        {{true, 71}, "exit 71 'the listener, process 101, could not confine itself: exit code 71'"},
        {{true, 0}, "exit 70 'the listener, process 101, could not confine itself: exit code 0'"},
        {{true, 1}, "exit 70 'the listener, process 101, could not confine itself: exit code 1'"},
        {{false, 6}, "exit 70 'the listener, process 101, ended with signal 6 while it started'"},
        {{false, 9},
         "exit 70 'the listener, process 101, was killed, or had closed its socket, while it started; did "
         "memory run out (dmesg)?'"},
    };
    for (const auto& [status, said] : ends) {
        World world;
        world.begin();
        EXPECT_THAT(world.die(1, status), ElementsAre("forget 1", "close sockets", said))
            << "its end is noticed though its socket is open";
    }
}

TEST(StateMachine, KillsAListenerThatClosesItsSocketAndAwaitsItsEnd) {
    World world;
    world.begin();
    EXPECT_THAT(world.tell(event::Closed{1}), ElementsAre("kill 1"));
    EXPECT_THAT(world.tell(event::Closed{1}), IsEmpty());
    EXPECT_THAT(world.die(1, {true, 77}),
                ElementsAre("forget 1", "close sockets",
                            "exit 77 'the listener, process 101, could not confine itself: exit code 77'"))
        << "it was about to end, and its exit code stays";
}

TEST(StateMachine, DoesNotWaitForOneThatSurvivesSigkill) {
    World world;
    world.begin();
    EXPECT_THAT(world.tell(event::Closed{1}), ElementsAre("kill 1"));
    EXPECT_THAT(world.pass(grace - 1ms), IsEmpty());
    EXPECT_THAT(world.pass(1ms),
                ElementsAre("close sockets",
                            "exit 70 'the listener, process 101, is still there 5 s after SIGKILL'"));
    EXPECT_THAT(world.die(1), ElementsAre("forget 1"));
}

TEST(StateMachine, KillsAListenerThatSaysWhatItShouldNot) {
    const std::vector<std::vector<Word>> words = {
        {Word::nonsense},
        {Word::armed},
        {Word::hello, Word::hello},
        {Word::hello, Word::nonsense},
        {Word::hello, Word::armed, Word::armed},
        {Word::hello, Word::armed, Word::hello},
    };
    for (const auto& these : words) {
        World world;
        world.begin();
        Said last;
        for (const Word word : these) {
            last = world.tell(event::Said{1, word});
        }
        EXPECT_THAT(last, ElementsAre("kill 1"));
        EXPECT_THAT(world.tell(event::Said{1, Word::nonsense}), IsEmpty()) << "a flood is one offence";
        EXPECT_THAT(world.tell(event::SelfTested{1, ""}), IsEmpty()) << "it is too late for that";
        EXPECT_THAT(
            world.die(1, {false, 9}),
            ElementsAre("forget 1", "close sockets",
                        "exit 70 'the listener, process 101, sent what it should not: it is of another "
                        "build, or was taken over'"));
    }
}

TEST(StateMachine, KillsAListenerThatSpeaksWhileItServesAndReplacesIt) {
    World world{2};
    world.begin();
    (void)world.become_ready(1);
    (void)world.become_ready(2);
    EXPECT_THAT(
        world.tell(event::Said{1, Word::armed}),
        ElementsAre("failed: service 0: the listener, process 101, sent what it should not: it is of another "
                    "build, or was taken over",
                    "kill 1"));
    EXPECT_THAT(world.die(1, {false, 9}), ElementsAre("forget 1", "died: service 0, process 101, signal 9"));
    EXPECT_THAT(world.pass(100ms), ElementsAre("start 3: service 0, number 2"));
}

TEST(StateMachine, ReplacesAListenerThatClosesItsSocketWhileItServes) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    EXPECT_THAT(world.tell(event::Closed{1}), ElementsAre("kill 1"));
    EXPECT_THAT(world.die(1, {false, 9}), ElementsAre("forget 1", "died: service 0, process 101, signal 9"));
    EXPECT_EQ(world.due(), 100ms);
}

TEST(StateMachine, ReportsAStartThatThereWasNone) {
    World world;
    (void)world.tell(event::Begin{});
    EXPECT_THAT(world.tell(event::NotStarted{1, {ExitCode::SystemCall, "fork: EAGAIN"}}),
                ElementsAre("forget 1", "close sockets", "exit 71 'fork: EAGAIN'"));
}

TEST(StateMachine, ReportsWhyThereIsNoLaunch) {
    World world;
    world.begin();
    (void)world.tell(event::Said{1, Word::hello});
    EXPECT_THAT(world.tell(event::NoLaunch{1, {ExitCode::BadPolicy, "not equal"}}), ElementsAre("kill 1"));
    EXPECT_THAT(world.die(1, {false, 9}), ElementsAre("forget 1", "close sockets", "exit 65 'not equal'"));
}

TEST(StateMachine, ThatWasKeptFromRunningKillsNobodyWhoseTimeWasOverMeanwhile) {
    World world;
    world.begin();
    EXPECT_THAT(world.sleep(1h), IsEmpty()) << "the listener that starts was kept from running, too";
    EXPECT_THAT(world.pass(grace - 1ms), IsEmpty());
    EXPECT_THAT(world.pass(1ms), testing::Contains("kill 1")) << "but it must answer at last";
}

TEST(StateMachine, IsNeverReadyWithoutASelfTestThatPassed) {
    World world;
    world.begin();
    EXPECT_THAT(world.tell(event::SelfTested{1, ""}), IsEmpty()) << "before it is armed";
    (void)world.tell(event::Said{1, Word::hello});
    EXPECT_THAT(world.tell(event::SelfTested{1, ""}), IsEmpty());
    (void)world.tell(event::Said{1, Word::armed});
    EXPECT_THAT(world.tell(event::SelfTested{1, "no echo"}), ElementsAre("kill 1"));
    EXPECT_THAT(world.tell(event::SelfTested{1, ""}), IsEmpty());
    EXPECT_THAT(world.die(1, {false, 9}),
                ElementsAre("forget 1", "close sockets", "exit 70 'self-test: no echo'"));
}

TEST(StateMachine, BelievesTheExitCodeOfAListenerMoreThanWhatTheSelfTestSaw) {
    World world;
    world.begin();
    (void)world.tell(event::Said{1, Word::hello});
    (void)world.tell(event::Said{1, Word::armed});
    (void)world.tell(event::SelfTested{1, "no echo: ECONNRESET"});
    EXPECT_THAT(world.die(1, {true, 71}),
                ElementsAre("forget 1", "close sockets",
                            "exit 71 'the listener, process 101, could not confine itself: exit code 71'"));
}

TEST(StateMachine, WaitsForThePublicSocketsAtTheFirstStart) {
    World world{1, 2};
    world.begin();
    EXPECT_THAT(world.become_ready(1), ElementsAre("launch 1", "self-test 1"));
    EXPECT_THAT(world.tell(event::Reached{1, 1, Reach::served, ""}), IsEmpty());
    EXPECT_THAT(world.tell(event::Reached{1, 1, Reach::served, ""}), IsEmpty()) << "twice the same";
    EXPECT_THAT(world.tell(event::Reached{1, 2, Reach::served, ""}), IsEmpty()) << "there is none";
    EXPECT_THAT(world.tell(event::Reached{1, 0, Reach::unreachable, "ENETUNREACH"}),
                ElementsAre("reach: service 0, socket 0: 1 ENETUNREACH", "ready 1", "started"));
}

TEST(StateMachine, WaitsForThePublicSocketsForASecondAndNoLonger) {
    World world{1, 2};
    world.begin();
    (void)world.become_ready(1);
    (void)world.tell(event::Reached{1, 0, Reach::served, ""});
    EXPECT_THAT(world.pass(reach_limit - 1ms), IsEmpty());
    EXPECT_THAT(world.pass(1ms), ElementsAre("reach: service 0, socket 1: 2 ", "ready 1", "started"));
    EXPECT_THAT(world.tell(event::Reached{1, 1, Reach::wrong, "late"}), IsEmpty());
}

TEST(StateMachine, IsNotReadyWithThePublicSocketsAlone) {
    World world{1, 1};
    world.begin();
    (void)world.tell(event::Said{1, Word::hello});
    (void)world.tell(event::Said{1, Word::armed});
    EXPECT_THAT(world.tell(event::Reached{1, 0, Reach::served, ""}), IsEmpty());
    EXPECT_THAT(world.pass(reach_limit), IsEmpty());
    EXPECT_THAT(world.tell(event::SelfTested{1, ""}), ElementsAre("ready 1", "started"));
}

TEST(StateMachine, TakesAWrongAnswerOfAPublicSocketForAFailedStart) {
    World world{1, 1};
    world.begin();
    (void)world.become_ready(1);
    EXPECT_THAT(world.tell(event::Reached{1, 0, Reach::wrong, "x answers wrongly"}), ElementsAre("kill 1"));
    EXPECT_THAT(world.die(1, {false, 9}),
                ElementsAre("forget 1", "close sockets", "exit 70 'self-test: x answers wrongly'"));
}

TEST(StateMachine, SaysThatTheSelfTestFailedThoughAPublicSocketAnsweredWronglyBefore) {
    World world{1, 1};
    world.begin();
    (void)world.tell(event::Said{1, Word::hello});
    (void)world.tell(event::Said{1, Word::armed});
    EXPECT_THAT(world.tell(event::Reached{1, 0, Reach::wrong, "x answers wrongly"}), IsEmpty());
    EXPECT_THAT(world.tell(event::SelfTested{1, "no echo"}), ElementsAre("kill 1"));
    EXPECT_THAT(world.die(1, {false, 9}),
                ElementsAre("forget 1", "close sockets", "exit 70 'self-test: no echo'"));
}

TEST(StateMachine, DoesNotTryThePublicSocketsOfAReplacement) {
    World world{1, 1};
    world.begin();
    (void)world.become_ready(1);
    (void)world.tell(event::Reached{1, 0, Reach::served, ""});
    (void)world.die(1);
    EXPECT_THAT(world.pass(0ms), ElementsAre("start 2: service 0, number 2"));
    world.started(2);
    EXPECT_THAT(world.become_ready(2), ElementsAre("launch 2", "self-test 2", "ready 2"));
}

/// When the next listener is started, after each death.
std::vector<Time> pauses(World& world, WaitStatus status, unsigned deaths) {
    std::vector<Time> found;
    for (Id id = 1; id <= deaths; ++id) {
        (void)world.become_ready(id);
        (void)world.die(id, status);
        found.push_back(world.pass_until_start().value_or(-1ms));
        world.started(id + 1);
    }
    return found;
}

TEST(StateMachine, ReplacesTheFirstAtOnceAndLaterOnesEverLater) {
    World world;
    world.begin();
    EXPECT_THAT(pauses(world, {false, 11}, 6), ElementsAre(0ms, 100ms, 200ms, 400ms, 800ms, 1600ms));
    (void)world.become_ready(7);
    EXPECT_THAT(world.die(7), ElementsAre("forget 7", "died: service 0, process 107, signal 11",
                                          "close sockets", again_and_again));
}

TEST(StateMachine, GivesMemoryAMomentAfterAKill) {
    World world;
    world.begin();
    EXPECT_THAT(pauses(world, {false, 9}, 3), ElementsAre(100ms, 100ms, 200ms));
}

TEST(StateMachine, CountsFromTheStartAgainAfterAListenerThatWasSteady) {
    World world;
    world.begin();
    (void)pauses(world, {false, 11}, 6);
    (void)world.become_ready(7);
    (void)world.pass(steady_after);
    (void)world.die(7);
    EXPECT_EQ(world.pass_until_start(), 0ms);
    world.started(8);
    (void)world.become_ready(8);
    (void)world.pass(steady_after - 1ms);
    (void)world.die(8);
    EXPECT_EQ(world.pass_until_start(), 100ms);
}

TEST(StateMachine, CountsAFailedStartOfAReplacementToo) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    (void)world.die(1);
    Said last;
    for (Id id = 2; id <= 7; ++id) {
        ASSERT_TRUE(world.pass_until_start());
        last = world.tell(event::NotStarted{id, {ExitCode::BadPolicy, "not proved"}});
        EXPECT_THAT(last, testing::Contains("failed: service 0: not proved"));
    }
    EXPECT_EQ(last.back(), again_and_again);
}

// Each of them may pass by itself: clients go, memory is freed, somebody ceases to kill or to stop listeners.
TEST(StateMachine, WaitsForRoomForAReplacementForAsLongAsItTakes) {
    const std::string exited = "could not confine itself: exit code 71";
    const std::string killed =
        "was killed, or had closed its socket, while it started; did memory run out (dmesg)?";
    const std::pair<std::function<Said(World&, Id)>, std::string> failures[] = {
        {[](World& world, Id id) {
             return world.tell(event::NotStarted{id, {ExitCode::SystemCall, "fork: EAGAIN"}});
         },
         "fork: EAGAIN"},
        {[](World& world, Id id) {
             world.started(id);
             return world.die(id, {true, 71});
         },
         exited},
        {[](World& world, Id id) {
             world.started(id);
             return world.die(id, {false, 9});
         },
         killed},
        {[](World& world, Id id) {
             world.started(id);
             (void)world.tell(event::Said{id, Word::hello});
             (void)world.tell(event::NoLaunch{id, {ExitCode::SystemCall, "memfd_create: ENFILE"}});
             return world.die(id, {false, 9});
         },
         "memfd_create: ENFILE"},
        {[](World& world, Id id) {
             world.started(id);
             (void)world.pass(answer_limit);
             return world.die(id, {false, 9});
         },
         "has not answered for 20 s"},
        {[](World& world, Id id) {
             world.started(id);
             (void)world.tell(event::Said{id, Word::hello});
             (void)world.tell(event::Said{id, Word::armed});
             (void)world.tell(event::SelfTested{id, "recv: ECONNRESET"});
             return world.die(id, {false, 9});
         },
         "self-test: recv: ECONNRESET"},
    };
    for (const auto& [fail, cause] : failures) {
        World world;
        world.begin();
        (void)world.become_ready(1);
        (void)world.die(1);
        ASSERT_EQ(world.pass_until_start(), 0ms);
        std::vector<Time> waits;
        std::size_t said = 0;
        Id id = 2;
        for (; id < 102; ++id) {
            for (const std::string& word : fail(world, id)) {
                EXPECT_FALSE(word.starts_with("exit") || word.starts_with("down")) << word;
                said += word.starts_with("waiting: service 0, ") && word.ends_with(cause) ? 1U : 0U;
            }
            const auto wait = world.pass_until_start();
            ASSERT_TRUE(wait) << cause;
            waits.push_back(*wait);
        }
        EXPECT_EQ(waits.front(), first_back_off);
        EXPECT_EQ(waits.back(), longest_wait_for_room);
        EXPECT_EQ(said, 6U) << "failures 2, 4, 8, 16, 32, 64 in a row: " << cause;
        world.started(id);
        EXPECT_EQ(world.become_ready(id).back(), fmt::format("ready {}", id));
    }
}

TEST(StateMachine, AListenerThatIsKilledAgainAndAgainIsReplacedForEver) {
    World world;
    world.begin();
    Said last;
    for (Id id = 1; id <= 50; ++id) {
        (void)world.become_ready(id);
        last = world.die(id, {false, 9});
        if (id == 2) {
            EXPECT_THAT(last.back(), testing::HasSubstr("killed again and again"));
        }
        ASSERT_TRUE(world.pass_until_start()) << id;
        world.started(id + 1);
    }
}

TEST(StateMachine, ReplacesAListenerThatDoesNotAnswer) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    world.silent = true;
    EXPECT_THAT(world.pass(ask_every), ElementsAre("ask 1"));
    EXPECT_THAT(world.pass(silent_after - 1ms), IsEmpty());
    EXPECT_THAT(world.pass(1ms), ElementsAre("silent: service 0, process 101, 4000 ms"));
    EXPECT_THAT(world.pass(killed_after - silent_after),
                ElementsAre("failed: service 0: the listener, process 101, has not answered for 12 s: it is "
                            "stopped, frozen, or asleep in the kernel; it is killed",
                            "kill 1"));
    EXPECT_THAT(world.die(1, {false, 9}), ElementsAre("forget 1", "died: service 0, process 101, signal 9"));
    EXPECT_EQ(world.pass_until_start(), first_back_off);
}

TEST(StateMachine, ReplacesAListenerThatDoesNotEvenDieOfSigkill) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    world.silent = true;
    (void)world.pass(ask_every + killed_after);
    EXPECT_THAT(world.pass(grace), testing::Contains(testing::StartsWith("waiting: service 0, 1 failures")));
    EXPECT_EQ(world.pass_until_start(), first_back_off);
}

TEST(StateMachine, TakesALateAnswerAndAsksAgainLater) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    world.silent = true;
    (void)world.pass(ask_every + killed_after - 1ms);
    EXPECT_THAT(world.tell(event::Said{1, Word::alive}), IsEmpty());
    EXPECT_THAT(world.pass(ask_every), ElementsAre("ask 1"));
}

TEST(StateMachine, AsksAListenerThatDrainsToo) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    (void)world.tell(event::Stop{15});
    world.silent = true;
    EXPECT_THAT(world.pass(ask_every + killed_after), testing::Contains("kill 1"));
}

TEST(StateMachine, TakesAnAnswerWithoutAQuestionForNonsense) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    EXPECT_THAT(world.tell(event::Said{1, Word::alive}), testing::Contains("kill 1"));
}

// A freezer, a SIGSTOP of the whole group, a machine that is overloaded.
TEST(StateMachine, ThatWasKeptFromRunningAsksAgainAndWaitsAFullPeriod) {
    World world{2};
    world.begin();
    (void)world.become_ready(1);
    world.silent = true;
    (void)world.pass(ask_every + silent_after);
    EXPECT_THAT(world.sleep(1h), ElementsAre("ask 1"));
    EXPECT_THAT(world.pass(silent_after), ElementsAre("silent: service 0, process 101, 4000 ms"));
    EXPECT_THAT(world.tell(event::Said{2, Word::hello}), ElementsAre("launch 2"))
        << "one that started had more time, too";
    EXPECT_THAT(world.pass(killed_after - silent_after - 1ms), IsEmpty());
    EXPECT_THAT(world.tell(event::Said{1, Word::alive}), IsEmpty());
    EXPECT_THAT(world.tell(event::Said{1, Word::alive}), IsEmpty()) << "one for each question";
    EXPECT_THAT(world.pass(ask_every), ElementsAre("ask 1"));
}

TEST(StateMachine, AServiceThatFailsForEverIsTriedForEverWhileAnotherServes) {
    World world{2};
    world.begin();
    (void)world.become_ready(1);
    (void)world.become_ready(2);
    (void)world.die(2);
    Id id = 3;
    std::vector<Time> found;
    Said last;
    for (; id < 20; ++id) {
        found.push_back(world.pass_until_start().value());
        world.started(id);
        last = world.die(id, {true, 77});
    }
    EXPECT_EQ(found[1], 100ms);
    EXPECT_THAT(std::vector(found.begin() + 6, found.begin() + 13),
                ElementsAre(3200ms, 6400ms, 12800ms, 25600ms, 51200ms, 60s, 60s));
    EXPECT_EQ(found.back(), longest_back_off);
    EXPECT_EQ(last.back(), "down: service 1, 18 failures, again in 60000 ms");
    (void)world.pass(longest_back_off);
    world.started(id);
    EXPECT_EQ(world.become_ready(id).back(), fmt::format("ready {}", id)) << "and may recover";
}

TEST(StateMachine, GivesUpWhenNoServiceIsLeft) {
    World world{2};
    world.begin();
    (void)world.become_ready(1);
    (void)world.become_ready(2);
    (void)world.die(1);
    (void)world.die(2);
    Id id = 3;
    Said last;
    for (int i = 0; i < 100 && (last.empty() || last.back() != again_and_again); ++i) {
        for (const std::string& word : world.pass(world.due().value())) {
            if (word.starts_with("start ")) {
                world.started(id);
                last = world.die(id++, {true, 70});
            }
        }
    }
    EXPECT_EQ(last.back(), again_and_again);
    EXPECT_GE(id, 3 + 2 * failures_limit) << "each had its chances";
}

TEST(StateMachine, AServiceThatWasNeverReadyEndsTheOthersToo) {
    World world{3};
    world.begin();
    (void)world.become_ready(1);
    EXPECT_THAT(world.die(2, {true, 77}), ElementsAre("forget 2", "close sockets", "kill 1", "kill 3"));
    EXPECT_THAT(world.tell(event::Said{3, Word::hello}), ElementsAre()) << "it is too late";
    EXPECT_THAT(world.die(3, {false, 9}), ElementsAre("forget 3"));
    EXPECT_THAT(world.die(1, {false, 9}),
                ElementsAre("forget 1",
                            "exit 77 'the listener, process 102, could not confine itself: exit code 77'"));
}

TEST(StateMachine, DoesNotWaitForTheOthersForEverWhenItGivesUp) {
    World world{2};
    world.begin();
    (void)world.die(2, {true, 77});
    EXPECT_EQ(world.due(), grace);
    EXPECT_THAT(world.pass(grace),
                ElementsAre("exit 77 'the listener, process 102, could not confine itself: exit code 77'"));
    EXPECT_THAT(world.die(1), ElementsAre("forget 1")) << "no second exit";
}

TEST(StateMachine, DrainsOnStopAndExitsWhenTheLastHasGone) {
    World world{2};
    world.begin();
    (void)world.become_ready(1);
    (void)world.become_ready(2);
    EXPECT_THAT(world.tell(event::Stop{15}),
                ElementsAre("stopping 15", "close sockets", "drain 1", "drain 2"));
    EXPECT_THAT(world.pass(30s - 1ms), IsEmpty());
    EXPECT_THAT(world.die(2, {true, 0}), ElementsAre("forget 2"));
    EXPECT_THAT(world.die(1, {true, 0}), ElementsAre("forget 1", "exit 0 ''"));
}

TEST(StateMachine, EndsTheRestAfterTheDrainTimeoutAndKillsAfterTheGrace) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    (void)world.tell(event::Stop{15});
    EXPECT_THAT(world.pass(30s - 1ms), IsEmpty());
    EXPECT_THAT(world.pass(1ms), ElementsAre("end 1"));
    EXPECT_THAT(world.pass(grace - 1ms), IsEmpty());
    EXPECT_THAT(world.pass(1ms), ElementsAre("kill 1"));
    EXPECT_THAT(world.die(1, {false, 9}), ElementsAre("forget 1", "exit 0 ''"));
}

TEST(StateMachine, EndsAtOnceOnASecondSignalAndTakesAThirdForNoMore) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    (void)world.tell(event::Stop{15});
    EXPECT_THAT(world.tell(event::Stop{2}), ElementsAre("end 1"));
    EXPECT_THAT(world.tell(event::Stop{2}), IsEmpty());
    EXPECT_THAT(world.pass(grace), ElementsAre("kill 1"));
}

TEST(StateMachine, ExitsThoughOneSurvivesSigkill) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    (void)world.tell(event::Stop{15});
    (void)world.tell(event::Stop{15});
    EXPECT_THAT(world.pass(2 * grace), ElementsAre("kill 1", "exit 0 ''"));
}

TEST(StateMachine, KillsAListenerThatStartsWhenItIsToldToStop) {
    for (int steps = 0; steps < 3; ++steps) {
        World world;
        world.begin();
        const Event said[] = {event::Said{1, Word::hello}, event::Said{1, Word::armed}};
        for (int i = 0; i < steps; ++i) {
            (void)world.tell(said[i]);
        }
        EXPECT_THAT(world.tell(event::Stop{15}), ElementsAre("stopping 15", "close sockets", "kill 1"));
        EXPECT_THAT(world.die(1, {false, 9}), ElementsAre("forget 1", "exit 0 ''"));
    }
}

TEST(StateMachine, StartsNothingMoreAfterAStop) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    (void)world.die(1);
    EXPECT_THAT(world.tell(event::Stop{15}), ElementsAre("stopping 15", "close sockets", "exit 0 ''"));
    EXPECT_EQ(world.due(), std::nullopt);
    EXPECT_THAT(world.tell(event::Replace{0, spec}), IsEmpty());
}

TEST(StateMachine, OneThatDiesWhileItDrainsIsNotReplaced) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    (void)world.tell(event::Stop{15});
    EXPECT_THAT(world.die(1), ElementsAre("forget 1", "exit 0 ''"));
}

TEST(StateMachine, ReplacesAGenerationWithoutAGap) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    EXPECT_THAT(world.tell(event::Replace{0, spec}), ElementsAre("start 2: service 0, number 2"));
    world.started(2);
    EXPECT_THAT(world.become_ready(2),
                ElementsAre("launch 2", "self-test 2", "drain 1", "ready 2", "replaced 0"));
    (void)world.tell(event::Replace{0, spec});
    world.started(3);
    EXPECT_THAT(world.become_ready(3),
                ElementsAre("launch 3", "self-test 3", "drain 2", "ready 3", "replaced 0"))
        << "several may drain";
    EXPECT_THAT(world.die(1, {true, 0}), ElementsAre("forget 1")) << "as it should";
    EXPECT_THAT(world.pass(24h), IsEmpty()) << "it may take as long as its connections last";
    EXPECT_THAT(world.tell(event::Stop{15}), ElementsAre("stopping 15", "close sockets", "drain 3"));
    EXPECT_THAT(world.pass(30s), ElementsAre("end 2", "end 3"));
    EXPECT_THAT(world.pass(grace), ElementsAre("kill 2", "kill 3"));
    EXPECT_THAT(world.die(2, {false, 9}), ElementsAre("forget 2"));
}

TEST(StateMachine, AReplacementTakesThePlaceOfOneThatStarts) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    (void)world.tell(event::Replace{0, spec});
    world.started(2);
    EXPECT_THAT(world.tell(event::Replace{0, spec}), ElementsAre("kill 2", "start 3: service 0, number 3"));
    world.started(3);
    EXPECT_THAT(world.die(2, {false, 9}), ElementsAre("forget 2")) << "nobody waits for it";
    EXPECT_THAT(world.become_ready(3),
                ElementsAre("launch 3", "self-test 3", "drain 1", "ready 3", "replaced 0"));
}

TEST(StateMachine, StartsNoReplacementWhileEightGenerationsDrain) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    for (Id id = 2; id <= 9; ++id) {
        (void)world.tell(event::Replace{0, spec});
        world.started(id);
        (void)world.become_ready(id);
    }
    EXPECT_THAT(world.tell(event::Replace{0, spec}), ElementsAre("replace waits 0"));
    EXPECT_THAT(world.die(5, {true, 0}), ElementsAre("forget 5", "start 10: service 0, number 10"));
    world.started(10);
    EXPECT_THAT(world.become_ready(10),
                ElementsAre("launch 10", "self-test 10", "drain 9", "ready 10", "replaced 0"));
}

TEST(StateMachine, AddsAServiceThatEndsNobodyIfItCannotStart) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    EXPECT_THAT(world.tell(event::Add{spec}), ElementsAre("start 2: service 1, number 1, reach"));
    world.started(2);
    EXPECT_THAT(world.die(2, {true, 77}),
                ElementsAre("forget 2", "not replaced 1: the listener, process 102, could not confine "
                                        "itself: exit code 77"));
    EXPECT_THAT(world.pass(24h), IsEmpty());
    EXPECT_THAT(world.tell(event::Add{spec}), ElementsAre("start 3: service 2, number 1, reach"));
    world.started(3);
    EXPECT_THAT(world.become_ready(3), ElementsAre("launch 3", "self-test 3", "ready 3", "replaced 2"));
}

TEST(StateMachine, RemovesAServiceAndStartsItNoMore) {
    World world{3};
    world.begin();
    (void)world.become_ready(1);
    (void)world.become_ready(2);
    EXPECT_THAT(world.tell(event::Remove{0}), ElementsAre("drain 1"));
    EXPECT_THAT(world.die(1, {false, 11}), ElementsAre("forget 1"));
    EXPECT_THAT(world.tell(event::Remove{2}), ElementsAre("kill 3"));
    EXPECT_THAT(world.die(3, {false, 9}), ElementsAre("forget 3"));
    EXPECT_THAT(world.tell(event::Replace{0, spec}), IsEmpty());
    EXPECT_THAT(world.pass(24h), IsEmpty());
    EXPECT_THAT(world.tell(event::Stop{15}), ElementsAre("stopping 15", "close sockets", "drain 2"));
}

TEST(StateMachine, KeepsTheOldGenerationWhenItsReplacementFails) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    (void)world.tell(event::Replace{0, spec});
    world.started(2);
    EXPECT_THAT(
        world.die(2, {true, 77}),
        ElementsAre("forget 2",
                    "not replaced 0: the listener, process 102, could not confine itself: exit code 77",
                    "failed: service 0: the listener, process 102, could not confine itself: exit code 77"));
    EXPECT_THAT(world.pass(24h), IsEmpty());
}

TEST(StateMachine, AReplacementThatStartsTakesThePlaceOfOneThatDies) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    (void)world.tell(event::Replace{0, spec});
    world.started(2);
    (void)world.die(1);
    EXPECT_THAT(world.pass(1s), IsEmpty()) << "no third one";
    EXPECT_THAT(world.become_ready(2), ElementsAre("launch 2", "self-test 2", "ready 2", "replaced 0"));
}

TEST(StateMachine, IgnoresWhatComesFromAGenerationThatIsGone) {
    World world;
    world.begin();
    (void)world.become_ready(1);
    (void)world.die(1);
    for (const Event& late : std::vector<Event>{
             event::Started{1, 5}, event::NotStarted{1, {ExitCode::Ok, ""}}, event::Said{1, Word::hello},
             event::NoLaunch{1, {ExitCode::Ok, ""}}, event::Closed{1}, event::Ended{1, {true, 0}},
             event::SelfTested{1, "x"}, event::Reached{1, 0, Reach::wrong, "x"}, event::Replace{7, spec},
             event::Remove{7}}) {
        EXPECT_THAT(world.tell(late), IsEmpty()) << late.index();
    }
}

} // namespace
} // namespace cloister::supervisor
