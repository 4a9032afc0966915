// SPDX-License-Identifier: MIT
#pragma once

#include "handlers/connection.h"

namespace cloister::cell {

/// Receives until the empty line that ends a request: LF LF, CRs in between or not. `each` is called with
/// every byte until then. A client that ends its stream before has asked for nothing: the cell ends.
template <typename Each>
CLOISTER_INLINE void await_request(std::uint8_t* buffer, Each each) {
    bool empty = false; // the line so far, which is not the first
    for (bool said = false;; said = true) {
        const long received = receive(buffer, said);
        if (received == 0) {
            finish(said);
        }
        for (long i = 0; i < received; ++i) {
            if (buffer[i] == '\n' && empty) {
                return;
            }
            empty = buffer[i] == '\n' || (empty && buffer[i] == '\r');
            each(buffer[i]);
        }
    }
}

} // namespace cloister::cell
