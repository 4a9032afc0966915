// SPDX-License-Identifier: MIT
// Sends the service's content, at once or when the client has sent an empty line, and ends. What the client
// sends is thrown away.
#include "control/content.h"
#include "handlers/request.h"

namespace cloister::cell {

extern "C" CLOISTER_CELL_CODE void cloister_handle(std::uint8_t* buffer) {
    const control::Content& content = control::cloister_content;
    if (content.after_request != 0) {
        await_request(buffer, [](std::uint8_t) {});
    }
    for (std::uint64_t at = 0; at < content.size;) {
        const std::uint64_t left = content.size - at;
        const std::uint64_t piece = left < buffer_size ? left : buffer_size;
        arch::copy(buffer, content.bytes() + at, static_cast<long>(piece));
        send(buffer, static_cast<long>(piece));
        at += piece;
    }
    finish_unread(buffer);
}

} // namespace cloister::cell

CLOISTER_CONVERSATION{cloister::control::Conversation::make(cloister::control::Answer::Content, "\r\n\r\n")};
