/*
 * fill.c - see fill.h. A line becomes the request that a caller would have sent; what it holds is
 * said in one place for both (protocol/command_codec.c).
 */
#include "import/fill.h"

#include "base/clock.h"
#include "protocol/fingerprint.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *fill_keep(struct fill *fill, const char *text)
{
    fill->arena.used = fill->decoded;
    struct bytes kept = arena_copy(&fill->arena, text, strlen(text) + 1);
    fill->decoded = fill->arena.used;
    return kept.data == NULL ? "" : (const char *)kept.data;
}

/* The key of a line that gives none: its place in a file of this name. */
static bool make_key(struct fill *fill, uint64_t number, struct text *out)
{
    char key[KEY_LENGTH_MAX + 1];
    int length = snprintf(key, sizeof key, "import:%.*s:%" PRIu64, TEXT_ARGS(fill->name), number);

    assert(length > 0 && length < (int)sizeof key); /* a name is at most 64 bytes long */
    *out = arena_text(&fill->arena, (struct text){key, (uint32_t)length});
    return out->bytes != NULL;
}

static bool read_line(struct fill *fill, const struct source_line *source, struct line *out,
                      char problem[static PROBLEM_SIZE])
{
    struct text key;

    if (!make_key(fill, source->number, &key))
        return problem_set(problem, PROBLEM_SIZE, "no memory is left for it");
    if (fill->source->format == FORMAT_JSON)
        return line_of_json(fill->codec, source->text, key, &fill->arena, out, problem);
    return csv_line(&fill->source->csv, fill->codec, source->text, key, &fill->arena, out, problem);
}

static bool make_request(struct fill *fill, const struct line *line, struct request *out,
                         char problem[static PROBLEM_SIZE])
{
    *out = (struct request){.trace = fill->trace,
                            .fault = RESULT_APPLIED,
                            .has_type = true,
                            .has_key = true,
                            .is_own = true, /* the operator's: no policy is asked */
                            .caller = fill->caller,
                            .key = line->key,
                            .key_digest = idempotency_digest(fill->caller, line->key),
                            .at_us = line->at_us != 0 ? line->at_us : fill->at_us};
    if (!command_decode(fill->codec, line->type, ENCODING_MSGPACK, line->body, &fill->arena,
                        &out->command, problem))
        return false;
    out->fingerprint = command_fingerprint(&out->command);
    if (out->command.dry_run)
        return problem_set(problem, PROBLEM_SIZE,
                           "dry_run: what is imported is meant; see --check");
    return out->command.conditions.not_before_us == 0 ||
           problem_set(problem, PROBLEM_SIZE,
                       "not_before: what is still to happen is for a caller to send");
}

static void make_work(struct fill *fill, uint32_t at, bool is_leg)
{
    const struct request *request = &fill->requests[at];
    int64_t at_us = request->at_us != 0 ? request->at_us : clock_wall_us();
    uint8_t random[UUID_RANDOM_SIZE];

    random_bytes(random, sizeof random);
    fill->works[at] = (struct work){
        .request = request, .id = uuid_v7((uint64_t)at_us / 1000, random), .is_leg = is_leg};
}

/* The line's works; *fits false: it has more than are left room for. */
static bool add_works(struct fill *fill, struct fill_line *line, bool *fits,
                      char problem[static PROBLEM_SIZE])
{
    uint32_t at = fill->works_count, legs;
    struct request *request = &fill->requests[at];
    struct line read = {0};

    *fits = true;
    if (!read_line(fill, &line->source, &read, problem) ||
        !make_request(fill, &read, request, problem))
        return false;
    legs = request->command.legs_count;
    *fits = legs <= BATCH_WORKS_MAX - at - 1;
    if (!*fits) return true;
    if (legs > 0 && !request_decode_legs(fill->codec, &fill->arena, request, request + 1))
        return problem_set(problem, PROBLEM_SIZE, "%s", request->problem);
    for (uint32_t i = 0; i <= legs; i++) make_work(fill, at + i, i > 0);
    fill->works[at].legs_count = legs;
    line->works = 1 + legs;
    fill->works_count += line->works;
    return true;
}

static bool add_line(struct fill *fill, const struct source_line *source)
{
    struct fill_line *line = &fill->lines[fill->lines_count];
    char problem[PROBLEM_SIZE] = "";
    bool fits;

    *line = (struct fill_line){
        .source = *source, .works_at = fill->works_count, .result = RESULT_APPLIED};
    bool is_command = add_works(fill, line, &fits, problem);
    if (!fits) return false;
    fill->decoded = fill->arena.used;
    if (!is_command) line->problem = fill_keep(fill, problem);
    fill->lines_count++;
    return true;
}

bool fill_lines(struct fill *fill, struct err *err)
{
    struct source_line source;
    bool found = true;

    arena_reset(&fill->arena);
    fill->decoded = 0;
    fill->lines_count = fill->works_count = 0;
    while (fill->lines_count < FILL_LINES_MAX && fill->works_count < BATCH_WORKS_MAX &&
           fill->arena.used < FILL_DECODED_MAX) {
        if (!source_next(fill->source, &source, &found, err)) return false;
        if (!found) break;
        if (add_line(fill, &source)) continue;
        assert(fill->lines_count > 0); /* any one line fits */
        source_put_back(fill->source, &source);
        break;
    }
    fill->at_end = !found;
    return true;
}
