// SPDX-License-Identifier: MIT
#include "supervisor/setup.h"

#include "config/show.h"
#include "supervisor/install.h"

#include <algorithm>
#include <cstddef>
#include <netinet/in.h>
#include <sys/stat.h>
#include <tuple>

namespace cloister::supervisor {
namespace {

/// Which file it is, and in which state.
auto identity(const Fd& file) {
    struct stat status {};
    (void)fstat(file.get(), &status);
    return std::tuple{status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec,
                      status.st_mtim.tv_nsec};
}

/// All that a file could say of the service, without where it was said.
std::string text_of(const config::Service& service) {
    config::Config one;
    one.services.push_back(service);
    one.services.front().origins = {};
    return config::show(one).value_or(std::string{});
}

} // namespace

tl::expected<void, Failure> open_binaries(std::vector<Setup>& setups, const OpenBinary& open_binary) {
    for (Setup& setup : setups) {
        auto binary = open_binary(setup.service);
        if (!binary) {
            return tl::unexpected(binary.error());
        }
        setup.binary = std::make_shared<const Fd>(std::move(*binary));
    }
    return {};
}

tl::expected<OpenedPolicies, Failure> open_policies_of(const config::Config& config) {
    HandlerPolicies wanted;
    for (const config::Service& service : config.services) {
        wanted.emplace(service.handler, handler_policy(config.policy_dir, service.handler));
    }
    return open_policies(config.policy_dir, wanted, config.user);
}

tl::expected<void, Failure> load(std::vector<Setup>& setups, const OpenedPolicies& opened) {
    auto policies = load_policies(opened);
    if (!policies) {
        return tl::unexpected(policies.error());
    }
    std::map<std::string, std::shared_ptr<const Policies>> by_handler;
    for (auto& [handler, combined] : *policies) {
        by_handler.emplace(handler, std::make_shared<const Policies>(std::move(combined)));
    }
    for (Setup& setup : setups) {
        setup.policies = by_handler.at(setup.service.handler);
        auto content = load_content(setup.service);
        if (!content) {
            return tl::unexpected(content.error());
        }
        setup.content = std::make_shared<const ServedContent>(std::move(*content));
        if (setup.shared == nullptr) {
            auto shared = SharedMemory::create();
            if (!shared) {
                return tl::unexpected(shared.error());
            }
            setup.shared = std::make_shared<SharedMemory>(std::move(*shared));
        }
    }
    return {};
}

unsigned reserved_places(const Setup& setup) {
    constexpr unsigned percent = 100;
    const std::uint64_t reserved = std::uint64_t{setup.max_connections} * setup.service.reserve / percent;
    return setup.service.exempt.empty() ? 0 : static_cast<unsigned>(reserved);
}

std::vector<control::OwnSocket> own_sockets(const Setup& setup) {
    std::vector<control::OwnSocket> own;
    for (const auto& socket : setup.sockets) {
        const sockaddr_storage& at = socket->address;
        if (socket->is_unix) {
            continue;
        }
        const auto* const address =
            reinterpret_cast<const std::uint8_t*>(&at) +
            (at.ss_family == AF_INET6 ? offsetof(sockaddr_in6, sin6_addr) : offsetof(sockaddr_in, sin_addr));
        const bool any = config::is_any_ipv4(at) || config::is_any_ipv6(at);
        const control::Source source = control::source_of(at.ss_family, address);
        own.push_back({any ? control::with_prefix(source, 0) : source, config::port_of(at)});
    }
    return own;
}

ServiceSpec spec_of(const Setup& setup, unsigned listener) {
    // One that serves, one that starts, and these: for all of them there are rows of the shared state.
    const std::size_t most = control::max_rows / setup.service.listeners - 2;
    return {setup.service.drain_timeout, listener == 0 ? setup.sockets.size() : 0,
            std::min(most, most_draining)};
}
static_assert(control::max_rows / config::max_listeners > 2);

bool same(const Setup& a, const Setup& b) {
    return a.binary != nullptr && text_of(a.service) == text_of(b.service) && a.sockets == b.sockets &&
           a.max_connections == b.max_connections && identity(*a.binary) == identity(*b.binary) &&
           a.policies->hashes() == b.policies->hashes() && a.content->bytes() == b.content->bytes();
}

} // namespace cloister::supervisor
