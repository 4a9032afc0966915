// SPDX-License-Identifier: MIT
#pragma once

#include "base/die.h"

#include <string>

namespace cloister {

/// With the usual cure (base/die.h), if the message has none.
[[nodiscard]] inline std::string with_cure(std::string message) {
    if (const auto cure = missing_cure(message); !cure.empty()) {
        message.append("; ").append(cure);
    }
    return message;
}

} // namespace cloister
