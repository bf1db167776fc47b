/*
 * fuzz_reply.c - any bytes as a reply. Nothing is read too far; what is understood is written
 * again, in both encodings, and then reads and writes the same for ever. A body that begins with {
 * is tried as JSON.
 */
#include "protocol/reply.h"

#include <assert.h>
#include <string.h>

enum { ARENA_SIZE = 16 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct arena arena;
static struct codec *codec;

static void check_again(const struct reply *reply, enum encoding encoding)
{
    struct bytes first, second;
    struct reply again;
    char problem[PROBLEM_SIZE];

    /* Not all msgpack has a JSON form, and a NUL has one that is refused on the way back. */
    bool is_written = reply_encode(codec, reply, encoding, &arena, &first);
    if (encoding == ENCODING_MSGPACK) assert(is_written);
    if (!is_written) return;
    bool is_read = reply_decode(codec, first, encoding, &arena, &again, problem);
    if (!is_read && memmem(first.data, first.size, "\\u0000", 6) != NULL) return;
    assert(is_read);
    is_written = reply_encode(codec, &again, encoding, &arena, &second);
    assert(is_written);
    assert(first.size == second.size);
    assert(memcmp(first.data, second.data, first.size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    struct reply reply;
    char problem[PROBLEM_SIZE] = "";

    if (arena.base == NULL && (!arena_open(&arena, ARENA_SIZE, &err) || !codec_open(&codec, &err)))
        return -1;
    arena_reset(&arena);
    enum encoding encoding = size > 0 && data[0] == '{' ? ENCODING_JSON : ENCODING_MSGPACK;
    struct bytes body = {data, (uint32_t)size};
    if (!reply_decode(codec, body, encoding, &arena, &reply, problem)) {
        assert(problem[0] != '\0');
        return 0;
    }
    check_again(&reply, ENCODING_MSGPACK);
    check_again(&reply, ENCODING_JSON);
    return 0;
}
