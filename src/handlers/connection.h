// SPDX-License-Identifier: MIT
#pragma once

#include "cell/handler.h"
#include "control/conversation.h"

#include <cerrno>
#include <sys/socket.h>

/// What a handler is made of: its connection, its buffer, and the end. A handler that uses these forgets no
/// interrupted call, partial send, limit or error: each ends the cell with the Exit for it. A call that a
/// handler does not use is not in its code. No confinement rests on this: a cell is assumed to be taken over.
namespace cloister::cell {

constexpr int tries_of_empty_send = 16;

/// The end that an error of recv or send means; `timeout` is what EAGAIN means.
CLOISTER_INLINE Exit end_of(long error, Exit timeout) {
    constexpr long last_errno = 4095; // MAX_ERRNO, include/linux/err.h
    if (error == -EAGAIN) {
        return timeout; // SO_RCVTIMEO, SO_SNDTIMEO: socket(7)
    }
    if (error == -ENOMEM || error == -ENOBUFS) {
        return Exit::Resources;
    }
    const bool impossible = error < -last_errno || error == -EBADF || error == -EFAULT || error == -EINVAL ||
                            error == -ENOTSOCK || error == -EOPNOTSUPP;
    return impossible ? Exit::Bug : Exit::Reset;
}

/// Waits for bytes of the client: how many are in the buffer, 1 … buffer_size; 0 when it has ended its
/// stream. `said`: whether it has said anything before. One that goes without having done so ends the cell as
/// Idle: a health check, or a port scan.
CLOISTER_INLINE long receive(std::uint8_t* buffer, bool said = true) {
    for (;;) {
        const long received = sys::cell_call(SYS_recvfrom, connection, address(buffer), buffer_size, 0, 0, 0);
        if (received == -EINTR) { // a stop and continue, even without a handler: signal(7)
            continue;
        }
        if (received < 0) {
            const Exit end = end_of(received, Exit::Idle);
            leave(end == Exit::Reset && !said ? Exit::Idle : end);
        }
        if (received > static_cast<long>(buffer_size)) {
            leave(Exit::Bug);
        }
        return received;
    }
}

/// Sends the first `size` bytes of the buffer, 0 … buffer_size, and overwrites them: the filter allows one
/// address only, the buffer's start, so what is left moves there.
CLOISTER_INLINE void send(std::uint8_t* buffer, long size) {
    int empty = 0;
    while (size > 0) {
        const long sent = sys::cell_call(SYS_sendto, connection, address(buffer), size, MSG_NOSIGNAL, 0, 0);
        if (sent == -EINTR) {
            continue;
        }
        if (sent < 0) { // TCP_USER_TIMEOUT runs against a closed window, too: tcp(7)
            leave(sent == -ETIMEDOUT ? Exit::Stalled : end_of(sent, Exit::Stalled));
        }
        if (sent > size) {
            leave(Exit::Bug);
        }
        if (sent == 0 && ++empty == tries_of_empty_send) {
            leave(Exit::Resources);
        }
        size -= sent;
        if (sent > 0 && size > 0) {
            arch::copy(buffer, buffer + sent, size);
        }
    }
}

CLOISTER_INLINE void end_stream() {
    const long shut = sys::cell_call(SYS_shutdown, connection, SHUT_WR);
    if (shut != 0) { // ENOTCONN: reset since then, which recv does not tell
        close_and_leave(end_of(shut, Exit::Reset));
    }
}

/// Ends our stream and the cell, when the client has ended its own. `said` as for receive().
[[noreturn]] CLOISTER_INLINE void finish(bool said = true) {
    end_stream();
    close_and_leave(said ? Exit::Done : Exit::Idle);
}

/// The same while the client may still send: that is thrown away until its end. To close with bytes unread
/// would reset the connection, and with it what is still on the way to the client (RFC 1122, 4.2.2.13).
[[noreturn]] CLOISTER_INLINE void finish_unread(std::uint8_t* buffer) {
    end_stream();
    while (receive(buffer) != 0) {
    }
    close_and_leave(Exit::Done);
}

} // namespace cloister::cell
