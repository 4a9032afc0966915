// SPDX-License-Identifier: MIT
// The only file that uses libseccomp.
#include "policy/compile.h"
#include "base/die.h"
#include "base/memory_file.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <memory>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

namespace cloister::policy {
namespace {

using Context = std::unique_ptr<void, decltype(&seccomp_release)>;

std::uint32_t arch_token(Arch arch) {
    return arch == Arch::aarch64 ? SCMP_ARCH_AARCH64 : SCMP_ARCH_X86_64;
}

std::uint32_t action_of(const Action& action) {
    switch (action.kind) {
    case Action::Kind::allow:
        return SCMP_ACT_ALLOW;
    case Action::Kind::log:
        return SCMP_ACT_LOG;
    case Action::Kind::trace:
        return SCMP_ACT_TRACE(action.code);
    case Action::Kind::notify:
        return SCMP_ACT_NOTIFY;
    case Action::Kind::errno_code:
        return SCMP_ACT_ERRNO(action.code);
    case Action::Kind::trap:
        return SCMP_ACT_TRAP;
    case Action::Kind::kill_thread:
        return SCMP_ACT_KILL_THREAD;
    case Action::Kind::kill_process:
        break;
    }
    return SCMP_ACT_KILL_PROCESS;
}

// libseccomp reports negative errno values and sets nothing else.
tl::unexpected<Error> failed(const Policy& policy, Where where, std::string_view what, int result) {
    Error error = policy.error_at(where, fmt::format("libseccomp: {}: {}", what, error_text(result)));
    if (result == -ENOMEM) {
        error.kind = Error::Kind::system;
    }
    return tl::unexpected{std::move(error)};
}

tl::unexpected<Error> system_failed(const Policy& policy, std::string_view call, int error) {
    Error failed = policy.error_at({}, fmt::format("cannot compile: {}: {}", call, error_text(error)));
    failed.kind = Error::Kind::system;
    return tl::unexpected{std::move(failed)};
}

/// One of these has to hold.
using Alternatives = std::vector<scmp_arg_cmp>;

constexpr std::uint64_t lower_half = 0xffffffff;
constexpr std::size_t max_alternatives = 1024; ///< rules for libseccomp that one rule of a policy may become

scmp_arg_cmp bits_are(unsigned argument, std::uint64_t mask, std::uint64_t value) {
    return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

// libseccomp orders 64 bits only. Of the lower half: where it has the operand's bits down to one, and there
// the other, smaller or larger bit.
Alternatives half_range(unsigned argument, Op op, std::uint64_t value) {
    Alternatives found;
    for (unsigned bit = 0; bit < 32; ++bit) {
        const auto one = std::uint64_t{1} << bit;
        const bool set = (value & one) != 0;
        if (op == Op::ne || set == (op == Op::le)) {
            found.push_back(bits_are(argument, lower_half & ~(one - 1), (value ^ one) & ~(one - 1)));
        }
    }
    if (op != Op::ne) {
        found.push_back(bits_are(argument, lower_half, value));
    }
    return found;
}

// One of the bits of the mask differs, and those above it do not.
Alternatives other_bits(unsigned argument, std::uint64_t mask, std::uint64_t value) {
    Alternatives found;
    for (auto above = mask; mask != 0; above = mask) {
        const auto lowest = mask & (~mask + 1);
        found.push_back(bits_are(argument, above, (value ^ lowest) & above));
        mask &= ~lowest;
    }
    return found;
}

Alternatives alternatives(unsigned argument, const Condition& condition, std::uint64_t value) {
    const auto width = condition.half ? lower_half : ~std::uint64_t{0};
    switch (condition.op) {
    case Op::any:
        break;
    case Op::not_masked:
        return other_bits(argument, condition.mask.value & width, value);
    case Op::masked:
        return {bits_are(argument, condition.mask.value & width, value)};
    case Op::in:
        return {bits_are(argument, ~value & width, 0)}; // mask, then what remains under it
    case Op::eq:
        return {condition.half ? bits_are(argument, width, value)
                               : scmp_arg_cmp{argument, SCMP_CMP_EQ, value, 0}};
    case Op::ne:
    case Op::le:
    case Op::ge:
        if (condition.half) {
            return half_range(argument, condition.op, value);
        }
        return {scmp_arg_cmp{argument,
                             condition.op == Op::ne   ? SCMP_CMP_NE
                             : condition.op == Op::le ? SCMP_CMP_LE
                                                      : SCMP_CMP_GE,
                             value, 0}};
    }
    return {};
}

// The native number, whatever the context's ABI: libseccomp translates it, and would take a foreign number
// for another call without an error.
tl::expected<int, Error> number_for_libseccomp(const Policy& policy, const Rule& rule, Arch arch) {
    const int number = seccomp_syscall_resolve_name(rule.name.c_str());
    if (number >= 0) {
        return number;
    }
    if (rule.name.find(' ') != rule.name.npos && !rule.numbers && arch == native_arch) {
        return static_cast<int>(number_of(abi_of(arch), rule.name).value());
    }
    return tl::unexpected{
        policy.error_at(rule.where, fmt::format("libseccomp does not know '{}'", rule.name))};
}

tl::expected<void, Error> add(scmp_filter_ctx context, const Policy& policy, const Rule& rule, Arch arch,
                              const Bindings& bindings) {
    if (rule.action == policy.otherwise || rule.abi.value_or(abi_of(arch)) != abi_of(arch)) {
        return {}; // the action of else: libseccomp refuses such a rule
    }
    const auto number = number_for_libseccomp(policy, rule, arch);
    if (!number) {
        return tl::unexpected{number.error()};
    }
    std::vector<std::vector<scmp_arg_cmp>> rules{{}};
    for (const auto& condition : rule.conditions) {
        auto value = condition.operand.value;
        if (condition.operand.param) {
            const auto& param = policy.params.at(*condition.operand.param).name;
            const auto bound = bindings.find(param);
            if (bound == bindings.end() || bound->second == 0) {
                return tl::unexpected{
                    policy.error_at(condition.where, fmt::format("the parameter ${} is not bound", param))};
            }
            value = bound->second;
        }
        const auto index = static_cast<unsigned>(rule.prototype->index(condition.parameter, arch));
        const auto choices = alternatives(index, condition, value);
        if (choices.empty()) {
            continue;
        }
        if (!rules.front().empty() && rules.front().back().arg == index) {
            return tl::unexpected{policy.error_at(
                condition.where,
                "libseccomp takes one condition for an argument, so this rule cannot be compiled")};
        }
        if (rules.size() * choices.size() > max_alternatives) {
            return tl::unexpected{policy.error_at(
                condition.where,
                fmt::format("this rule would be more than {} of libseccomp's, which cannot order 32 bits",
                            max_alternatives))};
        }
        std::vector<std::vector<scmp_arg_cmp>> longer;
        for (const auto& one : rules) {
            for (const auto& choice : choices) {
                longer.push_back(one);
                longer.back().push_back(choice);
            }
        }
        rules = std::move(longer);
    }
    for (const auto& comparisons : rules) {
        const int result =
            seccomp_rule_add_exact_array(context, action_of(rule.action), *number,
                                         static_cast<unsigned>(comparisons.size()), comparisons.data());
        if (result != 0) {
            return failed(policy, rule.where, "adding the rule", result);
        }
    }
    return {};
}

// What libseccomp would say otherwise than the policy does.
tl::expected<void, Error> expect_compilable(const Policy& policy) {
    if (!policy.also.empty()) {
        return tl::unexpected{policy.error_at(
            {}, fmt::format("it lists {}: such a policy can be compared and proved, but not compiled",
                            to_string(policy.also.front())))};
    }
    const auto has_data = [](const Action& action) {
        return action.kind == Action::Kind::trap && action.code != 0;
    };
    for (const auto& rule : policy.rules) {
        if (has_data(rule.action)) {
            return tl::unexpected{
                policy.error_at(rule.where, "libseccomp knows 'trap' without a number only")};
        }
    }
    return has_data(policy.otherwise) ? tl::expected<void, Error>{tl::unexpected{policy.error_at(
                                            {}, "libseccomp knows 'trap' without a number only")}}
                                      : tl::expected<void, Error>{};
}

// The API level with the actions of the policy (seccomp_api_get(3)). Fixed, so that the bytes do not depend
// on the kernel that compiles: 3 is where kill-process and log came in, 5 notify.
unsigned level_for(const Policy& policy) {
    const auto notifies = [](const Rule& rule) { return rule.action.kind == Action::Kind::notify; };
    return policy.otherwise.kind == Action::Kind::notify ||
                   std::any_of(policy.rules.begin(), policy.rules.end(), notifies)
               ? 5
               : 3;
}

// 2.5.4 can export to a file descriptor only.
tl::expected<Program, Error> export_program(scmp_filter_ctx context, const Policy& policy) {
    const Fd file = create_memory_file("filter");
    if (!file.valid()) {
        return system_failed(policy, "memfd_create", errno);
    }
    if (const int result = seccomp_export_bpf(context, file.get()); result != 0) {
        return system_failed(policy, "write", -result);
    }
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) {
        return system_failed(policy, "fstat", errno);
    }
    // libseccomp does not see that only a part was written.
    if (rlimit limit{};
        ::getrlimit(RLIMIT_FSIZE, &limit) == 0 && static_cast<rlim_t>(status.st_size) >= limit.rlim_cur) {
        return system_failed(policy, "write", EFBIG);
    }
    Program program(static_cast<std::size_t>(status.st_size) / sizeof(sock_filter));
    const auto size = program.size() * sizeof(sock_filter);
    if (::pread(file.get(), program.data(), size, 0) != static_cast<ssize_t>(size)) {
        return system_failed(policy, "cannot read the program back: pread64", errno);
    }
    return program;
}

} // namespace

tl::expected<Program, Error> compile(const Policy& policy, Arch arch, const Bindings& bindings) {
    if (auto fit = expect_compilable(policy); !fit) {
        return tl::unexpected{std::move(fit.error())};
    }
    if (const int result = seccomp_api_set(level_for(policy)); result != 0) {
        return failed(policy, {}, "setting the API level", result);
    }
    const auto otherwise = action_of(policy.otherwise);
    const Context context{seccomp_init(otherwise), &seccomp_release};
    if (!context) {
        return failed(policy, {}, "making a context", -ENOMEM);
    }
    const auto set = [&](scmp_filter_attr attribute, std::uint32_t value) {
        return seccomp_attr_set(context.get(), attribute, value);
    };
    int result = set(SCMP_FLTATR_API_SYSRAWRC, 1);
    if (result == 0) {
        result = set(SCMP_FLTATR_ACT_BADARCH, action_of(policy.foreign));
    }
    // Above a dozen rules the numbers are searched as a tree: the listener's calls take 34 steps on average
    // instead of 37, for four instructions more. For a cell's five calls the tree costs two steps and saves
    // none.
    if (result == 0 && policy.rules.size() > 12) {
        result = set(SCMP_FLTATR_CTL_OPTIMIZE, 2);
    }
    if (result == 0 && arch != native_arch) {
        result = seccomp_arch_add(context.get(), arch_token(arch));
        if (result == 0) {
            result = seccomp_arch_remove(context.get(), arch_token(native_arch));
        }
    }
    if (result != 0) {
        return failed(policy, {}, "setting up the context", result);
    }
    for (const auto& rule : policy.rules) {
        if (auto added = add(context.get(), policy, rule, arch, bindings); !added) {
            return tl::unexpected{std::move(added.error())};
        }
    }
    return export_program(context.get(), policy);
}

std::optional<std::uint32_t> libseccomp_number(Abi abi, const std::string& name) {
    constexpr std::array<std::uint32_t, 4> tokens = {SCMP_ARCH_X86_64, SCMP_ARCH_AARCH64, SCMP_ARCH_X86,
                                                     SCMP_ARCH_X32};
    const int number =
        seccomp_syscall_resolve_name_arch(tokens.at(static_cast<std::size_t>(abi)), name.c_str());
    return number < 0 ? std::nullopt : std::optional{static_cast<std::uint32_t>(number)};
}

std::string libseccomp_version() {
    const auto* version = seccomp_version();
    return fmt::format("{}.{}.{}", version->major, version->minor, version->micro);
}

} // namespace cloister::policy
