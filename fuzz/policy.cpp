// SPDX-License-Identifier: MIT
//
// The input is the text of a policy. What parses must, formatted, parse again and say the same, and
// formatting it once more must change nothing. What does not parse must be refused with an error that points
// into the text.
#include "policy/policy.h"

#include "harness.h"

#include <algorithm>

namespace cloister::policy {
namespace {

// Where something stands may change (blank lines go), and what it says may not.
bool same(const Operand& a, const Operand& b) {
    return a.value == b.value && a.param == b.param && a.text == b.text;
}
bool same(const Condition& a, const Condition& b) {
    return a.op == b.op && same(a.operand, b.operand);
}
bool same(const std::optional<Operand>& a, const std::optional<Operand>& b) {
    return a.has_value() == b.has_value() && (!a || same(*a, *b));
}
bool same(const Param& a, const Param& b) {
    return a.name == b.name && a.reason == b.reason;
}
bool same(const Const& a, const Const& b) {
    return a.name == b.name && a.reason == b.reason && same(a.operand, b.operand);
}
bool same(const Rule& a, const Rule& b);
bool same(const Test& a, const Test& b);
template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const T& x, const T& y) { return same(x, y); });
}
bool same(const Rule& a, const Rule& b) {
    return a.action == b.action && a.prototype == b.prototype && a.reason == b.reason &&
           same(a.conditions, b.conditions);
}
bool same(const Test& a, const Test& b) {
    return a.expected == b.expected && a.pattern.abi == b.pattern.abi && a.pattern.name == b.pattern.name &&
           a.pattern.prototype == b.pattern.prototype && same(a.pattern.arguments, b.pattern.arguments);
}
bool same(const Policy& a, const Policy& b) {
    return a.name == b.name && a.version == b.version && a.under == b.under && a.at == b.at &&
           a.archs == b.archs && a.otherwise == b.otherwise && same(a.params, b.params) &&
           same(a.consts, b.consts) && same(a.rules, b.rules) && same(a.tests, b.tests);
}

std::size_t longest_piece(std::string_view text, std::string_view separators) {
    std::size_t longest = 0;
    while (!text.empty()) {
        const auto end = std::min(text.find_first_of(separators), text.size());
        longest = std::max(longest, end);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return longest;
}

void check_error(std::string_view text, const Error& error) {
    const auto lines = static_cast<unsigned>(std::count(text.begin(), text.end(), '\n')) + 1;
    if (error.line == 0 || error.line > lines || error.column == 0 || error.column > max_line_length + 1 ||
        error.message.empty() || error.text().empty()) {
        fuzz::broken("an error that points nowhere: " + error.text());
    }
}

} // namespace
} // namespace cloister::policy

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cloister;
    using namespace cloister::policy;
    const std::string text{data, data + size};
    constexpr std::size_t longest_word = 48; // what it might have meant is looked for at length
    if (longest_piece(text, " \n") > longest_word) {
        return 0;
    }
    const auto policy = parse(text, "input");
    if (!policy) {
        check_error(text, policy.error());
        return 0;
    }
    const auto once = format(*policy);
    if (longest_piece(once, "\n") > max_line_length) {
        return 0; // what is written close to the limit may be put beyond it
    }
    const auto again = parse(once, "formatted");
    if (!again) {
        fuzz::broken("the formatted policy does not parse: " + again.error().text());
    }
    if (!same(*policy, *again) || warnings(*policy).size() != warnings(*again).size()) {
        fuzz::broken("the formatted policy says something else:\n" + once);
    }
    if (const auto twice = format(*again); twice != once) {
        fuzz::broken("formatted once:\n" + once + "twice:\n" + twice);
    }
    return 0;
}
