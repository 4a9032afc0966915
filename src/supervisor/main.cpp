// SPDX-License-Identifier: MIT
#include "supervisor/supervisor.h"

#include "supervisor/install.h"
#include "supervisor/oom_score.h"
#include "supervisor/options.h"
#include "supervisor/sockets.h"

#include <cstdio>

int main(int argc, char** argv) {
    using namespace cloister;
    supervisor::open_standard_fds();
    const supervisor::OomScore oom_score;
    const auto options = supervisor::parse_options(argc, argv, supervisor::installed_surroundings());
    if (!options) {
        (void)std::fputs(options.error().out.c_str(), stdout);
        (void)std::fputs(options.error().err.c_str(), stderr);
        return static_cast<int>(options.error().code);
    }
    return static_cast<int>(supervisor::run(*options, oom_score));
}
