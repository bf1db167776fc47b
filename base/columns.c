/*
 * columns.c - see columns.h. An array: dimensions, null flag, element type; then, unless it has no
 * dimension, size and lower bound of the one; then each element's length, -1 for a null, and bytes.
 */
#include "base/columns.h"

#include "base/array.h"

#include <assert.h>

enum { LENGTH_SIZE = 4 };

struct reader {
    const uint8_t *at;
    uint32_t left;
};

static uint64_t number_of(const uint8_t *data, uint32_t size)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < size; i++) value = value << 8 | data[i];
    return value;
}

static bool read_u32(struct reader *reader, uint32_t *out)
{
    if (reader->left < LENGTH_SIZE) return false;
    *out = (uint32_t)number_of(reader->at, LENGTH_SIZE);
    reader->at += LENGTH_SIZE;
    reader->left -= LENGTH_SIZE;
    return true;
}

/* Leaves the reader at the first element. */
static bool begin(struct reader *reader, uint32_t *count)
{
    uint32_t dimensions, ignored;

    *count = 0;
    if (reader->left == 0) return true;
    if (!read_u32(reader, &dimensions) || !read_u32(reader, &ignored) ||
        !read_u32(reader, &ignored) || dimensions > 1)
        return false;
    return dimensions == 0 || (read_u32(reader, count) && read_u32(reader, &ignored));
}

static bool read_element(struct reader *reader, struct bytes *out)
{
    uint32_t size;

    if (!read_u32(reader, &size)) return false;
    *out = (struct bytes){0};
    if (size == UINT32_MAX) return true;
    if (size > reader->left) return false;
    *out = (struct bytes){reader->at, size};
    reader->at += size;
    reader->left -= size;
    return true;
}

static bool read_column(const struct columns *columns, uint32_t column, struct reader *reader)
{
    for (uint32_t row = 0; row < columns->rows; row++)
        if (!read_element(reader, &columns->cells[row * columns->columns + column])) return false;
    return reader->left == 0;
}

static bool malformed(uint32_t column, struct err *err)
{
    return err_set(err, ERR_FATAL, "could not read rows: column %u is no array like the first",
                   column);
}

bool columns_read(const struct bytes *arrays, uint32_t columns, struct arena *arena,
                  struct columns *out, struct err *err)
{
    assert(columns > 0);
    *out = (struct columns){.columns = columns};
    for (uint32_t i = 0; i < columns; i++) {
        struct reader reader = {arrays[i].data, arrays[i].size};
        uint32_t count;
        if (!begin(&reader, &count) || count > reader.left / LENGTH_SIZE) return malformed(i, err);
        if (i == 0) {
            out->rows = count;
            out->cells = arena_take(arena, (size_t)count * columns * sizeof *out->cells);
            if (out->cells == NULL)
                return err_set(err, ERR_REJECT, "could not read rows: too many");
        }
        if (count != out->rows || !read_column(out, i, &reader)) return malformed(i, err);
    }
    return true;
}

struct bytes columns_bytes(const struct columns *columns, uint32_t row, uint32_t column)
{
    assert(row < columns->rows);
    assert(column < columns->columns);
    return columns->cells[row * columns->columns + column];
}

struct text columns_text(const struct columns *columns, uint32_t row, uint32_t column)
{
    struct bytes bytes = columns_bytes(columns, row, column);
    return (struct text){(const char *)bytes.data, bytes.size};
}

static uint64_t columns_number(const struct columns *columns, uint32_t row, uint32_t column,
                               uint32_t size)
{
    struct bytes bytes = columns_bytes(columns, row, column);

    assert(bytes.size == size); /* 0 when null */
    return number_of(bytes.data, size);
}

int64_t columns_int64(const struct columns *columns, uint32_t row, uint32_t column)
{
    return (int64_t)columns_number(columns, row, column, sizeof(int64_t));
}

int32_t columns_int32(const struct columns *columns, uint32_t row, uint32_t column)
{
    return (int32_t)columns_number(columns, row, column, sizeof(int32_t));
}

int16_t columns_int16(const struct columns *columns, uint32_t row, uint32_t column)
{
    return (int16_t)columns_number(columns, row, column, sizeof(int16_t));
}

int64_t columns_time_us(const struct columns *columns, uint32_t row, uint32_t column)
{
    return binary_wall_us(columns_int64(columns, row, column));
}
