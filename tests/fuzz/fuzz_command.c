/*
 * fuzz_command.c - a command that is accepted comes back the same from either encoding. The first
 * byte says type and encoding: 2 * type, plus 1 for JSON.
 */
#include "protocol/command.h"
#include "protocol/fingerprint.h"
#include "tests/fuzz/fuzz.h"

static void check_encoding(const struct command *command, enum encoding encoding)
{
    struct command again;
    struct bytes body;
    char problem[PROBLEM_SIZE];

    fuzz_check(command_encode(fuzz_codec, command, encoding, &fuzz_arena, &body));
    fuzz_check(
        command_decode(fuzz_codec, command->type, encoding, body, &fuzz_arena, &again, problem));
    struct uuid a = command_fingerprint(command), b = command_fingerprint(&again);
    fuzz_check(uuid_compare(&a, &b) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct command command;
    char problem[PROBLEM_SIZE];

    if (size < 1) return 0;
    fuzz_begin();
    enum command_type type = (enum command_type)(data[0] / 2U % COMMANDS_COUNT);
    enum encoding encoding = data[0] % 2 == 0 ? ENCODING_MSGPACK : ENCODING_JSON;
    struct bytes body = {data + 1, (uint32_t)size - 1};

    if (!command_decode(fuzz_codec, type, encoding, body, &fuzz_arena, &command, problem)) {
        fuzz_check_problem(problem);
        return 0;
    }
    fuzz_check(command.type == type);
    fuzz_check(command.metadata.size <= METADATA_SIZE_MAX);
    check_encoding(&command, ENCODING_MSGPACK);
    check_encoding(&command, ENCODING_JSON);
    return 0;
}
