// SPDX-License-Identifier: MIT
// Language version 1. One statement per line; '#' comment lines and blank lines anywhere; printable ASCII.
// The grammar stands above the functions that parse it. tests/docs/grammar compares it with docs/POLICY.md.
//   file      = header { param | const | rule | test }
#include "policy/line.h"
#include "policy/sha256.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace cloister::policy {
namespace {

constexpr std::array<std::string_view, 6> header_keys = {"policy", "syntax", "under", "at", "arch", "else"};
constexpr std::size_t under_key = 2; // these two may be left out
constexpr std::size_t at_key = 3;
constexpr std::size_t arch_key = 4;
constexpr std::array<std::string_view, 8> action_names = {
    "kill-process", "kill-thread", "trap", "errno", "notify", "trace", "log", "allow"}; // as Action::Kind
constexpr std::array<std::pair<std::string_view, Op>, 5> operators = {
    {{"==", Op::eq}, {"!=", Op::ne}, {"<=", Op::le}, {">=", Op::ge}, {"in", Op::in}}};
constexpr std::string_view half_mark = "32"; // behind an operator

//   name      = a lower-case letter { lower-case letter | digit | "-" | "_" }
//   CONSTANT  = an upper-case letter { upper-case letter | digit | "_" }
bool is_name(std::string_view text, bool upper) {
    const auto letter = [upper](char c) { return upper ? c >= 'A' && c <= 'Z' : c >= 'a' && c <= 'z'; };
    return !text.empty() && letter(text.front()) && std::all_of(text.begin(), text.end(), [&](char c) {
        return letter(c) || (c >= '0' && c <= '9') || c == '_' || (c == '-' && !upper);
    });
}

class Parser {
  public:
    Parser(std::string_view text, std::string_view file) {
        policy_.text = text;
        policy_.file = file;
        policy_.sha256 = sha256_hex(text);
    }

    Policy run() {
        std::string_view rest = policy_.text;
        unsigned number = 0;
        while (!rest.empty()) {
            const auto end = std::min(rest.find('\n'), rest.size());
            check_bytes(rest.substr(0, end), ++number);
            const Line line{policy_, rest.substr(0, end), number};
            // The first word makes a line a comment; a ':' in it is then no reason.
            const auto first = rest.substr(0, end).find_first_not_of(' ');
            if (first < end && rest[first] != '#') {
                statement(line);
            }
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
        if (header_ != header_keys.size()) {
            throw policy_.error_at({std::max(number, 1U), 1},
                                   fmt::format("the file ends before '{}'", wanted_header()));
        }
        resolve_at();
        return std::move(policy_);
    }

  private:
    void check_bytes(std::string_view line, unsigned number) const {
        if (line.size() > max_line_length) {
            throw policy_.error_at({number, static_cast<unsigned>(max_line_length + 1)},
                                   fmt::format("the line is longer than {} characters", max_line_length));
        }
        const auto bad = std::find_if(line.begin(), line.end(), [](char c) { return c < ' ' || c > '~'; });
        if (bad == line.end()) {
            return;
        }
        const auto byte = static_cast<unsigned char>(*bad);
        const auto* what = byte == 0      ? "a NUL byte"
                           : byte == '\r' ? "a carriage return: lines end in a line feed alone"
                           : byte == '\t' ? "a tab: write spaces"
                                          : nullptr;
        throw policy_.error_at({number, static_cast<unsigned>(bad - line.begin() + 1)},
                               what != nullptr ? what
                                               : fmt::format("byte 0x{:02x} is not printable ASCII", byte));
    }

    [[nodiscard]] std::string_view wanted_header() const {
        return header_keys.at(header_ == under_key || header_ == at_key ? arch_key : header_);
    }

    //   header    = policy syntax [ under ] [ at ] arch else
    void statement(Line line) {
        const auto word = line.take("a statement");
        const auto* const key = std::find(header_keys.begin(), header_keys.end(), word.text);
        if (key != header_keys.end()) {
            header(line, word, static_cast<std::size_t>(key - header_keys.begin()));
        } else if (word.text != "param" && word.text != "const" && word.text != "test" &&
                   std::find(action_names.begin(), action_names.end(), word.text) == action_names.end()) {
            std::vector<std::string_view> keys{header_keys.begin(), header_keys.end()};
            keys.insert(keys.end(), {"param", "const", "test"});
            keys.insert(keys.end(), action_names.begin(), action_names.end());
            line.fail(word.where,
                      fmt::format("unknown statement '{}'{}", word.text, did_you_mean(word.text, keys)));
        } else if (header_ != header_keys.size()) {
            line.fail(word.where, fmt::format("expected '{}' before '{}'", wanted_header(), word.text));
        } else if (word.text == "param") {
            param(line);
        } else if (word.text == "const") {
            constant(line);
        } else if (word.text == "test") {
            test(line, word.where);
        } else {
            rule(line, word);
        }
    }

    void header(Line& line, Word word, std::size_t key) {
        if (header_lines_.at(key) != 0) {
            line.fail(word.where,
                      fmt::format("'{}' is already given on line {}", word.text, header_lines_.at(key)));
        }
        if (key < header_) { // one of the two that may be left out, too late
            const auto next = key == under_key && header_lines_.at(at_key) != 0 ? at_key : arch_key;
            line.fail(word.where, fmt::format("'{}' belongs to the header, before '{}'", word.text,
                                              header_keys.at(next)));
        }
        if (key > header_ && header_keys.at(key) != wanted_header() &&
            !(header_ == under_key && key == at_key)) {
            line.fail(word.where, fmt::format("expected '{}' before '{}'", wanted_header(), word.text));
        }
        header_lines_.at(key) = word.where.line;
        header_ = key + 1;
        switch (key) {
        case 0:
            title(line);
            break;
        case 1:
            syntax(line);
            break;
        case 2:
            policy_.under_where = line.end();
            policy_.under = policy_name(line);
            break;
        case 3:
            at(line);
            break;
        case 4:
            archs(line);
            break;
        default:
            otherwise(line);
        }
        if (!line.reason().empty()) {
            line.fail(line.end(), "unexpected ':': only param, const and rules have a reason");
        }
        line.finish();
    }

    //   under     = "under" name
    std::string policy_name(Line& line) const {
        const auto word = line.take("the name of a policy");
        if (!is_name(word.text, false)) {
            line.fail(word.where,
                      fmt::format("'{}' is not a name: lower-case letters, digits, '-' and '_'", word.text));
        }
        return std::string{word.text};
    }

    //   policy    = "policy" name number
    void title(Line& line) {
        policy_.name = policy_name(line);
        const auto word = line.take("a version");
        const auto version = parse_number(line, word);
        if (version == 0 || version > 0x7fffffff) {
            line.fail(word.where, "a version is between 1 and 2147483647");
        }
        policy_.version = static_cast<unsigned>(version);
    }

    //   syntax    = "syntax" "1"
    static void syntax(Line& line) {
        const auto word = line.take("the version of the language, 1");
        if (word.text != "1") {
            line.fail(word.where, fmt::format("syntax '{}' is not known: only version 1 is", word.text));
        }
    }

    //   at        = "at" "$" name
    // The parameter may be defined further down.
    void at(Line& line) {
        at_ = line.take("a parameter, such as $listener_return");
        if (at_.text.front() != '$' || !is_name(at_.text.substr(1), false)) {
            line.fail(at_.where, fmt::format("'{}' is not a parameter: '$' and a lower-case name", at_.text));
        }
        policy_.at_where = at_.where;
    }
    void resolve_at() {
        if (!at_.text.empty()) {
            policy_.at = parse_operand(policy_, Line{policy_, {}, at_.where.line}, at_).param;
        }
    }

    //   arch      = "arch" processor { processor }
    //   processor = "x86_64" | "aarch64" | "i386" | "x32"
    void archs(Line& line) {
        Word further;
        do {
            const auto word = line.take("x86_64 or aarch64");
            const auto abi = abi_named(word.text);
            if (!abi) {
                line.fail(word.where,
                          fmt::format("'{}' cannot be listed: x86_64, aarch64, i386 and x32 can", word.text));
            }
            const auto arch = arch_named(word.text);
            if (std::find(policy_.also.begin(), policy_.also.end(), *abi) != policy_.also.end() ||
                (arch &&
                 std::find(policy_.archs.begin(), policy_.archs.end(), *arch) != policy_.archs.end())) {
                line.fail(word.where, fmt::format("'{}' is listed twice", word.text));
            }
            if (arch) {
                policy_.archs.push_back(*arch);
            } else {
                policy_.also.push_back(*abi);
                further = word;
            }
        } while (!line.done());
        if (!policy_.also.empty() &&
            std::find(policy_.archs.begin(), policy_.archs.end(), Arch::x86_64) == policy_.archs.end()) {
            line.fail(further.where,
                      fmt::format("'{}' is an ABI of the kernel for x86_64: list that, too", further.text));
        }
    }

    //   else      = "else" action [ "abi" action ]
    // The second is for calls of ABIs that are not listed.
    void otherwise(Line& line) {
        policy_.otherwise = action(line, line.take("kill-process"));
        policy_.foreign = policy_.otherwise;
        if (!line.done() && line.peek().text == "abi") {
            (void)line.take("abi");
            policy_.foreign = action(line, line.take("the action for calls of other ABIs"));
        }
    }

    //   action    = "allow" | "log" | "trace" [ number ] | "notify" | "errno" ( ERRNO | number )
    //             | "trap" [ number ] | "kill-thread" | "kill-process"
    //   ERRNO     = the name of an error in errno(3), such as EPERM
    static Action action(Line& line, Word word) {
        const auto* const found = std::find(action_names.begin(), action_names.end(), word.text);
        if (found == action_names.end()) {
            line.fail(word.where, fmt::format("unknown action '{}': {} are known", word.text,
                                              fmt::join(action_names, ", ")));
        }
        Action action{static_cast<Action::Kind>(found - action_names.begin())};
        const auto is_number = [](std::string_view text) {
            return text.front() >= '0' && text.front() <= '9';
        };
        if (action.kind == Action::Kind::errno_code) {
            const auto name = line.take("the name of an error, such as EPERM");
            if (is_number(name.text)) {
                action.code = code(line, name, 4095, "an errno");
            } else if (const auto code = errno_named(name.text)) {
                action.code = *code;
            } else {
                line.fail(name.where, fmt::format("unknown error '{}'{}", name.text,
                                                  did_you_mean(name.text, all_errnos())));
            }
        } else if ((action.kind == Action::Kind::trap || action.kind == Action::Kind::trace) &&
                   !line.done() && is_number(line.peek().text)) {
            action.code = code(line, line.take("a number"), 0xffff, "what a filter hands over");
        }
        return action;
    }
    static std::uint16_t code(const Line& line, Word word, std::uint16_t most, std::string_view what) {
        const auto number = parse_number(line, word);
        if (number > most) {
            line.fail(word.where, fmt::format("{} is at most {}", what, most));
        }
        return static_cast<std::uint16_t>(number);
    }

    //   param     = "param" "$" name ( "addr" | "size" ) ":" reason
    void param(Line& line) {
        const auto word = line.take("a parameter, such as $buffer");
        if (word.text.front() != '$' || !is_name(word.text.substr(1), false)) {
            line.fail(word.where,
                      fmt::format("'{}' is not a parameter: '$' and a lower-case name", word.text));
        }
        const std::string name{word.text.substr(1)};
        for (const auto& other : policy_.params) {
            if (other.name == name) {
                line.fail(word.where,
                          fmt::format("'${}' is already defined on line {}", name, other.where.line));
            }
        }
        if (policy_.params.size() == max_params) {
            line.fail(word.where, fmt::format("more than {} parameters", max_params));
        }
        if (const auto type = line.take("the type, addr or size");
            type.text != "addr" && type.text != "size") {
            line.fail(type.where, fmt::format("unknown type '{}': addr and size are known", type.text));
        }
        line.finish();
        line.require_reason();
        policy_.params.push_back({name, std::string{line.reason()}, word.where});
    }

    //   const     = "const" CONSTANT operand ":" reason
    void constant(Line& line) {
        const auto word = line.take("a constant, such as SIZE");
        if (!is_name(word.text, true)) {
            line.fail(word.where,
                      fmt::format("'{}' is not a constant: upper-case letters, digits and '_'", word.text));
        }
        for (const auto& other : policy_.consts) {
            if (other.name == word.text) {
                line.fail(word.where,
                          fmt::format("'{}' is already defined on line {}", word.text, other.where.line));
            }
        }
        const auto value = line.take("a value");
        auto operand = parse_operand(policy_, line, value);
        if (operand.param) {
            line.fail(value.where, "a constant cannot be a parameter");
        }
        if (const auto kernels = constant_named(word.text); kernels && *kernels != operand.value) {
            line.fail(word.where,
                      fmt::format("'{}' is a constant of the kernel, and is 0x{:x}", word.text, *kernels));
        }
        line.finish();
        line.require_reason();
        policy_.consts.push_back(
            {std::string{word.text}, std::move(operand), std::string{line.reason()}, word.where});
    }

    //   rule      = action [ abi ":" ] syscall { argument } [ "any" ] ":" reason
    //   syscall   = the kernel's name of a system call | "syscall" numbers
    // After kill-process a reason may be left out. A last "any" stands for all arguments that are not named.
    void rule(Line& line, Word first) {
        Rule rule;
        rule.where = first.where;
        rule.action = action(line, first);
        auto name = line.take("a system call");
        if (const auto colon = name.text.find(':'); colon != std::string_view::npos) {
            rule.abi = listed_abi(line, {name.text.substr(0, colon), name.where});
            name.text.remove_prefix(colon + 1);
            name.where.column += static_cast<unsigned>(colon + 1);
        }
        rule.name = name.text;
        if (name.text == "syscall") {
            numbered(line, rule);
        } else if (!rule.abi) {
            expect_call(line, rule.name, name.where);
        } else if (!number_of(*rule.abi, rule.name)) {
            line.fail(name.where, not_a_call(rule.name, *rule.abi));
        }
        rule.prototype =
            prototype_of(rule.numbers ? fmt::format("syscall {}", rule.numbers->first) : rule.name);
        if (rule.prototype == nullptr) {
            line.fail(name.where,
                      fmt::format("the prototype of '{}' is not known here, so no rule can name its "
                                  "arguments",
                                  rule.name));
        }
        const auto& parameters = rule.prototype->parameters;
        for (std::size_t next = 0; next < parameters.size();) {
            if (!line.done() && line.peek().text == "any") {
                (void)line.take("any");
                for (; next < parameters.size(); ++next) {
                    Condition condition;
                    condition.parameter = next;
                    condition.where = line.end();
                    rule.conditions.push_back(condition);
                }
                break;
            }
            rule.conditions.push_back(condition(line, *rule.prototype, next));
            if (line.done() || line.peek().text != parameters[next].name) {
                ++next; // else it has one more condition
            }
        }
        if (!line.done()) {
            line.fail(line.peek().where,
                      fmt::format("unexpected '{}': {} has {} argument{}", line.peek().text, rule.name,
                                  parameters.size(), parameters.size() == 1 ? "" : "s"));
        }
        for (const auto& condition : rule.conditions) {
            expect_whole(line, rule, condition);
        }
        line.finish();
        if (rule.action.kind != Action::Kind::kill_process) {
            line.require_reason();
        }
        rule.reason = line.reason();
        check_call_site(line, rule, name);
        policy_.rules.push_back(std::move(rule));
    }

    [[nodiscard]] Abi listed_abi(const Line& line, Word word) const {
        const auto abi = abi_named(word.text);
        for (const auto arch : policy_.archs) {
            for (const auto listed : policy_.abis(arch)) {
                if (abi == listed) {
                    return listed;
                }
            }
        }
        line.fail(word.where, fmt::format("'{}' is not listed by 'arch'", word.text));
    }

    //   numbers   = number [ ".." number ]
    void numbered(Line& line, Rule& rule) const {
        const auto word = line.take("the number of a system call, or two: 335..423");
        const auto dots = word.text.find("..");
        const auto part = [&](std::size_t from, std::size_t to) {
            return parse_number(line, {word.text.substr(from, to - from),
                                       {word.where.line, word.where.column + static_cast<unsigned>(from)}});
        };
        const auto first = part(0, std::min(dots, word.text.size()));
        const auto last = dots == std::string_view::npos ? first : part(dots + 2, word.text.size());
        if (last > 0xffffffff || (dots == std::string_view::npos && first > 0x7fffffff)) {
            line.fail(word.where, "a call's number has 32 bits, and without x32's bit 31");
        }
        if (last < first) {
            line.fail(word.where, "the second number is smaller than the first");
        }
        rule.name = fmt::format("syscall {}", word.text);
        if (dots == std::string_view::npos) {
            rule.name = fmt::format("syscall {}", first);
        } else {
            rule.numbers = {static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(last)};
        }
        for (const auto arch : policy_.archs) {
            for (const auto abi : policy_.abis(arch)) {
                if (rule.abi.value_or(abi) == abi) {
                    expect_nameless(line, abi, static_cast<std::uint32_t>(first),
                                    static_cast<std::uint32_t>(last), word.where,
                                    dots == std::string_view::npos && abi == Abi::x32 ? x32_bit : 0);
                }
            }
        }
    }

    // Some ABIs have some arguments in two registers, or in memory.
    void expect_whole(const Line& line, const Rule& rule, const Condition& condition) const {
        for (const auto arch : policy_.archs) {
            for (const auto abi : policy_.abis(arch)) {
                if (condition.op != Op::any && rule.abi.value_or(abi) == abi && number_of(abi, rule.name) &&
                    !rule.prototype->has(condition.parameter, abi)) {
                    line.fail(
                        condition.where,
                        fmt::format(
                            "on {} no register holds '{}' of {} as a whole: only 'any' can be said of it",
                            to_string(abi), rule.parameter_of(condition).name, rule.name));
                }
            }
        }
    }

    // What looks at rules goes by names.
    static void expect_nameless(const Line& line, Abi abi, std::uint32_t first, std::uint32_t last,
                                Where where, std::uint32_t bit) {
        for (const auto name : all_names(abi)) {
            if (const auto number = number_of(abi, name).value();
                number >= (first | bit) && number <= (last | bit)) {
                line.fail(where, fmt::format("the call {} of {} has a name: write {}", number & ~bit,
                                             to_string(abi), name));
            }
        }
    }

    // It exists on each processor that is listed; where further ABIs are listed, in one of them all.
    void expect_call(const Line& line, std::string_view name, Where where) const {
        for (const auto arch : policy_.archs) {
            const auto abis = policy_.abis(arch);
            if (std::none_of(abis.begin(), abis.end(),
                             [&](Abi abi) { return number_of(abi, name).has_value(); })) {
                line.fail(where, not_a_call(name, abi_of(arch)));
            }
        }
    }

    //   argument  = name ( "any" | op operand | ( "&" | "&32" ) operand ( "==" | "!=" ) operand )
    //   op        = "==" | "!=" | "<=" | ">=" | "in" | "==32" | "!=32" | "<=32" | ">=32" | "in32"
    Condition condition(Line& line, const Prototype& prototype, std::size_t index) const {
        const auto& parameter = prototype.parameters.at(index);
        const auto missing = fmt::format("the argument '{}' of {} ('{} any' if it may be anything)",
                                         parameter.name, prototype.name, parameter.name);
        const auto name = line.take(missing);
        if (name.text != parameter.name) {
            line.fail(name.where, fmt::format("expected {}, found '{}'", missing, name.text));
        }
        Condition condition;
        condition.parameter = index;
        condition.where = name.where;
        auto op = line.take("==, <=, >=, in, & or any");
        if (op.text == "any") {
            return condition;
        }
        const auto written = op.text;
        if (op.text.size() > half_mark.size() &&
            op.text.substr(op.text.size() - half_mark.size()) == half_mark) {
            condition.half = true;
            op.text.remove_suffix(half_mark.size());
        }
        const auto number = [&] {
            const auto value = line.take("a value");
            auto operand = parse_operand(policy_, line, value);
            if (operand.param && condition.op != Op::eq && condition.op != Op::ne && condition.op != Op::le &&
                condition.op != Op::ge) {
                line.fail(value.where, fmt::format("'{}' takes bits, not an address", written));
            }
            if ((parameter.narrow() && operand.param) ||
                (condition.half && (operand.param || operand.value > 0xffffffff))) {
                line.fail(
                    value.where,
                    condition.half
                        ? fmt::format("'{}' does not fit '{}', which compares 32 bits", value.text, written)
                        : fmt::format("'{}' does not fit '{}': the kernel reads only 32 bits of it and "
                                      "would not see the rest",
                                      value.text, parameter.name));
            }
            return operand;
        };
        if (op.text == "&") {
            condition.op = Op::masked;
            condition.mask = number();
            if (const auto equals = line.take("'==' or '!=', and the value of these bits");
                equals.text == "!=") {
                condition.op = Op::not_masked;
            } else if (equals.text != "==") {
                line.fail(equals.where,
                          fmt::format("expected '==' or '!=', and the value of the bits {}, found '{}'",
                                      condition.mask.text, equals.text));
            }
            const auto where = line.end();
            condition.operand = number();
            if ((condition.operand.value & ~condition.mask.value) != 0) {
                line.fail(where, fmt::format("'{}' has bits that {} has not", condition.operand.text,
                                             condition.mask.text));
            }
            return condition;
        }
        const auto* const known = std::find_if(operators.begin(), operators.end(),
                                               [&](const auto& pair) { return pair.first == op.text; });
        if (known == operators.end()) {
            line.fail(op.where,
                      fmt::format("unknown operator '{}': ==, !=, <=, >=, in, & and any are known, and "
                                  "all but any with 32 behind it",
                                  written));
        }
        condition.op = known->second;
        condition.operand = number();
        return condition;
    }

    // Rules for one call stand next to each other, so that a reader of one sees all.
    void check_call_site(const Line& line, const Rule& rule, Word name) const {
        if (policy_.rules.size() == max_rules) {
            line.fail(rule.where, fmt::format("more than {} rules", max_rules));
        }
        for (const auto& other : policy_.rules) {
            if (other.name != rule.name) {
                continue;
            }
            if (policy_.rules.back().name != rule.name) {
                line.fail(name.where,
                          fmt::format("the rules for {} stand next to each other: another one is on line {}",
                                      rule.name, other.where.line));
            }
            const auto same = [](const Condition& a, const Condition& b) {
                return a.parameter == b.parameter && a.op == b.op && a.half == b.half &&
                       a.operand.value == b.operand.value && a.operand.param == b.operand.param &&
                       a.mask.value == b.mask.value;
            };
            if (other.abi == rule.abi && std::equal(other.conditions.begin(), other.conditions.end(),
                                                    rule.conditions.begin(), rule.conditions.end(), same)) {
                line.fail(rule.where,
                          fmt::format("this rule repeats the conditions of line {}", other.where.line));
            }
        }
    }

    //   test      = "test" ( "kill" | action ) pattern
    // 'kill' is the else action.
    void test(Line& line, Where where) {
        Test test;
        test.where = where;
        const auto verdict = line.take("kill, or an action such as allow");
        if (verdict.text != "kill") {
            if (std::find(action_names.begin(), action_names.end(), verdict.text) == action_names.end()) {
                line.fail(verdict.where,
                          fmt::format("unknown verdict '{}': kill, for the else action, and {} are known",
                                      verdict.text, fmt::join(action_names, ", ")));
            }
            test.expected = action(line, verdict);
        }
        test.pattern = parse_pattern(policy_, line);
        if (!line.reason().empty()) {
            line.fail(line.end(), "unexpected ':': only param, const and rules have a reason");
        }
        line.finish();
        policy_.tests.push_back(std::move(test));
    }

    Policy policy_;
    Word at_;                ///< into policy_.text
    std::size_t header_ = 0; ///< how many of header_keys are behind us
    std::array<unsigned, header_keys.size()> header_lines_{};
};

} // namespace

tl::expected<Policy, Error> parse(std::string_view text, std::string_view file_name) {
    try {
        return Parser{text, file_name}.run();
    } catch (Error& error) {
        return tl::unexpected{std::move(error)};
    }
}

tl::expected<Pattern, Error> parse_pattern(const Policy& policy, std::string_view text) {
    Policy frame = policy; // it has the names of that policy, but errors point into the pattern
    frame.file = "call";
    frame.text = text;
    try {
        Line line{frame, frame.text, 1};
        auto pattern = parse_pattern(frame, line);
        line.finish();
        return pattern;
    } catch (Error& error) {
        return tl::unexpected{std::move(error)};
    }
}

} // namespace cloister::policy
