// SPDX-License-Identifier: MIT
#include "audit/bindings.h"

#include "audit/difference.h"
#include "audit/stack.h"
#include "policy/prove.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <iterator>
#include <linux/seccomp.h>

namespace cloister::audit {
namespace {

using policy::native_arch;

policy::Combined combined(const std::string& handler) {
    std::vector<policy::Policy> policies;
    for (const auto& file :
         {std::string{"clone"}, std::string{"listener"}, std::string{"setup"}, "handlers/" + handler}) {
        policies.push_back(policy::load(std::string{CLOISTER_POLICY_SOURCE "/"} + file + ".policy").value());
    }
    return policy::combine(std::move(policies)).value();
}

const policy::Bindings real{{"buffer", 0x7f291e688400},       {"stack", 0x7f291e688400},
                            {"clone_return", 0x7f291e61b000}, {"listener_return", 0x7f291e619002},
                            {"setup_return", 0x7f291e61c000}, {"setup_page", 0x7f291e61b000},
                            {"setup_page_size", 0x1000}};

TEST(BindingsIn, AreThoseThatTheFilterWasMadeFor) {
    for (const auto* handler : {"echo", "discard", "daytime", "static", "metrics"}) {
        const auto policies = combined(handler);
        const auto program = policy::compile(policies, native_arch, real).value();
        EXPECT_EQ(bindings_in(policies, native_arch, program), real) << handler;
    }
}

TEST(BindingsIn, OfAnotherPolicyAreNone) {
    const auto program = policy::compile(combined("discard"), native_arch, real).value();
    EXPECT_EQ(bindings_in(combined("echo"), native_arch, program), std::nullopt);
}

TEST(BindingsIn, OfAnAddressThatIsNotTheSameEverywhereAreNone) {
    const auto policies = combined("echo");
    auto program = policy::compile(policies, native_arch, real).value();
    for (auto i = program.rbegin(); i != program.rend(); ++i) {
        if (i->k == 0x1e688400) {
            i->k += 8;
            break;
        }
    }
    EXPECT_EQ(bindings_in(policies, native_arch, program), std::nullopt);
}

TEST(CallSitesIn, AreReadFromTheStartOfEveryCombinedFilter) {
    const auto program = policy::compile(combined("discard"), native_arch, real).value();
    const policy::Bindings sites{{"clone_return", 0x7f291e61b000},
                                 {"listener_return", 0x7f291e619002},
                                 {"setup_return", 0x7f291e61c000}};
    EXPECT_EQ(call_sites_in(combined("echo"), program), sites);
    EXPECT_EQ(call_sites_in(combined("echo"), policy::Program{program.begin(), program.begin() + 6}),
              std::nullopt);
}

policy::Program returning(std::uint32_t value) {
    return {BPF_STMT(BPF_RET | BPF_K, value)};
}

TEST(Stack, DecidesAsTheKernelDoes) {
    const seccomp_data call{};
    const auto decides = [&](const std::vector<std::uint32_t>& oldest_first) {
        Filters filters;
        for (const auto value : oldest_first) {
            filters.push_back(returning(value));
        }
        policy::Meaning meaning{policy::Policy{}, {}, nullptr};
        const auto values = meaning.diagram().values(meaning.of_filters(filters));
        EXPECT_EQ(values.size(), 1U);
        EXPECT_EQ(decided(filters, policy::native_arch, {}, call).value(), values.front());
        return values.front();
    };
    EXPECT_EQ(decides({}), SECCOMP_RET_ALLOW);
    EXPECT_EQ(decides({SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO | 1}), SECCOMP_RET_ERRNO | 1);
    EXPECT_EQ(decides({SECCOMP_RET_ERRNO | 1, SECCOMP_RET_ALLOW}), SECCOMP_RET_ERRNO | 1);
    EXPECT_EQ(decides({SECCOMP_RET_ERRNO | 1, SECCOMP_RET_ERRNO | 2}), SECCOMP_RET_ERRNO | 2)
        << "the newer one";
    EXPECT_EQ(decides({SECCOMP_RET_KILL_THREAD, SECCOMP_RET_KILL_PROCESS}), SECCOMP_RET_KILL_PROCESS);
    EXPECT_EQ(decides({SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_TRAP, SECCOMP_RET_KILL_THREAD}),
              SECCOMP_RET_KILL_PROCESS);
    EXPECT_EQ(decides({SECCOMP_RET_TRACE | 3, SECCOMP_RET_LOG, SECCOMP_RET_USER_NOTIF}),
              SECCOMP_RET_USER_NOTIF);
}

policy::Program fixture(const std::filesystem::path& file) {
    std::ifstream stream{file, std::ios::binary};
    const std::string bytes{std::istreambuf_iterator<char>{stream}, {}};
    policy::Program program(bytes.size() / sizeof(sock_filter));
    std::memcpy(program.data(), bytes.data(), program.size() * sizeof(sock_filter));
    return program;
}

TEST(FiltersOfRealPrograms, AreDecidedAndDifferFromThemselvesWithOneReturnChanged) {
    std::size_t seen = 0;
    for (const auto& file : std::filesystem::directory_iterator{CLOISTER_FILTERS}) {
        if (file.path().extension() != ".bpf") {
            continue;
        }
        ++seen;
        const auto program = fixture(file);
        const auto same_one = difference({program}, {program});
        ASSERT_TRUE(same_one) << file.path() << ": " << same_one.error().why;
        EXPECT_FALSE(*same_one) << file.path();
        // Twice the same filter decides as once.
        EXPECT_FALSE(*difference({program, program}, {program})) << file.path();
        auto changed = program;
        for (auto& i : changed) {
            if (i.code == (BPF_RET | BPF_K) && i.k == SECCOMP_RET_ALLOW) {
                i.k = SECCOMP_RET_LOG;
            }
        }
        const auto found = difference({changed}, {program});
        ASSERT_TRUE(found && *found) << file.path();
        EXPECT_EQ((*found)->wanted, SECCOMP_RET_ALLOW);
        EXPECT_EQ((*found)->is, SECCOMP_RET_LOG);
    }
    EXPECT_GE(seen, 17U);
}

} // namespace
} // namespace cloister::audit
