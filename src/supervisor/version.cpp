// SPDX-License-Identifier: MIT
#include "supervisor/version.h"

#include "policy/compile.h"

#include <fmt/core.h>

namespace cloister::supervisor {

std::string build_notes() {
    std::string notes = fmt::format("libseccomp {}, {{fmt}} {}.{}.{}\n", policy::libseccomp_version(),
                                    FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100);
#ifdef CLOISTER_INSTRUMENTED
    notes += "INSTRUMENTED BUILD (sanitizer or coverage): not confined as it must be, for tests only\n";
#endif
    return notes;
}

} // namespace cloister::supervisor
