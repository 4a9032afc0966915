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
    {Key::max_connections, "max-connections", 0, true, Kind::count, Scope::limit, "N", "1 to 1048576", "1000",
     nullptr, "1000", "connections at a time, 1 to 1048576"},
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
        return {};
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
    case Kind::count:
        return fmt::to_string(value.number);
    case Kind::time:
    case Kind::seconds:
        return in_quotes(time(value.number));
    case Kind::size:
        return in_quotes(size(value.number));
    case Kind::choice:
        return in_quotes(spec.choices[value.number]);
    default:
        return in_quotes(value.text);
    }
}

} // namespace cloister::config
