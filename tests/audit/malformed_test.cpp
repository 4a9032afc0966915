// SPDX-License-Identifier: MIT
// Files that are wrong in one place: an error at that place, and never a crash.
#include "judge.h"

#include <algorithm>
#include <random>

namespace cloister::audit {
namespace {

constexpr const char* good_profile = R"({
  "defaultAction": "SCMP_ACT_ERRNO",
  "defaultErrnoRet": 38,
  "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
  "syscalls": [
    {
      "names": ["read", "write"],
      "action": "SCMP_ACT_ALLOW"
    },
    {
      "names": ["clone"],
      "action": "SCMP_ACT_ALLOW",
      "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
      "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390"], "minKernel": "9.0"}
    }
  ]
}
)";
constexpr const char* good_unit =
    "[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\nSystemCallArchitectures=native\n"
    "SystemCallErrorNumber=EPERM\nSystemCallFilter=@system-service\nSystemCallFilter=~@clock mkdir:ENOSYS\n";
constexpr const char* good_policy =
    "# a policy\nread: 1\nwrite: arg0 == 1 || arg0 == 2\nopenat: arg2 in O_RDONLY|O_CLOEXEC\n"
    "mmap: arg2 in ~PROT_EXEC && arg3 & 0x2\nsocket: return EPERM\nexit_group: 1\n";

/// Both say whether a text is taken, without a crash; an error must have a place within the text.
class Malformed : public testing::Test {
  public:
    static bool taken(Format format, const std::string& text) {
        ImportOptions options;
        options.compiler = MinijailCompiler::python;
        const auto imported = import_policy(format, text, "malformed", options);
        if (!imported) {
            const auto lines = static_cast<unsigned>(std::count(text.begin(), text.end(), '\n')) + 1;
            EXPECT_GE(imported.error().line, 1U) << imported.error().message;
            EXPECT_LE(imported.error().line, lines) << imported.error().message;
            EXPECT_GE(imported.error().column, 1U) << imported.error().message;
            EXPECT_FALSE(imported.error().message.empty());
            return false;
        }
        if (imported->verdict == Verdict::refused) {
            EXPECT_FALSE(imported->reasons.empty());
            return false;
        }
        EXPECT_TRUE(policy::parse(imported->text, "imported").has_value()) << imported->text;
        return true;
    }
    static std::string replaced(std::string text, const std::string& from, const std::string& to) {
        const auto at = text.find(from);
        EXPECT_NE(at, std::string::npos) << from;
        return text.replace(at, from.size(), to);
    }
    // Each wrong line, in front of each line of the good text.
    static void expect_line_is_the_place(Format format, const std::string& good,
                                         const std::vector<std::string>& wrong) {
        ASSERT_TRUE(taken(format, good));
        int count = 0;
        for (const auto& line : wrong) {
            unsigned number = 1;
            for (std::size_t at = 0; at < good.size(); at = good.find('\n', at) + 1, ++number) {
                ImportOptions options;
                options.compiler = MinijailCompiler::python;
                const auto imported = import_policy(
                    format, good.substr(0, at) + line + '\n' + good.substr(at), "malformed", options);
                ASSERT_FALSE(imported.has_value()) << line;
                EXPECT_EQ(imported.error().line, number) << line << ": " << imported.error().message;
                ++count;
            }
        }
        EXPECT_GE(count, 100);
    }
};

TEST_F(Malformed, Profiles) {
    ASSERT_TRUE(taken(Format::oci, good_profile));
    const std::string good{good_profile};
    std::vector<std::string> wrong;
    const auto end = good.rfind('}');
    for (std::size_t i = 0; i < 40; ++i) {
        wrong.push_back(good.substr(0, end * i / 40)); // cut off
    }
    for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
             {"\"SCMP_ACT_ERRNO\"", "7"},
             {"\"SCMP_ACT_ERRNO\"", "null"},
             {"\"SCMP_ACT_ERRNO\"", "[]"},
             {"\"SCMP_ACT_ERRNO\"", "\"SCMP_ACT_\""},
             {"\"SCMP_ACT_ERRNO\"", "\"\""},
             {"\"SCMP_ACT_ERRNO\"", "\"scmp_act_errno\""},
             {"38", "-1"},
             {"38", "4096"},
             {"38", "3.8"},
             {"38", "\"38\""},
             {"38", "1e3"},
             {"38", "99999999999999999999"},
             {"[\"SCMP_ARCH_X86_64\", \"SCMP_ARCH_X86\", \"SCMP_ARCH_X32\"]", "\"SCMP_ARCH_X86_64\""},
             {"\"SCMP_ARCH_X86\"", "\"SCMP_ARCH_VAX\""},
             {"\"SCMP_ARCH_X86\"", "3"},
             {"\"SCMP_ARCH_X86\"", "{}"},
             {"\"defaultAction\"", "\"defaultaction\""},
             {"\"defaultErrnoRet\"", "\"defaultErrno_Ret\""},
             {"\"syscalls\"", "\"syscall\""},
             {"\"syscalls\": [", "\"syscalls\": [3,"},
             {"\"syscalls\": [", "\"syscalls\": [null,"},
             {"\"syscalls\": [", "\"syscalls\": [[],"},
             {"\"syscalls\": [", "\"syscalls\": [{},"},
             {"[\"read\", \"write\"]", "\"read\""},
             {"[\"read\", \"write\"]", "{}"},
             {"[\"read\", \"write\"]", "[1]"},
             {"[\"read\", \"write\"]", "[\"\"]"},
             {"[\"read\", \"write\"]", "[\"re ad\"]"},
             {"[\"read\", \"write\"]", "[\"READ\"]"},
             {"[\"read\", \"write\"]", "[null]"},
             {"\"names\"", "\"nmaes\""},
             {"\"action\"", "\"actoin\""},
             {"\"args\"", "\"arg\""},
             {"\"args\": [", "\"args\": [1,"},
             {"\"args\": [", "\"args\": {}, \"x\": ["},
             {"\"index\": 0", "\"index\": 6"},
             {"\"index\": 0", "\"index\": -1"},
             {"\"index\": 0", "\"index\": \"0\""},
             {"\"index\": 0", "\"index\": 0.5"},
             {"\"index\": 0, ", ""},
             {"2114060288", "18446744073709551616"},
             {"2114060288", "-2114060288"},
             {"2114060288", "\"0x7e020000\""},
             {"2114060288", "true"},
             {"2114060288", "0x7e020000"},
             {"2114060288", "02114060288"},
             {"\"SCMP_CMP_MASKED_EQ\"", "\"SCMP_CMP_MASKED\""},
             {"\"SCMP_CMP_MASKED_EQ\"", "\"==\""},
             {"\"SCMP_CMP_MASKED_EQ\"", "7"},
             {", \"op\": \"SCMP_CMP_MASKED_EQ\"", ""},
             {"\"excludes\"", "\"exclude\""},
             {"\"caps\"", "\"cap\""},
             {"[\"CAP_SYS_ADMIN\"]", "\"CAP_SYS_ADMIN\""},
             {"[\"CAP_SYS_ADMIN\"]", "[1]"},
             {"\"9.0\"", "9.0"},
             {"\"9.0\"", "\"9\""},
             {"\"9.0\"", "\"9.x\""},
             {"\"9.0\"", "\"9.0.1\""},
             {"{\"caps\"", "[{\"caps\""},
             {"\"names\": [\"clone\"]", "\"name\": \"clone\", \"names\": [\"clone\"]"},
             {"\"names\": [\"clone\"]", "\"names\": [\"clone\"], \"names\": [\"clone\"]"},
             {"{\n  \"defaultAction\"", "\n  \"defaultAction\""},
             {"\"read\", ", "\"read\" "},
             {"\"read\", ", "\"read\",, "},
             {"\"read\"", "\"re\xff\x61\x64\""},
             {"\"read\"", "\"re\\ud800ad\""},
             {"\"read\"", std::string{"\"re\0ad\"", 7}},
             {"\"read\"", "'read'"},
             {"\"read\"", "read"},
             {"\"read\"", "\"read"},
             {"// nothing", ""}}) {
        if (from != "// nothing") {
            wrong.push_back(replaced(good, from, to));
        }
    }
    wrong.push_back(std::string(100000, '['));
    wrong.push_back("{\"defaultAction\": " + std::string(100, '[') + std::string(100, ']') + "}");
    wrong.push_back(good + good);
    wrong.push_back("{\"defaultAction\":" + std::string(5000, '9') + "}");
    EXPECT_GE(wrong.size(), 100U);
    for (const auto& text : wrong) {
        EXPECT_FALSE(taken(Format::oci, text)) << text.substr(0, 1500);
    }
}

TEST_F(Malformed, Units) {
    expect_line_is_the_place(Format::systemd, good_unit,
                             {"SystemCallFilter=raed",
                              "SystemCallFilter=~@nogroup",
                              "SystemCallFilter=read:EPERM",
                              "SystemCallFilter=~read:EFOO",
                              "SystemCallFilter=~read:-1",
                              "SystemCallFilter=~read:99999999999",
                              "SystemCallFilter=~:EPERM",
                              "SystemCallFilter=~read:",
                              "SystemCallFilter=READ",
                              "SystemCallFilter=read,write",
                              "SystemCallFilter=\"read\"",
                              "SystemCallFilter=~~read",
                              "SystemCallFilter read",
                              "SystemCallFiltre=read",
                              "SystemCallErrorNumber=EFOO",
                              "SystemCallErrorNumber=0",
                              "SystemCallErrorNumber=1 2",
                              "SystemCallArchitectures=x86_64",
                              "[Service",
                              "SystemCallFilter=re\x01"
                              "ad",
                              std::string{"SystemCallFilter=re\0ad", 22},
                              "SystemCallFilter=re\xff"
                              "ad",
                              "SystemCallFilter=@",
                              "SystemCallFilter=~@@clock",
                              "SystemCallFilter=" + std::string(100000, 'a')});
}

TEST_F(Malformed, MinijailPolicies) {
    expect_line_is_the_place(
        Format::minijail, good_policy,
        {"getpid",
         "getpid:",
         "getpid: 2",
         "getpid: yes",
         "getpd: 1",
         "getpid: arg0",
         "getpid: arg0 ==",
         "getpid: arg0 == 1 ||",
         "getpid: arg0 == 1 &&",
         "getpid: arg9 == 1",
         "getpid: arg == 1",
         "getpid: arg0 === 1",
         "getpid: arg0 == 1 2",
         "getpid: arg0 == 0x",
         "getpid: arg0 == 08",
         "getpid: arg0 == 99999999999999999999",
         "getpid: arg0 == -9223372036854775809",
         "getpid: arg0 == NOSUCH_CONSTANT_X",
         "getpid: arg0 == ~~1",
         "getpid: arg0 == (1",
         "getpid: arg0 == 1)",
         "getpid: return",
         "getpid: return ENOSUCH",
         "getpid: return 4096",
         "getpid: {1",
         "{getpid: 1",
         "getpid[arch]: 1",
         "getpid@group: 1",
         "@default",
         "@default allow",
         "@include",
         "@include nowhere",
         "@include ./nowhere",
         "@nothing",
         "getpid: arg0 == 1;",
         "1: 1",
         std::string{"getpid: \0", 9},
         "getpid: \xff",
         "getpid: arg0 == " + std::string(40, '(') + "1" + std::string(40, ')'),
         "getpid: arg0 & 0xffffffffffffffff && arg1 & 0xffffffffffffffff && arg2 & 0xffffffffffffffff"});
}

TEST_F(Malformed, RandomChangesEndInAnErrorOrInAPolicy) {
    std::mt19937 random{7};
    int kept = 0;
    for (int round = 0; round < 900; ++round) {
        const auto format = static_cast<Format>(round % 3);
        std::string text = format == Format::oci       ? good_profile
                           : format == Format::systemd ? good_unit
                                                       : good_policy;
        for (auto changes = random() % 3 + 1; changes > 0; --changes) {
            const auto at = random() % text.size();
            switch (random() % 4) {
            case 0:
                text.erase(at, random() % 9 + 1);
                break;
            case 1:
                text[at] = static_cast<char>(random() % 256);
                break;
            case 2:
                text.insert(at, text.substr(random() % text.size(), random() % 20));
                break;
            default:
                text.insert(at, 1, "{}[]\":,;|&()~@ \n0x"[random() % 18]);
            }
            text += text.empty() ? "x" : "";
        }
        kept += taken(format, text) ? 1 : 0;
    }
    EXPECT_GT(kept, 50) << "the changes are too rough to reach far";
}

} // namespace
} // namespace cloister::audit
