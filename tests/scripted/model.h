// SPDX-License-Identifier: MIT
#pragma once

#include "scripted/connection.h"

#include <string>

namespace cloister::scripted {

/// The model of a handler, which the author of the handler writes: all that is to be sent to a client that
/// has sent `received`, before it sends more.
std::string answer_to(std::string received);

/// A handler that answers what it receives must do what its model says, whatever pieces the kernel takes and
/// gives, and wherever the connection fails.
class ModelKernel final : public ConnectionKernel {
  public:
    using ConnectionKernel::ConnectionKernel;
    [[nodiscard]] std::uint64_t missing() const override { return answer_.size() - sent(); }

  protected:
    [[nodiscard]] Next after_receiving(long size) override {
        for (long i = size; i > 0; --i) {
            text_ += static_cast<char>(byte_received(received() - static_cast<std::uint64_t>(i)));
        }
        answer_ = answer_to(text_);
        return missing() == 0 ? Next::Recv : expect_sending(static_cast<long>(missing()));
    }
    [[nodiscard]] std::uint8_t byte_sent(std::uint64_t at) const override {
        return static_cast<std::uint8_t>(answer_.at(at));
    }
    /// Words and lines, and among them every value of a byte.
    [[nodiscard]] std::uint8_t byte_received(std::uint64_t at) const override {
        const std::uint8_t byte = pattern(at);
        const std::uint8_t kind = pattern(at + 0x10000);
        return kind < 128   ? static_cast<std::uint8_t>((kind < 64 ? 'a' : 'A') + byte % 26)
               : kind < 160 ? std::uint8_t{' '}
               : kind < 192 ? std::uint8_t{'\n'}
                            : byte;
    }

  private:
    std::string text_;
    std::string answer_;
};

} // namespace cloister::scripted
