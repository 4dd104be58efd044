#include "data/pickle.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VALUES_MAX = 1 << 23, /* a checkpoint with the state of its optimizer has some 10,000 to 100,000 */
    MARKS_MAX = 1000,     /* Python itself does not write deeper nesting */
    NAME_MAX_SIZE = 300,  /* of a class */
    BLOCK = 1024,         /* values that are allocated at a time */
};

#define TO_MARK UINT64_MAX /* all values above the last mark */

typedef struct block {
    struct block *next;
    size_t count;
    dt_pickle_value values[BLOCK];
} block;

struct dt_pickle {
    block *blocks; /* the newest first */
    size_t count;
    dt_pickle_value *root;
};

/* The state of the stack machine that a pickle is a program for. Handlers leave their message without the place. */
typedef struct machine {
    dt_pickle *pickle;
    const uint8_t *at, *end;
    dt_pickle_known *known;
    dt_pickle_list stack, memo; /* memo: NULL where nothing was put */
    size_t marks[MARKS_MAX];    /* heights of the stack */
    int mark_count;
    bool stopped;
    dt_error *error;
} machine;

static dt_pickle_value *new_value(machine *m, dt_pickle_kind kind)
{
    dt_pickle *pickle = m->pickle;
    if (pickle->count >= VALUES_MAX) {
        dt_fail(m->error, "there are more than %d values", VALUES_MAX);
        return NULL;
    }
    if (!pickle->blocks || pickle->blocks->count == BLOCK) {
        block *fresh = calloc(1, sizeof *fresh);
        if (!fresh) {
            dt_fail(m->error, "no memory");
            return NULL;
        }
        fresh->next = pickle->blocks;
        pickle->blocks = fresh;
    }
    pickle->count++;
    dt_pickle_value *value = &pickle->blocks->values[pickle->blocks->count++];
    value->kind = kind;
    return value;
}

/* Room for `more` items behind those that are there. */
static bool reserve(machine *m, dt_pickle_list *list, size_t more)
{
    size_t needed = list->count + more;
    if (needed <= list->room)
        return true;
    size_t room = needed < 2 * list->room ? 2 * list->room : needed;
    dt_pickle_value **items = realloc(list->items, room * sizeof(dt_pickle_value *));
    if (!items)
        return dt_fail(m->error, "no memory for %zu items", room);
    list->items = items;
    list->room = room;
    return true;
}

static bool push(machine *m, dt_pickle_value *value)
{
    if (!value || !reserve(m, &m->stack, 1))
        return false;
    m->stack.items[m->stack.count++] = value;
    return true;
}

/* The topmost n values above the last mark, the deepest first; NULL where there are fewer. (The stack is never NULL itself.) */
static dt_pickle_value **top(machine *m, size_t n)
{
    size_t base = m->mark_count ? m->marks[m->mark_count - 1] : 0;
    if (m->stack.count - base < n) {
        dt_fail(m->error, "needs %zu values, the stack has %zu", n, m->stack.count - base);
        return NULL;
    }
    return m->stack.items + m->stack.count - n;
}

/* The same, where n may be TO_MARK: then the mark is taken away, and *n becomes the number. `below` more lie under the mark. */
static dt_pickle_value **take(machine *m, uint64_t *n, size_t below)
{
    if (*n == TO_MARK) {
        if (!m->mark_count) {
            dt_fail(m->error, "there is no mark");
            return NULL;
        }
        *n = m->stack.count - m->marks[--m->mark_count];
    }
    return top(m, *n + below);
}

static bool mark(machine *m, uint64_t unused)
{
    (void)unused;
    if (m->mark_count == MARKS_MAX)
        return dt_fail(m->error, "values are nested more than %d deep", MARKS_MAX);
    m->marks[m->mark_count++] = m->stack.count;
    return true;
}

static bool protocol(machine *m, uint64_t version)
{
    return (version >= 2 && version <= 5) || dt_fail(m->error, "protocol %d, expected 2 to 5", (int)version);
}

static bool frame(machine *m, uint64_t size)
{
    return size <= (uint64_t)(m->end - m->at) ||
           dt_fail(m->error, "a frame of %llu bytes runs past the end", (unsigned long long)size);
}

static bool stop(machine *m, uint64_t unused)
{
    (void)unused;
    if (m->mark_count || m->stack.count != 1)
        return dt_fail(m->error, "%zu values and %d marks are left, expected one value", m->stack.count, m->mark_count);
    m->pickle->root = m->stack.items[0];
    m->stopped = true;
    return true;
}

static bool push_integer(machine *m, dt_pickle_kind kind, int64_t integer)
{
    dt_pickle_value *value = new_value(m, kind);
    if (value)
        value->integer = integer;
    return push(m, value);
}

static bool boolean(machine *m, uint64_t truth)
{
    return push_integer(m, DT_PICKLE_BOOL, (int64_t)truth);
}

static bool integer(machine *m, uint64_t number)
{
    return push_integer(m, DT_PICKLE_INTEGER, (int32_t)(uint32_t)number);
}

/* Two's complement, little-endian, of any length. */
static bool long_integer(machine *m, uint64_t size)
{
    if (size > (uint64_t)(m->end - m->at))
        return dt_fail(m->error, "the pickle is cut short");
    if (size > 8)
        return dt_fail(m->error, "an integer of %d bytes does not fit in 64 bits", (int)size);
    uint64_t number = size && m->at[size - 1] & 0x80 ? UINT64_MAX : 0;
    for (int i = (int)size - 1; i >= 0; i--)
        number = number << 8 | m->at[i];
    m->at += size;
    return push_integer(m, DT_PICKLE_INTEGER, (int64_t)number);
}

static bool real(machine *m, uint64_t bits)
{
    dt_pickle_value *value = new_value(m, DT_PICKLE_FLOAT);
    bits = __builtin_bswap64(bits); /* the one big-endian argument */
    if (value)
        memcpy(&value->number, &bits, sizeof bits);
    return push(m, value);
}

static bool text(machine *m, uint64_t size)
{
    if (size > (uint64_t)(m->end - m->at))
        return dt_fail(m->error, "a text of %llu bytes runs past the end", (unsigned long long)size);
    dt_pickle_value *value = new_value(m, DT_PICKLE_TEXT);
    if (value)
        value->text = (dt_pickle_text){(const char *)m->at, size};
    m->at += size;
    return push(m, value);
}

static bool empty(machine *m, uint64_t kind)
{
    return push(m, new_value(m, (dt_pickle_kind)kind));
}

/* Moves the topmost n values to the end of a list. */
static bool move(machine *m, dt_pickle_list *list, size_t n)
{
    if (!reserve(m, list, n))
        return false;
    m->stack.count -= n;
    if (n)
        memcpy(list->items + list->count, m->stack.items + m->stack.count, n * sizeof(dt_pickle_value *));
    list->count += n;
    return true;
}

static bool tuple(machine *m, uint64_t n)
{
    dt_pickle_value *value = new_value(m, DT_PICKLE_TUPLE);
    return value && take(m, &n, 0) && move(m, &value->list, n) && push(m, value);
}

static bool append(machine *m, uint64_t n)
{
    dt_pickle_value **list = take(m, &n, 1);
    if (list && (*list)->kind != DT_PICKLE_LIST)
        return dt_fail(m->error, "what it appends to is not a list");
    return list && move(m, &(*list)->list, n);
}

/* An object (an OrderedDict) has its dictionary made when the first item comes. */
static bool set_items(machine *m, uint64_t n)
{
    dt_pickle_value **found = take(m, &n, 1), *target = found ? *found : NULL;
    if (target && target->kind == DT_PICKLE_OBJECT) {
        if (!target->object.items)
            target->object.items = new_value(m, DT_PICKLE_DICT);
        if (!(target = target->object.items))
            return false;
    }
    if (target && target->kind != DT_PICKLE_DICT)
        return dt_fail(m->error, "what it sets items of is not a dictionary");
    if (n % 2)
        return dt_fail(m->error, "a key has no value");
    return target && move(m, &target->list, n);
}

static bool pop(machine *m, uint64_t unused)
{
    (void)unused;
    if (!top(m, 1))
        return false;
    m->stack.count--;
    return true;
}

static bool put(machine *m, uint64_t index)
{
    dt_pickle_value **value = top(m, 1);
    if (!value)
        return false;
    if (index > m->pickle->count) /* Python numbers in order, at most one for each value */
        return dt_fail(m->error, "memo %llu is out of range", (unsigned long long)index);
    if (index >= m->memo.count) {
        size_t more = (size_t)index + 1 - m->memo.count;
        if (!reserve(m, &m->memo, more))
            return false;
        memset(m->memo.items + m->memo.count, 0, more * sizeof(dt_pickle_value *));
        m->memo.count += more;
    }
    m->memo.items[index] = *value;
    return true;
}

static bool memoize(machine *m, uint64_t unused)
{
    (void)unused;
    return put(m, m->memo.count);
}

static bool get(machine *m, uint64_t index)
{
    if (index >= m->memo.count || !m->memo.items[index])
        return dt_fail(m->error, "there is no memo %llu", (unsigned long long)index);
    return push(m, m->memo.items[index]);
}

/* Pushes a class or function, if it is on the caller's list. */
static bool push_global(machine *m, dt_pickle_text module, dt_pickle_text name)
{
    char whole[NAME_MAX_SIZE];
    int part = sizeof whole / 2 - 4;
    int size = snprintf(whole, sizeof whole, "%.*s.%.*s", module.size < (size_t)part ? (int)module.size : part, module.chars,
                        name.size < (size_t)part ? (int)name.size : part, name.chars);
    bool whole_name = (size_t)size == module.size + 1 + name.size;
    for (char *c = whole; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    int id = whole_name ? m->known(whole) : -1;
    if (id < 0)
        return dt_fail(m->error, "asks for %s; Duet reads tensors and plain values only", whole);
    dt_pickle_value *value = new_value(m, DT_PICKLE_GLOBAL);
    if (value)
        value->global = id;
    return push(m, value);
}

static bool read_line(machine *m, dt_pickle_text *line)
{
    const uint8_t *end = memchr(m->at, '\n', (size_t)(m->end - m->at));
    if (!end)
        return dt_fail(m->error, "the pickle is cut short");
    *line = (dt_pickle_text){(const char *)m->at, (size_t)(end - m->at)};
    m->at = end + 1;
    return true;
}

static bool global(machine *m, uint64_t unused)
{
    (void)unused;
    dt_pickle_text module, name;
    return read_line(m, &module) && read_line(m, &name) && push_global(m, module, name);
}

static bool stack_global(machine *m, uint64_t unused)
{
    (void)unused;
    dt_pickle_value **names = top(m, 2);
    if (!names)
        return false;
    if (names[0]->kind != DT_PICKLE_TEXT || names[1]->kind != DT_PICKLE_TEXT)
        return dt_fail(m->error, "the name of a class is not a text");
    m->stack.count -= 2;
    return push_global(m, names[0]->text, names[1]->text);
}

/* The call that is asked for is not made, but written down. */
static bool call(machine *m, uint64_t unused)
{
    (void)unused;
    dt_pickle_value **parts = top(m, 2);
    if (!parts)
        return false;
    if (parts[0]->kind != DT_PICKLE_GLOBAL || parts[1]->kind != DT_PICKLE_TUPLE)
        return dt_fail(m->error, "expected a class and a tuple of arguments");
    dt_pickle_value *value = new_value(m, DT_PICKLE_OBJECT);
    if (!value)
        return false;
    value->object.global = parts[0]->global;
    value->object.argument = parts[1];
    m->stack.count -= 2;
    return push(m, value);
}

static bool build(machine *m, uint64_t unused)
{
    (void)unused;
    dt_pickle_value **parts = top(m, 2);
    if (!parts)
        return false;
    if (parts[0]->kind != DT_PICKLE_OBJECT)
        return dt_fail(m->error, "what it gives a state to is not an object");
    parts[0]->object.state = parts[1];
    m->stack.count--;
    return true;
}

static bool persistent(machine *m, uint64_t unused)
{
    (void)unused;
    dt_pickle_value **id = top(m, 1), *value = id ? new_value(m, DT_PICKLE_PERSISTENT) : NULL;
    if (!value)
        return false;
    value->object.argument = *id;
    m->stack.count--;
    return push(m, value);
}

/* All opcodes by name; those without a handler are refused. The handler gets the number of `width` bytes that follows the
 * opcode, or, without one, `constant`. */
static const struct {
    const char *name;
    int width;
    bool (*run)(machine *m, uint64_t number);
    uint64_t constant;
} opcodes[256] = {
    [0x80] = {"PROTO", 1, protocol, 0},
    [0x95] = {"FRAME", 8, frame, 0},
    ['('] = {"MARK", 0, mark, 0},
    ['.'] = {"STOP", 0, stop, 0},
    ['0'] = {"POP", 0, pop, 0},
    ['N'] = {"NONE", 0, empty, DT_PICKLE_NONE},
    [0x88] = {"NEWTRUE", 0, boolean, 1},
    [0x89] = {"NEWFALSE", 0, boolean, 0},
    ['J'] = {"BININT", 4, integer, 0},
    ['K'] = {"BININT1", 1, integer, 0},
    ['M'] = {"BININT2", 2, integer, 0},
    [0x8a] = {"LONG1", 1, long_integer, 0},
    ['G'] = {"BINFLOAT", 8, real, 0},
    ['U'] = {"SHORT_BINSTRING", 1, text, 0},
    ['T'] = {"BINSTRING", 4, text, 0},
    ['X'] = {"BINUNICODE", 4, text, 0},
    [0x8c] = {"SHORT_BINUNICODE", 1, text, 0},
    [0x8d] = {"BINUNICODE8", 8, text, 0},
    ['}'] = {"EMPTY_DICT", 0, empty, DT_PICKLE_DICT},
    [']'] = {"EMPTY_LIST", 0, empty, DT_PICKLE_LIST},
    [')'] = {"EMPTY_TUPLE", 0, empty, DT_PICKLE_TUPLE},
    [0x85] = {"TUPLE1", 0, tuple, 1},
    [0x86] = {"TUPLE2", 0, tuple, 2},
    [0x87] = {"TUPLE3", 0, tuple, 3},
    ['t'] = {"TUPLE", 0, tuple, TO_MARK},
    ['a'] = {"APPEND", 0, append, 1},
    ['e'] = {"APPENDS", 0, append, TO_MARK},
    ['s'] = {"SETITEM", 0, set_items, 2},
    ['u'] = {"SETITEMS", 0, set_items, TO_MARK},
    ['q'] = {"BINPUT", 1, put, 0},
    ['r'] = {"LONG_BINPUT", 4, put, 0},
    [0x94] = {"MEMOIZE", 0, memoize, 0},
    ['h'] = {"BINGET", 1, get, 0},
    ['j'] = {"LONG_BINGET", 4, get, 0},
    ['c'] = {"GLOBAL", 0, global, 0},
    [0x93] = {"STACK_GLOBAL", 0, stack_global, 0},
    ['R'] = {"REDUCE", 0, call, 0},
    [0x81] = {"NEWOBJ", 0, call, 0},
    ['b'] = {"BUILD", 0, build, 0},
    ['Q'] = {"BINPERSID", 0, persistent, 0},
    ['1'] = {.name = "POP_MARK"},
    ['2'] = {.name = "DUP"},
    ['F'] = {.name = "FLOAT"},
    ['I'] = {.name = "INT"},
    ['L'] = {.name = "LONG"},
    [0x8b] = {.name = "LONG4"},
    ['S'] = {.name = "STRING"},
    ['V'] = {.name = "UNICODE"},
    ['B'] = {.name = "BINBYTES"},
    ['C'] = {.name = "SHORT_BINBYTES"},
    [0x8e] = {.name = "BINBYTES8"},
    [0x96] = {.name = "BYTEARRAY8"},
    [0x97] = {.name = "NEXT_BUFFER"},
    [0x98] = {.name = "READONLY_BUFFER"},
    ['d'] = {.name = "DICT"},
    ['l'] = {.name = "LIST"},
    [0x8f] = {.name = "EMPTY_SET"},
    [0x90] = {.name = "ADDITEMS"},
    [0x91] = {.name = "FROZENSET"},
    ['p'] = {.name = "PUT"},
    ['g'] = {.name = "GET"},
    ['P'] = {.name = "PERSID"},
    ['i'] = {.name = "INST"},
    ['o'] = {.name = "OBJ"},
    [0x92] = {.name = "NEWOBJ_EX"},
    [0x82] = {.name = "EXT1"},
    [0x83] = {.name = "EXT2"},
    [0x84] = {.name = "EXT4"},
};

/* One opcode with its argument. */
static bool step(machine *m)
{
    uint8_t code = *m->at++;
    int width = opcodes[code].width;
    if (!opcodes[code].run)
        return dt_fail(m->error, "Duet reads tensors and plain values only, which do not need this opcode");
    if (m->end - m->at < width)
        return dt_fail(m->error, "the pickle is cut short");
    uint64_t number = opcodes[code].constant;
    for (int i = width - 1; i >= 0; i--)
        number = number << 8 | m->at[i];
    m->at += width;
    return opcodes[code].run(m, number);
}

dt_pickle *dt_pickle_read(const void *bytes, size_t size, const char *name, dt_pickle_known *known, dt_error *error)
{
    const uint8_t *start = bytes;
    machine m = {.at = start, .end = start + size, .known = known, .error = error};
    bool good = (size && *start == 0x80) || dt_fail(error, "%s is not a pickle of protocol 2 to 5", name);
    if (good && (!(m.pickle = calloc(1, sizeof *m.pickle)) || !reserve(&m, &m.stack, 1)))
        good = dt_fail(error, "%s: no memory", name);
    while (good && !m.stopped) {
        const uint8_t *at = m.at;
        const char *opcode = at < m.end && opcodes[*at].name ? opcodes[*at].name : "no opcode";
        if (at == m.end)
            good = dt_fail(error, "%s is cut short: it has no STOP", name);
        else if (!step(&m))
            good = dt_fail_prefix(error, "%s: byte %td (%s)", name, at - start, opcode);
    }
    free(m.stack.items);
    free(m.memo.items);
    if (good)
        return m.pickle;
    dt_pickle_free(m.pickle);
    return NULL;
}

void dt_pickle_free(dt_pickle *pickle)
{
    for (block *b = pickle ? pickle->blocks : NULL, *next; b; b = next) {
        next = b->next;
        for (size_t i = 0; i < b->count; i++)
            if (b->values[i].kind >= DT_PICKLE_TUPLE && b->values[i].kind <= DT_PICKLE_DICT)
                free(b->values[i].list.items);
        free(b);
    }
    free(pickle);
}

dt_pickle_value *dt_pickle_root(const dt_pickle *pickle)
{
    return pickle->root;
}

size_t dt_pickle_count(const dt_pickle *pickle)
{
    return pickle->count;
}

bool dt_pickle_is(const dt_pickle_value *value, const char *text)
{
    return value->kind == DT_PICKLE_TEXT && value->text.size == strlen(text) &&
           !memcmp(value->text.chars, text, value->text.size);
}
