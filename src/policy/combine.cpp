// SPDX-License-Identifier: MIT
#include "policy/combine.h"

#include <algorithm>
#include <cstddef>
#include <fmt/format.h>

namespace cloister::policy {
namespace {

/// Calls that can map memory, make it executable, or set the address at which the process goes on.
constexpr std::string_view makers_of_memory[] = {"mmap",   "mremap", "mprotect",     "madvise",     "brk",
                                                 "execve", "clone3", "rt_sigaction", "rt_sigreturn"};

/// A process that has lost a call site must not get it back: no policy may allow a call that could map it
/// again. A rule for clone must pin the flags, without CLONE_VM: with shared memory, what a child unmaps is
/// unmapped in its parent, too.
tl::expected<void, Error> expect_that_call_sites_stay_lost(const Policy& policy) {
    constexpr std::uint64_t clone_vm = 0x100; // <linux/sched.h>
    for (const Rule& rule : policy.rules) {
        const auto name = rule.prototype->name;
        const auto& flags = rule.conditions.empty() ? Condition{} : rule.conditions.front();
        const bool shares = name == "clone" && (flags.op != Op::eq || flags.half || flags.operand.param ||
                                                (flags.operand.value & clone_vm) != 0);
        if (rule.action.kind == Action::Kind::allow &&
            (shares || std::find(std::begin(makers_of_memory), std::end(makers_of_memory), name) !=
                           std::end(makers_of_memory))) {
            return tl::unexpected{policy.error_at(
                rule.where,
                shares ? "policies that share a program can allow clone only with flags that are given by "
                         "'==' and have no CLONE_VM: parent and child would lose their call sites together"
                       : fmt::format("'{}' could bring back memory that a process has given up, and with it "
                                     "what is allowed there: policies that share a program can't allow it",
                                     name))};
        }
    }
    return {};
}

} // namespace

std::vector<const Policy*> all_of(const Combined& combined) {
    std::vector<const Policy*> all;
    for (const auto& policy : combined.at_call_sites) {
        all.push_back(&policy);
    }
    all.push_back(&combined.elsewhere);
    return all;
}

tl::expected<Combined, Error> combine(std::vector<Policy> policies) {
    if (policies.empty()) {
        Error error;
        error.message = "there are no policies to combine";
        return tl::unexpected{std::move(error)};
    }
    // By name, so that the bytes do not depend on the order in which the files were found.
    std::sort(policies.begin(), policies.end(),
              [](const Policy& a, const Policy& b) { return a.name < b.name; });
    const auto refuse = [](const Policy& policy, Where where, std::string why) {
        return tl::unexpected{policy.error_at(where, std::move(why))};
    };
    const Policy* elsewhere = nullptr;
    for (const auto& policy : policies) {
        for (const auto* other = policies.data(); other != &policy; ++other) {
            if (other->name == policy.name) {
                return refuse(policy, {}, fmt::format("{} has the name '{}', too", other->file, policy.name));
            }
            if (policy.at && policy.at_name() == other->at_name()) {
                return refuse(policy, policy.at_where,
                              fmt::format("'{}' is at ${}, too", other->name, policy.at_name()));
            }
        }
        if (auto fit = expect_enforceable(policy); !fit) {
            return tl::unexpected{std::move(fit.error())};
        }
        if (policy.otherwise != policies.front().otherwise) {
            return refuse(
                policy, {},
                fmt::format("its else action is {}, that of '{}' is {}: combined policies have the same",
                            policy.otherwise.text(), policies.front().name,
                            policies.front().otherwise.text()));
        }
        if (!policy.at && elsewhere != nullptr) {
            return refuse(
                policy, {},
                fmt::format("it has no 'at', and neither has '{}': only one can hold everywhere else",
                            elsewhere->name));
        }
        elsewhere = policy.at ? elsewhere : &policy;
        if (auto lost = expect_that_call_sites_stay_lost(policy); !lost) {
            return tl::unexpected{std::move(lost.error())};
        }
    }
    if (elsewhere == nullptr) {
        return refuse(policies.front(), policies.front().at_where,
                      "each of the policies has an 'at': one without is needed, which holds everywhere else");
    }
    Combined combined;
    const auto last = elsewhere - policies.data();
    combined.elsewhere = std::move(policies[static_cast<std::size_t>(last)]);
    policies.erase(policies.begin() + last);
    combined.at_call_sites = std::move(policies);
    return combined;
}

tl::expected<void, Error> check_bindings(const Combined& combined, Arch arch, const Bindings& bindings) {
    const auto all = all_of(combined);
    const auto refuse = [](const Policy& policy, Where where, std::string why) {
        return tl::unexpected{policy.error_at(where, std::move(why))};
    };
    for (const auto* policy : all) {
        if (std::find(policy->archs.begin(), policy->archs.end(), arch) == policy->archs.end()) {
            return refuse(*policy, {}, fmt::format("the policy does not list {}", to_string(arch)));
        }
        for (const auto& param : policy->params) {
            const auto bound = bindings.find(param.name);
            if (bound == bindings.end() || bound->second == 0) {
                return refuse(*policy, param.where,
                              fmt::format("the parameter ${} is {}", param.name,
                                          bound == bindings.end() ? "not bound" : "bound to 0"));
            }
        }
    }
    for (const auto& [name, value] : bindings) {
        const auto has = [&name = name](const Policy* policy) {
            return std::any_of(policy->params.begin(), policy->params.end(),
                               [&](const Param& param) { return param.name == name; });
        };
        if (std::none_of(all.begin(), all.end(), has)) {
            return refuse(
                combined.elsewhere, {},
                fmt::format("neither it nor those that it is combined with have a parameter ${}", name));
        }
    }
    for (std::size_t i = 0; i < combined.at_call_sites.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            const auto& [a, b] =
                std::pair<const Policy&, const Policy&>{combined.at_call_sites[i], combined.at_call_sites[j]};
            if (const auto at = bindings.find(a.at_name())->second;
                at == bindings.find(b.at_name())->second) {
                return refuse(a, a.at_where,
                              fmt::format("${} and ${} of '{}' are both bound to 0x{:x}", a.at_name(),
                                          b.at_name(), b.name, at));
            }
        }
    }
    return {};
}

const Policy& policy_at(const Combined& combined, const Bindings& bindings,
                        std::uint64_t instruction_pointer) {
    for (const auto& policy : combined.at_call_sites) {
        const auto bound = bindings.find(policy.at_name());
        if (bound != bindings.end() && bound->second == instruction_pointer) {
            return policy;
        }
    }
    return combined.elsewhere;
}

Verdict evaluate(const Combined& combined, Arch arch, const Bindings& bindings, const seccomp_data& call) {
    return evaluate(policy_at(combined, bindings, call.instruction_pointer), arch, bindings, call);
}

std::string describe(const Combined& combined, const Bindings& bindings, const seccomp_data& call) {
    auto from_nowhere = call;
    from_nowhere.instruction_pointer = 0;
    const auto name = policy_at(combined, bindings, call.instruction_pointer).at_name();
    return fmt::format("{} {} (0x{:x})", describe(from_nowhere),
                       name.empty() ? "elsewhere" : fmt::format("at ${}", name), call.instruction_pointer);
}

tl::expected<Assembly, Error> assemble(const Combined& combined, Arch arch, const Bindings& bindings) {
    if (auto fit = check_bindings(combined, arch, bindings); !fit) {
        return tl::unexpected{std::move(fit.error())};
    }
    std::vector<Program> programs;
    for (const auto* policy : all_of(combined)) {
        auto program = compile(*policy, arch, bindings);
        if (!program) {
            return tl::unexpected{std::move(program.error())};
        }
        programs.push_back(std::move(*program));
    }
    constexpr auto load = [](std::size_t offset) {
        return sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
    };
    constexpr auto if_equal = [](std::uint32_t k, std::uint8_t yes, std::uint8_t no) {
        return sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k, yes, no);
    };
    constexpr auto low = offsetof(seccomp_data, instruction_pointer);
    constexpr auto high = low + sizeof(std::uint32_t); // both ABIs are little endian
    Assembly made;
    auto& code = made.program;
    code = {load(offsetof(seccomp_data, arch)), if_equal(audit_arch(abi_of(arch)), 1, 0),
            BPF_STMT(BPF_RET | BPF_K, combined.elsewhere.otherwise.value())};
    std::vector<std::size_t> jumps;
    for (const auto& policy : combined.at_call_sites) {
        const auto address = bindings.find(policy.at_name())->second;
        // The low word first: call sites differ in it, so a call from elsewhere takes two steps for each.
        code.insert(code.end(), {load(low), if_equal(static_cast<std::uint32_t>(address), 0, 3), load(high),
                                 if_equal(static_cast<std::uint32_t>(address >> 32U), 0, 1)});
        jumps.push_back(code.size());
        code.push_back(BPF_STMT(BPF_JMP | BPF_JA, 0)); // conditional jumps reach 255 instructions only
    }
    made.parts.push_back({nullptr, 0, code.size()});
    // The one for elsewhere comes first: a call from no call site falls through to it.
    std::rotate(programs.begin(), programs.end() - 1, programs.end());
    for (std::size_t i = 0; i < programs.size(); ++i) {
        made.parts.push_back(
            {i == 0 ? &combined.elsewhere : &combined.at_call_sites[i - 1], code.size(), programs[i].size()});
        if (i > 0) {
            code[jumps[i - 1]].k = static_cast<std::uint32_t>(code.size() - jumps[i - 1] - 1);
        }
        code.insert(code.end(), programs[i].begin(), programs[i].end());
    }
    if (code.size() > BPF_MAXINSNS) {
        return tl::unexpected{combined.elsewhere.error_at(
            {}, fmt::format("combined, the policies make {} instructions; the kernel takes {}", code.size(),
                            BPF_MAXINSNS))};
    }
    return made;
}

tl::expected<Prover, Error> Prover::make(const Combined& combined, Arch arch, const Bindings& bindings) {
    if (auto fit = check_bindings(combined, arch, bindings); !fit) {
        return tl::unexpected{std::move(fit.error())};
    }
    try {
        std::vector<std::string> names;
        for (const auto& [name, value] : bindings) {
            names.push_back(name);
        }
        Meaning meaning{combined.elsewhere, names, &bindings};
        auto text = meaning.of_text(combined.elsewhere, arch);
        for (const auto& policy : combined.at_call_sites) {
            const auto there = meaning.of_call_site(bindings.find(policy.at_name())->second);
            text = meaning.diagram().if_else(there, meaning.of_text(policy, arch), text);
        }
        return Prover{std::move(meaning), text};
    } catch (const std::exception& error) {
        return tl::unexpected{cannot_be_proved(combined.elsewhere, error)};
    }
}

tl::expected<void, Error> prove(const Combined& combined, Arch arch, const Bindings& bindings,
                                std::span<const sock_filter> program) {
    auto prover = Prover::make(combined, arch, bindings);
    if (!prover) {
        return tl::unexpected{std::move(prover.error())};
    }
    try {
        const auto call = prover->difference(program);
        if (!call) {
            return {};
        }
        return tl::unexpected{difference_at(policy_at(combined, bindings, call->data.instruction_pointer),
                                            arch, bindings, call->data, program,
                                            describe(combined, bindings, call->data))};
    } catch (const std::exception& error) {
        return tl::unexpected{cannot_be_proved(combined.elsewhere, error)};
    }
}

tl::expected<Program, Error> compile(const Combined& combined, Arch arch, const Bindings& bindings) {
    auto made = assemble(combined, arch, bindings);
    return made ? tl::expected<Program, Error>{std::move(made->program)}
                : tl::unexpected{std::move(made.error())};
}

} // namespace cloister::policy
