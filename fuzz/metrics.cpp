// SPDX-License-Identifier: MIT
//
// The life of a metrics cell. The input: a byte: the size of a page in units of 1009 bytes, a byte: how many
// pages are published after each piece that was sent, a byte: the length of the request, the request, and
// then as of echo.cpp. What must hold besides: it sends the page that was the newest when the empty line
// came, or the error that the request line calls for; nothing of a page that may have been written over.
#include "answers.h"
#include "scripted/handlers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cloister;
    fuzz::Input input{data, size};
    const std::size_t page = input.byte() * std::size_t{1009} + 1;
    const unsigned renewals = input.byte() & 7U;
    std::string request(input.byte(), ' ');
    for (char& c : request) {
        c = static_cast<char>(input.byte());
    }
    fuzz::Answers answers{input, input.byte() & 7U};
    scripted::MetricsKernel kernel{answers, page, renewals, std::move(request)};
    (void)fuzz::live(kernel);
    return 0;
}
