// SPDX-License-Identifier: MIT
#pragma once

#include "syscall/raw.h"

#include <array>

/// The scripted twin of the kernel: the same sources as in the daemon, every system call answered by a test.
namespace cloister::scripted {

struct Call {
    long number;
    std::array<long, 6> arguments;
    sys::CallSite site; ///< whose instruction makes it
};

/// Thrown by a kernel at exit_group: the process under test has ended.
struct Exited {
    int code;
};

class Kernel {
  public:
    Kernel() = default;
    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;
    virtual ~Kernel() = default;
    virtual long answer(const Call& call) = 0;
};

/// While it lives, `kernel` answers every system call of the sources under test. Not nested.
class Running {
  public:
    explicit Running(Kernel& kernel);
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    ~Running();
};

} // namespace cloister::scripted
