// SPDX-License-Identifier: MIT
// cloisterd, but that each --listen is a service of its own: s0, s1, … One whose path has a directory
// `hostile` gets the listener of tests/hostile/listener.cpp.
#include "config/options.h"
#include "supervisor/run.h"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <string>

namespace {

using namespace cloister;

tl::expected<Fd, supervisor::Failure> open_listener(const config::Service& service) {
    const std::string& address = service.listen.front().text;
    if (address.find("/hostile/") == std::string::npos) {
        return supervisor::open_listener_binary(service.handler);
    }
    const auto beside = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    const auto path = (beside / "../tests/hostile/start/cloister-listener-echo").lexically_normal();
    Fd fd{::open(path.c_str(), O_PATH | O_CLOEXEC)};
    if (!fd.valid()) {
        return tl::unexpected(supervisor::Failure{ExitCode::NoInput, path.string()});
    }
    return fd;
}

} // namespace

int main(int argc, char** argv) {
    const supervisor::OomScore oom_score;
    auto config = config::read_configuration(argc, argv, supervisor::installed_surroundings());
    if (!config) {
        (void)std::fputs(config.error().err.c_str(), stderr);
        return static_cast<int>(config.error().code);
    }
    const config::Service all = config->services.front();
    config->services.clear();
    for (const config::Address& address : all.listen) {
        config::Service one = all;
        one.name = "s" + std::to_string(config->services.size());
        one.listen = {address};
        config->services.push_back(one);
    }
    return static_cast<int>(
        supervisor::run(*config, {supervisor::Activation{}, {}, oom_score, {}, {}, open_listener}));
}
