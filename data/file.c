#define _GNU_SOURCE /* asprintf */
#include "data/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t nothing[1];

bool dt_map_open(dt_map *map, const char *path, dt_error *error)
{
    *map = (dt_map){0};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return dt_fail(error, "cannot open %s: %s", path, strerror(errno));
    struct stat about;
    bool good = false;
    if (fstat(file, &about) != 0) {
        dt_fail(error, "cannot examine %s: %s", path, strerror(errno));
    } else if (!S_ISREG(about.st_mode)) {
        dt_fail(error, "%s is %s, expected a regular file", path,
                S_ISDIR(about.st_mode) ? "a directory" : "a device or a pipe");
    } else if (about.st_size == 0) {
        *map = (dt_map){nothing, 0};
        good = true;
    } else {
        void *data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, file, 0);
        if (data == MAP_FAILED) {
            dt_fail(error, "cannot map %s (%lld bytes): %s", path, (long long)about.st_size, strerror(errno));
        } else {
            *map = (dt_map){data, (size_t)about.st_size};
            good = true;
        }
    }
    close(file);
    return good;
}

void dt_map_close(dt_map *map)
{
    if (map->size)
        munmap((void *)(uintptr_t)map->data, map->size);
    *map = (dt_map){0};
}

char *dt_file_read(const char *path, size_t limit, size_t *size, dt_error *error)
{
    FILE *file = fopen(path, "rbe");
    if (!file) {
        dt_fail(error, "cannot open %s: %s", path, strerror(errno));
        return NULL;
    }
    char *text = NULL;
    size_t n = 0, room = 0;
    for (;;) { /* the size that a file states is not trusted: it may grow, or be a pipe */
        if (room - n < 2) {
            room = room ? 2 * room : 1 << 14;
            char *larger = realloc(text, room);
            if (!larger) {
                dt_fail(error, "%s: no memory for %zu bytes", path, room);
                goto fail;
            }
            text = larger;
        }
        size_t got = fread(text + n, 1, room - n - 1, file);
        n += got;
        if (n > limit) {
            dt_fail(error, "%s is larger than the limit of %zu bytes", path, limit);
            goto fail;
        }
        if (!got)
            break;
    }
    if (ferror(file)) {
        dt_fail(error, "cannot read %s: %s", path, strerror(errno));
        goto fail;
    }
    fclose(file);
    text[n] = 0;
    if (size)
        *size = n;
    return text;
fail:
    fclose(file);
    free(text);
    return NULL;
}

struct dt_writer {
    FILE *file;
    char *path, *temporary;
    int failure; /* errno of the first failed write, or 0 */
};

static void free_writer(dt_writer *writer)
{
    free(writer->path);
    free(writer->temporary);
    free(writer);
}

/* Opens a new file beside the target under a name that nobody has. Returns the descriptor, or -1. */
static int open_temporary(dt_writer *writer)
{
    for (int attempt = 0; attempt < 1000; attempt++) {
        free(writer->temporary);
        if (asprintf(&writer->temporary, "%s.%ld-%d.tmp", writer->path, (long)getpid(), attempt) < 0) {
            writer->temporary = NULL;
            return -1;
        }
        int file = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file >= 0 || errno != EEXIST)
            return file;
    }
    return -1;
}

dt_writer *dt_writer_open(const char *path, dt_error *error)
{
    struct stat about;
    bool exists = stat(path, &about) == 0;
    if (exists && !S_ISREG(about.st_mode)) {
        dt_fail(error, "cannot write %s: it exists and is not a regular file", path);
        return NULL;
    }
    dt_writer *writer = calloc(1, sizeof *writer);
    if (!writer) {
        dt_fail(error, "cannot write %s: no memory", path);
        return NULL;
    }
    writer->path = exists ? realpath(path, NULL) : strdup(path); /* rename must not replace a link */
    int file = writer->path ? open_temporary(writer) : -1;
    if (file >= 0 && !(writer->file = fdopen(file, "wb"))) {
        int reason = errno;
        close(file);
        unlink(writer->temporary);
        errno = reason;
    }
    if (!writer->file) {
        dt_fail(error, "cannot write %s: %s", path, strerror(errno));
        free_writer(writer);
        return NULL;
    }
    setvbuf(writer->file, NULL, _IOFBF, 1 << 16);
    return writer;
}

bool dt_writer_write(dt_writer *writer, const void *data, size_t size)
{
    if (!writer->failure && size && fwrite(data, 1, size, writer->file) != size)
        writer->failure = errno ? errno : EIO;
    return !writer->failure;
}

bool dt_writer_printf(dt_writer *writer, const char *format, ...)
{
    if (writer->failure)
        return false;
    va_list arguments;
    va_start(arguments, format);
    if (vfprintf(writer->file, format, arguments) < 0)
        writer->failure = errno ? errno : EIO;
    va_end(arguments);
    return !writer->failure;
}

bool dt_writer_commit(dt_writer *writer, dt_error *error)
{
    if (!writer->failure && (fflush(writer->file) != 0 || fsync(fileno(writer->file)) != 0))
        writer->failure = errno;
    if (fclose(writer->file) != 0 && !writer->failure)
        writer->failure = errno;
    if (!writer->failure && rename(writer->temporary, writer->path) != 0)
        writer->failure = errno;
    bool good = !writer->failure;
    if (good) {
        good = dt_sync_directory_of(writer->path, error);
    } else {
        dt_fail(error, "cannot write %s: %s", writer->path, strerror(writer->failure));
        unlink(writer->temporary);
    }
    free_writer(writer);
    return good;
}

void dt_writer_abort(dt_writer *writer)
{
    if (!writer)
        return;
    fclose(writer->file);
    unlink(writer->temporary);
    free_writer(writer);
}

bool dt_file_write(const char *path, const void *data, size_t size, dt_error *error)
{
    dt_writer *writer = dt_writer_open(path, error);
    if (!writer)
        return false;
    dt_writer_write(writer, data, size);
    return dt_writer_commit(writer, error);
}

/* "NAME.PROCESS-ATTEMPT.tmp", as open_temporary makes them. */
static bool is_temporary(const char *name)
{
    const char *dash = strrchr(name, '-');
    long attempt;
    int end = 0;
    if (!dash || sscanf(dash, "-%3ld.tmp%n", &attempt, &end) != 1 || !end || dash[end])
        return false;
    while (dash > name && dash[-1] >= '0' && dash[-1] <= '9')
        dash--;
    return dash > name + 1 && dash[-1] == '.' && *dash != '-';
}

void dt_remove_temporaries(const char *path)
{
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        if (is_temporary(entry->d_name))
            unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory)
        closedir(directory);
}

bool dt_make_directories(const char *path, dt_error *error)
{
    char *copy = strdup(path);
    if (!copy)
        return dt_fail(error, "cannot make %s: no memory", path);
    bool good = *path || dt_fail(error, "cannot make a directory without a name");
    for (char *slash = copy; good && slash;) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = 0;
        if (mkdir(copy, 0777) != 0 && !dt_is_directory(copy))
            good = dt_fail(error, "cannot make directory %s: %s", copy, strerror(errno));
        if (slash)
            *slash = '/';
    }
    free(copy);
    return good;
}

bool dt_file_exists(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0;
}

bool dt_is_directory(const char *path)
{
    struct stat about;
    int reason = errno;
    bool found = stat(path, &about) == 0 && S_ISDIR(about.st_mode);
    errno = reason; /* callers report the error of the call before */
    return found;
}

char *dt_join(const char *directory, const char *name)
{
    size_t n = strlen(directory);
    if (n == 0 || name[0] == '/')
        return strdup(name);
    char *path;
    if (asprintf(&path, "%s%s%s", directory, directory[n - 1] == '/' ? "" : "/", name) < 0)
        return NULL;
    return path;
}

bool dt_sync_directory_of(const char *path, dt_error *error)
{
    const char *slash = strrchr(path, '/');
    char *directory = !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    int file = directory ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool good = true;
    if (file < 0) /* a directory that may be written but not read cannot be synced; nothing is lost by it */
        good =
            errno == EACCES || dt_fail(error, "cannot sync the directory of %s: %s", path, strerror(errno));
    else if (fsync(file) != 0 && errno != EINVAL && errno != EROFS)
        good = dt_fail(error, "cannot sync the directory of %s: %s", path, strerror(errno));
    if (file >= 0)
        close(file);
    free(directory);
    return good;
}
