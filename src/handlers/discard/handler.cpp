// SPDX-License-Identifier: MIT
// RFC 863, TCP: throws away whatever it receives, until the client ends its stream.
#include "handlers/connection.h"

namespace cloister::cell {

extern "C" CLOISTER_CELL_CODE void cloister_handle(std::uint8_t* buffer) {
    while (receive(buffer) != 0) {
    }
    finish();
}

} // namespace cloister::cell

CLOISTER_CONVERSATION{
    cloister::control::Conversation::make(cloister::control::Answer::Nothing, "to be discarded")};
