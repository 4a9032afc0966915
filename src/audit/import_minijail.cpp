// SPDX-License-Identifier: MIT
//
// minijail0(5). Two compilers read this language, and disagree: minijail0 itself (syscall_filter.c) and
// compile_seccomp_policy.py (tools/parser.py). "EXPRESSION; return N" returns N where the expression does not
// hold for the first, and where it holds for the second. Of two statements for one call the first counts for
// minijail0, where it accepts them at all; the second compiler tries one after the other.
#include "audit/draft.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <list>
#include <map>

namespace cloister::audit {
namespace {

struct Source {
    std::string file;
    std::string text;
    int depth = 0;
};

struct Token {
    enum class Type { word, number, symbol, path };
    Type type;
    std::string_view text;
    std::size_t offset;
};

/// There is no text, whatever the file means.
struct Refusal {
    std::string reason;
};

constexpr int max_includes = 10;
constexpr std::size_t max_clauses = 256;

bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '@';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/// The tokens of one statement, taken one by one.
class Statement {
  public:
    Statement(const Source& source, std::vector<Token> tokens, std::size_t end)
        : source_{source}, tokens_{std::move(tokens)}, end_{end} {}

    [[nodiscard]] bool done() const { return next_ == tokens_.size(); }
    [[nodiscard]] bool at(std::string_view text) const { return !done() && tokens_[next_].text == text; }
    [[nodiscard]] const Token& peek() const { return tokens_[next_]; }
    [[nodiscard]] std::size_t offset() const { return done() ? end_ : peek().offset; }
    bool accept(std::string_view text) {
        const bool here = at(text);
        next_ += here ? 1 : 0;
        return here;
    }
    const Token& take(std::string_view what) {
        if (done()) {
            fail(end_, fmt::format("expected {}", what));
        }
        return tokens_[next_++];
    }
    void expect(std::string_view text) {
        if (!accept(text)) {
            fail(offset(), fmt::format("expected '{}'", text));
        }
    }
    [[noreturn]] void fail(std::size_t offset, std::string message) const {
        throw error_at(source_.text, source_.file, offset, std::move(message));
    }
    [[nodiscard]] unsigned line() const {
        return error_at(source_.text, source_.file, tokens_.front().offset, "").line;
    }
    [[nodiscard]] const Source& source() const { return source_; }

  private:
    const Source& source_;
    std::vector<Token> tokens_;
    std::size_t end_;
    std::size_t next_ = 0;
};

using Clauses = std::vector<Tests>;

class Importer {
  public:
    Importer(const std::string& file, const ImportOptions& options) : options_{options} {
        draft_.model.name = options.name.empty() ? policy_name(file) : options.name;
        draft_.model.arch = options.arch;
        draft_.origin = fmt::format("Imported from the minijail policy {}", file.substr(file.rfind('/') + 1));
    }

    Draft run(std::string_view text, const std::string& file) {
        sources_.push_back({file, std::string{text}, 0});
        read(sources_.back());
        finish();
        return std::move(draft_);
    }

  private:
    void read(const Source& source) {
        std::vector<Token> tokens;
        for (std::size_t at = 0; at < source.text.size();) {
            const auto end = std::min(source.text.find('\n', at), source.text.size());
            tokenize(source, at, end, tokens);
            const bool continued = end > at && source.text[end - 1] == '\\';
            if (!continued && !tokens.empty()) {
                Statement statement{source, std::move(tokens), end};
                read(statement);
                tokens.clear();
            }
            at = end + 1;
        }
        if (!tokens.empty()) {
            throw error_at(source.text, source.file, source.text.size(),
                           "the last line is continued, and ends");
        }
    }

    static void tokenize(const Source& source, std::size_t at, std::size_t end, std::vector<Token>& tokens) {
        const std::string_view text{source.text};
        static constexpr std::string_view symbols[] = {"||", "&&", "==", "!=", "<=", ">=", "<",
                                                       ">",  "&",  "|",  "=",  ":",  ";",  ",",
                                                       "~",  "(",  ")",  "{",  "}",  "[",  "]"};
        while (at < end) {
            const auto rest = text.substr(at, end - at);
            const char c = rest.front();
            if (c == '#') {
                return;
            }
            if (c == ' ' || c == '\t' || c == '\r' || (c == '\\' && rest.size() == 1)) {
                ++at;
                continue;
            }
            std::size_t size = 0;
            auto type = Token::Type::symbol;
            if (c == '/' || rest.starts_with("./")) {
                type = Token::Type::path;
                size = std::min(rest.find_first_of(" \t\r"), rest.size());
            } else if (is_digit(c) || (c == '-' && rest.size() > 1 && is_digit(rest[1]))) {
                type = Token::Type::number;
                for (size = 1; size < rest.size() && is_word(rest[size]) && rest[size] != '-';) {
                    ++size;
                }
            } else if (c != '-' && is_word(c)) {
                type = Token::Type::word;
                for (size = 1; size < rest.size() && is_word(rest[size]);) {
                    ++size;
                }
            } else {
                for (const auto symbol : symbols) {
                    if (size == 0 && rest.starts_with(symbol)) {
                        size = symbol.size();
                    }
                }
            }
            if (size == 0) {
                throw error_at(text, source.file, at, "no token of a policy begins with this character");
            }
            tokens.push_back({type, rest.substr(0, size), at});
            at += size;
        }
    }

    //   statement = "@include" PATH | "@frequency" PATH | "@default" action | "@denylist" | calls ":" filter
    void read(Statement& statement) {
        const auto first = statement.peek();
        if (first.text == "@include") {
            (void)statement.take("@include");
            include(statement);
        } else if (first.text == "@frequency") {
            (void)statement.take("@frequency");
            (void)statement.take("a path");
        } else if (first.text == "@default") {
            (void)statement.take("@default");
            const auto at = statement.offset();
            const auto action = keyword(statement);
            if (!action || action->kind == Action::Kind::allow || action->kind == Action::Kind::log ||
                action->kind == Action::Kind::trace) {
                statement.fail(at, "expected kill-process, kill-thread, kill, trap or user-notify");
            }
            draft_.model.otherwise = *action;
        } else if (first.text == "@denylist") {
            python_alone(statement, first.offset, "@denylist");
            (void)statement.take("@denylist");
            draft_.model.otherwise = {Action::Kind::allow};
            denylist_ = true;
        } else {
            calls(statement);
        }
        if (!statement.done()) {
            statement.fail(statement.offset(),
                           fmt::format("unexpected '{}'", printable(statement.peek().text)));
        }
    }

    void python_alone(const Statement& statement, std::size_t offset, std::string_view what) const {
        if (options_.compiler == MinijailCompiler::minijail0) {
            statement.fail(offset,
                           fmt::format("minijail0 does not know '{}': it is of compile_seccomp_policy.py "
                                       "(--compiler python)",
                                       printable(what)));
        }
    }

    void include(Statement& statement) {
        const auto path = statement.take("a path that begins with / or ./");
        if (path.type != Token::Type::path) {
            statement.fail(path.offset, "a path begins with / or ./");
        }
        const int limit = options_.compiler == MinijailCompiler::minijail0 ? 1 : max_includes;
        if (statement.source().depth >= limit) {
            statement.fail(path.offset, "@include is nested too deep");
        }
        std::string name{path.text};
        const auto& file = statement.source().file;
        // minijail0 looks from its working directory, the other compiler from the file's.
        if (!name.starts_with('/') && options_.compiler != MinijailCompiler::minijail0 &&
            file.find('/') != std::string::npos) {
            name = file.substr(0, file.rfind('/') + 1) + name.substr(2);
        }
        auto content = options_.include ? options_.include(name)
                                        : tl::expected<std::string, std::string>{
                                              tl::unexpected{std::string{"no files are read here"}}};
        if (!content) {
            statement.fail(path.offset, fmt::format("{}: {}", name, content.error()));
        }
        if (sources_.size() >= 100) {
            statement.fail(path.offset, "more than 100 files");
        }
        sources_.push_back({name, std::move(*content), statement.source().depth + 1});
        read(sources_.back());
    }

    //   calls  = call | "{" call { "," call } "}"
    //   filter = single | "{" single { "," single } "}"
    void calls(Statement& statement) {
        const auto start = statement.offset();
        std::vector<std::string> names;
        if (statement.at("{")) {
            python_alone(statement, start, "{");
            (void)statement.take("{");
            do {
                call(statement, names);
            } while (statement.accept(","));
            statement.expect("}");
        } else {
            call(statement, names);
        }
        statement.expect(":");
        std::vector<Rule> rules;
        if (statement.at("{")) {
            python_alone(statement, statement.offset(), "{");
            (void)statement.take("{");
            do {
                single(statement, rules);
            } while (statement.accept(","));
            statement.expect("}");
        } else {
            single(statement, rules);
        }
        for (auto& rule : rules) {
            rule.reason = fmt::format(
                "line {} of {}", statement.line(),
                printable(statement.source().file.substr(statement.source().file.rfind('/') + 1)));
        }
        for (const auto& name : names) {
            auto& known = draft_.model.call(name).rules;
            if (!known.empty() && options_.compiler != MinijailCompiler::python) {
                if (options_.compiler == MinijailCompiler::minijail0) {
                    statement.fail(start,
                                   fmt::format("a second statement for {}: minijail0 refuses it", name));
                }
                throw Refusal{
                    fmt::format("line {}: a second statement for {}: minijail0 takes the first one alone, "
                                "if it takes them at all, and compile_seccomp_policy.py tries both; say "
                                "--compiler python or --compiler minijail0",
                                statement.line(), name)};
            }
            const auto whole = [](const Rule& rule) { return rule.tests.empty(); };
            if (std::any_of(known.begin(), known.end(), whole)) {
                statement.fail(start, fmt::format("{} has an unconditional action already", name));
            }
            known.insert(known.end(), rules.begin(), rules.end());
        }
    }

    //   call     = NAME [ "[" "arch" "=" NAME { "," NAME } "]" ]
    void call(Statement& statement, std::vector<std::string>& names) {
        const auto name = statement.take("a system call");
        if (name.type != Token::Type::word) {
            statement.fail(name.offset, "expected a system call");
        }
        bool here = true;
        if (statement.at("[")) {
            python_alone(statement, statement.offset(), "[");
            (void)statement.take("[");
            const auto key = statement.take("arch");
            if (key.text != "arch") {
                statement.fail(key.offset, "expected 'arch'");
            }
            statement.expect("=");
            here = false;
            do {
                const auto arch = statement.take("an architecture");
                if (arch.type != Token::Type::word) {
                    statement.fail(arch.offset, "expected an architecture, such as x86_64 or arm64");
                }
                here = here || arch.text == (options_.arch == policy::Arch::x86_64 ? "x86_64" : "arm64");
            } while (statement.accept(","));
            statement.expect("]");
        }
        if (!here) {
            return;
        }
        if (name.text.find('@') != std::string_view::npos) {
            statement.fail(name.offset,
                           "groups of calls are part of an installation of minijail, and not known here");
        }
        const auto abi = policy::abi_of(options_.arch);
        if (!exists(abi, name.text)) {
            const auto near = policy::nearest(name.text, policy::all_names(abi));
            statement.fail(name.offset,
                           fmt::format("'{}' is no system call on {}{}", printable(name.text), to_string(abi),
                                       near.empty() ? "" : fmt::format(". Did you mean {}?", near)));
        }
        names.emplace_back(name.text);
    }

    //   single = action | expression [ ";" action ]
    void single(Statement& statement, std::vector<Rule>& rules) {
        if (const auto whole =
                std::find_if(rules.begin(), rules.end(), [](const Rule& rule) { return rule.tests.empty(); });
            whole != rules.end()) {
            statement.fail(statement.offset(), "an unconditional action stands before");
        }
        if (!statement.done() && statement.peek().text.starts_with("arg")) {
            const auto start = statement.offset();
            const auto clauses = expression(statement);
            Action action{Action::Kind::allow};
            std::optional<Action> otherwise;
            if (statement.accept(";")) {
                const bool returns = statement.at("return");
                const auto at = statement.offset();
                action = this->action(statement);
                if (!returns) {
                    python_alone(statement, at, ";");
                } else if (options_.compiler == MinijailCompiler::minijail0) {
                    otherwise = action;
                    action = {Action::Kind::allow};
                } else if (options_.compiler == MinijailCompiler::unknown) {
                    throw Refusal{
                        fmt::format("line {}: 'EXPRESSION; return N' returns N where the expression does "
                                    "not hold for minijail0, and where it holds for "
                                    "compile_seccomp_policy.py; say --compiler minijail0 or --compiler "
                                    "python",
                                    error_at(statement.source().text, "", start, "").line)};
                }
            }
            for (const auto& tests : clauses) {
                rules.push_back({action, tests, "", 0});
            }
            if (otherwise) {
                rules.push_back({*otherwise, {}, "", 0});
            }
            return;
        }
        rules.push_back({action(statement), {}, "", 0});
    }

    //   action = "1" | "allow" | "kill-process" | … | "return" constant
    Action action(Statement& statement) {
        const auto first = statement.offset();
        if (denylist_ && !statement.at("return")) {
            statement.fail(first, "in a @denylist every action is 'return N'");
        }
        if (statement.accept("1")) {
            return {Action::Kind::allow};
        }
        if (statement.accept("return")) {
            const auto at = statement.offset();
            const auto code = constant(statement, true);
            constexpr std::uint64_t max_errno = 4095; // the kernel's MAX_ERRNO
            if (code > max_errno) {
                statement.fail(at, fmt::format("expected an error from 0 to {}", max_errno));
            }
            return {Action::Kind::errno_code, static_cast<std::uint16_t>(code)};
        }
        if (!statement.at("allow") && !statement.done()) {
            python_alone(statement, first, statement.peek().text);
        }
        const auto known = keyword(statement);
        if (!known) {
            statement.fail(first,
                           "expected an action: 1, allow, return N, kill-process, kill-thread, kill, trap, "
                           "trace, log or user-notify; or a condition on arg0 to arg5");
        }
        return *known;
    }

    std::optional<Action> keyword(Statement& statement) {
        static const std::map<std::string_view, Action> known = {
            {"allow", {Action::Kind::allow}},
            {"kill-process", {Action::Kind::kill_process}},
            {"kill-thread", {Action::Kind::kill_thread}},
            {"kill", {Action::Kind::kill_process}},
            {"trap", {Action::Kind::trap}},
            {"trace", {Action::Kind::trace}},
            {"log", {Action::Kind::log}},
            {"user-notify", {Action::Kind::notify}},
        };
        const auto word = statement.take("an action").text;
        const auto found = known.find(word);
        return found == known.end() ? std::nullopt : std::optional{found->second};
    }

    //   expression = clause { "||" clause }
    //   clause     = atom { "&&" atom }
    Clauses expression(Statement& statement) {
        Clauses all;
        do {
            Clauses clause{Tests{}};
            do {
                const auto start = statement.offset();
                const auto choices = atom(statement);
                Clauses product;
                for (const auto& left : clause) {
                    for (const auto& right : choices) {
                        product.push_back(left);
                        product.back().push_back(right);
                    }
                }
                clause = std::move(product);
                if (clause.size() > max_clauses) {
                    statement.fail(start, fmt::format("more than {} cases", max_clauses));
                }
            } while (statement.accept("&&"));
            all.insert(all.end(), clause.begin(), clause.end());
        } while (statement.accept("||"));
        return all;
    }

    //   atom = "arg0" … "arg5" ( "==" | "!=" | "<" | "<=" | ">" | ">=" | "&" | "in" ) value
    // As alternatives: "&" holds where one of several bits is set.
    Tests atom(Statement& statement) {
        const auto argument = statement.take("arg0 to arg5");
        if (argument.text.size() != 4 || !argument.text.starts_with("arg") || argument.text[3] < '0' ||
            argument.text[3] > '5') {
            statement.fail(argument.offset, "expected arg0 to arg5");
        }
        const auto index = static_cast<unsigned>(argument.text[3] - '0');
        const auto op = statement.take("an operator");
        if (op.text != "==" && op.text != "!=" && op.text != "<" && op.text != "<=" && op.text != ">" &&
            op.text != ">=" && op.text != "&" && op.text != "in") {
            statement.fail(op.offset, "expected ==, !=, <, <=, >, >=, & or in");
        }
        const auto operand = value(statement, 0);
        const Test never{index, Test::Op::masked, false, 1, 0};
        if (op.text == "==") {
            return {{index, Test::Op::eq, false, operand, 0}};
        }
        if (op.text == "!=") {
            return {{index, Test::Op::ne, false, operand, 0}};
        }
        if (op.text == "<=") {
            return {{index, Test::Op::le, false, operand, 0}};
        }
        if (op.text == ">=") {
            return {{index, Test::Op::ge, false, operand, 0}};
        }
        if (op.text == "<") {
            return {operand == 0 ? never : Test{index, Test::Op::le, false, operand - 1, 0}};
        }
        if (op.text == ">") {
            return {~operand == 0 ? never : Test{index, Test::Op::ge, false, operand + 1, 0}};
        }
        if (op.text == "in") {
            return {{index, Test::Op::masked, false, 0, ~operand}};
        }
        Tests bits;
        for (unsigned bit = 0; bit < 64; ++bit) {
            const auto one = std::uint64_t{1} << bit;
            if ((operand & one) != 0) {
                bits.push_back({index, Test::Op::masked, false, one, one});
            }
        }
        return bits.empty() ? Tests{never} : bits;
    }

    //   value = term { "|" term }
    //   term  = [ "~" ] ( "(" value ")" | constant )
    std::uint64_t value(Statement& statement, int depth) {
        std::uint64_t all = 0;
        do {
            const bool inverted = statement.accept("~");
            if (inverted && statement.at("~")) {
                statement.fail(statement.offset(), "'~' stands twice");
            }
            std::uint64_t term = 0;
            if (statement.at("(")) {
                constexpr int max_depth = 32;
                if (depth == max_depth) {
                    statement.fail(statement.offset(), "more than 32 parentheses in one another");
                }
                (void)statement.take("(");
                term = value(statement, depth + 1);
                statement.expect(")");
            } else {
                term = constant(statement, false);
            }
            all |= inverted ? ~term : term;
        } while (statement.accept("|"));
        return all;
    }

    // A number as strtol(3) reads it, or a constant of the kernel's headers.
    static std::uint64_t constant(Statement& statement, bool error) {
        const auto token = statement.take("a number or a constant");
        if (token.type == Token::Type::word) {
            if (const auto code = error ? policy::errno_named(token.text) : std::nullopt) {
                return *code;
            }
            const auto known = policy::constant_named(token.text);
            if (!known) {
                const auto near =
                    policy::nearest(token.text, error ? policy::all_errnos() : policy::all_constants());
                statement.fail(token.offset,
                               fmt::format("unknown constant '{}'{}", printable(token.text),
                                           near.empty() ? "" : fmt::format(". Did you mean {}?", near)));
            }
            return *known;
        }
        if (token.type != Token::Type::number) {
            statement.fail(token.offset, "expected a number or a constant");
        }
        auto digits = token.text;
        const bool negative = digits.front() == '-';
        digits.remove_prefix(negative ? 1 : 0);
        int base = 10;
        if (digits.starts_with("0x") || digits.starts_with("0X")) {
            base = 16;
            digits.remove_prefix(2);
        } else if (digits.size() > 1 && digits.front() == '0') {
            base = 8;
        }
        std::uint64_t number = 0;
        const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
        if (result.ec != std::errc{} || result.ptr != digits.data() + digits.size() ||
            (negative && number > std::uint64_t{1} << 63)) {
            statement.fail(token.offset, "expected a number of at most 64 bits");
        }
        return negative ? ~number + 1 : number;
    }

    void finish() {
        draft_.foreign = {Action::Kind::kill_process};
        draft_.notes.push_back(
            "'kill', the default and the answer to other ABIs are kill-process here, as with "
            "minijail0 on Linux 4.14 or later and with compile_seccomp_policy.py "
            "--use-kill-process; older ones kill the thread");
    }

    const ImportOptions& options_;
    Draft draft_;
    std::list<Source> sources_; ///< tokens point into them
    bool denylist_ = false;
};

} // namespace

tl::expected<Imported, policy::Error> import_minijail(std::string_view text, const std::string& file,
                                                      const ImportOptions& options) {
    try {
        return written(Importer{file, options}.run(text, file));
    } catch (const Refusal& refusal) {
        return Imported{Verdict::refused, {}, {refusal.reason}, {}};
    } catch (policy::Error& error) {
        return tl::unexpected{std::move(error)};
    }
}

} // namespace cloister::audit
