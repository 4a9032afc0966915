// SPDX-License-Identifier: MIT
#include "cell/cell.h"
#include "listener/exit_reason.h"
#include "listener/table.h"
#include "scripted/kernel.h"

#include <csignal>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <string>
#include <sys/syscall.h>

namespace cloister {
namespace {

TEST(CellTable, FindsWhatIsInItAndNothingElseAfterAnyHistory) {
    listener::CellTable table{64};
    std::map<pid_t, std::uint64_t> model;
    std::minstd_rand random{7};
    for (std::uint64_t step = 0; step < 200'000; ++step) {
        const auto pid = static_cast<pid_t>(1 + random() % 300);
        if (listener::Cell* const cell = table.find(pid); cell != nullptr) {
            ASSERT_EQ(model.at(pid), cell->connection);
            table.remove(*cell);
            model.erase(pid);
        } else {
            ASSERT_FALSE(model.contains(pid));
            if (!table.full()) {
                table.add(pid).connection = step;
                model[pid] = step;
            }
        }
        ASSERT_EQ(table.live(), model.size());
    }
    std::size_t walked = 0;
    for (std::size_t place = 0; place < table.places(); ++place) {
        walked += table.at(place) != nullptr ? 1U : 0U;
    }
    EXPECT_EQ(walked, model.size());
}

TEST(CellTable, HasNoCellZeroOrNegative) {
    listener::CellTable table{4};
    EXPECT_EQ(table.find(0), nullptr);
    EXPECT_EQ(table.find(-1), nullptr);
}

/// Hears what a process says at its end.
class LastWords final : public scripted::Kernel {
  public:
    std::string said;
    long answer(const scripted::Call& call) override {
        if (call.number == SYS_exit_group) {
            throw scripted::Exited{static_cast<int>(call.arguments[0])};
        }
        const auto* text =
            reinterpret_cast<const char*>(call.arguments[1]); // NOLINT(performance-no-int-to-ptr)
        said.append(text, static_cast<std::size_t>(call.arguments[2]));
        return call.arguments[2];
    }
};

TEST(CellTable, TakesNoMoreThanItsLimitAndNoProcessZero) {
    LastWords kernel;
    const scripted::Running running{kernel};
    listener::CellTable table{2};
    EXPECT_THROW(table.add(0), scripted::Exited);
    table.add(5);
    table.add(6);
    EXPECT_THROW(table.add(7), scripted::Exited);
    EXPECT_NE(kernel.said.find("bug: no room for cell 0 among 0"), std::string::npos) << kernel.said;
    EXPECT_NE(kernel.said.find("bug: no room for cell 7 among 2"), std::string::npos) << kernel.said;
}

struct Ending {
    int status;
    bool ended_by_us;
    const char* reason;
};

TEST(Ends, HaveTheirDocumentedReasons) {
    using cell::Exit;
    const auto exited = [](Exit code) { return static_cast<int>(code) << 8; };
    const Ending endings[] = {
        {exited(Exit::Done), false, "closed"},
        {exited(Exit::Idle), false, "idle"},
        {exited(Exit::Stalled), false, "stalled"},
        {exited(Exit::Reset), false, "reset"},
        {exited(Exit::Resources), false, "resources"},
        {exited(Exit::Bug), false, "bug"},
        {exited(Exit::Descriptors), false, "setup-descriptors"},
        {exited(Exit::DeathSignal), false, "setup-death-signal"},
        {exited(Exit::Orphan), false, "setup-orphan"},
        {exited(Exit::CpuLimit), false, "setup-cpu-limit"},
        {exited(Exit::Lifetime), false, "setup-lifetime"},
        {exited(Exit::SetupPage), false, "setup-page"},
        {14 << 8, false, "unknown"},
        {255 << 8, true, "unknown"},
        {SIGKILL, true, "ended"},
        {SIGKILL, false, "killed"},
        {SIGALRM, false, "lifetime"},
        {SIGALRM, true, "lifetime"},
        {SIGXCPU, false, "cpu"},
        {SIGSYS, false, "violation"},
        {SIGSYS, true, "violation"},
    };
    for (const auto& [status, ended_by_us, reason] : endings) {
        EXPECT_EQ(text_of(listener::exit_reason_of(status, ended_by_us)).name, reason) << status;
    }
    for (const int signal : {SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXFSZ}) {
        EXPECT_EQ(listener::exit_reason_of(signal, false), ExitReason::Crashed) << signal;
    }
}

} // namespace
} // namespace cloister
