// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What the names in a policy stand for. Plain tables, each with its source; libseccomp is not used.
namespace cloister::policy {

/// The ABIs that a policy may list ...
enum class Arch { x86_64, aarch64 };
#if defined(__aarch64__)
inline constexpr Arch native_arch = Arch::aarch64;
#else
inline constexpr Arch native_arch = Arch::x86_64;
#endif

/// ... and those that a test may name besides. The first two have the values of Arch.
enum class Abi { x86_64, aarch64, i386, x32 };
inline constexpr std::uint32_t x32_bit = 0x40000000;
/// Whether that number on x86_64 is one of x32. -1, by which a tracer skips a call, is not.
[[nodiscard]] constexpr bool is_x32(std::uint32_t number) {
    return (number & x32_bit) != 0 && number != ~0U;
}

[[nodiscard]] constexpr Abi abi_of(Arch arch) {
    return arch == Arch::x86_64 ? Abi::x86_64 : Abi::aarch64;
}
[[nodiscard]] std::string_view to_string(Arch arch);
[[nodiscard]] std::string_view to_string(Abi abi);
[[nodiscard]] std::optional<Arch> arch_named(std::string_view name);
[[nodiscard]] std::optional<Abi> abi_named(std::string_view name);

/// What the kernel puts into seccomp_data::arch. x32 calls come as x86_64 with x32_bit in the number.
[[nodiscard]] std::uint32_t audit_arch(Abi abi);

[[nodiscard]] std::optional<std::uint32_t> number_of(Abi abi, std::string_view name);
[[nodiscard]] std::string_view name_of(Abi abi, std::uint32_t number); ///< empty: no such call
/// Its name or, where it has none here, "syscall N". number_of() and prototype_of() know both.
[[nodiscard]] std::string call_name(Abi abi, std::uint32_t number);
[[nodiscard]] std::vector<std::string_view> all_names(Abi abi);

struct Parameter {
    std::string_view name;
    std::string_view type; ///< int, uint, long, size, ptr: as the kernel's prototype has it
    [[nodiscard]] bool narrow() const {
        return type == "int" || type == "uint";
    } ///< the kernel reads 32 bits
};

/// A call's arguments in the order of the text: x86_64's.
struct Prototype {
    std::string_view name;
    std::vector<Parameter> parameters;
    /// Which register (0 to 5) holds each parameter; only clone differs between the ABIs.
    [[nodiscard]] std::size_t index(std::size_t parameter, Abi abi) const;
    [[nodiscard]] std::size_t index(std::size_t parameter, Arch arch) const {
        return index(parameter, abi_of(arch));
    }
};

[[nodiscard]] const Prototype* prototype_of(std::string_view name); ///< null: not in the table
[[nodiscard]] std::optional<std::uint64_t> constant_named(std::string_view name);
[[nodiscard]] std::optional<std::uint16_t> errno_named(std::string_view name);
/// What a C library function of that name issues; empty: not known as one.
[[nodiscard]] std::string_view issued_by_libc(std::string_view function);

/// The name nearest to a mistyped one, or empty when none is near.
[[nodiscard]] std::string_view nearest(std::string_view name,
                                       const std::vector<std::string_view>& candidates);
[[nodiscard]] std::vector<std::string_view> all_constants();
[[nodiscard]] std::vector<std::string_view> all_errnos();
[[nodiscard]] std::vector<std::string_view> all_prototypes();

} // namespace cloister::policy
