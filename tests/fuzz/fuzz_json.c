/*
 * fuzz_json.c - JSON that is accepted becomes msgpack that the guard accepts, and comes back from
 * it.
 */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes body = {data, (uint32_t)size}, once, twice, json;
    char problem[FUZZ_PROBLEM_SIZE] = "";

    fuzz_begin();
    if (!json_to_msgpack(fuzz_codec, body, &fuzz_arena, &once, problem, sizeof problem)) {
        fuzz_check_problem(problem);
        return 0;
    }
    fuzz_check(msgpack_problem(once) == NULL);
    fuzz_check(msgpack_to_json(once, &fuzz_arena, &json));
    fuzz_check(json_to_msgpack(fuzz_codec, json, &fuzz_arena, &twice, problem, sizeof problem));
    fuzz_check(fuzz_bytes_equal(once, twice));
    return 0;
}
