// SPDX-License-Identifier: MIT
//
// The contract between supervisor and listener: a listener takes nothing but a sealed launch that is for it.
#include "control/launch.h"

#include "base/exit_code.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace cloister::control {
namespace {

constexpr std::uint8_t code[3] = {};
constexpr cell::CallSites ours{&code[0], &code[1], &code[2]};

class Launch : public testing::Test {
  protected:
    Launch() {
        prepare(*launch_);
        launch_->arena = arena_;
        launch_->max_connections = 1;
        launch_->socket_count = 1;
        launch_->sockets[0].set_name("127.0.0.1:7007");
        launch_->filter_length = 1;
        launch_->call_sites = ours;
    }
    ~Launch() override { munmap(arena_, sizeof *arena_); }
    Launch(const Launch&) = delete;
    Launch& operator=(const Launch&) = delete;

    /// As a listener would, in a process of its own: it ends with 0 if it takes the launch configuration.
    [[noreturn]] void open_as_listener() {
        launch_->parameters.listener = getpid();
        (void)open_sealed(seal(*launch_)->get(), arena_, ours);
        _exit(0);
    }

    void expect_refusal(const std::function<void(control::Launch&)>& spoil, const char* said) {
        const control::Launch good = *launch_;
        spoil(*launch_);
        EXPECT_EXIT(open_as_listener(), testing::ExitedWithCode(static_cast<int>(ExitCode::SelfTest)), said);
        *launch_ = good;
    }

    std::unique_ptr<control::Launch> launch_ = std::make_unique<control::Launch>();
    cell::Arena* arena_ = static_cast<cell::Arena*>(
        mmap(nullptr, sizeof(cell::Arena), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
};

TEST_F(Launch, IsReadAsItWasSealed) {
    launch_->parameters.listener = getpid();
    launch_->parameters.cpu = 3;
    launch_->max_connections = 17;
    const Fd fd = seal(*launch_).value();
    const control::Launch& launch = open_sealed(fd.get(), arena_, ours);
    EXPECT_EQ(launch.max_connections, 17U);
    EXPECT_EQ(launch.parameters.cpu, 3U);
}

TEST_F(Launch, KeepsANameWithANulByteInIt) {
    using namespace std::string_view_literals;
    launch_->sockets[0].set_name("unix:@a\0b"sv);
    EXPECT_EQ(launch_->sockets[0].name(), "unix:@a\0b"sv);
    launch_->sockets[0].set_name(std::string(1000, 'x'));
    EXPECT_EQ(launch_->sockets[0].name(), std::string(sizeof(ListeningSocket::name_bytes), 'x'));
}

TEST_F(Launch, CannotBeChangedByAnybodyAfterwards) {
    launch_->parameters.listener = getpid();
    const Fd fd = seal(*launch_).value();
    const auto denied = [](long result, int error) { return result == -1 && errno == error; };
    EXPECT_TRUE(denied(pwrite(fd.get(), "x", 1, 0), EPERM));
    EXPECT_TRUE(denied(ftruncate(fd.get(), 0), EPERM));
    EXPECT_TRUE(denied(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE), EPERM)) << "the seals are sealed";
    EXPECT_EQ(mmap(nullptr, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0), MAP_FAILED);
    EXPECT_EQ(errno, EPERM);
    auto& launch = const_cast<control::Launch&>(open_sealed(fd.get(), arena_, ours));
    EXPECT_EXIT(launch.parameters.listener = 1, testing::KilledBySignal(SIGSEGV), "");
    EXPECT_TRUE(denied(mprotect(&launch, sizeof launch, PROT_READ | PROT_WRITE), EACCES));
}

TEST_F(Launch, ControlAGoodOneIsAccepted) {
    EXPECT_EXIT(open_as_listener(), testing::ExitedWithCode(0), "");
}

TEST_F(Launch, ThatIsForAnotherListenerIsRefused) {
    expect_refusal([](control::Launch& launch) { ++launch.arena; }, "not for this listener");
    EXPECT_EXIT((void)open_sealed(seal(*launch_)->get(), arena_, ours), testing::ExitedWithCode(70),
                "not for this listener")
        << "its cells would be orphans";
    expect_refusal([](control::Launch& launch) { launch.parameters.mode = cell::Mode::Call; },
                   "not for this listener");
}

TEST_F(Launch, ThatIsForOtherCallSitesIsRefused) {
    const char* const said = "other call sites than ours";
    expect_refusal([](control::Launch& launch) { ++launch.call_sites.listener; }, said);
    expect_refusal([](control::Launch& launch) { ++launch.call_sites.clone; }, said);
    expect_refusal([](control::Launch& launch) { ++launch.call_sites.setup; }, said);
}

TEST_F(Launch, OfAnotherBuildIsRefused) {
    const char* const said = "of different builds";
    expect_refusal([](control::Launch& launch) { launch.magic[0] = 'C'; }, said);
    expect_refusal([](control::Launch& launch) { ++launch.version; }, said);
    expect_refusal([](control::Launch& launch) { --launch.size; }, said);
}

TEST_F(Launch, OutOfRangeIsRefused) {
    const char* const said = "out of range";
    expect_refusal([](control::Launch& launch) { launch.row = max_rows; }, said);
    expect_refusal([](control::Launch& launch) { launch.admission.max_per_source = 0; }, said);
    expect_refusal([](control::Launch& launch) { launch.admission.max_per_network = 0; }, said);
    expect_refusal([](control::Launch& launch) { launch.admission.source_rate.burst = 0; }, said);
    expect_refusal([](control::Launch& launch) { launch.admission.network_rate.burst = 0; }, said);
    expect_refusal([](control::Launch& launch) { launch.admission.source_ipv4 = 33; }, said);
    expect_refusal([](control::Launch& launch) { launch.admission.network_ipv6 = 129; }, said);
    expect_refusal([](control::Launch& launch) { launch.admission.reserved = launch.max_connections; }, said);
    expect_refusal([](control::Launch& launch) { launch.admission.exempt_count = max_exempt + 1; }, said);
    expect_refusal([](control::Launch& launch) { launch.filter_length = 0; }, said);
    expect_refusal([](control::Launch& launch) { launch.filter_length = 2049; }, said);
    expect_refusal([](control::Launch& launch) { launch.socket_count = 0; }, said);
    expect_refusal([](control::Launch& launch) { launch.socket_count = max_listening_sockets + 1; }, said);
    expect_refusal([](control::Launch& launch) { launch.max_connections = 0; }, said);
    expect_refusal([](control::Launch& launch) { launch.max_connections = connection_limit + 1; }, said);
    expect_refusal([](control::Launch& launch) { launch.sockets[0].name_length = 0; }, said);
    expect_refusal([](control::Launch& launch) { launch.sockets[self_test_socket].name_length = 0; }, said);
    expect_refusal(
        [](control::Launch& launch) {
            launch.sockets[0].name_length = sizeof(ListeningSocket::name_bytes) + 1;
        },
        said);
}

TEST_F(Launch, ThatIsNotSealedOrHasAnotherSizeIsRefused) {
    const Fd open_file{memfd_create("not-sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    ASSERT_EQ(write(open_file.get(), launch_.get(), sizeof *launch_), static_cast<ssize_t>(sizeof *launch_));
    const auto open_it = [&] { (void)open_sealed(open_file.get(), arena_, ours); };
    EXPECT_EXIT(open_it(), testing::ExitedWithCode(70), "not sealed");
    const Fd no_memfd{open("/dev/null", O_RDWR | O_CLOEXEC)}; // asked for its seals it says -1: all bits
    EXPECT_EXIT((void)open_sealed(no_memfd.get(), arena_, ours), testing::ExitedWithCode(70), "not sealed");
    ASSERT_EQ(ftruncate(open_file.get(), sizeof *launch_ - 1), 0);
    ASSERT_EQ(fcntl(open_file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
              0);
    EXPECT_EXIT(open_it(), testing::ExitedWithCode(70), "bytes, not .*of different builds");
}

class Messages : public testing::Test {
  protected:
    Messages() {
        int ends[2] = {-1, -1};
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
        supervisor_ = Fd{ends[0]};
        listener_ = Fd{ends[1]};
    }
    Fd supervisor_, listener_;
    Message message_{};

    /// From the supervisor: the first `size` bytes of a message, or more, with `fds`.
    void send_bytes(std::size_t size, const std::vector<int>& fds) {
        std::vector<char> bytes(std::max(size, sizeof message_));
        std::memcpy(bytes.data(), &message_, sizeof message_);
        iovec part{bytes.data(), size};
        std::vector<char> rights(CMSG_SPACE(fds.size() * sizeof(int)));
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        if (!fds.empty()) {
            header.msg_control = rights.data();
            header.msg_controllen = rights.size();
            cmsghdr* const control = CMSG_FIRSTHDR(&header);
            control->cmsg_level = SOL_SOCKET;
            control->cmsg_type = SCM_RIGHTS;
            control->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
            std::memcpy(CMSG_DATA(control), fds.data(), fds.size() * sizeof(int));
        }
        ASSERT_EQ(sendmsg(supervisor_.get(), &header, 0), static_cast<ssize_t>(size));
    }

    /// Of the message that waits; no descriptor is left open.
    void expect_refusal(Descriptors* passed) {
        const auto count = [] {
            int open = 0;
            for (int number = 0; number < 1000; ++number) {
                open += fcntl(number, F_GETFD) >= 0 ? 1 : 0;
            }
            return open;
        };
        const int before = count();
        Message got{};
        EXPECT_FALSE(receive_message(listener_.get(), got, passed));
        EXPECT_EQ(errno, EPROTO);
        EXPECT_TRUE(passed == nullptr || !passed->front().valid());
        EXPECT_EQ(count(), before);
    }
};

TEST_F(Messages, ArriveWithTheDescriptorThatComesAlong) {
    message_.tag = Message::Tag::Launch;
    message_.landlock_abi = 5;
    ASSERT_TRUE(send_message(supervisor_.get(), message_, {STDERR_FILENO}));
    Message got{};
    Descriptors passed;
    ASSERT_TRUE(receive_message(listener_.get(), got, &passed));
    EXPECT_EQ(got.tag, Message::Tag::Launch);
    EXPECT_EQ(got.landlock_abi, 5);
    EXPECT_EQ(fcntl(passed.front().get(), F_GETFD), FD_CLOEXEC);
    EXPECT_FALSE(passed.back().valid());
}

TEST_F(Messages, ArriveWithThreeDescriptorsInTheirOrder) {
    int pipe[2];
    ASSERT_EQ(pipe2(pipe, O_CLOEXEC), 0);
    const Fd reader{pipe[0]};
    const Fd writer{pipe[1]};
    ASSERT_TRUE(send_message(supervisor_.get(), message_, {reader.get(), -1, writer.get(), STDERR_FILENO}));
    Message got{};
    Descriptors passed;
    ASSERT_TRUE(receive_message(listener_.get(), got, &passed));
    EXPECT_EQ(fcntl(passed.front().get(), F_GETFL) & O_ACCMODE, O_RDONLY);
    EXPECT_EQ(fcntl(passed[1].get(), F_GETFL) & O_ACCMODE, O_WRONLY);
    EXPECT_TRUE(passed.back().valid());
}

TEST_F(Messages, WithAnUnexpectedDescriptorAreRefusedAndItIsClosed) {
    ASSERT_TRUE(send_message(supervisor_.get(), message_, {STDERR_FILENO}));
    expect_refusal(nullptr);
}

TEST_F(Messages, WithMoreDescriptorsThanThreeAreRefusedAndAllAreClosed) {
    Descriptors fd;
    for (const std::size_t count : {4U, 5U, 7U, 253U}) { // the last is SCM_MAX_FD
        send_bytes(sizeof message_, std::vector<int>(count, STDERR_FILENO));
        expect_refusal(&fd);
        send_bytes(sizeof message_, std::vector<int>(count, STDERR_FILENO));
        expect_refusal(nullptr);
    }
}

TEST_F(Messages, OfAnotherLengthAreRefusedAndTheirDescriptorsAreClosed) {
    Descriptors fd;
    for (const std::size_t size :
         {std::size_t{1}, sizeof message_ - 1, sizeof message_ + 1, std::size_t{4096}}) {
        send_bytes(size, {});
        expect_refusal(&fd);
        send_bytes(size, {STDERR_FILENO});
        expect_refusal(&fd);
    }
    send_bytes(0, {STDERR_FILENO});
    expect_refusal(&fd);
}

TEST_F(Messages, WithOtherAncillaryDataAreRefused) {
    const int yes = 1;
    ASSERT_EQ(setsockopt(listener_.get(), SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes), 0);
    Descriptors fd;
    ASSERT_TRUE(send_message(supervisor_.get(), message_));
    expect_refusal(&fd);
    ASSERT_TRUE(send_message(supervisor_.get(), message_, {STDERR_FILENO}));
    expect_refusal(&fd);
}

TEST_F(Messages, EndWhenTheOtherSideCloses) {
    supervisor_.reset();
    Message got{};
    EXPECT_FALSE(receive_message(listener_.get(), got));
    EXPECT_EQ(errno, 0);
    EXPECT_FALSE(send_message(listener_.get(), message_));
    EXPECT_EQ(errno, EPIPE);
}

} // namespace
} // namespace cloister::control
