// SPDX-License-Identifier: MIT
// The only file that uses libseccomp.
#include "policy/compile.h"
#include "base/die.h"
#include "base/memory_file.h"

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
    case Action::Kind::errno_code:
        return SCMP_ACT_ERRNO(action.code);
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

scmp_arg_cmp comparison(unsigned argument, Op op, std::uint64_t value) {
    switch (op) {
    case Op::le:
        return {argument, SCMP_CMP_LE, value, 0};
    case Op::ge:
        return {argument, SCMP_CMP_GE, value, 0};
    case Op::in:
        return {argument, SCMP_CMP_MASKED_EQ, ~value, 0}; // mask, then what remains under it
    default:
        return {argument, SCMP_CMP_EQ, value, 0};
    }
}

tl::expected<void, Error> add(scmp_filter_ctx context, const Policy& policy, const Rule& rule, Arch arch,
                              const Bindings& bindings) {
    if (rule.action == policy.otherwise) {
        return {}; // the action of else: libseccomp refuses such a rule
    }
    // The native number, whatever the context's ABI: libseccomp translates it, and would take a foreign
    // number for another call without an error.
    const std::string name{rule.prototype->name};
    const int number = seccomp_syscall_resolve_name(name.c_str());
    if (number < 0) {
        return tl::unexpected{
            policy.error_at(rule.where, fmt::format("libseccomp does not know '{}'", name))};
    }
    std::vector<scmp_arg_cmp> comparisons;
    for (std::size_t i = 0; i < rule.conditions.size(); ++i) {
        const auto& [op, operand, where] = rule.conditions[i];
        if (op == Op::any) {
            continue;
        }
        auto value = operand.value;
        if (operand.param) {
            const auto& param = policy.params.at(*operand.param).name;
            const auto bound = bindings.find(param);
            if (bound == bindings.end() || bound->second == 0) {
                return tl::unexpected{
                    policy.error_at(where, fmt::format("the parameter ${} is not bound", param))};
            }
            value = bound->second;
        }
        comparisons.push_back(comparison(static_cast<unsigned>(rule.prototype->index(i, arch)), op, value));
    }
    const int result =
        seccomp_rule_add_exact_array(context, action_of(rule.action), number,
                                     static_cast<unsigned>(comparisons.size()), comparisons.data());
    return result == 0 ? tl::expected<void, Error>{} : failed(policy, rule.where, "adding the rule", result);
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
    // Fixed, so that the bytes do not depend on the kernel that compiles; 3 is where kill-process came in.
    if (const int result = seccomp_api_set(3); result != 0) {
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
        result = set(SCMP_FLTATR_ACT_BADARCH, otherwise);
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
