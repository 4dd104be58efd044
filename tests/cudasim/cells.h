/* The order of accesses to a word. A cell holds the last write of a word and its last read, or that several threads
 * read it since. An access is wrong where it reads what nobody has written, and where another thread touched the
 * word with no barrier in between, one of the two writing or one of them alone being atomic.
 *
 * The halves of a word, each an element of two bytes, are known apart from the first access on that is to one of
 * them alone: then the word is split, and a second cell belongs to its upper half, until somebody writes the whole
 * word. The bytes of a half are told apart by masks, so that neighbours of one byte are no conflict, though then
 * only the last of them is remembered. */
#ifndef DUET_TESTS_CUDASIM_CELLS_H
#define DUET_TESTS_CUDASIM_CELLS_H

#include "tests/cudasim/simulator.h"

namespace cudasim_cells
{

enum who : unsigned { ONE, WARP, MANY }; /* a thread; several threads of one warp; threads of several warps */

/* A touch is time << TIME | ATOMIC | bytes written by it or before << 14 | bytes << 12 | who << 10 | thread in the
 * block (of WARP: one of the warp). 0: nobody ever. Of a split word's cell the last write is SPLIT besides, which
 * makes it the latest. */
enum { TIME = 20 };
enum : uint64_t { ATOMIC = 1 << 16, SPLIT = (uint64_t)1 << 63 };
enum : unsigned { BOTH = 3 }; /* bytes of a half */

inline uint64_t touch(unsigned mask, who kind)
{
    return cudasim_now.time << TIME | (uint64_t)mask << 12 | (uint64_t)kind << 10 | cudasim_now.thread;
}

inline uint64_t write_of_word()
{
    return touch(BOTH, ONE) | BOTH << 14;
}

inline uint64_t time_of(uint64_t touched)
{
    return touched >> TIME;
}

inline unsigned mask_of(uint64_t touched)
{
    return touched >> 12 & 3;
}

inline unsigned written_of(uint64_t touched)
{
    return touched >> 14 & 3;
}

inline who kind_of(uint64_t touched)
{
    return (who)(touched >> 10 & 3);
}

inline unsigned thread_of(uint64_t touched)
{
    return touched & 1023;
}

/* One access, for its message. */
struct attempt {
    const void *code;
    cudasim_access how;
    uintptr_t at;
    const char *array; /* of shared memory; NULL: device memory */
    uintptr_t start;   /* of the array or the allocation */
    uint64_t over;     /* before this time all is ordered before it: settled, or for shared memory the block's start */
    uint64_t oldest;   /* what was written before this time is gone */
};

/* NULL, or what is wrong with an access to `bytes` bytes, whose cells begin at these: " that nothing has written"
 * and the like. `over` is as in attempt but, for shared memory, the last barrier. */
const char *touch_cells(const attempt &a, cudasim_cell *c, cudasim_cell *upper, size_t bytes, uint64_t over);

const char *verb(cudasim_access how);

/* What to remember of the reads when one is added to the last, with `over` as in attempt or later. */
uint64_t merged_read(uint64_t last, unsigned mask, uint64_t atomic, uint64_t over);

/* Is it already remembered, of a whole word, that others read it beside this thread? */
inline bool is_read_by_others(uint64_t last)
{
    const cudasim_moment &now = cudasim_now;
    bool warp = ((last ^ touch(BOTH, WARP)) & ~(uint64_t)31) == 0, many = ((last ^ touch(BOTH, MANY)) & ~(uint64_t)1023) == 0;
    bool blocks = last >= now.work_start << TIME && last < now.block_start << TIME && !(last & ATOMIC) && mask_of(last) == BOTH;
    return warp || many || blocks;
}

/* The common case in few instructions: a whole word, whose write lies between `oldest` and `over` or is this
 * thread's own at this moment, and to write to it, whose last read is over or its own. False: to be looked at. */
template <cudasim_access HOW>
inline __attribute__((always_inline)) bool touch_quickly(cudasim_cell *c, uint64_t oldest, uint64_t over)
{
    const uint64_t bound = over << TIME, own_read = touch(BOTH, ONE), own_write = write_of_word(), read = c->read;
    if (HOW == CUDASIM_WRITE) {
        if ((read >= bound && read != own_read) || (c->write >= bound && c->write != own_write))
            return false;
        *c = {own_write, 0};
        return true;
    }
    if (c->write - (oldest << TIME) >= bound - (oldest << TIME) && c->write != own_write)
        return false;
    if (read < bound)
        c->read = own_read;
    else if (read & ATOMIC)
        return false;
    else if (read != own_read && !is_read_by_others(read))
        c->read = merged_read(read, BOTH, 0, over);
    return true;
}

/* A half in few instructions, where the word is split. */
template <cudasim_access HOW>
inline __attribute__((always_inline)) bool touch_half_quickly(cudasim_cell *c, cudasim_cell *upper, uint64_t oldest,
                                                              uint64_t over)
{
    if (!(c->write & SPLIT))
        return false;
    cudasim_cell half = upper ? *upper : cudasim_cell{c->write & ~SPLIT, c->read};
    if ((HOW == CUDASIM_READ && written_of(half.write) != BOTH) || !touch_quickly<HOW>(&half, oldest, over))
        return false;
    if (upper)
        *upper = half;
    else
        *c = {half.write | SPLIT, half.read};
    return true;
}

} // namespace cudasim_cells

#endif
