// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"
#include "base/log_format.h"
#include "cell/cell.h"
#include "control/conversation.h"
#include "control/source_table.h"
#include "control/speculation.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <linux/filter.h>
#include <string_view>
#include <sys/socket.h>
#include <sys/time.h>
#include <tl/expected.hpp>

/// The one contract between the supervisor and a listener generation. The supervisor starts a handler's
/// listener with the descriptors below, the listener says of which build it is, where its memory and its
/// instructions lie, and what its handler is (Message::Tag::Hello), the supervisor compiles the policies for
/// these places, combines and proves them, and sends the launch configuration: a memfd that nobody can change
/// any more. The listener installs the very bytes that were proved.
namespace cloister::control {

// The listener's descriptors; policy/listener.policy has the same numbers.
inline constexpr int connection_fd = 0; ///< free, for accept4 to return it
inline constexpr int signal_fd = 1;
inline constexpr int log_fd = 2;       ///< a pipe with O_NONBLOCK
inline constexpr int control_fd = 3;   ///< SOCK_SEQPACKET to the supervisor; its end is the listener's end
inline constexpr int self_test_fd = 4; ///< listens, and has the self-test's connection and never another
inline constexpr int first_socket_fd = 5;
inline constexpr unsigned max_listening_sockets = 64;                    ///< public ones
inline constexpr std::uint32_t self_test_socket = max_listening_sockets; ///< its index in Launch::sockets
inline constexpr int status_fd = first_socket_fd + static_cast<int>(max_listening_sockets);

inline constexpr unsigned connection_limit = 1U << 20; ///< whatever else binds before (docs/limits.md)

/// All of the listener's environment: libc must not register rseq (listener/memory.h).
inline constexpr const char* listener_environment = "GLIBC_TUNABLES=glibc.pthread.rseq=0";

/// How an accepted connection is treated, by the family of its listening socket.
struct ListeningSocket {
    char name_bytes[126];      ///< read through name(); an abstract socket's name may hold NUL bytes
    std::uint16_t name_length; ///< 1 … sizeof name_bytes
    std::uint16_t family;      ///< AF_INET, AF_INET6 or AF_UNIX
    bool inherited;            ///< accepted connections have the socket's options: TCP, and bound by us
    /// From where the supervisor itself connects, once, to see whether this socket can be reached; of the
    /// family of the socket, or of none. That connection is not logged unless it fails. Not needed for a unix
    /// socket: there the listener knows its parent's process number.
    sockaddr_storage own_client;

    /// As in the log: `127.0.0.1:7007`, `[::1]:7007`, `unix:/run/x`, `unix:@abstract`.
    [[nodiscard]] std::string_view name() const { return {name_bytes, name_length}; }
    /// At most sizeof name_bytes of them; the longest name of a socket has 114, of a unix socket (unix(7)).
    void set_name(std::string_view name) {
        name_length = static_cast<std::uint16_t>(std::min(name.size(), sizeof name_bytes));
        std::memcpy(name_bytes, name.data(), name_length);
    }
};

inline constexpr unsigned max_exempt = 64;

/// Whom the listener admits (listener/admission.h).
struct Admission {
    std::uint32_t max_per_source;  ///< 1 …
    std::uint32_t max_per_network; ///< 1 …
    Rate source_rate, network_rate;
    std::uint8_t source_ipv4, source_ipv6;   ///< prefix lengths
    std::uint8_t network_ipv4, network_ipv6; ///< wider ones; 0: none
    bool refuse_privileged_ports;            ///< of clients, below 1024
    std::uint32_t reserved;                  ///< places for exempt sources alone, 0 … max_connections - 1
    std::uint64_t penalty_ms;                ///< the first one; 0: none
    std::uint64_t over_rate_ms;              ///< for so long over its rate: a penalty; 0: never
    std::uint32_t exempt_count;              ///< 0 … max_exempt
    Source exempt[max_exempt];               ///< without limits of a source, and penalties
};

struct Launch {
    char magic[8];
    std::uint32_t version;
    std::uint32_t size;       ///< of Launch
    const cell::Arena* arena; ///< with `call_sites`, the places that the program is bound to
    cell::CallSites call_sites;
    cell::Parameters parameters; ///< for every cell that serves
    std::uint64_t
        content_size; ///< of the memory file that comes along: control::Content and its bytes; 0: none
    std::uint32_t max_connections; ///< 1 … connection_limit
    std::uint32_t socket_count;    ///< 1 … max_listening_sockets
    timeval idle;                  ///< set on accepted connections that do not inherit it
    std::uint32_t row;             ///< of the shared state, 0 … max_rows - 1
    Admission admission;
    std::uint32_t socket_buffer; ///< likewise, bytes as setsockopt(2) takes them; 0: the kernel's own way
    LogFormat log_format;
    bool log_priorities;                                ///< `<n>` before each record (sd-daemon(3))
    bool groups_empty;                                  ///< there must be no supplementary groups
    std::uint32_t uid, gid;                             ///< what all of the listener's ids must be
    std::uint32_t filter_length;                        ///< in instructions
    sock_filter filter[2048];                           ///< all of policy/, compiled, combined and proved
    ListeningSocket sockets[max_listening_sockets + 1]; ///< the last one: self_test_socket
};

/// A fresh launch configuration: zeroed, with magic, version, size and the self-test's socket; everybody is
/// admitted.
void prepare(Launch& launch);

/// What may be written into by nobody any more, and keeps its size.
[[nodiscard]] bool seal(int fd);
[[nodiscard]] bool is_sealed(int fd);

/// The same, but who has mapped it to be written goes on to write into it (F_SEAL_FUTURE_WRITE).
[[nodiscard]] bool seal_for_others(int fd);
[[nodiscard]] bool is_sealed_for_others(int fd);

/// The launch configuration in a sealed memfd. If the kernel gives none: the call that failed, with errno.
[[nodiscard]] tl::expected<Fd, const char*> seal(const Launch& launch);

/// Maps the launch configuration, for good, and checks seals, version, sizes and ranges, and that it is for
/// `arena` and `call_sites`, the places of this process. Dies when anything is not as it must be.
[[nodiscard]] const Launch& open_sealed(int fd, const cell::Arena* arena, const cell::CallSites& call_sites);

/// What both sides must have been built alike from.
struct Build {
    char version[24]; ///< of the release, ended by NUL
    std::uint32_t contract;
    [[nodiscard]] bool operator==(const Build& other) const {
        return contract == other.contract && std::memcmp(version, other.version, sizeof version) == 0;
    }
    /// Printable, whoever has sent it.
    [[nodiscard]] std::string_view name() const;
};
[[nodiscard]] Build own_build();

/// One message on the control socket.
struct Message {
    enum class Tag : std::uint32_t {
        Hello, ///< listener: `build`, `conversation`, `content_room`; `arena` and `call_sites` are where mine
               ///< lie. Answered by Launch
        Launch, ///< supervisor: the sealed memfd comes along (SCM_RIGHTS), then that of the shared state,
                ///< then that of the content, if any
        Armed,  ///< listener: confined, negative self-tests died as they must; serving
        Drain,  ///< supervisor: accept no more, leave when the last cell has ended
        End,    ///< supervisor: end all cells, in batches, and leave
        Ask,    ///< supervisor: do you still serve?
        Alive,  ///< listener: the answer, one for each question
    };
    Tag tag;
    std::int32_t landlock_abi;    ///< Armed: 0 = the kernel has no Landlock
    Speculation speculation;      ///< Armed
    std::uint64_t setup_ns;       ///< Armed: from clone to the end of a cell that did its setup and one call
    std::uint32_t bounding_empty; ///< Armed: 1 = the capability bounding set is empty, not only inert
    Build build;                  ///< Hello
    Conversation conversation;    ///< Hello: of the handler
    std::uint64_t content_room;   ///< Hello: bytes; 0: the handler has no content
    const cell::Arena* arena;     ///< Hello
    cell::CallSites call_sites;   ///< Hello
};

/// What comes with a message, in the order in which it was sent.
using Descriptors = std::array<Fd, 3>;

/// Sends `message`, with those descriptors that are not negative. False with errno when the other side is
/// gone.
[[nodiscard]] bool send_message(int socket, const Message& message,
                                std::initializer_list<int> descriptors = {});

/// Receives a message, and in `passed` the descriptors that may come along. False with errno: 0 if the other
/// side has closed, or sent an empty message; EPROTO if the message has another length or brings anything
/// else, which is closed.
[[nodiscard]] bool receive_message(int socket, Message& message, Descriptors* passed = nullptr);

} // namespace cloister::control
