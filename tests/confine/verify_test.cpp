// SPDX-License-Identifier: MIT
// What the kernel says of a process is held, line by line, against what must be.
#include "base/exit_code.h"
#include "base/fd.h"
#include "confine/confine.h"

#include <gtest/gtest.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

namespace cloister::confine {
namespace {

constexpr Expected all_of_it{61007, 61008, true, true, true};

const std::string as_it_must_be = "Name:\tcloister-listen\n"
                                  "Uid:\t61007\t61007\t61007\t61007\n"
                                  "Gid:\t61008\t61008\t61008\t61008\n"
                                  "Groups:\t \n"
                                  "Threads:\t1\n"
                                  "SigIgn:\t0000000000000000\n"
                                  "SigCgt:\t0000000000000000\n"
                                  "CapInh:\t0000000000000000\n"
                                  "CapPrm:\t0000000000000000\n"
                                  "CapEff:\t0000000000000000\n"
                                  "CapBnd:\t0000000000000000\n"
                                  "CapAmb:\t0000000000000000\n"
                                  "NoNewPrivs:\t1\n"
                                  "Seccomp:\t2\n";

std::string with(const std::string& line, const std::string& instead) {
    auto text = as_it_must_be;
    return text.replace(text.find(line), line.size(), instead);
}

Fd status_of(const std::string& text) {
    Fd fd{memfd_create("status", MFD_CLOEXEC)};
    EXPECT_EQ(write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    return fd;
}

constexpr auto self_test = static_cast<int>(ExitCode::SelfTest);

TEST(Verify, PassesTheExpectedStatus) {
    verify(all_of_it, status_of(as_it_must_be).get());
}

TEST(Verify, DoesNotDemandWhatWasNotExpected) {
    const Fd bounded = status_of(with("CapBnd:\t0000000000000000", "CapBnd:\t000001ffffffffff"));
    verify({61007, 61008, false, true, true}, bounded.get());
    const Fd grouped = status_of(with("Groups:\t ", "Groups:\t4 24 "));
    verify({61007, 61008, true, false, true}, grouped.get());
    const Fd unfiltered = status_of(with("Seccomp:\t2", "Seccomp:\t0"));
    verify({61007, 61008, true, true, false}, unfiltered.get());
}

struct Difference {
    const char* claim;
    const char* line;
    const char* instead;
    const char* said;
};
class VerifyDies : public testing::TestWithParam<Difference> {};

TEST_P(VerifyDies, OfEachWrongLineAndNamesIt) {
    const auto& difference = GetParam();
    const Fd status = status_of(with(difference.line, difference.instead));
    EXPECT_EXIT(verify(all_of_it, status.get()), testing::ExitedWithCode(self_test), difference.said);
}

INSTANTIATE_TEST_SUITE_P(
    Line, VerifyDies,
    testing::Values(
        Difference{"SavedUid", "Uid:\t61007\t61007\t61007", "Uid:\t61007\t61007\t0", "Uid must be"},
        Difference{"FilesystemGid", "61008\nGroups", "0\nGroups", "Gid must be"},
        Difference{"AGroup", "Groups:\t ", "Groups:\t0 ", "Groups must be ' ', the kernel says '0 '"},
        Difference{"AThread", "Threads:\t1", "Threads:\t2", "Threads must be '1', the kernel says '2'"},
        Difference{"AThreadMore", "Threads:\t1", "Threads:\t11", "Threads must be '1', the kernel says '11'"},
        Difference{"AnIgnoredSignal", "SigIgn:\t0", "SigIgn:\t8", "SigIgn must be"},
        Difference{"ACaughtSignal", "SigCgt:\t0", "SigCgt:\t8", "SigCgt must be"},
        Difference{"AnInheritableCapability", "CapInh:\t0", "CapInh:\t8", "CapInh must be"},
        Difference{"APermittedCapability", "CapPrm:\t0", "CapPrm:\t8", "CapPrm must be"},
        Difference{"AnEffectiveCapability", "CapEff:\t0", "CapEff:\t8", "CapEff must be"},
        Difference{"ABoundingCapability", "CapBnd:\t0", "CapBnd:\t8", "CapBnd must be"},
        Difference{"AnAmbientCapability", "CapAmb:\t0", "CapAmb:\t8", "CapAmb must be"},
        Difference{"NewPrivileges", "NoNewPrivs:\t1", "NoNewPrivs:\t0", "NoNewPrivs must be"},
        Difference{"NoFilter", "Seccomp:\t2", "Seccomp:\t0", "Seccomp must be '2', the kernel says '0'"},
        Difference{"NoSuchLine", "Seccomp:\t2\n", "", "Seccomp must be '2', the kernel says 'nothing'"},
        Difference{"TheNameAsTheEndOfAnother", "Seccomp:\t2", "NoSeccomp:\t2", "the kernel says 'nothing'"}),
    [](const auto& test) { return test.param.claim; });

TEST(Verify, DiesWhenItCannotReadOrThereIsNothing) {
    const auto cannot_read = testing::ExitedWithCode(static_cast<int>(ExitCode::SystemCall));
    EXPECT_EXIT(verify(all_of_it, -1), cannot_read, "cannot read /proc/self/status: pread64: EBADF");
    const Fd empty = status_of("");
    EXPECT_EXIT(verify(all_of_it, empty.get()), cannot_read, "cannot read /proc/self/status");
}

TEST(Confine, NeverBecomesRoot) {
    EXPECT_EXIT((void)become(0, 1), testing::ExitedWithCode(self_test), "bug: asked to become root");
}

TEST(Confine, DiesWhenItsParentEndedBeforeItAsked) {
    EXPECT_EXIT(die_with_parent(getpid()), testing::ExitedWithCode(self_test),
                "our parent, process [0-9]+, has ended")
        << "its parent is not itself";
}

} // namespace
} // namespace cloister::confine
