// SPDX-License-Identifier: MIT
#include "audit/export.h"

#include "audit/draft.h"
#include "audit/export_forms.h"
#include "audit/of_policy.h"
#include "policy/compile.h"
#include "policy/meaning.h"
#include "policy/prove.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace cloister::audit {
namespace {

constexpr std::array<std::string_view, 6> targets = {"oci",   "systemd",     "minijail",
                                                     "kafel", "seccompiler", "c"};
constexpr std::array<std::string_view, 6> suffixes = {".oci.json",         ".conf", ".minijail", ".kafel",
                                                      ".seccompiler.json", ".c"};

// The compiled program as C. Its comments may hold no "*/".
std::string c_text(const policy::Policy& policy, policy::Arch arch, const policy::Program& program) {
    const bool x86 = arch == policy::Arch::x86_64;
    std::string text = fmt::format(
        "/* The filter of the policy {} {}, for Linux on {}.\n"
        "   SHA-256 of the policy: {}\n"
        "   cc -c FILE; or, as a program that runs a command under the filter, cc -DFILTER_MAIN FILE. */\n"
        "#define _GNU_SOURCE\n#include <errno.h>\n#include <linux/filter.h>\n#include <linux/seccomp.h>\n"
        "#include <stdio.h>\n#include <sys/prctl.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n\n"
        "#if !defined(__{}__)\n#error \"this filter is for {}\"\n#endif\n\n"
        "static struct sock_filter instructions[] = {{\n",
        policy.name, policy.version, to_string(arch), policy.sha256, x86 ? "x86_64" : "aarch64",
        to_string(arch));
    for (const auto& i : program) {
        text += fmt::format("    {{0x{:02x}, {}, {}, 0x{:08x}}},\n", i.code, i.jt, i.jf, i.k);
    }
    text +=
        "};\n\n"
        "/* Irreversible, for this thread and what it starts. 0, or an error of errno(3). */\n"
        "int install_filter(void) {\n"
        "    const struct sock_fprog program = {sizeof instructions / sizeof *instructions, instructions};\n"
        "    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||\n"
        "        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {\n"
        "        return errno;\n"
        "    }\n"
        "    return 0;\n"
        "}\n\n"
        "#ifdef FILTER_MAIN\n"
        "int main(int argc, char** argv) {\n"
        "    if (argc < 2) {\n"
        "        return 64;\n"
        "    }\n"
        "    errno = install_filter();\n"
        "    if (errno != 0) {\n"
        "        perror(\"the filter was not installed\");\n"
        "        return 71;\n"
        "    }\n"
        "    execvp(argv[1], argv + 1);\n"
        "    perror(argv[1]);\n"
        "    return 127;\n"
        "}\n"
        "#endif\n";
    return text;
}

std::string export_c(const policy::Policy& policy, policy::Arch arch, const policy::Bindings& bindings,
                     Exported& result) {
    const auto unbound = std::find_if(policy.params.begin(), policy.params.end(),
                                      [&](const auto& param) { return !bindings.contains(param.name); });
    if (unbound != policy.params.end()) {
        result.refused.push_back(
            fmt::format("${0} is not bound: a filter holds numbers; say --bind {0}=ADDRESS", unbound->name));
        return {};
    }
    const auto program = policy::compile(policy, arch, bindings);
    if (!program) {
        result.refused.push_back(program.error().message);
        return {};
    }
    if (const auto proved = policy::prove(policy, arch, bindings, *program); !proved) {
        result.refused.push_back(proved.error().message);
        return {};
    }
    return c_text(policy, arch, *program);
}

// Imports the text again, where that can be done. Gives what is wrong.
std::optional<std::string> round_trip(const policy::Policy& policy, policy::Arch arch,
                                      const policy::Bindings& bindings, Target target, bool python,
                                      const std::string& text) {
    if (target != Target::oci && target != Target::systemd && target != Target::minijail) {
        return std::nullopt;
    }
    ImportOptions options;
    options.arch = arch;
    options.name = policy.name;
    options.compiler = python ? MinijailCompiler::python : MinijailCompiler::minijail0;
    const auto format = target == Target::oci       ? Format::oci
                        : target == Target::systemd ? Format::systemd
                                                    : Format::minijail;
    const auto imported = import_policy(format, text, "exported", options);
    if (!imported) {
        return imported.error().text();
    }
    if (imported->verdict != Verdict::exact) {
        return imported->reasons.empty() ? "it is not exact" : imported->reasons.front();
    }
    const auto again = policy::parse(imported->text, "exported");
    return again ? first_difference(policy, *again, arch, bindings) : again.error().text();
}

} // namespace

std::optional<Target> target_named(std::string_view name) {
    const auto* found = std::find(targets.begin(), targets.end(), name);
    return found == targets.end() ? std::nullopt
                                  : std::optional{static_cast<Target>(found - targets.begin())};
}
std::string_view to_string(Target target) {
    return targets.at(static_cast<std::size_t>(target));
}
std::string_view suffix(Target target) {
    return suffixes.at(static_cast<std::size_t>(target));
}

Exported export_policy(const policy::Policy& policy, policy::Arch arch, const policy::Bindings& bindings,
                       Target target) {
    Exported result;
    bool python = false;
    if (policy.at) {
        result.refused.push_back(
            fmt::format("'at ${}': none of these formats has call sites", policy.at_name()));
    } else if (target == Target::c) {
        result.text = export_c(policy, arch, bindings, result);
    } else {
        const auto model = model_of(policy, arch, bindings, result);
        switch (target) {
        case Target::oci:
            result.text = oci_text(model, result);
            break;
        case Target::systemd:
            result.text = systemd_text(model, result);
            break;
        case Target::minijail:
            result.text = minijail_text(model, result, python);
            break;
        case Target::kafel:
            result.text = kafel_text(model, result);
            break;
        case Target::seccompiler:
        case Target::c:
            result.text = seccompiler_text(model, result);
            break;
        }
    }
    if (!policy.under.empty()) {
        result.notes.push_back(
            fmt::format("the policy is under '{}', which is not part of this", policy.under));
    }
    if (result.refused.empty() && result.wider.empty() && result.narrower.empty()) {
        if (const auto wrong = round_trip(policy, arch, bindings, target, python, result.text)) {
            result.refused.push_back("imported again it is not the same: " + *wrong);
        }
    }
    if (!result.refused.empty()) {
        result.text.clear();
    }
    result.verdict = !result.refused.empty()   ? Verdict::refused
                     : !result.wider.empty()   ? Verdict::wider
                     : result.narrower.empty() ? Verdict::exact
                                               : Verdict::narrower;
    return result;
}

std::optional<std::string> first_difference(const policy::Policy& a, const policy::Policy& b,
                                            policy::Arch arch, const policy::Bindings& bindings) {
    std::vector<std::string> params;
    for (const auto& [name, value] : bindings) {
        params.push_back(name);
    }
    try {
        policy::Meaning meaning{a, params, &bindings};
        const auto left = meaning.of_text(a, arch);
        const auto right = meaning.of_text(b, arch);
        const auto bits = meaning.diagram().find_difference(left, right);
        return bits ? std::optional{policy::describe(meaning.call(*bits).data)} : std::nullopt;
    } catch (const policy::Error& error) {
        return error.message;
    } catch (const policy::Diagram::TooLarge& error) {
        return fmt::format("it cannot be decided: {}", error.what());
    }
}

void leave_out(const Model& model, const Call& call, const Rule& rule, std::string_view why,
               Exported& result) {
    const bool narrower = stricter(model.otherwise, rule.action);
    (narrower ? result.narrower : result.wider)
        .push_back(fmt::format("{}: {}; such calls get {}", named(call, rule), why, model.otherwise.text()));
}

void apply_wider(const Model& model, const Call& call, const Rule& rule, std::string_view why,
                 Exported& result) {
    const bool wider = stricter(model.otherwise, rule.action);
    (wider ? result.wider : result.narrower)
        .push_back(fmt::format("{}: {}; more calls get {}", named(call, rule), why, rule.action.text()));
}

void compare_foreign(const Model& model, bool lists_all, Action foreign, Exported& result) {
    if (!lists_all && !model.also.empty()) {
        result.narrower.push_back(
            fmt::format("the format is for one ABI: calls of i386 and x32 get {}", foreign.text()));
    }
    if (foreign == model.foreign || (lists_all && model.also.size() == 2)) {
        return;
    }
    (stricter(model.foreign, foreign) ? result.wider : result.narrower)
        .push_back(fmt::format("calls of other ABIs get {}, not {}", foreign.text(), model.foreign.text()));
}

std::string named(const Call& call, const Rule& rule) {
    return fmt::format("line {} ({} {})", rule.line, rule.action.text(), call.name);
}

} // namespace cloister::audit
