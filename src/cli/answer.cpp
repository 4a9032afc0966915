// SPDX-License-Identifier: MIT
#include "cli/answer.h"

#include <algorithm>
#include <charconv>

namespace cloister::tool {

void usage(const std::string& what) {
    fmt::print(stderr, "cloister policy: {}\n", what);
    throw Exit{static_cast<int>(ExitCode::Usage)};
}

policy::Arch arch_for(const Policies& policies, const Question& question) {
    const auto listed = [&](policy::Arch arch) {
        return std::all_of(policies.begin(), policies.end(), [arch](const policy::Policy* policy) {
            return std::find(policy->archs.begin(), policy->archs.end(), arch) != policy->archs.end();
        });
    };
    if (question.arch.empty()) {
        return listed(policy::native_arch) ? policy::native_arch : policies.front()->archs.front();
    }
    const auto arch = policy::arch_named(question.arch);
    if (!arch || !listed(*arch)) {
        usage(fmt::format("--arch {}: {} does not list it", question.arch, question.file));
    }
    return *arch;
}

policy::Bindings bindings_for(const Policies& policies, const Question& question) {
    std::vector<std::string> names;
    for (const auto* policy : policies) {
        for (const auto& param : policy->params) {
            if (std::find(names.begin(), names.end(), param.name) == names.end()) {
                names.push_back(param.name);
            }
        }
    }
    policy::Bindings bindings;
    for (const auto& text : question.bind) {
        const auto equals = std::min(text.find('='), text.size());
        const auto name = text.substr(text.front() == '$' ? 1 : 0, equals - (text.front() == '$' ? 1 : 0));
        const auto number = text.substr(std::min(equals + 1, text.size()));
        const bool hex = number.rfind("0x", 0) == 0;
        std::uint64_t value = 0;
        const auto* end = number.data() + number.size();
        const auto result = std::from_chars(number.data() + (hex ? 2 : 0), end, value, hex ? 16 : 10);
        if (result.ec != std::errc{} || result.ptr != end || value == 0) {
            usage(fmt::format("--bind {}: write NAME=ADDRESS, the address in decimal or 0x…, not 0", text));
        }
        if (std::find(names.begin(), names.end(), name) == names.end()) {
            usage(fmt::format("--bind {}: {} has no parameter ${}", text, question.file, name));
        }
        if (!bindings.emplace(name, value).second) {
            usage(fmt::format("--bind {}: ${} is bound twice", text, name));
        }
    }
    std::uint64_t placeholder = 0x7f0000000000;
    for (const auto& name : names) {
        if (bindings.emplace(name, placeholder).second) {
            fmt::print(stderr, "note: ${} is not bound; 0x{:x} stands in for it\n", name, placeholder);
        }
        placeholder += 0x100001000; // both words differ
    }
    return bindings;
}

} // namespace cloister::tool
