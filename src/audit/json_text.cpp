// SPDX-License-Identifier: MIT
#include "audit/json_text.h"

#include "audit/draft.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

namespace cloister::audit {
namespace {

constexpr int max_depth = 32;

// Walks over a text that is known to be JSON.
class Walker {
  public:
    explicit Walker(std::string_view text) : text_{text} {}

    // The offset of the value at that path, from the value at the current place.
    std::size_t find(const std::vector<std::string>& path) {
        space();
        for (const auto& step : path) {
            const bool object = text_[at_] == '{';
            ++at_;
            space();
            for (std::size_t index = 0;; ++index) {
                bool here = false;
                if (object) {
                    const auto start = at_;
                    skip();
                    here = nlohmann::json::parse(text_.substr(start, at_ - start)).get<std::string>() == step;
                    space();
                    ++at_; // the colon
                    space();
                } else {
                    here = fmt::to_string(index) == step;
                }
                if (here) {
                    break;
                }
                skip();
                space();
                ++at_; // the comma
                space();
            }
        }
        return at_;
    }

  private:
    void space() {
        while (at_ < text_.size() &&
               (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) {
            ++at_;
        }
    }
    // Over one value.
    void skip() {
        int depth = 0;
        do {
            const char c = text_[at_];
            if (c == '"') {
                for (++at_; text_[at_] != '"'; ++at_) {
                    at_ += text_[at_] == '\\' ? 1U : 0U;
                }
                ++at_;
            } else if (c == '{' || c == '[') {
                ++depth;
                ++at_;
            } else if (c == '}' || c == ']') {
                --depth;
                ++at_;
            } else if (depth > 0) {
                ++at_;
            } else {
                while (at_ < text_.size() &&
                       std::string_view{",]} \n\t\r"}.find(text_[at_]) == std::string::npos) {
                    ++at_;
                }
            }
        } while (depth > 0);
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

// The offset of the bracket that opens one level too many.
std::optional<std::size_t> too_deep(std::string_view text) {
    int depth = 0;
    bool string = false;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (string) {
            if (text[at] == '\\') {
                ++at;
            } else {
                string = text[at] != '"';
            }
        } else if (text[at] == '"') {
            string = true;
        } else if (text[at] == '{' || text[at] == '[') {
            if (++depth > max_depth) {
                return at;
            }
        } else if (text[at] == '}' || text[at] == ']') {
            --depth;
        }
    }
    return std::nullopt;
}

} // namespace

Json Json::parse(std::string_view text, const std::string& file) {
    if (text.starts_with("\xef\xbb\xbf")) {
        text.remove_prefix(3); // a byte order mark
    }
    // nlohmann-json takes it for the end.
    if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
        throw error_at(text, file, nul, "a NUL byte");
    }
    if (const auto deep = too_deep(text)) {
        throw error_at(text, file, *deep, fmt::format("more than {} levels of nesting", max_depth));
    }
    std::vector<std::set<std::string>> keys;
    std::string twice;
    const auto watch = [&](int, nlohmann::json::parse_event_t event, nlohmann::json& value) {
        using Event = nlohmann::json::parse_event_t;
        if (event == Event::object_start) {
            keys.emplace_back();
        } else if (event == Event::object_end) {
            keys.pop_back();
        } else if (event == Event::key && !keys.back().insert(value.get<std::string>()).second &&
                   twice.empty()) {
            twice = value.get<std::string>();
        }
        return true;
    };
    auto document = std::make_shared<Document>();
    document->text = text;
    document->file = file;
    try {
        document->root = nlohmann::json::parse(text, watch);
    } catch (const nlohmann::json::parse_error& error) {
        const std::string what = error.what();
        const auto detail = what.find(": ", what.find("parse error"));
        throw error_at(text, file, error.byte == 0 ? 0 : error.byte - 1,
                       "not JSON: " +
                           printable(detail == std::string::npos ? what : what.substr(detail + 2)));
    } catch (const nlohmann::json::out_of_range& error) {
        // A number beyond a double; the message quotes it.
        const std::string_view what{error.what()};
        const auto quote = what.find('\'');
        const auto digits = what.substr(std::min(quote + 1, what.size()));
        throw error_at(text, file, text.find(digits.substr(0, digits.find('\''))),
                       "a number that is too large");
    }
    if (!twice.empty()) {
        throw error_at(text, file, text.rfind('"' + twice + '"'),
                       fmt::format("the key '{}' stands twice in one object", printable(twice)));
    }
    const auto* root = &document->root;
    return {std::move(document), root, nlohmann::json::json_pointer{}};
}

bool Json::has(const std::string& key) const {
    return value_->is_object() && value_->contains(key) && !value_->at(key).is_null();
}

Json Json::at(const std::string& key) const {
    require_object();
    if (!has(key)) {
        fail(fmt::format("'{}' is missing", key));
    }
    return {document_, &value_->at(key), path_ / key};
}

std::vector<Json> Json::items() const {
    if (!value_->is_array()) {
        fail("expected a list, [ … ]");
    }
    std::vector<Json> all;
    for (std::size_t i = 0; i < value_->size(); ++i) {
        all.push_back(Json{document_, &value_->at(i), path_ / i});
    }
    return all;
}

std::string Json::string() const {
    if (!value_->is_string()) {
        fail("expected a string");
    }
    return value_->get<std::string>();
}

std::uint64_t Json::number(std::uint64_t most) const {
    if (!value_->is_number_unsigned() || value_->get<std::uint64_t>() > most) {
        fail(fmt::format("expected a whole number from 0 to {}", most));
    }
    return value_->get<std::uint64_t>();
}

void Json::require_object() const {
    if (!value_->is_object()) {
        fail("expected an object, { … }");
    }
}

void Json::only(std::initializer_list<std::string_view> keys) const {
    require_object();
    for (const auto& [key, value] : value_->items()) {
        if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
            Json{document_, &value, path_ / key}.fail(
                fmt::format("unknown key '{}'{}", printable(key), [&, &name = key] {
                    const auto near = policy::nearest(name, {keys.begin(), keys.end()});
                    return near.empty() ? std::string{} : fmt::format(". Did you mean {}?", near);
                }()));
        }
    }
}

void Json::fail(const std::string& message) const {
    const auto path = path_.to_string();
    throw error_at(document_->text, document_->file, offset(),
                   path.empty() ? message : fmt::format("{}: {}", printable(path), message));
}

unsigned Json::line() const {
    const auto before = document_->text.substr(0, offset());
    return static_cast<unsigned>(std::count(before.begin(), before.end(), '\n')) + 1;
}

std::size_t Json::offset() const {
    std::vector<std::string> steps;
    for (auto path = path_; !path.empty(); path.pop_back()) {
        steps.insert(steps.begin(), path.back());
    }
    return Walker{document_->text}.find(steps);
}

} // namespace cloister::audit
