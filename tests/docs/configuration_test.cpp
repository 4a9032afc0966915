// SPDX-License-Identifier: MIT
// docs/configuration.md has the very row for each key that follows from the table of config/spec.h.
#include "config/spec.h"

#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

namespace cloister::config {
namespace {

std::string code(const std::string& text) {
    return text.empty() ? "" : "`" + text + "`";
}

std::string row(const Spec& spec) {
    const bool flag = spec.kind == Kind::flag;
    const std::string places = spec.scope == Scope::daemon    ? "top"
                               : spec.scope == Scope::service ? "`[[service]]`"
                               : spec.scope == Scope::limit   ? "`[[service]]`, `[defaults]`"
                                                              : "nowhere";
    std::string standard = spec.standard != nullptr      ? code(spec.standard)
                           : spec.standard_is != nullptr ? spec.standard_is
                                                         : "";
    if (spec.key == Key::name) {
        standard += " without a `[[service]]`; each of them must have one";
    }
    std::string text;
    for (const auto& cell : {in_file(spec) ? code(spec.name) : "", places,
                             spec.is_option || flag ? code(fmt::format("--{}", spec.name)) : "",
                             spec.is_option ? code(environment_name(spec.name)) : "",
                             std::string{spec.range == nullptr ? "" : spec.range}, standard}) {
        text += cell.empty() ? "| " : fmt::format("| {} ", cell);
    }
    return text + "|";
}

std::string read(const char* path) {
    std::ostringstream text;
    text << std::ifstream{path}.rdbuf();
    return text.str();
}

TEST(Docs, ConfigurationHasARowForEachKey) {
    const auto text = read(CLOISTER_SOURCE "/docs/configuration.md");
    for (const auto& spec : specs()) {
        EXPECT_NE(text.find("\n" + row(spec) + "\n"), std::string::npos)
            << "docs/configuration.md lacks this row:\n"
            << row(spec);
    }
    const auto first = text.find("\n| `name` ");
    const auto last = text.find("\n\n", first);
    EXPECT_EQ(std::count(text.begin() + static_cast<std::ptrdiff_t>(first),
                         text.begin() + static_cast<std::ptrdiff_t>(last), '\n'),
              static_cast<std::ptrdiff_t>(key_count))
        << "there is a row of no key";
}

TEST(Docs, ConfigurationExplainsEachKeyOfAFile) {
    const auto text = read(CLOISTER_SOURCE "/docs/configuration.md");
    const auto prose = text.substr(text.find("\n- `name`: "));
    for (const auto& spec : specs()) {
        if (in_file(spec)) {
            EXPECT_NE(prose.find(code(spec.name)), std::string::npos) << spec.name;
        }
    }
}

TEST(Docs, TheExampleOfAConfigurationNamesEveryKeyThatASingleServiceHas) {
    const auto text = read(CLOISTER_SOURCE "/examples/cloister.toml");
    for (const auto& spec : specs()) {
        if (in_file(spec) && spec.key != Key::content && spec.key != Key::content_after) {
            EXPECT_NE(text.find(fmt::format("{} = ", spec.name)), std::string::npos) << spec.name;
        }
    }
}

} // namespace
} // namespace cloister::config
