// SPDX-License-Identifier: MIT
// RFC 862, TCP: sends back whatever it receives, until the client ends its stream.
#include "handlers/connection.h"

namespace cloister::cell {

extern "C" CLOISTER_CELL_CODE void cloister_handle(std::uint8_t* buffer) {
    for (bool said = false;; said = true) {
        const long received = receive(buffer, said);
        if (received == 0) {
            finish(said);
        }
        send(buffer, received);
    }
}

} // namespace cloister::cell

CLOISTER_CONVERSATION{cloister::control::Conversation::make(cloister::control::Answer::Same, "")};
