// SPDX-License-Identifier: MIT
//
// The first byte says what the input is. Even: the text of a configuration file. Whatever it is, the result
// goes through the wire unchanged; an error points into the text and can be printed; and what --show-config
// prints of a model is a file with the same effect, which prints the same. Odd: bytes that a reader hands
// over, laid over those of a good model. What is believed of them keeps every promise: it goes through the
// wire unchanged.
#include "config/show.h"
#include "config/wire.h"

#include "harness.h"

#include <algorithm>
#include <cstring>
#include <regex>

namespace cloister::config {
namespace {

std::span<const char> bytes_of(const Wire& wire) {
    return {reinterpret_cast<const char*>(&wire), sizeof wire};
}

unsigned lines_of(std::string_view text) {
    return static_cast<unsigned>(std::count(text.begin(), text.end(), '\n')) + 1;
}

void expect_unchanged_by_the_wire(const FileResult& result, unsigned lines) {
    const auto wire = encode(result);
    const auto decoded = decode(bytes_of(*wire), lines);
    if (!decoded) {
        fuzz::broken("what was read is refused: " + decoded.error());
    }
    if (decoded->has_value() != result.has_value() ||
        (result ? !(**decoded == *result) : !(decoded->error() == result.error()))) {
        fuzz::broken("the wire changed what was read");
    }
}

RateLimit rate_of(const Value& value) {
    return {static_cast<std::uint32_t>(value.number >> 32U), static_cast<std::uint32_t>(value.number)};
}

Prefixes prefixes_of(const Value& value) {
    return {static_cast<std::uint8_t>(value.number >> 8U), static_cast<std::uint8_t>(value.number)};
}

/// Without the lookups of accounts and interfaces, which are the system's: what --show-config would print.
std::string shown(const FileModel& model) {
    Config config{{}, {}, "/policies", LogFormat::json, {}, false, {}};
    for (const auto& value : model.daemon) {
        config.origins[value.key] = {Origin::Source::file, value.line};
        if (value.key == Key::policy_dir) {
            config.policy_dir = value.value.text;
        } else if (value.key == Key::log_format) {
            config.log_format = value.value.number == 1 ? LogFormat::logfmt : LogFormat::json;
        } else if (value.key == Key::control_socket) {
            config.control_socket = value.value.text == "off" ? "" : value.value.text;
        }
    }
    config.origins[Key::user] = {};
    for (const auto& from : model.services) {
        Service& service = config.services.emplace_back();
        for (const auto* table : {&model.defaults, &from.values}) { // the second wins
            for (const auto& [key, value, line, column] : *table) {
                service.origins[key] = {Origin::Source::file, line};
                const std::chrono::milliseconds time{value.number};
                switch (key) {
                case Key::name:
                    service.name = value.text;
                    break;
                case Key::handler:
                    service.handler = value.text;
                    break;
                case Key::listen:
                    service.listen.push_back({value.text, {}, 0});
                    break;
                case Key::content:
                    service.content = value.text;
                    break;
                case Key::content_after:
                    service.content_after_request = value.number == 1;
                    break;
                case Key::listeners:
                    service.listeners = static_cast<unsigned>(value.number);
                    break;
                case Key::max_connections:
                    service.max_connections = static_cast<unsigned>(value.number);
                    break;
                case Key::idle_timeout:
                    service.idle_timeout = time;
                    break;
                case Key::lifetime:
                    service.lifetime = time;
                    break;
                case Key::cpu_limit:
                    service.cpu_limit = std::chrono::duration_cast<std::chrono::seconds>(time);
                    break;
                case Key::drain_timeout:
                    service.drain_timeout = time;
                    break;
                case Key::socket_buffer:
                    service.socket_buffer =
                        value.number == 0 ? std::nullopt : std::optional{static_cast<unsigned>(value.number)};
                    break;
                case Key::exempt:
                    if (const auto source = control::parse_source(value.text)) {
                        service.exempt.push_back(*source);
                    }
                    break;
                case Key::max_per_source:
                    service.max_per_source = static_cast<unsigned>(value.number);
                    break;
                case Key::source_rate:
                    service.source_rate = rate_of(value);
                    break;
                case Key::source_prefix:
                    service.source_prefix = prefixes_of(value);
                    break;
                case Key::max_per_network:
                    service.max_per_network = static_cast<unsigned>(value.number);
                    break;
                case Key::network_rate:
                    service.network_rate = rate_of(value);
                    break;
                case Key::network_prefix:
                    service.network_prefix = prefixes_of(value);
                    break;
                case Key::reserve:
                    service.reserve = static_cast<unsigned>(value.number);
                    break;
                case Key::penalty:
                    service.penalty = time;
                    break;
                case Key::over_rate_penalty:
                    service.over_rate_penalty = time;
                    break;
                case Key::privileged_ports:
                    service.refuse_privileged_ports = value.number == 1;
                    break;
                case Key::defer_accept:
                    service.defer_accept = time;
                    break;
                default:
                    fuzz::broken("a service has what is not a service's");
                }
            }
        }
    }
    auto text = show(config);
    if (!text) {
        fuzz::broken("a file said what no file can say: " + text.error());
    }
    return *text;
}

/// `text` without where each value was said.
std::string without_origins(const std::string& text) {
    static const std::regex origin{"  # (:[0-9]+|default)\n"};
    return std::regex_replace(text, origin, "\n");
}

void try_text(const std::string& text) {
    const auto read = parse_file(text);
    expect_unchanged_by_the_wire(read, lines_of(text));
    if (!read) {
        const auto where = located("file", text, read.error());
        if (std::any_of(where.begin(), where.end(),
                        [](char c) { return (c < ' ' && c != '\n') || c > '~'; })) {
            fuzz::broken("an error that can't be printed: " + where);
        }
        return;
    }
    const auto once = shown(*read);
    const auto again = parse_file(once);
    if (!again) {
        fuzz::broken("what is shown can't be read: " + located("shown", once, again.error()) + "\n" + once);
    }
    if (const auto twice = shown(*again); without_origins(twice) != without_origins(once)) {
        fuzz::broken("shown once:\n" + once + "shown twice:\n" + twice);
    }
}

void try_bytes(fuzz::Input input) {
    constexpr unsigned lines = 9;
    static const auto good =
        encode(*parse_file("user = \"x\"\n[defaults]\nlifetime = \"1s\"\n[[service]]\nname = \"a\"\n"
                           "listen = [\"127.0.0.1:1\"]\ncontent = \"/c\"\n[[service]]\nname = \"b\"\n"));
    const auto wire = std::make_unique<Wire>(*good);
    auto* bytes = reinterpret_cast<char*>(wire.get());
    constexpr size_t head = offsetof(Wire, values);
    while (
        !input.empty()) { // one change each: a place in the head, in the first values, or in the first texts
        const auto place = input.number(2);
        const size_t at = place < 0x5000   ? place % head
                          : place < 0xb000 ? head + place % (8 * sizeof(Wire::FileValue))
                                           : offsetof(Wire, pool) + place % 64;
        bytes[at] = static_cast<char>(input.byte());
    }
    const auto decoded = decode(bytes_of(*wire), lines);
    if (decoded) {
        expect_unchanged_by_the_wire(*decoded, lines);
        if (*decoded) {
            for (const auto& service : (*decoded)->services) {
                (void)find(service.values, Key::name)->value.text.at(0); // each has one
            }
        }
    }
}

} // namespace
} // namespace cloister::config

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cloister;
    if (size == 0) {
        return 0;
    }
    if (data[0] % 2 == 0) {
        config::try_text({data + 1, data + size});
    } else {
        config::try_bytes({data + 1, size - 1});
    }
    return 0;
}
