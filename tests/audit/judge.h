// SPDX-License-Identifier: MIT
#pragma once

#include "audit/import.h"
#include "policy/compile.h"
#include "policy/meaning.h"
#include "policy/prove.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <iterator>
#include <memory>
#include <optional>
#include <seccomp.h>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

/// Filters that libseccomp makes of what the other tools would tell it, and their comparison with text.
namespace cloister::audit {

inline std::string content(const std::string& file) {
    std::ifstream stream{file, std::ios::binary};
    return {std::istreambuf_iterator<char>{stream}, {}};
}

inline policy::Policy parsed(const std::string& text) {
    auto policy = policy::parse(text, "imported");
    if (!policy) {
        throw std::runtime_error{policy.error().text() + "\n" + text};
    }
    return std::move(*policy);
}

inline Imported or_throw(tl::expected<Imported, policy::Error> imported) {
    if (!imported) {
        throw std::runtime_error{imported.error().text()};
    }
    return std::move(*imported);
}

/// A filter under construction.
class Filter {
  public:
    explicit Filter(std::uint32_t otherwise) : context_{seccomp_init(otherwise), &seccomp_release} {
        set(SCMP_FLTATR_API_SYSRAWRC, 1);
    }
    void set(scmp_filter_attr attribute, std::uint32_t value) {
        require(seccomp_attr_set(context_.get(), attribute, value));
    }
    void add_arch(std::uint32_t arch) {
        if (const int result = seccomp_arch_add(context_.get(), arch); result != -EEXIST) {
            require(result);
        }
    }
    void only_arch(std::uint32_t arch) {
        if (arch != seccomp_arch_native()) {
            require(seccomp_arch_remove(context_.get(), SCMP_ARCH_NATIVE));
            require(seccomp_arch_add(context_.get(), arch));
        }
    }
    /// Gives libseccomp's answer.
    int add(std::uint32_t action, int number, const std::vector<scmp_arg_cmp>& tests, bool exact) {
        return (exact ? seccomp_rule_add_exact_array : seccomp_rule_add_array)(
            context_.get(), action, number, static_cast<unsigned>(tests.size()), tests.data());
    }
    [[nodiscard]] policy::Program program() const {
        const int file = ::memfd_create("filter", MFD_CLOEXEC);
        require(seccomp_export_bpf(context_.get(), file));
        policy::Program program(static_cast<std::size_t>(::lseek(file, 0, SEEK_END)) / sizeof(sock_filter));
        const auto size = program.size() * sizeof(sock_filter);
        const auto got = ::pread(file, program.data(), size, 0);
        ::close(file);
        if (got != static_cast<ssize_t>(size)) {
            throw std::runtime_error{"pread"};
        }
        return program;
    }

  private:
    static void require(int result) {
        if (result != 0) {
            throw std::runtime_error{fmt::format("libseccomp: {}", result)};
        }
    }
    std::unique_ptr<void, decltype(&seccomp_release)> context_;
};

/// Text against filters, for every call that the kernel can show to them: of one of the processor's ABIs,
/// those of 32 bits with arguments of 32 bits.
class Comparison {
  public:
    Comparison(const policy::Policy& policy, const std::vector<policy::Program>& filters,
               policy::Arch arch = policy::native_arch)
        : text_{meaning_.of_text(policy, arch)}, filters_{meaning_.of_filters(filters)} {
        auto& diagram = meaning_.diagram();
        auto small = diagram.truth(true);
        for (unsigned argument = 0; argument < 6; ++argument) {
            for (unsigned bit = 0; bit < 32; ++bit) {
                const auto set = diagram.choose(meaning_.level(5 + 2 * argument, bit), 1, 0);
                small = diagram.if_else(set, 0, small);
            }
        }
        const auto narrow =
            arch == policy::Arch::x86_64 ? diagram.both(meaning_.of_abi(policy::Abi::i386), small) : 0;
        possible_ = diagram.if_else(meaning_.of_abi(policy::abi_of(arch)), 1, narrow);
    }

    /// A call that the two treat differently, or nothing.
    std::optional<std::string> difference() {
        return first([](std::uint32_t a, std::uint32_t b) { return a != b; });
    }
    /// A call that the text treats more mildly.
    std::optional<std::string> wider() {
        return first([](std::uint32_t text, std::uint32_t filter) {
            return policy::Action::of(text).kind > policy::Action::of(filter).kind;
        });
    }

    /// The call that the last answer is about.
    [[nodiscard]] const seccomp_data& witness() const { return witness_; }

  private:
    template <class Bad>
    std::optional<std::string> first(Bad bad) {
        auto& diagram = meaning_.diagram();
        diagram.next_question();
        for (const auto said : diagram.values(text_)) {
            for (const auto done : diagram.values(filters_)) {
                if (!bad(said, done)) {
                    continue;
                }
                const auto both = diagram.both(diagram.equals(text_, said), diagram.equals(filters_, done));
                if (const auto bits = diagram.find(diagram.both(possible_, both))) {
                    witness_ = meaning_.call(*bits).data;
                    return fmt::format("{}: the text says {}, the filter {}",
                                       policy::describe(meaning_.call(*bits).data),
                                       policy::describe_return(said), policy::describe_return(done));
                }
            }
        }
        return std::nullopt;
    }

    policy::Meaning meaning_;
    policy::Meaning::Node text_;
    policy::Meaning::Node filters_;
    policy::Meaning::Node possible_ = 0;
    seccomp_data witness_{};
};

} // namespace cloister::audit
