// SPDX-License-Identifier: MIT
#include "config/show.h"

#include "base/text.h"
#include "config/spec.h"

#include <fmt/format.h>

namespace cloister::config {
namespace {

bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const auto length = utf8_length(text);
        if (length == 0) {
            return false;
        }
        text.remove_prefix(length);
    }
    return true;
}

class Printer {
  public:
    explicit Printer(const Config& config) : config_{config} {}

    tl::expected<std::string, std::string> print() {
        text_ = "# The configuration that is in effect, each value with its origin. What is commented out is "
                "a default.\n";
        text(Key::user, config_.origins,
             config_.user ? fmt::format("{}:{}", config_.user->name, config_.user->gid) : "");
        text(Key::policy_dir, config_.origins, config_.policy_dir);
        number(Key::log_format, config_.origins, config_.log_format == LogFormat::logfmt ? 1 : 0);
        text(Key::control_socket, config_.origins,
             !config_.control_socket           ? ""
             : config_.control_socket->empty() ? "off"
                                               : config_.control_socket->string());
        for (const auto& service : config_.services) {
            print(service);
        }
        return wrong_.empty() ? tl::expected<std::string, std::string>{text_} : tl::unexpected{wrong_};
    }

  private:
    const Config& config_;
    std::string text_;
    std::string wrong_;

    void print(const Service& service) {
        const auto ms = [](std::chrono::milliseconds time) {
            return static_cast<std::uint64_t>(time.count());
        };
        const auto& origins = service.origins;
        text_ += "\n[[service]]\n";
        line(Key::name, origins, spelled(spec_of(Key::name), {0, service.name}), true);
        text(Key::handler, origins, service.handler);
        std::string addresses;
        for (const auto& address : service.listen) {
            check(Key::listen, address.text);
            addresses += fmt::format("{}{}", addresses.empty() ? "" : ", ",
                                     spelled(spec_of(Key::listen), {0, address.text}));
        }
        if (addresses.empty()) {
            text_ += "# listen: the sockets that are passed under this name\n";
        } else {
            line(Key::listen, origins, fmt::format("[{}]", addresses));
        }
        text(Key::content, origins, service.content);
        number(Key::content_after, origins, service.content_after_request ? 1 : 0);
        std::string exempt;
        for (const auto& source : service.exempt) {
            exempt += fmt::format("{}\"{}\"", exempt.empty() ? "" : ", ", control::SourceText{source}.text);
        }
        line(Key::exempt, origins, exempt.empty() ? "" : fmt::format("[{}]", exempt));
        const auto rate = [](const RateLimit& limit) {
            return std::uint64_t{limit.per_second} << 32U | limit.burst;
        };
        const auto prefixes = [](const Prefixes& bits) { return std::uint64_t{bits.ipv4} << 8U | bits.ipv6; };
        number(Key::max_connections, origins, service.max_connections);
        number(Key::listeners, origins, service.listeners);
        number(Key::max_per_source, origins, service.max_per_source);
        number(Key::source_rate, origins, rate(service.source_rate));
        number(Key::source_prefix, origins, prefixes(service.source_prefix));
        number(Key::max_per_network, origins, service.max_per_network);
        number(Key::network_rate, origins, rate(service.network_rate));
        number(Key::network_prefix, origins, prefixes(service.network_prefix));
        number(Key::reserve, origins, service.reserve);
        number(Key::penalty, origins, ms(service.penalty));
        number(Key::over_rate_penalty, origins, ms(service.over_rate_penalty));
        number(Key::privileged_ports, origins, service.refuse_privileged_ports ? 1 : 0);
        number(Key::defer_accept, origins, ms(service.defer_accept));
        number(Key::idle_timeout, origins, ms(service.idle_timeout));
        number(Key::lifetime, origins, ms(service.lifetime));
        number(Key::cpu_limit, origins, ms(service.cpu_limit));
        number(Key::socket_buffer, origins, service.socket_buffer.value_or(0));
        number(Key::drain_timeout, origins, ms(service.drain_timeout));
    }

    void check(Key key, const std::string& value) {
        if (!is_utf8(value)) {
            wrong_ = fmt::format("{} '{}' is not UTF-8, and can't stand in a file", spec_of(key).name, value);
        }
    }
    void text(Key key, const Origins& origins, const std::string& value) {
        check(key, value);
        line(key, origins, value.empty() ? "" : spelled(spec_of(key), {0, value}));
    }
    void number(Key key, const Origins& origins, std::uint64_t value) {
        line(key, origins, spelled(spec_of(key), {value, {}}));
    }
    /// Empty: there is none.
    void line(Key key, const Origins& origins, const std::string& value, bool always = false) {
        const char* name = spec_of(key).name;
        const bool active = always || origins.given(key);
        text_ += value.empty() ? fmt::format("# {}: none", name)
                               : fmt::format("{}{} = {}", active ? "" : "# ", name, value);
        text_ += fmt::format("  # {}\n", origin(key, origins[key]));
    }
    [[nodiscard]] std::string origin(Key key, const Origin& origin) const {
        const char* name = spec_of(key).name;
        switch (origin.source) {
        case Origin::Source::file: // the path may hold anything, a comment no control character
            return fmt::format("{}:{}", in_comment(config_.file), origin.line);
        case Origin::Source::environment:
            return fmt::format("environment {}", environment_name(name));
        case Origin::Source::option:
            return fmt::format("option --{}", name);
        case Origin::Source::standard:
            break;
        }
        return "default";
    }
    static std::string in_comment(const std::string& path) {
        std::string shown;
        std::string_view rest = path;
        for (Escape escape; !rest.empty();) {
            shown += take_escaped(rest, escape);
        }
        return shown;
    }
};

} // namespace

tl::expected<std::string, std::string> show(const Config& config) {
    return Printer{config}.print();
}

} // namespace cloister::config
