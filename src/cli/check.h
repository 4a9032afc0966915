// SPDX-License-Identifier: MIT
#pragma once

#include "cli/policy_commands.h"
#include "policy/policy.h"

/// The check of `policy check`, which precedes every other answer about a policy: cloisterd does not enforce
/// a policy that is refused.
namespace cloister::tool {

/// Says what is wrong and throws Exit unless the file or directory passes; warnings are said, too.
void require_check(const Question& question);
/// Says what is wrong, and that it is refused.
void say_if_refused(const Question& question);

/// With --unchecked: warns where the program is not equivalent to the text. libseccomp resolves rules that
/// contradict each other in its own way.
void say_if_different(const Question& question, const tl::expected<void, policy::Error>& proved);

/// What `load` gives, for a policy that passes the check; with --unchecked for any that can be loaded.
template <class Load>
auto checked(const Question& question, const Load& load) {
    if (!question.unchecked) {
        require_check(question);
        return load();
    }
    auto loaded = load();
    say_if_refused(question);
    return loaded;
}

/// The policy in the question's file.
[[nodiscard]] policy::Policy load_checked(const Question& question);

} // namespace cloister::tool
