// SPDX-License-Identifier: MIT
// RFC 863, TCP: throws away whatever it receives, until the client ends its stream.
#include "handlers/connection.h"

namespace cloister::cell {

extern "C" CLOISTER_CELL_CODE void cloister_handle(std::uint8_t* buffer) {
    bool said = false;
    while (receive(buffer, said) != 0) {
        said = true;
    }
    finish(said);
}

} // namespace cloister::cell

CLOISTER_CONVERSATION{
    cloister::control::Conversation::make(cloister::control::Answer::Nothing, "to be discarded")};
