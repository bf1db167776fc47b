/*
 * samples.c - see samples.h.
 */
#include "tests/bench/samples.h"

#include "tests/bench/bench.h"

static struct err err;

static struct bytes read_part(FILE *file, const char *path, struct arena *arena)
{
    uint32_t size = 0;
    uint8_t *data = NULL;

    bool ok = fread(&size, sizeof size, 1, file) == 1 && size <= BENCH_BODY_MAX;
    if (ok) data = arena_take(arena, size + 1U);
    bench_check((ok && data != NULL && fread(data, 1, size, file) == size) ||
                    err_set(&err, ERR_FATAL, "could not read %s", path),
                &err);
    return (struct bytes){data, size};
}

void sample_read(const char *path, struct arena *arena, struct bytes *properties,
                 struct bytes *body)
{
    FILE *file = fopen(path, "rb");

    bench_check(file != NULL || err_set(&err, ERR_FATAL, "could not open %s", path), &err);
    *properties = read_part(file, path, arena);
    *body = read_part(file, path, arena);
    (void)fclose(file);
}

static bool write_part(FILE *file, struct bytes part)
{
    return fwrite(&part.size, sizeof part.size, 1, file) == 1 &&
           fwrite(part.data, 1, part.size, file) == part.size;
}

void sample_write(const char *path, struct bytes properties, struct bytes body)
{
    FILE *file = fopen(path, "wb");

    bench_check(file != NULL || err_set(&err, ERR_FATAL, "could not write %s", path), &err);
    bool ok = write_part(file, properties) && write_part(file, body);
    bench_check((fclose(file) == 0 && ok) || err_set(&err, ERR_FATAL, "could not write %s", path),
                &err);
}
