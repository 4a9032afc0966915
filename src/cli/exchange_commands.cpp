// SPDX-License-Identifier: MIT
#include "cli/exchange_commands.h"

#include "audit/export.h"
#include "audit/import.h"
#include "audit/written.h"
#include "cli/answer.h"
#include "cli/check.h"
#include "cli/subject.h"
#include "policy/prove.h"

#include <algorithm>
#include <cap-ng.h>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <sys/stat.h>

namespace cloister::tool {
namespace {

using nlohmann::json;

constexpr std::size_t max_source_size = std::size_t{4} << 20;

struct ImportQuestion {
    std::string file, from, arch, kernel, compiler, name, output;
    std::vector<std::string> caps;
    bool json = false;
};

struct ExportQuestion {
    Question policy;
    std::vector<std::string> to;
    std::string output;
};

// The content of a file, or why there is none.
tl::expected<std::string, std::string> content(const std::string& file) {
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0) {
        return tl::unexpected{std::string{std::strerror(errno)}}; // NOLINT(concurrency-mt-unsafe): one thread
    }
    if (S_ISDIR(status.st_mode)) {
        return tl::unexpected{std::string{"is a directory"}};
    }
    std::ifstream stream{file, std::ios::binary};
    std::string text(max_source_size + 1, '\0');
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(stream.gcount()));
    if (stream.bad() || !stream.eof()) {
        return tl::unexpected{text.size() > max_source_size
                                  ? fmt::format("more than {} bytes", max_source_size)
                                  : std::string{"cannot be read"}};
    }
    return text;
}

void write(const std::filesystem::path& file, const std::string& text) {
    std::ofstream stream{file, std::ios::binary | std::ios::trunc};
    stream << text;
    stream.close();
    if (!stream) {
        fmt::print(stderr, "cloister policy: {}: cannot be written: {}\n", file.string(),
                   std::strerror(errno)); // NOLINT(concurrency-mt-unsafe): one thread
        throw Exit{static_cast<int>(ExitCode::SystemCall)};
    }
}

// A line of JSON can be much longer than what a caret points into.
policy::Error shown(policy::Error error) {
    constexpr unsigned longest = 160;
    if (error.column > longest) {
        error.message = fmt::format("{} (line {}, column {})", error.message, error.line, error.column);
        error.line = 0;
    }
    return error;
}

std::string capability(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
    if (text.starts_with("CAP_")) {
        text.erase(0, 4);
    }
    if (::capng_name_to_capability(text.c_str()) < 0) {
        usage(fmt::format("--caps {}: no such capability", text));
    }
    return "CAP_" + text;
}

std::pair<unsigned, unsigned> kernel_version(const std::string& text) {
    unsigned major = 0;
    unsigned minor = 0;
    const auto* end = text.data() + text.size();
    const auto first = std::from_chars(text.data(), end, major);
    const bool dot = first.ec == std::errc{} && first.ptr != end && *first.ptr == '.';
    const auto second = dot ? std::from_chars(first.ptr + 1, end, minor) : first;
    if (!dot || second.ec != std::errc{} || second.ptr != end) {
        usage(fmt::format("--kernel {}: write MAJOR.MINOR, such as 6.1", text));
    }
    return {major, minor};
}

audit::ImportOptions options_of(const ImportQuestion& question) {
    audit::ImportOptions options;
    if (!question.arch.empty()) {
        const auto arch = policy::arch_named(question.arch);
        if (!arch) {
            usage(fmt::format("--arch {}: x86_64 or aarch64", question.arch));
        }
        options.arch = *arch;
    }
    std::transform(question.caps.begin(), question.caps.end(), std::back_inserter(options.caps), capability);
    if (!question.kernel.empty()) {
        options.kernel = kernel_version(question.kernel);
    }
    if (!question.compiler.empty()) {
        options.compiler = question.compiler == "python" ? audit::MinijailCompiler::python
                                                         : audit::MinijailCompiler::minijail0;
    }
    options.name = question.name;
    options.include = content;
    return options;
}

// Prints the verdict and the text, or writes it. Gives the exit code.
int answer(const ImportQuestion& question, const audit::Imported& result) {
    if (question.json) {
        fmt::print("{}\n", json{{"verdict", to_string(result.verdict)},
                                {"text", result.text},
                                {"reasons", result.reasons},
                                {"notes", result.notes}}
                               .dump(2, ' ', false, json::error_handler_t::replace));
    } else {
        fmt::print(stderr, "{}: {}\n", question.file, to_string(result.verdict));
        for (const auto& reason : result.reasons) {
            fmt::print(stderr, "  {}\n", reason);
        }
        for (const auto& note : result.notes) {
            fmt::print(stderr, "  note: {}\n", note);
        }
    }
    if (result.verdict == audit::Verdict::refused) {
        return static_cast<int>(ExitCode::BadPolicy);
    }
    if (!question.output.empty()) {
        write(question.output, result.text);
    } else if (!question.json) {
        fmt::print("{}", result.text);
    }
    return 0;
}

// Bytes, and the filters of a process. What is written is proved to be equal to them.
int import_filters(const ImportQuestion& question) {
    Question asked;
    asked.file = question.file;
    asked.arch = question.arch;
    asked.json = question.json;
    const auto arch = options_of(question).arch;
    const auto filters = std::get<std::vector<policy::Program>>(load_subject(asked));
    audit::Imported result;
    try {
        const auto made =
            audit::written(filters, arch, question.name.empty() ? "filter" : question.name,
                           fmt::format("from {}: {} filter{}", question.file, filters.size(),
                                       filters.size() == 1 ? "" : "s, of which the strictest decides"));
        result.text = made.text;
        if (made.text.empty()) {
            result.verdict = audit::Verdict::refused;
            result.reasons.push_back(made.refusal);
            return answer(question, result);
        }
        const auto policy = or_exit(policy::parse(made.text, question.file + " (as text)"), question.json);
        if (const auto changes = audit::difference(filters, policy, arch, {}); !changes.empty()) {
            result.verdict = audit::Verdict::refused;
            result.text.clear();
            result.reasons.push_back(fmt::format("the language cannot say what they do with {}: {}",
                                                 changes.front().call,
                                                 policy::describe(changes.front().witness.data)));
        }
    } catch (const policy::Error& error) {
        return static_cast<int>(report(error));
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception& error) { // of the prover: an instruction, or too large
        result.verdict = audit::Verdict::refused;
        result.reasons.emplace_back(error.what());
    }
    return answer(question, result);
}

int import(const ImportQuestion& question) {
    if (const auto kind = kind_of(question.file); kind == Kind::filters || kind == Kind::process) {
        return import_filters(question);
    }
    const auto options = options_of(question);
    const auto text = content(question.file);
    if (!text) {
        policy::Error error;
        error.kind = policy::Error::Kind::missing;
        error.file = question.file;
        error.message = text.error();
        return or_exit(tl::expected<int, policy::Error>{tl::unexpected{error}}, question.json);
    }
    const auto format =
        question.from.empty() ? audit::guess_format(*text) : *audit::format_named(question.from);
    auto imported = audit::import_policy(format, *text, question.file, options);
    if (!imported) {
        imported = tl::unexpected{shown(std::move(imported.error()))};
    }
    return answer(question, or_exit(std::move(imported), question.json));
}

// Those that were given; the others stay open.
policy::Bindings given_bindings(const policy::Policy& policy, const Question& question) {
    auto bound = policy;
    std::erase_if(bound.params, [&](const policy::Param& param) {
        return std::none_of(question.bind.begin(), question.bind.end(), [&](const std::string& bind) {
            return bind.starts_with(param.name + '=') || bind.starts_with('$' + param.name + '=');
        });
    });
    return bindings_for({&bound}, question);
}

json as_json(audit::Target target, const audit::Exported& exported, const std::string& file) {
    json answer = {{"format", to_string(target)}, {"verdict", to_string(exported.verdict)},
                   {"wider", exported.wider},     {"narrower", exported.narrower},
                   {"refused", exported.refused}, {"notes", exported.notes}};
    answer[file.empty() ? "text" : "file"] = file.empty() ? exported.text : file;
    return answer;
}

int export_(const ExportQuestion& question) {
    std::vector<audit::Target> targets;
    for (const auto& name : question.to) {
        const auto target = audit::target_named(name);
        if (!target) {
            usage(fmt::format("--to {}: oci, systemd, minijail, kafel, seccompiler or c", name));
        }
        targets.push_back(*target);
    }
    const bool directory = is_directory(question.output);
    if (targets.size() > 1 && !directory) {
        usage("several formats: -o names a directory that is there");
    }
    const auto policy = load_checked(question.policy);
    const auto arch = arch_for({&policy}, question.policy);
    const auto bindings = given_bindings(policy, question.policy);
    bool exact = true;
    auto answers = json::array();
    for (const auto target : targets) {
        const auto exported = audit::export_policy(policy, arch, bindings, target);
        exact = exact && exported.verdict == audit::Verdict::exact;
        auto file = question.output;
        if (directory) {
            file = fmt::format("{}/{}{}", question.output, policy.name, audit::suffix(target));
        }
        if (exported.verdict == audit::Verdict::refused) {
            file.clear();
        }
        if (question.policy.json) {
            answers.push_back(as_json(target, exported, file));
        } else {
            fmt::print(stderr, "{}: {}\n", to_string(target), to_string(exported.verdict));
            const auto list = [](const char* kind, const std::vector<std::string>& items) {
                for (const auto& item : items) {
                    fmt::print(stderr, "  {}: {}\n", kind, item);
                }
            };
            list("wider", exported.wider);
            list("narrower", exported.narrower);
            list("refused", exported.refused);
            list("note", exported.notes);
        }
        if (!file.empty()) {
            write(file, exported.text);
        } else if (!question.policy.json) {
            fmt::print("{}", exported.text);
        }
    }
    if (question.policy.json) {
        fmt::print("{}\n", answers.dump(2));
    }
    return exact ? answer_yes : answer_no;
}

void add_import(CLI::App& policy, int& code) {
    auto& command = *policy.add_subcommand(
        "import",
        "another tool's policy as text of this language, which allows nothing that the source does not; "
        "exit 65 if it is malformed or cannot be said");
    command.footer("Example: cloister policy import /usr/share/containers/seccomp.json --caps "
                   "CAP_CHOWN,CAP_SETUID -o container.policy");
    const auto question = std::make_shared<ImportQuestion>();
    command.add_option("FILE", question->file, "a policy of another tool")->required();
    command
        .add_option(
            "--from", question->from,
            "its form: oci (Docker, Podman, runc, crun), minijail or systemd (a unit); unless given, its "
            "content decides")
        ->check(CLI::IsMember({"oci", "minijail", "systemd"}));
    command.add_option("--arch", question->arch, "x86_64 or aarch64; this machine's unless given");
    command.add_option("--caps", question->caps, "oci: the container's capabilities; none unless given")
        ->delimiter(',');
    command.add_option("--kernel", question->kernel,
                       "oci: the kernel's version, such as 6.1; the newest unless given");
    command
        .add_option("--compiler", question->compiler,
                    "minijail: what reads the policy, minijail0 itself or compile_seccomp_policy.py (python)")
        ->check(CLI::IsMember({"minijail0", "python"}));
    command.add_option("--name", question->name, "of the policy; unless given, made of the file's name");
    command.add_option("-o,--output", question->output, "write the text to this file");
    command.add_flag("--json", question->json, "answer in JSON");
    command.callback([question, &code] { code = guarded([&] { return import(*question); }); });
}

void add_export(CLI::App& policy, int& code) {
    auto& command = *policy.add_subcommand(
        "export",
        "a policy in the form of another tool; exit 0 if it is exact, 1 if it allows more or less, or "
        "if there is none");
    command.footer("Example: cloister policy export clock.policy --to oci,systemd,c -o out");
    const auto question = std::make_shared<ExportQuestion>();
    command.add_option("FILE", question->policy.file, "a policy file")->required();
    command
        .add_option("--to", question->to,
                    "oci, systemd, minijail, kafel, seccompiler, c; several with commas")
        ->delimiter(',')
        ->required();
    command.add_option("-o,--output", question->output, "a file, or a directory that is there");
    command.add_option("--arch", question->policy.arch, "x86_64 or aarch64; this machine's unless given");
    command
        .add_option(
            "--bind", question->policy.bind,
            "a parameter's address, such as buffer=0x7f0000000000; one that is not bound becomes 'any'")
        ->allow_extra_args(false);
    command.add_flag("--unchecked", question->policy.unchecked,
                     "answer even if 'check' refuses the policy; that it does is said on stderr");
    command.add_flag("--json", question->policy.json, "answer in JSON");
    command.callback([question, &code] { code = guarded([&] { return export_(*question); }); });
}

} // namespace

void add_exchange_commands(CLI::App& policy, int& code) {
    add_import(policy, code);
    add_export(policy, code);
}

} // namespace cloister::tool
