// SPDX-License-Identifier: MIT
// Sends back what it receives, ASCII letters in upper case.
#include "handlers/connection.h"

using namespace cloister::cell;

extern "C" CLOISTER_CELL_CODE void cloister::cell::cloister_handle(std::uint8_t* buffer) {
    for (bool said = false;; said = true) {
        const long received = receive(buffer, said);
        if (received == 0) {
            finish(said);
        }
        for (long i = 0; i < received; ++i) {
            const std::uint8_t c = buffer[i];
            buffer[i] = static_cast<std::uint8_t>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
        }
        send(buffer, received);
    }
}

// What cloisterd's self-test says, and what must come back.
CLOISTER_CONVERSATION{cloister::control::Conversation::make(cloister::control::Answer::Bytes,
                                                            "Hello, 2 of you\n", "HELLO, 2 OF YOU\n")};
