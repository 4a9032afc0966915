// SPDX-License-Identifier: MIT
#include "policy/names.h"

#include <algorithm>
#include <iterator>

namespace cloister::policy {
namespace {

struct Line {
    std::string_view name;
    std::string_view parameters;
};
constexpr Line table[] = {
#include "policy/tables/prototypes.inc"
};

struct Registers {
    std::string_view name;
    Abi abi;
    std::string_view registers; ///< for each parameter a digit, or '-' where no register has it alone
};
constexpr Registers moved[] = {
#include "policy/tables/registers.inc"
};

std::vector<Parameter> split(std::string_view text) {
    std::vector<Parameter> parameters;
    parameters.reserve(static_cast<std::size_t>(std::count(text.begin(), text.end(), ':')));
    while (!text.empty()) {
        const auto colon = text.find(':');
        const auto space = std::min(text.find(' '), text.size());
        parameters.push_back({text.substr(0, colon), text.substr(colon + 1, space - colon - 1)});
        text.remove_prefix(std::min(space + 1, text.size()));
    }
    return parameters;
}

const std::vector<Prototype>& prototypes() {
    static const auto all = [] {
        std::vector<Prototype> list;
        list.reserve(std::size(table));
        for (const auto& line : table) {
            list.push_back({line.name, split(line.parameters)});
        }
        return list;
    }();
    return all;
}

/// Where that ABI has the parameters of the call, if not where x86_64 has them.
const Registers* registers_of(std::string_view name, Abi abi) {
    const auto* found = std::find_if(std::begin(moved), std::end(moved),
                                     [&](const Registers& r) { return r.abi == abi && r.name == name; });
    return found == std::end(moved) ? nullptr : found;
}

} // namespace

const Prototype* prototype_of(std::string_view name) {
    if (nameless_number(name)) {
        static const Prototype nameless{"syscall",
                                        split("arg1:long arg2:long arg3:long arg4:long arg5:long arg6:long")};
        return &nameless;
    }
    const auto& all = prototypes();
    const auto found = std::lower_bound(all.begin(), all.end(), name,
                                        [](const Prototype& p, std::string_view n) { return p.name < n; });
    return found == all.end() || found->name != name ? nullptr : &*found;
}

std::vector<std::string_view> all_prototypes() {
    std::vector<std::string_view> names;
    for (const auto& prototype : prototypes()) {
        names.push_back(prototype.name);
    }
    return names;
}

bool Prototype::has(std::size_t parameter, Abi abi) const {
    const auto* registers = registers_of(name, abi);
    return registers == nullptr || registers->registers.at(parameter) != '-';
}

std::size_t Prototype::index(std::size_t parameter, Abi abi) const {
    const auto* registers = registers_of(name, abi);
    return registers == nullptr || !has(parameter, abi)
               ? parameter
               : static_cast<std::size_t>(registers->registers.at(parameter) - '0');
}

} // namespace cloister::policy
