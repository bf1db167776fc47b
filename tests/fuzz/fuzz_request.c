/*
 * fuzz_request.c - whatever arrives, a request comes out that keeps its promises. The first byte: 1
 * for an oversized delivery; the next two: the size of the properties; then these, then the body.
 */
#include "protocol/request.h"
#include "tests/fuzz/fuzz.h"

enum { HEAD_SIZE = 3 };

static void check_request(const struct request *request)
{
    fuzz_check(request->fault < RESULTS_COUNT);
    fuzz_check(!uuid_is_zero(&request->trace.trace_id));
    fuzz_check(request->caller.length <= CALLER_LENGTH_MAX && utf8_is_valid(request->caller));
    fuzz_check(request->key.length <= KEY_LENGTH_MAX && utf8_is_valid(request->key));
    fuzz_check(utf8_is_valid(request->properties.reply_to));
    fuzz_check(request->has_key == (request->key.length > 0));
    if (request->fault != RESULT_APPLIED) {
        fuzz_check_problem(request->problem);
        fuzz_check(request->command.account.length == 0);
        return;
    }
    fuzz_check(request->problem[0] == '\0');
    fuzz_check(request->has_type);
    fuzz_check(request->has_key || !command_changes(request->command.type));
    fuzz_check(!uuid_is_zero(&request->fingerprint));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t random_bytes_given[TRACE_RANDOM_SIZE] = {1};
    struct request request;

    if (size < HEAD_SIZE) return 0;
    uint32_t properties_size = (uint32_t)data[1] << 8 | data[2];
    if (properties_size > size - HEAD_SIZE) return 0;
    uint32_t body_size = (uint32_t)size - HEAD_SIZE - properties_size;
    struct incoming incoming = {.properties = {data + HEAD_SIZE, properties_size},
                                .body = {data + HEAD_SIZE + properties_size, body_size},
                                .body_size = body_size,
                                .oversized = data[0] == 1};

    fuzz_begin();
    memset(&request, 0xa5, sizeof request);
    request_decode(fuzz_codec, &incoming, random_bytes_given, &fuzz_arena, &request);
    check_request(&request);
    return 0;
}
