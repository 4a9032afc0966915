// SPDX-License-Identifier: MIT
#include "cli/process_commands.h"

#include "cli/coverage_command.h"
#include "cli/dump.h"
#include "cli/verify_command.h"
#include "cli/why_command.h"

#include <memory>

namespace cloister::tool {
namespace {

constexpr auto numbers_of_processes = "PID";

void add_unchecked_and_json(CLI::App& command, Question& question) {
    command.add_flag("--unchecked", question.unchecked,
                     "answer even if 'check' refuses the policy; that it does is said on stderr");
    command.add_flag("--json", question.json, "answer in JSON");
}

void add_dump(CLI::App& policy, int& code) {
    auto& command = *policy.add_subcommand(
        "dump",
        "the filters that a running process has, oldest first; as root of the host. Such as: cloister "
        "policy dump --pid 1234 -o filters");
    const auto asked = std::make_shared<DumpQuestion>();
    auto* pid = command.add_option("--pid", asked->pid, "the process; all its threads are looked at")
                    ->type_name(numbers_of_processes);
    command.add_option("--tid", asked->tid, "one thread, and no other")->type_name("TID")->excludes(pid);
    command.add_option("--filter", asked->filter, "this one only; 0 is the oldest")->type_name("N");
    auto* directory =
        command
            .add_option("-o,--output", asked->directory,
                        "write each filter as an array of sock_filter to DIR/PID-N.bpf, N from 0")
            ->type_name("DIR");
    auto* raw = command.add_flag("--raw", asked->raw, "the bytes of the one filter, or of --filter N");
    auto* hex = command.add_flag("--hex", asked->hex, "the bytes in hex, an instruction a line");
    auto* json = command.add_flag("--json", asked->json, "answer in JSON");
    raw->excludes(hex)->excludes(json)->excludes(directory);
    hex->excludes(json)->excludes(directory);
    command.callback([asked, &code] { code = policy_dump(*asked); });
}

void add_verify(CLI::App& policy, int& code) {
    auto& command = *policy.add_subcommand(
        "verify",
        "whether a running cloisterd is confined as its policy files say; as root of the host; exit 1 if "
        "not, "
        "69 if that cannot be told. Such as: cloister policy verify --pid \"$(pidof -s cloisterd)\"");
    const auto asked = std::make_shared<VerifyQuestion>();
    command
        .add_option("--pid", asked->pid,
                    "its supervisor, with all that is below it; or a listener, with its cells; or a cell")
        ->type_name(numbers_of_processes)
        ->required();
    auto* services = command.add_flag("--services", asked->services,
                                      "a line for each service; beside it, only what does not match");
    auto* directory = command
                          .add_option("--policy-dir", asked->policy_dir,
                                      "the policies; those installed with "
                                      "this command unless given")
                          ->type_name("DIR");
    command.add_option("--handler", asked->handler, "the policy of the handler, if it is elsewhere")
        ->type_name("NAME|FILE");
    command
        .add_option("--against", asked->against,
                    "of any process: compare its filters, taken together, with a policy, a directory, or raw "
                    "filters, the oldest first")
        ->type_name("FILE|DIR|RAW...")
        ->excludes(services)
        ->excludes(directory);
    command.add_option("--bind", asked->bind, "with --against: a parameter's address, such as page=0x10000")
        ->allow_extra_args(false);
    command.add_flag("--json", asked->json, "answer in JSON");
    command.callback([asked, &code] { code = policy_verify(*asked); });
}

void add_why(CLI::App& policy, int& code) {
    auto& command = *policy.add_subcommand(
        "why",
        "what call an audit record of seccomp is about, and the rule nearest to it. Such as: journalctl -k "
        "-g type=1326 -o cat | cloister policy why -");
    const auto record = std::make_shared<std::string>();
    const auto asked = std::make_shared<Question>();
    command
        .add_option(
            "RECORD", *record,
            "a line of the kernel's log, of audit.log or of ausearch; - reads lines from standard input")
        ->required();
    command
        .add_option("--policy", asked->file, "the policy that the process was under, or a directory of such")
        ->type_name("FILE|DIR");
    command
        .add_option("--handler", asked->handler,
                    "of a directory: with that handler's policy; each unless given")
        ->type_name("NAME|FILE");
    add_unchecked_and_json(command, *asked);
    command.callback([record, asked, &code] { code = policy_why(*record, *asked); });
}

void add_coverage(CLI::App& policy, int& code) {
    auto& command = *policy.add_subcommand(
        "coverage",
        "which rules, conditions and branches of the filter the calls of a program use, and what it "
        "tries that is denied. Such as: strace -f -n -e raw=all -o LOG PROGRAM; cloister policy "
        "coverage FILE --trace LOG");
    const auto asked = std::make_shared<Question>();
    const auto logs = std::make_shared<std::vector<std::string>>();
    command.add_option("FILE", asked->file, "a policy file; or a directory, with --at")->required();
    command.add_option("--trace", *logs, "the log of strace; several of one run with -ff")
        ->type_name("LOG...")
        ->required();
    command.add_option("--at", asked->at,
                       "of a directory: which policy, such as listener_return or elsewhere");
    command
        .add_option("--handler", asked->handler,
                    "of a directory: with that handler's policy; echo unless given")
        ->type_name("NAME|FILE");
    command.add_option("--arch", asked->arch, "x86_64 or aarch64; this machine's unless given");
    command.add_option("--bind", asked->bind, "a parameter's address, such as buffer=0x7f0000000000")
        ->allow_extra_args(false);
    add_unchecked_and_json(command, *asked);
    command.callback([asked, logs, &code] { code = policy_coverage(*asked, *logs); });
}

} // namespace

void add_process_commands(CLI::App& policy, int& code) {
    add_dump(policy, code);
    add_verify(policy, code);
    add_why(policy, code);
    add_coverage(policy, code);
}

} // namespace cloister::tool
