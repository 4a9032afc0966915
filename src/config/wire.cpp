// SPDX-License-Identifier: MIT
#include "config/wire.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <stdexcept>

namespace cloister::config {
namespace {

constexpr char magic[8] = {'c', 'o', 'n', 'f', 'i', 'g', '-', '1'};

void require(bool fits) {
    if (!fits) {
        throw std::length_error{"a configuration file's model"};
    }
}

void put(Wire& wire, std::uint16_t table, const FileTable& values) {
    for (const auto& value : values) {
        const std::string& text = value.value.text;
        require(wire.value_count < Wire::max_values && text.size() <= Wire::max_pool - wire.pool_size);
        wire.values[wire.value_count++] = {static_cast<std::uint16_t>(value.key),
                                           table,
                                           value.line,
                                           value.column,
                                           value.value.number,
                                           {wire.pool_size, static_cast<std::uint32_t>(text.size())}};
        std::memcpy(wire.pool + wire.pool_size, text.data(), text.size());
        wire.pool_size += static_cast<std::uint32_t>(text.size());
    }
}

bool is_printable(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

class Decoder {
  public:
    Decoder(const Wire& wire, unsigned lines) : wire_{wire}, lines_{lines} {}

    tl::expected<FileResult, std::string> decode() {
        if (wire_.failed > 1) {
            return refuse("a result that is neither a model nor an error");
        }
        if (wire_.failed == 1) {
            return error();
        }
        if (wire_.service_count > max_services || wire_.value_count > Wire::max_values ||
            wire_.pool_size > Wire::max_pool) {
            return refuse("more than there is room for");
        }
        for (size_t i = 0; i < wire_.service_count; ++i) {
            const auto [line, column] = wire_.services[i];
            if (!is_place(line, column)) {
                return refuse("a service outside of the file");
            }
            model_.services.push_back({line, column, {}});
        }
        for (size_t i = 0; i < wire_.value_count; ++i) {
            if (const char* wrong = take(wire_.values[i])) {
                return refuse(wrong);
            }
        }
        if (addresses_ > max_sockets_in_all) {
            return refuse("too many addresses");
        }
        for (const auto& service : model_.services) {
            const auto* name = find(service.values, Key::name);
            if (name == nullptr || std::ranges::count_if(model_.services, [&](const FileService& other) {
                                       const auto* its = find(other.values, Key::name);
                                       return its != nullptr && its->value == name->value;
                                   }) != 1) {
                return refuse("a service without a name of its own");
            }
        }
        return FileResult{std::move(model_)};
    }

  private:
    const Wire& wire_;
    unsigned lines_;
    FileModel model_;
    size_t addresses_ = 0;

    static tl::unexpected<std::string> refuse(const char* why) { return tl::unexpected{std::string{why}}; }

    [[nodiscard]] bool is_place(std::uint32_t line, std::uint32_t column) const {
        return line >= 1 && line <= lines_ && column >= 1 && column <= max_file_size + 1;
    }

    [[nodiscard]] tl::expected<FileResult, std::string> error() const {
        const auto [line, column] = wire_.error_at;
        if (wire_.error_length == 0 || wire_.error_length > max_error) {
            return refuse("an error without a text, or with too long a one");
        }
        const std::string message{wire_.error, wire_.error_length};
        if (!is_place(line, column) || !is_printable(message)) {
            return refuse("an error outside of the file, or one that can't be printed");
        }
        return FileResult{tl::unexpected{FileError{line, column, message}}};
    }

    /// Null, or what is wrong.
    const char* take(const Wire::FileValue& from) {
        if (from.key >= key_count) {
            return "a key that there is not";
        }
        const Spec& spec = spec_of(static_cast<Key>(from.key));
        FileTable* into = nullptr;
        bool stands = false;
        if (from.table == Wire::at_top) {
            into = &model_.daemon;
            stands = spec.scope == Scope::daemon;
        } else if (from.table == Wire::in_defaults) {
            into = &model_.defaults;
            stands = spec.scope == Scope::limit;
        } else if (from.table < model_.services.size()) {
            into = &model_.services[from.table].values;
            stands = of_service(spec);
        }
        if (!stands) {
            return "a key where it can't stand";
        }
        if (!is_place(from.line, from.column)) {
            return "a value outside of the file";
        }
        if (from.text.length > max_text || from.text.offset > wire_.pool_size ||
            from.text.length > wire_.pool_size - from.text.offset) {
            return "a text outside of its room";
        }
        const Value value{from.number, {wire_.pool + from.text.offset, from.text.length}};
        const bool spare = is_number(spec.kind) ? !value.text.empty() : value.number != 0;
        const bool is_path =
            spec.kind == Kind::path || (spec.kind == Kind::path_or_off && value.text != "off");
        const bool relative = is_path && !value.text.starts_with('/');
        if (spare || relative || why_not(spec, value)) {
            return "a value that is out of range";
        }
        const auto same = std::ranges::count(*into, spec.key, &FileValue::key);
        if (spec.kind == Kind::address) {
            ++addresses_;
        }
        if (same >= static_cast<std::ptrdiff_t>(is_list(spec.kind) ? most_of(spec) : 1)) {
            return "a key too often";
        }
        into->push_back({spec.key, value, from.line, from.column});
        return nullptr;
    }
};

} // namespace

std::unique_ptr<Wire> encode(const FileResult& result) {
    auto wire = std::make_unique<Wire>();
    std::memcpy(wire->magic, magic, sizeof magic);
    wire->size = sizeof(Wire);
    if (!result) {
        const auto& error = result.error();
        require(error.message.size() <= max_error);
        wire->failed = 1;
        wire->error_at = {error.line, error.column};
        wire->error_length = static_cast<std::uint32_t>(error.message.size());
        std::memcpy(wire->error, error.message.data(), error.message.size());
        return wire;
    }
    put(*wire, Wire::at_top, result->daemon);
    put(*wire, Wire::in_defaults, result->defaults);
    for (const auto& service : result->services) {
        require(wire->service_count < max_services);
        wire->services[wire->service_count] = {service.line, service.column};
        put(*wire, static_cast<std::uint16_t>(wire->service_count), service.values);
        ++wire->service_count;
    }
    return wire;
}

tl::expected<FileResult, std::string> decode(std::span<const char> bytes, unsigned lines) {
    if (bytes.size() != sizeof(Wire)) {
        return tl::unexpected{fmt::format("{} bytes, not {}", bytes.size(), sizeof(Wire))};
    }
    auto wire = std::make_unique<Wire>();
    std::memcpy(wire.get(), bytes.data(), sizeof(Wire));
    if (std::memcmp(wire->magic, magic, sizeof magic) != 0 || wire->size != sizeof(Wire)) {
        return tl::unexpected{std::string{"no model of a configuration file"}};
    }
    return Decoder{*wire, lines}.decode();
}

} // namespace cloister::config
