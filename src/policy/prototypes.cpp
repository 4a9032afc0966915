// SPDX-License-Identifier: MIT
#include "policy/names.h"
#include "policy/table.h"

namespace cloister::policy {
namespace {

struct Line {
    Text<31> name;
    Text<87> parameters;
};
constexpr Line table[] = {
#include "policy/tables/prototypes.inc"
};

struct Registers {
    Text<15> name;
    Abi abi;
    Text<6> registers; ///< for each parameter a digit, or '-' where no register has it alone
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

/// Where that ABI has the parameters of the call, if not where x86_64 has them.
const Registers* registers_of(std::string_view name, Abi abi) {
    const auto* found = std::find_if(std::begin(moved), std::end(moved), [&](const Registers& r) {
        return r.abi == abi && std::string_view{r.name} == name;
    });
    return found == std::end(moved) ? nullptr : found;
}

} // namespace

const Prototype* prototype_of(std::string_view name) {
    if (nameless_number(name)) {
        static const Prototype nameless{"syscall",
                                        split("arg1:long arg2:long arg3:long arg4:long arg5:long arg6:long")};
        return &nameless;
    }
    const auto* line = find(table, name);
    if (line == nullptr) {
        return nullptr;
    }
    static const auto all = [] {
        std::array<Prototype, std::size(table)> made;
        std::transform(std::begin(table), std::end(table), made.begin(), [](const auto& one) {
            return Prototype{one.name, split(one.parameters)};
        });
        return made;
    }();
    return &all.at(static_cast<std::size_t>(line - std::begin(table)));
}

std::vector<std::string_view> all_prototypes() {
    std::vector<std::string_view> names;
    for (const auto& line : table) {
        names.push_back(line.name);
    }
    return names;
}

bool Prototype::has(std::size_t parameter, Abi abi) const {
    const auto* registers = registers_of(name, abi);
    return registers == nullptr || std::string_view{registers->registers}.at(parameter) != '-';
}

std::size_t Prototype::index(std::size_t parameter, Abi abi) const {
    const auto* registers = registers_of(name, abi);
    return registers == nullptr || !has(parameter, abi)
               ? parameter
               : static_cast<std::size_t>(std::string_view{registers->registers}[parameter] - '0');
}

} // namespace cloister::policy
