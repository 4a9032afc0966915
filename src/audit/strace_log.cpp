// SPDX-License-Identifier: MIT
#include "audit/strace_log.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fmt/format.h>
#include <map>

namespace cloister::audit {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

void skip_blanks(std::string_view& text) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
}

std::optional<std::uint32_t> decimal(std::string_view text) {
    std::uint32_t number = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
    return !text.empty() && result.ec == std::errc{} && result.ptr == text.data() + text.size()
               ? std::optional{number}
               : std::nullopt;
}

/// What stands before a call.
struct Prefix {
    std::string thread;
    std::optional<std::uint32_t> number;
};

///   prefix = [ "[pid" number "]" | number ] [ time ] [ "[" number "]" ] [ "[" 16 hex digits "]" ]
Prefix take_prefix(std::string_view& text) {
    Prefix prefix;
    skip_blanks(text);
    if (text.starts_with("[pid")) {
        const auto close = text.find(']');
        auto number = text.substr(4, close == std::string_view::npos ? close : close - 4);
        skip_blanks(number);
        prefix.thread = number;
        text.remove_prefix(close == std::string_view::npos ? text.size() : close + 1);
    }
    for (bool first = true;; first = false) {
        skip_blanks(text);
        if (text.starts_with('[')) {
            const auto close = text.find(']');
            if (close == std::string_view::npos) {
                return prefix;
            }
            auto inside = text.substr(1, close - 1);
            skip_blanks(inside);
            constexpr std::size_t address_digits = 16; // of -i; the number of -n has at most four
            if (inside.size() < address_digits) {
                prefix.number = decimal(inside);
            }
            text.remove_prefix(close + 1);
            continue;
        }
        const auto end = text.find_first_of(" \t");
        const auto word = text.substr(0, end);
        if (word.empty() || !is_digit(word.front()) || !std::all_of(word.begin(), word.end(), [](char c) {
                return is_digit(c) || c == ':' || c == '.';
            })) {
            return prefix;
        }
        if (first && prefix.thread.empty() && word.find_first_of(":.") == std::string_view::npos) {
            prefix.thread = word;
        }
        text.remove_prefix(word.size());
    }
}

/// Where the text ends that begins at `at` and is closed by `)` or parted by `,`: the index of that
/// character. Strings, brackets and what -y adds in angle brackets are passed over.
std::size_t end_of_argument(std::string_view text, std::size_t at) {
    std::string open;
    for (bool quoted = false; at < text.size(); ++at) {
        const char c = text[at];
        if (quoted) {
            at += c == '\\' ? 1 : 0;
            quoted = c != '"';
            continue;
        }
        const bool decoration = !open.empty() && open.back() == '<';
        if (c == '"') {
            quoted = true;
        } else if (open.empty() && (c == ',' || c == ')')) {
            return at;
        } else if (c == '<' && at + 1 < text.size() && text[at + 1] == '<') { // 1<<3
            ++at;
        } else if (c == '[' || ((c == '(' || c == '{') && !decoration) ||
                   (c == '<' && at > 0 && is_word(text[at - 1]))) { // 3</etc/passwd>
            open += c;
        } else if (!open.empty() && ((c == ']' && open.back() == '[') || (c == ')' && open.back() == '(') ||
                                     (c == '}' && open.back() == '{') || (c == '>' && decoration))) {
            open.pop_back();
        }
    }
    return std::string_view::npos;
}

std::string trimmed(std::string_view text) {
    skip_blanks(text);
    return std::string{text.substr(0, text.find_last_not_of(" \t") + 1)};
}

/// name "(" [ argument { "," argument } ] ")" …
tl::expected<TracedCall, std::string> parse_call(std::string_view text) {
    TracedCall call;
    const auto open = static_cast<std::size_t>(
        std::find_if(text.begin(), text.end(), [](char c) { return !is_word(c); }) - text.begin());
    if (open == 0 || open >= text.size() || text[open] != '(') {
        return tl::unexpected{std::string{"no call and none of strace's own messages"}};
    }
    call.name = text.substr(0, open);
    constexpr std::string_view nameless = "syscall_0x";
    if (call.name.starts_with(nameless)) {
        std::uint32_t number = 0;
        (void)std::from_chars(call.name.data() + nameless.size(), call.name.data() + call.name.size(), number,
                              16);
        call.number = number;
    }
    for (auto at = open + 1;;) {
        const auto end = end_of_argument(text, at);
        if (end == std::string_view::npos) {
            return tl::unexpected{fmt::format("the arguments of {} have no end", call.name)};
        }
        auto argument = trimmed(text.substr(at, end - at));
        if (!argument.empty()) {
            call.arguments.push_back(std::move(argument));
        }
        if (text[end] == ')') {
            return call;
        }
        at = end + 1;
    }
}

/// "32 bit" of "[ Process PID=1234 runs in 32 bit mode. ]", and whose mode that is.
std::optional<std::pair<std::string, policy::Abi>> mode_in(std::string_view line) {
    const auto runs = line.find(" runs in ");
    const auto pid = line.find("PID=");
    if (runs == std::string_view::npos || pid == std::string_view::npos || pid > runs) {
        return std::nullopt;
    }
    const auto mode = line.substr(runs + 9);
    const auto native = policy::abi_of(policy::native_arch);
    return std::pair{std::string{line.substr(pid + 4, runs - pid - 4)},
                     mode.starts_with("32 bit") ? policy::Abi::i386
                     : mode.starts_with("x32")  ? policy::Abi::x32
                                                : native};
}

} // namespace

StraceLog parse_strace(std::string_view text) {
    constexpr std::string_view unfinished = "<unfinished ...>";
    constexpr std::string_view resumed = " resumed>";
    struct Begun {
        std::string text;
        unsigned line;
        std::optional<std::uint32_t> number;
    };
    StraceLog log;
    std::map<std::string, Begun> begun; // by thread
    std::map<std::string, policy::Abi> modes;
    for (unsigned number = 1; !text.empty(); ++number) {
        auto line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        const auto refuse = [&](std::string why) { log.not_understood.push_back({number, std::move(why)}); };
        if (const auto mode = mode_in(line)) {
            modes[mode->first] = mode->second;
            continue;
        }
        const auto prefix = take_prefix(line);
        if (line.empty() || line.starts_with("---") || line.starts_with("+++") ||
            line.starts_with("strace:")) {
            continue;
        }
        Begun whole{std::string{line}, number, prefix.number};
        if (line.starts_with("<... ")) {
            const auto rest = line.find(resumed);
            const auto before = begun.find(prefix.thread);
            if (rest == std::string_view::npos || before == begun.end()) {
                refuse("a call goes on whose beginning is not in the log");
                continue;
            }
            whole = before->second;
            whole.text += line.substr(rest + resumed.size());
            begun.erase(before);
        } else if (const auto cut = line.find(unfinished); cut != std::string_view::npos) {
            whole.text.resize(whole.text.find(unfinished));
            begun[prefix.thread] = whole;
            continue;
        }
        auto call = parse_call(whole.text);
        if (!call) {
            refuse(call.error());
            continue;
        }
        call->line = whole.line;
        call->number = whole.number ? whole.number : call->number;
        if (const auto mode = modes.find(prefix.thread); mode != modes.end()) {
            call->abi = mode->second;
        }
        log.calls.push_back(std::move(*call));
    }
    // A call that never came back, such as one that waits at the end: what it has of arguments is there.
    for (auto& [thread, one] : begun) {
        one.text.erase(one.text.find_last_not_of(" ,") + 1);
        if (auto call = parse_call(one.text + ")")) {
            call->line = one.line;
            call->number = one.number ? one.number : call->number;
            if (const auto mode = modes.find(thread); mode != modes.end()) {
                call->abi = mode->second;
            }
            log.calls.push_back(std::move(*call));
        } else {
            log.not_understood.push_back({one.line, call.error()});
        }
    }
    return log;
}

tl::expected<std::uint64_t, std::string> value_of(std::string_view argument, bool is_int) {
    auto text = argument.substr(0, argument.find(" /*"));
    if (const auto decoration = text.find('<');
        decoration != std::string_view::npos && decoration > 0 &&
        text.substr(decoration).find("<<") == std::string_view::npos) {
        text = text.substr(0, decoration); // 3</etc/passwd>
    }
    const auto name = text.substr(0, text.find('='));
    if (name.size() < text.size() && std::all_of(name.begin(), name.end(), is_word)) { // of clone
        return tl::unexpected{
            fmt::format("'{}' is written by name, not in its place", argument.substr(0, 40))};
    }
    if (text == "NULL") {
        return 0;
    }
    std::uint64_t value = 0;
    for (auto rest = text;;) {
        const auto bar = rest.find('|');
        auto word = rest.substr(0, bar);
        const bool negative = word.starts_with('-');
        word.remove_prefix(negative ? 1 : 0);
        const int base = word.starts_with("0x") ? 16 : word.starts_with('0') ? 8 : 10;
        const auto digits = word.substr(base == 16 ? 2 : 0);
        std::uint64_t number = 0;
        const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
        if (!digits.empty() && result.ec == std::errc{} && result.ptr == digits.data() + digits.size()) {
            if (negative && is_int) {
                return tl::unexpected{std::string{"the upper half of a negative int is not shown"}};
            }
            value |= negative ? 0 - number : number;
        } else if (const auto constant = policy::constant_named(word); constant && !negative) {
            value |= *constant;
        } else {
            return tl::unexpected{
                fmt::format("'{}' is no number, and no constant that is known here", argument.substr(0, 40))};
        }
        if (bar == std::string_view::npos) {
            return value;
        }
        rest = rest.substr(bar + 1);
    }
}

} // namespace cloister::audit
