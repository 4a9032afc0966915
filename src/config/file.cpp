// SPDX-License-Identifier: MIT
#include "config/file.h"

#include "base/text.h"
#include "config/values.h"

#include <algorithm>
#include <fmt/format.h>

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_WINDOWS_COMPAT 0
#define TOML_ENABLE_UNRELEASED_FEATURES 0
#define TOML_MAX_NESTED_VALUES 16
#include <toml++/toml.h>

namespace cloister::config {
namespace {

/// Where a key stands.
enum class Place { top, defaults, service };

tl::unexpected<FileError> error_at(const toml::source_position& at, std::string_view message) {
    return tl::unexpected{
        FileError{std::max(at.line, 1U), std::max(at.column, 1U), printable(message, max_error)}};
}

bool may_stand(const Spec& spec, Place place) {
    switch (place) {
    case Place::top:
        return spec.scope == Scope::daemon;
    case Place::defaults:
        return spec.scope == Scope::limit;
    case Place::service:
        return of_service(spec);
    }
    return false;
}

const char* named(const toml::node& node) {
    switch (node.type()) {
    case toml::node_type::table:
        return "a table";
    case toml::node_type::array:
        return "an array";
    case toml::node_type::string:
        return "a string";
    case toml::node_type::integer:
        return "an integer";
    case toml::node_type::floating_point:
        return "a number with a fraction";
    case toml::node_type::boolean:
        return "a boolean";
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time:
        return "a date or time of day";
    default:
        return "nothing";
    }
}

std::string place_of(const Spec& spec) {
    return spec.scope == Scope::daemon  ? "it stands above the first table"
           : spec.scope == Scope::limit ? "it stands in a [[service]], or for all of them in [defaults]"
           : of_service(spec)
               ? "it stands in a [[service]]"
               : fmt::format("it is an option of one start, --{}, and stands in no file", spec.name);
}

/// In the order of the file; the parser's tables are sorted by name.
std::vector<std::pair<const toml::key*, const toml::node*>> in_order(const toml::table& table) {
    std::vector<std::pair<const toml::key*, const toml::node*>> all;
    for (const auto& [key, node] : table) {
        all.emplace_back(&key, &node);
    }
    std::ranges::stable_sort(all, [](const auto& a, const auto& b) {
        const auto& [x, y] = std::pair{a.first->source().begin, b.first->source().begin};
        return std::pair{x.line, x.column} < std::pair{y.line, y.column};
    });
    return all;
}

/// What is wrong with a key that may not stand at `place`.
std::string why_no_key(std::string_view key, Place place) {
    constexpr std::array<const char*, 3> places{"above the first table", "in [defaults]", "in a [[service]]"};
    const auto* here = places.at(static_cast<size_t>(place));
    if (const Spec* spec = find_spec(key)) {
        return fmt::format("'{}' can't stand {}: {}", key, here, place_of(*spec));
    }
    if (place == Place::top && (key == "default" || key == "services")) {
        return fmt::format("there is no key '{}' {}; did you mean {}?", key, here,
                           key == "default" ? "[defaults]" : "[[service]]");
    }
    std::vector<std::string_view> names;
    for (const Spec& spec : specs()) {
        if (may_stand(spec, place)) {
            names.emplace_back(spec.name);
        }
    }
    if (place == Place::top) {
        names.insert(names.end(), {"defaults", "service"});
    }
    if (const auto like = nearest(key, names); !like.empty()) {
        return fmt::format("there is no key '{}' {}; did you mean '{}'?", key, here, like);
    }
    // It may be one of another place, misspelt.
    names.clear();
    for (const Spec& spec : specs()) {
        if (in_file(spec)) {
            names.emplace_back(spec.name);
        }
    }
    if (const auto like = nearest(key, names); !like.empty()) {
        return fmt::format("there is no key '{}'; did you mean '{}'? {}", key, like,
                           place_of(*find_spec(like)));
    }
    return fmt::format("there is no key '{}' {}; docs/configuration.md lists all of them", key, here);
}

/// What the parser says, and what to do about it.
std::string syntax_error(std::string_view said) {
    if (const auto at = said.find("cannot redefine existing "); at != said.npos) {
        const auto first = said.find('\'', at);
        const auto last = said.rfind('\'');
        const auto name = first != said.npos && first < last ? said.substr(first, last - first + 1)
                                                             : std::string_view{"this"};
        return fmt::format("{} stands here for the second time; leave one of them away", name);
    }
    std::string_view cure;
    if (said.find("parsing value") != said.npos || said.find("determine value type") != said.npos ||
        said.find("parsing integer") != said.npos || said.find("parsing floating-point") != said.npos ||
        said.find("parsing decimal") != said.npos || said.find("parsing date") != said.npos ||
        said.find("parsing boolean") != said.npos) {
        cure = "; every value but a plain number stands in quotes: idle-timeout = \"60s\"";
    } else if (said.find("parsing key") != said.npos) {
        cure = "; a line is KEY = VALUE, [defaults], [[service]] or a comment after #";
    } else if (said.find("parsing table header") != said.npos) {
        cure = "; a table is [defaults] or [[service]], alone in its line";
    } else if (said.find("parsing string") != said.npos) {
        cure = "; a string begins and ends with \" in the same line";
    }
    return fmt::format("this is not TOML: {}{}", said, cure);
}

class Reader {
  public:
    tl::expected<FileModel, FileError> read(const toml::table& top) {
        const auto done = read_top(top);
        return done ? tl::expected<FileModel, FileError>{std::move(model_)} : tl::unexpected{done.error()};
    }

  private:
    using Done = tl::expected<void, FileError>;
    FileModel model_;
    size_t addresses_ = 0;

    Done read_top(const toml::table& top) {
        for (const auto& [at, what] : in_order(top)) {
            const toml::key& key = *at;
            const toml::node& node = *what;
            Done done;
            if (key == "defaults") {
                done = node.is_table()
                           ? read_table(*node.as_table(), Place::defaults, model_.defaults)
                           : error_at(
                                 key.source().begin,
                                 fmt::format("'defaults' is a table, not {}; write [defaults]", named(node)));
            } else if (key == "service") {
                done = read_services(key, node);
            } else {
                done = read_key(key, node, Place::top, model_.daemon);
            }
            if (!done) {
                return done;
            }
        }
        return {};
    }

    Done read_services(const toml::key& key, const toml::node& node) {
        if (!node.is_array_of_tables()) {
            return error_at(
                node.is_table() ? node.source().begin : key.source().begin,
                fmt::format("each service is an element of an array of tables, not {}; write [[service]], "
                            "with two brackets",
                            node.is_table() ? "the one table" : named(node)));
        }
        for (const auto& element : *node.as_array()) {
            const auto at = element.source().begin;
            if (model_.services.size() == max_services) {
                return error_at(
                    at, fmt::format("there are more than {} services; start a second cloisterd for the rest",
                                    max_services));
            }
            FileService service{std::max(at.line, 1U), std::max(at.column, 1U), {}};
            if (auto done = read_table(*element.as_table(), Place::service, service.values); !done) {
                return done;
            }
            const FileValue* name = find(service.values, Key::name);
            if (name == nullptr) {
                return error_at(at, "this service has no name; give it one of its own: name = \"echo\"");
            }
            for (const auto& other : model_.services) {
                if (const auto* same = find(other.values, Key::name); same->value == name->value) {
                    return error_at(
                        {name->line, name->column},
                        fmt::format("the service of line {} has the name '{}', too; give each its own",
                                    other.line, name->value.text));
                }
            }
            model_.services.push_back(std::move(service));
        }
        return {};
    }

    Done read_table(const toml::table& table, Place place, FileTable& into) {
        for (const auto& [key, node] : in_order(table)) {
            if (auto done = read_key(*key, *node, place, into); !done) {
                return done;
            }
        }
        return {};
    }

    Done read_key(const toml::key& key, const toml::node& node, Place place, FileTable& into) {
        const Spec* spec = find_spec(key.str());
        if (spec == nullptr || !may_stand(*spec, place)) {
            return error_at(key.source().begin, why_no_key(key.str(), place));
        }
        if (spec->kind == Kind::address) {
            return read_addresses(*spec, key, node, into);
        }
        const bool right = spec->kind == Kind::count ? node.is_integer() : node.is_string();
        if (!right) {
            return error_at(node.source().begin,
                            fmt::format("{} is {}, not {}; write {} = {}", spec->name,
                                        spec->kind == Kind::count ? "a whole number" : "a string",
                                        named(node), spec->name, spec->example));
        }
        if (spec->kind == Kind::count) {
            const std::int64_t number = node.as_integer()->get();
            return keep(*spec, node, {number < 0 ? 0 : static_cast<std::uint64_t>(number), {}}, into);
        }
        const std::string& text = node.as_string()->get();
        if (text.size() > max_text) {
            return error_at(node.source().begin, fmt::format("{} has {} bytes; at most {} can be given",
                                                             spec->name, text.size(), max_text));
        }
        auto value = parse_value(*spec, text);
        if (!value) {
            return error_at(node.source().begin, fmt::format("{}: {}", spec->name, value.error()));
        }
        if (spec->kind == Kind::path && !text.starts_with('/')) {
            return error_at(node.source().begin,
                            fmt::format("{}: a path in a file is absolute, it starts with '/'", spec->name));
        }
        return keep(*spec, node, std::move(*value), into);
    }

    Done read_addresses(const Spec& spec, const toml::key& key, const toml::node& node, FileTable& into) {
        const toml::array* array = node.as_array();
        if (array == nullptr) {
            return error_at(node.source().begin,
                            fmt::format("{} is an array of strings, not {}; write {} = {}", spec.name,
                                        named(node), spec.name, spec.example));
        }
        if (array->empty()) {
            return error_at(key.source().begin,
                            "listen has no address; give one, or leave the line away where the "
                            "service manager passes the sockets");
        }
        size_t count = 0;
        for (const auto& element : *array) {
            const auto at = element.source().begin;
            if (!element.is_string()) {
                return error_at(at, fmt::format("an address is a string, not {}; write {} = {}",
                                                named(element), spec.name, spec.example));
            }
            const std::string& text = element.as_string()->get();
            if (text.size() > max_text) {
                return error_at(at, fmt::format("{} has {} bytes; at most {} can be given", spec.name,
                                                text.size(), max_text));
            }
            if (++count > max_listening_sockets) {
                return error_at(
                    at, fmt::format("there are more than {} addresses; give fewer", max_listening_sockets));
            }
            if (++addresses_ > max_sockets_in_all) {
                return error_at(
                    at, fmt::format("there are more than {} addresses in all services; start a second "
                                    "cloisterd for the rest",
                                    max_sockets_in_all));
            }
            if (auto kept = keep(spec, element, {0, text}, into); !kept) {
                return kept;
            }
        }
        return {};
    }

    static Done keep(const Spec& spec, const toml::node& node, Value value, FileTable& into) {
        const auto at = node.source().begin;
        if (const auto why = why_not(spec, value)) {
            return error_at(at, fmt::format("{}: {}", spec.name, *why));
        }
        into.push_back({spec.key, std::move(value), std::max(at.line, 1U), std::max(at.column, 1U)});
        return {};
    }
};

} // namespace

tl::expected<FileModel, FileError> parse_file(std::string_view text) {
    if (text.size() > max_file_size) {
        return error_at(
            {1, 1}, fmt::format("the file has {} bytes; at most {} are read", text.size(), max_file_size));
    }
    const toml::parse_result parsed = toml::parse(text);
    if (!parsed) {
        return error_at(parsed.error().source().begin, syntax_error(parsed.error().description()));
    }
    return Reader{}.read(parsed.table());
}

const FileValue* find(const FileTable& table, Key key) {
    const auto found = std::ranges::find(table, key, &FileValue::key);
    return found == table.end() ? nullptr : &*found;
}

std::string printable(std::string_view text, size_t longest) {
    std::string shown;
    while (!text.empty() && shown.size() < longest) {
        shown += text[0] >= ' ' && text[0] <= '~' ? text[0] : text[0] == '\t' ? ' ' : '?';
        text.remove_prefix(std::max<size_t>(utf8_length(text), 1));
    }
    return shown;
}

std::string located(const std::string& file, std::string_view text, const FileError& error) {
    for (unsigned line = error.line; line > 1; --line) {
        const auto end = text.find('\n');
        text = end == text.npos ? std::string_view{} : text.substr(end + 1);
    }
    constexpr size_t widest = 240;
    return fmt::format("{}:{}:{}: error: {}\n{}\n{:>{}}", file, error.line, error.column, error.message,
                       printable(text.substr(0, text.find('\n')), widest), '^',
                       std::min<size_t>(error.column, widest + 1));
}

} // namespace cloister::config
