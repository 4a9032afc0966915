// SPDX-License-Identifier: MIT
#include "audit/record.h"

#include "policy/prove.h"

#include <array>
#include <charconv>
#include <fmt/format.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <map>

namespace cloister::audit {
namespace {

using Fields = std::map<std::string, std::string, std::less<>>;

std::optional<std::uint64_t> number_in(std::string_view text, int base) {
    if (text.starts_with("0x")) {
        text.remove_prefix(2);
        base = 16;
    }
    std::uint64_t number = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), number, base);
    const bool whole = !text.empty() && result.ec == std::errc{} && result.ptr == text.data() + text.size();
    return whole ? std::optional{number} : std::nullopt;
}

/// The kernel writes a name with other than printable characters, quotes or blanks in hex, without quotes.
std::string unhexed(const std::string& text) {
    std::string bytes;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
        const auto byte = number_in(std::string_view{text}.substr(i, 2), 16);
        if (!byte) {
            return text;
        }
        const auto c = static_cast<char>(*byte);
        bytes += c >= ' ' && c <= '~' ? c : '?';
    }
    return text.size() % 2 == 0 && !text.empty() ? bytes : text;
}

///   record = … { name "=" ( '"' text '"' | word ) }
/// A record that auditd has enriched repeats fields in capital letters behind a group separator.
Fields fields_of(std::string_view line) {
    Fields fields;
    for (std::size_t at = 0; at < line.size();) {
        const auto equals = line.find('=', at);
        if (equals == std::string_view::npos) {
            break;
        }
        const auto before = line.find_last_of(" \t\x1d:'\"", equals);
        const auto begin = before == std::string_view::npos ? 0 : before + 1;
        std::string name{line.substr(begin, equals - begin)};
        auto end = equals + 1;
        std::string value;
        if (end < line.size() && line[end] == '"') {
            const auto close = line.find('"', end + 1);
            value = line.substr(end + 1, close == std::string_view::npos ? close : close - end - 1);
            end = close == std::string_view::npos ? line.size() : close + 1;
        } else {
            end = std::min(line.find_first_of(" \t\x1d\r\n'", end), line.size());
            value = line.substr(equals + 1, end - equals - 1);
            if (name == "comm" || name == "exe") {
                value = unhexed(value);
            }
        }
        fields.emplace(std::move(name), std::move(value)); // the first counts
        at = end;
    }
    return fields;
}

/// A record of cloisterd: an object in JSON whose values are no objects.
Fields fields_of_json(std::string_view line) {
    Fields fields;
    std::size_t at = 0;
    const auto text = [&]() -> std::optional<std::string> {
        const auto open = line.find('"', at);
        const auto close = open == std::string_view::npos ? open : line.find('"', open + 1);
        if (close == std::string_view::npos) {
            return std::nullopt;
        }
        at = close + 1;
        return std::string{line.substr(open + 1, close - open - 1)};
    };
    while (const auto name = text()) {
        while (at < line.size() && (line[at] == ':' || line[at] == ' ')) {
            ++at;
        }
        if (at < line.size() && line[at] == '"') {
            fields.emplace(*name, text().value_or(""));
        } else {
            const auto end = std::min(line.find_first_of(",}", at), line.size());
            fields.emplace(*name, std::string{line.substr(at, end - at)});
        }
    }
    return fields;
}

std::optional<policy::Abi> abi_of(std::uint32_t arch, std::uint32_t number) {
    for (const auto abi : {policy::Abi::x86_64, policy::Abi::aarch64, policy::Abi::i386}) {
        if (policy::audit_arch(abi) == arch) {
            return abi == policy::Abi::x86_64 && number >= policy::x32_bit ? policy::Abi::x32 : abi;
        }
    }
    return std::nullopt;
}

/// c000003e, or as ausearch -i has it.
std::optional<std::uint32_t> arch_in(std::string_view text) {
    if (const auto abi = policy::abi_named(text)) {
        return policy::audit_arch(*abi);
    }
    if (text == "b64" || text == "b32") {
        return std::nullopt;
    }
    const auto number = number_in(text, 16);
    return number ? std::optional{static_cast<std::uint32_t>(*number)} : std::nullopt;
}

constexpr std::pair<std::string_view, std::uint32_t> actions[] = {{"kill-process", SECCOMP_RET_KILL_PROCESS},
                                                                  {"kill_process", SECCOMP_RET_KILL_PROCESS},
                                                                  {"kill-thread", SECCOMP_RET_KILL_THREAD},
                                                                  {"kill_thread", SECCOMP_RET_KILL_THREAD},
                                                                  {"kill", SECCOMP_RET_KILL_THREAD},
                                                                  {"trap", SECCOMP_RET_TRAP},
                                                                  {"errno", SECCOMP_RET_ERRNO},
                                                                  {"notify", SECCOMP_RET_USER_NOTIF},
                                                                  {"user-notif", SECCOMP_RET_USER_NOTIF},
                                                                  {"trace", SECCOMP_RET_TRACE},
                                                                  {"log", SECCOMP_RET_LOG},
                                                                  {"allow", SECCOMP_RET_ALLOW}};

std::optional<std::uint32_t> code_in(std::string_view text) {
    for (const auto& [name, value] : actions) {
        if (text == name) {
            return value;
        }
    }
    const auto number = number_in(text, 16);
    return number ? std::optional{static_cast<std::uint32_t>(*number)} : std::nullopt;
}

std::string text_in(const Fields& fields, std::string_view name) {
    const auto found = fields.find(name);
    return found == fields.end() ? std::string{} : found->second;
}

constexpr auto wanted =
    "a record of seccomp looks like 'audit: type=1326 audit(…): … pid=1234 comm=\"…\" exe=\"…\" "
    "sig=31 arch=c000003e syscall=41 compat=0 ip=0x… code=0x80000000'";

} // namespace

tl::expected<Record, std::string> parse_record(std::string_view line) {
    const auto first = line.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) {
        return tl::unexpected{fmt::format("the line is empty; {}", wanted)};
    }
    const bool own_log = line[first] == '{';
    const auto fields = own_log ? fields_of_json(line) : fields_of(line);
    if (own_log && !fields.contains("syscall")) {
        return tl::unexpected{
            fmt::format("this record of cloisterd{} does not have the number of the call, which only the "
                        "kernel knows: look "
                        "for its record{} (journalctl -k, dmesg, ausearch -m SECCOMP)",
                        fields.contains("event") ? fmt::format(", '{}',", text_in(fields, "event")) : "",
                        fields.contains("pid") ? fmt::format(" with pid={}", text_in(fields, "pid")) : "")};
    }
    if (const auto type = text_in(fields, "type"); !type.empty() && type != "1326" && type != "SECCOMP") {
        return tl::unexpected{fmt::format(
            "the record has the type {}, those of seccomp have 1326 (SECCOMP); {}", type, wanted)};
    }
    std::string missing;
    for (const auto* name : {"arch", "syscall"}) {
        if (!fields.contains(name)) {
            missing += fmt::format("{}'{}='", missing.empty() ? "" : " and no ", name);
        }
    }
    if (!missing.empty()) {
        return tl::unexpected{fmt::format("there is no {} in it; {}", missing, wanted)};
    }
    Record record;
    const auto arch = arch_in(text_in(fields, "arch"));
    if (!arch) {
        return tl::unexpected{
            fmt::format("arch={} is neither hexadecimal digits, as the kernel writes them, nor "
                        "the name of an ABI that is known here",
                        text_in(fields, "arch"))};
    }
    record.arch = *arch;
    const auto call = text_in(fields, "syscall");
    record.abi = abi_of(*arch, 0);
    if (const auto number = number_in(call, 10); number && *number <= 0xffffffff) {
        record.number = static_cast<std::uint32_t>(*number);
        record.abi = abi_of(*arch, record.number);
        record.call = record.abi ? policy::name_of(*record.abi, record.number) : "";
    } else if (const auto named = record.abi ? policy::number_of(*record.abi, call) : std::nullopt; named) {
        record.number = *named;
        record.call = call;
    } else {
        return tl::unexpected{
            fmt::format("syscall={} is neither a number nor a call of that ABI ({})", call,
                        record.abi ? std::string{to_string(*record.abi)} : fmt::format("{:#x}", *arch))};
    }
    record.pid = text_in(fields, "pid");
    record.uid = text_in(fields, "uid");
    record.comm = text_in(fields, "comm");
    record.exe = text_in(fields, "exe");
    if (const auto open = line.find("audit("); open != std::string_view::npos) {
        record.time = line.substr(open + 6, line.find(')', open) - open - 6);
    }
    if (const auto text = text_in(fields, "sig"); !text.empty()) {
        const auto number = text == "SIGSYS" ? std::optional<std::uint64_t>{31} : number_in(text, 10);
        if (!number) {
            return tl::unexpected{fmt::format("sig={} is no number of a signal", text)};
        }
        record.signal = static_cast<std::uint32_t>(*number);
    }
    if (const auto text = text_in(fields, "code"); !text.empty()) {
        record.code = code_in(text);
        if (!record.code) {
            return tl::unexpected{fmt::format("code={} is no action of seccomp", text)};
        }
    }
    if (const auto text = text_in(fields, "ip"); !text.empty()) {
        record.instruction_pointer = number_in(text, 16);
        if (!record.instruction_pointer) {
            return tl::unexpected{fmt::format("ip={} is no address", text)};
        }
    }
    return record;
}

std::string describe_code(std::uint32_t code) {
    const auto action = code & SECCOMP_RET_ACTION_FULL;
    const auto data = code & SECCOMP_RET_DATA;
    if (action == SECCOMP_RET_ERRNO) {
        return policy::describe_return(code);
    }
    for (const auto& [name, value] : actions) {
        if (action == value) {
            return data == 0 ? std::string{name} : fmt::format("{} with data {}", name, data);
        }
    }
    return fmt::format("{:#010x}, an action unknown here: the kernel takes it for kill-process", code);
}

} // namespace cloister::audit
