// SPDX-License-Identifier: MIT
#include "audit/systemd_groups.h"
#include "judge.h"

#include <map>
#include <set>
#include <sstream>

namespace cloister::audit {
namespace {

constexpr std::uint32_t kill_process = SCMP_ACT_KILL_PROCESS;

/// The calls of a group, those of groups in it included.
std::set<std::string> members(std::string_view group) {
    std::set<std::string> all;
    for (const auto& known : systemd_groups()) {
        if (known.name == group) {
            std::istringstream words{std::string{known.members}};
            for (std::string word; words >> word;) {
                word.front() == '@' ? all.merge(members(word)) : (void)all.insert(word);
            }
        }
    }
    return all;
}

class Systemd : public testing::Test {
  public:
    static Imported import(const std::string& text) {
        return or_throw(import_systemd(text, "x.service", {}));
    }
    static std::string error(const std::string& text) {
        const auto imported = import_systemd(text, "x.service", {});
        return imported ? "none"
                        : fmt::format("{}:{}: {}", imported.error().line, imported.error().column,
                                      imported.error().message);
    }

    /// What systemd installs for a list, after seccomp_load_syscall_filter_set_raw(): a filter for each ABI.
    static std::vector<policy::Program> filters(std::uint32_t otherwise,
                                                const std::map<std::string, std::uint32_t>& calls,
                                                const std::vector<std::uint32_t>& abis) {
        std::vector<policy::Program> all;
        for (const auto abi : abis) {
            Filter filter{otherwise};
            filter.only_arch(abi);
            filter.set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
            for (const auto& [name, action] : calls) {
                int number = seccomp_syscall_resolve_name(name.c_str());
                if (number == __NR_SCMP_ERROR) {
                    // Newer than libseccomp; systemd with a newer one would know it.
                    const auto known = policy::number_of(policy::abi_of(policy::native_arch), name);
                    if (!known || abi != seccomp_arch_native()) {
                        continue;
                    }
                    number = static_cast<int>(*known);
                }
                if (const int result = filter.add(action, number, {}, true); result != 0 && result != -EDOM) {
                    throw std::runtime_error{fmt::format("{}: {}", name, result)};
                }
            }
            all.push_back(filter.program());
        }
        return all;
    }
    static std::vector<std::uint32_t> all_abis() {
        return policy::native_arch == policy::Arch::x86_64
                   ? std::vector<std::uint32_t>{SCMP_ARCH_X86, SCMP_ARCH_X32, SCMP_ARCH_X86_64}
                   : std::vector<std::uint32_t>{SCMP_ARCH_AARCH64};
    }
    static void expect_same(const std::string& unit, const std::vector<policy::Program>& filters) {
        const auto imported = import(unit);
        Comparison comparison{parsed(imported.text), filters};
        EXPECT_EQ(imported.verdict, Verdict::exact);
        EXPECT_EQ(comparison.difference().value_or("none"), "none");
    }
    static std::map<std::string, std::uint32_t> with(const std::set<std::string>& names,
                                                     std::uint32_t action) {
        std::map<std::string, std::uint32_t> all;
        for (const auto& name : names) {
            all[name] = action;
        }
        return all;
    }
};

TEST_F(Systemd, AllGroupsAreKnown) {
    EXPECT_EQ(systemd_groups().size(), 29U);
    EXPECT_EQ(members("@timer").count("timer_create"), 1U);
    EXPECT_EQ(members("@system-service").count("read"), 1U) << "a group of groups";
}

TEST_F(Systemd, EachGroupAsAnAllowListIsSystemdsFilter) {
    for (const auto& group : systemd_groups()) {
        SCOPED_TRACE(group.name);
        auto names = members(group.name);
        names.merge(members("@default"));
        expect_same(fmt::format("[Service]\nSystemCallFilter={}\n", group.name),
                    filters(kill_process, with(names, SCMP_ACT_ALLOW), all_abis()));
    }
}

TEST_F(Systemd, EachGroupAsADenyListIsSystemdsFilter) {
    for (const auto& group : systemd_groups()) {
        SCOPED_TRACE(group.name);
        expect_same(fmt::format("SystemCallErrorNumber=EPERM\nSystemCallFilter=~{}\n", group.name),
                    filters(SCMP_ACT_ALLOW, with(members(group.name), SCMP_ACT_ERRNO(EPERM)), all_abis()));
    }
}

TEST_F(Systemd, AssignmentsAccumulate) {
    auto calls = with(members("@default"), SCMP_ACT_ALLOW);
    calls["read"] = SCMP_ACT_ALLOW;
    calls["write"] = SCMP_ACT_ALLOW;
    calls.erase("gettid");
    calls["getpid"] = SCMP_ACT_ERRNO(ENOSYS);
    calls["getppid"] = kill_process;
    calls["uname"] = SCMP_ACT_ERRNO(255);
    expect_same("[Service]\nSystemCallErrorNumber=EACCES\nSystemCallFilter=@debug\nSystemCallFilter="
                "\nSystemCallFilter=read \\\n# a comment\n  write\n"
                "SystemCallFilter=~gettid getpid:ENOSYS\nSystemCallFilter=~getppid:kill uname:255\n",
                filters(SCMP_ACT_ERRNO(EACCES), calls, all_abis()));
}

TEST_F(Systemd, ADenyListCanBeShortenedAgain) {
    expect_same(
        "SystemCallFilter=~read write getpid:EXDEV\nSystemCallFilter=write\n",
        filters(SCMP_ACT_ALLOW, {{"read", kill_process}, {"getpid", SCMP_ACT_ERRNO(EXDEV)}}, all_abis()));
}

TEST_F(Systemd, ArchitecturesThatAreNotListedAreNotMilder) {
    if (policy::native_arch != policy::Arch::x86_64) {
        GTEST_SKIP() << "i386 and x32 are ABIs of x86_64";
    }
    for (const auto* error : {"", "EPERM"}) {
        for (const auto* list : {"@system-service", "~@clock"}) {
            SCOPED_TRACE(fmt::format("{} {}", error, list));
            const auto imported = import(
                fmt::format("SystemCallArchitectures=native\nSystemCallErrorNumber={}\nSystemCallFilter={}\n",
                            error, list));
            const auto negative = *error == 0 ? kill_process : SCMP_ACT_ERRNO(EPERM);
            const bool deny = *list == '~';
            auto names = members(list + (deny ? 1 : 0));
            if (!deny) {
                names.merge(members("@default"));
            }
            auto all = filters(deny ? SCMP_ACT_ALLOW : negative,
                               with(names, deny ? negative : SCMP_ACT_ALLOW), {SCMP_ARCH_X86_64});
            all.push_back(Filter{SCMP_ACT_ALLOW}.program()); // seccomp_restrict_archs()
            Comparison comparison{parsed(imported.text), all};
            EXPECT_EQ(comparison.wider().value_or("none"), "none");
            EXPECT_EQ(comparison.difference().value_or("none"), "none");
            EXPECT_EQ(imported.verdict, Verdict::exact);
            EXPECT_EQ(imported.text.find("arch x86_64\n") != std::string::npos, true);
        }
    }
}

TEST_F(Systemd, ErrorsNameTheirPlace) {
    EXPECT_EQ(error("[Service]\nSystemCallFilter=raed\n"),
              "2:18: 'raed' is no system call; systemd ignores such a word");
    EXPECT_EQ(error("SystemCallFilter=read \\\n  @clok\n"), "2:3: systemd 252 has no group '@clok'");
    EXPECT_EQ(error("SystemCallFilter=read:EPERM\n"),
              "1:22: an error belongs to '~' lists alone; systemd ignores such a word");
    EXPECT_EQ(error("SystemCallFilter=~read:EFOO\n"), "1:24: unknown error 'EFOO'");
    EXPECT_EQ(error("SystemCallFilter=~read:4096\n"), "1:24: unknown error '4096'");
    EXPECT_EQ(error("SystemCallErrorNumber=0\n"), "1:23: 0 is no error");
    EXPECT_EQ(error("SystemCallArchitectures=vax\n"), "1:25: unknown architecture 'vax'");
    EXPECT_EQ(error("SystemCallFiter=read\n"), "1:1: unknown setting 'SystemCallFiter'");
    EXPECT_EQ(error("SystemCalFilter=read\n"), "1:1: no SystemCallFilter= and no SystemCallArchitectures=");
    EXPECT_EQ(error("[Service\n"), "1:1: a section's name ends in ']'");
    EXPECT_EQ(error("hello\n"), "1:1: expected NAME=VALUE");
}

TEST_F(Systemd, OtherSettingsThatRestrictCallsAreNamed) {
    EXPECT_THAT(import("SystemCallFilter=read\nLockPersonality=yes\nProtectClock=no\n").notes,
                testing::Contains(testing::AllOf(testing::HasSubstr("LockPersonality"),
                                                 testing::Not(testing::HasSubstr("ProtectClock")))));
}

} // namespace
} // namespace cloister::audit
