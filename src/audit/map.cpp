// SPDX-License-Identifier: MIT
#include "audit/map.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <set>

namespace cloister::audit {
namespace {

using namespace policy;

/// What one policy, or the filters of a process, can do with each call. A call's values, by its number.
using Values = std::map<std::uint32_t, std::set<std::uint32_t>>;

void add(Values& values, Meaning& meaning, Meaning::Node whole, Abi abi) {
    auto& diagram = meaning.diagram();
    for (const auto action : diagram.values(whole)) {
        const auto there = diagram.both(meaning.bound(), diagram.equals(whole, action));
        for (const auto name : all_names(abi)) {
            const auto number = number_of(abi, name).value();
            if (diagram.both(meaning.of_number(abi, number), there) != 0) {
                values[number].insert(action);
            }
        }
    }
}

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
        case '<':
            out += "&lt;";
            break;
        case '>':
            out += "&gt;";
            break;
        case '&':
            out += "&amp;";
            break;
        case '"':
            out += "&quot;";
            break;
        default:
            out += c < ' ' || c > '~' ? '?' : c;
        }
    }
    return out;
}

std::size_t count(const Map& map, State state) {
    return static_cast<std::size_t>(std::count_if(
        map.calls.begin(), map.calls.end(), [&](const MappedCall& call) { return call.state == state; }));
}

constexpr std::array<State, 3> states = {State::open, State::conditional, State::closed};
// They stay apart for people who do not tell red from green.
constexpr std::string_view colour_of(State state) {
    return state == State::open ? "#d55e00" : state == State::conditional ? "#f0e442" : "#dde3ea";
}

} // namespace

std::string_view to_string(State state) {
    return state == State::open ? "open" : state == State::conditional ? "open with conditions" : "closed";
}

Map map_of(const Subject& subject, Arch arch, const std::vector<Policy>& texts) {
    const auto abi = abi_of(arch);
    Values values;
    if (const auto* programs = std::get_if<std::vector<Program>>(&subject)) {
        Meaning meaning;
        add(values, meaning, meaning.of_filters(*programs), abi);
    }
    for (const auto& text : texts) {
        std::vector<std::string> params;
        for (const auto& param : text.params) {
            params.push_back(param.name);
        }
        Meaning meaning{text, params, nullptr};
        add(values, meaning, meaning.of_text(text, arch), abi);
    }
    Map map{arch, {}};
    for (const auto& [number, actions] : values) {
        MappedCall call{std::string{name_of(abi, number)}, number, State::closed, {}};
        bool all = true;
        bool any = false;
        for (const auto value : actions) {
            const auto action = Action::of(value);
            all = all && action.permissive();
            any = any || action.permissive();
        }
        call.state = all ? State::open : any ? State::conditional : State::closed;
        std::vector<Action> sorted;
        std::transform(actions.begin(), actions.end(), std::back_inserter(sorted), Action::of);
        std::sort(sorted.begin(), sorted.end(),
                  [](const Action& a, const Action& b) { return a.kind > b.kind; });
        for (const auto& action : sorted) {
            call.actions.push_back(action.text());
        }
        map.calls.push_back(std::move(call));
    }
    return map;
}

std::string as_text(const Map& map) {
    std::string text;
    for (const auto state : states) {
        text += fmt::format("{}: {} of {} calls of {}\n", to_string(state), count(map, state),
                            map.calls.size(), policy::to_string(map.arch));
        std::string line = " ";
        for (const auto& call : map.calls) {
            if (call.state != state) {
                continue;
            }
            if (line.size() + call.name.size() > 98) {
                text += line + '\n';
                line = " ";
            }
            line += ' ' + call.name;
        }
        text += line == " " ? "" : line + '\n';
    }
    return text;
}

std::string as_svg(const Map& map, std::string_view title) {
    constexpr std::size_t columns = 6;
    constexpr unsigned width = 178;
    constexpr unsigned height = 17;
    constexpr unsigned top = 64;
    const auto rows = (map.calls.size() + columns - 1) / columns;
    auto svg = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" "
        "font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" "
        "fill=\"white\"/>\n"
        "<text x=\"8\" y=\"22\" font-size=\"16\">{2}: system calls of {3}</text>\n",
        columns * width + 16, top + rows * height + 8, escaped(title), policy::to_string(map.arch));
    unsigned x = 8;
    for (const auto state : states) {
        const auto label = fmt::format("{}: {}", to_string(state), count(map, state));
        svg += fmt::format("<rect x=\"{}\" y=\"36\" width=\"14\" height=\"14\" fill=\"{}\"/><text x=\"{}\" "
                           "y=\"47\">{}</text>\n",
                           x, colour_of(state), x + 20, label);
        x += 190;
    }
    for (std::size_t i = 0; i < map.calls.size(); ++i) {
        const auto& call = map.calls[i];
        const auto left = 8 + i / rows * width;
        const auto y = top + i % rows * height;
        svg +=
            fmt::format("<g><title>{} ({}): {}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" "
                        "fill=\"{}\"/><text x=\"{}\" y=\"{}\">{} {}</text></g>\n",
                        escaped(call.name), call.number,
                        escaped(fmt::format("{}", fmt::join(call.actions, ", "))), left, y, width - 2,
                        height - 2, colour_of(call.state), left + 4, y + 11, call.number, escaped(call.name));
    }
    return svg + "</svg>\n";
}

} // namespace cloister::audit
