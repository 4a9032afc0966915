// SPDX-License-Identifier: MIT
// `cloister policy diff`, `map`, `review` and `check --reviewed`, and `show` and `ask` of bytes, as their
// users meet them.
#include "../policy/tool.h"

namespace cloister::tool {
namespace {

class Compare : public PolicyTool {
  public:
    inline static const std::string filters = CLOISTER_FILTERS;
    std::string sample(const std::string& name, const std::string& rules,
                       const std::string& otherwise = "kill-process") const {
        return write(name, "policy " + name.substr(0, name.find('.')) + " 1\nsyntax 1\narch x86_64\nelse " +
                               otherwise + "\n" + rules);
    }
};

TEST_F(Compare, DiffSaysNothingButEqualOfTwoThatAre) {
    EXPECT_EQ(policy("diff " + echo + " " + echo), 0) << err;
    EXPECT_EQ(out, "equal\n");
    EXPECT_EQ(policy("diff " + together + " " + together), 0) << err;
    EXPECT_EQ(out, "equal\n");
}

TEST_F(Compare, DiffNamesCallDirectionLinesAndACall) {
    const auto one = sample("old.policy", "allow close fd == 3 : x\n");
    const auto two = sample("new.policy", "# more\nallow close fd <= 3 : x\n");
    EXPECT_EQ(policy("diff " + one + " " + two), 1) << err;
    EXPECT_EQ(out, "close on x86_64: wider from kill-process to allow (" + two +
                       ":6)\n    close(fd=0) on x86_64\nwider\n");
    EXPECT_EQ(policy("diff " + two + " " + one), 1);
    EXPECT_TRUE(says("close on x86_64: narrower from allow (" + two + ":6) to kill-process\n")) << out;
    EXPECT_EQ(policy("diff --fail-if-wider " + two + " " + one), 0) << "it is narrower";
    EXPECT_EQ(policy("diff --fail-if-wider " + one + " " + two), 1);
    EXPECT_EQ(policy("diff --json " + one + " " + two), 1);
    const auto answer = nlohmann::json::parse(out);
    EXPECT_EQ(answer.at("result"), "wider");
    EXPECT_EQ(answer.at("changes").at(0).at("call"), "close");
    EXPECT_EQ(answer.at("changes").at(0).at("witness").at("nr"), 3);
    EXPECT_EQ(answer.at("changes").at(0).at("witness").at("args").size(), 6U);
}

TEST_F(Compare, DiffOfDirectoriesIsBySiteAndHandler) {
    std::filesystem::copy(together, scratch + "/p", std::filesystem::copy_options::recursive);
    const auto file = scratch + "/p/handlers/echo.policy";
    std::string text = read("p/handlers/echo.policy");
    text.replace(text.find("SIZE 65536"), 10, "SIZE 65537");
    write("p/handlers/echo.policy", text);
    EXPECT_EQ(policy("diff " + together + " " + scratch + "/p"), 1) << err;
    EXPECT_TRUE(says("recvfrom on x86_64, elsewhere of echo: wider from kill-process to allow (")) << out;
    EXPECT_FALSE(says("of discard")) << out;
    std::filesystem::remove(scratch + "/p/handlers/discard.policy");
    EXPECT_EQ(policy("diff " + together + " " + scratch + "/p --fail-if-wider"), 1);
    EXPECT_TRUE(says("handler discard: only in the old one")) << out;
}

TEST_F(Compare, DiffTakesBytesProfilesAndDirectoriesOfBytes) {
    EXPECT_EQ(policy("import " + filters + "/vsftpd-0.bpf -o " + scratch + "/v.policy"), 0) << err;
    EXPECT_EQ(policy("diff " + filters + "/vsftpd-0.bpf " + scratch + "/v.policy"), 0) << out << err;
    EXPECT_EQ(policy("diff " + filters + "/vsftpd-0.bpf " + filters + "/openssh-0.bpf"), 1) << err;
    std::filesystem::create_directory(scratch + "/dump");
    for (const auto* name : {"systemd-service-3.bpf", "systemd-service-4.bpf"}) {
        std::filesystem::copy(filters + "/" + name, scratch + "/dump/" + name);
    }
    EXPECT_EQ(policy("import " + scratch + "/dump -o " + scratch + "/both.policy"), 0) << err;
    EXPECT_EQ(policy("diff " + scratch + "/dump " + scratch + "/both.policy"), 0) << out << err;
    EXPECT_EQ(policy("diff " + filters + "/systemd-service-3.bpf " + scratch + "/both.policy"), 1)
        << "one of the two";
    const auto profile =
        write("p.json", R"({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["close"], "action": "SCMP_ACT_ALLOW"}]})");
    EXPECT_EQ(policy("diff " + profile + " " +
                     sample("o.policy", "allow close any : x\n", "errno EPERM abi kill-thread")),
              0)
        << out << err;
}

TEST_F(Compare, BytesOfOurOwnFiltersAreComparedWithTheAddressesThatStandInThem) {
    ASSERT_EQ(std::system(
                  fmt::format("'{}' policy bpf --raw {} {} >{}/echo.bpf", CLOISTER_TOOL, echo, bind, scratch)
                      .c_str()),
              0);
    EXPECT_EQ(policy("diff " + echo + " " + scratch + "/echo.bpf"), 0) << out << err;
}

TEST_F(Compare, ShowAndAskTakeBytes) {
    EXPECT_EQ(policy("ask " + filters + "/openssh-0.bpf socket"), 1) << err;
    EXPECT_TRUE(says("kill-thread\n")) << out;
    EXPECT_EQ(policy("ask " + filters + "/openssh-0.bpf 0"), 0) << "read, by its number";
    EXPECT_EQ(policy("show " + filters + "/openssh-0.bpf"), 0) << err;
    EXPECT_TRUE(says("prot is at most 3")) << out;
}

TEST_F(Compare, MapWritesTextJsonAndAPicture) {
    EXPECT_EQ(policy("map " + echo + " --svg " + scratch + "/map.svg"), 0) << err;
    EXPECT_TRUE(says("open with conditions: 5 of ")) << out;
    EXPECT_EQ(read("map.svg").substr(0, 5), "<svg ");
    EXPECT_EQ(policy("map --json " + echo), 0);
    EXPECT_GT(nlohmann::json::parse(out).at("calls").size(), 300U);
    EXPECT_EQ(policy("map " + echo + " --svg /nowhere/map.svg"), 71) << err;
}

TEST_F(Compare, ReviewRecordsTheMeaningAndCheckReviewedDemandsIt) {
    const auto file = sample("my.policy", "allow close fd == 3 : x\n");
    EXPECT_EQ(policy("check --reviewed " + file), 1);
    EXPECT_TRUE(says("error: not reviewed: there is no " + file + ".review")) << err;
    EXPECT_EQ(policy("review --reviewer 'Jane Doe' " + file), 0) << err;
    EXPECT_EQ(policy("check --reviewed " + file), 0) << err;
    sample("my.policy", "# words\nallow close  fd == 3 : why not\n");
    EXPECT_EQ(policy("check --reviewed " + file), 0) << "the meaning is the same";
    sample("my.policy", "allow close fd <= 3 : x\n");
    EXPECT_EQ(policy("check --reviewed " + file), 1);
    EXPECT_TRUE(says("it has another meaning than when Jane Doe reviewed it")) << err;
    EXPECT_TRUE(says("close on x86_64: wider from kill-process to allow: close(fd=0) on x86_64")) << err;
    auto record = read("my.policy.review");
    record.replace(record.find("fd == 3"), 7, "fd <= 3");
    write("my.policy.review", record);
    EXPECT_EQ(policy("check --reviewed " + file), 65);
    EXPECT_TRUE(says("the record was changed by hand")) << err;
    write("my.policy.review", "nonsense");
    EXPECT_EQ(policy("check --reviewed " + file), 65) << err;
    EXPECT_EQ(policy("review --reviewer '' " + file), 64);
}

TEST_F(Compare, WrongOperandsAreSaid) {
    EXPECT_EQ(policy("diff " + echo + " /nowhere"), 66) << err;
    EXPECT_EQ(policy("diff pid:0 " + echo), 64);
    EXPECT_EQ(policy("diff pid:x " + echo), 64);
    EXPECT_TRUE(says("write pid:N")) << err;
    EXPECT_EQ(policy("diff pid:4194303 " + echo), 69) << err;
    EXPECT_EQ(policy("diff " + echo + " " + write("short.bpf", std::string{"\6\0\0", 3})), 65) << err;
    EXPECT_TRUE(says("is not a raw array")) << err;
    EXPECT_EQ(
        policy("diff " + echo + " " + write("odd.bpf", std::string{"\7\1\0\0\0\0\0\0\6\0\0\0\0\0\0\0", 16})),
        69)
        << err;
    EXPECT_TRUE(says("seccomp(2) takes no such instruction")) << err;
}

} // namespace
} // namespace cloister::tool
