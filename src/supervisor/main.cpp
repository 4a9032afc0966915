// SPDX-License-Identifier: MIT
#include "supervisor/supervisor.h"

#include "confine/confine.h"
#include "supervisor/install.h"
#include "supervisor/options.h"
#include "supervisor/sockets.h"
#include "sys/tracing.h"

#include <cstdio>

int main(int argc, char** argv) {
    using namespace cloister;
    // First: processes of our user shall have no time to take us over. What only a process that can be dumped
    // may open belongs before it.
    const int dumpable_at_start = dumpable();
    confine::forbid_dumping();
    supervisor::open_standard_fds();
    expect_untraceable_start(dumpable_at_start);
    auto activation = supervisor::take_activation();
    supervisor::close_inherited(activation); // before anything of ours is opened

    auto options = supervisor::parse_options(argc, argv, supervisor::installed_surroundings());
    if (!options) {
        (void)std::fputs(options.error().out.c_str(), stdout);
        (void)std::fputs(options.error().err.c_str(), stderr);
        return static_cast<int>(options.error().code);
    }
    if (activation && !activation->warning.empty()) {
        options->warnings.push_back(activation->warning);
    }
    return static_cast<int>(supervisor::run(*options, std::move(activation)));
}
