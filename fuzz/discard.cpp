// SPDX-License-Identifier: MIT
//
// The life of a discard cell; the input is as of echo.cpp. What must hold besides: it sends nothing at all,
// whatever it receives.
#include "answers.h"
#include "scripted/handlers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cloister;
    fuzz::Input input{data, size};
    fuzz::Answers answers{input, input.byte() & 7U};
    scripted::DiscardKernel kernel{answers};
    (void)fuzz::live(kernel);
    return 0;
}
