// SPDX-License-Identifier: MIT
#include "cli/files.h"

#include "policy/prove.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <linux/bpf_common.h>

namespace cloister::tool {
namespace {

tl::unexpected<policy::Error> refuse(const std::string& file, std::string why, policy::Error::Kind kind) {
    policy::Error error;
    error.kind = kind;
    error.file = file;
    error.message = std::move(why);
    return tl::unexpected{std::move(error)};
}

} // namespace

ExitCode exit_code(const policy::Error& error) {
    switch (error.kind) {
    case policy::Error::Kind::missing:
        return ExitCode::NoInput;
    case policy::Error::Kind::system:
        return ExitCode::SystemCall;
    default:
        return ExitCode::BadPolicy;
    }
}

ExitCode report(const policy::Error& error) {
    fmt::print(stderr, "{}\n", error.text());
    return exit_code(error);
}

tl::expected<Loaded, policy::Error> load_with_under(const std::string& file,
                                                    const std::vector<std::string>& others) {
    auto policy = policy::load(file);
    if (!policy) {
        return tl::unexpected{std::move(policy.error())};
    }
    Loaded loaded{std::move(*policy), std::nullopt};
    if (loaded.policy.under.empty()) {
        return loaded;
    }
    for (const auto& other : others) {
        auto candidate = other == file ? tl::unexpected{policy::Error{}} : policy::load(other);
        if (candidate && candidate->name == loaded.policy.under) {
            loaded.under = std::move(*candidate);
            return loaded;
        }
    }
    auto under = policy::load(std::filesystem::path{file}.parent_path() / (loaded.policy.under + ".policy"));
    if (!under) {
        return tl::unexpected{std::move(under.error())};
    }
    loaded.under = std::move(*under);
    return loaded;
}

tl::expected<void, policy::Error> check(const Loaded& loaded) {
    return policy::check(loaded.policy, loaded.under ? &*loaded.under : nullptr);
}

namespace {

/// The *.policy files of a directory, in the order of their names; none is an error.
tl::expected<std::vector<std::string>, policy::Error> policy_files(const std::string& directory) {
    std::vector<std::string> files;
    std::error_code failed;
    for (std::filesystem::directory_iterator at{directory, failed}, end; !failed && at != end;
         at.increment(failed)) {
        if (at->path().extension() == ".policy") {
            files.push_back(at->path().string());
        }
    }
    if (failed) {
        return refuse(directory, "cannot read the directory: " + failed.message(),
                      policy::Error::Kind::refused);
    }
    if (files.empty()) {
        return refuse(directory, "no *.policy files are in this directory", policy::Error::Kind::missing);
    }
    std::sort(files.begin(), files.end());
    return files;
}

} // namespace

bool is_directory(const std::string& file) {
    std::error_code ignored;
    return std::filesystem::is_directory(file, ignored);
}

tl::expected<std::vector<Filter>, policy::Error> filters_in(const std::string& directory,
                                                            const std::string& handler) {
    namespace fs = std::filesystem;
    const auto shared = policy_files(directory);
    if (!shared) {
        return tl::unexpected{shared.error()};
    }
    const fs::path handlers = fs::path{directory} / "handlers";
    std::vector<std::string> chosen;
    if (is_directory(handlers.string())) {
        const auto found = policy_files(handlers.string());
        if (!found) {
            return tl::unexpected{found.error()};
        }
        chosen = *found;
    }
    std::vector<std::string> names;
    names.reserve(chosen.size());
    for (const auto& file : chosen) {
        names.push_back(fs::path{file}.stem().string());
    }
    if (!handler.empty()) {
        const auto known = std::find(names.begin(), names.end(), handler);
        if (known == names.end() && !fs::path{handler}.has_parent_path() &&
            !fs::path{handler}.has_extension()) {
            return refuse(directory,
                          names.empty() ? fmt::format("has no handlers/{}.policy", handler)
                                        : fmt::format("has no handlers/{}.policy; there are: {}", handler,
                                                      fmt::join(names, ", ")),
                          policy::Error::Kind::missing);
        }
        const auto file =
            known == names.end() ? handler : chosen[static_cast<std::size_t>(known - names.begin())];
        chosen = {file};
        names = {fs::path{file}.stem().string()};
    }
    std::vector<Filter> filters;
    filters.reserve(chosen.size());
    for (std::size_t i = 0; i < chosen.size(); ++i) {
        filters.push_back({names[i], *shared});
        filters.back().files.push_back(chosen[i]);
    }
    if (filters.empty()) {
        filters.push_back({"", *shared});
    }
    return filters;
}

std::vector<std::string> files_of(const std::vector<Filter>& filters) {
    std::vector<std::string> files;
    for (const auto& filter : filters) {
        for (const auto& file : filter.files) {
            if (std::find(files.begin(), files.end(), file) == files.end()) {
                files.push_back(file);
            }
        }
    }
    return files;
}

tl::expected<policy::Program, policy::Error> load_program(const std::string& file) {
    std::error_code ignored;
    if (!std::filesystem::exists(file, ignored)) {
        return refuse(file, "cannot open: no such file", policy::Error::Kind::missing);
    }
    constexpr std::size_t limit = BPF_MAXINSNS * sizeof(sock_filter);
    std::string bytes(limit + 1, '\0');
    std::ifstream stream{file, std::ios::binary};
    stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    const auto size = static_cast<std::size_t>(stream.gcount());
    if (size == 0 || size > limit || size % sizeof(sock_filter) != 0) {
        return refuse(file, "is not a raw array of 1 to 4096 sock_filter instructions of 8 bytes each",
                      policy::Error::Kind::refused);
    }
    policy::Program program(size / sizeof(sock_filter));
    std::memcpy(program.data(), bytes.data(), size);
    return program;
}

std::string bytes_of(const policy::Program& program) {
    return {reinterpret_cast<const char*>(program.data()), program.size() * sizeof(sock_filter)};
}

} // namespace cloister::tool
