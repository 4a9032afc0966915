// SPDX-License-Identifier: MIT
// `cloister policy import` and `export` as their users meet them.
#include "../policy/tool.h"

namespace cloister::tool {
namespace {

class Exchange : public PolicyTool {
  public:
    inline static const std::string samples = CLOISTER_AUDIT_SAMPLES;
    // What export gives, for one processor.
    std::string
    sample(const std::string& rules = "allow read  fd == 3  any : x\nallow exit_group any : x\n") const {
        return write("sample.policy",
                     "policy sample 1\nsyntax 1\narch " + native + "\nelse kill-thread\n" + rules);
    }
};

TEST_F(Exchange, ImportGivesTextAndAVerdict) {
    EXPECT_EQ(policy("import " + samples + "/oci/sample.json -o " + scratch + "/out.policy"), 0) << err;
    EXPECT_TRUE(says("sample.json: EXACT")) << err;
    EXPECT_EQ(policy("check " + scratch + "/out.policy"), 0) << err;
}

TEST_F(Exchange, ImportAnswersInJson) {
    EXPECT_EQ(policy("import --json " + samples + "/oci/sample.json"), 0);
    const auto answer = nlohmann::json::parse(out);
    EXPECT_EQ(answer.at("verdict"), "EXACT");
    EXPECT_EQ(answer.at("text").get<std::string>().substr(0, 2), "# ");
    EXPECT_TRUE(answer.at("reasons").is_array() && answer.at("notes").is_array());
    EXPECT_EQ(policy("import --json " + write("bad.json", "{\n\"defaultAction\": 7}")), 65);
    EXPECT_EQ(nlohmann::json::parse(out).at("error").at("line"), 2);
}

TEST_F(Exchange, ImportKnowsAFormByItsContent) {
    EXPECT_EQ(policy("import " + write("x", "[Service]\nSystemCallFilter=read\n")), 0) << err;
    EXPECT_TRUE(says("# Imported from the system call filter of the unit x"));
    EXPECT_EQ(policy("import " + write("x", "read: 1\n")), 0) << err;
    EXPECT_TRUE(says("# Imported from the minijail policy x"));
    EXPECT_EQ(policy("import --from systemd " + write("x", "read: 1\n")), 65);
}

TEST_F(Exchange, WhatIsRefusedExitsWith65) {
    const auto file = write("x.policy", "read: arg0 == 1; return 5\n");
    EXPECT_EQ(policy("import " + file), 65);
    EXPECT_TRUE(says("x.policy: REFUSED")) << err;
    EXPECT_TRUE(out.empty());
    EXPECT_EQ(policy("import --compiler python " + file), 0);
    EXPECT_EQ(policy("import " + scratch + "/nowhere"), 66);
    EXPECT_EQ(policy("import --caps CAP_FOO " + samples + "/oci/sample.json"), 64);
    EXPECT_EQ(policy("import --kernel six " + samples + "/oci/sample.json"), 64);
}

TEST_F(Exchange, ExportWritesSeveralForms) {
    EXPECT_EQ(policy("export " + sample() + " --to oci,kafel,c -o " + scratch), 0) << err;
    EXPECT_EQ(policy("export " + sample() + " --to minijail,seccompiler -o " + scratch), 1)
        << "they end the process on a call of another ABI";
    for (const auto* file :
         {"sample.oci.json", "sample.minijail", "sample.kafel", "sample.seccompiler.json", "sample.c"}) {
        EXPECT_FALSE(read(file).empty()) << file;
    }
    EXPECT_EQ(policy("import " + scratch + "/sample.oci.json"), 0) << err;
    EXPECT_EQ(policy("export " + sample() + " --to oci,c"), 64) << "no directory";
    EXPECT_EQ(policy("export " + sample() + " --to pdf"), 64);
}

TEST_F(Exchange, WhatIsNotExactExitsWith1) {
    EXPECT_EQ(policy("export " + sample() + " --to systemd"), 1);
    EXPECT_TRUE(says("systemd: WIDER")) << err;
    EXPECT_EQ(policy("export --json " +
                     sample("param $p addr : x\nallow read  fd any  buf == $p  any : x\n") +
                     " --to c,oci -o " + scratch),
              1);
    const auto answers = nlohmann::json::parse(out);
    EXPECT_EQ(answers.at(0).at("verdict"), "REFUSED");
    EXPECT_EQ(answers.at(1).at("verdict"), "WIDER");
    EXPECT_EQ(answers.at(1).at("wider").size(), 1U);
    EXPECT_EQ(policy("export " + sample("param $p addr : x\nallow read  fd any  buf == $p  any : x\n") +
                     " --to oci --bind p=0x1000"),
              0)
        << err;
}

TEST_F(Exchange, HelpHasAnExampleThatWorks) {
    EXPECT_EQ(policy("import --help"), 0);
    EXPECT_TRUE(says("Example: cloister policy import "));
    EXPECT_EQ(policy("export --help"), 0);
    EXPECT_TRUE(says("Example: cloister policy export clock.policy --to oci,systemd,c -o out"));
    std::filesystem::create_directory(scratch + "/there");
    EXPECT_EQ(policy("export " + sample() + " --to oci,systemd,c -o " + scratch + "/there"), 1)
        << "systemd's is wider";
}

} // namespace
} // namespace cloister::tool
