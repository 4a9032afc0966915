// SPDX-License-Identifier: MIT
#include "audit/draft.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

namespace cloister::audit {
namespace {

constexpr std::size_t max_rules_of_a_call = 256;

std::string number(std::uint64_t value) {
    return value < 1000 ? fmt::to_string(value) : fmt::format("0x{:x}", value);
}

std::string header(const Draft& draft) {
    std::string arch{to_string(draft.model.arch)};
    for (const auto abi : draft.model.also) {
        arch += ' ';
        arch += to_string(abi);
    }
    const bool apart = draft.foreign != draft.model.otherwise;
    return fmt::format("policy {} {}\nsyntax 1\narch {}\nelse {}{}\n", draft.model.name, draft.model.version,
                       arch, draft.model.otherwise.text(), apart ? " abi " + draft.foreign.text() : "");
}

// The parameter that is in that register, in every ABI of the model that has the call.
std::optional<std::size_t> parameter_in(const Model& model, const policy::Prototype& prototype,
                                        unsigned argument) {
    for (std::size_t i = 0; i < prototype.parameters.size(); ++i) {
        const auto abis = model.abis();
        const bool everywhere = std::all_of(abis.begin(), abis.end(), [&](policy::Abi abi) {
            return !exists(abi, prototype.name) ||
                   (prototype.has(i, abi) && prototype.index(i, abi) == argument);
        });
        if (everywhere) {
            return i;
        }
    }
    return std::nullopt;
}

std::string condition(const Test& test) {
    const auto* half = test.half ? "32" : "";
    const auto value = number(test.value);
    switch (test.op) {
    case Test::Op::eq:
        return fmt::format("=={} {}", half, value);
    case Test::Op::ne:
        return fmt::format("!={} {}", half, value);
    case Test::Op::le:
        return fmt::format("<={} {}", half, value);
    case Test::Op::ge:
        return fmt::format(">={} {}", half, value);
    case Test::Op::masked:
        break;
    }
    if (test.value == 0 && !test.half && ~test.mask <= 0xffffffff) {
        return fmt::format("in {}", number(~test.mask));
    }
    return fmt::format("&{} {} == {}", half, number(test.mask), value);
}

// A masked comparison in the shape that the text can have: of 32 bits where the mask is, for an argument of
// which the kernel reads 32 bits.
Test in_shape(Test test, bool narrow) {
    constexpr std::uint64_t low_word = 0xffffffff;
    if (test.op != Test::Op::masked || test.half || test.mask > low_word) {
        return test;
    }
    if (test.mask == low_word && narrow) {
        return {test.argument, Test::Op::eq, true, test.value, 0};
    }
    return test;
}

// The rule as a line, or why the language cannot say it.
tl::expected<std::string, std::string> line_of(const Draft& draft, const Call& call, const Rule& rule,
                                               std::optional<policy::Abi> abi = {}) {
    auto line =
        fmt::format("{} {}{}", rule.action.text(), abi ? fmt::format("{}:", to_string(*abi)) : "", call.name);
    const auto* prototype = policy::prototype_of(call.name);
    std::vector<std::pair<std::size_t, std::string>> conditions;
    for (const auto& test : rule.tests) {
        if (call.name.starts_with("syscall ")) {
            conditions.emplace_back(test.argument,
                                    fmt::format("arg{} {}", test.argument + 1, condition(test)));
            continue;
        }
        if (prototype == nullptr) {
            return tl::unexpected{fmt::format("the arguments of {} are not known here", call.name)};
        }
        const auto parameter = parameter_in(draft.model, *prototype, test.argument);
        if (!parameter) {
            return tl::unexpected{
                fmt::format("{} has no argument in register {}", call.name, test.argument + 1)};
        }
        const auto& named = prototype->parameters[*parameter];
        conditions.emplace_back(*parameter,
                                fmt::format("{} {}", named.name, condition(in_shape(test, named.narrow()))));
    }
    std::stable_sort(conditions.begin(), conditions.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::size_t next = 0;
    for (const auto& [parameter, text] : conditions) {
        for (; next < parameter; ++next) {
            line += prototype == nullptr ? fmt::format("  arg{} any", next + 1)
                                         : fmt::format("  {} any", prototype->parameters[next].name);
        }
        line += "  " + text;
        next = parameter + 1;
    }
    const auto count = prototype == nullptr ? 6 : prototype->parameters.size();
    if (next < count) {
        line += next == 0 ? " any" : "  any";
    }
    line += " : " + rule.reason;
    // What the parser does not take cannot be said.
    if (const auto parsed = policy::parse(header(draft) + line + '\n', "rule"); !parsed) {
        return tl::unexpected{parsed.error().message};
    }
    return line;
}

// For an ABI whose arguments libseccomp takes for 32 bits.
Rule halved(Rule rule) {
    constexpr std::uint64_t low_word = 0xffffffff;
    for (auto& test : rule.tests) {
        test = {test.argument, test.op, true, test.value & low_word, test.mask & low_word};
    }
    return rule;
}

// Where x32 is listed and libseccomp has made the filter, a rule with conditions is one for each ABI: of
// x32's arguments, which have 64 bits, it compares the lower halves.
tl::expected<std::string, std::string> lines_of(const Draft& draft, const Call& call, const Rule& rule) {
    const auto abis = draft.model.abis();
    const bool apart =
        draft.by_libseccomp && std::find(abis.begin(), abis.end(), policy::Abi::x32) != abis.end() &&
        std::any_of(call.rules.begin(), call.rules.end(), [](const Rule& one) { return !one.tests.empty(); });
    if (!apart) {
        return line_of(draft, call, rule);
    }
    std::string lines;
    for (const auto abi : abis) {
        if (!exists(abi, call.name)) {
            continue;
        }
        auto line = line_of(draft, call, abi == policy::Abi::x32 ? halved(rule) : rule, abi);
        if (!line) {
            return line;
        }
        lines += (lines.empty() ? "" : "\n") + *line;
    }
    return lines;
}

// Drops rules that say what is said of all other calls.
void drop_redundant(Model& model) {
    for (auto& call : model.calls) {
        std::erase_if(call.rules, [&](const Rule& rule) { return rule.action == model.otherwise; });
    }
    std::erase_if(model.calls, [](const Call& call) { return call.rules.empty(); });
}

} // namespace

Imported written(Draft draft) {
    auto& model = draft.model;
    Imported result;
    for (auto& call : model.calls) {
        if (!separate(call, max_rules_of_a_call)) {
            result.verdict = Verdict::refused;
            result.reasons = {fmt::format("{}: rules with different actions overlap in more than {} ways",
                                          call.name, max_rules_of_a_call)};
            return result;
        }
    }
    drop_redundant(model);
    std::string rules;
    for (const auto& call : model.calls) {
        std::string lines;
        std::string lost;
        auto strictest = model.otherwise;
        for (const auto& rule : call.rules) {
            strictest = stricter(rule.action, strictest) ? rule.action : strictest;
        }
        for (const auto& rule : call.rules) {
            const auto line = lines_of(draft, call, rule);
            if (line) {
                lines += *line + '\n';
                continue;
            }
            lost = line.error();
            if (!stricter(model.otherwise, rule.action)) {
                // Without its conditions it refuses more than the source.
                const auto whole = line_of(draft, call, {strictest, {}, rule.reason, 0});
                if (!whole) {
                    result.verdict = Verdict::refused;
                    result.reasons = {fmt::format("{}: {}", call.name, whole.error())};
                    return result;
                }
                lines = *whole + '\n';
                break;
            }
        }
        if (!lost.empty()) {
            draft.narrower.push_back(fmt::format("{}: a rule is not as in the source: {}", call.name, lost));
        }
        rules += lines;
    }
    result.notes = std::move(draft.notes);
    result.reasons = std::move(draft.narrower);
    result.verdict = result.reasons.empty() ? Verdict::exact : Verdict::narrower;
    std::string text;
    const auto remark = [&](std::string_view kind, const std::string& what) {
        auto rest = fmt::format("# {}{}", kind, printable(what));
        while (rest.size() > 110) {
            auto end = rest.rfind(' ', 110);
            end = end == std::string::npos || end < 4 ? 110 : end;
            text += rest.substr(0, end) + '\n';
            rest = "#   " + rest.substr(rest.find_first_not_of(' ', end));
        }
        text += rest + '\n';
    };
    remark("", draft.origin);
    for (const auto& reason : result.reasons) {
        remark("narrower than the source: ", reason);
    }
    for (const auto& note : result.notes) {
        remark("note: ", note);
    }
    text += header(draft) + '\n' + rules;
    const auto parsed = policy::parse(text, model.name);
    if (!parsed) {
        result.verdict = Verdict::refused;
        result.reasons = {fmt::format("the language cannot say it: {}", parsed.error().message)};
        return result;
    }
    result.text = policy::format(*parsed);
    return result;
}

std::string policy_name(std::string_view file) {
    auto base = file.substr(std::min(file.rfind('/') + 1, file.size()));
    base = base.substr(0, base.rfind('.') == 0 ? base.size() : base.rfind('.'));
    std::string name;
    for (const char c : base) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (letter || (!name.empty() && c >= '0' && c <= '9')) {
            name += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        } else if (!name.empty() && name.back() != '-') {
            name += '-';
        }
    }
    while (!name.empty() && name.back() == '-') {
        name.pop_back();
    }
    name.resize(std::min<std::size_t>(name.size(), 40));
    return name.empty() ? "imported" : name;
}

std::string printable(std::string_view text) {
    std::string shown{text};
    std::replace_if(
        shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
    return shown;
}

policy::Error error_at(std::string_view text, const std::string& file, std::size_t offset,
                       std::string message) {
    offset = std::min(offset, text.size());
    const auto before = text.substr(0, offset);
    const auto start = before.rfind('\n') + 1; // npos + 1 is 0
    const auto line = text.substr(start, text.find('\n', start) - start);
    policy::Error error;
    error.file = file;
    error.line = static_cast<unsigned>(std::count(before.begin(), before.end(), '\n')) + 1;
    error.column = static_cast<unsigned>(offset - start) + 1;
    error.message = std::move(message);
    // Of a long line, the part around the place.
    constexpr std::size_t shown = 120;
    const auto from = error.column > shown ? error.column - shown / 2 : 0;
    error.source_line = printable(line.substr(std::min(from, line.size()), shown));
    return error;
}

std::string_view to_string(Verdict verdict) {
    switch (verdict) {
    case Verdict::exact:
        return "EXACT";
    case Verdict::narrower:
        return "NARROWER";
    case Verdict::wider:
        return "WIDER";
    case Verdict::refused:
        break;
    }
    return "REFUSED";
}

std::optional<Format> format_named(std::string_view name) {
    return name == "oci"        ? std::optional{Format::oci}
           : name == "minijail" ? std::optional{Format::minijail}
           : name == "systemd"  ? std::optional{Format::systemd}
                                : std::nullopt;
}

Format guess_format(std::string_view text) {
    const auto first = text.find_first_not_of(" \t\r\n");
    if (first != std::string_view::npos && text[first] == '{') {
        // A statement of minijail's may begin with a brace, too: "{read, write}: 1".
        const auto next = text.find_first_not_of(" \t\r\n", first + 1);
        return next == std::string_view::npos || text[next] == '"' || text[next] == '}' ? Format::oci
                                                                                        : Format::minijail;
    }
    for (auto rest = text; !rest.empty();) {
        const auto end = rest.find('\n');
        auto line = rest.substr(0, end);
        line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
        if (line.starts_with("SystemCallFilter") || line.starts_with('[')) {
            return Format::systemd;
        }
        rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    }
    return Format::minijail;
}

tl::expected<Imported, policy::Error> import_policy(Format format, std::string_view text,
                                                    const std::string& file, const ImportOptions& options) {
    switch (format) {
    case Format::oci:
        return import_oci(text, file, options);
    case Format::systemd:
        return import_systemd(text, file, options);
    case Format::minijail:
        break;
    }
    return import_minijail(text, file, options);
}

} // namespace cloister::audit
