// SPDX-License-Identifier: MIT
#pragma once

#include "base/fd.h"
#include "supervisor/sockets.h"

#include <optional>
#include <string>

namespace cloister::supervisor {

/// Makes the listener and its cells the kernel's choice before us when memory runs out: what is forked while
/// our own oom_score_adj (proc_pid_oom_score_adj(5)) is raised keeps the raised one.
class OomScore {
  public:
    /// Opens the file. Early, for that of a process that can't be dumped belongs to root.
    OomScore();
    /// That of an earlier program of this process; -1: there is none.
    explicit OomScore(Fd file);
    [[nodiscard]] int fd() const { return file_.get(); }

    /// Empty where the listener and its cells get half of the scale more than we have. Else one sentence: why
    /// they don't, and the cure.
    [[nodiscard]] const std::string& warning() const { return warning_; }

    /// By half of the scale, at most to its end (OOM_SCORE_ADJ_MAX); read back. Does nothing where the file
    /// could not be opened.
    [[nodiscard]] std::optional<Failure> raise() const { return write(raised_); }
    /// To what it was when we were started.
    [[nodiscard]] std::optional<Failure> lower() const { return write(own_); }

  private:
    Fd file_;
    int own_ = 0;
    int raised_ = 0;
    std::string warning_;

    void cannot(const char* what, int error);
    [[nodiscard]] std::optional<Failure> write(int score) const;
};

} // namespace cloister::supervisor
