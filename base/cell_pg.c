/*
 * cell_pg.c - typed cells of a binary result. A wrong width is a bug in the SQL that asked, so it
 * asserts.
 */
#include "base/array.h"
#include "base/query_pg.h"

#include <assert.h>
#include <string.h>

static const uint8_t *cell_data(const PGresult *result, int row, int column)
{
    assert(row >= 0 && row < PQntuples(result));
    assert(column >= 0 && column < PQnfields(result));
    assert(PQfformat(result, column) == 1);
    return (const uint8_t *)PQgetvalue(result, row, column);
}

static uint32_t cell_size(const PGresult *result, int row, int column)
{
    int size = PQgetlength(result, row, column);
    assert(size >= 0);
    return (uint32_t)size;
}

static uint64_t cell_number(const PGresult *result, int row, int column, uint32_t size)
{
    const uint8_t *data = cell_data(result, row, column);
    uint64_t value = 0;

    assert(cell_size(result, row, column) == size); /* 0 when NULL */
    for (uint32_t i = 0; i < size; i++) value = value << 8 | data[i];
    return value;
}

bool cell_is_null(const PGresult *result, int row, int column)
{
    (void)cell_data(result, row, column);
    return PQgetisnull(result, row, column) == 1;
}

int64_t cell_int64(const PGresult *result, int row, int column)
{
    return (int64_t)cell_number(result, row, column, sizeof(int64_t));
}

int32_t cell_int32(const PGresult *result, int row, int column)
{
    return (int32_t)cell_number(result, row, column, sizeof(int32_t));
}

int16_t cell_int16(const PGresult *result, int row, int column)
{
    return (int16_t)cell_number(result, row, column, sizeof(int16_t));
}

bool cell_bool(const PGresult *result, int row, int column)
{
    return cell_number(result, row, column, 1) != 0;
}

struct uuid cell_uuid(const PGresult *result, int row, int column)
{
    struct uuid uuid;
    const uint8_t *data = cell_data(result, row, column);

    assert(cell_size(result, row, column) == sizeof(uuid.bytes));
    memcpy(uuid.bytes, data, sizeof(uuid.bytes));
    return uuid;
}

struct text cell_text(const PGresult *result, int row, int column)
{
    struct bytes bytes = cell_bytes(result, row, column);
    return (struct text){(const char *)bytes.data, bytes.size};
}

struct bytes cell_bytes(const PGresult *result, int row, int column)
{
    const uint8_t *data = cell_data(result, row, column);
    return (struct bytes){data, cell_size(result, row, column)};
}

int64_t cell_time_us(const PGresult *result, int row, int column)
{
    return binary_wall_us(cell_int64(result, row, column));
}
