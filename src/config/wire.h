// SPDX-License-Identifier: MIT
#pragma once

#include "config/file.h"

#include <memory>
#include <span>

/// How the process that parses the file hands over what it read: one record of a fixed size. The other side
/// believes none of it.
namespace cloister::config {

using FileResult = tl::expected<FileModel, FileError>;

/// Every list has its most elements in it, so that a model that parse_file() makes always fits.
struct Wire {
    static constexpr size_t max_values = key_count + key_count + max_services * key_count +
                                         max_sockets_in_all + max_exempt * (max_services + 1);
    static constexpr size_t max_pool =
        max_file_size; ///< bytes of all texts, none of which is longer than in the file

    static constexpr std::uint16_t at_top = 0xffff, in_defaults = 0xfffe; ///< else the number of the service

    struct Text {
        std::uint32_t offset, length; ///< in `pool`
    };
    struct FileValue {
        std::uint16_t key, table;
        std::uint32_t line, column;
        std::uint64_t number;
        Text text;
    };
    struct Service {
        std::uint32_t line, column;
    };

    char magic[8];
    std::uint32_t size;
    std::uint32_t failed; ///< 0: a model; 1: an error
    Service error_at;
    std::uint32_t error_length;
    char error[max_error];
    std::uint32_t service_count, value_count, pool_size;
    Service services[max_services];
    FileValue values[max_values];
    char pool[max_pool];
};

/// Throws std::length_error if it does not fit.
[[nodiscard]] std::unique_ptr<Wire> encode(const FileResult& result);

/// Checks all that parse_file() promises. `lines`: of the text. The error says what can't be: the sender has
/// a bug, or something took it over.
[[nodiscard]] tl::expected<FileResult, std::string> decode(std::span<const char> bytes, unsigned lines);

} // namespace cloister::config
