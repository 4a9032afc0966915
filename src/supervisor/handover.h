// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"
#include "supervisor/failure.h"
#include "supervisor/file_access.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <tl/expected.hpp>
#include <vector>

/// What a supervisor hands over when it executes its new binary: the descriptors and processes that it keeps,
/// by number, as text in a sealed memory file. The same process reads it after execve(2). A line is a word
/// and numbers or texts in hexadecimal; words that are not known are passed over, so that a release may add
/// some.
namespace cloister::supervisor {

struct Handover {
    static constexpr unsigned version = 2;
    static constexpr const char* variable = "CLOISTER_STATE"; ///< the number of the memory file
    /// Set for `cloisterd --check` before an upgrade: the version of the state. What can take it over says so
    /// with confirmation().
    static constexpr const char* check_variable = "CLOISTER_CHECK_STATE";

    struct Socket {
        int fd = -1;
        bool is_unix = false, activated = false;
        std::string requested{};
        // Of a unix socket that we bound.
        int directory = -1;
        std::string file{};
        std::uint64_t device = 0, inode = 0;
        bool operator==(const Socket&) const = default;
    };
    struct Generation {
        unsigned number = 0;
        pid_t pid = 0;
        int control = -1;
        unsigned row = 0;
        bool serves = false;          ///< or drains
        std::size_t message_size = 0; ///< sizeof control::Message of its build
        bool operator==(const Generation&) const = default;
    };
    /// One of a service's listeners; those of one service name the same memory and sockets.
    struct Service {
        std::string name;
        unsigned listener = 0; ///< of the service's, from 0 on
        unsigned log_slot = 0;
        int shared = -1;
        std::vector<Socket> sockets{};
        std::vector<Generation> generations{};
        bool operator==(const Service&) const = default;
    };
    struct Pipe {
        int read_end = -1, write_end = -1;
        bool operator==(const Pipe&) const = default;
    };

    pid_t pid = 0;       ///< ours: the state is of nobody else
    std::string release; ///< that handed over
    std::uint64_t started_ns = 0, reloads = 0, reload_failures = 0;
    bool bounding_empty = false, groups_empty = false;
    pid_t relay = 0;
    std::vector<Pipe> pipes{};
    int oom_score = -1;
    std::optional<Socket> control{};
    FileAccess file_access{}; ///< it stays as it is: another layer of Landlock would add up
    std::vector<Service> services{};
    bool operator==(const Handover&) const = default;
};

[[nodiscard]] std::string encode(const Handover& state);
/// The error says what is wrong.
[[nodiscard]] tl::expected<Handover, std::string> decode(std::string_view text);

/// Every descriptor that it names.
[[nodiscard]] std::vector<int> descriptors_of(const Handover& state);

/// In a sealed memory file, without close-on-exec.
[[nodiscard]] tl::expected<Fd, Failure> save(const Handover& state);

/// Of the environment, which it is removed from. Nothing if there is none. Its descriptors are close-on-exec
/// again.
[[nodiscard]] tl::expected<std::optional<Handover>, Failure> take_handover();

/// What a binary that can take over says: `cloister-state 2`.
[[nodiscard]] std::string confirmation();

} // namespace cloister::supervisor
