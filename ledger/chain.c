/*
 * chain.c - see chain.h. What is hashed is put together in one small buffer first: a call of the
 * hash costs more than the copy.
 */
#include "ledger/chain.h"

#include <assert.h>
#include <string.h>

enum { BUFFER_SIZE = 1024, HEAD_SIZE = 5 };

static const struct {
    const char *name;
    enum chain_kind kind;
    uint8_t number;
} FIELDS[CHAIN_FIELDS_COUNT] = {
#define X(name, number, word, kind) {word, CHAIN_##kind, number},
    CHAIN_FIELDS(X)
#undef X
};

const char *chain_field_name(enum chain_field field)
{
    assert(field < CHAIN_FIELDS_COUNT);
    return FIELDS[field].name;
}

enum chain_kind chain_field_kind(enum chain_field field)
{
    assert(field < CHAIN_FIELDS_COUNT);
    return FIELDS[field].kind;
}

static void flush(struct writer *writer)
{
    assert(!writer->overflowed);
    sha256_add(writer->data, writer->size);
    writer->size = 0;
}

static void add_field(struct writer *writer, enum chain_field field, struct bytes value)
{
    if (writer->capacity - writer->size < HEAD_SIZE) flush(writer);
    write_u8(writer, FIELDS[field].number);
    write_u32(writer, value.size);
    if (writer->capacity - writer->size < value.size) flush(writer);
    if (writer->capacity < value.size)
        sha256_add(value.data, value.size);
    else
        write_bytes(writer, value.data, value.size);
}

void chain_content(const struct chain_entry *entry, struct sha256 *out)
{
    uint8_t buffer[BUFFER_SIZE];
    struct writer writer = writer_over(buffer, sizeof buffer);

    sha256_begin();
    write_u8(&writer, HASH_CONTENT);
    for (uint32_t i = 0; i < CHAIN_FIELDS_COUNT; i++)
        if (entry->fields[i].data != NULL) add_field(&writer, i, entry->fields[i]);
    flush(&writer);
    sha256_end(out);
}

void chain_link(const struct sha256 *previous, const struct sha256 *content, struct sha256 *out)
{
    uint8_t buffer[1 + 2 * SHA256_SIZE] = {HASH_ENTRY};

    memcpy(buffer + 1, previous->bytes, SHA256_SIZE);
    memcpy(buffer + 1 + SHA256_SIZE, content->bytes, SHA256_SIZE);
    sha256_begin();
    sha256_add(buffer, sizeof buffer);
    sha256_end(out);
}

struct bytes chain_number(uint8_t memory[static CHAIN_NUMBER_SIZE], int64_t value)
{
    struct writer writer = writer_over(memory, CHAIN_NUMBER_SIZE);

    write_u64(&writer, (uint64_t)value);
    return (struct bytes){memory, CHAIN_NUMBER_SIZE};
}

struct bytes chain_text(struct text value)
{
    static const uint8_t nothing[1];
    const uint8_t *data = (const uint8_t *)value.bytes;

    return (struct bytes){data == NULL ? nothing : data, value.length};
}
