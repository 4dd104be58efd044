#include "experiments/options.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/nearest.h"

enum { WIDTH = 100, COLUMN = 28 };

static bool set_value(const dt_option *option, const char *name, const char *value, dt_error *error);
static const dt_option *find_long(const dt_usage *usage, const char *name, size_t length);

/* Where the parser stands in argv. */
typedef struct cursor {
    const dt_usage *usage;
    int argc, at;
    char **argv;
    bool *given; /* one for each option */
} cursor;

/* The value of an option: what follows '=' or the letter, else the next argument. */
static bool take_value(cursor *c, const dt_option *option, const char *name, const char *attached,
                       dt_error *error)
{
    bool *given = &c->given[option - c->usage->options];
    if (option->kind == DT_STRINGS && !*given) /* the first one given takes the place of the default */
        ((dt_strings *)option->target)->count = 0;
    *given = true;
    if (option->kind == DT_FLAG) {
        *(bool *)option->target = true;
        return !attached || dt_fail(error, "%s takes no value (found '%s')", name, attached);
    }
    if (!attached) {
        if (c->at + 1 >= c->argc)
            return dt_fail(error, "%s needs a value (%s)", name, option->argument);
        attached = c->argv[++c->at];
        if (strncmp(attached, "--", 2) == 0 &&
            (!attached[2] || find_long(c->usage, attached + 2, strcspn(attached + 2, "="))))
            return dt_fail(error, "%s needs a value (%s), found %s; write %s=%s if that is the value", name,
                           option->argument, attached, name, attached);
    }
    return set_value(option, name, attached, error);
}

static dt_options_outcome read_long(cursor *c, const char *text, dt_error *error)
{
    size_t length = strcspn(text, "=");
    if (length == 4 && strncmp(text, "help", 4) == 0 && !text[4])
        return DT_OPTIONS_HELP;
    char name[80];
    snprintf(name, sizeof name, "--%.*s", (int)(length < 70 ? length : 70), text);
    const dt_option *option = find_long(c->usage, text, length);
    if (option)
        return take_value(c, option, name, text[length] ? text + length + 1 : NULL, error) ? DT_OPTIONS_RUN
                                                                                           : DT_OPTIONS_WRONG;
    dt_nearest near = {.word = name + 2};
    for (size_t i = 0; i < c->usage->count; i++)
        dt_nearest_try(&near, c->usage->options[i].name);
    dt_nearest_try(&near, "help");
    if (near.best)
        dt_fail(error, "unknown option %s; did you mean --%s?", name, near.best);
    else
        dt_fail(error, "unknown option %s", name);
    return DT_OPTIONS_WRONG;
}

/* "-b32", "-b 32", "-qv". */
static dt_options_outcome read_letters(cursor *c, const char *text, dt_error *error)
{
    for (; *text; text++) {
        const dt_option *option = NULL;
        for (size_t i = 0; i < c->usage->count && !option; i++)
            if (c->usage->options[i].letter == *text)
                option = &c->usage->options[i];
        if (!option && *text == 'h')
            return DT_OPTIONS_HELP;
        char name[] = {'-', *text, 0};
        if (!option) {
            dt_fail(error, "unknown option %s", (unsigned char)*text < 0x80 ? name : text);
            return DT_OPTIONS_WRONG;
        }
        bool last = option->kind != DT_FLAG;
        if (!take_value(c, option, name, last && text[1] ? text + 1 : NULL, error))
            return DT_OPTIONS_WRONG;
        if (last)
            break;
    }
    return DT_OPTIONS_RUN;
}

static bool presets(const dt_usage *usage, dt_error *error)
{
    for (size_t i = 0; i < usage->count; i++) {
        const dt_option *option = &usage->options[i];
        if (option->kind == DT_STRINGS)
            ((dt_strings *)option->target)->count = 0;
        if (option->preset && option->kind != DT_FLAG &&
            !set_value(option, option->name, option->preset, error))
            return dt_fail_prefix(error, "the default of --%s", option->name);
    }
    return true;
}

static bool complete(const cursor *c, int positionals, dt_error *error)
{
    const dt_usage *usage = c->usage;
    for (size_t i = 0; i < usage->count; i++)
        if (usage->options[i].required && !c->given[i])
            return dt_fail(error, "--%s %s is missing", usage->options[i].name, usage->options[i].argument);
    if (positionals < usage->least)
        return dt_fail(error, "expected %s%d argument%s (%s), found %d",
                       usage->most == usage->least ? "" : "at least ", usage->least,
                       usage->least == 1 ? "" : "s", usage->positionals, positionals);
    if (usage->most >= 0 && positionals > usage->most)
        return dt_fail(error, "unexpected argument '%s'", c->argv[1 + usage->most]);
    return true;
}

dt_options_outcome dt_options_read(const dt_usage *usage, int argc, char **argv, char ***positionals,
                                   int *count, dt_error *error)
{
    bool given[256] = {false}, ended = false;
    if (usage->count > 256 || !presets(usage, error))
        return DT_OPTIONS_WRONG;
    cursor c = {usage, argc, 1, argv, given};
    int kept = 0;
    for (; c.at < argc; c.at++) {
        char *text = argv[c.at];
        dt_options_outcome outcome = DT_OPTIONS_RUN;
        if (ended || text[0] != '-' || !text[1])
            argv[1 + kept++] = text;
        else if (strcmp(text, "--") == 0)
            ended = true;
        else if (text[1] == '-')
            outcome = read_long(&c, text + 2, error);
        else
            outcome = read_letters(&c, text + 1, error);
        if (outcome != DT_OPTIONS_RUN)
            return outcome;
    }
    if (positionals)
        *positionals = argv + 1;
    if (count)
        *count = kept;
    return complete(&c, kept, error) ? DT_OPTIONS_RUN : DT_OPTIONS_WRONG;
}

int dt_options_parse(const dt_usage *usage, int argc, char **argv, char ***positionals, int *count)
{
    dt_error error = {""};
    switch (dt_options_read(usage, argc, argv, positionals, count, &error)) {
    case DT_OPTIONS_RUN:
        return -1;
    case DT_OPTIONS_HELP:
        dt_options_help(usage, stdout);
        return DT_EXIT_GOOD;
    default:
        fprintf(stderr, "%s: %s; see %s --help\n", usage->command, error.message, usage->command);
        return DT_EXIT_USAGE;
    }
}

static const dt_option *find_long(const dt_usage *usage, const char *name, size_t length)
{
    for (size_t i = 0; i < usage->count; i++)
        if (strlen(usage->options[i].name) == length && memcmp(usage->options[i].name, name, length) == 0)
            return &usage->options[i];
    return NULL;
}

static bool in_range(const dt_option *option, const char *name, const char *text, double value,
                     dt_error *error)
{
    bool any = option->least == 0 && option->most == 0, open = option->most < option->least;
    if (any || (value >= option->least && (open || value <= option->most)))
        return true;
    if (open)
        return dt_fail(error, "%s: %s is out of range (at least %.16g)", name, text, option->least);
    return dt_fail(error, "%s: %s is out of range (%.16g to %.16g)", name, text, option->least, option->most);
}

static bool set_integer(const dt_option *option, const char *name, const char *text, dt_error *error)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end)
        return dt_fail(error, "%s: expected an integer, found '%s'", name, text);
    if (errno == ERANGE || (option->kind == DT_INT && (value < INT_MIN || value > INT_MAX)))
        return dt_fail(error, "%s: %s does not fit in %d bits", name, text, option->kind == DT_INT ? 32 : 64);
    if (!in_range(option, name, text, (double)value, error))
        return false;
    if (option->kind == DT_INT)
        *(int *)option->target = (int)value;
    else
        *(int64_t *)option->target = value;
    return true;
}

static bool set_size(const dt_option *option, const char *name, const char *text, dt_error *error)
{
    static const char suffixes[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    const char *suffix = *end ? strchr(suffixes, *end) : NULL;
    if (end == text || text[0] == '-' || (*end && (!suffix || end[1])))
        return dt_fail(error, "%s: expected a size such as 4096, 64M or 2G, found '%s'", name, text);
    int shift = suffix ? 10 * (int)(suffix - suffixes + 1) : 0;
    if (errno == ERANGE || value > SIZE_MAX >> shift)
        return dt_fail(error, "%s: %s is too large", name, text);
    value <<= shift;
    if (!in_range(option, name, text, (double)value, error))
        return false;
    *(size_t *)option->target = (size_t)value;
    return true;
}

static bool set_float(const dt_option *option, const char *name, const char *text, dt_error *error)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value))
        return dt_fail(error, "%s: expected a number, found '%s'", name, text);
    if (!in_range(option, name, text, value, error))
        return false;
    *(double *)option->target = value;
    return true;
}

static bool set_choice(const dt_option *option, const char *name, const char *text, dt_error *error)
{
    size_t length = strlen(text);
    for (const char *word = option->argument; *word;) {
        size_t n = strcspn(word, "|");
        if (n == length && memcmp(word, text, n) == 0) {
            *(const char **)option->target = text;
            return true;
        }
        word += n + (word[n] == '|');
    }
    return dt_fail(error, "%s: expected one of %s, found '%s'", name, option->argument, text);
}

static bool set_value(const dt_option *option, const char *name, const char *value, dt_error *error)
{
    switch (option->kind) {
    case DT_INT:
    case DT_LONG:
        return set_integer(option, name, value, error);
    case DT_SIZE:
        return set_size(option, name, value, error);
    case DT_FLOAT:
        return set_float(option, name, value, error);
    case DT_CHOICE:
        return set_choice(option, name, value, error);
    case DT_STRINGS: {
        dt_strings *strings = option->target;
        size_t room = sizeof strings->items / sizeof strings->items[0];
        if (strings->count == room)
            return dt_fail(error, "%s: given more than %zu times", name, room);
        strings->items[strings->count++] = value;
        return true;
    }
    default:
        *(const char **)option->target = value;
        return true;
    }
}

/* Words of `text` from `column` on, broken at WIDTH; later lines start at `indent`. */
static void wrap(FILE *out, const char *text, int column, int indent)
{
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (column + n > WIDTH && column > indent) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        }
        fprintf(out, "%.*s", n, text);
        column += n;
        text += n;
        if (*text == ' ') {
            text++;
            if (*text && column + 1 + (int)strcspn(text, " ") <= WIDTH)
                fputc(' ', out), column++;
            else if (*text)
                column = WIDTH + 1;
        }
    }
    fputc('\n', out);
}

static void help_entry(const dt_option *option, FILE *out)
{
    char left[160], right[640];
    const char *argument = option->argument ? option->argument : "";
    char letter[] = {'-', option->letter, ',', ' ', 0};
    int column = snprintf(left, sizeof left, "  %s--%s%s%s", option->letter ? letter : "    ", option->name,
                          *argument ? " " : "", argument);
    const char *also = option->required ? "required" : option->kind == DT_STRINGS ? "may be repeated" : "";
    int length = (int)strlen(option->help);
    bool ends = *also && length && option->help[length - 1] == ')'; /* a remark in brackets, which the other joins */
    snprintf(right, sizeof right, "%.*s%s%s%s%s%s%s", length - ends, option->help, ends ? "; " : *also ? " (" : "", also,
             *also ? ")" : "", option->preset ? " (default: " : "", option->preset ? option->preset : "",
             option->preset ? ")" : "");
    if (column > COLUMN - 2)
        fprintf(out, "%s\n%*s", left, COLUMN, "");
    else
        fprintf(out, "%-*s", COLUMN, left);
    wrap(out, right, COLUMN, COLUMN);
}

void dt_options_help(const dt_usage *usage, FILE *out)
{
    fprintf(out, "usage: %s [options]%s%s\n\n", usage->command, usage->positionals ? " " : "",
            usage->positionals ? usage->positionals : "");
    wrap(out, usage->summary, 0, 0);
    fputc('\n', out);
    for (size_t i = 0; i < usage->count; i++)
        help_entry(&usage->options[i], out);
    const dt_option help = {.name = "help", .letter = 'h', .help = "this page"};
    help_entry(&help, out);
}
