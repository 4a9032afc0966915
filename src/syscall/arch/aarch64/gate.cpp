// SPDX-License-Identifier: MIT
//
// The gate: the one instruction from which the filter allows what the listener may do. It has a page of its
// own, which no cell has (MADV_DONTFORK): to jump there is a fault.
asm(R"(
    .pushsection .cell.gate, "ax", %progbits
    .balign 65536
    .globl cloister_gate
    .hidden cloister_gate
    .type cloister_gate, %function
cloister_gate:
    svc     #0
    ret
    .size cloister_gate, . - cloister_gate
    .balign 65536, 0
    .popsection
)");
