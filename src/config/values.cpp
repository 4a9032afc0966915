// SPDX-License-Identifier: MIT
#include "config/values.h"

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

template <class Look>
std::optional<User> look_up(Look&& look) {
    std::array<char, 16384> buffer{};
    passwd entry{};
    passwd* found = nullptr;
    if (look(&entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
        return {};
    }
    return User{entry.pw_uid, entry.pw_gid, entry.pw_name};
}

std::string spelled(std::chrono::milliseconds time) {
    return time.count() % 3'600'000 == 0 ? fmt::format("{}h", time.count() / 3'600'000)
           : time.count() % 1000 == 0    ? fmt::format("{}s", time.count() / 1000)
                                         : fmt::format("{}ms", time.count());
}

} // namespace

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

Verdict read_user(const std::string& text, std::optional<User>& into, std::vector<std::string>& warnings) {
    const auto colon = text.find(':');
    const auto name = text.substr(0, colon);
    std::optional<User> user;
    if (const auto uid = id_number(name)) {
        user = look_up([&](auto... rest) { return ::getpwuid_r(*uid, rest...); });
        user = user ? user : User{*uid, *uid, name};
    } else {
        user = look_up([&](auto... rest) { return ::getpwnam_r(name.c_str(), rest...); });
        if (!user) {
            return usage(
                fmt::format("there is no user '{}'; create one that nothing else runs as (useradd --system "
                            "{}), or give numbers, which need no account: 61007:61007",
                            name, name.empty() ? "cloister" : name));
        }
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
            fmt::format("--user {}: other services run as nobody too, and processes of one user can "
                        "signal each other; give cloisterd a user of its own",
                        text));
    }
    into = std::move(user);
    return {};
}

namespace {

Verdict read_absolute(const std::string& text, const char* what, std::filesystem::path& into) {
    if (text.empty()) {
        return usage(fmt::format("the path is empty; give a {}", what));
    }
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

} // namespace

Verdict read_path(const std::string& text, std::filesystem::path& into) {
    return read_absolute(text, "directory", into);
}

Verdict read_file(const std::string& text, std::filesystem::path& into) {
    return read_absolute(text, "file", into);
}

Verdict read_handler(const std::string& text, std::string& into) {
    constexpr auto letters = "abcdefghijklmnopqrstuvwxyz0123456789-";
    if (text.empty() || text.size() > 32 || text.front() == '-' ||
        text.find_first_not_of(letters) != text.npos) {
        return usage(
            "no handler has such a name; it has 1 to 32 of a-z, 0-9 and '-', and does not begin with '-'");
    }
    into = text;
    return {};
}

Verdict read_content_after(const std::string& text, bool& after_request) {
    if (text != "connect" && text != "request") {
        return usage("there is no such moment; give connect or request");
    }
    after_request = text == "request";
    return {};
}

Verdict read_max_connections(const std::string& text, unsigned& into) {
    const auto count = whole_number<uint64_t>(text);
    const bool too_large = count ? *count > max_max_connections
                                 : text.size() > 3 && text.find_first_not_of("0123456789") == text.npos;
    if (too_large) {
        return usage(
            fmt::format("more connections than any machine carries; give 1 to {}", max_max_connections));
    }
    if (!count || *count == 0) {
        return usage(fmt::format("not a number of connections; give 1 to {}", max_max_connections));
    }
    into = static_cast<unsigned>(*count);
    return {};
}

Verdict read_log_format(const std::string& text, LogFormat& into) {
    if (text != "json" && text != "logfmt") {
        return usage("there is no such format; give json or logfmt");
    }
    into = text == "json" ? LogFormat::json : LogFormat::logfmt;
    return {};
}

Verdict read_buffer_size(const std::string& text, std::optional<unsigned>& into) {
    constexpr unsigned kib = 1024;
    constexpr unsigned least = 4 * kib;
    constexpr unsigned most = 64 * kib * kib;
    if (text == "auto") {
        into.reset();
        return {};
    }
    const auto unit_at = std::min(text.find_first_not_of("0123456789"), text.size());
    const auto unit = text.substr(unit_at);
    const unsigned factor = unit == "K" ? kib : unit == "M" ? kib * kib : 0;
    if (unit_at == 0 || factor == 0) {
        return usage("a size is a whole number and a unit: 64K, 1M; give 4K to 64M, or auto");
    }
    const auto count = whole_number<std::uint64_t>(text.substr(0, unit_at));
    if (!count || *count > most / factor || *count * factor < least) {
        return usage("out of range; give 4K to 64M, or auto");
    }
    into = static_cast<unsigned>(*count) * factor;
    return {};
}

Verdict read_duration(const std::string& text, std::chrono::milliseconds longest,
                      std::chrono::milliseconds& into) {
    const auto unit_at = std::min(text.find_first_not_of("0123456789"), text.size());
    const auto unit = text.substr(unit_at);
    const uint64_t factor = unit == "ms"  ? 1
                            : unit == "s" ? 1000
                            : unit == "m" ? 60'000
                            : unit == "h" ? 3'600'000
                                          : 0;
    if (unit_at == 0 || factor == 0) {
        return usage(fmt::format("a time is a whole number and a unit: 500ms, 10s, 2m, 1h; give 1ms to {}",
                                 spelled(longest)));
    }
    const auto count = whole_number<uint64_t>(text.substr(0, unit_at));
    const auto most = static_cast<uint64_t>(longest.count());
    if (!count || *count == 0 || *count > most / factor) {
        return usage(fmt::format("out of range; give 1ms to {}", spelled(longest)));
    }
    into = std::chrono::milliseconds{*count * factor};
    return {};
}

Verdict read_duration(const std::string& text, std::chrono::milliseconds longest,
                      std::chrono::seconds& into) {
    std::chrono::milliseconds exact{};
    auto refusal = read_duration(text, longest, exact);
    if (!refusal && exact.count() % 1000 != 0) {
        refusal = usage(
            fmt::format("the kernel counts this limit in whole seconds; give 1s to {}", spelled(longest)));
    }
    if (!refusal) {
        into = std::chrono::duration_cast<std::chrono::seconds>(exact);
    }
    return refusal;
}

} // namespace cloister::config
