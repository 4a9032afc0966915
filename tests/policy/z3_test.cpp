// SPDX-License-Identifier: MIT
// The prover against z3 and against the interpreters: random policies, and programs that are right or nearly
// right. The programs are made here, by other instructions than libseccomp's: index register, scratch memory,
// arithmetic. CLOISTER_PAIRS=10000 asks about so many pairs; CLOISTER_SEED=N makes other ones.
#include "fixture.h"

#include <cstdlib>
#include <random>
#include <set>
#include <z3++.h>

namespace cloister::policy {
namespace {

constexpr std::uint64_t values[] = {
    0,          1,          2,           3,           7,    0x80,     0x7fffffff,      0x80000000,
    0xfffffffe, 0xffffffff, 0x100000000, 0x100000001, ~0UL, ~0UL - 1, 0x8000UL << 48U, 0x123456789};

class Random {
  public:
    explicit Random(std::uint64_t seed) : engine_{seed} {}
    std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>{0, n - 1}(engine_); }
    bool one_in(std::size_t n) { return below(n) == 0; }
    std::uint64_t value() { return values[below(std::size(values))]; }

  private:
    std::mt19937_64 engine_;
};

std::string random_condition(Random& random) {
    const bool half = random.one_in(3);
    const auto value = random.value() & (half ? 0xffffffff : ~0UL);
    const auto mask = random.value() & (half ? 0xffffffff : ~0UL);
    const auto* mark = half ? "32" : "";
    constexpr const char* ops[] = {"==", "!=", "<=", ">=", "in"};
    switch (random.below(8)) {
    case 0:
        return "any";
    case 1:
        return fmt::format("&{} {} == {}", mark, mask, value & mask);
    case 2:
        return fmt::format("&{} {} != {}", mark, mask, value & mask);
    default:
        return fmt::format("{}{} {}", ops[random.below(std::size(ops))], mark, value);
    }
}

std::string random_policy(Random& random) {
    constexpr const char* actions[] = {"allow", "allow",       "errno EPERM", "kill-process", "trap 3",
                                       "log",   "kill-thread", "trace 9",     "notify"};
    const auto action = [&] { return actions[random.below(std::size(actions))]; };
    const bool more = random.one_in(3);
    std::string text =
        fmt::format("policy random 1\nsyntax 1\narch x86_64{}\nelse {}{}\n", more ? " i386 x32" : "",
                    action(), random.one_in(3) ? fmt::format(" abi {}", action()) : "");
    for (const auto* call : {"close fd", "munmap addr len", "syscall 900..999 arg1 arg2"}) {
        std::istringstream words{call};
        std::string name;
        words >> name;
        if (name == "syscall") {
            std::string numbers;
            words >> numbers;
            name += ' ' + numbers;
        }
        std::vector<std::string> arguments{std::istream_iterator<std::string>{words}, {}};
        std::set<std::string> seen; // rules that repeat each other are refused
        for (auto n = random.below(3); n > 0; --n) {
            std::string conditions;
            for (const auto& argument : arguments) {
                for (std::size_t c = 0; c <= (random.one_in(4) ? 1U : 0U); ++c) {
                    conditions += fmt::format("  {} {}", argument, random_condition(random));
                }
            }
            if (seen.insert(conditions).second) {
                text += fmt::format("{} {}{}{} : x\n", action(),
                                    more && name[0] == 'c' && random.one_in(3) ? "i386:" : "", name,
                                    conditions + (name[0] == 's' ? "  any" : ""));
            }
        }
    }
    return text;
}

/// A program that means what the text says. Where several sequences of instructions do, one is drawn.
class Compiler {
  public:
    Compiler(const Policy& policy, Random& random) : policy_{policy}, random_{random} {}

    Program program() {
        auto rules = std::vector<const Rule*>{};
        for (const auto& rule : policy_.rules) {
            rules.push_back(&rule);
        }
        std::stable_sort(rules.begin(), rules.end(),
                         [](const Rule* a, const Rule* b) { return a->action.kind < b->action.kind; });
        for (const auto* rule : rules) {
            for (const auto abi : policy_.abis(Arch::x86_64)) {
                const auto number = number_of(abi, rule->name);
                if ((!number && !rule->numbers) || rule->abi.value_or(abi) != abi) {
                    continue;
                }
                token(abi);
                within(abi);
                if (rule->numbers) {
                    compare_half(0, BPF_JGE, rule->numbers->first, true);
                    compare_half(0, BPF_JGT, rule->numbers->second, false);
                } else {
                    compare_half(0, BPF_JEQ, *number, true);
                }
                for (const auto& condition : rule->conditions) {
                    test(condition, static_cast<unsigned>(rule->prototype->index(condition.parameter, abi)));
                }
                give(rule->action);
                label();
            }
        }
        for (const auto abi : policy_.abis(Arch::x86_64)) {
            token(abi);
            within(abi);
            give(policy_.otherwise);
            label();
        }
        give(policy_.foreign);
        return code_;
    }

  private:
    void put(std::uint16_t code, std::uint32_t k, std::uint8_t jt = 0, std::uint8_t jf = 0) {
        code_.push_back({code, jt, jf, k});
    }
    void give(const Action& action) {
        if (random_.one_in(3)) {
            put(BPF_LD | BPF_IMM, action.value());
            put(BPF_RET | BPF_A, 0);
        } else {
            put(BPF_RET | BPF_K, action.value());
        }
    }
    // Goes on where the comparison's result is `wanted`, else to the next label.
    void jump(std::uint16_t op, std::uint16_t source, std::uint32_t k, bool wanted) {
        put(static_cast<std::uint16_t>(BPF_JMP | op | source), k, wanted ? 1 : 0, wanted ? 0 : 1);
        open_.push_back(code_.size());
        put(BPF_JMP | BPF_JA, 0);
    }
    void label() {
        for (const auto at : open_) {
            code_[at].k = static_cast<std::uint32_t>(code_.size() - at - 1);
        }
        open_.clear();
    }
    void token(Abi abi) { compare_half(4, BPF_JEQ, audit_arch(abi), true); }
    void within(Abi abi) {
        if (abi == Abi::x32) {
            compare_half(0, BPF_JGE, x32_bit, true);
            compare_half(0, BPF_JEQ, ~0U, false);
        } else if (abi == Abi::x86_64) { // below x32's, or -1
            put(BPF_LD | BPF_W | BPF_ABS, 0);
            put(BPF_ALU | BPF_ADD | BPF_K, 1);
            jump(BPF_JGT, BPF_K, x32_bit, false);
        }
    }
    // The word at that offset, changed by nothing or in a way that the comparison takes back.
    void compare_half(std::uint32_t offset, std::uint16_t op, std::uint32_t k, bool wanted) {
        switch (random_.below(6)) {
        case 0:
            put(BPF_LD | BPF_W | BPF_ABS, offset);
            put(BPF_LDX | BPF_IMM, k);
            jump(op, BPF_X, 0, wanted);
            return;
        case 1: {
            const auto slot = static_cast<std::uint32_t>(random_.below(BPF_MEMWORDS));
            put(BPF_LD | BPF_W | BPF_ABS, offset);
            put(BPF_ST, slot);
            put(BPF_LD | BPF_IMM, k);
            put(BPF_MISC | BPF_TAX, 0);
            put(BPF_LD | BPF_MEM, slot);
            jump(op, BPF_X, 0, wanted);
            return;
        }
        case 2:
            put(BPF_LD | BPF_W | BPF_ABS, offset);
            put(BPF_ALU | BPF_NEG, 0);
            put(BPF_ALU | BPF_NEG, 0);
            put(BPF_ALU | BPF_XOR | BPF_K, 0x5a5a5a5a);
            put(BPF_LDX | BPF_IMM, 0x5a5a5a5a);
            put(BPF_ALU | BPF_XOR | BPF_X, 0);
            jump(op, BPF_K, k, wanted);
            return;
        case 3:
            if (op == BPF_JEQ) {
                put(BPF_LD | BPF_W | BPF_ABS, offset);
                put(BPF_ALU | BPF_SUB | BPF_K, k);
                jump(BPF_JEQ, BPF_K, 0, wanted);
                return;
            }
            [[fallthrough]];
        case 4:
            if (op == BPF_JEQ) { // the halves of the word, by shifts
                if (wanted) {
                    put(BPF_LD | BPF_W | BPF_ABS, offset);
                    put(BPF_ALU | BPF_RSH | BPF_K, 16);
                    jump(BPF_JEQ, BPF_K, k >> 16U, true);
                    put(BPF_LD | BPF_W | BPF_ABS, offset);
                    put(BPF_ALU | BPF_LSH | BPF_K, 16);
                    jump(BPF_JEQ, BPF_K, k << 16U, true);
                    return;
                }
            }
            [[fallthrough]];
        default:
            put(BPF_LD | BPF_W | BPF_ABS, offset);
            jump(op, BPF_K, k, wanted);
        }
    }
    void masked(std::uint32_t offset, std::uint32_t mask, std::uint32_t value) {
        if (mask == 0) {
            return;
        }
        put(BPF_LD | BPF_W | BPF_ABS, offset);
        if (random_.one_in(2)) {
            put(BPF_ALU | BPF_AND | BPF_K, mask);
        } else {
            put(BPF_LDX | BPF_IMM, mask);
            put(BPF_ALU | BPF_AND | BPF_X, 0);
        }
        jump(BPF_JEQ, BPF_K, value, true);
    }
    void test(const Condition& condition, unsigned index) {
        const auto low = static_cast<std::uint32_t>(16 + index * 8);
        const auto high = low + 4;
        const auto value = condition.operand.value;
        const auto low_k = static_cast<std::uint32_t>(value);
        const auto high_k = static_cast<std::uint32_t>(value >> 32U);
        const auto mask = condition.op == Op::in ? ~value : condition.mask.value;
        switch (condition.op) {
        case Op::any:
            return;
        case Op::eq:
            compare_half(low, BPF_JEQ, low_k, true);
            if (!condition.half) {
                compare_half(high, BPF_JEQ, high_k, true);
            }
            return;
        case Op::in:
        case Op::masked:
            masked(low, static_cast<std::uint32_t>(mask), condition.op == Op::in ? 0 : low_k);
            if (!condition.half) {
                masked(high, static_cast<std::uint32_t>(mask >> 32U), condition.op == Op::in ? 0 : high_k);
            }
            return;
        case Op::ne:
        case Op::not_masked:
            // All bits that differ, of both halves, together: 0 where it is equal.
            put(BPF_LD | BPF_W | BPF_ABS, high);
            put(BPF_ALU | BPF_XOR | BPF_K, high_k);
            put(BPF_ALU | BPF_AND | BPF_K, condition.half ? 0
                                           : condition.op == Op::ne
                                               ? ~0U
                                               : static_cast<std::uint32_t>(mask >> 32U));
            put(BPF_MISC | BPF_TAX, 0);
            put(BPF_LD | BPF_W | BPF_ABS, low);
            put(BPF_ALU | BPF_XOR | BPF_K, low_k);
            put(BPF_ALU | BPF_AND | BPF_K, condition.op == Op::ne ? ~0U : static_cast<std::uint32_t>(mask));
            put(BPF_ALU | BPF_OR | BPF_X, 0);
            jump(BPF_JEQ, BPF_K, 0, false);
            return;
        case Op::le:
        case Op::ge:
            order(condition, low, high, low_k, high_k);
            return;
        }
    }
    void order(const Condition& condition, std::uint32_t low, std::uint32_t high, std::uint32_t low_k,
               std::uint32_t high_k) {
        const bool le = condition.op == Op::le;
        if (condition.half) {
            compare_half(low, le ? BPF_JGT : BPF_JGE, low_k, !le);
            return;
        }
        // The high half decides, unless it is equal.
        put(BPF_LD | BPF_W | BPF_ABS, high);
        put(BPF_JMP | BPF_JGT | BPF_K, high_k, le ? 1 : 5, 0); // greater: to the jump to the label, or done
        put(BPF_JMP | BPF_JEQ | BPF_K, high_k, 1, le ? 4 : 0);
        open_.push_back(code_.size());
        put(BPF_JMP | BPF_JA, 0);
        put(BPF_LD | BPF_W | BPF_ABS, low);
        jump(le ? BPF_JGT : BPF_JGE, BPF_K, low_k, !le);
    }

    const Policy& policy_;
    Random& random_;
    Program code_;
    std::vector<std::size_t> open_;
};

void mutate(Program& program, Random& random) {
    auto& i = program[random.below(program.size())];
    switch (random.below(5)) {
    case 0:
        i.k ^= 1U << random.below(32);
        break;
    case 1:
        ++i.k;
        break;
    case 2:
        std::swap(i.jt, i.jf);
        break;
    case 3:
        i.jt = static_cast<std::uint8_t>(i.jt + 1);
        break;
    default:
        if (BPF_CLASS(i.code) == BPF_JMP && BPF_OP(i.code) != BPF_JA) {
            constexpr std::uint16_t ops[] = {BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET};
            i.code = static_cast<std::uint16_t>(BPF_JMP | ops[random.below(4)] | BPF_SRC(i.code));
        } else {
            i.k = 0;
        }
    }
}

/// The same question in z3's bit vectors.
class Solver {
  public:
    Solver() : solver_{context_} {
        for (unsigned word = 0; word < 16; ++word) {
            input_.push_back(context_.bv_const(fmt::format("word{}", word).c_str(), 32));
        }
    }

    /// Whether some call exists on which they differ.
    bool differ(const Policy& policy, const Program& program) {
        solver_.push();
        solver_.add(of_text(policy) != of_program(program));
        const auto result = solver_.check();
        solver_.pop();
        if (result == z3::unknown) {
            throw std::runtime_error{"z3 does not know"};
        }
        return result == z3::sat;
    }

  private:
    z3::expr number(std::uint32_t value) { return context_.bv_val(value, 32); }
    z3::expr number64(std::uint64_t value) { return context_.bv_val(value, 64); }
    z3::expr meaning(const Action& action) { return number(action.value()); }

    z3::expr of_abi(Abi abi) {
        auto here = input_[1] == number(audit_arch(abi));
        const auto x32 = z3::uge(input_[0], number(x32_bit)) && input_[0] != number(~0U);
        return abi == Abi::x32 ? here && x32 : abi == Abi::x86_64 ? here && !x32 : here;
    }
    z3::expr holds(const Condition& condition, std::size_t index) {
        auto argument = z3::concat(input_[5 + 2 * index], input_[4 + 2 * index]);
        if (condition.half) {
            argument = argument & number64(0xffffffff);
        }
        const auto value = number64(condition.operand.value);
        switch (condition.op) {
        case Op::eq:
            return argument == value;
        case Op::ne:
            return argument != value;
        case Op::le:
            return z3::ule(argument, value);
        case Op::ge:
            return z3::uge(argument, value);
        case Op::in:
            return (argument & ~value) == number64(0);
        case Op::masked:
            return (argument & number64(condition.mask.value)) == value;
        case Op::not_masked:
            return (argument & number64(condition.mask.value)) != value;
        case Op::any:
            break;
        }
        return context_.bool_val(true);
    }
    z3::expr of_text(const Policy& policy) {
        auto listed = context_.bool_val(false);
        for (const auto abi : policy.abis(Arch::x86_64)) {
            listed = listed || of_abi(abi);
        }
        auto text = meaning(policy.otherwise);
        for (auto kind = static_cast<int>(Action::Kind::allow); kind >= 0; --kind) {
            for (const auto& rule : policy.rules) {
                if (static_cast<int>(rule.action.kind) != kind) {
                    continue;
                }
                auto applies = context_.bool_val(false);
                for (const auto abi : policy.abis(Arch::x86_64)) {
                    const auto named = number_of(abi, rule.name);
                    if ((!named && !rule.numbers) || rule.abi.value_or(abi) != abi) {
                        continue;
                    }
                    auto here =
                        of_abi(abi) && (rule.numbers ? z3::uge(input_[0], number(rule.numbers->first)) &&
                                                           z3::ule(input_[0], number(rule.numbers->second))
                                                     : input_[0] == number(*named));
                    for (const auto& condition : rule.conditions) {
                        here = here && holds(condition, rule.prototype->index(condition.parameter, abi));
                    }
                    applies = applies || here;
                }
                text = z3::ite(applies, meaning(rule.action), text);
            }
        }
        return z3::ite(listed, text, meaning(policy.foreign));
    }

    struct State {
        z3::expr reached;
        std::vector<z3::expr> registers; ///< A, X, memory
    };
    void arrive(std::optional<State>& at, const z3::expr& reached, const std::vector<z3::expr>& registers) {
        if (!at) {
            at = State{reached, registers};
            return;
        }
        for (std::size_t i = 0; i < registers.size(); ++i) {
            at->registers[i] = z3::ite(reached, registers[i], at->registers[i]);
        }
        at->reached = at->reached || reached;
    }
    z3::expr normal(const z3::expr& returned) { // Action::of, in bits; data that count
        const auto action = returned & number(0xffff0000);
        const auto data = returned & number(0xffff);
        auto known = number(SECCOMP_RET_KILL_PROCESS);
        for (const auto bare :
             {SECCOMP_RET_KILL_THREAD, SECCOMP_RET_USER_NOTIF, SECCOMP_RET_LOG, SECCOMP_RET_ALLOW}) {
            known = z3::ite(action == number(bare), number(bare), known);
        }
        for (const auto with_data : {SECCOMP_RET_TRAP, SECCOMP_RET_TRACE}) {
            known = z3::ite(action == number(with_data), returned, known);
        }
        return z3::ite(action == number(SECCOMP_RET_ERRNO),
                       number(SECCOMP_RET_ERRNO) | z3::ite(z3::ugt(data, number(4095)), number(4095), data),
                       known);
    }
    z3::expr of_program(const Program& program) {
        std::vector<std::optional<State>> states(program.size());
        states[0] = State{context_.bool_val(true), std::vector<z3::expr>(2 + BPF_MEMWORDS, number(0))};
        auto result = number(SECCOMP_RET_KILL_PROCESS);
        for (std::size_t at = 0; at < program.size(); ++at) {
            if (!states[at]) {
                continue;
            }
            const auto& i = program[at];
            const auto reached = states[at]->reached;
            auto registers = states[at]->registers;
            auto& a = registers[0];
            auto& x = registers[1];
            const auto operand = BPF_SRC(i.code) == BPF_X ? x : number(i.k);
            switch (BPF_CLASS(i.code)) {
            case BPF_RET:
                result = z3::ite(reached, normal(BPF_RVAL(i.code) == BPF_A ? a : number(i.k)), result);
                continue;
            case BPF_LD:
            case BPF_LDX:
                registers[BPF_CLASS(i.code) == BPF_LD ? 0 : 1] = BPF_MODE(i.code) == BPF_ABS ? input_[i.k / 4]
                                                                 : BPF_MODE(i.code) == BPF_MEM
                                                                     ? registers[2 + i.k]
                                                                 : BPF_MODE(i.code) == BPF_LEN ? number(64)
                                                                                               : number(i.k);
                break;
            case BPF_ST:
                registers[2 + i.k] = a;
                break;
            case BPF_STX:
                registers[2 + i.k] = x;
                break;
            case BPF_MISC:
                (BPF_MISCOP(i.code) == BPF_TAX ? x : a) = BPF_MISCOP(i.code) == BPF_TAX ? a : x;
                break;
            case BPF_ALU:
                a = BPF_OP(i.code) == BPF_ADD   ? a + operand
                    : BPF_OP(i.code) == BPF_SUB ? a - operand
                    : BPF_OP(i.code) == BPF_AND ? a & operand
                    : BPF_OP(i.code) == BPF_OR  ? a | operand
                    : BPF_OP(i.code) == BPF_XOR ? a ^ operand
                    : BPF_OP(i.code) == BPF_LSH ? z3::shl(a, operand)
                    : BPF_OP(i.code) == BPF_RSH ? z3::lshr(a, operand)
                                                : -a;
                break;
            default:
                if (BPF_OP(i.code) == BPF_JA) {
                    arrive(states[at + 1 + i.k], reached, registers);
                    continue;
                }
                const auto taken = BPF_OP(i.code) == BPF_JEQ   ? a == operand
                                   : BPF_OP(i.code) == BPF_JGT ? z3::ugt(a, operand)
                                   : BPF_OP(i.code) == BPF_JGE ? z3::uge(a, operand)
                                                               : (a & operand) != number(0);
                arrive(states[at + 1 + i.jt], reached && taken, registers);
                arrive(states[at + 1 + i.jf], reached && !taken, registers);
                continue;
            }
            arrive(states[at + 1], reached, registers);
        }
        return result;
    }

    z3::context context_;
    z3::solver solver_;
    std::vector<z3::expr> input_;
};

/// Calls at the boundaries of all that the two compare.
std::vector<seccomp_data> boundary_calls(const Program& program, Random& random) {
    std::vector<seccomp_data> calls;
    std::vector<std::uint32_t> numbers = {
        0,    3,          6,       11,          91,           899,           900,        950, 999,
        1000, 0x3fffffff, x32_bit, x32_bit | 3, x32_bit | 11, x32_bit | 950, 0xfffffffe, ~0U};
    for (const auto number : numbers) {
        for (const auto abi : {audit_arch(Abi::x86_64), audit_arch(Abi::i386), audit_arch(Abi::aarch64)}) {
            for (int n = 0; n < 6; ++n) {
                seccomp_data call{static_cast<int>(number), abi, 0, {}};
                for (auto& argument : call.args) {
                    const auto low =
                        std::uint64_t{program[random.below(program.size())].k} + random.below(3) - 1;
                    argument = random.one_in(2) ? random.value() : (low & 0xffffffff) | random.value() << 32U;
                }
                calls.push_back(call);
            }
        }
    }
    return calls;
}

std::size_t from_environment(const char* name, std::size_t otherwise) {
    const auto* text = std::getenv(name); // NOLINT(concurrency-mt-unsafe): one thread
    return text != nullptr ? std::stoul(text) : otherwise;
}

TEST(Prover, AgreesWithZ3AndWithTheInterpreters) {
    const auto pairs = from_environment("CLOISTER_PAIRS", instrumented ? 50 : 500);
    Random random{from_environment("CLOISTER_SEED", 1)};
    Solver solver;
    std::size_t equal = 0;
    std::size_t different = 0;
    std::size_t refused = 0;
    while (equal + different < pairs) {
        const auto text = random_policy(random);
        const auto policy = parse(text, "random.policy");
        ASSERT_TRUE(policy) << policy.error().text() << '\n' << text;
        auto program = Compiler{*policy, random}.program();
        if (program.size() > 1000) {
            continue;
        }
        const bool right = random.one_in(5);
        for (auto n = right ? 0 : 1 + random.below(4); n > 0; --n) {
            mutate(program, random);
        }
        auto prover = Prover::make(*policy, Arch::x86_64, {});
        ASSERT_TRUE(prover);
        std::optional<Call> call;
        try {
            call = prover->difference(program);
        } catch (const std::invalid_argument&) {
            ASSERT_FALSE(right) << text;
            ++refused; // the kernel would not take it, or it shifts too far
            continue;
        }
        ASSERT_FALSE(right && call) << text << describe(call->data);
        ASSERT_EQ(solver.differ(*policy, program), call.has_value()) << text;
        if (call) {
            ++different;
            ASSERT_NE(Action::of(run(program, call->data).value()),
                      evaluate(*policy, Arch::x86_64, {}, call->data).action)
                << text;
            continue;
        }
        ++equal;
        for (const auto& edge : boundary_calls(program, random)) {
            ASSERT_EQ(Action::of(run(program, edge).value()),
                      evaluate(*policy, Arch::x86_64, {}, edge).action)
                << text << describe(edge);
        }
    }
    fmt::print("{} pairs: {} equal, {} different, besides {} programs that are none\n", pairs, equal,
               different, refused);
    EXPECT_GT(equal, pairs / 5);
    EXPECT_GT(different, pairs / 6);
}

} // namespace
} // namespace cloister::policy
