// SPDX-License-Identifier: MIT
//
// systemd.exec(5). What the assignments do to each other: config_parse_syscall_filter() in systemd 252's
// src/core/load-fragment.c, seccomp_parse_syscall_filter() and seccomp_restrict_archs() in
// src/shared/seccomp-util.c.
#include "audit/libseccomp_rules.h"
#include "audit/systemd_groups.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <set>

namespace cloister::audit {
namespace {

constexpr std::string_view blanks = " \t\r";

// Other settings that install filters, or add to this one.
constexpr std::array<std::string_view, 14> other_filters = {"SystemCallLog",      "RestrictAddressFamilies",
                                                            "RestrictNamespaces", "MemoryDenyWriteExecute",
                                                            "RestrictRealtime",   "RestrictSUIDSGID",
                                                            "LockPersonality",    "ProtectKernelModules",
                                                            "ProtectKernelLogs",  "ProtectClock",
                                                            "ProtectHostname",    "ProtectKernelTunables",
                                                            "PrivateDevices",     "DynamicUser"};

struct Word {
    std::string_view text;
    std::size_t offset;
};

class Importer {
  public:
    Importer(std::string_view text, const std::string& file, const ImportOptions& options)
        : text_{text}, file_{file} {
        draft_.model.name = options.name.empty() ? policy_name(file) : options.name;
        draft_.model.arch = options.arch;
        draft_.origin = fmt::format("Imported from the system call filter of the unit {}",
                                    file.substr(file.rfind('/') + 1));
    }

    Draft run() {
        const auto joined = join_lines();
        for (std::size_t at = 0; at < joined.size();) {
            const auto end = std::min(joined.find('\n', at), joined.size());
            line(std::string_view{joined}.substr(at, end - at), at);
            at = end + 1;
        }
        if (!seen_) {
            fail(0, "no SystemCallFilter= and no SystemCallArchitectures=");
        }
        finish();
        return std::move(draft_);
    }

  private:
    [[noreturn]] void fail(std::size_t offset, std::string message) const {
        throw error_at(text_, file_, offset, std::move(message));
    }

    // A backslash at the end of a line continues it, and comments in between are left out. Every byte keeps
    // its place.
    [[nodiscard]] std::string join_lines() const {
        std::string joined{text_};
        bool continued = false;
        for (std::size_t at = 0; at < joined.size();) {
            const auto end = std::min(joined.find('\n', at), joined.size());
            const auto first = joined.find_first_not_of(blanks, at);
            if (first < end && (joined[first] == '#' || joined[first] == ';')) {
                std::fill(joined.begin() + static_cast<std::ptrdiff_t>(at),
                          joined.begin() + static_cast<std::ptrdiff_t>(end), ' ');
            } else {
                continued = end > at && joined[end - 1] == '\\';
                if (continued) {
                    joined[end - 1] = ' ';
                }
            }
            if (continued && end < joined.size()) {
                joined[end] = ' ';
            }
            at = end + 1;
        }
        return joined;
    }

    void line(std::string_view line, std::size_t offset) {
        const auto control = std::find_if(line.begin(), line.end(), [](char c) {
            return static_cast<unsigned char>(c) < ' ' && c != '\t' && c != '\r';
        });
        if (control != line.end()) {
            fail(offset + static_cast<std::size_t>(control - line.begin()), "a control character");
        }
        const auto first = line.find_first_not_of(blanks);
        if (first == std::string_view::npos) {
            return;
        }
        if (line[first] == '[') {
            const auto last = line.find_last_not_of(blanks);
            if (line[last] != ']') {
                fail(offset + first, "a section's name ends in ']'");
            }
            return;
        }
        const auto equals = line.find('=');
        if (equals == std::string_view::npos) {
            fail(offset + first, "expected NAME=VALUE");
        }
        auto name = line.substr(first, equals - first);
        name = name.substr(0, name.find_last_not_of(blanks) + 1);
        std::vector<Word> words;
        for (auto at = equals + 1; (at = line.find_first_not_of(blanks, at)) != std::string_view::npos;) {
            const auto end = std::min(line.find_first_of(blanks, at), line.size());
            words.push_back({line.substr(at, end - at), offset + at});
            at = end;
        }
        if (name == "SystemCallFilter") {
            seen_ = true;
            filter(std::move(words));
        } else if (name == "SystemCallErrorNumber") {
            error_number(words);
        } else if (name == "SystemCallArchitectures") {
            seen_ = true;
            architectures(words);
        } else if (std::find(other_filters.begin(), other_filters.end(), name) != other_filters.end()) {
            const bool off = words.empty() || words.front().text == "no" || words.front().text == "false" ||
                             words.front().text == "off" || words.front().text == "0";
            off ? others_.erase(std::string{name}) : others_.insert(std::string{name}).second;
        } else if (name.starts_with("SystemCall")) {
            fail(offset + first, fmt::format("unknown setting '{}'", printable(name)));
        }
    }

    void filter(std::vector<Word> words) {
        if (words.empty()) {
            calls_.clear();
            begun_ = false;
            return;
        }
        const bool invert = words.front().text.front() == '~';
        if (invert) {
            words.front().text.remove_prefix(1);
            ++words.front().offset;
        }
        if (!begun_) {
            begun_ = true;
            allow_list_ = !invert;
            if (allow_list_) {
                set("@default", {}, false, {"", 0}, 0);
            }
        }
        for (const auto& word : words) {
            if (word.text.empty()) {
                continue; // a '~' that stands alone
            }
            const auto colon = word.text.find(':');
            std::optional<Action> action;
            if (colon != std::string_view::npos) {
                if (!invert) {
                    fail(word.offset + colon,
                         "an error belongs to '~' lists alone; systemd ignores such a word");
                }
                action = error_named(word.text.substr(colon + 1), word.offset + colon + 1);
            }
            set(word.text.substr(0, colon), action, invert, word, 0);
        }
    }

    void set(std::string_view name, std::optional<Action> action, bool invert, const Word& word, int depth) {
        if (name.starts_with('@')) {
            const auto groups = systemd_groups();
            const auto group = std::find_if(groups.begin(), groups.end(),
                                            [&](const SystemdGroup& other) { return other.name == name; });
            if (group == groups.end() || depth > 8) {
                fail(word.offset, fmt::format("systemd 252 has no group '{}'", printable(name)));
            }
            for (auto rest = group->members; !rest.empty();) {
                const auto end = std::min(rest.find(' '), rest.size());
                set(rest.substr(0, end), action, invert, word, depth + 1);
                rest.remove_prefix(std::min(end + 1, rest.size()));
            }
            return;
        }
        if (depth == 0 && !known(name)) {
            fail(word.offset,
                 fmt::format("'{}' is no system call; systemd ignores such a word", printable(name)));
        }
        if (invert != allow_list_ || action) {
            calls_[std::string{name}] = {action, word.offset};
        } else {
            calls_.erase(std::string{name});
        }
    }

    // A call of some processor: @known has them all.
    static bool known(std::string_view name) {
        const auto groups = systemd_groups();
        return name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string_view::npos &&
               (std::any_of(groups.begin(), groups.end(),
                            [&](const SystemdGroup& group) {
                                return fmt::format(" {} ", group.members).find(fmt::format(" {} ", name)) !=
                                       std::string::npos;
                            }) ||
                exists(policy::Abi::x86_64, name) || exists(policy::Abi::aarch64, name) ||
                exists(policy::Abi::i386, name) || exists(policy::Abi::x32, name));
    }

    [[nodiscard]] Action error_named(std::string_view text, std::size_t offset) const {
        if (text == "kill") {
            return {Action::Kind::kill_process};
        }
        if (const auto code = policy::errno_named(text)) {
            return {Action::Kind::errno_code, *code};
        }
        std::uint16_t code = 0;
        const auto result = std::from_chars(text.data(), text.data() + text.size(), code);
        constexpr std::uint16_t max_errno = 4095;
        if (result.ec != std::errc{} || result.ptr != text.data() + text.size() || code > max_errno) {
            fail(offset, fmt::format("unknown error '{}'", printable(text)));
        }
        return {Action::Kind::errno_code, code};
    }

    void error_number(const std::vector<Word>& words) {
        if (words.empty()) {
            negative_ = {Action::Kind::kill_process};
            return;
        }
        if (words.size() > 1) {
            fail(words[1].offset, "expected one error");
        }
        negative_ = error_named(words.front().text, words.front().offset);
        if (negative_.kind == Action::Kind::errno_code && negative_.code == 0) {
            fail(words.front().offset, "0 is no error");
        }
    }

    void architectures(const std::vector<Word>& words) {
        if (words.empty()) {
            restricted_ = false;
            listed_.clear();
        }
        static constexpr std::array<std::string_view, 25> names = {
            "native", "x86",        "x86-64",   "x32",       "arm",           "arm64",  "mips",
            "mips64", "mips64-n32", "mips-le",  "mips64-le", "mips64-le-n32", "parisc", "parisc64",
            "ppc",    "ppc64",      "ppc64-le", "riscv64",   "s390",          "s390x",  "loongarch64",
            "alpha",  "arc",        "sh",       "ia64"};
        for (const auto& word : words) {
            if (std::find(names.begin(), names.end(), word.text) == names.end()) {
                fail(word.offset, fmt::format("unknown architecture '{}'", printable(word.text)));
            }
            restricted_ = true;
            listed_.insert(std::string{word.text});
        }
    }

    void finish() {
        auto& model = draft_.model;
        const auto has = [&](const char* name) { return !restricted_ || listed_.contains(name); };
        const bool x86 = model.arch == policy::Arch::x86_64;
        if (x86 && has("x86")) {
            model.also.push_back(policy::Abi::i386);
        }
        if (x86 && has("x32")) {
            model.also.push_back(policy::Abi::x32);
        }
        const bool allow_list = begun_ && allow_list_;
        const Action allow{Action::Kind::allow};
        model.otherwise = allow_list ? negative_ : allow;
        std::set<std::string> skipped;
        const auto abis = model.abis();
        for (const auto& [name, entry] : calls_) {
            if (std::none_of(abis.begin(), abis.end(),
                             [&, &call = name](policy::Abi abi) { return exists(abi, call); })) {
                skipped.insert(name);
            }
            const auto line = error_at(text_, file_, entry.second, "").line;
            add_rule(draft_, name,
                     {entry.first.value_or(allow_list ? allow : negative_),
                      {},
                      fmt::format("line {} of the unit", line),
                      0});
        }
        if (!skipped.empty()) {
            draft_.notes.push_back(fmt::format("skipped, since {} has no such call: {}",
                                               to_string(model.arch), fmt::join(skipped, ", ")));
        }
        if (!others_.empty()) {
            draft_.notes.push_back(
                fmt::format("the unit has other settings that restrict calls, and are not part "
                            "of this text: {}",
                            fmt::join(others_, ", ")));
        }
        if (x86 ? model.also.size() == 2 : false) {
            draft_.foreign = model.otherwise;
        } else if (restricted_ && !(model.arch == policy::Arch::aarch64 && has("arm"))) {
            draft_.foreign = {Action::Kind::kill_thread}; // libseccomp's default of SCMP_FLTATR_ACT_BADARCH
        } else {
            draft_.foreign = model.otherwise;
            for (const auto& call : model.calls) {
                for (const auto& rule : call.rules) {
                    draft_.foreign = stricter(rule.action, draft_.foreign) ? rule.action : draft_.foreign;
                }
            }
            draft_.narrower.push_back(fmt::format("the language has no 32-bit ARM calls; all of them get {}",
                                                  draft_.foreign.text()));
        }
        settle(draft_);
    }

    std::string_view text_;
    std::string file_;
    Draft draft_;
    bool seen_ = false;
    bool begun_ = false; ///< a list has begun, and its first assignment has made it one of its kind
    bool allow_list_ = false;
    Action negative_{Action::Kind::kill_process};
    std::map<std::string, std::pair<std::optional<Action>, std::size_t>, std::less<>> calls_;
    bool restricted_ = false;
    std::set<std::string, std::less<>> listed_;
    std::set<std::string> others_;
};

} // namespace

tl::expected<Imported, policy::Error> import_systemd(std::string_view text, const std::string& file,
                                                     const ImportOptions& options) {
    try {
        return written(Importer{text, file, options}.run());
    } catch (policy::Error& error) {
        return tl::unexpected{std::move(error)};
    }
}

} // namespace cloister::audit
