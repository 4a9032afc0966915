// SPDX-License-Identifier: MIT
// Landlock without a rule: what it denies, and, so that this means something, that nothing else does. Each
// attempt is done by a child, which ends with its errno.
#include "base/fd.h"
#include "confine/confine.h"
#include "live/processes.h"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

namespace cloister::confine {
namespace {

/// What is there for a attempt to be done to.
struct Surroundings {
    live::TemporaryDirectory directory;
    std::string file = directory.file("file");
    std::string other = directory.file("other");
    Fd tcp{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in port{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
    Fd abstract{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_un name{AF_UNIX, {}};
    socklen_t name_length = sizeof(sa_family_t); // for bind: the kernel chooses

    Surroundings() {
        std::ofstream{file} << "text";
        socklen_t length = sizeof port;
        EXPECT_EQ(bind(tcp.get(), generic(port), length) | listen(tcp.get(), 1) |
                      getsockname(tcp.get(), generic(port), &length),
                  0);
        EXPECT_EQ(bind(abstract.get(), generic(name), name_length) | listen(abstract.get(), 1), 0);
        name_length = sizeof name;
        EXPECT_EQ(getsockname(abstract.get(), generic(name), &name_length), 0);
    }

    template <class Address>
    static sockaddr* generic(Address& address) {
        return reinterpret_cast<sockaddr*>(&address);
    }
};

struct Attempt {
    const char* name;
    long abi; ///< from which on Landlock denies it (landlock(7))
    int denied;
    bool (*do_it)(Surroundings&);
};

void PrintTo(const Attempt& attempt, std::ostream* out) {
    *out << attempt.name;
}

bool binds(int family, sockaddr* address, socklen_t length) {
    return bind(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), address, length) == 0;
}

bool connects(int family, sockaddr* address, socklen_t length) {
    return connect(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), address, length) == 0;
}

constexpr Attempt attempts[] = {
    {"ReadingADirectory", 1, EACCES,
     [](Surroundings& is) { return open(is.directory.path().c_str(), O_RDONLY | O_DIRECTORY) >= 0; }},
    {"Reading", 1, EACCES, [](Surroundings& is) { return open(is.file.c_str(), O_RDONLY) >= 0; }},
    {"Writing", 1, EACCES, [](Surroundings& is) { return open(is.file.c_str(), O_WRONLY) >= 0; }},
    {"Truncating", 3, EACCES, [](Surroundings& is) { return truncate(is.file.c_str(), 0) == 0; }},
    {"Executing", 1, EACCES,
     [](Surroundings&) {
         std::string program = "/bin/true"; // success does not come back: it ends with 0
         char* const words[] = {program.data(), nullptr};
         return execv(words[0], words) == 0;
     }},
    {"MakingAFile", 1, EACCES,
     [](Surroundings& is) { return open(is.other.c_str(), O_WRONLY | O_CREAT, 0600) >= 0; }},
    {"MakingADirectory", 1, EACCES, [](Surroundings& is) { return mkdir(is.other.c_str(), 0700) == 0; }},
    {"MakingAFifo", 1, EACCES, [](Surroundings& is) { return mkfifo(is.other.c_str(), 0600) == 0; }},
    {"MakingASymbolicLink", 1, EACCES,
     [](Surroundings& is) { return symlink(is.file.c_str(), is.other.c_str()) == 0; }},
    {"MakingASocket", 1, EACCES,
     [](Surroundings& is) {
         sockaddr_un address{AF_UNIX, {}};
         is.other.copy(address.sun_path, sizeof address.sun_path - 1);
         return binds(AF_UNIX, is.generic(address), sizeof address);
     }},
    {"Renaming", 1, EACCES, [](Surroundings& is) { return rename(is.file.c_str(), is.other.c_str()) == 0; }},
    {"RemovingAFile", 1, EACCES, [](Surroundings& is) { return unlink(is.file.c_str()) == 0; }},
    {"RemovingADirectory", 1, EACCES,
     [](Surroundings& is) { return rmdir(is.directory.path().c_str()) == 0 || errno == ENOTEMPTY; }},
    {"BindingATcpPort", 4, EACCES,
     [](Surroundings&) {
         sockaddr_in any{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
         return binds(AF_INET, Surroundings::generic(any), sizeof any);
     }},
    {"ConnectingToATcpPort", 4, EACCES,
     [](Surroundings& is) { return connects(AF_INET, is.generic(is.port), sizeof is.port); }},
    {"SignallingItsParent", 6, EPERM, [](Surroundings&) { return kill(getppid(), 0) == 0; }},
    {"ConnectingToAnAbstractSocketFromOutside", 6, EPERM,
     [](Surroundings& is) { return connects(AF_UNIX, is.generic(is.name), is.name_length); }},
};

class Landlock : public testing::TestWithParam<Attempt> {
  protected:
    Surroundings surroundings_;

    [[noreturn]] void do_it() {
        errno = 0;
        _exit(GetParam().do_it(surroundings_) ? 0 : errno);
    }
    [[noreturn]] void do_it_denied() {
        forbid_new_privileges(); // or nobody but root may restrict itself
        (void)deny_by_landlock();
        do_it();
    }
};

TEST_P(Landlock, Denies) {
    const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, 1); // LANDLOCK_CREATE_RULESET_VERSION
    if (abi < GetParam().abi) {
        GTEST_SKIP() << "this kernel's Landlock has ABI " << abi << ", " << GetParam().abi << " is needed";
    }
    EXPECT_EXIT(do_it_denied(), testing::ExitedWithCode(GetParam().denied), "");
}

TEST_P(Landlock, ControlWithoutItNothingIsDenied) {
    EXPECT_EXIT(do_it(), testing::ExitedWithCode(0), "");
}

INSTANTIATE_TEST_SUITE_P(Each, Landlock, testing::ValuesIn(attempts),
                         [](const auto& instance) { return instance.param.name; });

} // namespace
} // namespace cloister::confine
