// SPDX-License-Identifier: MIT
#pragma once

#include "config/options.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <map>
#include <sys/stat.h>

namespace cloister::config::test {

/// cloisterd's configuration, read as it is at its start, from files in a directory of our own.
class ConfigurationTest : public ::testing::Test {
  protected:
    ConfigurationTest() {
        char path[] = "/tmp/cloister-config-XXXXXX";
        dir = ::mkdtemp(path);
    }
    ~ConfigurationTest() override { std::filesystem::remove_all(dir); }
    ConfigurationTest(const ConfigurationTest&) = delete;
    ConfigurationTest& operator=(const ConfigurationTest&) = delete;

    std::string write(const std::string& text, const std::string& name = "c.toml") {
        const auto path = dir / name;
        std::ofstream{path} << text;
        EXPECT_EQ(::chmod(path.c_str(), 0644), 0);
        return path;
    }
    tl::expected<Config, Exit> read(std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), "cloisterd");
        std::vector<const char*> argv;
        for (const auto& argument : arguments) {
            argv.push_back(argument.c_str());
        }
        argv.push_back(nullptr);
        Surroundings surroundings{.default_policy_dir = "/policies",
                                  .version_text = [](const std::filesystem::path&) { return "version\n"; },
                                  .environment =
                                      [this](const char* name) {
                                          const auto found = environment.find(name);
                                          return found == environment.end() ? nullptr : found->second.c_str();
                                      },
                                  .default_file = default_file};
        if (body) {
            surroundings.reader = [this](auto&&...) { return body; };
        }
        if (::geteuid() == 0 && !as_root_without_user) { // whom root becomes is not what most tests are about
            environment.try_emplace("CLOISTER_USER", "61007:61007");
        }
        return read_configuration(static_cast<int>(arguments.size()), argv.data(), surroundings);
    }
    /// With -c and a file of this text.
    tl::expected<Config, Exit> read_text(const std::string& text, std::vector<std::string> arguments = {}) {
        arguments.insert(arguments.begin(), {"-c", write(text)});
        return read(std::move(arguments));
    }
    Config good(const std::string& text, std::vector<std::string> arguments = {}) {
        auto config = read_text(text, std::move(arguments));
        EXPECT_TRUE(config) << config.error().err << config.error().out;
        return config ? std::move(*config) : Config{{Service{}}, {}, {}, {}, {}, {}};
    }
    /// The whole of stderr, FILE for the file's name.
    std::string refused(const std::string& text, ExitCode code = ExitCode::Config,
                        const std::vector<std::string>& arguments = {}) {
        const auto config = read_text(text, arguments);
        if (config) {
            return "it was taken";
        }
        EXPECT_EQ(config.error().code, code) << config.error().err;
        EXPECT_EQ(config.error().out, "");
        return with_file_named(config.error().err);
    }
    std::string with_file_named(std::string text) {
        const std::string path = dir / "c.toml";
        for (auto at = text.find(path); at != text.npos; at = text.find(path)) {
            text.replace(at, path.size(), "FILE");
        }
        return text;
    }

    std::filesystem::path dir;
    std::map<std::string, std::string> environment;
    std::filesystem::path default_file;
    ReaderBody body; ///< instead of the child's own
    bool as_root_without_user = false;
};

} // namespace cloister::config::test
