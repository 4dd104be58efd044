/* Running a launch: its blocks one after another, the threads of a block in turns. A thread runs until it ends or
 * waits, and hands on to the next of the round that can go on; when no round has any, all that is left waits at one
 * barrier, or the kernel is wrong. A thread that ends leaves its stack to the next one that begins, so that threads
 * which never wait are plain calls. */
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

struct alignas(64) thread {
    status now;
    cudasim_warp_kind kind; /* these say where it waits, and with what */
    unsigned mask;
    int argument;
    cudasim_place place;
    uint64_t value;
    cudasim_fiber fiber;
};

/* Registers of all that the simulator does; one launch at a time. */
struct running {
    const cudasim_work *work;
    cudasim_fiber scheduler;
    thread threads[CUDASIM_MAX_THREADS];
    uint3 index[CUDASIM_MAX_THREADS];
    int count, current, ended;
    cudasim_turns turns;
    int order[CUDASIM_MAX_THREADS], turn[CUDASIM_MAX_THREADS]; /* the thread of each turn in a round; the turn of each thread */
    uint32_t able[CUDASIM_MAX_THREADS / 32];                   /* by turn: who can go on */
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

void order_threads(uint64_t *state)
{
    for (int i = 0; i < run.count; i++)
        run.order[i] = run.turns == CUDASIM_REVERSE ? run.count - 1 - i : i;
    for (int i = run.count - 1; run.turns == CUDASIM_RANDOM && i > 0; i--) {
        int j = (int)(draw(state) % (uint32_t)(i + 1)), swapped = run.order[i];
        run.order[i] = run.order[j];
        run.order[j] = swapped;
    }
    for (int i = 0; i < run.count; i++)
        run.turn[run.order[i]] = i;
}

/* The block that runs as number i of n; random is a walk in steps of a large prime from a random start. */
uint64_t ordered_block(uint64_t i, uint64_t n, uint64_t start)
{
    const uint64_t step = 2147483647;
    if (run.turns == CUDASIM_RANDOM && n % step)
        return (start + i * (step % n)) % n;
    return run.turns == CUDASIM_REVERSE ? n - 1 - i : i;
}

void set_able(int number, bool able)
{
    uint32_t bit = 1u << run.turn[number] % 32, *word = &run.able[run.turn[number] / 32];
    *word = able ? *word | bit : *word & ~bit;
}

/* The first thread that can go on, of the turns from word w of them on; -1: none. */
int next_able(int w)
{
    for (; w < (run.count + 31) / 32; w++)
        if (run.able[w])
            return run.order[w * 32 + __builtin_ctz(run.able[w])];
    return -1;
}

/* Whose turn is after that of the thread that runs. Lanes that have met go on for as long as they can, while their
 * stacks are in the processor's cache; with these the round starts anew among their turns. */
int next_in_round()
{
    int turn = run.turn[run.current], w = turn / 32;
    uint32_t later = run.able[w] & ~1u << turn % 32;
    return later ? run.order[w * 32 + __builtin_ctz(later)] : next_able(w);
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

/* Threads that wait for each other differ in where their stacks begin within a page, so that they do not all compete
 * for the same lines of the processor's cache. */
size_t size_of(const char *stack)
{
    return STACK - reinterpret_cast<uintptr_t>(stack) / 4096 % 16 * 256;
}

void thread_main();

void become(int number)
{
    thread &t = run.threads[number];
    run.current = number;
    t.now = READY;
    cudasim_now.thread = (unsigned)number;
    cudasim_now.stack = reinterpret_cast<uintptr_t>(t.fiber.stack);
}

void enter(cudasim_fiber *from, int number)
{
    thread &t = run.threads[number];
    if (t.now == FRESH) {
        char *stack = take_stack();
        cudasim_fiber_start(&t.fiber, stack, size_of(stack), thread_main);
    }
    become(number);
    cudasim_fiber_switch(from, &t.fiber);
}

/* The thread that runs leaves the processor to the next of the round, or to whoever runs the rounds. */
void hand_on()
{
    int next = run.faulted ? -1 : next_in_round();
    cudasim_fiber *from = &run.threads[run.current].fiber;
    if (next >= 0)
        enter(from, next);
    else
        cudasim_fiber_switch(from, &run.scheduler);
}

void wait(status as)
{
    run.threads[run.current].now = as;
    set_able(run.current, false);
}

void thread_main()
{
    for (;;) {
        run.work->call(run.work->kernel, run.work->arguments.data());
        thread &t = run.threads[run.current];
        wait(ENDED);
        run.ended++;
        int next = next_in_round();
        if (next < 0 || run.threads[next].now != FRESH) {
            run.stacks[run.free_stacks++] = t.fiber.stack;
            hand_on();
            abort(); /* an ended thread does not run again */
        }
        run.threads[next].fiber.stack = t.fiber.stack;
        become(next);
    }
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
    const uint3 t = run.index[number], b = run.block;
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

/* Why `t`, that waits with others of its warp, will wait for ever: the first lane that it names and that does not
 * come. */
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
    for (int i = 0; i < run.count; i++) {
        run.threads[i].now = READY;
        set_able(i, true);
    }
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
            set_able((int)(warp - run.threads) + lane, true);
        }
    *waiting &= ~t.mask;
    if (t.kind == CUDASIM_SYNCWARP)
        cudasim_now.warp_sync[number / CUDASIM_LANES] = ++cudasim_now.time;
}

/* ---- Blocks ---- */

void begin_block(uint64_t number)
{
    const dim3 grid = run.work->grid;
    run.block = {(unsigned)(number % grid.x), (unsigned)(number / grid.x % grid.y), (unsigned)(number / grid.x / grid.y)};
    run.ended = 0;
    for (int i = 0; i < run.count; i++)
        run.threads[i].now = FRESH;
    for (int i = 0; i < run.count; i += 32)
        run.able[i / 32] = run.count - i < 32 ? (1u << (run.count - i)) - 1 : ~0u;
    cudasim_now.block_start = cudasim_now.barrier = ++cudasim_now.time;
    for (int i = 0; i < run.count; i += CUDASIM_LANES) {
        run.waiting[i / CUDASIM_LANES] = 0;
        cudasim_now.warp_sync[i / CUDASIM_LANES] = cudasim_now.time;
    }
    cudasim_shared_begin(run.work->shared);
}

void run_block()
{
    while (run.ended < run.count && !run.faulted) {
        int first = next_able(0);
        if (first >= 0)
            enter(&run.scheduler, first);
        else
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
    const dim3 block = work.block;
    uint64_t state = ++launches, blocks = (uint64_t)work.grid.x * work.grid.y * work.grid.z, start = draw(&state) % blocks;
    run.work = &work;
    run.count = (int)(block.x * block.y * block.z);
    run.turns = chosen == CUDASIM_CHANGING ? (cudasim_turns)(CUDASIM_FORWARD + launches % 3) : chosen;
    run.faulted = false;
    fault_text[0] = 0;
    for (unsigned i = 0; i < (unsigned)run.count; i++)
        run.index[i] = {i % block.x, i / block.x % block.y, i / block.x / block.y};
    cudasim_now.stack_size = STACK;
    cudasim_now.arguments = reinterpret_cast<uintptr_t>(work.arguments.data());
    cudasim_now.argument_bytes = work.arguments.size();
    cudasim_now.limits = work.limits.get();
    cudasim_now.inside = true;
    for (uint64_t b = 0; b < blocks && !run.faulted; b++) {
        if (b == 0 || run.turns == CUDASIM_RANDOM)
            order_threads(&state);
        begin_block(ordered_block(b, blocks, start));
        run_block();
    }
    cudasim_now.inside = false;
    if (fault_text[0])
        note_fault(run.current, fault_code, fault_text);
    if (run.faulted)
        drop_threads();
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
    hand_on();
    abort(); /* a thread with a fault does not run again */
}

void cudasim_barrier(cudasim_place place)
{
    run.threads[run.current].place = place;
    wait(AT_BARRIER);
    hand_on();
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
    wait(AT_WARP);
    meet(run.current);
    if (t.now == AT_WARP || run.faulted)
        hand_on();
    return t.value;
}

void cudasim_set_order(cudasim_turns turns)
{
    chosen = turns;
}

uint3 cudasim_thread_index(void)
{
    return run.index[run.current];
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
