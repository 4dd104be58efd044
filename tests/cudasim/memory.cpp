/* Device memory. It lies in a range of addresses of its own that the host cannot touch between simulated work.
 * Beside each word lies a cell (access.cpp) that says who wrote and read it last. Addresses are never used twice, so
 * memory that was released is known as such. */
#include "tests/cudasim/simulator.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

cudasim_device cudasim_memory;

namespace
{

enum : uintptr_t { PAGE = 4096, LARGEST = (uintptr_t)1 << 37, SMALLEST = (uintptr_t)1 << 30 };

std::vector<cudasim_allocation> allocations;
uint32_t *owner; /* of each page: the allocation's number + 1 */
uintptr_t top;   /* where the next allocation goes */
size_t in_use, capacity = (size_t)8 << 30;
struct sigaction before;

/* Pages that are none until somebody writes to them. */
template <class T> T *reserve(size_t bytes, int protection)
{
    void *memory = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? nullptr : static_cast<T *>(memory);
}

void on_fault(int number, siginfo_t *info, void *context)
{
    static const char text[] = "\n# cudasim: the host touched device memory\n";
    if (reinterpret_cast<uintptr_t>(info->si_addr) - cudasim_memory.base < cudasim_memory.span)
        _exit(write(STDOUT_FILENO, text, sizeof text - 1) < 0 ? 2 : 1);
    if (before.sa_flags & SA_SIGINFO)
        before.sa_sigaction(number, info, context);
    else
        signal(SIGSEGV, SIG_DFL); /* it happens again, and ends the program */
}

/* Reserves the largest range that the system grants. */
bool begin(cudasim_device *d)
{
    for (d->span = LARGEST; d->span >= SMALLEST && !d->base; d->span /= 2) {
        d->cells = reserve<cudasim_cell>(d->span / CUDASIM_WORD * sizeof(cudasim_cell), PROT_READ | PROT_WRITE);
        d->uppers = reserve<cudasim_cell>(d->span / CUDASIM_WORD * sizeof(cudasim_cell), PROT_READ | PROT_WRITE);
        owner = reserve<uint32_t>(d->span / PAGE * sizeof *owner, PROT_READ | PROT_WRITE);
        void *memory = reserve<char>(d->span, PROT_NONE);
        if (d->cells && d->uppers && owner && memory) {
            d->base = reinterpret_cast<uintptr_t>(memory);
            top = d->base + PAGE;
            break;
        }
    }
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    return d->base && sigaction(SIGSEGV, &action, &before) == 0;
}

} // namespace

void *cudasim_memory_take(size_t bytes)
{
    static const bool ready = begin(&cudasim_memory);
    const cudasim_device &d = cudasim_memory;
    if (!ready || in_use > capacity || bytes > capacity - in_use || bytes > d.base + d.span - top - 2 * PAGE)
        return nullptr;
    size_t pages = (bytes + PAGE - 1) / PAGE;
    allocations.push_back({top, top + bytes, true});
    for (size_t p = 0; p <= pages; p++) /* with a page behind it, for what goes beyond its end */
        owner[(top - d.base) / PAGE + p] = (uint32_t)allocations.size();
    void *memory = reinterpret_cast<void *>(top);
    top += (pages + 1) * PAGE;
    in_use += bytes;
    return memory;
}

const cudasim_allocation *cudasim_memory_find(uintptr_t at)
{
    uint32_t number = owner[(at - cudasim_memory.base) / PAGE];
    return number ? &allocations[number - 1] : nullptr;
}

bool cudasim_memory_give(void *memory)
{
    uintptr_t at = reinterpret_cast<uintptr_t>(memory), from = at - cudasim_memory.base;
    const cudasim_allocation *found = from < cudasim_memory.span ? cudasim_memory_find(at) : nullptr;
    if (!found || found->start != at || !found->live)
        return false;
    size_t bytes = found->end - found->start, whole = (bytes + PAGE - 1) / PAGE * PAGE;
    allocations[(size_t)(found - allocations.data())].live = false;
    in_use -= bytes;
    madvise(memory, whole, MADV_DONTNEED);
    for (cudasim_cell *cells : {cudasim_memory.cells, cudasim_memory.uppers})
        madvise(cells + from / CUDASIM_WORD, whole / CUDASIM_WORD * sizeof(cudasim_cell), MADV_DONTNEED);
    return true;
}

void cudasim_memory_left(size_t *left, size_t *all)
{
    *left = capacity > in_use ? capacity - in_use : 0;
    *all = capacity;
}

void cudasim_memory_open()
{
    if (top > cudasim_memory.base)
        mprotect(reinterpret_cast<void *>(cudasim_memory.base), top - cudasim_memory.base, PROT_READ | PROT_WRITE);
}

void cudasim_memory_close()
{
    if (top > cudasim_memory.base)
        mprotect(reinterpret_cast<void *>(cudasim_memory.base), top - cudasim_memory.base, PROT_NONE);
}

const char *cudasim_memory_complaint(const void *memory, size_t bytes, bool device)
{
    static char text[160];
    uintptr_t at = reinterpret_cast<uintptr_t>(memory);
    bool ours = cudasim_memory.base && at - cudasim_memory.base < cudasim_memory.span;
    if (ours != device)
        return device ? "is host memory where device memory was expected" : "is device memory where host memory was expected";
    const cudasim_allocation *found = device ? cudasim_memory_find(at) : nullptr;
    if (!device || (found && found->live && at >= found->start && at <= found->end && bytes <= found->end - at))
        return nullptr;
    if (!found || !found->live)
        return found ? "was released" : "was never allocated";
    snprintf(text, sizeof text, "has %zu bytes at byte %zu of an allocation of %zu", bytes, (size_t)(at - found->start),
             (size_t)(found->end - found->start));
    return text;
}

void cudasim_set_memory(size_t bytes)
{
    capacity = bytes;
}
