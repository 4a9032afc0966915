// SPDX-License-Identifier: MIT
#pragma once

#include "policy/policy.h"

/// The words of one line, and operands. Internal to the parser.
namespace cloister::policy {

struct Word {
    std::string_view text;
    Where where;
};

/// The words of one statement, taken one by one. Errors are thrown; parse() and parse_pattern() catch them.
class Line {
  public:
    Line(const Policy& policy, std::string_view text, unsigned number);

    [[nodiscard]] bool done() const { return next_ == words_.size(); }
    [[nodiscard]] const Word& peek() const { return words_[next_]; }
    /// The next word; an error "expected WHAT" where there is none.
    const Word& take(std::string_view what);
    ///   reason    = text to the end of the line, not empty
    [[nodiscard]] std::string_view reason() const { return reason_; }
    void require_reason() const;
    /// Nothing may follow.
    void finish() const;
    [[noreturn]] void fail(Where where, std::string message) const;
    /// Where the next word would stand.
    [[nodiscard]] Where end() const { return done() ? end_ : peek().where; }

  private:
    const Policy& policy_;
    std::vector<Word> words_;
    std::size_t next_ = 0;
    std::string_view reason_;
    Where reason_where_;
    Where end_;
};

///   operand   = "$" name | term { "|" term } | term "+" number
///   term      = number | CONSTANT
[[nodiscard]] Operand parse_operand(const Policy& policy, const Line& line, Word word);
///   number    = "0" | decimal digits without a leading zero | "0x" lower-case hex digits
/// At most 64 bits.
[[nodiscard]] std::uint64_t parse_number(const Line& line, Word word);
///   pattern   = [ abi ":" ] ( syscall | number ) { name "=" operand }
///   abi       = "x86_64" | "aarch64" | "x32" | "i386"
[[nodiscard]] Pattern parse_pattern(const Policy& policy, Line& line);
/// ". Did you mean NAME?", or nothing
[[nodiscard]] std::string did_you_mean(std::string_view name,
                                       const std::vector<std::string_view>& candidates);
/// Why that name is no call of that ABI, and what to write instead.
[[nodiscard]] std::string not_a_call(std::string_view name, Abi abi);

} // namespace cloister::policy
