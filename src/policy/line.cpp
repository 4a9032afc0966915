// SPDX-License-Identifier: MIT
#include "policy/line.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>

namespace cloister::policy {

Line::Line(const Policy& policy, std::string_view text, unsigned number) : policy_{policy} {
    const auto column = [](std::size_t offset) { return static_cast<unsigned>(offset + 1); };
    const auto last = text.find_last_not_of(' ');
    end_ = {number, column(last == std::string_view::npos ? 0 : last + 1)};
    for (std::size_t at = text.find_first_not_of(' '); at != std::string_view::npos;) {
        const auto stop = std::min(text.find(' ', at), text.size());
        const Word word{text.substr(at, stop - at), {number, column(at)}};
        at = text.find_first_not_of(' ', stop);
        if (word.text == ":") {
            reason_where_ = word.where;
            end_ = word.where;
            reason_ = at == std::string_view::npos ? std::string_view{} : text.substr(at, last + 1 - at);
            break;
        }
        words_.push_back(word);
    }
}

const Word& Line::take(std::string_view what) {
    if (done()) {
        fail(end_, fmt::format("expected {}", what));
    }
    return words_[next_++];
}

void Line::require_reason() const {
    if (reason_.empty()) {
        fail(end_, "a reason is missing: write ' : ' and why");
    }
}

void Line::finish() const {
    if (!done()) {
        fail(peek().where, fmt::format("unexpected '{}' after the end of the statement", peek().text));
    }
    if (reason_where_.line != 0 && reason_.empty()) {
        fail(reason_where_, "a reason is missing after ':'");
    }
}

void Line::fail(Where where, std::string message) const {
    throw policy_.error_at(where, std::move(message));
}

std::string did_you_mean(std::string_view name, const std::vector<std::string_view>& candidates) {
    const auto near = nearest(name, candidates);
    return near.empty() ? std::string{} : fmt::format(". Did you mean {}?", near);
}

std::string not_a_call(std::string_view name, Abi abi) {
    const auto issued = issued_by_libc(name);
    if (!issued.empty()) {
        return fmt::format("'{}' is not a system call on {}; {}(3) issues {}. Write {}.", name,
                           to_string(abi), name, issued, issued);
    }
    return fmt::format("'{}' is not a system call on {}{}", name, to_string(abi),
                       did_you_mean(name, all_names(abi)));
}

std::uint64_t parse_number(const Line& line, Word word) {
    const bool hex = word.text.substr(0, 2) == "0x";
    const auto digits = hex ? word.text.substr(2) : word.text;
    const auto allowed = hex ? "0123456789abcdef" : "0123456789";
    if (digits.empty() || digits.find_first_not_of(allowed) != std::string_view::npos) {
        line.fail(word.where,
                  fmt::format("'{}' is not a number: write decimal, or 0x and lower-case hex", word.text));
    }
    if (!hex && digits.size() > 1 && digits.front() == '0') {
        line.fail(word.where,
                  fmt::format("'{}' starts with 0, which other languages read as octal", word.text));
    }
    std::uint64_t value = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10);
    if (result.ec != std::errc{}) {
        line.fail(word.where, fmt::format("'{}' does not fit 64 bits", word.text));
    }
    return value;
}

namespace {

std::uint64_t parse_term(const Policy& policy, const Line& line, Word word) {
    if (!word.text.empty() && word.text.front() >= '0' && word.text.front() <= '9') {
        return parse_number(line, word);
    }
    const auto own = std::find_if(policy.consts.begin(), policy.consts.end(),
                                  [&](const Const& c) { return c.name == word.text; });
    if (own != policy.consts.end()) {
        return own->operand.value;
    }
    if (const auto value = constant_named(word.text)) {
        return *value;
    }
    if (word.text.empty()) {
        line.fail(word.where, "expected a number or a constant");
    }
    auto known = all_constants();
    for (const auto& c : policy.consts) {
        known.insert(known.begin(), c.name);
    }
    if (const auto differs = differs_by_processor(word.text); !differs.empty()) {
        line.fail(word.where,
                  fmt::format("'{}' is {}: write the number of the processor that the policy is for",
                              word.text, differs));
    }
    line.fail(word.where, fmt::format("unknown constant '{}'{}", word.text, did_you_mean(word.text, known)));
}

Operand parse_parameter(const Policy& policy, const Line& line, Word word) {
    const auto name = word.text.substr(1);
    const auto param = std::find_if(policy.params.begin(), policy.params.end(),
                                    [name](const Param& p) { return p.name == name; });
    if (param == policy.params.end()) {
        std::vector<std::string_view> known;
        for (const auto& p : policy.params) {
            known.emplace_back(p.name);
        }
        auto hint = did_you_mean(name, known);
        if (!hint.empty()) {
            hint.insert(hint.find(nearest(name, known), 2), "$");
        }
        line.fail(word.where, fmt::format("unknown parameter '{}'{}", word.text, hint));
    }
    return {.value = 0,
            .param = static_cast<std::size_t>(param - policy.params.begin()),
            .text = std::string{word.text}};
}

} // namespace

Operand parse_operand(const Policy& policy, const Line& line, Word word) {
    if (!word.text.empty() && word.text.front() == '$') {
        return parse_parameter(policy, line, word);
    }
    const auto part = [&](std::size_t from, std::size_t to) {
        return Word{word.text.substr(from, to - from),
                    {word.where.line, word.where.column + static_cast<unsigned>(from)}};
    };
    Operand operand;
    operand.text = word.text;
    if (const auto plus = word.text.find('+'); plus != std::string_view::npos) {
        const auto offset = parse_number(line, part(plus + 1, word.text.size()));
        operand.value = parse_term(policy, line, part(0, plus));
        if (__builtin_add_overflow(operand.value, offset, &operand.value)) {
            line.fail(word.where, fmt::format("'{}' does not fit 64 bits", word.text));
        }
        return operand;
    }
    for (std::size_t from = 0; from <= word.text.size();) {
        const auto to = std::min(word.text.find('|', from), word.text.size());
        operand.value |= parse_term(policy, line, part(from, to));
        from = to + 1;
    }
    return operand;
}

Pattern parse_pattern(const Policy& policy, Line& line) {
    Pattern pattern;
    auto word = line.take("a system call");
    auto name = word.text;
    if (const auto colon = name.find(':'); colon != std::string_view::npos) {
        pattern.abi = abi_named(name.substr(0, colon));
        if (!pattern.abi) {
            line.fail(word.where, fmt::format("unknown ABI '{}': x86_64, aarch64, x32 and i386 are known",
                                              name.substr(0, colon)));
        }
        name.remove_prefix(colon + 1);
        word.where.column += static_cast<unsigned>(colon + 1);
    }
    const auto first_abi = pattern.abi.value_or(abi_of(policy.archs.front()));
    const bool digits = !name.empty() && name.front() >= '0' && name.front() <= '9';
    if (name == "syscall" || digits) {
        if (!digits) {
            word = line.take("the number of a system call");
        }
        const auto number = parse_number(line, digits ? Word{name, word.where} : word);
        if (number > 0x7fffffff) {
            line.fail(word.where, "a call's number has 31 bits");
        }
        pattern.name = call_name(first_abi, static_cast<std::uint32_t>(number));
        pattern.abi = first_abi; // a number is one of an ABI
        name = pattern.name;
    }
    const auto known = [&](Arch arch) {
        const auto abis = policy.abis(arch);
        return std::any_of(abis.begin(), abis.end(),
                           [&](Abi abi) { return number_of(abi, name).has_value(); });
    };
    if (pattern.abi ? !number_of(*pattern.abi, name)
                    : std::none_of(policy.archs.begin(), policy.archs.end(), known)) {
        line.fail(word.where, not_a_call(name, first_abi));
    }
    pattern.name = name;
    if (line.done()) {
        return pattern;
    }
    if (pattern.abi && *pattern.abi > Abi::aarch64 &&
        std::find(policy.also.begin(), policy.also.end(), *pattern.abi) == policy.also.end()) {
        line.fail(line.peek().where,
                  fmt::format("a call of {} has no arguments here: it is refused by its ABI",
                              to_string(*pattern.abi)));
    }
    pattern.prototype = prototype_of(name);
    if (pattern.prototype == nullptr) {
        line.fail(line.peek().where,
                  fmt::format("the prototype of '{}' is not known: leave its arguments out", name));
    }
    const auto& parameters = pattern.prototype->parameters;
    pattern.arguments.resize(parameters.size());
    while (!line.done()) {
        word = line.take("an argument");
        const auto equals = word.text.find('=');
        const auto argument = word.text.substr(0, equals);
        const auto found = std::find_if(parameters.begin(), parameters.end(),
                                        [argument](const Parameter& p) { return p.name == argument; });
        if (equals == std::string_view::npos || found == parameters.end()) {
            std::vector<std::string_view> names;
            names.reserve(parameters.size());
            for (const auto& p : parameters) {
                names.push_back(p.name);
            }
            line.fail(word.where, equals == std::string_view::npos
                                      ? fmt::format("expected ARGUMENT=VALUE, found '{}'", word.text)
                                      : fmt::format("{} has no argument '{}'{}", name, argument,
                                                    did_you_mean(argument, names)));
        }
        auto& slot = pattern.arguments[static_cast<std::size_t>(found - parameters.begin())];
        if (slot) {
            line.fail(word.where, fmt::format("'{}' is given twice", argument));
        }
        slot = parse_operand(policy, line,
                             {word.text.substr(equals + 1),
                              {word.where.line, word.where.column + static_cast<unsigned>(equals + 1)}});
    }
    return pattern;
}

} // namespace cloister::policy
