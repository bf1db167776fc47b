/*
 * fuzz_event.c - any bytes as an event. Nothing is read too far; what is understood is written
 * again, in both encodings, and then reads and writes the same for ever. A body that begins with {
 * is tried as JSON.
 */
#include "protocol/checkpoint.h"
#include "protocol/event_list.h"

#include <assert.h>
#include <string.h>

enum { ARENA_SIZE = 16 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct arena arena;
static struct codec *codec;

static void check_again(const struct event *event, enum encoding encoding)
{
    struct bytes first, second;
    struct event again;
    char problem[PROBLEM_SIZE];

    /* Not all msgpack has a JSON form, and a NUL has one that is refused on the way back. */
    bool is_written = event_encode(codec, event, encoding, &arena, &first);
    if (encoding == ENCODING_MSGPACK) assert(is_written);
    if (!is_written) return;
    bool is_read = event_decode(codec, first, encoding, &arena, &again, problem);
    if (!is_read && memmem(first.data, first.size, "\\u0000", 6) != NULL) return;
    assert(is_read);
    is_written = event_encode(codec, &again, encoding, &arena, &second);
    assert(is_written);
    assert(first.size == second.size);
    assert(memcmp(first.data, second.data, first.size) == 0);
}

static void check_checkpoint(struct bytes body, enum encoding encoding)
{
    struct checkpoint checkpoint, again;
    char problem[PROBLEM_SIZE] = "";
    struct bytes written;

    if (!checkpoint_decode(codec, body, encoding, &arena, &checkpoint, problem)) {
        assert(problem[0] != '\0');
        return;
    }
    if (checkpoint.created_us < 0 || checkpoint.created_us > INT64_C(1) << 52)
        return; /* no RFC 3339 */
    bool is_written = checkpoint_encode(&checkpoint, ENCODING_MSGPACK, &arena, &written);
    assert(is_written);
    bool is_read = checkpoint_decode(codec, written, ENCODING_MSGPACK, &arena, &again, problem);
    assert(is_read);
    assert(memcmp(&checkpoint, &again, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    struct event event;
    struct event_list list;
    char problem[PROBLEM_SIZE] = "";

    if (arena.base == NULL && (!arena_open(&arena, ARENA_SIZE, &err) || !codec_open(&codec, &err)))
        return -1;
    arena_reset(&arena);
    enum encoding encoding = size > 0 && data[0] == '{' ? ENCODING_JSON : ENCODING_MSGPACK;
    struct bytes body = {data, (uint32_t)size};
    check_checkpoint(body, encoding);
    bool is_list = event_list_decode(codec, body, encoding, &arena, &list, problem);
    if (!event_decode(codec, body, encoding, &arena, &event, problem)) {
        assert(problem[0] != '\0');
        for (uint32_t i = 0; is_list && i < list.count; i++)
            check_again(&list.events[i], ENCODING_MSGPACK);
        return 0;
    }
    assert(is_list && list.count == 1);
    check_again(&event, ENCODING_MSGPACK);
    check_again(&event, ENCODING_JSON);
    return 0;
}
