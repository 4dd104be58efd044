/* The check of every read and write of a kernel. Compilers put a call before each access when they are told to
 * prepare for race detection; these calls end here and not in the compiler's library. An access is a fault where the
 * address is not the kernel's to touch or not aligned to its size, and where its cells say so (cells.h). */
#include "tests/cudasim/cells.h"

#include <stdio.h>

using namespace cudasim_cells;

cudasim_moment cudasim_now;

namespace
{

[[noreturn]] void complain(const attempt &a, const char *text)
{
    cudasim_fault(a.code, "%s byte %zu of %s%s%s", verb(a.how), (size_t)(a.at - a.start),
                  a.array ? "shared " : "a device allocation", a.array ? a.array : "", text);
}

/* ---- Device memory ---- */

/* Where the accesses of one place in a kernel went last: what it may touch there, in this work, or of shared memory
 * in this block. */
struct window {
    uintptr_t start, room; /* the room is for an access's first byte */
    uint64_t since;        /* when the work or the block began */
    bool shared;
};

/* Narrows [start, end) to the part of the allocation in which the access lies and which it may touch. Allocations in
 * which no range lies are not limited: they are the kernel's own tables. */
bool is_allowed(const cudasim_limits &limits, const attempt &a, size_t bytes, uintptr_t *start, uintptr_t *end)
{
    bool limited = false;
    for (int i = 0; i < limits.count; i++) {
        const cudasim_range &r = limits.range[i];
        uintptr_t from = reinterpret_cast<uintptr_t>(r.start), to = from + r.bytes;
        limited |= r.bytes && from >= *start && from < *end;
        if (a.at >= from && a.at + bytes <= to && (r.writable || a.how == CUDASIM_READ)) {
            *start = from > *start ? from : *start;
            *end = to < *end ? to : *end;
            return true;
        }
    }
    return !limited;
}

void touch_device(attempt a, size_t bytes, window *w)
{
    const cudasim_allocation *found = cudasim_memory_find(a.at);
    if (!found || !found->live)
        cudasim_fault(a.code, "%s device memory that %s", verb(a.how), found ? "was released" : "was never allocated");
    uintptr_t start = found->start, end = found->end, word = (a.at - cudasim_memory.base) / CUDASIM_WORD;
    a.start = start;
    if (a.at + bytes > end) {
        char text[96];
        snprintf(text, sizeof text, ", of which there are %zu", (size_t)(end - start));
        complain(a, text);
    }
    if (cudasim_now.limits && !is_allowed(*cudasim_now.limits, a, bytes, &start, &end))
        complain(a, a.how == CUDASIM_READ ? ", outside of the node's tensors" : ", outside of the node's results");
    if (w)
        *w = {start, end - start - bytes, cudasim_now.work_start, false};
    const char *trouble = touch_cells(a, cudasim_memory.cells + word, cudasim_memory.uppers + word, bytes, a.over);
    if (trouble)
        complain(a, trouble);
}

/* ---- Shared memory ---- */

struct shared_array {
    const void *site;
    const char *name;
    uintptr_t start, end;
};

enum { ARRAYS = 16, GAP = 64 };
alignas(256) char shared_memory[CUDASIM_MAX_SHARED + ARRAYS * GAP];
cudasim_cell shared_cells[sizeof shared_memory / CUDASIM_WORD], shared_uppers[sizeof shared_memory / CUDASIM_WORD];
shared_array arrays[ARRAYS];
int array_count;
size_t declared, placed; /* bytes asked for; bytes used with the gaps between */

void *place_shared(const void *site, const char *name, size_t bytes)
{
    uintptr_t start = reinterpret_cast<uintptr_t>(shared_memory) + placed;
    arrays[array_count++] = {site, name, start, start + bytes};
    declared += bytes;
    placed += (bytes + 2 * GAP - 1) / GAP * GAP;
    memset(reinterpret_cast<void *>(start), 0xff, bytes); /* NaNs, should the check be mistaken */
    return reinterpret_cast<void *>(start);
}

void touch_shared(attempt a, size_t bytes, window *w)
{
    size_t word = (a.at - reinterpret_cast<uintptr_t>(shared_memory)) / CUDASIM_WORD;
    for (int i = 0; i < array_count; i++)
        if (a.at >= arrays[i].start && a.at + bytes <= arrays[i].end) {
            a.array = arrays[i].name;
            a.start = arrays[i].start;
            if (w)
                *w = {a.start, arrays[i].end - a.start - bytes, cudasim_now.block_start, true};
            const char *trouble = touch_cells(a, shared_cells + word, shared_uppers + word, bytes, cudasim_now.barrier);
            if (trouble)
                complain(a, trouble);
            return;
        }
    cudasim_fault(a.code, "%s %zu bytes of shared memory outside of every array of the block", verb(a.how), bytes);
}

/* Own locals and the launch's arguments are a thread's own; anything else is the host's. */
void check(const void *address, size_t bytes, size_t alignment, cudasim_access how, const void *code, window *w)
{
    uintptr_t at = reinterpret_cast<uintptr_t>(address);
    if (at & (alignment - 1))
        cudasim_fault(code, "%s %zu bytes at an address that is no multiple of %zu", verb(how), bytes, alignment);
    if (at - cudasim_memory.base < cudasim_memory.span)
        touch_device({code, how, at, nullptr, 0, cudasim_now.settled, 1}, bytes, w);
    else if (at - reinterpret_cast<uintptr_t>(shared_memory) < sizeof shared_memory)
        touch_shared({code, how, at, nullptr, 0, cudasim_now.block_start, cudasim_now.block_start}, bytes, w);
    else if (at - cudasim_now.stack >= cudasim_now.stack_size && at - cudasim_now.arguments >= cudasim_now.argument_bytes)
        cudasim_fault(code, "%s %s", verb(how), at < 4096 ? "at a null pointer" : "host memory");
}

/* The accesses of two bytes and more, where the window is that of the place in the kernel. */
template <size_t BYTES, cudasim_access HOW>
inline __attribute__((always_inline)) bool access_quickly(const window *w, uintptr_t at)
{
    const cudasim_moment &now = cudasim_now;
    const bool shared = w->shared;
    uintptr_t word = (at - (shared ? reinterpret_cast<uintptr_t>(shared_memory) : cudasim_memory.base)) / CUDASIM_WORD;
    cudasim_cell *c = (shared ? shared_cells : cudasim_memory.cells) + word;
    uint64_t oldest = shared ? now.block_start : 1, over = shared ? now.barrier : now.settled;
    if (BYTES == CUDASIM_WORD / 2)
        return touch_half_quickly<HOW>(
            c, at & 2 ? (shared ? shared_uppers : cudasim_memory.uppers) + word : nullptr, oldest, over);
    for (size_t k = 0; k < BYTES / CUDASIM_WORD; k++)
        if (!touch_quickly<HOW>(c + k, oldest, over))
            return false;
    return true;
}

/* Places in kernels are told apart by some bits of their addresses: those that share a window only make it useless. */
template <size_t BYTES, cudasim_access HOW>
inline __attribute__((always_inline)) void access(const void *address, size_t alignment, const void *code)
{
    enum : size_t { WINDOWS = 256, WHOLE = BYTES < CUDASIM_WORD ? BYTES : (size_t)CUDASIM_WORD };
    static window windows[WINDOWS];
    const cudasim_moment &now = cudasim_now;
    uintptr_t at = reinterpret_cast<uintptr_t>(address);
    if (!now.inside || at - now.stack < now.stack_size)
        return;
    window *w = windows + reinterpret_cast<uintptr_t>(code) / 4 % WINDOWS;
    if (BYTES == 1 || at - w->start > w->room || w->since != (w->shared ? now.block_start : now.work_start) ||
        (at & ((alignment > WHOLE ? alignment : (size_t)WHOLE) - 1)) || !access_quickly<BYTES, HOW>(w, at))
        check(address, BYTES, alignment, HOW, code, w);
}

template <class Change> int change(int *to, Change join, const void *code)
{
    if (cudasim_now.inside)
        check(to, sizeof *to, sizeof *to, CUDASIM_CHANGE, code, nullptr);
    int old = *to;
    *to = join(old);
    return old;
}

} // namespace

void cudasim_shared_begin(size_t dynamic)
{
    array_count = 0;
    declared = placed = 0;
    place_shared(nullptr, "dynamic memory", dynamic);
}

void *cudasim_dynamic_shared(void)
{
    return shared_memory;
}

void *cudasim_shared(const void *site, const char *name, size_t bytes)
{
    for (int i = 0; i < array_count; i++)
        if (arrays[i].site == site)
            return reinterpret_cast<void *>(arrays[i].start);
    bool small = arrays[0].end - arrays[0].start <= CUDASIM_PLAIN_SHARED;
    if (array_count == ARRAYS || declared + bytes > (small ? CUDASIM_PLAIN_SHARED : CUDASIM_MAX_SHARED))
        cudasim_fault(__builtin_return_address(0), "shared %s of %zu bytes does not fit beside %zu others", name, bytes,
                      declared);
    return place_shared(site, name, bytes);
}

int atomicAdd(int *to, int value)
{
    return change(to, [=](int old) { return (int)((unsigned)old + (unsigned)value); }, __builtin_return_address(0));
}

int atomicMin(int *to, int value)
{
    return change(to, [=](int old) { return old < value ? old : value; }, __builtin_return_address(0));
}

int atomicMax(int *to, int value)
{
    return change(to, [=](int old) { return old > value ? old : value; }, __builtin_return_address(0));
}

/* ---- What compilers call ---- */

extern "C" {

#define HOOK(name, bytes, alignment, how)                                                                         \
    void __tsan_##name##bytes(void *at);                                                                          \
    void __tsan_##name##bytes(void *at)                                                                           \
    {                                                                                                             \
        access<bytes, how>(at, alignment, __builtin_return_address(0));                                           \
    }
#define HOOKS(bytes)                                                                                              \
    HOOK(read, bytes, bytes, CUDASIM_READ)                                                                        \
    HOOK(write, bytes, bytes, CUDASIM_WRITE)                                                                      \
    HOOK(unaligned_read, bytes, 1, CUDASIM_READ)                                                                  \
    HOOK(unaligned_write, bytes, 1, CUDASIM_WRITE)
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)

void __tsan_init(void);
void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);
void __tsan_read_range(void *at, size_t bytes);
void __tsan_write_range(void *at, size_t bytes);
void *__tsan_memcpy(void *to, const void *from, size_t bytes);
void *__tsan_memmove(void *to, const void *from, size_t bytes);
void *__tsan_memset(void *to, int value, size_t bytes);

void __tsan_init(void)
{
}

void __tsan_func_entry(void *)
{
}

void __tsan_func_exit(void)
{
}

/* Structs of any size; their alignment is not known here. */
void __tsan_read_range(void *at, size_t bytes)
{
    if (cudasim_now.inside)
        check(at, bytes, 1, CUDASIM_READ, __builtin_return_address(0), nullptr);
}

void __tsan_write_range(void *at, size_t bytes)
{
    if (cudasim_now.inside)
        check(at, bytes, 1, CUDASIM_WRITE, __builtin_return_address(0), nullptr);
}

/* clang's, from its version 15 on; before that, copies of whole structs are not seen. */
void *__tsan_memmove(void *to, const void *from, size_t bytes)
{
    if (cudasim_now.inside) {
        check(from, bytes, 1, CUDASIM_READ, __builtin_return_address(0), nullptr);
        check(to, bytes, 1, CUDASIM_WRITE, __builtin_return_address(0), nullptr);
    }
    return memmove(to, from, bytes);
}

void *__tsan_memcpy(void *to, const void *from, size_t bytes)
{
    return __tsan_memmove(to, from, bytes);
}

void *__tsan_memset(void *to, int value, size_t bytes)
{
    if (cudasim_now.inside)
        check(to, bytes, 1, CUDASIM_WRITE, __builtin_return_address(0), nullptr);
    return memset(to, value, bytes);
}
}
