// SPDX-License-Identifier: MIT
// The clone call site, the first instructions of a new cell, and the setup call site (src/cell/cell.cpp).
#include "cell/cell.h"

// The clone call site: cloister_clone_cell(parameters = rdi, buffer = rsi, flags = rdx). The parameters go
// through the clone in registers. What else the caller left there (a peer's address was seen in xmm7) is
// cleared by the child before anything else, from a state area (Intel SDM 1, 13.4) that says 'all as after a
// reset': zeros but for MXCSR and FCW. Nothing but clone may return to where 0 means 'you are a cell'.
asm(R"(
    .pushsection .cell.clone_call, "ax", @progbits
    .globl cloister_clone_cell, cloister_clone_call
    .hidden cloister_clone_cell, cloister_clone_call
    .type cloister_clone_cell, @function
cloister_clone_cell:
        push  %rbx;  push  %rbp;  push  %r12;  push  %r13;  push  %r14;  push  %r15
        mov   (%rdi), %rbx
        mov   8(%rdi), %rbp
        mov   16(%rdi), %r12
        mov   24(%rdi), %r13
        mov   32(%rdi), %r14
        mov   40(%rdi), %r15        # Parameters::has_xsave
        mov   %rdx, %rdi            # clone(flags, stack, parent_tid, child_tid, tls)
        xor   %edx, %edx
        xor   %r10d, %r10d
        xor   %r8d, %r8d
        mov   $56, %eax
        jmp   cloister_clone_call
        .org  cloister_clone_cell + 4096 - 2, 0xcc
cloister_clone_call:
        syscall
    .popsection

    .pushsection .cell.newborn, "ax", @progbits
        test  %rax, %rax
        jz    1f
        pop   %r15;  pop   %r14;  pop   %r13;  pop   %r12;  pop   %rbp;  pop   %rbx
        ret
    1:  movw  $0x37f, -576(%rsp)    # FCW
        movl  $0x1f80, -552(%rsp)   # MXCSR
        mov   $0xfffffdff, %eax     # every state component but the protection keys
        mov   $0xffffffff, %edx
        test  %r15, %r15
        jz    2f
        xrstor64 -576(%rsp)
        jmp   3f
    2:  fxrstor64 -576(%rsp)
    3:  mov   %rsp, %rsi
        push  %r15;  push  %r14;  push  %r13;  push  %r12;  push  %rbp;  push  %rbx
        mov   %rsp, %rdi
        xor   %eax, %eax;   xor %ebx, %ebx;   xor %ecx, %ecx;   xor %edx, %edx;   xor %ebp, %ebp
        xor   %r8d, %r8d;   xor %r9d, %r9d;   xor %r10d, %r10d; xor %r11d, %r11d
        xor   %r12d, %r12d; xor %r13d, %r13d; xor %r14d, %r14d; xor %r15d, %r15d
        cld
        call  cloister_cell_main
        ud2
    .popsection

    .pushsection .cell.setup_call, "ax", @progbits
    .globl cloister_setup_call
    .hidden cloister_setup_call
    .type cloister_setup_call, @function
cloister_setup_call:
        syscall                     # the last two bytes of its page
    .popsection

    .pushsection .cell.top, "ax", @progbits
        ret                         # the first byte of the next
    .popsection
)");
static_assert(offsetof(cloister::cell::Parameters, has_xsave) == 40 && cloister::cell::stack_size % 64 == 0);
