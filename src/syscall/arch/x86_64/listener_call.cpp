// SPDX-License-Identifier: MIT
//
// The listener call site: the one instruction from which the filter allows what the listener may do. It has a
// page of its own, which no cell has (MADV_DONTFORK): to jump there is a fault.
asm(R"(
    .pushsection .cell.listener_call, "ax", @progbits
    .balign 4096
    .globl cloister_listener_call
    .hidden cloister_listener_call
    .type cloister_listener_call, @function
cloister_listener_call:
    syscall
    ret
    .size cloister_listener_call, . - cloister_listener_call
    .balign 4096, 0xcc
    .popsection
)");
