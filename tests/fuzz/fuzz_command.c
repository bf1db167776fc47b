/*
 * fuzz_command.c - a command that is accepted comes back the same from either encoding. The first
 * byte says type and encoding: twice the type's number, which never changes, plus 1 for JSON.
 */
#include "protocol/command.h"
#include "protocol/fingerprint.h"
#include "protocol/value.h"
#include "tests/fuzz/fuzz.h"

static void check_encoding(const struct command *command, enum encoding encoding)
{
    struct command again;
    struct bytes body, body_again;
    char problem[PROBLEM_SIZE];

    fuzz_check(command_encode(fuzz_codec, command, encoding, &fuzz_arena, &body));
    fuzz_check(
        command_decode(fuzz_codec, command->type, encoding, body, &fuzz_arena, &again, problem));
    struct uuid a = command_fingerprint(command), b = command_fingerprint(&again);
    fuzz_check(uuid_compare(&a, &b) == 0);
    /* What only queries have is in no fingerprint. */
    fuzz_check(command_encode(fuzz_codec, &again, encoding, &fuzz_arena, &body_again));
    fuzz_check(fuzz_bytes_equal(body, body_again));
}

/* Each leg is a command of its own, or is refused with a sentence. */
static void check_legs(const struct command *batch)
{
    struct bytes rest = batch->legs, map;
    char problem[PROBLEM_SIZE];
    struct command leg;
    struct value head;
    struct text key;

    fuzz_check(value_read(&rest, &head) && head.count == batch->legs_count);
    for (uint32_t i = 0; i < batch->legs_count; i++) {
        fuzz_check(value_take(&rest, &map));
        if (!command_decode_leg(fuzz_codec, map, &fuzz_arena, &leg, &key, problem)) {
            fuzz_check_problem(problem);
            continue;
        }
        fuzz_check(key.length > 0 && command_changes(leg.type) && leg.type != COMMAND_BATCH);
        check_encoding(&leg, ENCODING_MSGPACK);
        check_encoding(&leg, ENCODING_JSON);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct command command;
    enum command_type type;
    char problem[PROBLEM_SIZE];

    if (size < 1) return 0;
    fuzz_begin();
    if (!command_type_of_number((int16_t)(data[0] / 2), &type)) return 0;
    enum encoding encoding = data[0] % 2 == 0 ? ENCODING_MSGPACK : ENCODING_JSON;
    struct bytes body = {data + 1, (uint32_t)size - 1};

    if (!command_decode(fuzz_codec, type, encoding, body, &fuzz_arena, &command, problem)) {
        fuzz_check_problem(problem);
        return 0;
    }
    fuzz_check(command.type == type);
    fuzz_check(command.metadata.size <= METADATA_SIZE_MAX);
    check_encoding(&command, ENCODING_MSGPACK);
    if (type == COMMAND_BATCH)
        check_legs(&command); /* not read yet, so not all of it need have a JSON form */
    else
        check_encoding(&command, ENCODING_JSON);
    return 0;
}
