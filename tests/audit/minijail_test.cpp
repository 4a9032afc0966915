// SPDX-License-Identifier: MIT
#include "judge.h"
#include "policy/evaluate.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <linux/sched.h>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <sys/mman.h>
#include <sys/socket.h>

namespace cloister::audit {
namespace {

using Kind = policy::Action::Kind;

/// A second reading of the language, by splitting text: slow, without errors, and for files that are right.
class Reference {
  public:
    Reference(const std::string& directory, const std::string& file, bool python)
        : directory_{directory}, python_{python} {
        read(content(directory + file));
    }

    [[nodiscard]] policy::Action action(const std::string& call,
                                        const std::array<std::uint64_t, 6>& args) const {
        const auto statements = statements_.find(call);
        if (statements == statements_.end()) {
            return otherwise_;
        }
        for (const auto& filter : statements->second) {
            const auto semicolon = filter.find(';');
            const auto condition = filter.substr(0, semicolon);
            if (trim(filter).rfind("arg", 0) != 0) {
                return named(trim(filter));
            }
            const bool holds = any(condition, args);
            if (semicolon == std::string::npos) {
                if (holds) {
                    return {Kind::allow};
                }
            } else if (python_) {
                if (holds) {
                    return named(trim(filter.substr(semicolon + 1)));
                }
            } else {
                return holds ? policy::Action{Kind::allow} : named(trim(filter.substr(semicolon + 1)));
            }
        }
        return otherwise_;
    }
    [[nodiscard]] std::set<std::string> calls() const {
        std::set<std::string> all;
        for (const auto& [call, filters] : statements_) {
            all.insert(call);
        }
        return all;
    }
    /// The numbers and constants that the statements for a call compare with, and the arguments.
    [[nodiscard]] std::pair<std::set<std::uint64_t>, std::set<unsigned>>
    compared(const std::string& call) const {
        std::set<std::uint64_t> values{0, ~0ULL};
        std::set<unsigned> arguments;
        for (const auto& filter : statements_.at(call)) {
            const std::regex word{"-?\\b[A-Za-z0-9_]+"};
            for (std::sregex_iterator at{filter.begin(), filter.end(), word}, end; at != end; ++at) {
                const auto text = at->str();
                if (text.rfind("arg", 0) == 0) {
                    arguments.insert(static_cast<unsigned>(text[3] - '0'));
                } else if (constants().contains(text) ||
                           std::isdigit(static_cast<unsigned char>(text.back())) != 0) {
                    const auto one = value(text);
                    values.insert({one - 1, one, one + 1, ~one, one | 1ULL << 32, one | 1ULL << 63});
                }
            }
        }
        return {values, arguments};
    }

  private:
    static const std::map<std::string, std::uint64_t>& constants() {
#define NAMED(name)                                                                                          \
    { #name, static_cast < std::uint64_t>(name) }
        static const std::map<std::string, std::uint64_t> all = {
            NAMED(O_RDONLY),        NAMED(O_CLOEXEC),  NAMED(O_NONBLOCK),  NAMED(PROT_READ),
            NAMED(PROT_WRITE),      NAMED(PROT_EXEC),  NAMED(MAP_PRIVATE), NAMED(CLOCK_REALTIME),
            NAMED(CLOCK_MONOTONIC), NAMED(AF_UNIX),    NAMED(AF_INET),     NAMED(AF_INET6),
            NAMED(SOCK_STREAM),     NAMED(EACCES),     NAMED(EPERM),       NAMED(EAFNOSUPPORT),
            NAMED(EROFS),           NAMED(F_SETOWN),   NAMED(CLONE_VM),    NAMED(CLONE_THREAD),
            NAMED(CLONE_NEWUSER),   NAMED(CLONE_NEWNS)};
#undef NAMED
        return all;
    }
    static std::string trim(const std::string& text) {
        return std::regex_replace(text, std::regex{"^\\s+|\\s+$"}, "");
    }
    // At commas, or what `separator` is, outside of brackets.
    static std::vector<std::string> split(const std::string& text, const std::string& separator) {
        std::vector<std::string> parts{""};
        int depth = 0;
        for (std::size_t i = 0; i < text.size(); ++i) {
            depth += std::strchr("([{", text[i]) != nullptr   ? 1
                     : std::strchr(")]}", text[i]) != nullptr ? -1
                                                              : 0;
            if (depth == 0 && text.compare(i, separator.size(), separator) == 0) {
                parts.emplace_back();
                i += separator.size() - 1;
            } else {
                parts.back() += text[i];
            }
        }
        return parts;
    }
    static std::string unbraced(const std::string& text) {
        const auto inner = trim(text);
        return inner.front() == '{' ? inner.substr(1, inner.size() - 2) : inner;
    }
    void read(std::string text) {
        text = std::regex_replace(text, std::regex{"#[^\n]*"}, "");
        text = std::regex_replace(text, std::regex{"\\\\\n"}, " ");
        std::istringstream lines{text};
        for (std::string line; std::getline(lines, line);) {
            line = trim(line);
            if (line.empty() || line.rfind("@frequency", 0) == 0) {
                continue;
            }
            if (line.rfind("@include", 0) == 0) {
                read(content(directory_ + trim(line.substr(8)).substr(2)));
            } else if (line.rfind("@default", 0) == 0) {
                otherwise_ = named(trim(line.substr(8)));
            } else if (line == "@denylist") {
                otherwise_ = {Kind::allow};
            } else {
                const auto colon = split(line, ":");
                for (const auto& call : split(unbraced(colon.at(0)), ",")) {
                    std::smatch match;
                    const auto name = trim(call);
                    if (std::regex_match(name, match, std::regex{"(\\w+)\\[arch=(.*)\\]"})) {
                        const auto arches = split(match[2].str(), ",");
                        const auto* native = policy::native_arch == policy::Arch::x86_64 ? "x86_64" : "arm64";
                        if (std::find(arches.begin(), arches.end(), native) == arches.end()) {
                            continue;
                        }
                        add(match[1].str(), colon.at(1));
                    } else {
                        add(name, colon.at(1));
                    }
                }
            }
        }
    }
    void add(const std::string& call, const std::string& filters) {
        for (const auto& filter : split(unbraced(filters), ",")) {
            statements_[call].push_back(filter);
        }
    }
    static policy::Action named(const std::string& text) {
        static const std::map<std::string, Kind> all = {{"1", Kind::allow},
                                                        {"allow", Kind::allow},
                                                        {"kill-process", Kind::kill_process},
                                                        {"kill-thread", Kind::kill_thread},
                                                        {"kill", Kind::kill_process},
                                                        {"trap", Kind::trap},
                                                        {"trace", Kind::trace},
                                                        {"log", Kind::log},
                                                        {"user-notify", Kind::notify}};
        if (text.rfind("return", 0) == 0) {
            return {Kind::errno_code, static_cast<std::uint16_t>(value(trim(text.substr(6))))};
        }
        return {all.at(text)};
    }
    static bool any(const std::string& text, const std::array<std::uint64_t, 6>& args) {
        const auto parts = split(text, "||");
        return std::any_of(parts.begin(), parts.end(), [&](const std::string& part) {
            const auto atoms = split(part, "&&");
            return std::all_of(atoms.begin(), atoms.end(),
                               [&](const std::string& one) { return atom(trim(one), args); });
        });
    }
    static bool atom(const std::string& text, const std::array<std::uint64_t, 6>& args) {
        std::smatch match;
        if (!std::regex_match(text, match, std::regex{"arg(\\d)\\s*(==|!=|<=|>=|<|>|&|in\\b)\\s*(.*)"})) {
            throw std::runtime_error{"not an atom: " + text};
        }
        const auto word = args.at(static_cast<std::size_t>(match[1].str().front() - '0'));
        const auto operand = value(match[3].str());
        const auto op = match[2].str();
        return op == "=="   ? word == operand
               : op == "!=" ? word != operand
               : op == "<"  ? word < operand
               : op == "<=" ? word <= operand
               : op == ">"  ? word > operand
               : op == ">=" ? word >= operand
               : op == "&"  ? (word & operand) != 0
                            : (word & ~operand) == 0;
    }
    static std::uint64_t value(const std::string& text) {
        std::uint64_t all = 0;
        for (const auto& part : split(trim(text), "|")) {
            auto term = trim(part);
            const bool inverted = term.front() == '~';
            if (inverted) {
                term = trim(term.substr(1));
            }
            const auto one = term.front() == '('          ? value(term.substr(1, term.size() - 2))
                             : constants().contains(term) ? constants().at(term)
                             : term.front() == '-' ? static_cast<std::uint64_t>(std::stoll(term, nullptr, 0))
                                                   : std::stoull(term, nullptr, 0);
            all |= inverted ? ~one : one;
        }
        return all;
    }

    std::string directory_;
    bool python_;
    policy::Action otherwise_{Kind::kill_process};
    std::map<std::string, std::vector<std::string>> statements_;
};

class Minijail : public testing::Test {
  public:
    inline static const std::string directory = CLOISTER_AUDIT_SAMPLES "/minijail/";

    static ImportOptions options(MinijailCompiler compiler) {
        ImportOptions options;
        options.compiler = compiler;
        options.include = [](const std::string& path) -> tl::expected<std::string, std::string> {
            const auto file = path.front() == '/' ? path : directory + path.substr(2);
            return std::filesystem::exists(file) ? tl::expected<std::string, std::string>{content(file)}
                                                 : tl::unexpected{std::string{"no such file"}};
        };
        return options;
    }
    static Imported import(const std::string& text, MinijailCompiler compiler = MinijailCompiler::unknown) {
        return or_throw(import_minijail(text, "x.policy", options(compiler)));
    }
    static std::string error(const std::string& text, MinijailCompiler compiler = MinijailCompiler::python) {
        const auto imported = import_minijail(text, "x.policy", options(compiler));
        return imported ? "none"
                        : fmt::format("{}:{}: {}", imported.error().line, imported.error().column,
                                      imported.error().message);
    }
    static void expect_as_reference(const std::string& file, MinijailCompiler compiler,
                                    Verdict verdict = Verdict::exact) {
        SCOPED_TRACE(file);
        const auto imported =
            or_throw(import_minijail(content(directory + file), directory + file, options(compiler)));
        EXPECT_EQ(imported.verdict, verdict) << (imported.reasons.empty() ? "" : imported.reasons.front());
        const auto policy = parsed(imported.text);
        const Reference reference{directory, file, compiler == MinijailCompiler::python};
        std::size_t asked = 0;
        auto calls = reference.calls();
        calls.insert({"nanosleep", "getppid"});
        for (const auto& call : calls) {
            const auto compared = reference.calls().contains(call)
                                      ? reference.compared(call)
                                      : std::pair<std::set<std::uint64_t>, std::set<unsigned>>{{0}, {}};
            const auto& values = compared.first;
            const auto& arguments = compared.second;
            std::array<std::uint64_t, 6> args{};
            const auto ask = [&](auto& self, std::set<unsigned>::const_iterator next) -> void {
                if (next != arguments.end()) {
                    for (const auto one : values) {
                        args.at(*next) = one;
                        self(self, std::next(next));
                    }
                    return;
                }
                ++asked;
                seccomp_data data{};
                data.arch = policy::audit_arch(policy::abi_of(policy::native_arch));
                data.nr =
                    static_cast<int>(policy::number_of(policy::abi_of(policy::native_arch), call).value());
                std::copy(args.begin(), args.end(), data.args);
                const auto said = policy::evaluate(policy, policy::native_arch, {}, data).action;
                ASSERT_EQ(said.text(), reference.action(call, args).text()) << policy::describe(data) << "\n"
                                                                            << imported.text;
            };
            ask(ask, arguments.begin());
        }
        EXPECT_GT(asked, calls.size());
    }
};

TEST_F(Minijail, PoliciesMeanWhatTheirDocumentationSays) {
    for (const auto* file : {"cat.policy", "clock.policy", "errno.policy", "ranges.policy", "masks.policy"}) {
        expect_as_reference(file, MinijailCompiler::minijail0);
    }
    for (const auto* file : {"cat.policy", "clock.policy", "errno_python.policy", "ranges.policy",
                             "masks.policy", "braces.policy", "arch.policy"}) {
        expect_as_reference(file, MinijailCompiler::python);
    }
    // Their defaults are milder than the answer to other ABIs.
    for (const auto* file : {"default.policy", "denylist.policy"}) {
        expect_as_reference(file, MinijailCompiler::python);
    }
}

TEST_F(Minijail, WhereTheCompilersDisagreeOneMustBeNamed) {
    EXPECT_EQ(import("read: arg0 == 1; return 5").verdict, Verdict::refused);
    EXPECT_EQ(import("read: arg0 == 1\nread: arg0 == 2").verdict, Verdict::refused);
    EXPECT_EQ(import("read: arg0 == 1; return 5", MinijailCompiler::python)
                      .text.find("errno EIO read  fd == 1  any") == std::string::npos,
              false);
    EXPECT_EQ(import("read: arg0 == 1; return 5", MinijailCompiler::minijail0)
                      .text.find("allow read  fd == 1  any") == std::string::npos,
              false);
    EXPECT_EQ(error("read: arg0 == 1\nread: arg0 == 2", MinijailCompiler::minijail0),
              "2:1: a second statement for read: minijail0 refuses it");
    EXPECT_EQ(error("{read, write}: 1", MinijailCompiler::minijail0).substr(0, 5), "1:1: ");
}

TEST_F(Minijail, ErrorsNameTheirPlace) {
    EXPECT_EQ(error("read: 1\nraed: 1\n"), "2:1: 'raed' is no system call on x86_64. Did you mean read?");
    EXPECT_EQ(error("read 1\n"), "1:6: expected ':'");
    EXPECT_EQ(error("read: arg6 == 1\n"), "1:7: expected arg0 to arg5");
    EXPECT_EQ(error("read: arg0 = 1\n"), "1:12: expected ==, !=, <, <=, >, >=, & or in");
    EXPECT_EQ(error("read: arg0 == FOO_BAR_BAZ_QUX\n").substr(0, 6), "1:15: ");
    EXPECT_EQ(error("read: arg0 == 0x10000000000000000\n"), "1:15: expected a number of at most 64 bits");
    EXPECT_EQ(error("read: arg0 == (1\n"), "1:17: expected ')'");
    EXPECT_EQ(error("read: return 4096\n"), "1:14: expected an error from 0 to 4095");
    EXPECT_EQ(error("read: 1; 2\n"), "1:8: unexpected ';'");
    EXPECT_EQ(error("read: 1\nread: 1\n"), "2:1: read has an unconditional action already");
    EXPECT_EQ(error("@default allow\n"),
              "1:10: expected kill-process, kill-thread, kill, trap or user-notify");
    EXPECT_EQ(error("@include ./nowhere\n"), "1:10: ./nowhere: no such file");
    EXPECT_EQ(error("@include nowhere\n"), "1:10: a path begins with / or ./");
    EXPECT_EQ(error("read: 1 \\\n"), "2:1: the last line is continued, and ends");
    EXPECT_EQ(error("read: $\n"), "1:7: no token of a policy begins with this character");
}

TEST_F(Minijail, ANegativeNumberForAnIntHas64Bits) {
    const auto imported = import("openat: arg0 == -100 || arg0 == 3\n");
    EXPECT_EQ(imported.verdict, Verdict::exact);
    EXPECT_THAT(imported.text,
                testing::HasSubstr("allow openat  dfd == 0xffffffffffffff9c  any : line 1 of x.policy\n"));
}

TEST_F(Minijail, AnIncludeThatIncludesItselfEnds) {
    const auto file =
        std::filesystem::temp_directory_path() / fmt::format("cloister-include-{}.policy", ::getpid());
    std::ofstream{file} << "@include " << file.string() << "\n";
    EXPECT_EQ(error(content(file)), "1:10: @include is nested too deep");
    std::filesystem::remove(file);
}

} // namespace
} // namespace cloister::audit
