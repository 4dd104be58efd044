/* Running a launch: its blocks one after another, the threads of a block as fibers in turns. A thread runs until it ends or
 * waits; when none can go on, all that is left waits at one barrier, or the kernel is wrong. */
#include "tests/cudasim/fiber.h"
#include "tests/cudasim/simulator.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

namespace
{

enum status { FRESH, READY, AT_BARRIER, AT_WARP, ENDED };
enum : size_t { STACK = 64 << 10, GUARD = 4096 };

struct thread {
    status now;
    cudasim_fiber fiber;
    uint3 index;
    cudasim_place place; /* where it waits */
    cudasim_warp_kind kind;
    unsigned mask;
    int argument;
    uint64_t value;
};

/* Registers of all that the simulator does; one launch at a time. */
struct running {
    const cudasim_work *work;
    cudasim_fiber scheduler;
    thread threads[CUDASIM_MAX_THREADS];
    int count, current, ended;
    unsigned waiting[CUDASIM_MAX_THREADS / CUDASIM_LANES]; /* of each warp: the lanes that wait for others */
    uint3 block;
    char *stacks[CUDASIM_MAX_THREADS]; /* those that are free */
    int free_stacks, made_stacks;
    bool faulted;
};

running run;
cudasim_turns chosen = CUDASIM_CHANGING;
uint64_t launches;

/* ---- Turns ---- */

uint32_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

cudasim_turns turns_now()
{
    return chosen == CUDASIM_CHANGING ? (cudasim_turns)(CUDASIM_FORWARD + launches % 3) : chosen;
}

void order_threads(int *order, int count, uint64_t *state)
{
    for (int i = 0; i < count; i++)
        order[i] = turns_now() == CUDASIM_REVERSE ? count - 1 - i : i;
    for (int i = count - 1; turns_now() == CUDASIM_RANDOM && i > 0; i--) {
        int j = (int)(draw(state) % (uint32_t)(i + 1)), swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

/* The block that runs as number i of n; random is a walk in steps of a large prime from a random start. */
uint64_t ordered_block(uint64_t i, uint64_t n, uint64_t start)
{
    const uint64_t step = 2147483647;
    if (turns_now() == CUDASIM_RANDOM && n % step)
        return (start + i * (step % n)) % n;
    return turns_now() == CUDASIM_REVERSE ? n - 1 - i : i;
}

/* ---- One thread ---- */

char *take_stack()
{
    if (run.free_stacks)
        return run.stacks[--run.free_stacks];
    void *memory = mmap(nullptr, GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, GUARD, PROT_NONE)) {
        fprintf(stderr, "cudasim: no memory for %d stacks\n", run.made_stacks + 1);
        abort();
    }
    run.made_stacks++;
    return static_cast<char *>(memory) + GUARD;
}

void back_to_scheduler()
{
    cudasim_now.inside = false;
    cudasim_fiber_switch(&run.threads[run.current].fiber, &run.scheduler);
}

void thread_main()
{
    run.work->call(run.work->kernel, run.work->arguments.data());
    run.threads[run.current].now = ENDED;
    run.ended++;
    back_to_scheduler();
    abort(); /* an ended thread does not run again */
}

void resume(int number)
{
    thread &t = run.threads[number];
    run.current = number;
    if (t.now == FRESH)
        cudasim_fiber_start(&t.fiber, take_stack(), STACK, thread_main);
    t.now = READY;
    cudasim_now.thread = (unsigned)number;
    cudasim_now.stack = reinterpret_cast<uintptr_t>(t.fiber.stack);
    cudasim_now.inside = true;
    cudasim_fiber_switch(&run.scheduler, &t.fiber);
    if (t.now == ENDED)
        run.stacks[run.free_stacks++] = t.fiber.stack;
}

/* ---- Faults ---- */

/* " in FILE:LINE" of an address in a kernel, by the compiler's line tables; "" where there is no addr2line. */
void source_of(const void *code, char *to, size_t size)
{
    char command[600], line[256] = "";
    Dl_info info;
    *to = 0;
    if (!code || !dladdr(code, &info) || strchr(info.dli_fname, '\''))
        return;
    size_t offset = (size_t)(static_cast<const char *>(code) - static_cast<const char *>(info.dli_fbase)) - 1;
    snprintf(command, sizeof command, "addr2line -e '%s' 0x%zx 2>/dev/null", info.dli_fname, offset);
    FILE *answer = popen(command, "r");
    if (answer && fgets(line, sizeof line, answer) && *line != '?') {
        line[strcspn(line, " \n")] = 0;
        const char *name = strrchr(line, '/');
        snprintf(to, size, " in %s", name ? name + 1 : line);
    }
    if (answer)
        pclose(answer);
}

void note_fault(int number, const void *code, const char *text)
{
    char source[128];
    const uint3 t = run.threads[number].index, b = run.block;
    source_of(code, source, sizeof source);
    cudasim_note("%s %s%s; launched at %s:%d, block (%u, %u, %u), thread (%u, %u, %u)", run.work->place.name, text, source,
                 run.work->place.file, run.work->place.line, b.x, b.y, b.z, t.x, t.y, t.z);
    run.faulted = true;
}

char fault_text[256];
const void *fault_code;

/* ---- Barriers ---- */

bool same_place(cudasim_place a, cudasim_place b)
{
    return a.line == b.line && (a.file == b.file || !strcmp(a.file, b.file));
}

const char *name_of(const thread &t)
{
    static const char *const names[] = {"__syncwarp",       "__shfl_sync",     "__shfl_up_sync",
                                        "__shfl_down_sync", "__shfl_xor_sync", "a vote"};
    return t.now == AT_BARRIER ? "__syncthreads" : names[t.kind];
}

void note_wait(int number, const char *for_what)
{
    char text[256];
    const thread &t = run.threads[number];
    snprintf(text, sizeof text, "waits for ever at %s in %s:%d: %s", name_of(t), t.place.file, t.place.line, for_what);
    note_fault(number, nullptr, text);
}

/* Why `t`, that waits with others of its warp, will wait for ever: the first lane that it names and that does not come. */
void note_missing_lane(int number)
{
    char text[256];
    const thread &t = run.threads[number];
    int first = number / CUDASIM_LANES * CUDASIM_LANES;
    for (int lane = 0; lane < CUDASIM_LANES; lane++) {
        if (!(t.mask >> lane & 1))
            continue;
        const thread *other = first + lane < run.count ? &run.threads[first + lane] : nullptr;
        if (!other)
            snprintf(text, sizeof text, "the mask names lane %d, which the block does not have", lane);
        else if (other->now == ENDED)
            snprintf(text, sizeof text, "lane %d has ended", lane);
        else if (other->now != AT_WARP || other->kind != t.kind || !same_place(other->place, t.place))
            snprintf(text, sizeof text, "lane %d is at %s in %s:%d", lane, name_of(*other), other->place.file,
                     other->place.line);
        else if (other->mask != t.mask)
            snprintf(text, sizeof text, "lane %d came with mask %08x, not %08x", lane, other->mask, t.mask);
        else
            continue;
        note_wait(number, text);
        return;
    }
}

/* Nothing can go on. Lets all threads past the barrier at which they all wait, or notes what is wrong. */
void release_barrier()
{
    int first = -1, ended = -1;
    for (int i = 0; i < run.count; i++) {
        const thread &t = run.threads[i];
        if (t.now == AT_WARP) {
            note_missing_lane(i);
            return;
        }
        if (t.now == ENDED)
            ended = i;
        else if (first < 0)
            first = i;
    }
    char text[256];
    const thread &a = run.threads[first];
    if (ended >= 0) {
        snprintf(text, sizeof text, "thread %d of the block has ended", ended);
        note_wait(first, text);
        return;
    }
    for (int i = first; i < run.count; i++) {
        const thread &b = run.threads[i];
        if (!same_place(a.place, b.place)) {
            snprintf(text, sizeof text, "thread %d is at the one in %s:%d", i, b.place.file, b.place.line);
            note_wait(first, text);
            return;
        }
    }
    for (int i = 0; i < run.count; i++)
        run.threads[i].now = READY;
    cudasim_now.barrier = ++cudasim_now.time;
}

/* The value that a lane gets, or a fault of the lane that asks for one that takes no part. */
uint64_t exchanged(const thread *warp, int lane, unsigned votes)
{
    const thread &t = warp[lane];
    int source = t.kind == CUDASIM_INDEXED ? t.argument & 31 : t.kind == CUDASIM_XOR ? lane ^ t.argument
                 : t.kind == CUDASIM_UP ? lane - t.argument : lane + t.argument;
    if (t.kind == CUDASIM_SYNCWARP || t.kind == CUDASIM_BALLOT)
        return t.kind == CUDASIM_BALLOT ? votes : 0;
    if (source < 0 || source >= CUDASIM_LANES)
        return t.value; /* beyond the ends a lane keeps its own, says the programming guide */
    if (!(t.mask >> source & 1)) {
        char text[128];
        snprintf(text, sizeof text, "asks by %s in %s:%d for lane %d, which is not in the mask %08x", name_of(t),
                 t.place.file, t.place.line, source, t.mask);
        note_fault((int)(&t - run.threads), nullptr, text);
        return 0;
    }
    return warp[source].value;
}

/* Lets the lanes of the mask past their meeting if all have come. */
void meet(int number)
{
    thread *warp = run.threads + number / CUDASIM_LANES * CUDASIM_LANES;
    const thread &t = run.threads[number];
    unsigned votes = 0, *waiting = &run.waiting[number / CUDASIM_LANES];
    uint64_t result[CUDASIM_LANES];
    *waiting |= 1u << number % CUDASIM_LANES;
    if ((*waiting & t.mask) != t.mask)
        return;
    for (int lane = 0; lane < CUDASIM_LANES; lane++) {
        const thread &other = warp[lane];
        if (!(t.mask >> lane & 1))
            continue;
        if (other.kind != t.kind || other.mask != t.mask || !same_place(other.place, t.place))
            return;
        votes |= other.value ? 1u << lane : 0;
    }
    for (int lane = 0; lane < CUDASIM_LANES; lane++)
        if (t.mask >> lane & 1)
            result[lane] = exchanged(warp, lane, votes);
    for (int lane = 0; lane < CUDASIM_LANES; lane++)
        if (t.mask >> lane & 1) {
            warp[lane].value = result[lane];
            warp[lane].now = READY;
        }
    *waiting &= ~t.mask;
    if (t.kind == CUDASIM_SYNCWARP)
        cudasim_now.warp_sync[number / CUDASIM_LANES] = ++cudasim_now.time;
}

/* ---- Blocks ---- */

void begin_block(uint64_t number)
{
    const dim3 grid = run.work->grid, block = run.work->block;
    run.block = {(unsigned)(number % grid.x), (unsigned)(number / grid.x % grid.y), (unsigned)(number / grid.x / grid.y)};
    run.ended = 0;
    for (int i = 0; i < run.count; i++) {
        unsigned u = (unsigned)i;
        run.threads[i].now = FRESH;
        run.threads[i].index = {u % block.x, u / block.x % block.y, u / block.x / block.y};
    }
    memset(run.waiting, 0, sizeof run.waiting);
    cudasim_now.block_start = cudasim_now.barrier = ++cudasim_now.time;
    for (uint64_t &time : cudasim_now.warp_sync)
        time = cudasim_now.time;
    cudasim_shared_begin(run.work->shared);
}

void run_block(const int *order)
{
    while (run.ended < run.count && !run.faulted) {
        bool moved = false;
        for (int k = 0; k < run.count && !run.faulted; k++)
            if (run.threads[order[k]].now <= READY) {
                resume(order[k]);
                moved = true;
            }
        if (!moved)
            release_barrier();
    }
}

/* After a fault the other threads stay where they are, and their stacks are free again. */
void drop_threads()
{
    for (int i = 0; i < run.count; i++)
        if (run.threads[i].now == READY || run.threads[i].now == AT_BARRIER || run.threads[i].now == AT_WARP)
            run.stacks[run.free_stacks++] = run.threads[i].fiber.stack;
}

} // namespace

bool cudasim_run(const cudasim_work &work)
{
    int order[CUDASIM_MAX_THREADS];
    uint64_t state = ++launches, blocks = (uint64_t)work.grid.x * work.grid.y * work.grid.z, start = draw(&state) % blocks;
    run.work = &work;
    run.count = (int)(work.block.x * work.block.y * work.block.z);
    run.faulted = false;
    fault_text[0] = 0;
    cudasim_now.launch_start = ++cudasim_now.time;
    cudasim_now.stack_size = STACK;
    cudasim_now.arguments = reinterpret_cast<uintptr_t>(work.arguments.data());
    cudasim_now.argument_bytes = work.arguments.size();
    cudasim_now.limits = work.limits.get();
    for (uint64_t b = 0; b < blocks && !run.faulted; b++) {
        order_threads(order, run.count, &state);
        begin_block(ordered_block(b, blocks, start));
        run_block(order);
    }
    if (fault_text[0])
        note_fault(run.current, fault_code, fault_text);
    if (run.faulted)
        drop_threads();
    ++cudasim_now.time;
    return !run.faulted;
}

void cudasim_fault(const void *code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fault_text, sizeof fault_text, format, arguments);
    va_end(arguments);
    fault_code = code;
    run.faulted = true;
    back_to_scheduler();
    abort(); /* a thread with a fault does not run again */
}

void cudasim_barrier(cudasim_place place)
{
    thread &t = run.threads[run.current];
    t.place = place;
    t.now = AT_BARRIER;
    back_to_scheduler();
}

uint64_t cudasim_warp(cudasim_warp_kind kind, unsigned mask, uint64_t value, int argument, cudasim_place place)
{
    thread &t = run.threads[run.current];
    if (!(mask >> (run.current % CUDASIM_LANES) & 1))
        cudasim_fault(__builtin_return_address(0),
                      "comes to a shuffle or vote with mask %08x, which does not name its own lane", mask);
    t.place = place;
    t.kind = kind;
    t.mask = mask;
    t.argument = argument;
    t.value = value;
    t.now = AT_WARP;
    meet(run.current);
    if (t.now == AT_WARP || run.faulted)
        back_to_scheduler();
    return t.value;
}

void cudasim_set_order(cudasim_turns turns)
{
    chosen = turns;
}

uint3 cudasim_thread_index(void)
{
    return run.threads[run.current].index;
}

uint3 cudasim_block_index(void)
{
    return run.block;
}

uint3 cudasim_block_size(void)
{
    return {run.work->block.x, run.work->block.y, run.work->block.z};
}

uint3 cudasim_grid_size(void)
{
    return {run.work->grid.x, run.work->grid.y, run.work->grid.z};
}
