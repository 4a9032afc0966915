// SPDX-License-Identifier: MIT
#include "policy/prove.h"

#include <fmt/format.h>
#include <linux/audit.h>

namespace cloister::policy {
namespace {

std::string number_text(std::uint64_t value) {
    return value < 1U << 20U ? fmt::to_string(value) : fmt::format("0x{:x}", value);
}

std::optional<Abi> abi_of_call(const seccomp_data& call) {
    const bool x32 = is_x32(static_cast<std::uint32_t>(call.nr));
    for (const auto abi : {Abi::x86_64, Abi::x32, Abi::aarch64, Abi::i386}) {
        if (call.arch == audit_arch(abi) &&
            (call.arch != audit_arch(Abi::x86_64) || x32 == (abi == Abi::x32))) {
            return abi;
        }
    }
    return std::nullopt;
}

} // namespace

std::string describe(const seccomp_data& call) {
    const auto number = static_cast<std::uint32_t>(call.nr);
    const auto abi = abi_of_call(call);
    const auto known = abi ? name_of(*abi, number) : std::string_view{};
    const auto name = known.empty() ? fmt::format("call {}", number_text(number)) : std::string{known};
    const auto* prototype = known.empty() ? nullptr : prototype_of(known);
    std::vector<std::string> arguments;
    std::array<bool, 6> named{};
    for (std::size_t i = 0; prototype != nullptr && i < prototype->parameters.size(); ++i) {
        const auto index = prototype->index(i, *abi);
        named.at(index) = true;
        arguments.push_back(
            fmt::format("{}={}", prototype->parameters[i].name, number_text(call.args[index])));
    }
    for (std::size_t index = 0; index < named.size(); ++index) {
        if (!named.at(index) && call.args[index] != 0) {
            arguments.push_back(fmt::format("argument {}={}", index + 1, number_text(call.args[index])));
        }
    }
    auto where = abi ? std::string{to_string(*abi)} : fmt::format("ABI 0x{:x}", call.arch);
    if (call.instruction_pointer != 0) {
        where += fmt::format(" from 0x{:x}", call.instruction_pointer);
    }
    return fmt::format("{}({}) on {}", name, fmt::join(arguments, ", "), where);
}

std::string describe_return(std::uint32_t value) {
    const auto action = Action::of(value);
    return action.value() == value ? action.text() : fmt::format("{} (0x{:08x})", action.text(), value);
}

} // namespace cloister::policy
