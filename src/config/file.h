// SPDX-License-Identifier: MIT
#pragma once

#include "config/spec.h"

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

/// The configuration file: TOML (toml.io), with the keys of config/spec.h.
namespace cloister::config {

constexpr size_t max_file_size = 256UL * 1024; ///< bytes
constexpr size_t max_error = 511;              ///< bytes of FileError::message

struct FileValue {
    Key key;
    Value value;
    unsigned line, column; ///< of the value, from 1; columns count characters
    bool operator==(const FileValue&) const = default;
};

/// No key twice, but that of a list once for each element.
using FileTable = std::vector<FileValue>;

struct FileService {
    unsigned line, column; ///< where its table begins
    FileTable values;      ///< Key::name is one of them
    bool operator==(const FileService&) const = default;
};

/// What a file says: each value why_not() lets pass, names of services unique, counts within model.h's
/// limits. Addresses, users and paths are not looked up yet.
struct FileModel {
    FileTable daemon, defaults;
    std::vector<FileService> services;
    bool operator==(const FileModel&) const = default;
};

/// The first thing that is wrong: the cause and the cure.
struct FileError {
    unsigned line, column; ///< from 1
    std::string message;   ///< printable, one line, at most max_error bytes
    bool operator==(const FileError&) const = default;
};

/// Pure. For a process that may do nothing else: config/reader.h.
[[nodiscard]] tl::expected<FileModel, FileError> parse_file(std::string_view text);

/// Null if `table` does not have it.
[[nodiscard]] const FileValue* find(const FileTable& table, Key key);

/// `FILE:LINE:COL: error: MESSAGE`, the line, and a caret below the column.
[[nodiscard]] std::string located(const std::string& file, std::string_view text, const FileError& error);

/// `text` as a terminal can show it, each character in one column: '?' for what is not printable ASCII.
[[nodiscard]] std::string printable(std::string_view text, size_t longest);

} // namespace cloister::config
