/* The check of every read and write of a kernel. Compilers put a call before each access when they are told to prepare for race
 * detection; these calls end here and not in the compiler's library.
 *
 * A cell holds the last write of a word and its last read, or that several threads read it since. An access is a fault
 * where the address is not the kernel's to touch or not aligned to its size; where it reads what nobody has written; and where
 * another thread touched the word with no barrier in between, one of the two writing. Bytes of a word are told apart by
 * a mask, so that neighbours of two bytes each are no conflict, though then only the last of them is remembered. */
#include "tests/cudasim/simulator.h"

#include <stdio.h>

cudasim_moment cudasim_now;

namespace
{

enum who : unsigned { ONE, WARP, MANY }; /* a thread; several threads of one warp; threads of several warps */

/* time << 16 | bytes << 12 | who << 10 | thread in the block (of WARP: one of the warp). 0: nobody ever. */
uint64_t touch(unsigned mask, who kind)
{
    return cudasim_now.time << 16 | (uint64_t)mask << 12 | (uint64_t)kind << 10 | cudasim_now.thread;
}

uint64_t time_of(uint64_t touched)
{
    return touched >> 16;
}

unsigned mask_of(uint64_t touched)
{
    return touched >> 12 & 15;
}

who kind_of(uint64_t touched)
{
    return (who)(touched >> 10 & 3);
}

unsigned thread_of(uint64_t touched)
{
    return touched & 1023;
}

/* Did it surely happen before what this thread does now? What is older than `over` did. Blocks run one after another here,
 * but not on a GPU. */
bool is_before(uint64_t touched, uint64_t over)
{
    uint64_t time = time_of(touched);
    unsigned warp = cudasim_now.thread / CUDASIM_LANES;
    if (time < over)
        return true;
    if (time < cudasim_now.block_start)
        return false;
    if (time < cudasim_now.barrier || (kind_of(touched) == ONE && thread_of(touched) == cudasim_now.thread))
        return true;
    return kind_of(touched) != MANY && thread_of(touched) / CUDASIM_LANES == warp && time < cudasim_now.warp_sync[warp];
}

uint64_t merged_read(uint64_t last, unsigned mask, uint64_t over)
{
    bool concurrent = time_of(last) >= cudasim_now.block_start && !is_before(last, over);
    if (!concurrent)
        return touch(mask, ONE);
    bool same_warp = kind_of(last) != MANY && thread_of(last) / CUDASIM_LANES == cudasim_now.thread / CUDASIM_LANES;
    return touch(mask | mask_of(last), same_warp ? WARP : MANY);
}

/* One access, for its message. */
struct attempt {
    const void *code;
    cudasim_access how;
    uintptr_t at;
    const char *array; /* of shared memory; NULL: device memory */
    uintptr_t start;   /* of the array or the allocation */
    uint64_t over;     /* before this time all is over: the launch's start, or for shared memory the block's */
    uint64_t oldest;   /* what was written before this time is gone */
};

const char *verb(cudasim_access how)
{
    return how == CUDASIM_READ ? "reads" : how == CUDASIM_WRITE ? "writes" : "changes";
}

[[noreturn]] void complain(const attempt &a, const char *text)
{
    cudasim_fault(a.code, "%s byte %zu of %s%s%s", verb(a.how), (size_t)(a.at - a.start),
                  a.array ? "shared " : "a device allocation", a.array ? a.array : "", text);
}

[[noreturn]] void race(const attempt &a, uint64_t touched, const char *other)
{
    char text[128];
    if (time_of(touched) < cudasim_now.block_start)
        snprintf(text, sizeof text, " that another block %s", other);
    else
        snprintf(text, sizeof text, " that %s %u %s, with no barrier in between",
                 kind_of(touched) == ONE ? "thread" : "several threads, one in the warp of", thread_of(touched), other);
    complain(a, text);
}

void touch_cell(const attempt &a, cudasim_cell *c, unsigned mask)
{
    if (a.how != CUDASIM_WRITE && time_of(c->write) < a.oldest)
        complain(a, " that nothing has written");
    if ((mask_of(c->write) & mask) && !is_before(c->write, a.over))
        race(a, c->write, "wrote");
    if (a.how == CUDASIM_WRITE && (mask_of(c->read) & mask) && !is_before(c->read, a.over))
        race(a, c->read, "read");
    if (a.how == CUDASIM_WRITE)
        c->write = touch(mask, ONE);
    else
        c->read = merged_read(c->read, mask, a.over);
}

void touch_cells(const attempt &a, cudasim_cell *c, size_t bytes)
{
    for (uintptr_t from = a.at, end = a.at + bytes; from < end;) {
        uintptr_t word = from / CUDASIM_WORD * CUDASIM_WORD, to = word + CUDASIM_WORD < end ? word + CUDASIM_WORD : end;
        touch_cell(a, c++, (1u << (to - word)) - (1u << (from - word)));
        from = to;
    }
}

/* Allocations in which no range lies are not limited: they are the kernel's own tables. */
bool is_allowed(const cudasim_limits &limits, const cudasim_allocation &in, const attempt &a, size_t bytes)
{
    bool limited = false;
    for (int i = 0; i < limits.count; i++) {
        const cudasim_range &r = limits.range[i];
        uintptr_t start = reinterpret_cast<uintptr_t>(r.start);
        if (a.at >= start && a.at + bytes <= start + r.bytes && (r.writable || a.how == CUDASIM_READ))
            return true;
        limited |= r.bytes && start >= in.start && start < in.end;
    }
    return !limited;
}

void touch_device(attempt a, size_t bytes)
{
    const cudasim_allocation *found = cudasim_memory_find(a.at);
    if (!found || !found->live)
        cudasim_fault(a.code, "%s device memory that %s", verb(a.how), found ? "was released" : "was never allocated");
    a.start = found->start;
    if (a.at + bytes > found->end) {
        char text[96];
        snprintf(text, sizeof text, ", of which there are %zu", (size_t)(found->end - found->start));
        complain(a, text);
    }
    if (cudasim_now.limits && !is_allowed(*cudasim_now.limits, *found, a, bytes))
        complain(a, a.how == CUDASIM_READ ? ", outside of the node's tensors" : ", outside of the node's results");
    touch_cells(a, cudasim_memory.cells + (a.at - cudasim_memory.base) / CUDASIM_WORD, bytes);
}

/* ---- Shared memory ---- */

struct shared_array {
    const void *site;
    const char *name;
    uintptr_t start, end;
};

enum { ARRAYS = 16, GAP = 64 };
alignas(256) char shared_memory[CUDASIM_MAX_SHARED + ARRAYS * GAP];
cudasim_cell shared_cells[sizeof shared_memory / CUDASIM_WORD];
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

void touch_shared(attempt a, size_t bytes)
{
    size_t from = a.at - reinterpret_cast<uintptr_t>(shared_memory);
    for (int i = 0; i < array_count; i++)
        if (a.at >= arrays[i].start && a.at + bytes <= arrays[i].end) {
            a.array = arrays[i].name;
            a.start = arrays[i].start;
            touch_cells(a, shared_cells + from / CUDASIM_WORD, bytes);
            return;
        }
    cudasim_fault(a.code, "%s %zu bytes of shared memory outside of every array of the block", verb(a.how), bytes);
}

/* Own locals and the launch's arguments are a thread's own; anything else is the host's. */
void check(const void *address, size_t bytes, size_t alignment, cudasim_access how, const void *code)
{
    if (!cudasim_now.inside)
        return;
    uintptr_t at = reinterpret_cast<uintptr_t>(address);
    if (at % alignment)
        cudasim_fault(code, "%s %zu bytes at an address that is no multiple of %zu", verb(how), bytes, alignment);
    if (at - cudasim_memory.base < cudasim_memory.span)
        touch_device({code, how, at, nullptr, 0, cudasim_now.launch_start, 1}, bytes);
    else if (at - reinterpret_cast<uintptr_t>(shared_memory) < sizeof shared_memory)
        touch_shared({code, how, at, nullptr, 0, cudasim_now.block_start, cudasim_now.block_start}, bytes);
    else if (at - cudasim_now.stack >= cudasim_now.stack_size && at - cudasim_now.arguments >= cudasim_now.argument_bytes)
        cudasim_fault(code, "%s %s", verb(how), at < 4096 ? "at a null pointer" : "host memory");
}

template <class Change> int change(int *to, Change join, const void *code)
{
    check(to, sizeof *to, sizeof *to, CUDASIM_CHANGE, code);
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

void cudasim_memory_mark(const void *memory, size_t bytes)
{
    uintptr_t from = (reinterpret_cast<uintptr_t>(memory) - cudasim_memory.base) / CUDASIM_WORD;
    for (size_t i = 0; i < (bytes + CUDASIM_WORD - 1) / CUDASIM_WORD; i++)
        cudasim_memory.cells[from + i] = {touch(15, ONE), 0};
}

bool cudasim_memory_written(const void *memory, size_t bytes)
{
    uintptr_t from = (reinterpret_cast<uintptr_t>(memory) - cudasim_memory.base) / CUDASIM_WORD;
    for (size_t i = 0; i < (bytes + CUDASIM_WORD - 1) / CUDASIM_WORD; i++)
        if (!cudasim_memory.cells[from + i].write)
            return false;
    return true;
}

/* ---- What compilers call ---- */

extern "C" {

#define HOOK(name, bytes, alignment, how)                                                                         \
    void __tsan_##name##bytes(void *at);                                                                          \
    void __tsan_##name##bytes(void *at)                                                                           \
    {                                                                                                             \
        check(at, bytes, alignment, how, __builtin_return_address(0));                                            \
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
    check(at, bytes, 1, CUDASIM_READ, __builtin_return_address(0));
}

void __tsan_write_range(void *at, size_t bytes)
{
    check(at, bytes, 1, CUDASIM_WRITE, __builtin_return_address(0));
}
}
