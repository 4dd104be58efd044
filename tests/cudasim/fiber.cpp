/* A switch saves the registers that a called function must keep, and changes the stack: a few instructions, where
 * swapcontext makes a system call. */
#include "tests/cudasim/fiber.h"

#include <stdint.h>

#if defined(__x86_64__)

/* rdi: where to leave the stack pointer; rsi: the one to take. */
asm(".text\n"
    ".type cudasim_swap, @function\n"
    "cudasim_swap:\n"
    "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n    pushq %r13\n    pushq %r14\n    pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq %rsi, %rsp\n"
    "    popq %r15\n    popq %r14\n    popq %r13\n    popq %r12\n    popq %rbx\n    popq %rbp\n"
    "    ret\n"
    ".size cudasim_swap, . - cudasim_swap\n");

enum { SAVED = 6 };

#elif defined(__aarch64__)

asm(".text\n"
    ".type cudasim_swap, %function\n"
    "cudasim_swap:\n"
    "    sub sp, sp, #160\n"
    "    stp x30, x19, [sp]\n    stp x20, x21, [sp, #16]\n    stp x22, x23, [sp, #32]\n"
    "    stp x24, x25, [sp, #48]\n    stp x26, x27, [sp, #64]\n    stp x28, x29, [sp, #80]\n"
    "    stp d8, d9, [sp, #96]\n    stp d10, d11, [sp, #112]\n"
    "    stp d12, d13, [sp, #128]\n    stp d14, d15, [sp, #144]\n"
    "    mov x9, sp\n    str x9, [x0]\n    mov sp, x1\n"
    "    ldp x30, x19, [sp]\n    ldp x20, x21, [sp, #16]\n    ldp x22, x23, [sp, #32]\n"
    "    ldp x24, x25, [sp, #48]\n    ldp x26, x27, [sp, #64]\n    ldp x28, x29, [sp, #80]\n"
    "    ldp d8, d9, [sp, #96]\n    ldp d10, d11, [sp, #112]\n"
    "    ldp d12, d13, [sp, #128]\n    ldp d14, d15, [sp, #144]\n"
    "    add sp, sp, #160\n"
    "    ret\n"
    ".size cudasim_swap, . - cudasim_swap\n");

enum { SAVED = 20 };

#endif

#if defined(__x86_64__) || defined(__aarch64__)

extern "C" void cudasim_swap(void **leave, void *take);

/* The stack as a switch would have left it. On x86-64 the entry lies above the registers, where `ret` looks for it, and the
 * word above that, aligned to 16 bytes, is where its caller would be; on aarch64 it is in the place of register 30. */
void cudasim_fiber_start(cudasim_fiber *fiber, char *stack, size_t size, void (*entry)())
{
    uintptr_t *top = reinterpret_cast<uintptr_t *>((reinterpret_cast<uintptr_t>(stack) + size) & ~(uintptr_t)15);
#if defined(__x86_64__)
    *--top = 0;
    *--top = reinterpret_cast<uintptr_t>(entry);
#endif
    for (int i = 0; i < SAVED; i++)
        *--top = 0;
#if defined(__aarch64__)
    *top = reinterpret_cast<uintptr_t>(entry);
#endif
    fiber->stack = stack;
    fiber->pointer = top;
}

void cudasim_fiber_switch(cudasim_fiber *from, cudasim_fiber *to)
{
    cudasim_swap(&from->pointer, to->pointer);
}

#else

void cudasim_fiber_start(cudasim_fiber *fiber, char *stack, size_t size, void (*entry)())
{
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = stack;
    fiber->context.uc_stack.ss_size = size;
    fiber->context.uc_link = nullptr;
    makecontext(&fiber->context, entry, 0);
    fiber->stack = stack;
}

void cudasim_fiber_switch(cudasim_fiber *from, cudasim_fiber *to)
{
    swapcontext(&from->context, &to->context);
}

#endif
