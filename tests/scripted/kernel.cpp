// SPDX-License-Identifier: MIT
#include "scripted/kernel.h"

#include "syscall/raw.h"

#include <cstdio>
#include <cstdlib>

namespace cloister {
namespace {

scripted::Kernel* running = nullptr;

} // namespace

namespace scripted {

Running::Running(Kernel& kernel) {
    running = &kernel;
}

Running::~Running() {
    running = nullptr;
}

} // namespace scripted

long sys::answer(CallSite site, long number, long a1, long a2, long a3, long a4, long a5, long a6) {
    if (running == nullptr) {
        std::fprintf(stderr, "system call %ld without a kernel\n", number);
        std::abort();
    }
    return running->answer({number, {a1, a2, a3, a4, a5, a6}, site});
}

} // namespace cloister
