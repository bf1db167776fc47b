/*
 * columns.h - rows that PostgreSQL sends as one row of arrays, one array for each column. To libpq
 * that is a few blocks of memory, where rows are some blocks for each. Pure.
 */
#ifndef BASE_COLUMNS_H
#define BASE_COLUMNS_H

#include "base/bytes.h"

struct columns {
    struct bytes *cells; /* row by row; the data of a null is NULL */
    uint32_t columns, rows;
};

/* The arrays are in binary, of one dimension and one length; one without bytes (SQL's NULL, as
 * array_agg gives it for no rows) has no elements. The cells are the arena's, views into the
 * arrays. ERR_REJECT when the arena was too small, ERR_FATAL when the arrays are no such arrays. */
MUST_CHECK bool columns_read(const struct bytes *arrays, uint32_t columns, struct arena *arena,
                             struct columns *out, struct err *err);

/* Typed cells. A wrong width is a bug in the SQL that asked, so it asserts; so is a null where a
 * number is read. */
struct bytes columns_bytes(const struct columns *columns, uint32_t row, uint32_t column);
struct text columns_text(const struct columns *columns, uint32_t row, uint32_t column);
int64_t columns_int64(const struct columns *columns, uint32_t row, uint32_t column);
int32_t columns_int32(const struct columns *columns, uint32_t row, uint32_t column);
int16_t columns_int16(const struct columns *columns, uint32_t row, uint32_t column);
int64_t columns_time_us(const struct columns *columns, uint32_t row, uint32_t column);

#endif
