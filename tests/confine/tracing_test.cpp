// SPDX-License-Identifier: MIT
// Who may have traced a process since its start, and what is said then. fs.suid_dumpable is the machine's, so
// that it is 1 is only told here.
#include "base/tracing.h"

#include "base/exit_code.h"

#include <gmock/gmock.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace cloister {
namespace {

using testing::HasSubstr;
using testing::IsNull;

constexpr uid_t root = 0;
constexpr uid_t user = 61007;
constexpr uid_t another = 61008;

TEST(Start, ThatOnlyRootCouldTraceIsAccepted) {
    EXPECT_THAT(weakness_of({0, user, root, false, 0}), IsNull());
    EXPECT_THAT(weakness_of({2, user, root, false, 0}), IsNull()) << "fs.suid_dumpable=2";
    EXPECT_THAT(weakness_of({1, root, root, true, 0}), IsNull()) << "only root may trace root";
    EXPECT_THAT(weakness_of({1, root, user, true, 0}), IsNull());
}

TEST(Start, OfAProgramThatTheUserMayRewriteIsAccepted) {
    EXPECT_THAT(weakness_of({1, user, user, true, 0}), IsNull());
}

TEST(Start, OfAReadableProgramIsRefusedForItsMode) {
    EXPECT_THAT(weakness_of({1, user, root, true, 0}), HasSubstr("make root its owner and 0711 its mode"));
    EXPECT_THAT(weakness_of({1, user, another, true, 0}), HasSubstr("make root its owner and 0711 its mode"));
}

TEST(Start, OfAnUnreadableProgramIsRefusedForTheSysctl) {
    for (const int suid_dumpable : {1, -1}) {
        EXPECT_THAT(weakness_of({1, user, root, false, suid_dumpable}),
                    HasSubstr("fs.suid_dumpable must be 0 or 2"));
    }
}

TEST(Start, IsOtherwiseRefusedForWhatExecutedIt) {
    for (const int suid_dumpable : {0, 2}) {
        EXPECT_THAT(weakness_of({1, user, root, false, suid_dumpable}), HasSubstr("CAP_DAC_OVERRIDE"));
    }
}

TEST(Start, OfWhichTheKernelTellsNothingIsRefused) {
    EXPECT_THAT(weakness_of({-1, user, root, false, 0}), testing::NotNull());
}

[[noreturn]] void start_as(uid_t uid, int at_start) {
    if (geteuid() == root && uid != root && setresuid(uid, uid, uid) != 0) {
        _exit(1);
    }
    expect_untraceable_start(at_start);
    _exit(0);
}

TEST(Start, ThatCouldBeTracedIs77) {
    if (geteuid() != root) {
        GTEST_SKIP() << "this program is the user's own";
    }
    EXPECT_EXIT(start_as(user, 1), testing::ExitedWithCode(static_cast<int>(ExitCode::NotPermitted)),
                "process of user 61007 could have taken this one over while it started: .*0711 its mode");
    EXPECT_EXIT(start_as(user, 0), testing::ExitedWithCode(0), "");
    EXPECT_EXIT(start_as(root, 1), testing::ExitedWithCode(0), "");
}

TEST(ChangeOfUser, IsTriedAndUndone) {
    if (geteuid() != root) {
        GTEST_SKIP() << "only root can change its user";
    }
    const auto change = [](int before) {
        prctl(PR_SET_DUMPABLE, before);
        expect_untraceable_as(user);
        _exit(setfsuid(root) == root && dumpable() == 0 ? 0 : 2);
    };
    EXPECT_EXIT(change(0), testing::ExitedWithCode(0), "") << "unless fs.suid_dumpable is 1 here";
}

} // namespace
} // namespace cloister
