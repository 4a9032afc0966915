// SPDX-License-Identifier: MIT
//
// The listener call site: the one instruction from which the filter allows what the listener may do. It has a
// page of its own, which no cell has (MADV_DONTFORK): to jump there is a fault.
asm(R"(
    .pushsection .cell.listener_call, "ax", %progbits
    .balign 65536
    .globl cloister_listener_call
    .hidden cloister_listener_call
    .type cloister_listener_call, %function
cloister_listener_call:
    svc     #0
    ret
    .size cloister_listener_call, . - cloister_listener_call
    .balign 65536, 0
    .popsection
)");
