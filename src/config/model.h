// SPDX-License-Identifier: MIT
#pragma once

#include "base/log_format.h"
#include "config/address.h"
#include "control/source.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

/// What cloisterd is to do, wherever it was said.
namespace cloister::config {

constexpr size_t max_services = 64;
constexpr size_t max_listening_sockets = 64;       ///< of a service: control::max_listening_sockets
constexpr size_t max_sockets_in_all = 256;         ///< of all services
constexpr size_t max_exempt = 64;                  ///< of a service: control::max_exempt
constexpr unsigned max_max_connections = 1U << 20; ///< control::connection_limit
constexpr unsigned max_listeners = 16;             ///< of a service; control::max_rows is some times as many

/// Whatever can be configured; config/spec.h describes each.
enum class Key : std::uint8_t {
    name,
    handler,
    listen,
    content,
    content_after,
    exempt,
    max_connections,
    listeners,
    max_per_source,
    source_rate,
    source_prefix,
    max_per_network,
    network_rate,
    network_prefix,
    reserve,
    penalty,
    over_rate_penalty,
    privileged_ports,
    defer_accept,
    idle_timeout,
    lifetime,
    cpu_limit,
    socket_buffer,
    drain_timeout,
    user,
    policy_dir,
    log_format,
    control_socket,
    config,
    check,
    show_config,
    version,
};
constexpr size_t key_count = static_cast<size_t>(Key::version) + 1;

/// Where a value was said.
struct Origin {
    enum class Source : std::uint8_t { standard, file, environment, option };
    Source source = Source::standard;
    unsigned line = 0; ///< of the file, from 1
    bool operator==(const Origin&) const = default;
};

/// One for each Key.
class Origins {
  public:
    Origin& operator[](Key key) { return of_.at(static_cast<size_t>(key)); }
    const Origin& operator[](Key key) const { return of_.at(static_cast<size_t>(key)); }
    [[nodiscard]] bool given(Key key) const { return (*this)[key].source != Origin::Source::standard; }
    bool operator==(const Origins&) const = default;

  private:
    std::array<Origin, key_count> of_{};
};

/// Whom cloisterd becomes. Never root, neither user nor group.
struct User {
    uid_t uid;
    gid_t gid;
    std::string name; ///< the number, where there is no account
};

/// New connections: so many a second, and up to `burst` at once.
struct RateLimit {
    std::uint32_t per_second = 0, burst = 0; ///< 1 … max_rate
};
constexpr std::uint32_t max_rate = 1'000'000;

/// How many bits of an address make a source. 0: none.
struct Prefixes {
    std::uint8_t ipv4 = 0, ipv6 = 0;
};

/// Sockets, a handler and limits. Each service has a listener process of its own.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order in which it is read
struct Service {
    std::string name = "echo";
    std::string handler = "echo";  ///< what a cell does with its connection
    std::filesystem::path content; ///< absolute; empty: none
    bool content_after_request = false;
    std::vector<Address> listen; ///< empty: only sockets that are passed under its name
    bool listen_given = false;   ///< not the default address
    unsigned max_connections = 1000;
    unsigned listeners = 1;              ///< processes that accept, each for its own cells
    std::vector<control::Source> exempt; ///< at most max_exempt
    unsigned max_per_source = 64;
    RateLimit source_rate{32, 128};
    Prefixes source_prefix{32, 64};
    unsigned max_per_network = 256;
    RateLimit network_rate{128, 512};
    Prefixes network_prefix{}; ///< none
    unsigned reserve = 10;     ///< percent of the places, for exempt sources
    std::chrono::milliseconds penalty = std::chrono::seconds{90}; ///< the first one; 0: none
    std::chrono::milliseconds over_rate_penalty{0};               ///< after so long; 0: never
    bool refuse_privileged_ports = false;
    std::chrono::milliseconds defer_accept = std::chrono::seconds{5}; ///< 0: not
    std::chrono::milliseconds idle_timeout = std::chrono::seconds{60};
    std::chrono::milliseconds lifetime = std::chrono::minutes{10};
    std::chrono::milliseconds drain_timeout = std::chrono::seconds{30};
    std::chrono::seconds cpu_limit{10};
    std::optional<unsigned> socket_buffer = 256U * 1024; ///< bytes, as setsockopt(2) takes them; none: 'auto'
    bool socket_buffer_given = false;
    Origins origins{};
};

/// Sets Address::with_ipv4: [::] takes IPv4 too, unless any of the services has 0.0.0.0 with the same port.
void take_ipv4_where_free(std::vector<Service>& services);

struct Config {
    std::vector<Service> services; ///< at least one
    std::optional<User> user;
    std::filesystem::path policy_dir; ///< absolute
    LogFormat log_format = LogFormat::json;
    std::optional<std::filesystem::path> control_socket{}; ///< absolute; empty: off; none: the default one
    bool check = false;                                    ///< check options and policies, and exit
    std::vector<std::string> warnings{};                   ///< sentences for the log
    std::filesystem::path file{};                          ///< that was read; empty: none
    Origins origins{};                                     ///< of what is not a service's
};

} // namespace cloister::config
