// SPDX-License-Identifier: MIT
#pragma once

#include "cell/cell.h"
#include "scripted/kernel.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace cloister::scripted {

/// What the kernel answers to one call of a cell: a byte count, or a negated errno, or what no kernel
/// answers.
using Answer = long;

/// A source of answers. `number` is the system call, `size` the bytes that recv or send was asked for, else
/// 0.
class Script {
  public:
    Script() = default;
    Script(const Script&) = delete;
    Script& operator=(const Script&) = delete;
    virtual ~Script() = default;
    virtual Answer next(long number, long size) = 0;
};

/// Byte `at` of what clients send here: no period that a buffer size could hide.
[[nodiscard]] constexpr std::uint8_t pattern(std::uint64_t at) {
    return static_cast<std::uint8_t>((at * 0x9e3779b97f4a7c15ULL) >> 56U);
}

/// A cell's kernel that knows what a cell must do next: the calls of policy/handlers/echo.policy with exactly
/// their arguments, in an order that keeps every promise. What was sent is what was received, in order; a
/// clean end is complete; any other end has its documented code. Throws Broken at the first difference.
///
/// This is echo's. What another handler must do, other than that, a class that is derived says (handlers.h).
class ConnectionKernel : public Kernel {
  public:
    struct Broken {
        std::string what;
    };

    explicit ConnectionKernel(Script& script);

    /// Runs a whole life; the code it ended with.
    cell::Exit live(cell::Mode mode = cell::Mode::Serve);

    [[nodiscard]] std::uint64_t received() const { return received_; }
    [[nodiscard]] std::uint64_t sent() const { return sent_; }
    [[nodiscard]] const std::vector<Call>& calls() const { return calls_; }
    [[nodiscard]] const std::uint8_t* buffer() const { return arena_->buffer; }
    /// What a clean end of the handler means: of all that it was to send, how much was not.
    [[nodiscard]] virtual std::uint64_t missing() const { return received_ - sent_; }

    long answer(const Call& call) override;

  protected:
    enum class Next { Setup, Recv, Send, Clock, Shutdown, Close, Exit };

    [[nodiscard]] virtual Next after_setup() { return Next::Recv; }
    [[nodiscard]] virtual Next after_receiving(long size) { return expect_sending(size); }
    [[nodiscard]] virtual Next after_sending() { return Next::Recv; }
    [[nodiscard]] virtual Next after_the_end() { return Next::Shutdown; } ///< of the client's stream
    [[nodiscard]] virtual Next after_shutdown() { return Next::Close; }
    [[nodiscard]] virtual std::uint8_t byte_received(std::uint64_t at) const { return pattern(at); }
    [[nodiscard]] virtual std::uint8_t byte_sent(std::uint64_t at) const { return pattern(at); }
    virtual void told_the_time(std::uint64_t /*seconds*/) {}
    void must_exit(cell::Exit code); ///< the next call

    Next expect_sending(long size) {
        pending_ = size;
        empty_sends_ = 0;
        return Next::Send;
    }

  private:
    Script& script_;
    std::unique_ptr<cell::Arena> arena_;
    cell::Parameters parameters_;
    Next next_ = Next::Setup;
    std::size_t setup_step_ = 0;
    cell::Exit end_ = cell::Exit::Bug; // what must be said at Next::Exit
    std::uint64_t received_ = 0;
    std::uint64_t sent_ = 0;
    long pending_ = 0;
    Answer shut_ = 0; // of shutdown
    int empty_sends_ = 0;
    std::vector<Call> calls_;

    void expect(bool holds, const char* what) const;
    long setup(const Call& call);
    long recv(const Call& call);
    long send(const Call& call);
    long clock(const Call& call);
    void fail_with(long error, cell::Exit timeout);
    [[nodiscard]] static cell::Exit end_of(long error, cell::Exit timeout);
};

} // namespace cloister::scripted
