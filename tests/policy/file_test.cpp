// SPDX-License-Identifier: MIT
#include "fixture.h"

#include <sys/stat.h>

namespace cloister::policy {
namespace {

std::string refusal(const std::filesystem::path& path) {
    const auto policy = load(path);
    return policy ? "accepted" : policy.error().message;
}

TEST(PolicyFile, MustExist) {
    const auto policy = load(Scratch{}.file("none.policy"));
    ASSERT_FALSE(policy);
    EXPECT_EQ(policy.error().kind, Error::Kind::missing);
    EXPECT_EQ(policy.error().message, "cannot open: No such file or directory (ENOENT)");
}

TEST(PolicyFile, MayNotBeADanglingLink) {
    const Scratch scratch;
    std::filesystem::create_symlink("nowhere", scratch.file("link"));
    const auto policy = load(scratch.file("link"));
    ASSERT_FALSE(policy);
    EXPECT_EQ(policy.error().kind, Error::Kind::missing);
    EXPECT_EQ(policy.error().message, "cannot open: No such file or directory (ENOENT)");
}

TEST(PolicyFile, MustBeReadableForUs) {
    const Scratch scratch;
    const auto path = scratch.write("p", head);
    ASSERT_EQ(::chmod(scratch.file(".").c_str(), 0711), 0);
    ASSERT_EQ(::chmod(path.c_str(), 0), 0);
    const bool root = ::geteuid() == 0; // who may read what is forbidden
    ASSERT_TRUE(!root || ::seteuid(61007) == 0);
    const auto policy = load(path);
    ASSERT_TRUE(!root || ::seteuid(0) == 0);
    ASSERT_FALSE(policy);
    EXPECT_EQ(policy.error().kind, Error::Kind::refused);
    EXPECT_EQ(policy.error().message, "cannot open: Permission denied (EACCES)");
}

TEST(PolicyFile, MayBeALinkToAPolicy) {
    const Scratch scratch;
    const auto target = scratch.write("p.policy", head);
    std::filesystem::create_symlink(target, scratch.file("link"));
    EXPECT_EQ(refusal(scratch.file("link")), "accepted");
}

TEST(PolicyFile, MayNotBeADirectory) {
    const Scratch scratch;
    const auto policy = load(scratch.file("."));
    ASSERT_FALSE(policy);
    EXPECT_EQ(policy.error().kind, Error::Kind::refused);
    EXPECT_EQ(policy.error().message, "is a directory, not a regular file");
}

TEST(PolicyFile, MayNotBeAFifoAndDoesNotWaitForOne) {
    const Scratch scratch;
    ASSERT_EQ(::mkfifo(scratch.file("fifo").c_str(), 0600), 0);
    EXPECT_EQ(refusal(scratch.file("fifo")), "is not a regular file");
}

TEST(PolicyFile, MayNotBeADevice) {
    EXPECT_EQ(refusal("/dev/null"), "is not a regular file");
}

TEST(PolicyFile, MustBeReadableToItsEnd) {
    EXPECT_EQ(refusal("/proc/self/mem"), "cannot read: Input/output error (EIO)") << "nothing is mapped at 0";
}

TEST(PolicyFile, MayNotBeEmpty) {
    const Scratch scratch;
    EXPECT_EQ(refusal(scratch.write("p", "")), "the file ends before 'policy'");
}

TEST(PolicyFile, MayNotBeTenMegabytes) {
    const Scratch scratch;
    EXPECT_EQ(refusal(scratch.write("p", std::string(10'000'000, '\n'))), "is longer than 262144 bytes");
}

TEST(PolicyFile, MayBeAsLongAsTheLimitAndNoLonger) {
    const Scratch scratch;
    std::string text{head};
    text.append(max_file_size - text.size(), '\n');
    EXPECT_EQ(refusal(scratch.write("p", text)), "accepted");
    EXPECT_EQ(refusal(scratch.write("p", text + "\n")), "is longer than 262144 bytes");
}

TEST(PolicyFile, MayNotBeWritableByAnyone) {
    const Scratch scratch;
    const auto path = scratch.write("p", head);
    ASSERT_EQ(::chmod(path.c_str(), 0646), 0);
    EXPECT_EQ(refusal(path), "anyone may write to it (mode 0646): chmod o-w");
    ASSERT_EQ(::chmod(path.c_str(), 0664), 0);
    EXPECT_EQ(refusal(path), "accepted");
}

TEST(PolicyFile, ErrorsNameTheFileWithoutALineWhereThereIsNone) {
    const Scratch scratch;
    const auto policy = load(scratch.file("none"));
    ASSERT_FALSE(policy);
    EXPECT_EQ(policy.error().text(),
              scratch.file("none").string() + ": error: cannot open: No such file or directory (ENOENT)");
}

} // namespace
} // namespace cloister::policy
