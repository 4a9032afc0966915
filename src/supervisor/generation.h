// SPDX-License-Identifier: MIT
#pragma once

#include "control/launch.h"
#include "supervisor/handover.h"
#include "supervisor/live_pages.h"
#include "supervisor/log.h"
#include "supervisor/self_test.h"
#include "supervisor/setup.h"

#include <memory>
#include <optional>
#include <sys/types.h>
#include <tl/expected.hpp>
#include <vector>

namespace cloister::supervisor {

/// One run of a service's listener: its process, the socket to it, and our own clients of it. Never waits.
class Generation {
  public:
    enum class Heard { hello, armed, alive, nonsense, nothing, closed, failed };

    /// Forks. `log_fd`: a pipe of the log relay. `reach`: with a client for each public socket, too. On
    /// failure there is no process.
    [[nodiscard]] static tl::expected<Generation, Failure> start(std::shared_ptr<const Setup> setup,
                                                                 const Host& host, int log_fd, bool reach);

    /// One that an earlier program of this process has started.
    [[nodiscard]] static Generation adopt(std::shared_ptr<const Setup> setup,
                                          const Handover::Generation& one);
    [[nodiscard]] Handover::Generation hand_over(unsigned number, bool serves) const;

    [[nodiscard]] const Setup& setup() const { return *setup_; }

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] int control_fd() const { return control_.get(); } ///< -1 once closed
    [[nodiscard]] int landlock_abi() const { return landlock_abi_; }
    [[nodiscard]] bool bounding_empty() const { return bounding_empty_; }

    [[nodiscard]] std::uint64_t live() const; ///< connections, as it says

    /// One message, if there is one; failed: errno says why.
    [[nodiscard]] Heard hear();
    /// After hello: compiles and proves for where its memory lies, and sends the launch configuration. A
    /// listener that is gone is no failure: its end says more.
    [[nodiscard]] tl::expected<void, Failure> launch(const Host& host, const LivePages* pages);
    /// After hello: whether its cells serve `pages`.
    [[nodiscard]] bool serves_metrics() const { return hello_.conversation.kind == control::Answer::Page; }
    [[nodiscard]] control::Speculation speculation() const { return speculation_; }
    [[nodiscard]] std::uint64_t setup_ns() const { return setup_ns_; } ///< as it says; 0: not known
    /// Whether our own clients are not finished.
    [[nodiscard]] bool is_tested() const;
    /// After armed: our clients say what they have to say.
    void talk();

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
    Generation(pid_t pid, ControlFd control, Fd client, std::shared_ptr<const Setup> setup, unsigned row)
        : pid_{pid}, setup_{std::move(setup)}, row_{row}, control_{std::move(control)}, client_{std::move(
                                                                                            client)} {}

    pid_t pid_;
    std::shared_ptr<const Setup> setup_;
    unsigned row_; ///< of the service's shared memory
    bool reaped_ = false;
    ControlFd control_;
    std::size_t message_size_ = sizeof(control::Message); ///< of its build
    Fd client_;                                           ///< of the private socket, until it talks
    control::Message hello_{};
    int landlock_abi_ = 0;
    bool bounding_empty_ = false;
    std::uint64_t setup_ns_ = 0;
    control::Speculation speculation_{};
    const LivePages* pages_ = nullptr; ///< the supervisor's, if its cells serve them

    [[nodiscard]] tl::expected<void, Failure> expect_fitting();
    [[nodiscard]] Heard hear_another_build();
    void send(control::Message::Tag tag);
};

} // namespace cloister::supervisor
