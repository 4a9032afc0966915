// SPDX-License-Identifier: MIT
#include "config/address.h"

#include <arpa/inet.h>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>
#include <optional>
#include <sys/un.h>

namespace cloister::config {
namespace {

constexpr std::string_view forms = "write 127.0.0.1:7007, [::1]:7007 or unix:/path";

template <class Sockaddr>
Sockaddr as(const sockaddr_storage& storage) {
    Sockaddr address{};
    std::memcpy(&address, &storage, sizeof address);
    return address;
}

template <class Sockaddr>
Address make(std::string_view text, const Sockaddr& sockaddr, size_t length) {
    Address address{std::string{text}, {}, static_cast<socklen_t>(length)};
    std::memcpy(&address.storage, &sockaddr, sizeof sockaddr);
    return address;
}

template <class Number>
std::optional<Number> number(std::string_view digits, int base) {
    Number value{};
    const char* end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value, base);
    return error == std::errc{} && stop == end ? std::optional{value} : std::nullopt;
}

// unix:PATH[,mode=OCTAL]
tl::expected<Address, std::string> parse_unix(std::string_view text) {
    std::string_view path = text.substr(std::strlen("unix:"));
    std::optional<unsigned> mode;
    if (const auto comma = path.find(','); comma != path.npos) {
        const auto setting = path.substr(comma + 1);
        path = path.substr(0, comma);
        if (setting.starts_with("mode=")) {
            mode = number<unsigned>(setting.substr(std::strlen("mode=")), 8);
        }
        if (!mode || *mode > 0777) {
            return tl::unexpected{fmt::format("'{}' is no setting of a unix socket; write mode=0660 "
                                              "(octal, 0 to 0777) after the comma",
                                              setting)};
        }
    }
    sockaddr_un sockaddr{};
    sockaddr.sun_family = AF_UNIX;
    if (!path.starts_with('/')) {
        return tl::unexpected{std::string{"the path of a unix socket starts with '/'"}};
    }
    if (path.size() >= sizeof sockaddr.sun_path) {
        return tl::unexpected{fmt::format("the path of a unix socket has at most {} bytes, this one has {}",
                                          sizeof sockaddr.sun_path - 1, path.size())};
    }
    std::memcpy(sockaddr.sun_path, path.data(), path.size());
    auto address = make(text, sockaddr, offsetof(sockaddr_un, sun_path) + path.size() + 1);
    address.mode = mode.value_or(address.mode);
    return address;
}

constexpr std::string_view multicast =
    "that is a multicast address, and no TCP connection goes to one; give the address of an interface, or {} "
    "for all of them";

/// The interface of that name or, as `ip link` counts them, number; 0: there is none.
unsigned interface_index(const std::string& interface) {
    const unsigned named = ::if_nametoindex(interface.c_str());
    const auto numbered = number<unsigned>(interface, 10);
    char name[IF_NAMESIZE];
    return named == 0 && numbered && ::if_indextoname(*numbered, name) != nullptr ? *numbered : named;
}

// [ADDR]:PORT, [ADDR%INTERFACE]:PORT
tl::expected<Address, std::string> parse_ipv6(std::string_view text, std::string_view host, uint16_t port) {
    const auto refuse = [](std::string why) { return tl::unexpected{std::move(why)}; };
    sockaddr_in6 sockaddr{};
    sockaddr.sin6_family = AF_INET6;
    sockaddr.sin6_port = htons(port);
    const auto percent = host.find('%');
    const auto bare = host.substr(0, percent);
    if (::inet_pton(AF_INET6, std::string{bare}.c_str(), &sockaddr.sin6_addr) != 1) {
        return refuse(fmt::format("'{}' is not an IPv6 address; {}", bare, forms));
    }
    if (IN6_IS_ADDR_V4MAPPED(&sockaddr.sin6_addr)) {
        return refuse("a mapped address is IPv4; write it as 127.0.0.1:7007");
    }
    if (IN6_IS_ADDR_MULTICAST(&sockaddr.sin6_addr)) {
        return refuse(fmt::format(multicast, "[::]"));
    }
    if (!IN6_IS_ADDR_LINKLOCAL(&sockaddr.sin6_addr)) {
        if (percent != host.npos) { // the kernel would ignore the interface: __ipv6_addr_needs_scope_id()
            return refuse(fmt::format("only a link-local address (fe80::/10) has an interface; write [{}]:{}",
                                      bare, port));
        }
        return make(text, sockaddr, sizeof sockaddr);
    }
    if (percent == host.npos) { // every interface has this network: ipv6(7)
        return refuse(fmt::format("a link-local address needs its interface: [{}%eth0]:{}; see ip -6 address",
                                  bare, port));
    }
    const std::string interface { host.substr(percent + 1) };
    sockaddr.sin6_scope_id = interface_index(interface);
    if (sockaddr.sin6_scope_id == 0) {
        return refuse(fmt::format("there is no network interface '{}'; see ip -6 address", interface));
    }
    return make(text, sockaddr, sizeof sockaddr);
}

tl::expected<Address, std::string> parse_ipv4(std::string_view text, std::string_view host, uint16_t port) {
    sockaddr_in sockaddr{};
    sockaddr.sin_family = AF_INET;
    sockaddr.sin_port = htons(port);
    if (::inet_pton(AF_INET, std::string{host}.c_str(), &sockaddr.sin_addr) == 1) {
        if (IN_MULTICAST(ntohl(sockaddr.sin_addr.s_addr))) { // bind(2) takes it all the same
            return tl::unexpected{fmt::format(multicast, "0.0.0.0")};
        }
        return make(text, sockaddr, sizeof sockaddr);
    }
    if (host.empty()) {
        return tl::unexpected{
            std::string{"the address is missing; for every interface write 0.0.0.0:PORT or [::]:PORT"}};
    }
    in6_addr unbracketed{};
    if (::inet_pton(AF_INET6, std::string{host.substr(0, host.find('%'))}.c_str(), &unbracketed) == 1) {
        return tl::unexpected{std::string{"an IPv6 address stands in brackets: [::1]:7007"}};
    }
    return tl::unexpected{
        fmt::format("'{}' is not an address, and names are not looked up; {}", host, forms)};
}

} // namespace

tl::expected<Address, std::string> parse_address(std::string_view text) {
    if (text.find('\0') != text.npos) {
        return tl::unexpected{std::string{"there is a NUL byte in it"}};
    }
    if (text.starts_with("unix:")) {
        return parse_unix(text);
    }
    const bool bracketed = text.starts_with('[');
    const auto colon = text.rfind(':');
    if (colon == text.npos || (bracketed && (colon == 0 || text[colon - 1] != ']'))) {
        return tl::unexpected{fmt::format("there is no port; {}", forms)};
    }
    const auto port = number<uint16_t>(text.substr(colon + 1), 10);
    if (!port) {
        return tl::unexpected{
            fmt::format("'{}' is not a port; write 0 (any free one) to 65535", text.substr(colon + 1))};
    }
    return bracketed ? parse_ipv6(text, text.substr(1, colon - 2), *port)
                     : parse_ipv4(text, text.substr(0, colon), *port);
}

std::string unix_path(const sockaddr_storage& address, socklen_t length) {
    const auto sockaddr = as<sockaddr_un>(address);
    const size_t size = length - offsetof(sockaddr_un, sun_path);
    return {sockaddr.sun_path, ::strnlen(sockaddr.sun_path, size)};
}

std::string name_of(const sockaddr_storage& address, socklen_t length) {
    char host[INET6_ADDRSTRLEN] = "?";
    switch (address.ss_family) {
    case AF_INET: {
        const auto sockaddr = as<sockaddr_in>(address);
        ::inet_ntop(AF_INET, &sockaddr.sin_addr, host, sizeof host);
        return fmt::format("{}:{}", host, ntohs(sockaddr.sin_port));
    }
    case AF_INET6: {
        const auto sockaddr = as<sockaddr_in6>(address);
        ::inet_ntop(AF_INET6, &sockaddr.sin6_addr, host, sizeof host);
        char interface[IF_NAMESIZE];
        const bool scoped =
            sockaddr.sin6_scope_id != 0 && ::if_indextoname(sockaddr.sin6_scope_id, interface) != nullptr;
        return fmt::format("[{}{}{}]:{}", host, scoped ? "%" : "", scoped ? interface : "",
                           ntohs(sockaddr.sin6_port));
    }
    case AF_UNIX: {
        const auto sockaddr = as<sockaddr_un>(address);
        const size_t size = length - offsetof(sockaddr_un, sun_path);
        if (size > 0 && sockaddr.sun_path[0] == '\0') {
            return fmt::format("unix:@{}", std::string_view{sockaddr.sun_path + 1, size - 1});
        }
        return "unix:" + unix_path(address, length);
    }
    default:
        return fmt::format("family {}", address.ss_family);
    }
}

uint16_t port_of(const sockaddr_storage& address) {
    switch (address.ss_family) {
    case AF_INET:
        return ntohs(as<sockaddr_in>(address).sin_port);
    case AF_INET6:
        return ntohs(as<sockaddr_in6>(address).sin6_port);
    default:
        return 0;
    }
}

bool is_any_ipv4(const sockaddr_storage& address) {
    return address.ss_family == AF_INET && as<sockaddr_in>(address).sin_addr.s_addr == INADDR_ANY;
}

bool is_any_ipv6(const sockaddr_storage& address) {
    const auto sockaddr = as<sockaddr_in6>(address);
    return address.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&sockaddr.sin6_addr);
}

bool has_scope(const sockaddr_storage& address) {
    return address.ss_family == AF_INET6 && as<sockaddr_in6>(address).sin6_scope_id != 0;
}

} // namespace cloister::config
