/*
 * array.c - see array.h. The header of an array: dimensions, null flag, element type, then size and
 * lower bound of the one dimension; count and null flag are filled in at the end.
 */
#include "base/array.h"

#include <assert.h>
#include <string.h>

/* Microseconds between 1970-01-01 and 2000-01-01, PostgreSQL's epoch. */
static const int64_t EPOCH_SHIFT_US = INT64_C(946684800000000);

static uint32_t oid_of(enum array_type type)
{
    switch (type) {
    case ARRAY_INT2:
        return 21;
    case ARRAY_INT4:
        return 23;
    case ARRAY_INT8:
        return 20;
    case ARRAY_TEXT:
        return 25;
    case ARRAY_BYTEA:
        return 17;
    case ARRAY_UUID:
        return 2950;
    case ARRAY_TIME:
        return 1184;
    case ARRAY_TID:
        return 27;
    case ARRAY_BOOL:
        return 16;
    }
    assert(false && "an array type that is none");
    return 0;
}

void array_begin(struct array *array, struct arena *arena, enum array_type type)
{
    *array = (struct array){.arena = arena, .writer = writer_in(arena)};
    write_u32(&array->writer, 1);
    write_u32(&array->writer, 0);
    write_u32(&array->writer, oid_of(type));
    write_u32(&array->writer, 0);
    write_u32(&array->writer, 1);
}

void array_add_null(struct array *array)
{
    array->count++;
    array->has_null = true;
    write_u32(&array->writer, UINT32_MAX); /* length -1 */
}

void array_add_int(struct array *array, enum array_type width, int64_t value)
{
    array->count++;
    if (width == ARRAY_INT2) {
        assert(value >= INT16_MIN);
        assert(value <= INT16_MAX);
        write_u32(&array->writer, 2);
        write_u16(&array->writer, (uint16_t)value);
    } else if (width == ARRAY_INT4) {
        assert(value >= INT32_MIN);
        assert(value <= INT32_MAX);
        write_u32(&array->writer, 4);
        write_u32(&array->writer, (uint32_t)value);
    } else {
        assert(width == ARRAY_INT8);
        write_u32(&array->writer, 8);
        write_u64(&array->writer, (uint64_t)value);
    }
}

void array_add_bytes(struct array *array, struct bytes value)
{
    array->count++;
    write_u32(&array->writer, value.size);
    write_bytes(&array->writer, value.data, value.size);
}

void array_add_text(struct array *array, struct text value)
{
    array_add_bytes(array, (struct bytes){(const uint8_t *)value.bytes, value.length});
}

void array_add_uuid(struct array *array, const struct uuid *value)
{
    array_add_bytes(array, (struct bytes){value->bytes, sizeof value->bytes});
}

void array_add_bool(struct array *array, bool value)
{
    uint8_t byte = value;
    array_add_bytes(array, (struct bytes){&byte, 1});
}

void array_add_time(struct array *array, int64_t wall_us)
{
    array_add_int(array, ARRAY_INT8, wall_us - EPOCH_SHIFT_US);
}

static void patch_u32(uint8_t *at, uint32_t value)
{
    struct writer writer = writer_over(at, 4);
    write_u32(&writer, value);
}

bool array_end(struct array *array, struct bytes *out, struct err *err)
{
    if (!writer_keep(&array->writer, array->arena, out))
        return err_set(err, ERR_REJECT, "could not build parameters: batch too large");
    patch_u32(array->writer.data + 4, array->has_null);
    patch_u32(array->writer.data + 12, array->count);
    return true;
}

struct bytes array_only(struct bytes array)
{
    enum { HAS_NULL_AT = 7, COUNT_AT = 15, ELEMENT_AT = 24 };

    assert(array.size >= ELEMENT_AT);
    assert(array.data[COUNT_AT] == 1);
    if (array.data[HAS_NULL_AT] != 0) return (struct bytes){0};
    return (struct bytes){array.data + ELEMENT_AT, array.size - ELEMENT_AT};
}

static struct bytes keep(struct arena *arena, uint64_t value, uint32_t size)
{
    uint8_t *at = arena_take(arena, size);
    struct writer writer = writer_over(at, at == NULL ? 0 : size);

    if (size == 8) write_u64(&writer, value);
    if (size == 4) write_u32(&writer, (uint32_t)value);
    return (struct bytes){at, size};
}

struct bytes binary_int64(struct arena *arena, int64_t value)
{
    return keep(arena, (uint64_t)value, 8);
}

struct bytes binary_int32(struct arena *arena, int32_t value)
{
    return keep(arena, (uint32_t)value, 4);
}

struct bytes binary_time(struct arena *arena, int64_t wall_us)
{
    return keep(arena, (uint64_t)(wall_us - EPOCH_SHIFT_US), 8);
}

int64_t binary_wall_us(int64_t since_2000_us)
{
    int64_t wall_us;

    return __builtin_add_overflow(since_2000_us, EPOCH_SHIFT_US, &wall_us) ? INT64_MAX : wall_us;
}
