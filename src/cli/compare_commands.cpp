// SPDX-License-Identifier: MIT
#include "cli/compare_commands.h"

#include "audit/bindings.h"
#include "audit/map.h"
#include "cli/answer.h"
#include "cli/review_command.h"
#include "cli/subject.h"
#include "policy/prove.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <set>

namespace cloister::tool {
namespace {

using audit::Change;
using audit::Direction;
using nlohmann::json;

struct DiffQuestion {
    Question before;
    Question after;
    bool fail_if_wider = false;
};

/// Two filters that correspond to each other, of a directory with several handlers one for each.
struct Pair {
    std::string handler; ///< empty: there is one filter on each side
    audit::Subject before;
    audit::Subject after;
};

std::string_view to_string(Direction direction) {
    return direction == Direction::wider ? "wider" : direction == Direction::narrower ? "narrower" : "other";
}

std::set<std::string> handlers_of(const Question& question) {
    std::set<std::string> names;
    if (kind_of(question.file) == Kind::policies && question.handler.empty()) {
        for (const auto& filter : or_exit(filters_in(question.file, ""), question.json)) {
            names.insert(filter.handler);
        }
    }
    return names;
}

// Names and handlers that one side alone has are said, and count as different.
std::vector<Pair> pairs_of(const DiffQuestion& question, json& alone) {
    const auto before = handlers_of(question.before);
    const auto after = handlers_of(question.after);
    std::vector<Pair> pairs;
    if (before.empty() || after.empty() || (before.size() == 1 && after.size() == 1)) {
        pairs.push_back({"", load_subject(question.before), load_subject(question.after)});
        return pairs;
    }
    auto both = before;
    both.insert(after.begin(), after.end());
    for (const auto& handler : both) {
        if (!before.contains(handler) || !after.contains(handler)) {
            alone.push_back({{"handler", handler}, {"only_in", before.contains(handler) ? "old" : "new"}});
            continue;
        }
        auto asked = question;
        asked.before.handler = asked.after.handler = handler;
        pairs.push_back({handler, load_subject(asked.before), load_subject(asked.after)});
    }
    return pairs;
}

std::vector<policy::Policy> texts_of(const audit::Subject& subject) {
    std::vector<policy::Policy> all;
    if (const auto* policy = std::get_if<policy::Policy>(&subject)) {
        all.push_back(*policy);
    } else if (const auto* combined = std::get_if<policy::Combined>(&subject)) {
        for (const auto* one : policy::all_of(*combined)) {
            all.push_back(*one);
        }
    }
    return all;
}

// Two texts leave their parameters open. A text and bytes: the addresses that stand in the bytes, or those
// that were given.
policy::Bindings bindings_of(const audit::Subject& before, const audit::Subject& after, policy::Arch arch,
                             const Question& question) {
    const auto* bytes = std::get_if<std::vector<policy::Program>>(&after);
    const auto& text = bytes != nullptr ? before : after;
    bytes = bytes != nullptr ? bytes : std::get_if<std::vector<policy::Program>>(&before);
    const auto texts = texts_of(text);
    if (bytes == nullptr || texts.empty()) {
        return {};
    }
    if (question.bind.empty() && bytes->size() == 1) {
        const auto* combined = std::get_if<policy::Combined>(&text);
        const auto found = combined != nullptr ? audit::bindings_in(*combined, arch, bytes->front())
                                               : audit::bindings_in(texts.front(), arch, bytes->front());
        if (found) {
            return *found;
        }
    }
    Policies policies;
    for (const auto& policy : texts) {
        policies.push_back(&policy);
    }
    return bindings_for(policies, question);
}

json as_json(const Change& change, policy::Arch arch) {
    json witness = {{"nr", static_cast<std::uint32_t>(change.witness.data.nr)},
                    {"arch", change.witness.data.arch},
                    {"instruction_pointer", change.witness.data.instruction_pointer},
                    {"args", change.witness.data.args},
                    {"text", policy::describe(change.witness.data)}};
    json params = json::object();
    for (std::size_t i = 0; i < change.params.size(); ++i) {
        params[change.params[i]] = change.witness.params.at(i);
    }
    return {{"arch", policy::to_string(arch)},
            {"site", change.site},
            {"call", change.call},
            {"direction", to_string(change.direction)},
            {"old", change.before.text()},
            {"new", change.after.text()},
            {"witness", witness},
            {"params", params}};
}

// ", where $buffer = 0x1", of those that could matter.
std::string params_of(const Change& change) {
    std::string text;
    for (std::size_t i = 0; i < change.params.size(); ++i) {
        const auto value = change.witness.params.at(i);
        const auto& args = change.witness.data.args;
        if (std::find(std::begin(args), std::end(args), value) != std::end(args)) {
            text += fmt::format("{} ${} = 0x{:x}", text.empty() ? ", where" : ",", change.params[i], value);
        }
    }
    return text;
}

std::string place(const audit::Subject& subject, const Change& change, policy::Arch arch,
                  const policy::Bindings& given) {
    auto bindings = given;
    for (std::size_t i = 0; i < change.params.size(); ++i) {
        bindings[change.params[i]] = change.witness.params.at(i);
    }
    const auto rule = audit::deciding_rule(subject, change.site, arch, bindings, change.witness.data);
    return rule.empty() ? "" : fmt::format(" ({})", rule);
}

int policy_diff(const DiffQuestion& question) {
    json out = {{"changes", json::array()}, {"alone", json::array()}};
    bool wider = false;
    bool narrower = false;
    bool other = false;
    std::set<std::string> said; // what the filters of several handlers have in common, once
    for (const auto& pair : pairs_of(question, out["alone"])) {
        for (const auto arch : archs_of(pair.before, pair.after, question.after)) {
            const auto bindings = bindings_of(pair.before, pair.after, arch, question.after);
            for (const auto& change : audit::difference(pair.before, pair.after, arch, bindings)) {
                wider = wider || change.direction == Direction::wider;
                narrower = narrower || change.direction == Direction::narrower;
                other = other || change.direction == Direction::other;
                const auto site = change.site + (change.site == "elsewhere" && !pair.handler.empty()
                                                     ? fmt::format(" of {}", pair.handler)
                                                     : "");
                const auto text = fmt::format("{} on {}{}: {} from {}{} to {}{}\n    {}{}\n", change.call,
                                              policy::to_string(arch), site.empty() ? "" : ", " + site,
                                              to_string(change.direction), change.before.text(),
                                              place(pair.before, change, arch, bindings), change.after.text(),
                                              place(pair.after, change, arch, bindings),
                                              policy::describe(change.witness.data), params_of(change));
                if (!said.insert(text).second) {
                    continue;
                }
                if (question.before.json) {
                    auto entry = as_json(change, arch);
                    entry["site"] = site;
                    out["changes"].push_back(std::move(entry));
                } else {
                    fmt::print("{}", text);
                }
            }
        }
    }
    for (const auto& one : out["alone"]) {
        (one.at("only_in") == "new" ? wider : narrower) = true;
        if (!question.before.json) {
            fmt::print("handler {}: only in the {} one\n", one.at("handler").get<std::string>(),
                       one.at("only_in").get<std::string>());
        }
    }
    const auto* result = wider && narrower ? "both"
                         : wider           ? "wider"
                         : narrower        ? "narrower"
                         : other           ? "other"
                                           : "equal";
    if (question.before.json) {
        out["result"] = result;
        fmt::print("{}\n", out.dump(2));
    } else {
        fmt::print("{}\n", result == std::string_view{"both"} ? "wider and narrower" : result);
    }
    return (question.fail_if_wider ? wider : wider || narrower || other) ? answer_no : answer_yes;
}

struct MapQuestion {
    Question question;
    std::string svg;
};

int policy_map(const MapQuestion& asked) {
    const auto& question = asked.question;
    const auto subject = load_subject(question);
    const auto arch = archs_of(subject, subject, question).front();
    const auto map = audit::map_of(subject, arch, texts_of(subject));
    if (!asked.svg.empty()) {
        std::ofstream file{asked.svg, std::ios::trunc};
        file << audit::as_svg(map, question.file);
        file.close();
        if (!file) {
            fmt::print(stderr, "cloister policy map: {}: cannot be written\n", asked.svg);
            return static_cast<int>(ExitCode::SystemCall);
        }
    }
    if (question.json) {
        json calls = json::array();
        for (const auto& call : map.calls) {
            calls.push_back({{"name", call.name},
                             {"number", call.number},
                             {"state", to_string(call.state)},
                             {"actions", call.actions}});
        }
        fmt::print("{}\n", json{{"arch", policy::to_string(arch)}, {"calls", calls}}.dump(2));
        return 0;
    }
    fmt::print("{}", audit::as_text(map));
    return 0;
}

/// What the prover throws becomes an error of the question.
template <class Body>
int decided(const Question& question, const Body& body) {
    return guarded([&]() -> int {
        try {
            return body();
        } catch (const policy::Error& error) {
            return static_cast<int>(report(error));
        } catch (const std::bad_alloc&) {
            throw;
        } catch (const std::runtime_error& error) { // Diagram::TooLarge
            fmt::print(stderr, "{}: error: cannot be decided: {}\n", question.file, error.what());
        } catch (const std::invalid_argument& error) { // an instruction
            fmt::print(stderr, "{}: error: cannot be decided: {}\n", question.file, error.what());
        }
        return static_cast<int>(ExitCode::Unavailable);
    });
}

void add_common(CLI::App& command, Question& question) {
    command.add_option("--arch", question.arch, "x86_64 or aarch64; unless given, what the texts list");
    command.add_flag("--json", question.json, "answer in JSON");
    command.add_flag("--unchecked", question.unchecked, "answer even if 'check' refuses a policy");
    command
        .add_option("--handler", question.handler,
                    "of a directory: with that handler's policy; unless given, each")
        ->type_name("NAME|FILE");
}

} // namespace

void add_compare_commands(CLI::App& policy, int& code) {
    auto& diff = *policy.add_subcommand(
        "diff", "what two filters decide differently, with a call that shows it; exit 0 if nothing, 1 if "
                "something, 69 if "
                "that cannot be decided. Such as: cloister policy diff old.policy new.policy");
    const auto asked = std::make_shared<DiffQuestion>();
    diff.add_option("OLD", asked->before.file, operands)->required();
    diff.add_option("NEW", asked->after.file, "the same")->required();
    diff.add_flag("--fail-if-wider", asked->fail_if_wider, "exit 1 only if NEW is more permissive somewhere");
    diff.add_option("--bind", asked->after.bind,
                    "of a text that is compared with bytes: a parameter's address; unless "
                    "given, what stands in the bytes")
        ->allow_extra_args(false);
    add_common(diff, asked->before);
    diff.callback([asked, &code] {
        const auto bind = asked->after.bind;
        const auto file = asked->after.file;
        asked->after = asked->before;
        asked->after.file = file;
        asked->after.bind = bind;
        code = decided(asked->after, [&] { return policy_diff(*asked); });
    });

    auto& map = *policy.add_subcommand(
        "map", "the whole table of system calls: open, open with conditions, closed. Such as: "
               "cloister policy map policy --svg map.svg");
    const auto mapped = std::make_shared<MapQuestion>();
    map.add_option("FILE", mapped->question.file, operands)->required();
    map.add_option("--svg", mapped->svg, "write it as a picture, too")->type_name("OUT");
    add_common(map, mapped->question);
    map.callback([mapped, &code] { code = decided(mapped->question, [&] { return policy_map(*mapped); }); });

    add_review_command(policy, code);
}

} // namespace cloister::tool
