// SPDX-License-Identifier: MIT
#include "cli/compare_commands.h"
#include "cli/doctor.h"
#include "cli/exchange_commands.h"
#include "cli/operator_commands.h"
#include "cli/policy_commands.h"
#include "cli/process_commands.h"
#include "cli/review_command.h"
#include "cli/subject.h"
#include "policy/compile.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace {

using namespace cloister;

void add_file(CLI::App& command, tool::Question& question) {
    command
        .add_option("FILE", question.file,
                    "a policy file, or a directory: its *.policy files, combined into one filter with one of "
                    "handlers/*.policy")
        ->required();
}

void add_operand(CLI::App& command, tool::Question& question) {
    command.add_option("FILE", question.file, tool::operands)->required();
}

void add_json(CLI::App& command, bool& json) {
    command.add_flag("--json", json, "answer in JSON");
}

void add_target(CLI::App& command, tool::Question& question, bool with_bindings) {
    command.add_option("--arch", question.arch, "x86_64 or aarch64; this machine's unless given");
    if (with_bindings) {
        command.add_option("--bind", question.bind, "a parameter's address, such as buffer=0x7f0000000000")
            ->allow_extra_args(false);
    }
    add_json(command, question.json);
}

void add_handler(CLI::App& command, std::string& handler, const char* otherwise) {
    command
        .add_option(
            "--handler", handler,
            fmt::format("of a directory: with that handler's policy, handlers/NAME.policy or any file; {}",
                        otherwise))
        ->type_name("NAME|FILE");
}

void add_unchecked(CLI::App& command, tool::Question& question) {
    command.add_flag("--unchecked", question.unchecked,
                     "answer even if 'check' refuses the policy; that it does is said on stderr");
}

int run(int argc, char** argv) {
    CLI::App app{"The operator's and auditor's tool of cloister.", "cloister"};
    app.require_subcommand(1);
    app.set_version_flag("--version", fmt::format("cloister {} (libseccomp {})", CLOISTER_VERSION,
                                                  policy::libseccomp_version()));
    int code = 0;
    bool json = false;
    std::string socket;
    const auto add_socket = [&](CLI::App& command) {
        command.add_option(
            "--socket", socket,
            "its control socket, as cloisterd --control-socket says; else $CLOISTER_CONTROL_SOCKET; "
            "else /run/cloister/control of root, $XDG_RUNTIME_DIR/cloister/control of another "
            "user");
    };
    auto& status = *app.add_subcommand("status", "what a running cloisterd does");
    bool watch = false;
    status.add_flag("--watch", watch, "redraw it each second");
    add_socket(status);
    add_json(status, json);
    status.callback([&] { code = tool::show_status(socket, watch, json); });
    auto& reload = *app.add_subcommand(
        "reload", "have it read its configuration again, and wait for the result; exit 78 if that failed");
    add_socket(reload);
    reload.callback([&] { code = tool::reload(socket); });
    auto& explain = *app.add_subcommand("explain", "whether a client would be admitted, and why not");
    std::string client;
    explain.add_option("CLIENT", client, "192.0.2.7, 2001:db8::1 or uid:1000")->required();
    add_socket(explain);
    add_json(explain, json);
    explain.callback([&] { code = tool::explain(socket, client, json); });

    auto& doctor = *app.add_subcommand(
        "doctor",
        "what of this host cloisterd needs or could do with, and the command that changes it; run it as "
        "cloisterd will run; exit 69 if something is missing that it needs");
    unsigned connections = 1000;
    doctor.add_option("--connections", connections, "how many it shall serve at a time (1000)");
    add_json(doctor, json);
    doctor.callback([&] { code = tool::doctor(connections, json); });

    auto& policy = *app.add_subcommand(
        "policy", "read, check and prove policy files, and look at the filters of running processes");
    policy.require_subcommand(1);

    tool::Question question;
    std::vector<std::string> files;
    std::string extra;

    auto& check = *policy.add_subcommand(
        "check",
        "parse, prove the tests, prove that it is within the policy it is under; all others but fmt do it "
        "first");
    check.add_option("FILE", files, "policy files, or directories of such as are one filter")->required();
    add_json(check, json);
    add_handler(check, question.handler, "each of handlers/ in turn unless given");
    bool reviewed = false;
    check.add_flag("--reviewed", reviewed,
                   "and that each was reviewed, by the record FILE.review beside it, and means the same "
                   "since; exit 1 if not");
    check.callback([&] {
        code = tool::policy_check(files, question.handler, json);
        code = code == 0 && reviewed ? tool::require_reviewed(files) : code;
    });

    auto& prove = *policy.add_subcommand("prove", "prove that the compiled filter is equivalent to the "
                                                  "policy; if not, exit 1 and a call that shows it");
    add_file(prove, question);
    prove.add_option("BYTES", extra, "a raw array of sock_filter; without it, what we compile ourselves");
    add_target(prove, question, true);
    add_handler(prove, question.handler, "each of handlers/ in turn unless given");
    prove.callback([&] { code = tool::policy_prove(question, extra); });

    auto& bpf = *policy.add_subcommand("bpf", "the compiled program");
    bool raw = false;
    bool hex = false;
    add_file(bpf, question);
    add_target(bpf, question, true);
    add_handler(bpf, question.handler, "echo unless given");
    add_unchecked(bpf, question);
    auto* raw_flag = bpf.add_flag("--raw", raw, "the bytes themselves");
    bpf.add_flag("--hex", hex, "the bytes in hex, an instruction a line")->excludes(raw_flag);
    bpf.callback([&] {
        code = tool::policy_bpf(question, raw   ? tool::Form::raw
                                          : hex ? tool::Form::hex
                                                : tool::Form::listing);
    });

    auto& show = *policy.add_subcommand("show", "the policy in plain words");
    add_operand(show, question);
    add_target(show, question, false);
    add_handler(show, question.handler, "echo unless given");
    add_unchecked(show, question);
    show.callback([&] { code = tool::policy_show(question); });

    auto& ask = *policy.add_subcommand(
        "ask", "what becomes of a call, such as 'sendto fd=0 flags=0'; exit 1 unless allowed");
    add_operand(ask, question);
    ask.add_option("CALL", extra, "the call; arguments left out stand for all values")->required();
    ask.add_option("--at", question.at,
                   "of a directory: where the call comes from, such as listener_return or elsewhere");
    add_target(ask, question, true);
    add_handler(ask, question.handler, "echo unless given");
    add_unchecked(ask, question);
    ask.callback([&] { code = tool::policy_ask(question, extra); });

    auto& format = *policy.add_subcommand("fmt", "print the canonical form");
    add_file(format, question);
    format.callback([&] { code = tool::policy_fmt(question.file); });

    tool::add_compare_commands(policy, code);
    tool::add_process_commands(policy, code);
    tool::add_exchange_commands(policy, code);

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        const int result = app.exit(error);
        return result == 0 ? 0 : static_cast<int>(ExitCode::Usage);
    }
    // A full disk or a closed pipe: the answer was not given.
    if (std::fflush(stdout) != 0) {
        fmt::print(stderr, "cloister: cannot write the answer\n");
        return static_cast<int>(ExitCode::SystemCall);
    }
    return code;
}

} // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::bad_alloc&) {
        (void)std::fprintf(stderr,
                           "cloister: memory has run out: raise RLIMIT_AS (ulimit -v) or RLIMIT_DATA (-d)\n");
        return static_cast<int>(cloister::ExitCode::SystemCall);
    } catch (const std::exception& error) {
        (void)std::fprintf(stderr, "cloister: %s\n", error.what());
        return static_cast<int>(cloister::ExitCode::SelfTest);
    }
}
