// SPDX-License-Identifier: MIT
#pragma once

#include "control/shared_state.h"
#include "control/speculation.h"

#include <array>
#include <cstdint>
#include <string>
#include <sys/types.h>

/// What `cloister status`, `reload` and `explain` say to the supervisor on its control socket, and what it
/// answers: a request of fixed size, then replies of fixed size, the last of which is Reply::Kind::End. Both
/// sides are of one machine; numbers are in its byte order, texts end with NUL.
namespace cloister::control {

inline constexpr std::uint32_t operator_version = 3;

struct Request {
    enum class Kind : std::uint32_t {
        Status,  ///< Daemon, then for each service: Service, its Socket and Generation and Penalised
        Reload,  ///< End, when the reload is finished
        Explain, ///< `source`: a Verdict for each service
    };
    char magic[8];
    std::uint32_t version;
    Kind kind;
    Source source;
};
void prepare(Request& request, Request::Kind kind);
[[nodiscard]] bool is_sound(const Request& request);

struct Reply {
    enum class Kind : std::uint32_t { Daemon, Service, Socket, Generation, Penalised, Verdict, End };
    enum class State : std::uint32_t { starting, serving, draining, ending };

    struct Daemon {
        char version[24];
        std::uint32_t pid, services;
        std::uint64_t uptime_ms, reloads, log_dropped;
        State state;
        std::int32_t landlock_abi; ///< around the supervisor; 0: none
    };
    struct Service {
        char name[40], handler[40];
        std::uint32_t max_connections, configured, reserved, max_per_source;
        std::uint64_t live, connections, untracked, penalised, failures; ///< failures: listeners in a row
        std::uint64_t ends[32];                                          ///< by ExitReason
        std::uint64_t refusals[16];                                      ///< by Refusal
    };
    struct Socket {
        char name[128];
    };
    struct Generation {
        std::uint32_t number;
        std::uint32_t listener, listeners; ///< which of the service's, from 1 on, and how many it has
        std::uint32_t pid;
        State state;
        std::uint64_t live;
        std::int32_t landlock_abi;    ///< around the listener; 0: none
        std::uint32_t bounding_empty; ///< 1: the capability bounding set
        Speculation speculation;
    };
    struct Penalised {
        Source source;
        std::uint32_t cause, level; ///< ExitReason
        std::uint64_t left_ms;
    };
    struct Verdict {
        char service[40];
        Source source; ///< as it is counted; of the network, if that refuses
        bool refused, exempt, known;
        std::uint32_t refusal;      ///< Refusal
        std::uint32_t cause, level; ///< of a penalty
        std::uint64_t live, limit, wait_ms;
    };
    struct End {
        std::uint32_t code; ///< ExitCode
        char message[1024];
    };

    Reply() : Reply{Kind::End} {}
    explicit Reply(Kind kind); ///< of zeros

    std::uint32_t version;
    Kind kind;
    union {
        Daemon daemon;
        Service service;
        Socket socket;
        Generation generation;
        Penalised penalised;
        Verdict verdict;
        End end;
    };
};

/// Where the socket is unless it is configured: /run/cloister/control of root,
/// $XDG_RUNTIME_DIR/cloister/control of another user; empty if that is not set.
[[nodiscard]] inline std::string default_control_path(uid_t user, const char* runtime_directory) {
    if (user == 0) {
        return "/run/cloister/control";
    }
    const std::string directory = runtime_directory == nullptr ? "" : runtime_directory;
    return directory.starts_with('/') ? directory + "/cloister/control" : "";
}

} // namespace cloister::control
