// SPDX-License-Identifier: MIT
#pragma once

#include "control/live_content.h"
#include "handlers/connection.h"

namespace cloister::cell {

/// The page that was the newest when the first piece of it was taken. One that is longer than the buffer is
/// taken in pieces; a client that reads these so slowly that the page may be written over meanwhile is cut
/// off.
class NewestPage {
  public:
    /// Copies the next piece into the buffer: its size; 0 behind the last one.
    CLOISTER_INLINE long next_piece(std::uint8_t* buffer) {
        for (; at_ == 0 || at_ != size_;) {
            const control::LiveContent::Page& page = live_.page(number_);
            if (at_ == 0) {
                size_ = page.size < control::LiveContent::longest ? page.size : control::LiveContent::longest;
            }
            const std::uint64_t piece = size_ - at_ < buffer_size ? size_ - at_ : buffer_size;
            arch::copy(buffer, page.bytes + at_, static_cast<long>(piece));
            if (live_.is_whole(number_)) {
                at_ += piece;
                return static_cast<long>(piece);
            }
            if (at_ != 0) {
                leave(Exit::Stalled);
            }
            number_ = live_.newest_page();
        }
        return 0;
    }

  private:
    const control::LiveContent& live_ = control::live_content();
    std::uint64_t number_ = live_.newest_page();
    std::uint64_t at_ = 0, size_ = 0;
};

} // namespace cloister::cell
