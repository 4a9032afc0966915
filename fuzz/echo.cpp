// SPDX-License-Identifier: MIT
//
// A cell's life, by the very source that runs in a cell, against a kernel that answers what the input says.
// ConnectionKernel knows what must hold: what is sent is what was received, in order, and all of it on a
// clean end; only the policy's calls with the policy's arguments; the documented exit code; and it ends.
//
// Byte 0 is about setup: bits 0 to 2 are the step that fails, counted from 1, with the first answer (0:
// none); bit 3: the cell is a negative self-test. Then come the answers:
//   00-7e       that many bytes, or as many as there are; 00: the end of the stream, nothing sent
//   7f          as many as were asked for
//   80-fb       errno 1 to 124
//   fc LO HI    that many bytes, modulo what was asked for
//   fd LO HI    any errno, and what can't be one
//   fe N        N + 1 more than was asked for
//   ff 8 BYTES  any number
// When the input is used up, every call succeeds: end of stream, all is sent.
#include "answers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cloister;
    fuzz::Input input{data, size};
    const unsigned setup = input.byte();
    fuzz::Answers answers{input, setup & 7U};
    scripted::ConnectionKernel kernel{answers};
    (void)fuzz::live(kernel, (setup & 8U) != 0);
    if (kernel.sent() > kernel.received()) {
        fuzz::broken("more was sent than was received");
    }
    return 0;
}
