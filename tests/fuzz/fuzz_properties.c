/*
 * fuzz_properties.c - properties that are read can be extended, and keep what they were.
 */
#include "protocol/properties.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct header more = {{"x-reason", 8}, {"why", 3}, 0, false};
    struct bytes raw = {data, (uint32_t)size}, out, again;
    struct properties before, after;

    fuzz_begin();
    if (!properties_parse(raw, &before)) {
        fuzz_check(before.type.length == 0);
        return 0;
    }
    fuzz_check(properties_extend(raw, NULL, 0, false, &fuzz_arena, &out));
    fuzz_check(fuzz_bytes_equal(out, raw));

    fuzz_check(properties_extend(raw, &more, 1, true, &fuzz_arena, &out));
    fuzz_check(properties_parse(out, &after));
    fuzz_check(after.user_id.length == 0);
    fuzz_check(after.delivery_count == before.delivery_count);
    fuzz_check(text_equal(after.type, before.type));
    fuzz_check(text_equal(after.app_id, before.app_id));
    fuzz_check(text_equal(after.idempotency_key, before.idempotency_key));

    fuzz_check(properties_extend(out, &more, 1, true, &fuzz_arena, &again));
    fuzz_check(fuzz_bytes_equal(out, again));
    return 0;
}
