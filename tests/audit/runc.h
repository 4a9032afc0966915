// SPDX-License-Identifier: MIT
#pragma once

#include "judge.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace cloister::audit {

/// The filter that runc and crun make of a profile on this machine, after runc's seccomp_linux.go and, for
/// what Docker leaves out, Docker's. Written apart from the importer.
inline policy::Program as_runc(const nlohmann::json& profile, const std::set<std::string>& caps = {}) {
    const std::map<std::string, scmp_compare> ops = {{"SCMP_CMP_NE", SCMP_CMP_NE},
                                                     {"SCMP_CMP_LT", SCMP_CMP_LT},
                                                     {"SCMP_CMP_LE", SCMP_CMP_LE},
                                                     {"SCMP_CMP_EQ", SCMP_CMP_EQ},
                                                     {"SCMP_CMP_GE", SCMP_CMP_GE},
                                                     {"SCMP_CMP_GT", SCMP_CMP_GT},
                                                     {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
    const auto action = [](const nlohmann::json& of, const char* key, const char* number) -> std::uint32_t {
        const auto name = of.at(key).get<std::string>();
        const auto code =
            static_cast<std::uint16_t>(of.contains(number) ? of.at(number).get<unsigned>() : EPERM);
        return name == "SCMP_ACT_ALLOW"          ? SCMP_ACT_ALLOW
               : name == "SCMP_ACT_ERRNO"        ? SCMP_ACT_ERRNO(code)
               : name == "SCMP_ACT_TRACE"        ? SCMP_ACT_TRACE(code)
               : name == "SCMP_ACT_TRAP"         ? SCMP_ACT_TRAP
               : name == "SCMP_ACT_LOG"          ? SCMP_ACT_LOG
               : name == "SCMP_ACT_NOTIFY"       ? SCMP_ACT_NOTIFY
               : name == "SCMP_ACT_KILL_PROCESS" ? SCMP_ACT_KILL_PROCESS
                                                 : SCMP_ACT_KILL_THREAD;
    };
    const bool x86 = policy::native_arch == policy::Arch::x86_64;
    const std::string native = x86 ? "SCMP_ARCH_X86_64" : "SCMP_ARCH_AARCH64";
    const auto otherwise = action(profile, "defaultAction", "defaultErrnoRet");
    seccomp_api_set(6);
    Filter filter{otherwise};
    auto architectures = profile.value("architectures", nlohmann::json::array());
    for (const auto& entry : profile.value("archMap", nlohmann::json::array())) {
        if (entry.at("architecture") == native) {
            architectures = entry.at("subArchitectures");
        }
    }
    for (const std::string name : architectures) {
        auto lower = name.substr(10);
        std::transform(lower.begin(), lower.end(), lower.begin(),
                       [](unsigned char c) { return std::tolower(c); });
        filter.add_arch(seccomp_arch_resolve_name(lower.c_str()));
    }
    if (profile.at("syscalls").size() > 32) {
        filter.set(SCMP_FLTATR_CTL_OPTIMIZE, 2);
    }
    const auto has = [&](const nlohmann::json& entry, const char* filter_name, const char* what, auto of) {
        const auto conditions = entry.value(filter_name, nlohmann::json::object());
        return conditions.is_object() && conditions.contains(what) ? of(conditions.at(what)) : 0;
    };
    for (const auto& entry : profile.at("syscalls")) {
        const auto present = [&](const nlohmann::json& list) {
            return std::count_if(list.begin(), list.end(),
                                 [&](const auto& cap) { return caps.contains(cap); });
        };
        const auto ours = [&](const nlohmann::json& list) {
            return std::count(list.begin(), list.end(), x86 ? "amd64" : "arm64");
        };
        const auto size = [](const nlohmann::json& list) { return static_cast<std::ptrdiff_t>(list.size()); };
        if (has(entry, "excludes", "caps", present) > 0 || has(entry, "excludes", "arches", ours) > 0 ||
            has(entry, "includes", "caps", present) < has(entry, "includes", "caps", size) ||
            (has(entry, "includes", "arches", size) > 0 && has(entry, "includes", "arches", ours) == 0)) {
            continue;
        }
        const auto wanted = action(entry, "action", "errnoRet");
        if (wanted == otherwise) {
            continue;
        }
        for (const std::string name : entry.at("names")) {
            const int number = seccomp_syscall_resolve_name(name.c_str());
            if (number == __NR_SCMP_ERROR) {
                continue;
            }
            std::vector<scmp_arg_cmp> tests;
            std::array<unsigned, 6> counts{};
            if (entry.contains("args") && entry.at("args").is_array()) {
                for (const auto& arg : entry.at("args")) {
                    tests.push_back({arg.at("index"), ops.at(arg.at("op")),
                                     arg.value("value", std::uint64_t{0}),
                                     arg.value("valueTwo", std::uint64_t{0})});
                    ++counts.at(tests.back().arg);
                }
            }
            const auto add = [&](const std::vector<scmp_arg_cmp>& of) {
                if (const int result = filter.add(wanted, number, of, false); result != 0) {
                    throw std::runtime_error{
                        fmt::format("libseccomp refuses a rule for {}: {}", name, result)};
                }
            };
            if (std::any_of(counts.begin(), counts.end(), [](unsigned count) { return count > 1; })) {
                for (const auto& test : tests) {
                    add({test});
                }
            } else {
                add(tests);
            }
        }
    }
    return filter.program();
}

} // namespace cloister::audit
