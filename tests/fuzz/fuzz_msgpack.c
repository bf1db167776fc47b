/*
 * fuzz_msgpack.c - what the guard lets through is msgpack for msgpack-c too; its canonical form is
 * canonical, and survives JSON.
 */
#include "tests/fuzz/fuzz.h"

#include <msgpack.h>

static bool is_msgpack(struct bytes body)
{
    msgpack_unpacked unpacked;
    size_t offset = 0;

    msgpack_unpacked_init(&unpacked);
    msgpack_unpack_return result =
        msgpack_unpack_next(&unpacked, (const char *)body.data, body.size, &offset);
    msgpack_unpacked_destroy(&unpacked);
    return result == MSGPACK_UNPACK_SUCCESS && offset == body.size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes body = {data, (uint32_t)size}, once, twice, json, back;
    char problem[FUZZ_PROBLEM_SIZE] = "";

    fuzz_begin();
    const char *wrong = msgpack_problem(body);
    if (wrong == NULL) fuzz_check(is_msgpack(body));
    bool has_json = msgpack_to_json(body, &fuzz_arena, &json);
    if (has_json) fuzz_check(wrong == NULL);

    if (!msgpack_canonical(fuzz_codec, body, &fuzz_arena, &once, problem, sizeof problem)) {
        fuzz_check_problem(problem);
        return 0;
    }
    fuzz_check(has_json);
    fuzz_check(once.size <= body.size);
    fuzz_check(msgpack_canonical(fuzz_codec, once, &fuzz_arena, &twice, problem, sizeof problem));
    fuzz_check(fuzz_bytes_equal(once, twice));

    fuzz_check(msgpack_to_json(once, &fuzz_arena, &json));
    if (json_problem(json) != NULL) return 0; /* it has grown over a limit */
    fuzz_check(json_to_msgpack(fuzz_codec, json, &fuzz_arena, &back, problem, sizeof problem));
    fuzz_check(msgpack_canonical(fuzz_codec, back, &fuzz_arena, &twice, problem, sizeof problem));
    fuzz_check(fuzz_bytes_equal(once, twice));
    return 0;
}
