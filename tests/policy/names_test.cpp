// SPDX-License-Identifier: MIT
#include "fixture.h"

#include <algorithm>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <regex>
#include <sched.h>
#include <set>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>

namespace cloister::policy {
namespace {

/// As the table has it: "fd:uint buf:ptr count:size".
std::string prototype_text(std::string_view call) {
    std::string text;
    for (const auto& parameter : prototype_of(call)->parameters) {
        text += fmt::format("{}{}:{}", text.empty() ? "" : " ", parameter.name, parameter.type);
    }
    return text;
}

class Numbers : public testing::TestWithParam<Abi> {};

// libseccomp has tables of its own, made from the kernel's by other hands.
TEST_P(Numbers, AreThoseOfLibseccompWhereItKnowsTheCall) {
    const auto abi = GetParam();
    std::size_t compared = 0;
    std::set<std::uint32_t> seen;
    for (const auto name : all_names(abi)) {
        const auto number = number_of(abi, name);
        ASSERT_TRUE(number);
        EXPECT_TRUE(seen.insert(*number).second) << name << " shares a number";
        EXPECT_EQ(name_of(abi, *number), name);
        if (const auto other = libseccomp_number(abi, std::string{name})) {
            EXPECT_EQ(*number, *other) << name;
            ++compared;
        }
    }
    EXPECT_GT(compared, 300U);
}
INSTANTIATE_TEST_SUITE_P(Each, Numbers, testing::Values(Abi::x86_64, Abi::aarch64, Abi::i386, Abi::x32),
                         [](const auto& test) { return std::string{to_string(test.param)}; });

TEST(Names, AreSortedSoThatLookupFindsThem) {
    for (const auto abi : {Abi::x86_64, Abi::aarch64, Abi::i386, Abi::x32}) {
        const auto names = all_names(abi);
        EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
    }
}

TEST(Names, OfCallsThatNoFilterStopsAreKnown) {
    EXPECT_EQ(number_of(Abi::x86_64, "uretprobe"), 335U);
    EXPECT_EQ(number_of(Abi::x86_64, "uprobe"), 336U);
    EXPECT_FALSE(number_of(Abi::aarch64, "uprobe"));
}

TEST(Names, OfCallsWithoutOneAreTheirNumbers) {
    EXPECT_EQ(call_name(Abi::x86_64, 0), "read");
    EXPECT_EQ(call_name(Abi::x86_64, 4000), "syscall 4000");
    EXPECT_EQ(call_name(Abi::x32, x32_bit | 0U), "read");
    EXPECT_EQ(call_name(Abi::x32, x32_bit | 4000U), "syscall 4000");
    for (const auto abi : {Abi::x86_64, Abi::aarch64, Abi::i386, Abi::x32}) {
        const auto number = number_of(abi, "syscall 4000");
        ASSERT_TRUE(number);
        EXPECT_EQ(call_name(abi, *number), "syscall 4000");
    }
    EXPECT_EQ(number_of(Abi::x86_64, "syscall 4294967295"), 0xffffffffU);
    for (const auto* wrong : {"syscall ", "syscall", "syscall x", "syscall 01", "syscall 1 ", "syscall  1",
                              "syscall -1", "syscall +1", "syscall 0x1", "syscall 4294967296"}) {
        EXPECT_FALSE(number_of(Abi::x86_64, wrong)) << wrong;
        EXPECT_EQ(prototype_of(wrong), nullptr) << wrong;
    }
    ASSERT_NE(prototype_of("syscall 4000"), nullptr);
    EXPECT_EQ(prototype_text("syscall 4000"), "arg1:long arg2:long arg3:long arg4:long arg5:long arg6:long");
}

TEST(Names, OfNumbersThatAnAbiDoesNotHaveAreEmpty) {
    for (const auto number : {335U, 400U, 548U, 1000U, x32_bit, 0xffffffffU}) {
        EXPECT_EQ(name_of(Abi::aarch64, number), "") << number;
    }
    EXPECT_EQ(name_of(Abi::x32, 0), "") << "without its bit it is a call of x86_64";
    EXPECT_EQ(name_of(Abi::x86_64, x32_bit), "");
}

// The C library's package of kernel headers: by another version of the kernel than the tables.
TEST(Names, HaveTheNumbersInTheInstalledHeaders) {
    const std::filesystem::path headers = "/usr/include/x86_64-linux-gnu/asm";
    if (!std::filesystem::exists(headers)) {
        GTEST_SKIP() << "no " << headers;
    }
    for (const auto& [file, abi] :
         {std::pair{"unistd_64.h", Abi::x86_64}, std::pair{"unistd_32.h", Abi::i386},
          std::pair{"unistd_x32.h", Abi::x32}}) {
        std::ifstream in{headers / file};
        const std::regex line{R"(#define __NR_(\w+) \(?(?:__X32_SYSCALL_BIT \+ )?(\d+)\)?)"};
        std::size_t compared = 0;
        for (std::string text; std::getline(in, text);) {
            if (std::smatch match; std::regex_match(text, match, line)) {
                const auto number = static_cast<std::uint32_t>(std::stoul(match[2]));
                EXPECT_EQ(number_of(abi, match[1].str()), number | (abi == Abi::x32 ? x32_bit : 0U))
                    << match[1];
                ++compared;
            }
        }
        EXPECT_GT(compared, 300U) << file;
    }
}

TEST(Prototypes, AreThereForEachCallAndCanBeWritten) {
    const std::regex written{"[a-z][a-z0-9_]*"};
    const std::set<std::string_view> types = {"int", "uint", "long", "size", "ptr"};
    for (const auto abi : {Abi::x86_64, Abi::aarch64, Abi::i386, Abi::x32}) {
        for (const auto name : all_names(abi)) {
            const auto* prototype = prototype_of(name);
            ASSERT_NE(prototype, nullptr) << name;
            EXPECT_EQ(prototype->name, name);
            EXPECT_LE(prototype->parameters.size(), 6U) << name;
            std::set<std::string_view> names;
            std::set<std::size_t> registers;
            for (std::size_t i = 0; i < prototype->parameters.size(); ++i) {
                const auto& parameter = prototype->parameters[i];
                EXPECT_EQ(types.count(parameter.type), 1U) << name << ' ' << parameter.name;
                EXPECT_TRUE(std::regex_match(std::string{parameter.name}, written))
                    << name << ' ' << parameter.name;
                EXPECT_TRUE(parameter.name != "any" && parameter.name != "in") << name;
                EXPECT_TRUE(names.insert(parameter.name).second) << name << ' ' << parameter.name;
                EXPECT_LT(prototype->index(i, abi), 6U) << name;
                if (prototype->has(i, abi)) {
                    EXPECT_TRUE(registers.insert(prototype->index(i, abi)).second)
                        << name << ' ' << parameter.name;
                }
            }
        }
    }
}

// As the kernel's SYSCALL_DEFINEs have them.
TEST(Prototypes, HaveTheKernelsTypes) {
    EXPECT_EQ(prototype_text("quotactl"), "cmd:uint special:ptr id:uint addr:ptr");
    EXPECT_EQ(prototype_text("mount"), "dev_name:ptr dir_name:ptr type:ptr flags:long data:ptr");
    EXPECT_EQ(prototype_text("ptrace"), "request:long pid:long addr:long data:long");
    EXPECT_EQ(prototype_text("personality"), "personality:uint");
    EXPECT_EQ(prototype_text("keyctl"), "cmd:int arg2:long arg3:long arg4:long arg5:long");
    EXPECT_EQ(prototype_text("io_submit"), "ctx_id:long nr:long iocbpp:ptr");
    EXPECT_EQ(prototype_text("signal"), "sig:int handler:ptr");
    EXPECT_EQ(prototype_text("create_module"), "") << "a number only";
    EXPECT_EQ(prototype_text("truncate64"), "filename:ptr offset_low:long offset_high:long")
        << "of i386 alone";
    EXPECT_EQ(prototype_text("file_getattr"), "dfd:int filename:ptr ufattr:ptr usize:size at_flags:uint");
}

TEST(Prototypes, KnowWhichParametersAnAbiHasInOneRegister) {
    const auto on_i386 = [](std::string_view call) {
        const auto* prototype = prototype_of(call);
        std::string places;
        for (std::size_t i = 0; i < prototype->parameters.size(); ++i) {
            EXPECT_TRUE(prototype->has(i, Abi::x86_64));
            EXPECT_EQ(prototype->index(i, Abi::x86_64), i);
            places += prototype->has(i, Abi::i386) ? std::to_string(prototype->index(i, Abi::i386)) : "-";
        }
        return places;
    };
    EXPECT_EQ(on_i386("read"), "012");
    EXPECT_EQ(on_i386("clone"), "01243");
    EXPECT_EQ(on_i386("pread64"), "012-") << "64 bits in two registers";
    EXPECT_EQ(on_i386("fallocate"), "01--");
    EXPECT_EQ(on_i386("sync_file_range"), "0--5");
    EXPECT_EQ(on_i386("fanotify_mark"), "01-45");
    EXPECT_EQ(on_i386("fadvise64"), "0-34");
    EXPECT_EQ(on_i386("mmap"), "------") << "one pointer to them";
    EXPECT_EQ(on_i386("select"), "-----");
    EXPECT_EQ(on_i386("chown"), "0--") << "16 bits of each";
    EXPECT_EQ(on_i386("setuid"), "-");
    EXPECT_EQ(on_i386("setresuid"), "---");
    EXPECT_EQ(prototype_of("preadv2")->index(4, Abi::x86_64), 4U);
    EXPECT_FALSE(prototype_of("preadv2")->has(4, Abi::x32)) << "pos in one register";
    EXPECT_EQ(prototype_of("preadv2")->index(5, Abi::x32), 4U);
}

TEST(Prototypes, OfCloneSwapsItsLastTwoArgumentsOnAarch64) {
    const auto* clone = prototype_of("clone");
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(clone->index(i, Abi::aarch64), i);
    }
    EXPECT_EQ(clone->index(3, Arch::aarch64), 4U);
    EXPECT_EQ(clone->index(4, Arch::aarch64), 3U);
    EXPECT_EQ(clone->index(3, Arch::x86_64), 3U);
}

TEST(Constants, HaveUniqueNames) {
    auto names = all_constants();
    std::sort(names.begin(), names.end());
    EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
    EXPECT_EQ(constant_named("SO_RCVTIMEO_OLD"), 20U);
    EXPECT_EQ(constant_named("SO_SNDTIMEO_OLD"), 21U);
    EXPECT_EQ(constant_named("SOL_SOCKET"), 1U);
    EXPECT_EQ(constant_named("MSG_NOSIGNAL"), 0x4000U);
}

TEST(Constants, ThatDifferBetweenProcessorsHaveNoValueButAReason) {
    EXPECT_FALSE(constant_named("O_DIRECTORY"));
    EXPECT_EQ(differs_by_processor("O_DIRECTORY"), "0x10000 on x86_64 and 0x4000 on aarch64");
    EXPECT_EQ(differs_by_processor("MAP_32BIT"), "64 on x86_64 and none on aarch64");
    EXPECT_EQ(differs_by_processor("O_CLOEXEC"), "");
    EXPECT_EQ(differs_by_processor("O_CLOEXECUTE"), "");
    EXPECT_EQ(differs_by_processor(""), "");
}

TEST(Constants, AreSortedSoThatLookupFindsThem) {
    for (const auto name : all_constants()) {
        EXPECT_TRUE(constant_named(name)) << name;
        EXPECT_EQ(differs_by_processor(name), "") << name;
    }
    EXPECT_FALSE(constant_named(""));
    EXPECT_FALSE(constant_named("ZZZ"));
}

// The C library has headers of its own, made by other hands. An int that is negative has 32 bits.
TEST(Constants, AreThoseOfTheCLibrary) {
#define OF_THE_C_LIBRARY(name)                                                                               \
    EXPECT_EQ(constant_named(#name),                                                                         \
              sizeof(name) == 4 ? static_cast<std::uint32_t>(name) : static_cast<std::uint64_t>(name))       \
        << #name
    OF_THE_C_LIBRARY(AF_INET6);
    OF_THE_C_LIBRARY(AF_VSOCK);
    OF_THE_C_LIBRARY(AF_LOCAL);
    OF_THE_C_LIBRARY(SOCK_SEQPACKET);
    OF_THE_C_LIBRARY(SOCK_CLOEXEC);
    OF_THE_C_LIBRARY(SHUT_RDWR);
    OF_THE_C_LIBRARY(SO_RCVTIMEO);
    OF_THE_C_LIBRARY(MSG_CMSG_CLOEXEC);
    OF_THE_C_LIBRARY(TCP_NODELAY);
    OF_THE_C_LIBRARY(IPV6_V6ONLY);
    OF_THE_C_LIBRARY(CLONE_NEWUSER);
    OF_THE_C_LIBRARY(PR_SET_NO_NEW_PRIVS);
    OF_THE_C_LIBRARY(PTRACE_SEIZE);
    OF_THE_C_LIBRARY(WNOWAIT);
    OF_THE_C_LIBRARY(P_PIDFD);
    OF_THE_C_LIBRARY(ADDR_NO_RANDOMIZE);
    OF_THE_C_LIBRARY(PER_LINUX32);
    OF_THE_C_LIBRARY(RLIMIT_NOFILE);
    OF_THE_C_LIBRARY(PRIO_USER);
    OF_THE_C_LIBRARY(SCHED_DEADLINE);
    OF_THE_C_LIBRARY(SIGSYS);
    OF_THE_C_LIBRARY(SIG_SETMASK);
    OF_THE_C_LIBRARY(SA_RESTART);
    OF_THE_C_LIBRARY(CLOCK_TAI);
    OF_THE_C_LIBRARY(TFD_TIMER_ABSTIME);
    OF_THE_C_LIBRARY(SFD_CLOEXEC);
    OF_THE_C_LIBRARY(PROT_EXEC);
    OF_THE_C_LIBRARY(MAP_HUGETLB);
    OF_THE_C_LIBRARY(MADV_DONTNEED);
    OF_THE_C_LIBRARY(MFD_ALLOW_SEALING);
    OF_THE_C_LIBRARY(GRND_INSECURE);
    OF_THE_C_LIBRARY(AT_FDCWD);
    OF_THE_C_LIBRARY(AT_EMPTY_PATH);
    OF_THE_C_LIBRARY(O_CLOEXEC);
    OF_THE_C_LIBRARY(O_PATH);
    OF_THE_C_LIBRARY(F_OFD_SETLKW);
    OF_THE_C_LIBRARY(F_SETPIPE_SZ);
    OF_THE_C_LIBRARY(FALLOC_FL_PUNCH_HOLE);
    OF_THE_C_LIBRARY(POSIX_FADV_DONTNEED);
    OF_THE_C_LIBRARY(RWF_NOWAIT);
    OF_THE_C_LIBRARY(SPLICE_F_GIFT);
    OF_THE_C_LIBRARY(STATX_BTIME);
    OF_THE_C_LIBRARY(S_IFMT);
    OF_THE_C_LIBRARY(S_ISUID);
    OF_THE_C_LIBRARY(LOCK_EX);
    OF_THE_C_LIBRARY(R_OK);
    OF_THE_C_LIBRARY(MS_REMOUNT);
    OF_THE_C_LIBRARY(MNT_DETACH);
    OF_THE_C_LIBRARY(IN_CLOEXEC);
    OF_THE_C_LIBRARY(IN_MODIFY);
    OF_THE_C_LIBRARY(EPOLL_CTL_MOD);
    OF_THE_C_LIBRARY(EFD_SEMAPHORE);
    OF_THE_C_LIBRARY(TIOCSTI);
    OF_THE_C_LIBRARY(TIOCGPTN);
    OF_THE_C_LIBRARY(TCGETS);
    OF_THE_C_LIBRARY(FIONREAD);
    OF_THE_C_LIBRARY(SIOCGIFCONF);
    OF_THE_C_LIBRARY(IPC_CREAT);
    OF_THE_C_LIBRARY(SHM_RDONLY);
#undef OF_THE_C_LIBRARY
}

} // namespace
} // namespace cloister::policy
