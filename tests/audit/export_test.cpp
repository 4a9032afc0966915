// SPDX-License-Identifier: MIT
#include "audit/export.h"
#include "judge.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

namespace cloister::audit {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view head = "policy sample 1\nsyntax 1\narch x86_64\nelse kill-process\n";

// The answer of libseccomp and kafel to calls of other ABIs.
constexpr std::string_view thread_head = "policy sample 1\nsyntax 1\narch x86_64\nelse kill-thread\n";

class Export : public testing::Test {
  public:
    static Exported as(Target target, const std::string& rules, std::string_view before = head,
                       const policy::Bindings& bindings = {}) {
        return export_policy(parsed(std::string{before} + rules), policy::Arch::x86_64, bindings, target);
    }
    static Imported again(Target target, const std::string& text,
                          MinijailCompiler compiler = MinijailCompiler::minijail0) {
        ImportOptions options;
        options.arch = policy::Arch::x86_64;
        options.compiler = compiler;
        return or_throw(import_policy(target == Target::oci       ? Format::oci
                                      : target == Target::systemd ? Format::systemd
                                                                  : Format::minijail,
                                      text, "again", options));
    }
    static void expect_round_trip(Target target, const std::string& rules, std::string_view before = head,
                                  MinijailCompiler compiler = MinijailCompiler::minijail0) {
        const auto exported = as(target, rules, before);
        ASSERT_EQ(exported.verdict, Verdict::exact)
            << rules
            << fmt::format("{}{}{}", fmt::join(exported.wider, "\n"), fmt::join(exported.narrower, "\n"),
                           fmt::join(exported.refused, "\n"));
        const auto imported = again(target, exported.text, compiler);
        EXPECT_EQ(imported.verdict, Verdict::exact) << exported.text;
        EXPECT_EQ(first_difference(parsed(std::string{before} + rules), parsed(imported.text),
                                   policy::Arch::x86_64, {})
                      .value_or("none"),
                  "none")
            << exported.text;
    }
};

constexpr const char* every_operator =
    "allow lseek  fd == 3  offset != 7  any : x\n"
    "allow mmap  addr any  len <= 0x100000000  prot in 3  flags & 0x12 == 0x2  any : x\n"
    "allow madvise  start >= 0x1000  start <= 0x1fff  any : x\n"
    "allow openat  dfd ==32 0xffffff9c  any : x\n"
    "allow fcntl  fd any  cmd !=32 8  any : x\n"
    "allow read  fd >=32 3  any : x\n"
    "allow write  fd <=32 2  any : x\n"
    "allow clone  flags &32 0x7e020000 == 0  any : x\n"
    "allow close  fd in32 7 : x\n"
    "allow shutdown  fd & 3 != 1  how any : x\n"
    "errno EPERM socket any : x\n"
    "allow getpid : x\n";

TEST_F(Export, EveryOperatorIsExactForOci) {
    expect_round_trip(Target::oci, every_operator, thread_head);
}

TEST_F(Export, EveryOperatorIsExactForMinijail) {
    expect_round_trip(Target::minijail, every_operator);
}

TEST_F(Export, EveryActionIsExactForOciAndForMinijailsCompiler) {
    const std::string rules =
        "errno ENOSYS getpid : x\nkill-thread gettid : x\ntrap getppid : x\nnotify getuid : x\n"
        "log getgid : x\ntrace getpgrp : x\n"
        "allow lseek  fd == 3  any : x\nerrno EPERM lseek  fd == 4  any : x\nlog lseek  fd == 5  any : x\n";
    auto thread_rules = rules;
    thread_rules.replace(thread_rules.find("kill-thread"), 11, "kill-process");
    expect_round_trip(Target::oci, thread_rules, thread_head);
    expect_round_trip(Target::minijail, rules, head, MinijailCompiler::python);
}

TEST_F(Export, AListOfNamesIsExactForSystemd) {
    std::string rules =
        "allow execve any : x\nallow read any : x\nerrno EPERM mkdir any : x\nkill-process ptrace any : x\n";
    expect_round_trip(Target::systemd, rules,
                      "policy sample 1\nsyntax 1\narch x86_64 i386 x32\nelse errno ENOSYS\n");
    expect_round_trip(Target::systemd, "errno EPERM mkdir any : x\nkill-process ptrace any : x\n",
                      "policy sample 1\nsyntax 1\narch x86_64 i386 x32\nelse allow\n");
}

TEST_F(Export, SystemdsNamesAreWider) {
    const auto exported =
        as(Target::systemd, "allow read  fd == 3  any : x\nerrno EPERM write  fd == 1  any : x\n");
    EXPECT_EQ(exported.verdict, Verdict::wider);
    EXPECT_THAT(exported.wider,
                ElementsAre(HasSubstr("line 5 (allow read): a unit has no conditions on arguments"),
                            HasSubstr("line 6"), HasSubstr("execve is allowed"),
                            HasSubstr("calls of other ABIs get kill-thread")))
        << fmt::format("{}", fmt::join(exported.wider, "\n"));
}

TEST_F(Export, AnUnboundParameterBecomesAny) {
    const std::string rules = "param $page addr : x\nallow read  fd == 0  buf == $page  any : x\n";
    for (const auto target :
         {Target::oci, Target::minijail, Target::kafel, Target::seccompiler, Target::systemd}) {
        const auto exported = as(target, rules);
        EXPECT_EQ(exported.verdict, Verdict::wider) << to_string(target);
        EXPECT_THAT(exported.wider, testing::Contains(HasSubstr(
                                        "line 6 (allow read): $page is not bound and becomes 'any'")));
    }
    EXPECT_EQ(as(Target::c, rules).verdict, Verdict::refused);
    EXPECT_THAT(as(Target::c, rules).refused, ElementsAre(HasSubstr("$page is not bound")));
    EXPECT_EQ(as(Target::c, rules, head, {{"page", 0x1000}}).verdict, Verdict::exact);
    const auto bound = as(Target::oci, rules, thread_head, {{"page", 0x1000}});
    EXPECT_EQ(bound.verdict, Verdict::exact);
    EXPECT_THAT(bound.text, HasSubstr("\"value\": 4096"));
}

TEST_F(Export, KafelIsWrittenByItsGrammar) {
    const auto exported = as(Target::kafel,
                             "allow read  fd == 3  any : x\nallow getpid : x\nerrno EPERM "
                             "mmap  addr any  len any  prot & 4 == 4  any : x\n"
                             "allow write  fd <=32 2  any : x\n",
                             thread_head);
    EXPECT_EQ(exported.verdict, Verdict::exact);
    EXPECT_EQ(exported.text, "/* policy sample 1, for x86_64 */\n"
                             "POLICY sample {\n"
                             "  ALLOW {\n"
                             "    /* read */ SYSCALL[0](a0) { a0 == 3 },\n"
                             "    /* getpid */ SYSCALL[39],\n"
                             "    /* write */ SYSCALL[1](a0) { (a0 & 0xffffffff) <= 2 }\n"
                             "  },\n"
                             "  ERRNO(1) {\n"
                             "    /* mmap */ SYSCALL[9](a0, a1, a2) { (a2 & 4) == 4 }\n"
                             "  }\n"
                             "}\n\nUSE sample DEFAULT KILL_THREAD\n");
}

TEST_F(Export, SeccompilerHasOneActionForItsRules) {
    const auto exact = as(Target::seccompiler, "allow read  fd ==32 3  any : input\nallow getpid : x\n");
    EXPECT_EQ(exact.verdict, Verdict::exact);
    EXPECT_EQ(nlohmann::json::parse(exact.text),
              nlohmann::json::parse(
                  R"({"sample": {"mismatch_action": "kill_process", "match_action": "allow", "filter": [
                {"syscall": "read", "args": [{"index": 0, "type": "dword", "op": "eq", "val": 3}], "comment": "input"},
                {"syscall": "getpid", "comment": "x"}]}})"));
    const auto lost = as(Target::seccompiler, "allow read any : x\nerrno EPERM write any : x\n");
    EXPECT_EQ(lost.verdict, Verdict::narrower);
    EXPECT_THAT(lost.narrower, ElementsAre(HasSubstr("line 6 (errno EPERM write)")));
}

TEST_F(Export, ACallSiteCannotBeExported) {
    const auto exported = as(Target::oci, "param $here addr : x\nallow read any : x\n",
                             "policy sample 1\nsyntax 1\nat $here\narch x86_64\nelse kill-process\n");
    EXPECT_EQ(exported.verdict, Verdict::refused);
    EXPECT_TRUE(exported.text.empty());
}

TEST_F(Export, OtherAbisThatGetAHarsherAnswerAreNarrower) {
    for (const auto target : {Target::oci, Target::minijail, Target::kafel, Target::seccompiler}) {
        const auto exported =
            as(target, "allow read any : x\n", "policy sample 1\nsyntax 1\narch x86_64\nelse errno EPERM\n");
        EXPECT_EQ(exported.verdict, Verdict::narrower) << to_string(target);
    }
}

TEST_F(Export, TheProgramInCInstallsTheFilter) {
    const auto exported =
        as(Target::c, "errno EXDEV uname any : x\n", "policy sample 1\nsyntax 1\narch x86_64\nelse allow\n");
    ASSERT_EQ(exported.verdict, Verdict::exact);
    const auto file = std::filesystem::temp_directory_path() / fmt::format("cloister-export-{}", ::getpid());
    std::ofstream{file.string() + ".c"} << exported.text;
    const auto command = fmt::format(
        "cc -Wall -Wextra -Werror -DFILTER_MAIN -o {0} {0}.c && {0} uname 2>{0}.err", file.string());
    const int status = std::system(command.c_str()); // NOLINT(concurrency-mt-unsafe): one thread
    EXPECT_EQ(WEXITSTATUS(status), 1);
    EXPECT_THAT(content(file.string() + ".err"), HasSubstr("Invalid cross-device link"));
    for (const auto* suffix : {"", ".c", ".err"}) {
        std::filesystem::remove(file.string() + suffix);
    }
}

TEST_F(Export, DefaultProfilesSurviveTheRoundTrip) {
    int there = 0;
    for (const auto* file : {"/usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json",
                             "/usr/share/containers/seccomp.json"}) {
        const auto text = content(file);
        if (text.empty()) {
            continue;
        }
        ++there;
        const auto first = again(Target::oci, text);
        const auto policy = parsed(first.text);
        const auto exported = export_policy(policy, policy::Arch::x86_64, {}, Target::oci);
        EXPECT_EQ(exported.verdict, Verdict::exact)
            << fmt::format("{}{}", fmt::join(exported.wider, "\n"), fmt::join(exported.refused, "\n"));
        EXPECT_EQ(
            first_difference(policy, parsed(again(Target::oci, exported.text).text), policy::Arch::x86_64, {})
                .value_or("none"),
            "none");
    }
    if (there == 0) {
        GTEST_SKIP() << "neither Docker's nor Podman's default profile is here";
    }
}

TEST_F(Export, ADifferenceIsShown) {
    const auto a = parsed(std::string{head} + "allow read  fd == 3  any : x\n");
    const auto b = parsed(std::string{head} + "allow read  fd <= 3  any : x\n");
    EXPECT_THAT(first_difference(a, b, policy::Arch::x86_64, {}).value_or("none"), HasSubstr("read(fd=0"));
    EXPECT_FALSE(first_difference(a, a, policy::Arch::x86_64, {}));
}

} // namespace
} // namespace cloister::audit
