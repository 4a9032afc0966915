// SPDX-License-Identifier: MIT
//
// The forms: runtime-spec config-linux.md "Seccomp"; Docker's profiles/seccomp/seccomp.go; Podman's
// containers/common pkg/seccomp/types.go. What they mean: runc libcontainer/seccomp/seccomp_linux.go, crun
// src/libcrun/seccomp.c, and Docker's profiles/seccomp/seccomp_linux.go for `includes` and `excludes`.
#include "audit/json_text.h"
#include "audit/libseccomp_rules.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <set>

namespace cloister::audit {
namespace {

constexpr std::array architectures = {
    "X86",    "X86_64",   "X32",         "ARM",         "AARCH64", "MIPS",    "MIPS64", "MIPS64N32",
    "MIPSEL", "MIPSEL64", "MIPSEL64N32", "PPC",         "PPC64",   "PPC64LE", "S390",   "S390X",
    "PARISC", "PARISC64", "RISCV64",     "LOONGARCH64", "M68K",    "SH",      "SHEB"};

class Importer {
  public:
    Importer(const Json& root, const std::string& file, const ImportOptions& options)
        : options_{options}, file_{file} {
        auto& model = draft_.model;
        model.name = options.name.empty() ? policy_name(file) : options.name;
        model.arch = options.arch;
        const bool whole = root.has("linux");
        profile(whole ? root.at("linux").at("seccomp") : root.has("seccomp") ? root.at("seccomp") : root);
        draft_.origin =
            fmt::format("Imported from the OCI seccomp profile {}{}", base(file),
                        options.caps.empty() ? "" : fmt::format(" with {}", fmt::join(options.caps, ", ")));
    }
    Draft take() { return std::move(draft_); }

  private:
    static std::string base(std::string_view file) { return printable(file.substr(file.rfind('/') + 1)); }

    void profile(const Json& json) {
        json.only({"defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap", "flags",
                   "listenerPath", "listenerMetadata", "syscalls", "$schema", "comment"});
        draft_.model.otherwise = action(json, "defaultAction", "defaultErrnoRet", "defaultErrno");
        abis(json);
        if (json.has("flags")) {
            for (const auto& flag : json.at("flags").items()) {
                draft_.notes.push_back(
                    fmt::format("the flag {} has no place here", printable(flag.string())));
            }
        }
        for (const auto* key : {"listenerPath", "listenerMetadata"}) {
            if (json.has(key)) {
                draft_.notes.push_back(fmt::format("{} '{}': whoever listens there decides about 'notify'",
                                                   key, printable(json.at(key).string())));
            }
        }
        if (json.has("syscalls")) {
            for (const auto& entry : json.at("syscalls").items()) {
                syscalls(entry);
            }
        }
        finish();
    }

    void abis(const Json& json) {
        auto& model = draft_.model;
        const auto* native = model.arch == policy::Arch::x86_64 ? "X86_64" : "AARCH64";
        std::vector<std::string> listed;
        const auto add = [&](const Json& name) {
            const auto text = name.string();
            const auto known =
                std::find_if(architectures.begin(), architectures.end(),
                             [&](const char* other) { return text == fmt::format("SCMP_ARCH_{}", other); });
            if (known == architectures.end()) {
                name.fail(fmt::format("unknown architecture '{}'", printable(text)));
            }
            listed.emplace_back(*known);
        };
        if (json.has("architectures")) {
            const auto names = json.at("architectures").items();
            if (!names.empty() && json.has("archMap") && !json.at("archMap").items().empty()) {
                json.at("archMap").fail("'architectures' and 'archMap': Docker takes one of them");
            }
            std::for_each(names.begin(), names.end(), add);
        }
        if (json.has("archMap")) {
            for (const auto& entry : json.at("archMap").items()) {
                entry.only({"architecture", "subArchitectures"});
                if (entry.at("architecture").string() == fmt::format("SCMP_ARCH_{}", native) &&
                    entry.has("subArchitectures")) {
                    for (const auto& name : entry.at("subArchitectures").items()) {
                        add(name);
                    }
                }
            }
        }
        for (const auto& name : std::set<std::string>{listed.begin(), listed.end()}) {
            if (name == native) {
                continue;
            }
            if (model.arch == policy::Arch::x86_64 && (name == "X86" || name == "X32")) {
                model.also.push_back(name == "X86" ? policy::Abi::i386 : policy::Abi::x32);
            } else if (model.arch == policy::Arch::aarch64 && name == "ARM") {
                arm_ = true;
            } else {
                draft_.notes.push_back(fmt::format("SCMP_ARCH_{}: this kernel has no such calls", name));
            }
        }
        std::sort(model.also.begin(), model.also.end());
    }

    void syscalls(const Json& entry) {
        ++entries_;
        entry.only(
            {"name", "names", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes"});
        if (entry.has("name") == entry.has("names")) {
            entry.fail("expected either 'name' or 'names'");
        }
        Rule rule;
        rule.action = action(entry, "action", "errnoRet", "errno");
        rule.reason = fmt::format("rule {} of {}, line {}", entries_, base(file_), entry.line());
        std::vector<std::string> names;
        if (entry.has("name")) {
            names.push_back(entry.at("name").string());
        } else {
            for (const auto& name : entry.at("names").items()) {
                names.push_back(name.string());
            }
        }
        for (const auto& name : names) {
            const auto wrong = name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_");
            if (name.empty() || wrong != std::string::npos) {
                entry.at(entry.has("name") ? "name" : "names")
                    .fail(fmt::format("'{}' is not a system call", printable(name)));
            }
        }
        Tests tests;
        std::array<unsigned, 6> counts{};
        if (entry.has("args")) {
            for (const auto& arg : entry.at("args").items()) {
                tests.push_back(test(arg));
                ++counts.at(tests.back().argument);
            }
        }
        if (!applies(entry) || rule.action == draft_.model.otherwise) {
            return;
        }
        const bool either =
            std::any_of(counts.begin(), counts.end(), [](unsigned count) { return count > 1; });
        if (either) {
            draft_.notes.push_back(
                fmt::format("rule {}: two conditions on one argument; runc and crun take each "
                            "condition as a rule of its own: one of them is enough",
                            entries_));
        }
        for (const auto& name : names) {
            const auto all = draft_.model.abis();
            if (std::none_of(all.begin(), all.end(), [&](policy::Abi abi) { return exists(abi, name); })) {
                skipped_.insert(name);
            }
            for (std::size_t i = 0; i < (either ? tests.size() : 1); ++i) {
                rule.tests = either ? Tests{tests[i]} : tests;
                add_rule(draft_, name, rule);
            }
        }
    }

    [[nodiscard]] Test test(const Json& arg) const {
        arg.only({"index", "value", "valueTwo", "op"});
        const auto index = static_cast<unsigned>(arg.at("index").number(5));
        const auto value = arg.has("value") ? arg.at("value").number() : 0;
        const auto second = arg.has("valueTwo") ? arg.at("valueTwo").number() : 0;
        const Test never{index, Test::Op::masked, false, 1, 0};
        const auto op = arg.at("op").string();
        if (op == "SCMP_CMP_EQ") {
            return {index, Test::Op::eq, false, value, 0};
        }
        if (op == "SCMP_CMP_NE") {
            return {index, Test::Op::ne, false, value, 0};
        }
        if (op == "SCMP_CMP_LE") {
            return {index, Test::Op::le, false, value, 0};
        }
        if (op == "SCMP_CMP_GE") {
            return {index, Test::Op::ge, false, value, 0};
        }
        if (op == "SCMP_CMP_LT") {
            return value == 0 ? never : Test{index, Test::Op::le, false, value - 1, 0};
        }
        if (op == "SCMP_CMP_GT") {
            return ~value == 0 ? never : Test{index, Test::Op::ge, false, value + 1, 0};
        }
        if (op == "SCMP_CMP_MASKED_EQ") {
            return {index, Test::Op::masked, false, second & value, value};
        }
        arg.at("op").fail(fmt::format("unknown operator '{}'", printable(op)));
    }

    Action action(const Json& json, const char* key, const char* number, const char* name) {
        const auto text = json.at(key).string();
        Action action;
        if (text == "SCMP_ACT_ALLOW") {
            action.kind = Action::Kind::allow;
        } else if (text == "SCMP_ACT_ERRNO") {
            action = {Action::Kind::errno_code, EPERM};
        } else if (text == "SCMP_ACT_KILL" || text == "SCMP_ACT_KILL_THREAD") {
            action.kind = Action::Kind::kill_thread;
        } else if (text == "SCMP_ACT_KILL_PROCESS") {
            action.kind = Action::Kind::kill_process;
        } else if (text == "SCMP_ACT_TRAP") {
            action.kind = Action::Kind::trap;
        } else if (text == "SCMP_ACT_TRACE") {
            action = {Action::Kind::trace, EPERM};
        } else if (text == "SCMP_ACT_LOG") {
            action.kind = Action::Kind::log;
        } else if (text == "SCMP_ACT_NOTIFY") {
            action.kind = Action::Kind::notify;
        } else {
            json.at(key).fail(fmt::format("unknown action '{}'", printable(text)));
        }
        std::optional<std::uint16_t> code;
        if (json.has(number)) {
            constexpr std::uint64_t max_errno = 4095; // the kernel's MAX_ERRNO
            code = static_cast<std::uint16_t>(
                json.at(number).number(action.kind == Action::Kind::trace ? 0xffff : max_errno));
        }
        if (json.has(name) && !json.at(name).string().empty()) {
            const auto named = policy::errno_named(json.at(name).string());
            if (!named) {
                json.at(name).fail(fmt::format("unknown error '{}'", printable(json.at(name).string())));
            }
            if (code && *code != *named) {
                json.at(name).fail(fmt::format("'{}' is {}, but '{}' is {}", name, *named, number, *code));
            }
            code = named;
        }
        if (code && (action.kind == Action::Kind::errno_code || action.kind == Action::Kind::trace)) {
            action.code = *code;
        } else if (code) {
            draft_.notes.push_back(
                fmt::format("line {}: {} has no meaning with {}; runc ignores it, crun refuses it",
                            json.line(), number, printable(text)));
        }
        return action;
    }

    // Whether Docker passes the entry on to the runtime.
    bool applies(const Json& entry) {
        const auto listed = [](const std::vector<Json>& list, const auto& wanted) {
            return std::any_of(list.begin(), list.end(),
                               [&](const Json& item) { return wanted(item.string()); });
        };
        const auto cap = [&](const std::string& name) {
            return std::find(options_.caps.begin(), options_.caps.end(), name) != options_.caps.end();
        };
        const auto arch = [&](const std::string& name) {
            return name == (draft_.model.arch == policy::Arch::x86_64 ? "amd64" : "arm64");
        };
        bool applies = true;
        for (const auto* key : {"includes", "excludes"}) {
            if (!entry.has(key)) {
                continue;
            }
            const auto filter = entry.at(key);
            filter.only({"caps", "arches", "minKernel"});
            const bool include = std::string_view{key} == "includes";
            const auto list = [&](const char* of) {
                return filter.has(of) ? filter.at(of).items() : std::vector<Json>{};
            };
            const auto caps = list("caps");
            const auto arches = list("arches");
            const bool kernel = filter.has("minKernel") && !filter.at("minKernel").string().empty();
            const bool new_enough = kernel && at_least(filter.at("minKernel"));
            if (include) {
                const bool all = std::all_of(caps.begin(), caps.end(),
                                             [&](const Json& item) { return cap(item.string()); });
                applies =
                    applies && all && (arches.empty() || listed(arches, arch)) && (!kernel || new_enough);
            } else {
                applies = applies && !listed(caps, cap) && !listed(arches, arch) && !new_enough;
            }
        }
        return applies;
    }

    [[nodiscard]] bool at_least(const Json& json) const {
        const auto text = json.string();
        unsigned major = 0;
        unsigned minor = 0;
        const auto* end = text.data() + text.size();
        const auto first = std::from_chars(text.data(), end, major);
        if (first.ec != std::errc{} || first.ptr == end || *first.ptr != '.') {
            json.fail("expected a kernel version such as \"4.8\"");
        }
        const auto second = std::from_chars(first.ptr + 1, end, minor);
        if (second.ec != std::errc{} || second.ptr != end) {
            json.fail("expected a kernel version such as \"4.8\"");
        }
        return !options_.kernel || *options_.kernel >= std::pair{major, minor};
    }

    void finish() {
        auto& model = draft_.model;
        if (!skipped_.empty()) {
            draft_.notes.push_back(fmt::format("skipped, since {} has no such call: {}",
                                               to_string(model.arch), fmt::join(skipped_, ", ")));
        }
        // The default of SCMP_FLTATR_ACT_BADARCH, which neither runtime changes.
        draft_.foreign = {Action::Kind::kill_thread};
        draft_.by_libseccomp = true;
        if (arm_) {
            draft_.foreign = model.otherwise;
            for (const auto& call : model.calls) {
                for (const auto& rule : call.rules) {
                    if (stricter(rule.action, draft_.foreign)) {
                        draft_.foreign = rule.action;
                    }
                }
            }
            draft_.narrower.push_back(
                fmt::format("SCMP_ARCH_ARM: the language has no 32-bit ARM calls; all of them "
                            "get {}",
                            draft_.foreign.text()));
        }
        settle(draft_);
        if (model.otherwise.kind == Action::Kind::errno_code && model.otherwise.code != ENOSYS) {
            draft_.notes.push_back(
                "runc returns ENOSYS, and not this error, for calls with numbers above the "
                "highest one in the profile");
        }
    }

    const ImportOptions& options_;
    std::string file_;
    Draft draft_;
    std::set<std::string> skipped_;
    unsigned entries_ = 0;
    bool arm_ = false;
};

} // namespace

tl::expected<Imported, policy::Error> import_oci(std::string_view text, const std::string& file,
                                                 const ImportOptions& options) {
    try {
        return written(Importer{Json::parse(text, file), file, options}.take());
    } catch (policy::Error& error) {
        return tl::unexpected{std::move(error)};
    }
}

} // namespace cloister::audit
