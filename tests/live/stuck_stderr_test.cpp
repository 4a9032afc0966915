// SPDX-License-Identifier: MIT
// Standard error takes nothing, from the start. Clients are served all the same, and the daemon ends when it
// is told to, or when it cannot start.
#include "client.h"
#include "harness.h"

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <memory>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

namespace cloister::live {
namespace {

namespace fs = std::filesystem;

/// What a daemon gets as standard error. Ours are the other end and whatever takes it away.
class Stuck {
  public:
    Stuck() = default;
    virtual ~Stuck() = default;
    Stuck(const Stuck&) = delete;
    Stuck& operator=(const Stuck&) = delete;
    /// -1: not on this machine.
    [[nodiscard]] int fd() const { return writer_.get(); }
    /// It takes what waits for it.
    virtual void free() {
        fcntl(reader_.get(), F_SETFL, O_NONBLOCK);
        char bytes[65536];
        while (read(reader_.get(), bytes, sizeof bytes) > 0) {
        }
        reader_.reset();
    }

  protected:
    void fill() {
        const std::string bytes(4096, '\n');
        const int flags = fcntl(writer_.get(), F_GETFL);
        fcntl(writer_.get(), F_SETFL, flags | O_NONBLOCK);
        for (std::size_t size = bytes.size(); size > 0; size /= 2) {
            while (write(writer_.get(), bytes.data(), size) > 0) {
            }
        }
        fcntl(writer_.get(), F_SETFL, flags);
    }
    Fd writer_;
    Fd reader_;
};

class Pipe : public Stuck {
  public:
    Pipe() {
        int ends[2];
        EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
        reader_.reset(ends[0]);
        writer_.reset(ends[1]);
        fill();
    }
};

class StreamSocket : public Stuck {
  public:
    StreamSocket() {
        int ends[2];
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        reader_.reset(ends[0]);
        writer_.reset(ends[1]);
        fill();
    }
};

class Terminal : public Stuck {
  public:
    Terminal() {
        reader_.reset(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
        EXPECT_EQ(grantpt(reader_.get()), 0);
        EXPECT_EQ(unlockpt(reader_.get()), 0);
        writer_.reset(open(ptsname(reader_.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
        fill();
    }
};

/// A file on a file system that is frozen, as for a snapshot: who writes sleeps, and no signal wakes it.
class FrozenFile : public Stuck {
  public:
    FrozenFile() {
        const std::string image = directory_.file("image");
        std::ofstream{image};
        fs::resize_file(image, 8U << 20U);
        fs::create_directory(at_);
        if (!am_root() || run_program({"mkfs.ext4", "-q", image}).exit_code != 0 ||
            run_program({"mount", "-o", "loop", image, at_}).exit_code != 0) {
            return;
        }
        root_.reset(open(at_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        writer_.reset(open((at_ + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
        EXPECT_EQ(ioctl(root_.get(), FIFREEZE, 0), 0);
    }
    ~FrozenFile() override {
        free();
        writer_.reset();
        if (root_.valid()) {
            root_.reset();
            EXPECT_TRUE(within(5s, [&] { return umount(at_.c_str()) == 0; }));
        }
    }
    void free() override { (void)ioctl(root_.get(), FITHAW, 0); }

  private:
    TemporaryDirectory directory_;
    std::string at_ = directory_.file("at");
    Fd root_;
};

struct Kind {
    const char* name;
    std::unique_ptr<Stuck> (*make)();
};

void PrintTo(const Kind& kind, std::ostream* out) {
    *out << kind.name;
}

class StuckStderr : public testing::TestWithParam<Kind> {
  protected:
    void SetUp() override {
        if (stuck_->fd() < 0) {
            GTEST_SKIP() << "needs root, mkfs.ext4 and a loop device";
        }
    }
    TemporaryDirectory directory_;
    std::unique_ptr<Stuck> stuck_ = GetParam().make();
};

TEST_P(StuckStderr, KeepsNoClientAndNoEnd) {
    const std::string address = "unix:" + directory_.file("socket");
    Daemon daemon{{.listen = {address + ",mode=0666"}, .stderr_fd = stuck_->fd()}};
    for (int i = 0; i < 300; ++i) { // more records than a pipe takes
        ASSERT_TRUE(within(10s, [&] {
            try {
                return Client{address}.echoes("hello");
            } catch (const std::exception&) {
                return false;
            }
        })) << i;
    }
    daemon.signal(SIGTERM);
    EXPECT_EQ(daemon.ends_within(5s), 0);
    stuck_->free(); // the log relay stays until then
}

TEST_P(StuckStderr, DoesNotKeepADaemonThatCannotStart) {
    const std::string policies = directory_.file("policy");
    fs::copy(CLOISTER_POLICY_SOURCE, policies, fs::copy_options::recursive);
    std::ofstream{policies + "/clone.policy"}
        << "not a policy\n"; // which is parsed after the socket was bound
    const std::string address = "unix:" + directory_.file("socket");
    Daemon daemon{{.listen = {address}, .options = {"--policy-dir=" + policies}, .stderr_fd = stuck_->fd()}};
    EXPECT_EQ(daemon.ends_within(5s), 65);
    EXPECT_TRUE(refuses(address));
    stuck_->free();
}

template <class T>
std::unique_ptr<Stuck> make() {
    return std::make_unique<T>();
}

INSTANTIATE_TEST_SUITE_P(, StuckStderr,
                         testing::Values(Kind{"Pipe", make<Pipe>}, Kind{"Terminal", make<Terminal>},
                                         Kind{"StreamSocket", make<StreamSocket>},
                                         Kind{"FrozenFile", make<FrozenFile>}),
                         [](const auto& row) { return std::string{row.param.name}; });

} // namespace
} // namespace cloister::live
