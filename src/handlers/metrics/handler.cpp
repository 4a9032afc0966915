// SPDX-License-Identifier: MIT
// HTTP/1.1 (RFC 9112) as far as a scraper needs it: `GET /metrics` is answered with the newest page of the
// metrics, which the supervisor writes with its header; another request, with an error. One a connection.
#include "handlers/live_page.h"
#include "handlers/request.h"
#include "handlers/writer.h"

namespace cloister::cell {

CLOISTER_CELL_CONSTANT char wanted[] = "GET /metrics";
CLOISTER_CELL_CONSTANT char not_found[] = "HTTP/1.1 404 Not Found\r\n";
CLOISTER_CELL_CONSTANT char not_allowed[] = "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\n";
CLOISTER_CELL_CONSTANT char hint[] = "Content-Type: text/plain\r\nContent-Length: 38\r\nConnection: close\r\n"
                                     "\r\nThe metrics are at /metrics, by GET.\r\n";
constexpr std::uint64_t method_length = 4; // "GET "
constexpr std::uint64_t wanted_length = sizeof wanted - 1;

extern "C" CLOISTER_CELL_CODE void cloister_handle(std::uint8_t* buffer) {
    std::uint64_t at = 0;
    std::uint64_t alike = 0; // how many bytes are as wanted, from the first on
    await_request(buffer, [&at, &alike](std::uint8_t byte) {
        if (alike == at && at < wanted_length) {
            alike += byte == static_cast<std::uint8_t>(wanted[at]) ? 1 : 0;
        } else if (alike == wanted_length && at == wanted_length) { // what follows the path
            alike = byte == ' ' || byte == '?' ? alike : method_length;
        }
        ++at;
    });
    const bool found = alike == wanted_length;
    NewestPage page;
    const char* const error = alike < method_length ? not_allowed : not_found;
    long size = found ? page.next_piece(buffer) : Writer{buffer}.text(error).text(hint).end - buffer;
    while (size > 0) {
        send(buffer, size);
        size = found ? page.next_piece(buffer) : 0;
    }
    finish_unread(buffer);
}

} // namespace cloister::cell

CLOISTER_CONVERSATION{
    cloister::control::Conversation::make(cloister::control::Answer::Page, "GET /metrics HTTP/1.1\r\n\r\n")};
