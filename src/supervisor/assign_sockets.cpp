// SPDX-License-Identifier: MIT
#include "supervisor/assign_sockets.h"

#include <algorithm>
#include <fmt/format.h>

namespace cloister::supervisor {

tl::expected<std::vector<Activation>, Failure> assign_sockets(Activation passed,
                                                              std::span<const config::Service> services) {
    const auto fail = [](std::string message) {
        return tl::unexpected{Failure{ExitCode::Config, std::move(message)}};
    };
    std::vector<Activation> assigned(services.size());
    if (services.size() == 1) {
        assigned.front() = std::move(passed);
        return assigned;
    }
    std::string names;
    for (const auto& service : services) {
        names += fmt::format("{}{}", names.empty() ? "" : ", ", service.name);
    }
    for (auto& socket : passed.sockets) {
        const auto owner = std::ranges::find(services, socket.name, &config::Service::name);
        if (owner == services.end()) {
            return fail(fmt::format(
                "descriptor {} ({}) of LISTEN_FDS is for none of the services {}; name one of them with "
                "FileDescriptorName= in its socket unit",
                socket.fd.get(), socket.name, names));
        }
        assigned[static_cast<std::size_t>(owner - services.begin())].sockets.push_back(std::move(socket));
    }
    for (std::size_t i = 0; i < services.size(); ++i) {
        if (services[i].listen.empty() && assigned[i].sockets.empty()) {
            return fail(fmt::format(
                "the service '{0}' has no address, and no socket was passed for it; give it one, such as "
                "listen = [\"127.0.0.1:7007\"], or FileDescriptorName={0} in a socket unit",
                services[i].name));
        }
    }
    return assigned;
}

} // namespace cloister::supervisor
