// SPDX-License-Identifier: MIT
#include "policy/evaluate.h"
#include "runc.h"

#include <map>
#include <random>

namespace cloister::audit {
namespace {

constexpr const char* docker =
    "/usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json"; // golang-github-docker-docker-dev
constexpr const char* podman = "/usr/share/containers/seccomp.json"; // golang-github-containers-common

class Oci : public testing::Test {
  public:
    static Imported import(const std::string& text, std::vector<std::string> caps = {}) {
        ImportOptions options;
        options.caps = std::move(caps);
        return or_throw(import_oci(text, "profile.json", options));
    }
    // Line, column and message.
    static std::string error(const std::string& text) {
        const auto imported = import_oci(text, "profile.json", {});
        return imported ? "none"
                        : fmt::format("{}:{}: {}", imported.error().line, imported.error().column,
                                      imported.error().message);
    }
    static std::string with(const std::string& syscalls, const std::string& more = "") {
        return fmt::format(
            R"({{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", )"
            R"("SCMP_ARCH_X32"], {}"syscalls": [{}]}})",
            more, syscalls);
    }
    // What a profile with rules for one call says of a call: the first rule without conditions; else the
    // strictest.
    static std::string said(const nlohmann::json& profile, const seccomp_data& call) {
        std::set<std::string> actions;
        for (const auto& rule : profile.at("syscalls")) {
            const auto& args = rule.at("args");
            const auto action = rule.at("action").get<std::string>().substr(9);
            if (args.empty()) {
                actions = {action};
                break;
            }
            std::set<unsigned> registers;
            std::size_t held = 0;
            for (const auto& arg : args) {
                const auto index = arg.at("index").get<unsigned>();
                registers.insert(index);
                const auto word = call.args[index];
                const auto value = arg.at("value").get<std::uint64_t>();
                const auto second = arg.at("valueTwo").get<std::uint64_t>();
                const auto op = arg.at("op").get<std::string>().substr(9);
                held += op == "NE"   ? word != value
                        : op == "EQ" ? word == value
                        : op == "LT" ? word < value
                        : op == "LE" ? word <= value
                        : op == "GT" ? word > value
                        : op == "GE" ? word >= value
                                     : (word & value) == (second & value);
            }
            if (registers.size() == args.size() ? held == args.size() : held > 0) {
                actions.insert(action);
            }
        }
        return actions.contains("KILL_PROCESS") ? "kill-process"
               : actions.empty()                ? "kill-thread"
               : actions.contains("LOG")        ? "log"
                                                : "allow";
    }
    // The text is what runc makes of the same profile.
    static void expect_as_runc(const std::string& text, const std::vector<std::string>& caps = {}) {
        const auto imported = import(text, caps);
        Comparison comparison{parsed(imported.text),
                              {as_runc(nlohmann::json::parse(text), {caps.begin(), caps.end()})}};
        if (imported.verdict == Verdict::exact) {
            EXPECT_EQ(comparison.difference().value_or("none"), "none") << imported.text;
        } else {
            EXPECT_EQ(imported.verdict, Verdict::narrower);
            EXPECT_EQ(comparison.wider().value_or("none"), "none") << imported.text;
        }
    }
    static void expect_default_profile_as_runc(const std::string& file) {
        const auto text = content(file);
        if (text.empty()) {
            GTEST_SKIP() << file << " is not here: install the packages that tests/audit names";
        }
        std::set<std::string> all;
        const auto profile = nlohmann::json::parse(text);
        for (const auto& entry : profile.at("syscalls")) {
            for (const auto* key : {"includes", "excludes"}) {
                if (entry.contains(key) && entry.at(key).is_object() && entry.at(key).contains("caps")) {
                    all.insert(entry.at(key).at("caps").begin(), entry.at(key).at("caps").end());
                }
            }
        }
        ASSERT_GT(all.size(), 5U);
        for (const auto& caps : {std::vector<std::string>{}, {"CAP_SYS_ADMIN"}, {all.begin(), all.end()}}) {
            const auto imported = import(text, caps);
            ASSERT_EQ(imported.verdict, Verdict::exact)
                << (imported.reasons.empty() ? "" : imported.reasons.front());
            expect_as_runc(text, caps);
        }
    }
};

TEST_F(Oci, DockersDefaultProfileIsTheFilterOfRunc) {
    expect_default_profile_as_runc(docker);
}

TEST_F(Oci, PodmansDefaultProfileIsTheFilterOfRunc) {
    expect_default_profile_as_runc(podman);
}

TEST_F(Oci, EveryOperatorIsLibseccomps) {
    for (const auto* op : {"NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"}) {
        for (const auto* value : {"0", "1", "4096", "4294967295", "4294967296", "18446744073709551615"}) {
            const auto text = with(fmt::format(
                R"({{"names": ["mmap"], "action": "SCMP_ACT_ALLOW", "args": [{{"index": 1, "value": {}, "valueTwo": 4097, "op": "SCMP_CMP_{}"}}]}})",
                value, op));
            SCOPED_TRACE(text);
            expect_as_runc(text);
        }
    }
}

TEST_F(Oci, TwoConditionsOnOneArgumentAreAlternatives) {
    const auto text = with(R"({"names": ["lseek"], "action": "SCMP_ACT_ALLOW", "args": [
        {"index": 2, "value": 1, "op": "SCMP_CMP_GE"}, {"index": 2, "value": 7, "op": "SCMP_CMP_LE"},
        {"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}]})");
    expect_as_runc(text);
    EXPECT_THAT(import(text).notes,
                testing::Contains(testing::HasSubstr("each condition as a rule of its own")));
}

TEST_F(Oci, ARuleWithoutConditionsReplacesThoseWithThem) {
    const std::string whole = R"({"names": ["lseek"], "action": "SCMP_ACT_ALLOW"})";
    const std::string part =
        R"({"names": ["lseek"], "action": "SCMP_ACT_KILL", "args": [{"index": 2, "value": 1, "op": "SCMP_CMP_EQ"}]})";
    for (const auto& text : {with(whole + "," + part), with(part + "," + whole)}) {
        EXPECT_EQ(import(text).verdict, Verdict::exact);
        expect_as_runc(text);
    }
}

TEST_F(Oci, WhereRulesOverlapTheStrictestCountsAndIsNarrower) {
    const auto text = with(
        R"({"names": ["lseek"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}]},
           {"names": ["lseek"], "action": "SCMP_ACT_KILL", "args": [{"index": 2, "value": 1, "op": "SCMP_CMP_EQ"}]})");
    const auto imported = import(text);
    EXPECT_EQ(imported.verdict, Verdict::narrower);
    EXPECT_THAT(imported.reasons,
                testing::ElementsAre(testing::HasSubstr("lseek: rules with different actions")));
    expect_as_runc(text);
}

TEST_F(Oci, RandomRulesForOneCallAreNotWiderThanRuncs) {
    std::mt19937 random{3};
    const auto pick = [&](const std::vector<std::string>& from) { return from[random() % from.size()]; };
    std::map<Verdict, int> verdicts;
    int mistakes = 0;
    for (int round = 0; round < 300; ++round) {
        std::string rules;
        for (auto count = random() % 3 + 1; count > 0; --count) {
            std::string args;
            for (auto tests = random() % 3; tests > 0; --tests) {
                args += fmt::format(R"({}{{"index": {}, "value": {}, "valueTwo": {}, "op": "SCMP_CMP_{}"}})",
                                    args.empty() ? "" : ", ", pick({"0", "1", "2"}),
                                    pick({"0", "1", "7", "4294967296", "18446744073709551615"}),
                                    pick({"0", "1", "5"}),
                                    pick({"NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"}));
            }
            rules +=
                fmt::format(R"({}{{"names": ["mremap"], "action": "SCMP_ACT_{}", "args": [{}]}})",
                            rules.empty() ? "" : ", ", pick({"ALLOW", "ALLOW", "LOG", "KILL_PROCESS"}), args);
        }
        // Of x86_64 alone: the values do not fit registers of 32 bits.
        const auto text = fmt::format(R"({{"defaultAction": "SCMP_ACT_KILL", "syscalls": [{}]}})", rules);
        SCOPED_TRACE(text);
        const auto imported = import(text);
        policy::Program program;
        try {
            program = as_runc(nlohmann::json::parse(text));
        } catch (const std::runtime_error&) {
            continue; // libseccomp refuses some rules that overlap, and so do the runtimes
        }
        Comparison comparison{parsed(imported.text), {program}};
        const auto wrong = imported.verdict == Verdict::exact ? comparison.difference() : comparison.wider();
        ++verdicts[imported.verdict];
        if (wrong) { // libseccomp 2.5.4 makes mistakes here: the text must say what the profile says
            ++mistakes;
            const auto& call = comparison.witness();
            EXPECT_EQ(policy::evaluate(parsed(imported.text), policy::native_arch, {}, call).action.text(),
                      said(nlohmann::json::parse(text), call))
                << *wrong;
        }
    }
    EXPECT_GT(verdicts[Verdict::exact], 100);
    EXPECT_GT(verdicts[Verdict::narrower], 30);
    EXPECT_LT(mistakes, 6);
}

TEST_F(Oci, EveryActionIsTheKernels) {
    for (const auto* action :
         {"ALLOW", "LOG", "TRACE", "ERRNO", "TRAP", "KILL", "KILL_THREAD", "KILL_PROCESS", "NOTIFY"}) {
        const auto text = with(fmt::format(R"({{"names": ["getpid"], "action": "SCMP_ACT_{}"}})", action));
        SCOPED_TRACE(text);
        expect_as_runc(text);
    }
    expect_as_runc(with(R"({"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                          {"names": ["gettid"], "action": "SCMP_ACT_TRACE", "errnoRet": 7})",
                        R"("defaultErrnoRet": 13,)"));
}

TEST_F(Oci, CallsOfi386ReachSocketcallAsWithLibseccomp) {
    expect_as_runc(with(R"({"names": ["socket", "semget", "accept"], "action": "SCMP_ACT_ALLOW"})"));
    expect_as_runc(with(
        R"({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]})"));
    expect_as_runc(with(R"({"names": ["socket", "socketcall"], "action": "SCMP_ACT_ALLOW"})"));
}

TEST_F(Oci, WithoutOtherArchitecturesTheirCallsAreNotMilder) {
    for (const auto* otherwise :
         {"SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_ALLOW", "SCMP_ACT_TRAP", "SCMP_ACT_KILL"}) {
        const auto text = fmt::format(
            R"({{"defaultAction": "{}", "syscalls": [{{"names": ["getpid"], "action": "SCMP_ACT_LOG"}},
            {{"names": ["clone"], "action": "SCMP_ACT_LOG", "args": [{{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}}]}}]}})",
            otherwise);
        SCOPED_TRACE(text);
        const auto imported = import(text);
        Comparison comparison{parsed(imported.text), {as_runc(nlohmann::json::parse(text))}};
        EXPECT_EQ(comparison.wider().value_or("none"), "none");
        EXPECT_EQ(comparison.difference().value_or("none"), "none");
        EXPECT_EQ(imported.verdict, Verdict::exact);
    }
}

TEST_F(Oci, AConditionOnARegisterWithoutAnArgumentIsLeftOut) {
    const auto text = with(
        R"({"names": ["close"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 3, "value": 1, "op": "SCMP_CMP_EQ"}]})");
    const auto imported = import(text);
    EXPECT_EQ(imported.verdict, Verdict::narrower);
    EXPECT_THAT(imported.reasons,
                testing::ElementsAre(testing::HasSubstr("close has no argument in register 4")));
    expect_as_runc(text);
}

TEST_F(Oci, AWholeConfigurationHoldsAProfile) {
    const auto profile = with(R"({"names": ["getpid"], "action": "SCMP_ACT_ALLOW"})");
    EXPECT_EQ(import(profile).text,
              import(fmt::format(R"({{"ociVersion": "1.0.2", "linux": {{"seccomp": {}}}}})", profile)).text);
}

TEST_F(Oci, ErrorsNameTheirPlace) {
    EXPECT_EQ(error("{\n  \"defaultAction\": \"SCMP_ACT_FOO\"\n}"),
              "2:20: /defaultAction: unknown action 'SCMP_ACT_FOO'");
    EXPECT_EQ(error("{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n \"syscalls\": [{\"names\": [\"read\"], "
                    "\"action\": 7}]}"),
              "2:45: /syscalls/0/action: expected a string");
    EXPECT_EQ(error("{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n \"syscals\": []}"),
              "2:13: /syscals: unknown key 'syscals'. Did you mean syscalls?");
    EXPECT_EQ(error("{}"), "1:1: 'defaultAction' is missing");
    EXPECT_THAT(error("{\n\"defaultAction\": \"SCMP_ACT_ALLOW\",\n}"),
                testing::StartsWith("3:1: not JSON: "));
    EXPECT_EQ(error(with(R"({"names": ["a b"], "action": "SCMP_ACT_ALLOW"})")),
              "1:133: /syscalls/0/names: 'a b' is not a system call");
    EXPECT_EQ(error(R"({"defaultAction": "SCMP_ACT_ALLOW", "defaultAction": "SCMP_ACT_KILL"})"),
              "1:37: the key 'defaultAction' stands twice in one object");
    EXPECT_THAT(error(std::string(40, '[')), testing::StartsWith("1:33: more than 32 levels"));
    EXPECT_EQ(error(std::string{"{}\0", 3}), "1:3: a NUL byte");
    EXPECT_EQ(error(with(R"({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096})")).substr(5),
              ": /syscalls/0/errnoRet: expected a whole number from 0 to 4095");
    EXPECT_EQ(error(with(R"({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errno": "EFOO"})")).substr(5),
              ": /syscalls/0/errno: unknown error 'EFOO'");
    EXPECT_EQ(error(with(R"({"names": ["read"], "name": "read", "action": "SCMP_ACT_ERRNO"})")).substr(5),
              ": /syscalls/0: expected either 'name' or 'names'");
}

TEST_F(Oci, MinKernelIsCompared) {
    const auto text =
        with(R"({"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}})");
    ImportOptions options;
    for (const auto& [version, allowed] :
         {std::pair{std::pair{4U, 7U}, false}, {{4U, 8U}, true}, {{5U, 0U}, true}}) {
        options.kernel = version;
        EXPECT_EQ(or_throw(import_oci(text, "p", options)).text.find("allow ptrace") != std::string::npos,
                  allowed);
    }
}

} // namespace
} // namespace cloister::audit
