// SPDX-License-Identifier: MIT
#include "audit/difference.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>

namespace cloister::audit {
namespace {

using namespace policy;
using Node = Meaning::Node;
using Programs = std::vector<Program>;

// Leaves of the diagram that relates the two.
constexpr std::uint32_t same = 0;
std::uint32_t leaf_of(Direction direction) {
    return 1 + static_cast<std::uint32_t>(direction);
}
constexpr Direction directions[] = {Direction::wider, Direction::narrower, Direction::other};

std::uint32_t relate(std::uint32_t before, std::uint32_t after) {
    const auto a = Action::of(before);
    const auto b = Action::of(after);
    return a == b            ? same
           : a.kind < b.kind ? leaf_of(Direction::wider)
           : b.kind < a.kind ? leaf_of(Direction::narrower)
                             : leaf_of(Direction::other);
}

bool is_text(const Subject& subject) {
    return !std::holds_alternative<Programs>(subject);
}

std::vector<const Policy*> texts_of(const Subject& subject) {
    if (const auto* one = std::get_if<Policy>(&subject)) {
        return {one};
    }
    const auto* combined = std::get_if<Combined>(&subject);
    return combined != nullptr ? all_of(*combined) : std::vector<const Policy*>{};
}

/// The policy for calls from that site ("": elsewhere).
const Policy& policy_for(const Subject& subject, std::string_view site) {
    if (const auto* one = std::get_if<Policy>(&subject)) {
        return *one;
    }
    const auto& combined = std::get<Combined>(subject);
    for (const auto& policy : combined.at_call_sites) {
        if (policy.at_name() == site) {
            return policy;
        }
    }
    return combined.elsewhere;
}

void add_params(std::vector<std::string>& names, const Policy& policy) {
    for (const auto& param : policy.params) {
        if (std::find(names.begin(), names.end(), param.name) == names.end()) {
            names.push_back(param.name);
        }
    }
}

/// One comparison of two diagrams: of one site, or of everything.
class Comparison {
  public:
    Comparison(Meaning& meaning, std::vector<std::string> params, std::string site,
               std::vector<Change>& changes)
        : meaning_{meaning}, params_{std::move(params)}, site_{std::move(site)}, changes_{changes} {}

    void run(Node before, Node after, Arch arch) {
        before_ = before;
        after_ = after;
        auto& diagram = meaning_.diagram();
        const auto where = diagram.both(meaning_.bound(), meaning_.possible(arch));
        relation_ = diagram.if_else(where, diagram.combine(before, after, relate), same);
        if (relation_ == same) {
            return;
        }
        Node rest = relation_;
        for (const auto abi : arch == Arch::x86_64 ? std::vector{Abi::x86_64, Abi::i386, Abi::x32}
                                                   : std::vector{Abi::aarch64}) {
            const auto prefix = abi == abi_of(arch) ? std::string{} : fmt::format("{}:", to_string(abi));
            for (const auto name : all_names(abi)) {
                const auto calls = meaning_.of_number(abi, number_of(abi, name).value());
                report(prefix + std::string{name}, diagram.if_else(calls, relation_, same));
                rest = diagram.if_else(calls, same, rest);
            }
            const auto calls = meaning_.of_abi(abi);
            report(fmt::format("{}:calls without a name", to_string(abi)),
                   diagram.if_else(calls, rest, same));
            rest = diagram.if_else(calls, same, rest);
        }
        report("calls of other ABIs", rest);
    }

  private:
    void report(const std::string& call, Node where) {
        for (const auto direction : directions) {
            if (where == same) {
                return;
            }
            auto& diagram = meaning_.diagram();
            const auto bits = diagram.find(diagram.equals(where, leaf_of(direction)));
            if (!bits) {
                continue;
            }
            changes_.push_back({site_, call, direction, Action::of(diagram.value_at(before_, *bits)),
                                Action::of(diagram.value_at(after_, *bits)), meaning_.call(*bits), params_});
        }
    }

    Meaning& meaning_;
    std::vector<std::string> params_;
    std::string site_;
    std::vector<Change>& changes_;
    Node before_ = 0;
    Node after_ = 0;
    Node relation_ = same;
};

void require_listed(const Policy& policy, Arch arch) {
    if (std::find(policy.archs.begin(), policy.archs.end(), arch) == policy.archs.end()) {
        throw policy.error_at({}, fmt::format("the policy does not list {}", to_string(arch)));
    }
}

// Site by site, so that the parameters can stay open: where the sites lie does not matter.
std::vector<Change> of_texts(const Subject& before, const Subject& after, Arch arch) {
    std::set<std::string> sites{""};
    for (const auto* side : {&before, &after}) {
        if (const auto* combined = std::get_if<Combined>(side)) {
            for (const auto& policy : combined->at_call_sites) {
                sites.emplace(policy.at_name());
            }
        }
    }
    std::vector<Change> changes;
    for (const auto& site : sites) {
        const auto& a = policy_for(before, site);
        const auto& b = policy_for(after, site);
        std::vector<std::string> params;
        add_params(params, a);
        add_params(params, b);
        if (params.size() > max_params) {
            throw b.error_at({}, fmt::format("more than {} parameters together with {}", max_params, a.file));
        }
        Meaning meaning{a, params, nullptr};
        Comparison comparison{meaning, params,
                              sites.size() == 1 ? ""
                              : site.empty()    ? "elsewhere"
                                                : fmt::format("at ${}", site),
                              changes};
        comparison.run(meaning.of_text(a, arch), meaning.of_text(b, arch), arch);
    }
    return changes;
}

Node meaning_of(Meaning& meaning, const Subject& subject, Arch arch, const Bindings& bindings) {
    if (const auto* programs = std::get_if<Programs>(&subject)) {
        return meaning.of_filters(*programs);
    }
    if (const auto* policy = std::get_if<Policy>(&subject)) {
        return meaning.of_text(*policy, arch);
    }
    const auto& combined = std::get<Combined>(subject);
    auto node = meaning.of_text(combined.elsewhere, arch);
    for (const auto& policy : combined.at_call_sites) {
        const auto there = meaning.of_call_site(bindings.at(std::string{policy.at_name()}));
        node = meaning.diagram().if_else(there, meaning.of_text(policy, arch), node);
    }
    return node;
}

} // namespace

std::vector<Change> difference(const Subject& before, const Subject& after, Arch arch,
                               const Bindings& bindings) {
    std::vector<std::string> params;
    const Policy* text = nullptr;
    for (const auto* side : {&before, &after}) {
        for (const auto* policy : texts_of(*side)) {
            require_listed(*policy, arch);
            add_params(params, *policy);
            text = policy;
        }
    }
    if (is_text(before) && is_text(after)) {
        return of_texts(before, after, arch);
    }
    std::vector<Change> changes;
    auto meaning = text != nullptr ? Meaning{*text, params, &bindings} : Meaning{};
    Comparison comparison{meaning, {}, "", changes};
    const auto a = meaning_of(meaning, before, arch, bindings);
    comparison.run(a, meaning_of(meaning, after, arch, bindings), arch);
    return changes;
}

Action decided(const Subject& subject, Arch arch, const Bindings& bindings, const seccomp_data& call) {
    if (const auto* policy = std::get_if<Policy>(&subject)) {
        return evaluate(*policy, arch, bindings, call).action;
    }
    if (const auto* combined = std::get_if<Combined>(&subject)) {
        return evaluate(*combined, arch, bindings, call).action;
    }
    Action strictest{Action::Kind::allow};
    const auto& programs = std::get<Programs>(subject);
    for (auto program = programs.rbegin(); program != programs.rend(); ++program) {
        if (const auto action = Action::of(run(*program, call).value_or(SECCOMP_RET_KILL_PROCESS));
            action.kind < strictest.kind) {
            strictest = action;
        }
    }
    return strictest;
}

std::string deciding_rule(const Subject& subject, std::string_view site, Arch arch, const Bindings& bindings,
                          const seccomp_data& call) {
    if (!is_text(subject)) {
        return {};
    }
    const auto name = site.substr(0, 4) == "at $" ? site.substr(4) : std::string_view{};
    const auto* combined = std::get_if<Combined>(&subject);
    const auto& policy = combined != nullptr && site.empty()
                             ? policy_at(*combined, bindings, call.instruction_pointer)
                             : policy_for(subject, name);
    const auto* rule = evaluate(policy, arch, bindings, call).rule;
    return rule != nullptr ? fmt::format("{}:{}", policy.file, rule->where.line) : std::string{};
}

} // namespace cloister::audit
