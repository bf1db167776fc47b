/*
 * source.c - see source.h. The buffer holds whole lines as long as it can; what is cut at its end
 * moves to its front when more is read behind it.
 */
#include "import/source.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_SIZE = 4 << 20, HEADER_ARENA_SIZE = 2 * LINE_SIZE_MAX };
_Static_assert(BUFFER_SIZE >= 2 * LINE_SIZE_MAX, "a line that may be is seen whole");

static bool failed(const struct source *source, const char *verb, struct err *err)
{
    return err_set(err, ERR_FATAL, "could not %s %s: %s", verb, source->path, strerror(errno));
}

/* --- bytes ------------------------------------------------------------------------------- */

static bool read_some(const struct source *source, uint8_t *to, size_t room, size_t *got,
                      struct err *err)
{
    ssize_t size;

    do size = read(source->file, to, room);
    while (size < 0 && errno == EINTR);
    *got = size < 0 ? 0 : (size_t)size;
    return size >= 0 || failed(source, "read", err);
}

static bool refill(struct source *source, struct err *err)
{
    size_t got;

    memmove(source->buffer, source->buffer + source->begin, source->end - source->begin);
    source->end -= source->begin;
    source->begin = 0;
    while (!source->at_end && source->end < BUFFER_SIZE) {
        if (!read_some(source, source->buffer + source->end, BUFFER_SIZE - source->end, &got, err))
            return false;
        source->end += (uint32_t)got;
        source->at_end = got == 0;
    }
    return true;
}

bool source_seek(struct source *source, uint64_t position, uint64_t line, struct err *err)
{
    if (lseek(source->file, (off_t)position, SEEK_SET) < 0) return failed(source, "read", err);
    source->begin = source->end = 0;
    source->at_end = false;
    source->position = position;
    source->line = line;
    return true;
}

bool source_again(const struct source *source, uint64_t position, uint32_t size, uint8_t *out,
                  struct err *err)
{
    for (uint32_t done = 0; done < size;) {
        ssize_t got = pread(source->file, out + done, size - done, (off_t)(position + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return failed(source, "read", err);
        if (got == 0)
            return err_set(err, ERR_FATAL, "could not read %s: it has become shorter",
                           source->path);
        done += (uint32_t)got;
    }
    return true;
}

static bool digest(struct source *source, struct err *err)
{
    size_t got = 1;

    sha256_begin();
    for (source->size = 0; got > 0; source->size += got) {
        if (!read_some(source, source->buffer, BUFFER_SIZE, &got, err)) return false;
        sha256_add(source->buffer, got);
    }
    sha256_end(&source->digest);
    return true;
}

/* --- lines ------------------------------------------------------------------------------- */

static uint64_t count_ends(struct bytes bytes)
{
    uint64_t count = 0;

    for (const uint8_t *at = bytes.data, *end = at + bytes.size;
         at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++)
        count++;
    return count;
}

static bool take(struct source *source, struct source_line *out, bool *found, struct err *err)
{
    struct bytes rest = {source->buffer + source->begin, source->end - source->begin};
    size_t size = line_size(source->format, rest, source->at_end);

    if (size == 0 && !source->at_end) {
        if (!refill(source, err)) return false;
        rest = (struct bytes){source->buffer, source->end};
        size = line_size(source->format, rest, source->at_end);
    }
    *found = size > 0;
    if (size > LINE_SIZE_MAX || (size == 0 && rest.size > 0))
        return err_set(err, ERR_REJECT,
                       "%s:%" PRIu64 ": the line is over %d bytes, or a quote is not closed",
                       source->path, source->line + 1, LINE_SIZE_MAX);
    rest.size = (uint32_t)size;
    *out = (struct source_line){.text = line_trim(rest),
                                .position = source->position,
                                .size = rest.size,
                                .number = source->line + 1,
                                .last_line = source->line + count_ends(rest)};
    source->begin += rest.size;
    source->position += rest.size;
    source->line = out->last_line;
    return true;
}

bool source_next(struct source *source, struct source_line *out, bool *found, struct err *err)
{
    *out = (struct source_line){0};
    do
        if (!take(source, out, found, err)) return false;
    while (*found && out->text.size == 0);
    return true;
}

void source_put_back(struct source *source, const struct source_line *line)
{
    assert(source->begin >= line->size);
    assert(source->position == line->position + line->size);
    source->begin -= line->size;
    source->position = line->position;
    source->line = line->number - 1;
}

/* --- opening ----------------------------------------------------------------------------- */

/* Some programs begin UTF-8 with the mark of an order that its bytes have not. */
static bool skip_mark(struct source *source, struct err *err)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};

    if (!refill(source, err)) return false;
    if (source->end < sizeof mark || memcmp(source->buffer, mark, sizeof mark) != 0) return true;
    source->begin = sizeof mark;
    source->position = sizeof mark;
    return true;
}

static bool keep_header(struct source *source, const struct source_line *line, struct err *err)
{
    uint8_t *bytes = malloc(line->size);

    if (bytes == NULL)
        return err_set(err, ERR_FATAL, "could not open %s: out of memory", source->path);
    source->header = (struct bytes){bytes, line->size};
    return source_again(source, line->position, line->size, bytes, err);
}

static bool read_header(struct source *source, struct err *err)
{
    char problem[PROBLEM_SIZE];
    struct source_line line;
    struct arena arena = {0};
    bool found, ok;

    if (!source_next(source, &line, &found, err)) return false;
    if (!found)
        return err_set(err, ERR_REJECT, "%s: has no header that names its columns", source->path);
    ok = arena_open(&arena, HEADER_ARENA_SIZE, err);
    if (ok && !csv_header(line.text, &arena, &source->csv, problem))
        ok = err_set(err, ERR_REJECT, "%s:%" PRIu64 ": %s", source->path, line.number, problem);
    arena_close(&arena);
    return ok && keep_header(source, &line, err);
}

bool source_open(struct source *source, const char *path, enum format format, struct err *err)
{
    struct stat about;

    *source = (struct source){.path = path, .format = format};
    source->file = open(path, O_RDONLY | O_CLOEXEC);
    if (source->file < 0 || fstat(source->file, &about) != 0) return failed(source, "open", err);
    if (!S_ISREG(about.st_mode))
        return err_set(err, ERR_FATAL, "could not open %s: it is not a regular file", path);
    source->buffer = malloc(BUFFER_SIZE);
    if (source->buffer == NULL)
        return err_set(err, ERR_FATAL, "could not open %s: out of memory", path);
    return digest(source, err) && source_seek(source, 0, 0, err) && skip_mark(source, err) &&
           (format != FORMAT_CSV || read_header(source, err));
}

void source_close(struct source *source)
{
    if (source->path != NULL && source->file >= 0) (void)close(source->file);
    free(source->buffer);
    free((void *)(uintptr_t)source->header.data);
    *source = (struct source){.file = -1};
}
