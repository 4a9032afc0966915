// SPDX-License-Identifier: MIT
// The clone call site, the first instructions of a new cell, and the setup call site (src/cell/cell.cpp).
#include "cell/cell.h"

// The clone call site: cloister_clone_cell(parameters = x0, buffer = x1, flags = x2). The parameters go
// through the clone in registers. What else the caller left there is cleared by the child before anything
// else, but for what the kernel has cleared: what SVE adds, at each system call
// (Documentation/arch/arm64/sve.rst, 3), and TPIDR2, with the thread pointer (copy_thread(),
// arch/arm64/kernel/process.c). Nothing but clone may return to where 0 means 'you are a cell'.
asm(R"(
    .pushsection .cell.clone_call, "ax", %progbits
    .globl cloister_clone_cell, cloister_clone_call
    .hidden cloister_clone_cell, cloister_clone_call
    .type cloister_clone_cell, %function
cloister_clone_cell:
        stp   x29, x30, [sp, #-64]!
        stp   x19, x20, [sp, #16]
        stp   x21, x22, [sp, #32]
        stp   x23, x24, [sp, #48]
        ldp   x19, x20, [x0]
        ldp   x21, x22, [x0, #16]
        ldp   x23, x24, [x0, #32]
        mov   x0, x2                // clone(flags, stack, parent_tid, tls, child_tid)
        mov   x2, xzr
        mov   x3, xzr
        mov   x4, xzr
        mov   x8, #220
        b     cloister_clone_call
        .org  cloister_clone_cell + 65536 - 4, 0
cloister_clone_call:
        svc   #0
    .popsection

    .pushsection .cell.newborn, "ax", %progbits
        cbz   x0, 1f
        ldp   x23, x24, [sp, #48]
        ldp   x21, x22, [sp, #32]
        ldp   x19, x20, [sp, #16]
        ldp   x29, x30, [sp], #64
        ret
    1:  .irp  n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        movi  v\n\().2d, #0
        .endr
        msr   fpsr, xzr
        msr   fpcr, xzr
        msr   nzcv, xzr
        mov   x1, sp
        stp   x19, x20, [sp, #-48]!
        stp   x21, x22, [sp, #16]
        stp   x23, x24, [sp, #32]
        mov   x0, sp
        .irp  n, 2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
        mov   x\n, xzr
        .endr
        bl    cloister_cell_main
        udf   #0
    .popsection

    .pushsection .cell.setup_call, "ax", %progbits
    .globl cloister_setup_call
    .hidden cloister_setup_call
    .type cloister_setup_call, %function
cloister_setup_call:
        svc   #0                    // the last instruction of its page
    .popsection

    .pushsection .cell.top, "ax", %progbits
        ret                         // the first of the next
    .popsection
)");
static_assert(cloister::cell::stack_size % 16 == 0); // of sp: AAPCS64, "Universal stack constraints"
