// SPDX-License-Identifier: MIT
#pragma once

#include "policy/names.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

/// What the kernel records of a call that a filter did not simply allow: the audit record of type 1326
/// (SECCOMP), audit_seccomp in kernel/auditsc.c.
namespace cloister::audit {

struct Record {
    std::uint32_t number = 0; ///< of the call
    std::uint32_t arch = 0;   ///< AUDIT_ARCH_…, as seccomp_data has it
    std::optional<policy::Abi> abi;
    std::string call; ///< its name; empty: the ABI, or the number in it, has none here
    std::string pid, uid, comm, exe, time;
    std::optional<std::uint32_t> signal; ///< 0: none
    std::optional<std::uint32_t> code;   ///< what the filter returned
    std::optional<std::uint64_t> instruction_pointer;
};

/// A line of the kernel's log or the journal, of audit.log, or of ausearch, also with names in place of
/// numbers
/// (-i). Lines of the log of cloisterd that have the fields `syscall` and `arch` are taken, too. The error
/// says what is missing.
[[nodiscard]] tl::expected<Record, std::string> parse_record(std::string_view line);

/// "kill-process", "errno EPERM", "trap with data 5".
[[nodiscard]] std::string describe_code(std::uint32_t code);

} // namespace cloister::audit
