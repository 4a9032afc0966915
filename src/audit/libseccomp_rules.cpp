// SPDX-License-Identifier: MIT
#include "audit/libseccomp_rules.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

namespace cloister::audit {
namespace {

struct Part {
    std::string_view name;
    std::string_view whole;
    unsigned number; ///< the first argument of `whole`
};

// linux/net.h and linux/ipc.h.
constexpr Part parts[] = {
    {"socket", "socketcall", 1},
    {"bind", "socketcall", 2},
    {"connect", "socketcall", 3},
    {"listen", "socketcall", 4},
    {"accept", "socketcall", 5},
    {"getsockname", "socketcall", 6},
    {"getpeername", "socketcall", 7},
    {"socketpair", "socketcall", 8},
    {"send", "socketcall", 9},
    {"recv", "socketcall", 10},
    {"sendto", "socketcall", 11},
    {"recvfrom", "socketcall", 12},
    {"shutdown", "socketcall", 13},
    {"setsockopt", "socketcall", 14},
    {"getsockopt", "socketcall", 15},
    {"sendmsg", "socketcall", 16},
    {"recvmsg", "socketcall", 17},
    {"accept4", "socketcall", 18},
    {"recvmmsg", "socketcall", 19},
    {"sendmmsg", "socketcall", 20},
    {"semop", "ipc", 1},
    {"semget", "ipc", 2},
    {"semctl", "ipc", 3},
    {"semtimedop", "ipc", 4},
    {"msgsnd", "ipc", 11},
    {"msgrcv", "ipc", 12},
    {"msgget", "ipc", 13},
    {"msgctl", "ipc", 14},
    {"shmat", "ipc", 21},
    {"shmdt", "ipc", 22},
    {"shmget", "ipc", 23},
    {"shmctl", "ipc", 24},
};

const Part* part_named(std::string_view call) {
    const auto* part = std::find_if(std::begin(parts), std::end(parts),
                                    [&](const Part& other) { return other.name == call; });
    return part == std::end(parts) ? nullptr : part;
}

} // namespace

void add_rule(Draft& draft, const std::string& call, Rule rule) {
    const auto abis = draft.model.abis();
    if (std::find(abis.begin(), abis.end(), policy::Abi::i386) != abis.end()) {
        if (const auto* part = part_named(call)) {
            Rule whole = rule;
            // It takes the place of a condition on the first argument.
            std::erase_if(whole.tests, [](const Test& test) { return test.argument == 0; });
            whole.tests.push_back({0, Test::Op::eq, false, part->number, 0});
            draft.model.call(part->whole).rules.push_back(std::move(whole));
        }
    }
    const bool known =
        std::any_of(abis.begin(), abis.end(), [&](policy::Abi abi) { return exists(abi, call); });
    if (known) {
        draft.model.call(call).rules.push_back(std::move(rule));
    }
}

void settle(Draft& draft) {
    for (auto& call : draft.model.calls) {
        const auto whole = std::find_if(call.rules.begin(), call.rules.end(),
                                        [](const Rule& rule) { return rule.tests.empty(); });
        if (whole != call.rules.end()) {
            call.rules = {Rule{*whole}};
            continue;
        }
        std::stable_sort(call.rules.begin(), call.rules.end(),
                         [](const Rule& a, const Rule& b) { return stricter(a.action, b.action); });
        auto separated = call;
        constexpr std::size_t many = 256;
        if (separate(separated, many).value_or(true)) {
            draft.narrower.push_back(
                fmt::format("{}: rules with different actions apply to the same calls; what "
                            "libseccomp does with them depends on its tree; the strictest "
                            "action stands here",
                            call.name));
        }
    }
}

bool reaches_through_i386(const Model& model, const Call& call, const Rule& rule) {
    const auto* part = part_named(call.name);
    if (part == nullptr ||
        std::find(model.also.begin(), model.also.end(), policy::Abi::i386) == model.also.end()) {
        return false;
    }
    const auto whole = std::find_if(model.calls.begin(), model.calls.end(),
                                    [&](const Call& other) { return other.name == part->whole; });
    return whole == model.calls.end() ||
           std::none_of(whole->rules.begin(), whole->rules.end(), [&](const Rule& other) {
               const Tests same{{0, Test::Op::eq, false, part->number, 0}};
               return other.tests.empty() || (other.action == rule.action && other.tests == same);
           });
}

} // namespace cloister::audit
