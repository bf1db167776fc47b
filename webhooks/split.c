/*
 * split.c - see split.h.
 */
#include "webhooks/split.h"

#include "protocol/event_list.h"
#include "protocol/pack.h"
#include "protocol/unpack.h"
#include "protocol/value.h"

enum { ENVELOPE_FIELDS = 3 };

struct head { /* what is looked at of an event */
    struct text type, account, timestamp;
    struct bytes events;
};

static bool head_read(struct bytes map, struct text type, struct head *out,
                      char problem[static PROBLEM_SIZE])
{
    *out = (struct head){.type = type};
    struct field fields[] = {
        {.name = "event_type", .type = FIELD_TEXT, .target = &out->type},
        {.name = "account", .type = FIELD_TEXT, .target = &out->account},
        {.name = "timestamp", .type = FIELD_TEXT, .target = &out->timestamp},
        {.name = "events", .type = FIELD_ARRAY, .target = &out->events},
    };
    return unpack_fields(map, fields, sizeof fields / sizeof fields[0], problem);
}

static bool envelope(const struct head *head, struct bytes map, struct arena *arena,
                     struct split_event *out)
{
    struct writer writer = writer_in(arena);
    struct pack_map outer = pack_map_open(&writer, ENVELOPE_FIELDS);
    struct bytes packed;

    *out = (struct split_event){.type = head->type, .account = head->account};
    pack_text(&outer, "type", head->type);
    pack_text(&outer, "timestamp", head->timestamp);
    pack_raw(&outer, "data", map);
    pack_map_close(&outer);
    return writer_keep(&writer, arena, &packed) && msgpack_to_json(packed, arena, &out->json);
}

static bool split_list(struct bytes array, struct arena *arena, struct split *out,
                       char problem[static PROBLEM_SIZE])
{
    struct bytes element;
    struct value value;
    struct head head;

    out->is_list = true;
    if (!value_read(&array, &value) || value.count > EVENT_LIST_MAX)
        return problem_set(problem, PROBLEM_SIZE, "events: must be at most %d", EVENT_LIST_MAX);
    out->events = arena_take(arena, (value.count + 1U) * sizeof *out->events);
    if (out->events == NULL) return problem_set(problem, PROBLEM_SIZE, "events: no memory is left");
    for (; out->count < value.count; out->count++) {
        if (!value_take(&array, &element) || !head_read(element, (struct text){0}, &head, problem))
            return unpack_problem_in("events", problem);
        if (!envelope(&head, element, arena, &out->events[out->count]))
            return problem_set(problem, PROBLEM_SIZE, "events: no memory is left");
    }
    return true;
}

bool split_message(struct codec *codec, struct bytes body, struct text type, struct arena *arena,
                   struct split *out, char problem[static PROBLEM_SIZE])
{
    bool is_json = body.size > 0 && body.data[0] == '{';
    struct bytes map;
    struct head head;

    *out = (struct split){0};
    if (!unpack_body(codec, body, is_json ? ENCODING_JSON : ENCODING_MSGPACK, arena, &map,
                     problem) ||
        !head_read(map, type, &head, problem))
        return false;
    if (text_equal(head.type, text_of(EVENT_LIST_WORD)) && head.events.size > 0)
        return split_list(head.events, arena, out, problem);
    out->events = arena_take(arena, sizeof *out->events);
    if (out->events == NULL || !envelope(&head, map, arena, out->events))
        return problem_set(problem, PROBLEM_SIZE, "event: no memory is left");
    out->count = 1;
    return true;
}
