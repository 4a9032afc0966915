// SPDX-License-Identifier: MIT
//
// The harness of a handler that has a model (tests/scripted/model.h), in this tree or out of it: the life of
// a cell of it. The input is as of echo.cpp. Without a fuzzing engine (CLOISTER_NO_FUZZER) a program that
// lives 20 000 lives from inputs that are always the same, and says how many of them came to a clean end.
#include "scripted/model.h"
#include "answers.h"

#include <random>
#include <vector>

namespace {

cloister::cell::Exit live(const std::uint8_t* data, std::size_t size) {
    using namespace cloister;
    fuzz::Input input{data, size};
    fuzz::Answers answers{input, input.byte() & 7U};
    scripted::ModelKernel kernel{answers};
    return fuzz::live(kernel);
}

} // namespace

#ifdef CLOISTER_NO_FUZZER
int main() {
    std::mt19937 random{1}; // NOLINT(cert-msc51-cpp): the same each time
    unsigned clean = 0;
    constexpr unsigned lives = 20'000;
    for (unsigned i = 0; i < lives; ++i) {
        std::vector<std::uint8_t> input(1 + random() % 60);
        input[0] = random() % 8 == 0 ? static_cast<std::uint8_t>(random()) : std::uint8_t{0};
        for (std::size_t at = 1; at < input.size(); ++at) { // mostly counts of bytes
            input[at] = static_cast<std::uint8_t>(random() % 16 == 0 ? random() : 1 + random() % 0x7f);
        }
        clean += live(input.data(), input.size()) == cloister::cell::Exit::Done ? 1 : 0;
    }
    std::printf("%u lives, %u with a clean end\n", lives, clean);
    return clean > lives / 100 ? 0 : 1;
}
#else
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    (void)live(data, size);
    return 0;
}
#endif
