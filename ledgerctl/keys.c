/*
 * keys.c - see keys.h.
 */
#include "ledgerctl/keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_FILE_MAX = 1 << 14, LINE_MAX = 1 << 14, ARENA_SIZE = 1 << 20, CHECKPOINTS_FIRST = 1024 };

bool file_read(const char *path, size_t max, char **out, size_t *size, struct err *err)
{
    bool is_input = strcmp(path, "-") == 0;
    FILE *file = is_input ? stdin : fopen(path, "r");

    *out = NULL;
    *size = 0;
    if (file == NULL)
        return err_set(err, ERR_FATAL, "could not open %s: %s", path, strerror(errno));
    *out = malloc(max + 1);
    *size = *out == NULL ? 0 : fread(*out, 1, max + 1, file);
    bool failed = *out == NULL || ferror(file) != 0;
    if (!is_input) (void)fclose(file);
    if (failed) return err_set(err, ERR_FATAL, "could not read %s", path);
    if (*size > max) return err_set(err, ERR_FATAL, "could not read %s: it is too long", path);
    (*out)[*size] = '\0';
    return true;
}

bool keys_open(const struct options *options, struct ed25519 *keys[static PUBLIC_KEYS_MAX],
               struct err *err)
{
    for (uint32_t i = 0; i < PUBLIC_KEYS_MAX; i++) keys[i] = NULL;
    for (uint32_t i = 0; i < options->public_keys_count; i++) {
        char *pem = NULL;
        size_t size = 0;
        bool ok = file_read(options->public_keys[i], KEY_FILE_MAX, &pem, &size, err) &&
                  ed25519_open_public(&keys[i], (struct text){pem, (uint32_t)size}, err);
        free(pem);
        if (!ok) return false;
    }
    return true;
}

void keys_close(struct ed25519 *keys[static PUBLIC_KEYS_MAX])
{
    for (uint32_t i = 0; i < PUBLIC_KEYS_MAX; i++) ed25519_close(keys[i]);
}

/* --- checkpoints that were kept ---------------------------------------------------------- */

struct reader {
    struct codec *codec;
    struct arena arena;
    struct checkpoint *list;
    uint32_t count, capacity;
};

static bool add_line(struct reader *reader, const char *line, size_t length, struct err *err)
{
    char problem[PROBLEM_SIZE] = "";
    struct checkpoint *grown;

    if (reader->count == reader->capacity) {
        uint32_t capacity = reader->capacity == 0 ? CHECKPOINTS_FIRST : reader->capacity * 2;
        grown = realloc(reader->list, capacity * sizeof *grown);
        if (grown == NULL) return err_set(err, ERR_FATAL, "could not keep checkpoints: no memory");
        reader->list = grown;
        reader->capacity = capacity;
    }
    arena_reset(&reader->arena);
    struct bytes body = {(const uint8_t *)line, (uint32_t)length};
    if (length <= LINE_MAX && checkpoint_decode(reader->codec, body, ENCODING_JSON, &reader->arena,
                                                &reader->list[reader->count], problem)) {
        reader->count++;
        return true;
    }
    return err_set(err, ERR_FATAL, "line %u is no checkpoint: %s", reader->count + 1,
                   length <= LINE_MAX ? problem : "it is too long");
}

static int compare(const void *a, const void *b)
{
    const struct checkpoint *left = a, *right = b;
    return (left->number > right->number) - (left->number < right->number);
}

static bool read_lines(struct reader *reader, FILE *file, struct err *err)
{
    char *line = NULL;
    size_t size = 0;
    bool ok = true;

    for (ssize_t length; ok && (length = getline(&line, &size, file)) >= 0;) {
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r')) length--;
        ok = length == 0 || add_line(reader, line, (size_t)length, err);
    }
    free(line);
    return ok;
}

bool checkpoints_read(const char *path, struct checkpoint **out, uint32_t *count, struct err *err)
{
    struct reader reader = {0};
    FILE *file = fopen(path, "r");
    bool ok;

    *out = NULL;
    *count = 0;
    if (file == NULL)
        return err_set(err, ERR_FATAL, "could not open %s: %s", path, strerror(errno));
    ok = codec_open(&reader.codec, err) && arena_open(&reader.arena, ARENA_SIZE, err) &&
         read_lines(&reader, file, err);
    (void)fclose(file);
    codec_close(reader.codec);
    arena_close(&reader.arena);
    *out = reader.list;
    *count = reader.count;
    if (ok && reader.count > 1) qsort(reader.list, reader.count, sizeof *reader.list, compare);
    return ok || err_wrap(err, "could not read checkpoints");
}
