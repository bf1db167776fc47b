/*
 * fuzz_letter.c - any properties and body make a letter; what a replay publishes of it can be read,
 * and loses nothing more when it is replayed once more; a line of it brings back every byte, and
 * the routing key.
 */
#include "dlq/line.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { ROUTE_MAX = 255 }; /* as AMQP has it */

static void check_line(const struct letter *letter)
{
    char problem[FUZZ_PROBLEM_SIZE];
    struct bytes text;
    struct line line;

    if (!line_write(letter, true, &fuzz_arena, &text)) return;
    fuzz_check(line_read(text, &fuzz_arena, &line, problem, sizeof problem));
    fuzz_check(text_equal(line.own_routing_key, letter->own_routing_key));
    fuzz_check(fuzz_bytes_equal(line.body, letter->body));
    fuzz_check(fuzz_bytes_equal(line.properties, letter->properties));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t cut = size > 0 ? data[0] * (uint32_t)size / 256 : 0;
    struct bytes raw = {data, cut}, body = {data + cut, (uint32_t)size - cut}, out, again;
    struct text route = {(const char *)body.data, body.size < ROUTE_MAX ? body.size : ROUTE_MAX};
    struct properties parsed;
    struct letter letter, next;

    fuzz_begin();
    letter_read(fuzz_codec, route, raw, body, &fuzz_arena, &letter);
    fuzz_check(letter.attempts >= 1);
    fuzz_check(strlen(letter.id) > 0);
    if (!properties_parse(raw, &parsed)) return 0; /* no broker lets such in */
    fuzz_check(letter_replay_properties(&letter, (struct text){0}, &fuzz_arena, &out));
    fuzz_check(properties_parse(out, &parsed));
    fuzz_check(parsed.user_id.length == 0);
    fuzz_check(parsed.expiration.length == 0);
    fuzz_check(text_equal(parsed.message_id, letter.parsed.message_id));
    letter_read(fuzz_codec, route, out, body, &fuzz_arena, &next);
    fuzz_check(letter_replay_properties(&next, (struct text){0}, &fuzz_arena, &again));
    fuzz_check(fuzz_bytes_equal(out, again));
    check_line(&letter);
    return 0;
}
