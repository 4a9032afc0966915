// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What the names in a policy stand for. Tables that tables/generate makes from the kernel's headers;
/// libseccomp is not used.
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
/// Whether that number on x86_64 is none of x86_64's own: from x32's first on. -1, by which a tracer skips a
/// call, is one of x86_64.
[[nodiscard]] constexpr bool is_x32(std::uint32_t number) {
    return number >= x32_bit && number != ~0U;
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
/// The N of "syscall N", in decimal digits without a leading zero; without x32_bit, which number_of() adds
/// for x32.
[[nodiscard]] std::optional<std::uint32_t> nameless_number(std::string_view name);
[[nodiscard]] std::vector<std::string_view> all_names(Abi abi);

struct Parameter {
    std::string_view name;
    std::string_view type; ///< int, uint, long, size, ptr: as the kernel's prototype has it
    [[nodiscard]] bool narrow() const {
        return type == "int" || type == "uint";
    } ///< the kernel reads 32 bits
};

/// A call's arguments in the order of the text: that of the first ABI that has the call. A call that the
/// kernel only has a number for (create_module) has none.
struct Prototype {
    std::string_view name;
    std::vector<Parameter> parameters;
    /// Which register (0 to 5) holds each parameter, where has() is true. In most calls that of its place;
    /// clone has another order on aarch64 and i386.
    [[nodiscard]] std::size_t index(std::size_t parameter, Abi abi) const;
    [[nodiscard]] std::size_t index(std::size_t parameter, Arch arch) const {
        return index(parameter, abi_of(arch));
    }
    /// Whether one register of that ABI holds the whole parameter and nothing else. Not so, on i386, for 64
    /// bits in two registers (pos of pread64), for 16 bits (uid of setuid) and for arguments in memory (all
    /// of mmap and select).
    [[nodiscard]] bool has(std::size_t parameter, Abi abi) const;
};

/// Of a call of any of the ABIs; "syscall N" has arg1 to arg6. Null: no such call.
[[nodiscard]] const Prototype* prototype_of(std::string_view name);
/// Of a constant with the same value on x86_64 and aarch64. A negative int has the 32 bits that the kernel
/// reads: AT_FDCWD is 0xffffff9c.
[[nodiscard]] std::optional<std::uint64_t> constant_named(std::string_view name);
/// "0x10000 on x86_64 and 0x4000 on aarch64" (or "none on ..."); empty: not a constant that differs.
[[nodiscard]] std::string_view differs_by_processor(std::string_view name);
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
