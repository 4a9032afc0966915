// SPDX-License-Identifier: MIT
//
// The first byte says what the input is. Even: an audit record. What is read of it has a number and an
// architecture that stand in it, and a name only if that ABI has the number. Odd: a log of strace. What is
// read has calls in lines that exist, and a value that is known of an argument is its value when it is
// written as a number.
#include "audit/record.h"
#include "audit/strace_log.h"

#include "harness.h"

#include <algorithm>
#include <fmt/format.h>

namespace cloister::audit {
namespace {

void expect(bool promise, const char* what) {
    if (!promise) {
        fuzz::broken(what);
    }
}

void record(std::string_view line) {
    const auto read = parse_record(line);
    if (!read) {
        expect(!read.error().empty(), "an error says why");
        return;
    }
    expect(line.find("syscall") != std::string_view::npos && line.find("arch") != std::string_view::npos,
           "what is taken has both fields");
    expect(read->call.empty() || policy::number_of(read->abi.value(), read->call) == read->number,
           "the name is that of the number");
    if (read->code) {
        expect(!describe_code(*read->code).empty(), "every code is described");
    }
}

void log(std::string_view text) {
    const auto lines = static_cast<unsigned>(std::count(text.begin(), text.end(), '\n')) + 1;
    const auto read = parse_strace(text);
    for (const auto& [number, why] : read.not_understood) {
        expect(number >= 1 && number <= lines && !why.empty(), "an error is in a line");
    }
    for (const auto& call : read.calls) {
        expect(call.line >= 1 && call.line <= lines && !call.name.empty(), "a call is in a line");
        for (const auto& argument : call.arguments) {
            for (const bool is_int : {false, true}) {
                if (const auto value = value_of(argument, is_int)) {
                    expect(value_of(fmt::format("{:#x}", *value), is_int) == *value, "a number is itself");
                }
            }
        }
    }
}

} // namespace
} // namespace cloister::audit

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size != 0) {
        const std::string_view text{reinterpret_cast<const char*>(data) + 1, size - 1};
        (data[0] % 2 == 0 ? cloister::audit::record : cloister::audit::log)(text);
    }
    return 0;
}
