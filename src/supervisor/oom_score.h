// SPDX-License-Identifier: MIT
#pragma once

#include "sys/fd.h"

namespace cloister::supervisor {

/// Makes the listener and its cells the kernel's choice before us when memory runs out: what is forked while
/// our own oom_score_adj (proc_pid_oom_score_adj(5)) is raised keeps the raised one.
class OomScore {
  public:
    /// Opens the file. Early, for that of a process that can't be dumped belongs to root.
    OomScore();

    [[nodiscard]] bool available() const { return file_.valid(); }

    /// By half of the scale, at most to its end (OOM_SCORE_ADJ_MAX). Does nothing where it is not available.
    /// False with errno if the kernel refuses.
    [[nodiscard]] bool raise() const { return write(raised_); }
    [[nodiscard]] bool lower() const { return write(own_); }

  private:
    Fd file_;
    int own_ = 0;
    int raised_ = 0;

    [[nodiscard]] bool write(int score) const;
};

} // namespace cloister::supervisor
