// SPDX-License-Identifier: MIT
//
// The life of a daytime cell; the input is as of echo.cpp. What must hold besides: it sends the line that
// libc makes of the time that the kernel answers, and only that; the time is the first answer after those of
// setup (ff 8 BYTES).
#include "answers.h"
#include "scripted/handlers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cloister;
    fuzz::Input input{data, size};
    fuzz::Answers answers{input, input.byte() & 7U};
    scripted::DaytimeKernel kernel{answers};
    (void)fuzz::live(kernel);
    return 0;
}
