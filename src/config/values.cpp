// SPDX-License-Identifier: MIT
#include "config/values.h"

#include "base/cure.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

namespace cloister::config {
namespace {

template <class Number>
std::optional<Number> whole_number(std::string_view digits) {
    Number value{};
    const char* end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value);
    return error == std::errc{} && stop == end ? std::optional{value} : std::nullopt;
}

Refusal usage(std::string why) {
    return {ExitCode::Usage, std::move(why)};
}

/// A user or group number; the largest one means 'unchanged' to setresuid(2).
std::optional<uint32_t> id_number(std::string_view text) {
    const auto id = whole_number<uint32_t>(text);
    return id == UINT32_MAX ? std::nullopt : id;
}

/// The account, nothing if there is none, or why the kernel did not let libc look.
template <class Look>
tl::expected<std::optional<User>, Refusal> look_up(std::string_view name, Look&& look) {
    std::array<char, 16384> buffer{};
    passwd entry{};
    passwd* found = nullptr;
    const int error = look(&entry, buffer.data(), buffer.size(), &found);
    for (const int failed : {EMFILE, ENFILE, ENOMEM}) { // others mean 'not found': getpwnam(3)
        if (error == failed) {
            return tl::unexpected{Refusal{
                ExitCode::SystemCall, with_cure(fmt::format("cannot look up the user '{}': getpwnam_r: {}",
                                                            name, error_text(error)))}};
        }
    }
    return found == nullptr ? std::nullopt : std::optional{User{entry.pw_uid, entry.pw_gid, entry.pw_name}};
}

/// Its digits, and what is behind them.
std::pair<std::string_view, std::string_view> split_unit(std::string_view text) {
    const auto unit_at = std::min(text.find_first_not_of("0123456789"), text.size());
    return {text.substr(0, unit_at), text.substr(unit_at)};
}

/// A number that fits no 64 bits, and so no range.
constexpr std::uint64_t too_large = ~std::uint64_t{0};

std::uint64_t times(std::optional<std::uint64_t> count, std::uint64_t factor) {
    return count && *count <= too_large / factor ? *count * factor : too_large;
}

tl::expected<std::uint64_t, std::string> parse_time(const Spec& spec, std::string_view text) {
    const auto [digits, unit] = split_unit(text);
    const std::uint64_t factor = unit == "ms"  ? 1
                                 : unit == "s" ? 1000
                                 : unit == "m" ? 60'000
                                 : unit == "h" ? 3'600'000
                                               : 0;
    if (digits.empty() || factor == 0) {
        return tl::unexpected{fmt::format(
            "a time is a whole number and a unit: 500ms, 10s, 2m, 1h; give {} to 24h{}",
            spec.kind == Kind::seconds ? "1s" : "1ms", spec.kind == Kind::time_or_off ? ", or off" : "")};
    }
    return times(whole_number<std::uint64_t>(digits), factor);
}

/// 32/s:128, 32/s.
tl::expected<std::uint64_t, std::string> parse_rate(std::string_view text) {
    constexpr unsigned usual_burst = 4; // times the rate
    const auto colon = std::min(text.find(':'), text.size());
    const auto [digits, unit] = split_unit(text.substr(0, colon));
    const std::string_view rest = text.substr(colon);
    const bool whole = rest.empty() || (rest.size() > 1 && split_unit(rest.substr(1)).second.empty());
    if (digits.empty() || unit != "/s" || !whole) {
        return tl::unexpected{
            std::string{"a rate is connections a second, and how many may come at once: 32/s:128, 32/s"}};
    }
    const std::uint64_t rate =
        std::min(whole_number<std::uint64_t>(digits).value_or(too_large), std::uint64_t{max_rate} + 1);
    const std::uint64_t burst =
        rest.empty() ? std::min(usual_burst * rate, std::uint64_t{max_rate})
                     : std::min(whole_number<std::uint64_t>(rest.substr(1)).value_or(too_large),
                                std::uint64_t{max_rate} + 1);
    return rate << 32U | burst;
}

/// 24,48
tl::expected<std::uint64_t, std::string> parse_prefixes(std::string_view text) {
    const auto comma = text.find(',');
    const auto ipv4 = whole_number<std::uint8_t>(text.substr(0, comma));
    const auto ipv6 = comma == text.npos ? std::nullopt : whole_number<std::uint8_t>(text.substr(comma + 1));
    if (!ipv4 || !ipv6) {
        return tl::unexpected{
            std::string{"two lengths in bits, of IPv4 and of IPv6: 32,64; give 1 to 32, and 1 to 128"}};
    }
    constexpr std::uint64_t not_off = std::uint64_t{1} << 16U; // 0,0 is out of range, and not off
    return *ipv4 == 0 && *ipv6 == 0 ? not_off << 8U : std::uint64_t{*ipv4} << 8U | *ipv6;
}

tl::expected<std::uint64_t, std::string> parse_percent(std::string_view text) {
    const auto [digits, unit] = split_unit(text);
    if (digits.empty() || unit != "%") {
        return tl::unexpected{std::string{"a share is a whole number and %: 10%; give 0% to 90%"}};
    }
    return whole_number<std::uint64_t>(digits).value_or(too_large);
}

tl::expected<std::uint64_t, std::string> parse_size(std::string_view text) {
    if (text == "auto") {
        return 0;
    }
    const auto [digits, unit] = split_unit(text);
    const std::uint64_t factor = unit == "K" ? 1024 : unit == "M" ? 1024 * 1024 : 0;
    if (digits.empty() || factor == 0) {
        return tl::unexpected{
            std::string{"a size is a whole number and a unit: 64K, 1M; give 4K to 64M, or auto"}};
    }
    const auto bytes = times(whole_number<std::uint64_t>(digits), factor);
    return bytes == 0 ? 1 : bytes; // 0 is auto, and 1 as far out of range
}

std::uint64_t parse_count(std::string_view text) {
    const bool digits = !text.empty() && text.find_first_not_of("0123456789") == text.npos;
    return digits ? whole_number<std::uint64_t>(text).value_or(too_large) : 0;
}

} // namespace

tl::expected<Value, std::string> parse_value(const Spec& spec, const std::string& text) {
    Value value;
    tl::expected<std::uint64_t, std::string> number{0};
    const bool may_be_off = spec.kind == Kind::time_or_off || spec.kind == Kind::prefixes_or_off;
    switch (may_be_off && text == "off" ? Kind::flag : spec.kind) {
    case Kind::flag:
        break;
    case Kind::rate:
        number = parse_rate(text);
        break;
    case Kind::prefixes:
    case Kind::prefixes_or_off:
        number = parse_prefixes(text);
        break;
    case Kind::percent:
        number = parse_percent(text);
        break;
    case Kind::time_or_off:
        number = parse_time(spec, text);
        if (number == 0) {
            number = too_large;
        }
        break;
    case Kind::small_count:
    case Kind::count:
        number = parse_count(text);
        break;
    case Kind::time:
    case Kind::seconds:
        number = parse_time(spec, text);
        break;
    case Kind::size:
        number = parse_size(text);
        break;
    case Kind::choice:
        number = static_cast<std::uint64_t>(std::ranges::find(spec.choices, text) - std::begin(spec.choices));
        break;
    default:
        value.text = text;
    }
    if (!number) {
        return tl::unexpected{number.error()};
    }
    value.number = *number;
    if (auto why = why_not(spec, value)) {
        return tl::unexpected{std::move(*why)};
    }
    return value;
}

Verdict read_address(const std::string& text, std::vector<Address>& into) {
    if (into.size() == max_listening_sockets) {
        return usage(fmt::format("there are more than {} addresses; give fewer", max_listening_sockets));
    }
    auto address = parse_address(text);
    if (!address) {
        return usage(address.error());
    }
    into.push_back(std::move(*address));
    return {};
}

Verdict read_source(const std::string& text, std::vector<control::Source>& into) {
    if (into.size() == max_exempt) {
        return usage(fmt::format("there are more than {} of them; give fewer, wider ones", max_exempt));
    }
    const auto source = control::parse_source(text);
    if (!source) {
        return usage("not an address, a range of addresses, or a user; give 192.0.2.7, 192.0.2.0/24, "
                     "2001:db8::/32 (without bits behind the prefix), or uid:1000");
    }
    into.push_back(*source);
    return {};
}

Verdict read_user(const std::string& text, std::string_view said, std::optional<User>& into,
                  std::vector<std::string>& warnings) {
    const auto colon = text.find(':');
    const auto name = text.substr(0, colon);
    const auto uid = id_number(name);
    auto found = look_up(name, [&](auto... rest) {
        return uid ? ::getpwuid_r(*uid, rest...) : ::getpwnam_r(name.c_str(), rest...);
    });
    if (!found) {
        return std::move(found.error());
    }
    std::optional<User> user = std::move(*found);
    if (!user && uid) {
        user = User{*uid, *uid, name};
    }
    if (!user) {
        return usage(
            fmt::format("there is no user '{}'; create one that nothing else runs as (useradd --system "
                        "{}), or give numbers, which need no account: 61007:61007",
                        name, name.empty() ? "cloister" : name));
    }
    if (colon != text.npos) {
        const auto gid = id_number(text.substr(colon + 1));
        if (!gid) {
            return usage(
                fmt::format("'{}' is not the number of a group; give 0 < GID < 4294967295, or leave it away",
                            text.substr(colon + 1)));
        }
        user->gid = *gid;
    }
    if (user->uid == 0 || user->gid == 0) {
        return Refusal{
            ExitCode::NotPermitted,
            fmt::format("that is root's {}, which is what --user is there to leave; give a user that "
                        "nothing else runs as",
                        user->uid == 0 ? "user" : "group")};
    }
    if (user->name == "nobody" || user->uid == 65534) {
        warnings.push_back(
            fmt::format("{} {}: other services run as nobody too, and processes of one user can "
                        "signal each other; give cloisterd a user of its own",
                        said, text));
    }
    into = std::move(user);
    return {};
}

Verdict read_path(const std::string& text, std::filesystem::path& into) {
    // Absolute now, for the process may look again when its working directory has changed.
    std::error_code error;
    auto path = std::filesystem::absolute(text, error);
    if (error) {
        return Refusal{
            ExitCode::NoInput,
            fmt::format("the working directory can't be named ({}); give an absolute path", error.message())};
    }
    into = std::move(path);
    return {};
}

} // namespace cloister::config
