// SPDX-License-Identifier: MIT
#include "supervisor/run.h"

#include "base/die.h"
#include "base/kernel_answers.h"
#include "base/soft_limit.h"
#include "base/tracing.h"
#include "config/options.h"
#include "confine/confine.h"
#include "supervisor/install.h"
#include "supervisor/limits.h"
#include "supervisor/oom_score.h"
#include "supervisor/sockets.h"

#include <cerrno>
#include <cstdio>
#include <exception>
#include <new>

namespace {

[[noreturn]] void no_memory() {
    cloister::die(cloister::ExitCode::SystemCall, "cannot start: no memory: %s",
                  cloister::error_text(ENOMEM));
}

/// Where there was no memory to throw either.
[[noreturn]] void terminated() {
    if (std::current_exception() != nullptr) {
        cloister::bug("an exception that nothing catches");
    }
    no_memory();
}

} // namespace

int main(int argc, char** argv) try {
    using namespace cloister;
    std::set_terminate(terminated);
    const int dumpable_at_start = dumpable();
    // The listeners and cells inherit them.
    for (const auto& [resource, name] :
         {std::pair{RLIMIT_NOFILE, "RLIMIT_NOFILE"}, // generation.cpp
          std::pair{RLIMIT_FSIZE, "RLIMIT_FSIZE"},   // of memory files
          std::pair{RLIMIT_NPROC, "RLIMIT_NPROC"}, std::pair{RLIMIT_SIGPENDING, "RLIMIT_SIGPENDING"}}) {
        raise_soft_limit(resource, name);
    }
    supervisor::raise_cpu_time();
    expect_kernel_answers();
    supervisor::open_standard_fds();
    auto handover = supervisor::take_handover(); // after an upgrade
    if (!handover) {
        die(handover.error().code, "%s", handover.error().message.c_str());
    }
    auto activation = supervisor::take_activation();
    if (!*handover) {
        supervisor::close_inherited(activation); // before anything of ours is opened
    }
    // Which only root could open afterwards.
    const supervisor::OomScore oom_score =
        *handover ? supervisor::OomScore{Fd{(*handover)->oom_score}} : supervisor::OomScore{};
    confine::forbid_dumping();
    if (supervisor::is_installed()) { // SECURITY.md says what remains in a build tree
        expect_untraceable_start(dumpable_at_start);
    }

    auto config = config::read_configuration(argc, argv, supervisor::installed_surroundings());
    if (!config) {
        (void)std::fputs(config.error().out.c_str(), stdout);
        (void)std::fputs(config.error().err.c_str(), stderr);
        return static_cast<int>(config.error().code);
    }
    if (activation && !activation->warning.empty()) {
        config->warnings.push_back(activation->warning);
    }
    if (auto warning = supervisor::cpu_time_warning(); !warning.empty()) {
        config->warnings.push_back(std::move(warning));
    }
    if (!oom_score.warning().empty()) {
        config->warnings.push_back(oom_score.warning());
    }
    supervisor::Beginning beginning{.activation = std::move(activation),
                                    .handover = std::move(*handover),
                                    .oom_score = oom_score,
                                    .read_config = supervisor::read_config_of(argc, argv),
                                    .invocation = {argv, supervisor::installed_program()}};
    return static_cast<int>(supervisor::run(*config, std::move(beginning)));
} catch (const std::bad_alloc&) {
    no_memory();
}
