// SPDX-License-Identifier: MIT
#include "policy/prove.h"

#include <fmt/format.h>
#include <linux/audit.h>

namespace cloister::policy {
namespace {

std::string number_text(std::uint64_t value) {
    return value < 1U << 20U ? fmt::to_string(value) : fmt::format("0x{:x}", value);
}

std::string call_name(const seccomp_data& call) {
    const auto number = static_cast<std::uint32_t>(call.nr);
    for (const auto abi : {Abi::x86_64, Abi::x32, Abi::aarch64, Abi::i386}) {
        const auto name = call.arch == audit_arch(abi) ? name_of(abi, number) : std::string_view{};
        if (!name.empty()) {
            return fmt::format("{}{}", abi == Abi::x32 ? "x32:" : "", name);
        }
    }
    return fmt::format("call {}", number_text(number));
}

} // namespace

std::string describe(const seccomp_data& call) {
    const auto name = call_name(call);
    const auto* prototype = prototype_of(name);
    const auto arch = call.arch == AUDIT_ARCH_AARCH64 ? Arch::aarch64 : Arch::x86_64;
    std::vector<std::string> arguments;
    std::array<bool, 6> named{};
    for (std::size_t i = 0; prototype != nullptr && i < prototype->parameters.size(); ++i) {
        const auto index = prototype->index(i, arch);
        named.at(index) = true;
        arguments.push_back(
            fmt::format("{}={}", prototype->parameters[i].name, number_text(call.args[index])));
    }
    for (std::size_t index = 0; index < named.size(); ++index) {
        if (!named.at(index) && call.args[index] != 0) {
            arguments.push_back(fmt::format("argument {}={}", index + 1, number_text(call.args[index])));
        }
    }
    std::string where;
    switch (call.arch) {
    case AUDIT_ARCH_X86_64:
        where = "x86_64";
        break;
    case AUDIT_ARCH_AARCH64:
        where = "aarch64";
        break;
    case AUDIT_ARCH_I386:
        where = "i386";
        break;
    default:
        where = fmt::format("ABI 0x{:x}", call.arch);
    }
    if (call.instruction_pointer != 0) {
        where += fmt::format(" from 0x{:x}", call.instruction_pointer);
    }
    return fmt::format("{}({}) on {}", name, fmt::join(arguments, ", "), where);
}

std::string describe_return(std::uint32_t value) {
    const auto data = static_cast<std::uint16_t>(value & SECCOMP_RET_DATA);
    const auto action = value & SECCOMP_RET_ACTION_FULL;
    if (value == SECCOMP_RET_ALLOW) {
        return "allow";
    }
    if (value == SECCOMP_RET_KILL_PROCESS) {
        return "kill-process";
    }
    if (action == SECCOMP_RET_ERRNO) {
        return Action{Action::Kind::errno_code, data}.text();
    }
    return fmt::format("return 0x{:08x}", value);
}

} // namespace cloister::policy
