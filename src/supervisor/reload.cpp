// SPDX-License-Identifier: MIT
#include "supervisor/reload.h"

#include "config/options.h"
#include "supervisor/bind.h"
#include "supervisor/install.h"
#include "supervisor/socket_options.h"

#include <algorithm>
#include <fmt/format.h>

namespace cloister::supervisor {
namespace {

using Services = std::span<const std::shared_ptr<const Setup>>;
using Sockets = std::vector<std::shared_ptr<ListeningSocket>>;

/// What cannot change while cloisterd runs.
std::optional<Failure> expect_same_daemon(const config::Config& now, const config::Config& next) {
    const auto differs = [](std::string_view key) {
        return Failure{ExitCode::Config,
                       fmt::format("{} has changed, which only a restart can do; restart cloisterd, or put "
                                   "it back",
                                   key)};
    };
    const bool same_user =
        now.user.has_value() == next.user.has_value() &&
        (!now.user || (now.user->uid == next.user->uid && now.user->gid == next.user->gid));
    if (!same_user) {
        return differs("user");
    }
    return now.log_format != next.log_format           ? std::optional{differs("log-format")}
           : now.control_socket != next.control_socket ? std::optional{differs("control-socket")}
                                                       : std::nullopt;
}

std::optional<std::size_t> find(Services services, const std::string& name) {
    const auto found = std::find_if(services.begin(), services.end(), [&](const auto& setup) {
        return setup != nullptr && setup->service.name == name;
    });
    return found == services.end() ? std::nullopt
                                   : std::optional{static_cast<std::size_t>(found - services.begin())};
}

/// One that was bound for this address and that `taken` does not have.
std::shared_ptr<ListeningSocket> find_socket(const Setup& setup, const config::Address& address,
                                             const Sockets& taken) {
    for (const auto& socket : setup.sockets) {
        if (!socket->activated && socket->requested == address.text &&
            std::find(taken.begin(), taken.end(), socket) == taken.end()) {
            return socket;
        }
    }
    return nullptr;
}

/// The service's own, or that of another service, which has this address no more: an address belongs to one
/// service. Port 0 is another one each time.
std::shared_ptr<ListeningSocket> find_socket(Services services, const Setup* before,
                                             const config::Address& address, const Sockets& taken) {
    auto found = before == nullptr ? nullptr : find_socket(*before, address, taken);
    const bool is_unix = address.storage.ss_family == AF_UNIX;
    for (const auto& setup : services) {
        if (found == nullptr && setup != nullptr && (is_unix || config::port_of(address.storage) != 0)) {
            found = find_socket(*setup, address, taken);
        }
    }
    return found;
}

Failure cannot_bind(Failure why) {
    if (why.code == ExitCode::NotPermitted) {
        why.message += "; cloisterd has given up the right to bind it: restart it";
    }
    return why;
}

/// The sockets of a service, those that are there and those that are bound now.
std::optional<Failure> collect_sockets(Change& change, Change::Service& service, Services services) {
    Setup& setup = *service.setup;
    const Setup* const before = service.before ? services[*service.before].get() : nullptr;
    for (const auto& socket : before == nullptr ? Sockets{} : before->sockets) {
        if (socket->activated) {
            setup.sockets.push_back(socket);
        }
    }
    const bool bind_ours = setup.service.listen_given || setup.sockets.empty();
    for (const config::Address& address : setup.service.listen) {
        if (!bind_ours) {
            break;
        }
        auto socket = find_socket(services, before, address, setup.sockets);
        if (socket == nullptr) {
            auto bound = bind_listener(address, setup.service, {});
            if (!bound) {
                return cannot_bind(std::move(bound.error()));
            }
            socket = std::make_shared<ListeningSocket>(std::move(*bound));
            change.bound.push_back(socket);
        } else if (auto failure = set_options(*socket, socket->name, setup.service)) { // they may differ
            return failure;
        }
        setup.sockets.push_back(std::move(socket));
    }
    if (setup.sockets.empty()) {
        return Failure{
            ExitCode::Config,
            fmt::format("the service '{}' has no address, and no socket was passed for it; give it "
                        "one, or restart cloisterd with the socket",
                        setup.service.name)};
    }
    return {};
}

tl::expected<void, Failure> open_everything(Change& change, Services services, const FileAccess& access,
                                            const OpenBinary& open_binary) {
    std::vector<Setup> loaded;
    for (const config::Service& service : change.config.services) {
        const auto before = find(services, service.name);
        Setup setup{.service = service};
        if (before) {
            setup.shared = services[*before]->shared;
            setup.log_slot = services[*before]->log_slot;
        }
        loaded.push_back(std::move(setup));
        change.services.push_back({nullptr, before});
    }
    auto opened =
        open_binaries(loaded, open_binary).and_then([&] { return open_policies_of(change.config); });
    if (!opened) {
        return tl::unexpected(opened.error());
    }
    for (const Setup& setup : loaded) {
        if (auto failure = expect_executable(access, setup.binary->get())) {
            return tl::unexpected(std::move(*failure));
        }
    }
    if (auto done = load(loaded, *opened); !done) {
        return done;
    }
    for (std::size_t i = 0; i < loaded.size(); ++i) {
        change.services[i].setup = std::make_shared<Setup>(std::move(loaded[i]));
        if (const auto proved = compile_and_prove(*change.services[i].setup->policies, sample_addresses());
            !proved) {
            return tl::unexpected(proved.error());
        }
    }
    for (Change::Service& service : change.services) {
        if (auto failure = collect_sockets(change, service, services)) {
            return tl::unexpected(std::move(*failure));
        }
    }
    return {};
}

} // namespace

ReadConfig read_config_of(int argc, const char* const* argv) {
    return [argc, argv]() -> tl::expected<config::Config, Failure> {
        auto config = config::read_configuration(argc, argv, installed_surroundings());
        if (config) {
            return std::move(*config);
        }
        // `cloisterd: FILE:LINE:COL: error: …`, and for a terminal the line itself
        constexpr std::string_view who = "cloisterd: ";
        std::string_view said = config.error().err;
        said.remove_prefix(said.starts_with(who) ? who.size() : 0);
        return tl::unexpected(Failure{config.error().code, std::string{said.substr(0, said.find('\n'))}});
    };
}

tl::expected<Change, Failure> prepare_change(const config::Config& now, Services services,
                                             const FileAccess& file_access, const ReadConfig& read_config,
                                             const OpenBinary& open_binary) {
    auto config = read_config();
    if (!config) {
        return tl::unexpected(config.error());
    }
    if (auto failure = expect_same_daemon(now, *config)) {
        return tl::unexpected(std::move(*failure));
    }
    if (auto failure = expect_within(file_access, *config)) {
        return tl::unexpected(std::move(*failure));
    }
    Change change;
    change.config = std::move(*config);
    change.config.user.reset(); // we are that user
    if (auto done = open_everything(change, services, file_access, open_binary); !done) {
        close_sockets(change.bound);
        return tl::unexpected(std::move(done.error()));
    }
    change.config.user = now.user;
    return change;
}

void close_sockets(std::span<const std::shared_ptr<ListeningSocket>> sockets) {
    for (const auto& socket : sockets) {
        remove_unix_paths({socket.get(), 1});
        socket->fd.reset();
    }
}

} // namespace cloister::supervisor
