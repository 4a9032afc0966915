// SPDX-License-Identifier: MIT
//
// The life of a static cell. The input: a byte (bit 0: after a request; bits 1 to 7: the content's size in
// units of 1009 bytes), a byte: the length of the request, the request, and then as of echo.cpp. What must
// hold besides: it sends the content, no sooner than an empty line has come, which an oracle by lines finds
// by itself.
#include "answers.h"
#include "scripted/handlers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cloister;
    fuzz::Input input{data, size};
    const unsigned first = input.byte();
    std::string request(input.byte(), ' ');
    for (char& c : request) {
        c = static_cast<char>(input.byte());
    }
    std::string content((first >> 1U) * 1009 + 1, ' ');
    for (std::size_t i = 0; i < content.size(); ++i) {
        content[i] = static_cast<char>(scripted::pattern(i));
    }
    fuzz::Answers answers{input, input.byte() & 7U};
    scripted::StaticKernel kernel{answers, std::move(content), (first & 1U) != 0, std::move(request)};
    (void)fuzz::live(kernel);
    return 0;
}
