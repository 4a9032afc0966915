// SPDX-License-Identifier: MIT
#include "control/source.h"

#include <arpa/inet.h>
#include <cstdio>
#include <cstring>

namespace cloister::control {
namespace {

constexpr std::uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::uint8_t bits_of(Source::Kind kind) {
    return kind == Source::Kind::ipv6 ? ipv6_bits : ipv4_bits; // user_bits are as many
}

/// Decimal digits alone, at most `most`.
std::optional<std::uint32_t> parse_number(std::string_view text, std::uint64_t most) {
    std::uint64_t value = 0;
    if (text.empty() || text.size() > 10) {
        return {};
    }
    for (const char c : text) {
        if (c < '0' || c > '9') {
            return {};
        }
        value = value * 10 + static_cast<unsigned>(c - '0');
    }
    return value <= most ? std::optional{static_cast<std::uint32_t>(value)} : std::nullopt;
}

} // namespace

Source source_of(int family, const std::uint8_t* address) {
    Source source;
    if (family == AF_INET6 && std::memcmp(address, mapped, sizeof mapped) != 0) {
        source.kind = Source::Kind::ipv6;
        std::memcpy(source.address, address, sizeof source.address);
    } else {
        source.kind = Source::Kind::ipv4;
        std::memcpy(source.address, family == AF_INET6 ? address + sizeof mapped : address, 4);
    }
    source.prefix = bits_of(source.kind);
    return source;
}

Source source_of_user(std::uint32_t uid) {
    Source source;
    source.kind = Source::Kind::user;
    source.prefix = user_bits;
    const std::uint32_t number = htonl(uid);
    std::memcpy(source.address, &number, sizeof number);
    return source;
}

Source with_prefix(Source one, std::uint8_t bits) {
    if (one.kind == Source::Kind::user || bits >= one.prefix) {
        return one;
    }
    one.prefix = bits;
    for (unsigned i = 0; i < sizeof one.address; ++i) {
        const unsigned kept = bits > 8 * i ? bits - 8 * i : 0;
        one.address[i] &= static_cast<std::uint8_t>(kept >= 8 ? 0xff : 0xff00U >> kept);
    }
    return one;
}

bool covers(const Source& range, const Source& one) {
    return range.kind == one.kind && range.prefix <= one.prefix && with_prefix(one, range.prefix) == range;
}

SourceText::SourceText(const Source& source) {
    if (source.kind == Source::Kind::user) {
        std::uint32_t number = 0;
        std::memcpy(&number, source.address, sizeof number);
        (void)std::snprintf(text, sizeof text, "uid:%u", ntohl(number));
        return;
    }
    char address[INET6_ADDRSTRLEN] = "?";
    inet_ntop(source.kind == Source::Kind::ipv6 ? AF_INET6 : AF_INET, source.address, address,
              sizeof address);
    if (source.prefix == bits_of(source.kind)) {
        (void)std::snprintf(text, sizeof text, "%s", address);
    } else {
        (void)std::snprintf(text, sizeof text, "%s/%u", address, source.prefix);
    }
}

std::optional<Source> parse_source(std::string_view text) {
    constexpr std::string_view user = "uid:";
    if (text.starts_with(user)) {
        const auto uid = parse_number(text.substr(user.size()), UINT32_MAX);
        return uid ? std::optional{source_of_user(*uid)} : std::nullopt;
    }
    const auto slash = text.find('/');
    char address[INET6_ADDRSTRLEN] = {};
    const std::string_view first = text.substr(0, slash);
    if (first.size() >= sizeof address) {
        return {};
    }
    first.copy(address, first.size());
    std::uint8_t bytes[16] = {};
    const int family = first.find(':') == first.npos ? AF_INET : AF_INET6;
    if (inet_pton(family, address, bytes) != 1) {
        return {};
    }
    const Source whole = source_of(family, bytes);
    if (slash == text.npos) {
        return whole;
    }
    // A mapped range is one of IPv4: ::ffff:192.0.2.0/120.
    const bool folded = family == AF_INET6 && whole.kind == Source::Kind::ipv4;
    const unsigned bits = family == AF_INET6 ? ipv6_bits : ipv4_bits;
    const unsigned less = folded ? ipv6_bits - ipv4_bits : 0;
    const auto prefix = parse_number(text.substr(slash + 1), bits);
    if (!prefix || *prefix < less) {
        return {};
    }
    const Source range = with_prefix(whole, static_cast<std::uint8_t>(*prefix - less));
    const bool spare = std::memcmp(range.address, whole.address, sizeof whole.address) != 0;
    return spare ? std::nullopt : std::optional{range};
}

} // namespace cloister::control
