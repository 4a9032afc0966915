// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/CLI.hpp>

namespace cloister::tool {

/// `import` and `export` under `policy`. They leave their exit code in `code`.
void add_exchange_commands(CLI::App& policy, int& code);

} // namespace cloister::tool
