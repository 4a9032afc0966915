// SPDX-License-Identifier: MIT
//
// The input is a filter, as `cloister policy import` reads one: an array of sock_filter, made one that the
// kernel would take by small changes, so that most inputs are. What is written of it parses, and is equal to
// it: by the prover, and by the interpreters for calls at the edges of what it compares.
#include "audit/difference.h"
#include "audit/written.h"
#include "harness.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace {

using namespace cloister;

// Jumps and words of memory that are there, whole offsets, and a return at the end.
policy::Program program_of(const std::uint8_t* data, std::size_t size) {
    policy::Program program(std::min<std::size_t>(size / sizeof(sock_filter), 64));
    if (!program.empty()) {
        std::memcpy(program.data(), data, program.size() * sizeof(sock_filter));
    }
    const auto most = program.size();
    for (std::size_t at = 0; at < program.size(); ++at) {
        auto& i = program[at];
        const auto after = static_cast<std::uint8_t>(most - at);
        if (BPF_CLASS(i.code) == BPF_JMP) {
            i.jt = static_cast<std::uint8_t>(i.jt % after);
            i.jf = static_cast<std::uint8_t>(i.jf % after);
            i.k = BPF_OP(i.code) == BPF_JA ? i.k % after : i.k;
        } else if (i.code == (BPF_LD | BPF_W | BPF_ABS)) {
            i.k = i.k / 4 % 16 * 4;
        }
    }
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
    return program;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::vector<policy::Program> filters{program_of(data, size)};
    try {
        const auto made = audit::written(filters, policy::Arch::x86_64, "filter", "a fuzzer");
        if (made.text.empty()) {
            return 0; // refused
        }
        const auto parsed = policy::parse(made.text, "text");
        if (!parsed) {
            fuzz::broken("what was written does not parse: " + parsed.error().text() + made.text);
        }
        const auto changes = audit::difference(filters, *parsed, policy::Arch::x86_64, {});
        if (!changes.empty()) {
            fuzz::broken("the text is not equal: " + changes.front().call + '\n' + made.text);
        }
        for (const auto& i : filters.front()) {
            for (const auto& other : filters.front()) {
                seccomp_data call{static_cast<int>(i.k), policy::audit_arch(policy::Abi::x86_64), 0, {}};
                std::fill(std::begin(call.args), std::end(call.args), other.k);
                if (audit::decided(filters, policy::Arch::x86_64, {}, call) !=
                    audit::decided(*parsed, policy::Arch::x86_64, {}, call)) {
                    fuzz::broken("the interpreters disagree\n" + made.text);
                }
            }
        }
    } catch (const std::invalid_argument&) { // an instruction that is none, or that cannot be decided
    } catch (const policy::Diagram::TooLarge&) {
    }
    return 0;
}
