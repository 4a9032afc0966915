// SPDX-License-Identifier: MIT
#pragma once

#include "control/launch.h"
#include "supervisor/content.h"
#include "supervisor/log.h"
#include "supervisor/oom_score.h"
#include "supervisor/programs.h"
#include "supervisor/self_test.h"
#include "supervisor/shared_memory.h"
#include "supervisor/sockets.h"

#include <memory>
#include <optional>
#include <sys/types.h>
#include <tl/expected.hpp>
#include <vector>

namespace cloister::supervisor {

/// A listening socket of TCP, of any service.
struct OwnSocket {
    control::Source address; ///< a wildcard has prefix 0
    std::uint16_t port;
};
[[nodiscard]] std::vector<OwnSocket> own_sockets(const std::vector<ListeningSocket>& sockets);

/// What every generation of a service is started from.
struct Setup {
    const config::Service& service;
    LogFormat log_format;
    const Policies& policies;
    const ServedContent& content;
    const std::vector<ListeningSocket>& sockets;
    const std::vector<OwnSocket>& own_sockets; ///< of all services
    std::shared_ptr<SharedMemory> shared;
    const OomScore& oom_score;
    unsigned max_connections; ///< what was asked for, or fewer where the system allows no more
    int binary_fd;            ///< the listener's program, opened before we gave up our permissions
    int log_fd;               ///< a pipe of the log relay
    bool log_priorities;
    bool groups_empty;
};

/// One run of a service's listener: its process, the socket to it, and our own clients of it. Never waits.
class Generation {
  public:
    enum class Heard { hello, armed, alive, nonsense, nothing, closed, failed };

    /// Forks. `reach`: with a client for each public socket, too. On failure there is no process.
    [[nodiscard]] static tl::expected<Generation, Failure> start(const Setup& setup, bool reach);

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] int control_fd() const { return control_.get(); } ///< -1 once closed
    [[nodiscard]] int landlock_abi() const { return landlock_abi_; }
    [[nodiscard]] bool bounding_empty() const { return bounding_empty_; }

    /// One message, if there is one; failed: errno says why.
    [[nodiscard]] Heard hear();
    /// After hello: compiles and proves for where its memory lies, and sends the launch configuration. A
    /// listener that is gone is no failure: its end says more.
    [[nodiscard]] tl::expected<void, Failure> launch(const Setup& setup);
    /// After armed: our clients say what they have to say.
    void talk(const Setup& setup);

    void ask();        ///< whether it still serves; answered by alive
    void drain();      ///< accept no more, leave when the last cell has ended
    void end();        ///< end all cells in batches, and leave
    void kill();       ///< SIGKILL; the cells die with it. Closes the socket to it
    void was_reaped(); ///< its process number is not its own any more

    std::optional<Exchange> self_test;
    /// By public socket.
    struct Reaching {
        std::optional<PublicClient> client;
        std::optional<Exchange> exchange;
    };
    std::vector<Reaching> reaching;

  private:
    Generation(pid_t pid, ControlFd control, Fd client, std::shared_ptr<SharedMemory> shared, unsigned row)
        : pid_{pid}, shared_{std::move(shared)}, row_{row}, control_{std::move(control)}, client_{std::move(
                                                                                              client)} {}

    pid_t pid_;
    std::shared_ptr<SharedMemory> shared_;
    unsigned row_; ///< of it
    bool reaped_ = false;
    ControlFd control_;
    Fd client_; ///< of the private socket, until it talks
    control::Message hello_{};
    int landlock_abi_ = 0;
    bool bounding_empty_ = false;

    [[nodiscard]] tl::expected<void, Failure> expect_fitting(const Setup& setup);
    void send(control::Message::Tag tag);
};

} // namespace cloister::supervisor
