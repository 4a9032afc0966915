// SPDX-License-Identifier: MIT
#pragma once

#include "supervisor/failure.h"

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <variant>
#include <vector>

/// What the supervisor does next, decided without a system call: events in, actions out. The loop (loop.h)
/// carries the actions out and brings the events; tests do so with a clock of their own.
///
/// A service has at most one generation that starts and one that serves, and up to most_draining that drain.
/// Whatever happens to a generation concerns its own service only, with two exceptions, which end the daemon:
/// a service that was never ready fails to start, and no service is left that serves or may still become
/// ready soon. The second one is about listeners that crash or cannot confine themselves: for room
/// (processes, memory, descriptors) that clients have taken, or somebody who kills or stops listeners, a
/// replacement is tried for as long as it takes.
namespace cloister::supervisor {

using Time = std::chrono::milliseconds; ///< since any one moment; never goes back

// Listeners: how long each of their steps may take, and when they are replaced.
inline constexpr Time answer_limit{20'000}; ///< for each answer of a listener that starts
inline constexpr Time self_test_limit{10'000};
inline constexpr Time reach_limit{1'000}; ///< for the public sockets at the first start; then it goes on
inline constexpr Time grace{5'000};       ///< for a listener to end its cells, or to be gone after SIGKILL
inline constexpr Time steady_after{
    10'000}; ///< a listener that served this long is no sign of trouble when it ends
inline constexpr unsigned failures_limit = 6; ///< in a row, of listeners that were not steady
inline constexpr Time first_back_off{100};    ///< doubles with each
inline constexpr Time longest_back_off{60'000};
inline constexpr Time longest_wait_for_room{5'000}; ///< the same after a failure that may pass by itself

// Watchdog: a listener that serves or drains is asked whether it still does.
inline constexpr Time ask_every{3'000};    ///< after its last answer
inline constexpr Time silent_after{4'000}; ///< after the question: that is logged
inline constexpr Time killed_after{
    12'000}; ///< after the question: it is stopped, frozen or asleep in the kernel
/// How late advance() may be called. If it is later, we were kept from running, as others may have been:
/// everybody gets that much more time and the grace, and questions are asked again.
inline constexpr Time late_limit{1'000};

/// Generations of a service that were replaced and still have connections; no other one is started meanwhile.
inline constexpr std::size_t most_draining = 8;

/// What a service is to the state machine. Of a service with several listeners each is one by itself: a crash
/// of one concerns no other, and none waits for another.
struct ServiceSpec {
    Time drain_timeout;
    std::size_t sockets; ///< public ones that are tried before it is ready for the first time
    std::size_t most_draining = supervisor::most_draining;
};

using Id = unsigned; ///< of a generation, over all services, from 1 on

/// How far a generation, or the daemon, is.
enum class Stage { starting, serving, draining, ending };

/// What a listener can say. Anything else, or more than this, is nonsense.
enum class Word { hello, armed, alive, nonsense };

/// How a client of a public socket fared.
enum class Reach {
    served,
    unreachable, ///< not from where we stand
    busy,        ///< clients that wait come first
    wrong,       ///< it answered what it should not
};

struct WaitStatus {
    bool exited;             ///< or ended by a signal
    int value;               ///< exit code or signal
    std::string low_limit{}; ///< "RLIMIT_AS (123)": one that is so low that it may be the cause; or empty
};

namespace event {
struct Begin {}; ///< the first one
struct Started {
    Id id;
    int pid;
};
struct NotStarted { ///< there is no process
    Id id;
    Failure failure;
};
struct Said {
    Id id;
    Word word;
};
struct NoLaunch { ///< it can't be told what to do
    Id id;
    Failure failure;
};
struct Closed { ///< its control socket
    Id id;
};
struct Ended { ///< and was reaped
    Id id;
    WaitStatus status;
};
struct SelfTested {
    Id id;
    std::string failure; ///< empty: it passed
};
struct Reached { ///< a public socket
    Id id;
    std::size_t socket;
    Reach reach;
    std::string text; ///< unless served
};
struct Stop { ///< the first: drain; the second: now
    int signal;
};
/// Start a new generation, and drain the old one when that is ready; answered by Replaced or NotReplaced.
struct Replace {
    std::size_t service;
    ServiceSpec spec; ///< of the new one
};
/// One more service, with the next number; answered likewise.
struct Add {
    ServiceSpec spec;
};
struct Remove { ///< drain it, and start no other
    std::size_t service;
};
} // namespace event
using Event = std::variant<event::Begin, event::Started, event::NotStarted, event::Said, event::NoLaunch,
                           event::Closed, event::Ended, event::SelfTested, event::Reached, event::Stop,
                           event::Replace, event::Add, event::Remove>;

namespace action {
struct Start { ///< answered by Started or NotStarted
    Id id;
    std::size_t service;
    unsigned number; ///< of the service's generations, from 1 on
    bool reach;      ///< try the public sockets, too
};
struct Launch { ///< compile and prove for it, and send it its launch configuration
    Id id;
};
struct SelfTest { ///< it is armed; answered by SelfTested and, if Start said so, a Reached for each public
                  ///< socket
    Id id;
};
struct Ask { ///< whether it still serves; answered by Said
    Id id;
};
struct Drain {
    Id id;
};
struct End {
    Id id;
};
struct Kill { ///< SIGKILL; not reaped yet
    Id id;
};
struct Forget { ///< its process is no more, or there was none
    Id id;
};
struct Replaced { ///< the service is served by the generation that was asked for
    std::size_t service;
};
struct NotReplaced { ///< what served before goes on; a service that was added is gone again
    std::size_t service;
    std::string message;
};
struct CloseSockets {}; ///< of all services, and remove their paths
struct Exit {           ///< the last one
    ExitCode code;
    std::string message; ///< empty unless something failed
};

// For the log.
struct SayReady {
    Id id;
};
struct SayStarted {}; ///< every service has become ready for the first time
struct SayDied {      ///< a listener that served
    std::size_t service;
    int pid;
    WaitStatus status;
};
struct SayFailed { ///< a listener that serves no more, or never did, while the daemon goes on
    std::size_t service;
    std::string message;
};
struct SayDown { ///< a service whose listeners failed again and again, while other services go on
    std::size_t service;
    unsigned failures;
    Time retry;
};
struct SayWaiting { ///< a service without a listener: there is no room for one, or it is killed or stopped
    std::size_t service;
    unsigned failures;
    Time retry;
    std::string message; ///< what it waits for
};
struct SaySilent { ///< a listener that has not answered
    std::size_t service;
    int pid;
    Time silence;
};
struct SayReplaceWaits { ///< too many generations drain
    std::size_t service;
};
struct SayReach {
    Id id;
    std::size_t service, socket;
    Reach reach;
    std::string text; ///< empty: its time is over
};
struct SayStopping {
    int signal;
};
} // namespace action
using Action = std::variant<action::Start, action::Launch, action::SelfTest, action::Ask, action::Drain,
                            action::End, action::Kill, action::Forget, action::Replaced, action::NotReplaced,
                            action::CloseSockets, action::Exit, action::SayReplaceWaits, action::SayReady,
                            action::SayStarted, action::SayDied, action::SayFailed, action::SayDown,
                            action::SayWaiting, action::SaySilent, action::SayReach, action::SayStopping>;
using Actions = std::vector<Action>;

class StateMachine {
  public:
    explicit StateMachine(const std::vector<ServiceSpec>& services);

    /// Events of a generation that is gone are ignored.
    [[nodiscard]] Actions handle(const Event& event, Time now);
    /// What is due.
    [[nodiscard]] Actions advance(Time now);
    /// Nothing if it is gone.
    [[nodiscard]] std::optional<Stage> stage(Id id) const;
    [[nodiscard]] Stage stage() const; ///< of the daemon
    /// Whether no generation starts or ends.
    [[nodiscard]] bool is_settled() const;
    /// Whether no listener that should answer is silent for longer than it may be.
    [[nodiscard]] bool listeners_answer() const;
    [[nodiscard]] bool serves(std::size_t service) const;
    [[nodiscard]] std::size_t draining(std::size_t service) const; ///< generations
    [[nodiscard]] unsigned failures(std::size_t service) const { return services_[service].failures; }

    // What an earlier program of this process has left; before the first event.
    std::size_t adopt_service();
    Id adopt(std::size_t service, int pid, unsigned number, bool serves);

    /// When to call advance(), if nothing happens before.
    [[nodiscard]] std::optional<Time> next_deadline() const;

  private:
    enum class Role { starting, serving, retired };
    enum class Phase {
        forked,   ///< it says where its memory lies
        launched, ///< it confines itself
        testing,
        serving,
        draining,
        ending, ///< it ends its cells
        killed, ///< to be reaped
        lost    ///< killed, and does not go: reaped whenever it does
    };
    /// Why a start failed.
    struct Cause {
        Failure failure;
        bool passes; ///< by itself, sooner or later: no room, or somebody kills or stops listeners
    };
    struct Generation {
        Id id;
        std::size_t service;
        Role role = Role::starting;
        Phase phase = Phase::forked;
        int pid = 0;
        std::optional<Time> deadline; ///< of the phase
        Time ready_at{0};
        std::optional<Cause> why{}; ///< it is killed, unless its end says more
        bool self_tested = false;
        std::vector<bool> unreached{}; ///< public sockets that are not tried to the end
        std::optional<Time> reach_deadline{};
        std::string wrong_answer{}; ///< of a public socket; the self-test's failure says more
        std::optional<Time> watch_due{};
        Time asked_at{0};
        unsigned unanswered = 0; ///< questions
    };
    struct State {
        ServiceSpec spec;
        bool added = false; ///< at run time: if it cannot start, only it ends
        bool removed = false;
        bool replace_asked = false; ///< and not answered yet
        bool replace_waits = false; ///< for a generation that drains
        unsigned generations = 0;
        unsigned failures = 0; ///< in a row
        unsigned faults = 0;   ///< of them those that do not pass by themselves
        bool ever_ready = false;
        std::optional<Time> start_at{};
    };

    std::vector<State> services_;
    std::vector<Generation> generations_;
    Id ids_ = 0;
    Time now_{0};
    bool said_started_ = false;
    bool stopping_ = false;
    std::optional<action::Exit> result_; ///< once the end is certain
    std::optional<Time> exit_at_;        ///< whoever is left
    Actions out_;

    void on(const event::Begin& begin);
    void on(const event::Started& started);
    void on(const event::NotStarted& failed);
    void on(const event::Said& said);
    void on(const event::NoLaunch& failed);
    void on(const event::Closed& closed);
    void on(const event::Ended& ended);
    void on(const event::SelfTested& tested);
    void on(const event::Reached& reached);
    void on(const event::Stop& stop);
    void on(const event::Replace& replace);
    void on(const event::Add& add);
    void on(const event::Remove& remove);

    [[nodiscard]] Generation* find(Id id);
    [[nodiscard]] Generation* find(std::size_t service, Role role);
    void start(std::size_t service);
    void replace(std::size_t service);
    void not_replaced(std::size_t service, std::string message);
    void forget(Id id);
    void fail(Generation& generation, Cause why);
    void kill(Generation& generation);
    void drain(Generation& generation);
    void limit_drain(Generation& generation);
    void end(Generation& generation);
    void become_ready_if_tested(Generation& generation);
    void start_failed(std::size_t service, const Cause& cause);
    [[nodiscard]] static Cause judge(const Generation& generation, const WaitStatus& status);
    void back_off(std::size_t service, Time least, bool passes, std::string waits_for);
    [[nodiscard]] bool any_hope() const;
    void shut_down(Failure failure);
    void exit_if_alone();
    void over_time(Generation& generation);
    void give_up_reach(Generation& generation);
    void watch(Generation& generation);
    void ask(Generation& generation);
    void answered(Generation& generation);
    void give_more_time(Time more);
};

} // namespace cloister::supervisor
