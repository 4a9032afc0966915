// SPDX-License-Identifier: MIT
#include "config/spec.h"

#include "base/text.h"

#include <algorithm>
#include <fmt/format.h>
#include <numeric>

namespace cloister::config {
namespace {

constexpr const char* times = "1ms to 24h";

constexpr std::array<Spec, key_count> table{{
    {Key::name, "name", 0, false, Kind::name, Scope::service, "NAME",
     "a to z, 0 to 9 and -, at most 32; unique", "echo", nullptr, "\"echo\"",
     "what logs and the service manager call it; in a file each service must have one"},
    {Key::handler, "handler", 0, true, Kind::name, Scope::service, "NAME",
     "the name of a handler that is installed", "echo", nullptr, "\"echo\"",
     "what a cell does with its connection"},
    {Key::listen, "listen", 'l', true, Kind::address, Scope::service, "ADDR:PORT",
     "at most 64 of a service and 256 in all, none twice", "127.0.0.1:7007", nullptr, "[\"127.0.0.1:7007\"]",
     "where to listen, repeatable: 127.0.0.1:7007, [::]:7007 (IPv4 too), 127.0.0.1:0 (any free port), "
     "unix:/path, unix:/path,mode=0660"},
    {Key::content, "content", 0, true, Kind::path, Scope::service, "FILE", "an absolute path", nullptr,
     "none", "\"/srv/text\"", "the file that a handler sends"},
    {Key::content_after,
     "content-after",
     0,
     true,
     Kind::choice,
     Scope::service,
     "connect|request",
     "connect or request",
     "connect",
     nullptr,
     "\"request\"",
     "when it is sent: at once, or after the blank line that ends a request",
     {"connect", "request"}},
    {Key::exempt, "exempt", 0, true, Kind::source, Scope::limit, "CIDR|uid:N", "at most 64 of a service",
     nullptr, "none", "[\"192.0.2.0/24\", \"uid:0\"]",
     "no limits of a source for these clients, and places that are kept for them, repeatable: 192.0.2.7, "
     "192.0.2.0/24, 2001:db8::/32, uid:1000"},
    {Key::max_connections, "max-connections", 0, true, Kind::count, Scope::limit, "N", "1 to 1048576", "1000",
     nullptr, "1000", "connections at a time, 1 to 1048576"},
    {Key::listeners, "listeners", 0, true, Kind::small_count, Scope::limit, "N", "1 to 16", "1", nullptr, "1",
     "listener processes of a service, where one is not enough for all processors, 1 to 16"},
    {Key::max_per_source, "max-per-source", 0, true, Kind::count, Scope::limit, "N", "1 to 1048576", "64",
     nullptr, "64", "connections of one source at a time"},
    {Key::source_rate, "source-rate", 0, true, Kind::rate, Scope::limit, "N/s[:BURST]",
     "1/s to 1000000/s; burst 1 to 1000000, if it is left away 4 times the rate", "32/s:128", nullptr,
     "\"32/s:128\"", "new connections of one source"},
    {Key::source_prefix, "source-prefix", 0, true, Kind::prefixes, Scope::limit, "IPV4,IPV6",
     "1 to 32, 1 to 128", "32,64", nullptr, "\"32,64\"", "how many bits of an address make a source"},
    {Key::max_per_network, "max-per-network", 0, true, Kind::count, Scope::limit, "N", "1 to 1048576", "256",
     nullptr, "256", "connections of one network at a time"},
    {Key::network_rate, "network-rate", 0, true, Kind::rate, Scope::limit, "N/s[:BURST]",
     "1/s to 1000000/s; burst 1 to 1000000, if it is left away 4 times the rate", "128/s:512", nullptr,
     "\"128/s:512\"", "new connections of one network"},
    {Key::network_prefix, "network-prefix", 0, true, Kind::prefixes_or_off, Scope::limit, "IPV4,IPV6|off",
     "1 to 32, 1 to 128; off", "off", nullptr, "\"24,48\"",
     "how many bits of an address make a network, a second and wider source"},
    {Key::reserve, "reserve", 0, true, Kind::percent, Scope::limit, "PERCENT", "0% to 90%", "10%", nullptr,
     "\"10%\"", "places that are kept for exempt clients, if there are any"},
    {Key::penalty, "penalty", 0, true, Kind::time_or_off, Scope::limit, "TIME|off", "1ms to 24h, off", "90s",
     nullptr, "\"90s\"",
     "shut a source out for so long when its cell crashed or broke its policy; doubles up to 10m"},
    {Key::over_rate_penalty, "over-rate-penalty", 0, true, Kind::time_or_off, Scope::limit, "TIME|off",
     "1ms to 24h, off", "off", nullptr, "\"30s\"",
     "shut a source out as well when it has been over its rate for so long"},
    {Key::privileged_ports,
     "privileged-ports",
     0,
     true,
     Kind::choice,
     Scope::limit,
     "accept|refuse",
     "accept or refuse",
     "accept",
     nullptr,
     "\"refuse\"",
     "clients that connect from a port below 1024",
     {"accept", "refuse"}},
    {Key::defer_accept, "defer-accept", 0, true, Kind::time_or_off, Scope::limit, "TIME|off",
     "1ms to 24h, off", "5s", nullptr, "\"5s\"",
     "let a client that says nothing wait so long for its cell, where clients speak first "
     "(TCP_DEFER_ACCEPT)"},
    {Key::idle_timeout, "idle-timeout", 0, true, Kind::time, Scope::limit, "TIME", times, "60s", nullptr,
     "\"60s\"", "end a connection on which nothing moves for so long"},
    {Key::lifetime, "lifetime", 0, true, Kind::time, Scope::limit, "TIME", times, "10m", nullptr, "\"10m\"",
     "end a connection after so long"},
    {Key::cpu_limit, "cpu-limit", 0, true, Kind::seconds, Scope::limit, "TIME", "1s to 24h, whole seconds",
     "10s", nullptr, "\"10s\"", "CPU time of one connection, whole seconds"},
    {Key::socket_buffer, "socket-buffer", 0, true, Kind::size, Scope::limit, "SIZE|auto",
     "4K to 64M, or auto", "256K", nullptr, "\"256K\"",
     "send and receive buffer of a connection; auto: as large as the kernel likes"},
    {Key::drain_timeout, "drain-timeout", 0, true, Kind::time, Scope::limit, "TIME", times, "30s", nullptr,
     "\"30s\"", "how long connections may go on after SIGTERM"},
    {Key::user, "user", 'u', true, Kind::user, Scope::daemon, "NAME|UID[:GID]", "not root", nullptr,
     "none: root must name one", "\"cloister\"", "become this user; required when started as root"},
    {Key::policy_dir, "policy-dir", 0, true, Kind::path, Scope::daemon, "DIR", "in a file an absolute path",
     nullptr, "the installed one", "\"/usr/local/share/cloister/policy\"", "where the .policy files are"},
    {Key::log_format,
     "log-format",
     0,
     true,
     Kind::choice,
     Scope::daemon,
     "json|logfmt",
     "json or logfmt",
     "json",
     nullptr,
     "\"json\"",
     "form of the records on stderr",
     {"json", "logfmt"}},
    {Key::control_socket, "control-socket", 0, true, Kind::path_or_off, Scope::daemon, "PATH|off",
     "in a file an absolute path; off", nullptr, "/run/cloister/control of root, else below $XDG_RUNTIME_DIR",
     "\"/run/cloister/control\"", "where `cloister status`, `reload` and `explain` ask"},
    {Key::config, "config", 'c', true, Kind::path, Scope::command, "FILE", "a file", nullptr,
     "/etc/cloister/cloister.toml, if it is there", nullptr,
     "read this file (/etc/cloister/cloister.toml, if it is there)"},
    {Key::check, "check", 't', false, Kind::flag, Scope::command, nullptr, nullptr, nullptr, nullptr, nullptr,
     "check options, configuration file and policies, say nothing when they are good, and exit"},
    {Key::show_config, "show-config", 'T', false, Kind::flag, Scope::command, nullptr, nullptr, nullptr,
     nullptr, nullptr,
     "print the configuration as it is in effect, as a file, with the origin of each value, and exit"},
    {Key::version, "version", 0, false, Kind::flag, Scope::command, nullptr, nullptr, nullptr, nullptr,
     nullptr, "print version, libraries and policy hashes, and exit"},
}};

constexpr bool is_in_order() {
    for (size_t i = 0; i < table.size(); ++i) {
        if (static_cast<size_t>(table[i].key) != i) {
            return false;
        }
    }
    return true;
}
static_assert(is_in_order());

constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t longest_ms = std::uint64_t{24} * 3'600'000;

size_t edit_distance(std::string_view from, std::string_view to) {
    std::vector<size_t> row(to.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 0; i < from.size(); ++i) {
        size_t diagonal = std::exchange(row[0], i + 1);
        for (size_t j = 0; j < to.size(); ++j) {
            const size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
        }
    }
    return row.back();
}

bool is_name(std::string_view text) {
    constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz0123456789";
    return !text.empty() && text.size() <= 32 && letters.find(text[0]) != letters.npos &&
           std::ranges::all_of(text, [&](char c) { return c == '-' || letters.find(c) != letters.npos; });
}

std::string in_quotes(std::string_view text) {
    std::string quoted = "\"";
    for (Escape escape; !text.empty();) {
        quoted += take_escaped(text, escape); // JSON's escapes are TOML's (toml.io, String)
    }
    return quoted + '"';
}

std::string time(std::uint64_t ms) {
    return ms % 3'600'000 == 0 ? fmt::format("{}h", ms / 3'600'000)
           : ms % 60'000 == 0  ? fmt::format("{}m", ms / 60'000)
           : ms % 1000 == 0    ? fmt::format("{}s", ms / 1000)
                               : fmt::format("{}ms", ms);
}

/// What a rate and a pair of prefixes are made of.
std::uint64_t high(std::uint64_t number, unsigned bits) {
    return number >> bits;
}
std::uint64_t low(std::uint64_t number, unsigned bits) {
    return number & ((std::uint64_t{1} << bits) - 1);
}

std::optional<std::string> why_no_rate(std::uint64_t number) {
    const auto fits = [](std::uint64_t n) { return n >= 1 && n <= max_rate; };
    return fits(high(number, 32)) && fits(low(number, 32))
               ? std::nullopt
               : std::optional{
                     fmt::format("out of range; give 1/s to {0}/s, and a burst of 1 to {0}", max_rate)};
}

std::optional<std::string> why_no_prefixes(std::uint64_t number) {
    const auto ipv4 = high(number, 8);
    const auto ipv6 = low(number, 8);
    return ipv4 >= 1 && ipv4 <= 32 && ipv6 >= 1 && ipv6 <= 128
               ? std::nullopt
               : std::optional<std::string>{"out of range; give 1 to 32 bits of IPv4, and 1 to 128 of IPv6"};
}

std::string size(std::uint64_t bytes) {
    return bytes == 0                 ? "auto"
           : bytes % (kib * kib) == 0 ? fmt::format("{}M", bytes / (kib * kib))
                                      : fmt::format("{}K", bytes / kib);
}

} // namespace

std::span<const Spec, key_count> specs() {
    return table;
}

const Spec& spec_of(Key key) {
    return table.at(static_cast<size_t>(key));
}

const Spec* find_spec(std::string_view name) {
    const auto* found = std::ranges::find(table, name, &Spec::name);
    return found == table.end() ? nullptr : found;
}

std::string environment_name(std::string_view option) {
    std::string name = "CLOISTER_";
    std::ranges::transform(option, std::back_inserter(name), [](char c) {
        return c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    });
    return name;
}

std::string_view nearest(std::string_view given, std::span<const std::string_view> names) {
    std::string_view found;
    size_t distance = 4; // farther is no likeness
    if (given.size() > 64) {
        return found;
    }
    for (const auto name : names) {
        if (const size_t d = edit_distance(given, name); d < distance && 2 * d <= name.size()) {
            found = name;
            distance = d;
        }
    }
    return found;
}

std::optional<std::string> why_not(const Spec& spec, const Value& value) {
    const auto n = value.number;
    if (value.text.find('\0') != value.text.npos) {
        return "there is a NUL byte in it";
    }
    switch (spec.kind) {
    case Kind::flag:
        return "it has no value";
    case Kind::address:
    case Kind::user:
    case Kind::source:
        return {};
    case Kind::rate:
        return why_no_rate(n);
    case Kind::prefixes:
        return why_no_prefixes(n);
    case Kind::prefixes_or_off:
        return n == 0 ? std::nullopt : why_no_prefixes(n);
    case Kind::percent:
        return n > 90 ? std::optional<std::string>{"out of range; give 0% to 90%"} : std::nullopt;
    case Kind::time_or_off:
        return n > longest_ms
                   ? std::optional{fmt::format("out of range; give 1ms to {}, or off", time(longest_ms))}
                   : std::nullopt;
    case Kind::path_or_off:
    case Kind::path:
        return value.text.empty() ? std::optional<std::string>{spec.key == Key::policy_dir
                                                                   ? "the path is empty; give a directory"
                                                                   : "the path is empty; give a file"}
                                  : std::nullopt;
    case Kind::name:
        return is_name(value.text)
                   ? std::nullopt
                   : std::optional<std::string>{
                         "a name has 1 to 32 of a to z, 0 to 9 and '-', which is not the first"};
    case Kind::small_count:
        return n == 0 || n > max_listeners
                   ? std::optional{fmt::format("out of range; give 1 to {}", max_listeners)}
                   : std::nullopt;
    case Kind::count:
        return n == 0 ? std::optional{fmt::format("not a number of connections; give 1 to {}",
                                                  max_max_connections)}
               : n > max_max_connections
                   ? std::optional{fmt::format("more connections than any machine carries; give 1 to {}",
                                               max_max_connections)}
                   : std::nullopt;
    case Kind::time:
    case Kind::seconds:
        if (n == 0 || n > longest_ms) {
            return fmt::format("out of range; give 1ms to {}", time(longest_ms));
        }
        return spec.kind == Kind::seconds && n % 1000 != 0
                   ? std::optional{fmt::format("the kernel counts this limit in whole seconds; give 1s to {}",
                                               time(longest_ms))}
                   : std::nullopt;
    case Kind::size:
        return n != 0 && (n < 4 * kib || n > 64 * kib * kib || n % kib != 0)
                   ? std::optional<std::string>{"out of range; give 4K to 64M, or auto"}
                   : std::nullopt;
    case Kind::choice:
        return n < std::size(spec.choices)
                   ? std::nullopt
                   : std::optional{fmt::format("there is no such {}; give {} or {}",
                                               spec.key == Key::log_format ? "format" : "value",
                                               spec.choices[0], spec.choices[1])};
    }
    return "it is of no kind";
}

std::string spelled(const Spec& spec, const Value& value) {
    switch (spec.kind) {
    case Kind::small_count:
    case Kind::count:
        return fmt::to_string(value.number);
    case Kind::time:
    case Kind::seconds:
        return in_quotes(time(value.number));
    case Kind::time_or_off:
        return in_quotes(value.number == 0 ? "off" : time(value.number));
    case Kind::size:
        return in_quotes(size(value.number));
    case Kind::rate:
        return in_quotes(fmt::format("{}/s:{}", high(value.number, 32), low(value.number, 32)));
    case Kind::prefixes:
    case Kind::prefixes_or_off:
        return in_quotes(
            value.number == 0 ? "off" : fmt::format("{},{}", high(value.number, 8), low(value.number, 8)));
    case Kind::percent:
        return in_quotes(fmt::format("{}%", value.number));
    case Kind::choice:
        return in_quotes(spec.choices[value.number]);
    default:
        return in_quotes(value.text);
    }
}

} // namespace cloister::config
