/* Whether an access is in order with those before it (cells.h). */
#include "tests/cudasim/cells.h"
#include "tests/cudasim/stream.h"

#include <stdio.h>

namespace cudasim_cells
{

/* Did it surely happen before what this thread does now? Blocks run one after another here, but not on a GPU. */
static bool is_before(uint64_t touched, uint64_t over)
{
    uint64_t time = time_of(touched);
    unsigned warp = cudasim_now.thread / CUDASIM_LANES;
    if (time < over)
        return true;
    if (time < cudasim_now.work_start)
        return !cudasim_unordered(time);
    if (time < cudasim_now.block_start)
        return false;
    if (time < cudasim_now.barrier || (kind_of(touched) == ONE && thread_of(touched) == cudasim_now.thread))
        return true;
    return kind_of(touched) != MANY && thread_of(touched) / CUDASIM_LANES == warp && time < cudasim_now.warp_sync[warp];
}

uint64_t merged_read(uint64_t last, unsigned mask, uint64_t atomic, uint64_t over)
{
    uint64_t time = time_of(last);
    if (time < cudasim_now.block_start && time >= cudasim_now.work_start && !(mask & ~mask_of(last)))
        return last; /* that another block of the launch read it is more than whatever this one does */
    if (time < cudasim_now.block_start || is_before(last, over))
        return touch(mask, ONE) | atomic;
    bool same_warp = kind_of(last) != MANY && thread_of(last) / CUDASIM_LANES == cudasim_now.thread / CUDASIM_LANES;
    return touch(mask | mask_of(last), same_warp ? WARP : MANY) | atomic;
}

namespace
{

char wrong[256];

const char *race(uint64_t touched, const char *other)
{
    if (time_of(touched) < cudasim_now.work_start)
        snprintf(wrong, sizeof wrong, " that %s %s on another stream, with no event in between",
                 cudasim_unordered(time_of(touched)), other);
    else if (time_of(touched) < cudasim_now.block_start)
        snprintf(wrong, sizeof wrong, " that another block %s", other);
    else
        snprintf(wrong, sizeof wrong, " that %s %u %s, with no barrier in between",
                 kind_of(touched) == ONE ? "thread" : "several threads, one in the warp of", thread_of(touched), other);
    return wrong;
}

/* NULL, or what is wrong. */
const char *touch_half(const attempt &a, cudasim_cell *c, unsigned mask)
{
    unsigned written = time_of(c->write) < a.oldest ? 0 : written_of(c->write);
    bool alone = a.how == CUDASIM_WRITE || (a.how == CUDASIM_CHANGE) != !!(c->read & ATOMIC);
    if (a.how != CUDASIM_WRITE && (mask & ~written))
        return " that nothing has written";
    if ((mask_of(c->write) & mask) && !is_before(c->write, a.over))
        return race(c->write, "wrote");
    if (alone && (mask_of(c->read) & mask) && !is_before(c->read, a.over))
        return race(c->read, c->read & ATOMIC ? "changed" : "read");
    if (a.how == CUDASIM_WRITE)
        c->write = touch(mask, ONE) | (mask | written) << 14;
    else
        c->read = merged_read(c->read, mask, a.how == CUDASIM_CHANGE ? (uint64_t)ATOMIC : 0, a.over);
    return nullptr;
}

const char *touch_word(const attempt &a, cudasim_cell *c, cudasim_cell *upper, unsigned mask)
{
    bool split = c->write & SPLIT, whole = mask == 15;
    if (whole && !split)
        return touch_half(a, c, BOTH); /* both halves as one */
    cudasim_cell low = {c->write & ~SPLIT, c->read}, high = split ? *upper : low;
    const char *trouble = mask & BOTH ? touch_half(a, &low, mask & BOTH) : nullptr;
    if (!trouble && mask >> 2)
        trouble = touch_half(a, &high, mask >> 2);
    if (trouble)
        return trouble;
    bool one_again = whole && a.how == CUDASIM_WRITE; /* reads before are ordered before this, and over for those after it */
    *c = {low.write | (one_again ? 0 : (uint64_t)SPLIT), one_again ? 0 : low.read};
    if (!one_again)
        *upper = high;
    return nullptr;
}

template <cudasim_access HOW>
inline const char *touch_words(const attempt &a, cudasim_cell *c, cudasim_cell *upper, size_t bytes, uint64_t over)
{
    for (uintptr_t from = a.at, end = a.at + bytes; from < end; c++, upper++) {
        uintptr_t word = from / CUDASIM_WORD * CUDASIM_WORD, to = word + CUDASIM_WORD < end ? word + CUDASIM_WORD : end;
        if (to - from != CUDASIM_WORD || HOW == CUDASIM_CHANGE || !touch_quickly<HOW>(c, a.oldest, over)) {
            const char *trouble = touch_word(a, c, upper, (1u << (to - word)) - (1u << (from - word)));
            if (trouble)
                return trouble;
        }
        from = to;
    }
    return nullptr;
}

} // namespace

const char *touch_cells(const attempt &a, cudasim_cell *c, cudasim_cell *upper, size_t bytes, uint64_t over)
{
    return a.how == CUDASIM_READ    ? touch_words<CUDASIM_READ>(a, c, upper, bytes, over)
           : a.how == CUDASIM_WRITE ? touch_words<CUDASIM_WRITE>(a, c, upper, bytes, over)
                                    : touch_words<CUDASIM_CHANGE>(a, c, upper, bytes, over);
}

const char *verb(cudasim_access how)
{
    return how == CUDASIM_READ ? "reads" : how == CUDASIM_WRITE ? "writes" : "changes";
}

} // namespace cudasim_cells

const char *cudasim_memory_touch(const void *memory, size_t bytes, cudasim_access how)
{
    using namespace cudasim_cells;
    static char text[sizeof wrong + 64];
    uintptr_t at = reinterpret_cast<uintptr_t>(memory), word = (at - cudasim_memory.base) / CUDASIM_WORD;
    const attempt a = {nullptr, how, at, nullptr, 0, cudasim_now.settled, 1};
    const char *trouble = touch_cells(a, cudasim_memory.cells + word, cudasim_memory.uppers + word, bytes, a.over);
    if (trouble)
        snprintf(text, sizeof text, "%s device memory%s", verb(how), trouble);
    return trouble ? text : nullptr;
}
