// SPDX-License-Identifier: MIT
#include "cli/doctor.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

namespace cloister::tool {
namespace {

namespace fs = std::filesystem;

/// A host that has all, in a directory.
class DoctorTest : public testing::Test {
  protected:
    fs::path root_;
    Host host_;

    DoctorTest() {
        std::string name = fs::temp_directory_path() / "cloister-doctor-XXXXXX";
        EXPECT_NE(::mkdtemp(name.data()), nullptr);
        root_ = name;
        host_ = {root_, 7, true};
        write("proc/self/status", "Name:\tx\nCapEff:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\n"
                                  "NoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\n");
        write("proc/self/smaps", "00400000-00401000 r-xp\nSize: 4 kB\nVmFlags: rd ex\n");
        write("proc/self/limits",
              "Limit                     Soft Limit           Hard Limit           Units\n"
              "Max file size             unlimited            unlimited            bytes\n"
              "Max processes             5000                 5000                 processes\n"
              "Max open files            1024                 4096                 files\n"
              "Max pending signals       5000                 5000                 signals\n");
        write("proc/self/cgroup", "0::/a/b\n");
        for (const auto& [name_of_it, value] : std::initializer_list<std::pair<const char*, const char*>>{
                 {"kernel/seccomp/actions_avail", "kill_process kill_thread errno allow"},
                 {"kernel/pid_max", "32768"},
                 {"kernel/threads-max", "32768"},
                 {"net/core/somaxconn", "4096"},
                 {"net/ipv4/tcp_syncookies", "1"},
                 {"net/ipv4/tcp_abort_on_overflow", "0"},
                 {"kernel/randomize_va_space", "2"},
                 {"kernel/yama/ptrace_scope", "1"},
                 {"fs/suid_dumpable", "0"},
                 {"kernel/dmesg_restrict", "1"},
                 {"kernel/unprivileged_bpf_disabled", "2"},
                 {"net/core/bpf_jit_enable", "1"},
                 {"net/core/bpf_jit_harden", "1"},
                 {"vm/overcommit_memory", "0"}}) {
            write(std::string{"proc/sys/"} + name_of_it, value);
        }
        write("sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected");
    }
    ~DoctorTest() override { fs::remove_all(root_); }
    DoctorTest(const DoctorTest&) = delete;
    DoctorTest& operator=(const DoctorTest&) = delete;

    void write(const std::string& path, const std::string& text) const {
        fs::create_directories((root_ / path).parent_path());
        std::ofstream{root_ / path} << text << "\n";
    }
    [[nodiscard]] Finding find(const std::string& id) const {
        const auto all = examine(host_, 1000);
        const auto found =
            std::find_if(all.begin(), all.end(), [&](const Finding& one) { return one.check->id == id; });
        EXPECT_NE(found, all.end()) << id;
        return *found;
    }
};

TEST_F(DoctorTest, FindsNothingWrongWhereAllIsThere) {
    const auto all = examine(host_, 1000);
    EXPECT_EQ(all.size(), checks().size());
    for (const Finding& finding : all) {
        EXPECT_EQ(finding.verdict, Verdict::ok) << findings_text({finding});
    }
    for (const Check& check : checks()) {
        EXPECT_EQ(
            std::count_if(all.begin(), all.end(), [&](const Finding& one) { return one.check == &check; }), 1)
            << check.id;
    }
}

struct Wrong {
    const char *id, *path, *text;
    Verdict verdict;
    const char* command; ///< in which this stands
};
class WrongHost : public DoctorTest, public testing::WithParamInterface<Wrong> {};

TEST_P(WrongHost, IsFoundWithItsCure) {
    const Wrong& wrong = GetParam();
    write(wrong.path, wrong.text);
    const Finding finding = find(wrong.id);
    EXPECT_EQ(finding.verdict, wrong.verdict) << finding.is;
    EXPECT_NE(finding.command.find(wrong.command), std::string::npos) << finding.command;
    EXPECT_FALSE(finding.should.empty());
}

INSTANTIATE_TEST_SUITE_P(
    Each, WrongHost,
    testing::Values(
        Wrong{"seccomp", "proc/sys/kernel/seccomp/actions_avail", "errno allow", Verdict::error, ""},
        Wrong{"outer-filter", "proc/self/status", "Seccomp:\t2\nSeccomp_filters:\t1", Verdict::note, ""},
        Wrong{"smaps", "proc/self/smaps", "Size: 4 kB", Verdict::error, ""},
        Wrong{"nofile", "proc/self/limits", "Max open files 10 324 files", Verdict::error, "LimitNOFILE=325"},
        Wrong{"nproc", "proc/self/limits", "Max processes 1 1199 processes", Verdict::warning,
              "LimitNPROC=1200"},
        Wrong{"nproc", "proc/self/limits", "nonsense", Verdict::note, ""},
        Wrong{"sigpending", "proc/self/limits", "Max pending signals 1 1 signals", Verdict::warning, "1200"},
        Wrong{"fsize", "proc/self/limits", "Max file size 100 100 bytes", Verdict::warning, "LimitFSIZE"},
        Wrong{"pids", "sys/fs/cgroup/a/pids.max", "100", Verdict::warning, "TasksMax=1200"},
        Wrong{"pids", "sys/fs/cgroup/pids.max", "0", Verdict::warning, "TasksMax=1200"},
        Wrong{"memory", "sys/fs/cgroup/a/b/memory.max", "1000000", Verdict::warning, "MemoryMax="},
        Wrong{"pid-max", "proc/sys/kernel/pid_max", "301", Verdict::warning, "sysctl -w kernel.pid_max=2400"},
        Wrong{"threads-max", "proc/sys/kernel/threads-max", "301", Verdict::warning, "kernel.threads-max"},
        Wrong{"somaxconn", "proc/sys/net/core/somaxconn", "128", Verdict::note, "net.core.somaxconn=4096"},
        Wrong{"syncookies", "proc/sys/net/ipv4/tcp_syncookies", "0", Verdict::warning, "=1"},
        Wrong{"abort-on-overflow", "proc/sys/net/ipv4/tcp_abort_on_overflow", "1", Verdict::warning, "=0"},
        Wrong{"aslr", "proc/sys/kernel/randomize_va_space", "0", Verdict::warning, "=2"},
        Wrong{"aslr", "proc/sys/kernel/randomize_va_space", "many", Verdict::note, ""},
        Wrong{"suid-dumpable", "proc/sys/fs/suid_dumpable", "1", Verdict::error, "fs.suid_dumpable=0"},
        Wrong{"bpf", "proc/sys/kernel/unprivileged_bpf_disabled", "0", Verdict::warning, "=2"},
        Wrong{"overcommit", "proc/sys/vm/overcommit_memory", "2", Verdict::warning, "=0"},
        Wrong{"mitigations", "sys/devices/system/cpu/vulnerabilities/mds", "Vulnerable: x", Verdict::note,
              ""},
        Wrong{"capabilities", "proc/self/status", "CapEff:\t0\nCapBnd:\t1ff", Verdict::note, "--user"}),
    [](const auto& wrong) {
        std::string name = std::string{wrong.param.id} + "_" + std::to_string(wrong.index);
        std::replace(name.begin(), name.end(), '-', '_');
        return name;
    });

TEST_F(DoctorTest, ReadsControlGroupsOfVersionOne) {
    write("proc/self/cgroup", "4:pids:/x\n3:cpu,memory:/y\n");
    write("sys/fs/cgroup/pids/x/pids.max", "50");
    EXPECT_EQ(find("pids").is, "50");
    write("sys/fs/cgroup/memory/y/memory.limit_in_bytes", "9223372036854771712");
    EXPECT_EQ(find("memory").is, "no limit");
}

TEST_F(DoctorTest, NeedsNoFile) {
    fs::remove_all(root_);
    host_.landlock_abi = 0;
    host_.clock_synchronised = false;
    EXPECT_EQ(examine(host_, 1000).size(), checks().size());
    EXPECT_EQ(find("proc").verdict, Verdict::error);
    EXPECT_EQ(find("landlock").verdict, Verdict::warning);
    EXPECT_EQ(find("clock").verdict, Verdict::note);
    EXPECT_EQ(findings_json(examine(host_, 1)).size(), checks().size());
}

TEST(Docs, DoctorMdHasARowForEachCheck) {
    std::ostringstream text;
    text << std::ifstream{CLOISTER_SOURCE "/docs/doctor.md"}.rdbuf();
    std::string rows;
    for (const Check& check : checks()) {
        rows += std::string{"| `"} + check.id + "` | " + check.what + " | " + check.why + " |\n";
    }
    EXPECT_NE(text.str().find("|---|---|---|\n" + rows), std::string::npos) << rows;
}

} // namespace
} // namespace cloister::tool
