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
#include "scripted/connection.h"
#include "harness.h"

#include <algorithm>
#include <sys/syscall.h>

namespace cloister::fuzz {
namespace {

// What one input may cost: the fuzzers' finds are short, so nothing is lost.
constexpr unsigned most_calls = 500;
constexpr long most_work = 150'000; // bytes received, and compared at each send: a full buffer goes through

class Answers final : public scripted::Script {
  public:
    Answers(Input& input, unsigned failing_step) : input_{input}, failing_step_{failing_step} {}

    scripted::Answer next(long number, long size) override {
        switch (number) {
        case SYS_recvfrom:
            return streamed(size, 0);
        case SYS_sendto:
            work_ += size;
            return streamed(size, size);
        case SYS_shutdown:
        case SYS_close:
            return answer(0);
        default:
            return ++step_ == failing_step_ ? answer(0) : 0;
        }
    }

  private:
    scripted::Answer streamed(long size, scripted::Answer otherwise) {
        if (input_.empty() || ++calls_ > most_calls || work_ > most_work) {
            return otherwise;
        }
        const auto count = answer(size);
        work_ += count > 0 && count <= size ? count : 0;
        return count;
    }

    scripted::Answer answer(long size) {
        const long code = input_.byte();
        switch (code) {
        case 0xfc:
            return static_cast<long>(input_.number(2)) % (size + 1);
        case 0xfd:
            return -static_cast<long>(input_.number(2));
        case 0xfe:
            return size + 1 + input_.byte();
        case 0xff:
            return static_cast<long>(input_.number(8));
        default:
            return code < 0x7f ? std::min(code, size) : code == 0x7f ? size : 0x7f - code;
        }
    }

    Input& input_;
    unsigned failing_step_;
    unsigned step_ = 0;
    unsigned calls_ = 0;
    long work_ = 0;
};

} // namespace
} // namespace cloister::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cloister;
    fuzz::Input input{data, size};
    const unsigned setup = input.byte();
    fuzz::Answers answers{input, setup & 7U};
    scripted::ConnectionKernel kernel{answers};
    try {
        const auto exit = kernel.live((setup & 8U) != 0 ? cell::Mode::Call : cell::Mode::Serve);
        if (kernel.sent() > kernel.received() ||
            (exit == cell::Exit::Done && kernel.sent() != kernel.received())) {
            fuzz::broken("not all was sent, or more than was received");
        }
    } catch (const scripted::ConnectionKernel::Broken& failure) {
        fuzz::broken(failure.what);
    }
    return 0;
}
