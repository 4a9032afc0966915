// SPDX-License-Identifier: MIT
#pragma once

#include "policy/policy.h"

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

/// JSON whose errors name a place in the text. Internal to the importers.
namespace cloister::audit {

/// A value and its place. Errors are thrown as policy::Error.
class Json {
  public:
    /// Parses `text`, which must outlive the result. Refuses more than 32 levels, a key twice in one object
    /// (runtimes disagree which of them counts), a comment and a NUL byte.
    static Json parse(std::string_view text, const std::string& file);

    [[nodiscard]] bool has(const std::string& key) const; ///< present and not null
    [[nodiscard]] Json at(const std::string& key) const;
    [[nodiscard]] std::vector<Json> items() const; ///< of an array
    [[nodiscard]] std::string string() const;
    /// An integer from 0 to `most`.
    [[nodiscard]] std::uint64_t number(std::uint64_t most = ~std::uint64_t{0}) const;
    [[nodiscard]] bool is_object() const { return value_->is_object(); }
    void require_object() const;
    /// Refuses keys other than these.
    void only(std::initializer_list<std::string_view> keys) const;
    [[noreturn]] void fail(const std::string& message) const;
    [[nodiscard]] unsigned line() const;

  private:
    struct Document { // NOLINT(bugprone-exception-escape): nlohmann::json's move throws nothing
        std::string_view text;
        std::string file;
        nlohmann::json root;
    };
    Json(std::shared_ptr<const Document> document, const nlohmann::json* value,
         nlohmann::json::json_pointer path)
        : document_{std::move(document)}, value_{value}, path_{std::move(path)} {}
    [[nodiscard]] std::size_t offset() const;

    std::shared_ptr<const Document> document_;
    const nlohmann::json* value_;
    nlohmann::json::json_pointer path_;
};

} // namespace cloister::audit
