/* Fibers: functions with stacks of their own that give up the processor only when they say so. */
#ifndef DUET_TESTS_CUDASIM_FIBER_H
#define DUET_TESTS_CUDASIM_FIBER_H

#include <stddef.h>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#endif

struct cudasim_fiber {
    char *stack; /* its lowest byte; NULL: the fiber of whoever started the others */
#if defined(__x86_64__) || defined(__aarch64__)
    void *pointer; /* of the stack, while it waits; all registers lie there */
#else
    ucontext_t context;
#endif
};

/* Makes a fiber on a stack of `size` bytes that begins with entry() when it is first switched to. entry never returns. */
void cudasim_fiber_start(cudasim_fiber *fiber, char *stack, size_t size, void (*entry)());

/* Leaves `from` where it is and goes on with `to`. */
void cudasim_fiber_switch(cudasim_fiber *from, cudasim_fiber *to);

#endif
