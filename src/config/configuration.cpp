// SPDX-License-Identifier: MIT
// Three sources, one model: for each value the first source that has it.
#include "base/cure.h"
#include "base/trust.h"
#include "config/options.h"
#include "config/show.h"
#include "config/values.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <set>
#include <sys/un.h>

namespace cloister::config {
namespace {

Exit usage(std::string_view message) {
    return {ExitCode::Usage, {}, fmt::format("cloisterd: {}\n", message)};
}

/// A value that a source gives.
struct Given {
    Origin origin;
    unsigned column = 0; ///< of a file
    std::string said{};  ///< what names it to who gave it: --user, CLOISTER_USER, user
    std::string text{};  ///< of options and environment
    Value value{};
};

/// Whether nobody can bind both. Port 0 is another one each time.
bool same_address(const Address& a, const Address& b) {
    if (a.storage.ss_family != b.storage.ss_family) {
        return false;
    }
    if (a.storage.ss_family == AF_UNIX) {
        return unix_path(a.storage, a.length) == unix_path(b.storage, b.length);
    }
    return port_of(a.storage) != 0 && a.length == b.length &&
           std::memcmp(&a.storage, &b.storage, a.length) == 0;
}

/// Calls of a failed builder change nothing; the first failure stays.
class Builder {
  public:
    Builder(const CommandLine& line, const Surroundings& surroundings)
        : line_{line}, surroundings_{surroundings} {}

    tl::expected<Config, Exit> build() {
        read_policy_dir_of_options();
        if (!failure_ && line_.flag(Key::version)) {
            return tl::unexpected{Exit{ExitCode::Ok, surroundings_.version_text(config_.policy_dir), {}}};
        }
        if (!failure_ && line_.flag(Key::check) && line_.flag(Key::show_config)) {
            failure_ = usage("--check says nothing, and --show-config shows; give one of them");
        }
        read_file();
        config_.check = line_.flag(Key::check);
        for (const auto& spec : specs()) {
            if (spec.scope == Scope::daemon) {
                set(spec, pick(spec, {&file_.daemon}), nullptr);
            }
        }
        const size_t count = std::max<size_t>(file_.services.size(), 1);
        config_.services.reserve(count);
        for (size_t i = 0; i < count; ++i) {
            build_service(i);
        }
        if (failure_) {
            return tl::unexpected{*failure_};
        }
        take_ipv4_where_free(config_.services);
        if (line_.flag(Key::show_config)) {
            auto shown = show(config_);
            return tl::unexpected{
                shown ? Exit{ExitCode::Ok, std::move(*shown), {}}
                      : Exit{ExitCode::Config, {}, fmt::format("cloisterd: {}\n", shown.error())}};
        }
        if (surroundings_.euid == 0 && !config_.user && !config_.check) {
            return tl::unexpected{
                Exit{ExitCode::NotPermitted,
                     {},
                     "cloisterd: started as root without a user to become; give --user NAME, a user "
                     "that nothing else runs as, or start it as an ordinary user\n"}};
        }
        return std::move(config_);
    }

  private:
    const CommandLine& line_;
    const Surroundings& surroundings_;
    Config config_;
    FileModel file_;
    std::string text_; // of the file
    std::optional<Exit> failure_;

    void fail(const Given& given, ExitCode code, const std::string& why) {
        if (failure_) {
            return;
        }
        if (given.origin.source == Origin::Source::file) {
            const FileError error{given.origin.line, given.column, fmt::format("{}: {}", given.said, why)};
            failure_ = Exit{code == ExitCode::Usage ? ExitCode::Config : code,
                            {},
                            fmt::format("cloisterd: {}\n", located(config_.file, text_, error))};
        } else {
            failure_ = Exit{code, {}, fmt::format("cloisterd: {} {}: {}\n", given.said, given.text, why)};
        }
    }

    /// What option or environment give; several for a list alone.
    std::vector<Given> given_at_start(const Spec& spec) {
        std::vector<Given> all;
        if (!spec.is_option) {
            return all;
        }
        Origin origin{Origin::Source::option, 0};
        std::string said = fmt::format("--{}", spec.name);
        auto texts = line_.of(spec.key);
        if (!is_list(spec.kind) && texts.size() > 1 && !failure_) {
            failure_ = usage(fmt::format("{} is given {} times; give it once", said, texts.size()));
        }
        if (texts.empty()) {
            origin.source = Origin::Source::environment;
            said = environment_name(spec.name);
            texts = from_environment(said, is_list(spec.kind));
        }
        for (const auto& text : texts) {
            Given given{origin, 0, said, text, {}};
            auto value = parse_value(spec, text);
            if (!value) {
                fail(given, ExitCode::Usage, value.error());
                return {};
            }
            given.value = std::move(*value);
            all.push_back(std::move(given));
        }
        return all;
    }

    [[nodiscard]] std::vector<std::string> from_environment(const std::string& variable, bool several) const {
        const char* text = surroundings_.environment(variable.c_str());
        if (text == nullptr || *text == '\0') {
            return {};
        }
        if (!several) {
            return {text};
        }
        std::vector<std::string> parts{""};
        for (const char* at = text; *at != '\0'; ++at) {
            if (*at == ' ') {
                parts.emplace_back();
            } else {
                parts.back() += *at;
            }
        }
        std::erase(parts, "");
        return parts;
    }

    /// The first source that has it; nothing: the default.
    std::vector<Given> pick(const Spec& spec, std::initializer_list<const FileTable*> tables) {
        auto all = given_at_start(spec);
        for (const FileTable* table : tables) {
            if (!all.empty()) {
                break;
            }
            for (const auto& value : *table) {
                if (value.key == spec.key) {
                    all.push_back(
                        {{Origin::Source::file, value.line}, value.column, spec.name, {}, value.value});
                }
            }
        }
        return all;
    }

    /// A directory that only options can name, as --version prints its hashes without a file having been
    /// read.
    void read_policy_dir_of_options() {
        const Spec& spec = spec_of(Key::policy_dir);
        if (const auto given = given_at_start(spec); !given.empty()) {
            set(spec, given, nullptr);
        } else if (surroundings_.default_policy_dir) {
            config_.policy_dir = *surroundings_.default_policy_dir;
        } else if (!failure_) {
            failure_ = Exit{ExitCode::SystemCall,
                            {},
                            fmt::format("cloisterd: {}\n", surroundings_.default_policy_dir.error())};
        }
    }

    void read_file() {
        const auto given = given_at_start(spec_of(Key::config));
        const bool expected = !given.empty();
        std::filesystem::path path = surroundings_.default_file;
        if (expected) {
            if (const auto refusal = read_path(given[0].text, path)) {
                fail(given[0], refusal->code, refusal->why);
            }
        }
        std::optional<User> user;
        if (const auto as = given_at_start(spec_of(Key::user)); !as.empty()) {
            std::vector<std::string> again; // the same warnings come when it is set
            if (const auto refusal = read_user(as[0].text, as[0].said, user, again)) {
                fail(as[0], refusal->code, refusal->why);
            }
        }
        if (failure_ || path.empty() || !load(path, expected)) {
            return;
        }
        config_.file = path;
        auto read = read_in_child(text_, path, surroundings_.reader(text_, user));
        if (!read) {
            failure_ = Exit{read.error().code, {}, fmt::format("cloisterd: {}\n", read.error().message)};
        } else if (!*read) {
            failure_ = Exit{
                ExitCode::Config, {}, fmt::format("cloisterd: {}\n", located(path, text_, read->error()))};
        } else {
            file_ = std::move(**read);
        }
    }

    /// Its bytes, which nothing here looks at. False: there is no file, or it failed.
    bool load(const std::filesystem::path& path, bool expected) {
        const auto refuse = [&](ExitCode code, const std::string& why) {
            failure_ = Exit{code, {}, fmt::format("cloisterd: {}: {}\n", path.string(), why)};
            return false;
        };
        auto file = trust::open_file(path, {.user = surroundings_.euid});
        if (!file) {
            const auto& [error, message] = file.error();
            const bool missing = error == ENOENT || error == ENOTDIR;
            if (missing && !expected) {
                return false;
            }
            return refuse(missing      ? ExitCode::NoInput
                          : error == 0 ? ExitCode::Config
                                       : ExitCode::SystemCall,
                          with_cure(fmt::format(
                              "{}{}", error == 0 ? "not to be trusted: " : "cannot open: ", message)));
        }
        text_.resize(max_file_size + 1);
        size_t size = 0;
        while (size < text_.size()) {
            const ssize_t n = ::read(file->get(), text_.data() + size, text_.size() - size);
            if (n < 0 && errno == EINTR) {
                continue;
            }
            if (n < 0) {
                return refuse(ExitCode::SystemCall, fmt::format("cannot read: {}", error_text(errno)));
            }
            if (n == 0) {
                break;
            }
            size += static_cast<size_t>(n);
        }
        text_.resize(size);
        return size <= max_file_size ||
               refuse(ExitCode::Config,
                      fmt::format("it has more than {} bytes; is it the right file?", max_file_size));
    }

    void build_service(size_t index) {
        const bool in_file = index < file_.services.size();
        static const FileTable nothing;
        const FileTable& own = in_file ? file_.services[index].values : nothing;
        Service& service = config_.services.emplace_back();
        service.listen.clear();
        for (const auto& spec : specs()) {
            if (!of_service(spec)) {
                continue;
            }
            const auto given =
                spec.scope == Scope::limit ? pick(spec, {&own, &file_.defaults}) : pick(spec, {&own});
            if (spec.scope == Scope::service && file_.services.size() > 1 && !given.empty() &&
                given[0].origin.source != Origin::Source::file && !failure_) {
                failure_ = usage(fmt::format(
                    "{}: {} has {} services, and this belongs to one of them; write it there, as {} "
                    "= {}, or give another file with --config",
                    given[0].said, config_.file.string(), file_.services.size(), spec.name, spec.example));
            }
            set(spec, given, &service);
        }
        service.listen_given = service.origins.given(Key::listen);
        service.socket_buffer_given = service.origins.given(Key::socket_buffer);
        if (!service.listen_given && file_.services.size() <= 1) {
            service.listen.push_back(*parse_address(spec_of(Key::listen).standard));
        }
    }

    /// `service` is null for what is the daemon's.
    void set(const Spec& spec, const std::vector<Given>& all, Service* service) {
        for (const auto& given : all) {
            if (failure_) {
                return;
            }
            if (auto refusal = service == nullptr ? apply(spec, given) : apply(spec, given, *service)) {
                fail(given, refusal->code, refusal->why);
                return;
            }
            (service == nullptr ? config_.origins : service->origins)[spec.key] = given.origin;
        }
    }

    static std::chrono::milliseconds time_of(const Given& given) {
        return std::chrono::milliseconds{given.value.number};
    }

    static RateLimit rate_of(std::uint64_t number) {
        return {static_cast<std::uint32_t>(number >> 32U), static_cast<std::uint32_t>(number)};
    }
    static Prefixes prefixes_of(std::uint64_t number) {
        return {static_cast<std::uint8_t>(number >> 8U), static_cast<std::uint8_t>(number)};
    }

    Verdict apply(const Spec& spec, const Given& given, Service& service) {
        const std::uint64_t number = given.value.number;
        switch (spec.key) {
        case Key::name:
            service.name = given.value.text;
            return {};
        case Key::handler:
            service.handler = given.value.text;
            return {};
        case Key::listen:
            return add_address(given, service);
        case Key::content:
            return read_path(given.value.text, service.content);
        case Key::content_after:
            service.content_after_request = number == 1;
            return {};
        case Key::exempt:
            return read_source(given.value.text, service.exempt);
        case Key::listeners:
            service.listeners = static_cast<unsigned>(number);
            return {};
        case Key::max_connections:
            service.max_connections = static_cast<unsigned>(number);
            return {};
        case Key::max_per_source:
            service.max_per_source = static_cast<unsigned>(number);
            return {};
        case Key::source_rate:
            service.source_rate = rate_of(number);
            return {};
        case Key::source_prefix:
            service.source_prefix = prefixes_of(number);
            return {};
        case Key::max_per_network:
            service.max_per_network = static_cast<unsigned>(number);
            return {};
        case Key::network_rate:
            service.network_rate = rate_of(number);
            return {};
        case Key::network_prefix:
            service.network_prefix = prefixes_of(number);
            return {};
        case Key::reserve:
            service.reserve = static_cast<unsigned>(number);
            return {};
        case Key::penalty:
            service.penalty = time_of(given);
            return {};
        case Key::over_rate_penalty:
            service.over_rate_penalty = time_of(given);
            return {};
        case Key::privileged_ports:
            service.refuse_privileged_ports = number == 1;
            return {};
        case Key::defer_accept:
            service.defer_accept = time_of(given);
            return {};
        case Key::idle_timeout:
            service.idle_timeout = time_of(given);
            return {};
        case Key::lifetime:
            service.lifetime = time_of(given);
            return {};
        case Key::cpu_limit:
            service.cpu_limit = std::chrono::duration_cast<std::chrono::seconds>(time_of(given));
            return {};
        case Key::socket_buffer:
            service.socket_buffer = number == 0 ? std::nullopt : std::optional{static_cast<unsigned>(number)};
            return {};
        case Key::drain_timeout:
            service.drain_timeout = time_of(given);
            return {};
        default:
            bug("a key of the daemon is set in a service");
        }
    }

    Verdict apply(const Spec& spec, const Given& given) {
        switch (spec.key) {
        case Key::user:
            return read_user(given.value.text, given.said, config_.user, config_.warnings);
        case Key::policy_dir:
            return read_path(given.value.text, config_.policy_dir);
        case Key::log_format:
            config_.log_format = given.value.number == 1 ? LogFormat::logfmt : LogFormat::json;
            return {};
        case Key::control_socket:
            config_.control_socket.emplace();
            return given.value.text == "off" ? Verdict{}
                                             : read_path(given.value.text, *config_.control_socket);
        default:
            bug("a key that is none of the daemon's values is set");
        }
    }

    Verdict add_address(const Given& given, Service& service) {
        if (auto refusal = read_address(given.value.text, service.listen)) {
            return refusal;
        }
        const Address& added = service.listen.back();
        for (const Service& other : config_.services) {
            const bool taken = std::ranges::any_of(other.listen, [&](const Address& address) {
                return &address != &added && same_address(address, added);
            });
            if (taken) {
                return Refusal{
                    ExitCode::Usage,
                    &other == &service
                        ? std::string{"this address is given twice; leave one of them away"}
                        : fmt::format(
                              "the service '{}' has this address, too; an address belongs to one service",
                              other.name)};
            }
        }
        return {};
    }
};

} // namespace

void take_ipv4_where_free(std::vector<Service>& services) {
    std::set<std::uint16_t> taken; // ports of 0.0.0.0; port 0 is another one each time
    for (const Service& service : services) {
        for (const Address& address : service.listen) {
            if (is_any_ipv4(address.storage) && port_of(address.storage) != 0) {
                taken.insert(port_of(address.storage));
            }
        }
    }
    for (Service& service : services) {
        for (Address& address : service.listen) {
            address.with_ipv4 = is_any_ipv6(address.storage) && !taken.contains(port_of(address.storage));
        }
    }
}

tl::expected<Config, Exit> read_configuration(int argc, const char* const* argv,
                                              const Surroundings& surroundings) {
    const auto line = parse_command_line(argc, argv);
    return line ? Builder{*line, surroundings}.build() : tl::unexpected{line.error()};
}

} // namespace cloister::config
