/*
 * event_list.c - see event_list.h.
 *
 * Invariant: what event_list_encode writes, event_list_decode reads back to the same events.
 */
#include "protocol/event_list.h"

#include "protocol/pack.h"
#include "protocol/unpack.h"
#include "protocol/value.h"

enum { LIST_FIELDS = 8, ARRAY16_HEAD = 0xdc };

/* The head is filled in when it is known how many fit, so it is of the long form. */
static uint32_t pack_events(struct writer *writer, const struct event_list *list)
{
    size_t start = writer->size;
    uint32_t taken = 0;

    write_u8(writer, ARRAY16_HEAD);
    write_u16(writer, 0);
    while (taken < list->count && writer->size - start < EVENT_LIST_SIZE && !writer->overflowed)
        event_pack(writer, &list->events[taken++]);
    if (writer->overflowed) return 0;
    writer->data[start + 1] = (uint8_t)(taken >> 8);
    writer->data[start + 2] = (uint8_t)taken;
    return taken;
}

bool event_list_encode(const struct event_list *list, enum encoding encoding, struct arena *arena,
                       struct bytes *out, uint32_t *taken)
{
    struct writer writer = writer_in(arena);
    struct pack_map map = pack_map_open(&writer, LIST_FIELDS);

    pack_text(&map, "event_type", text_of(EVENT_LIST_WORD));
    pack_uuid(&map, "batch", &list->batch);
    if (!uuid_is_zero(&list->scheduled)) pack_uuid(&map, "scheduled", &list->scheduled);
    pack_time(&map, "timestamp", list->timestamp_us);
    pack_hex(&map, "trace_id", &list->trace_id);
    pack_text(&map, "app_id", list->caller);
    pack_text(&map, "idempotency_key", list->key);
    pack_key(&map, "events");
    *taken = pack_events(&writer, list);
    pack_map_close(&map);
    if (!writer_keep(&writer, arena, out)) return false;
    return encoding == ENCODING_MSGPACK || msgpack_to_json(*out, arena, out);
}

static bool take_events(struct bytes array, struct arena *arena, struct event_list *out,
                        char problem[static PROBLEM_SIZE])
{
    struct value head;
    struct bytes element;

    if (!value_read(&array, &head) || head.count > EVENT_LIST_MAX)
        return problem_set(problem, PROBLEM_SIZE, "events: must be at most %d", EVENT_LIST_MAX);
    struct event *events = arena_take(arena, (head.count + 1U) * sizeof *events);
    if (events == NULL) return problem_set(problem, PROBLEM_SIZE, "events: no memory is left");
    for (uint32_t i = 0; i < head.count; i++)
        if (!value_take(&array, &element) || !event_unpack(element, &events[i], problem))
            return unpack_problem_in("events", problem);
    out->events = events;
    out->count = head.count;
    return true;
}

static bool take_one(struct bytes map, struct arena *arena, struct event_list *out,
                     char problem[static PROBLEM_SIZE])
{
    struct event *event = arena_take(arena, sizeof *event);

    if (event == NULL) return problem_set(problem, PROBLEM_SIZE, "event: no memory is left");
    out->events = event;
    out->count = 1;
    return event_unpack(map, event, problem);
}

bool event_list_decode(struct codec *codec, struct bytes body, enum encoding encoding,
                       struct arena *arena, struct event_list *out,
                       char problem[static PROBLEM_SIZE])
{
    struct text event_type = {0};
    struct bytes map, events = {0};

    *out = (struct event_list){0};
    if (!unpack_body(codec, body, encoding, arena, &map, problem)) return false;
    struct field head[] = {
        {.name = "event_type", .type = FIELD_TEXT, .target = &event_type, .required = true}};
    if (!unpack_fields(map, head, 1, problem)) return false;
    if (!text_equal(event_type, text_of(EVENT_LIST_WORD)))
        return take_one(map, arena, out, problem);

    struct field fields[LIST_FIELDS] = {
        {.name = "event_type", .type = FIELD_TEXT, .target = &event_type},
        {.name = "batch", .type = FIELD_UUID, .target = &out->batch, .required = true},
        {.name = "scheduled", .type = FIELD_UUID, .target = &out->scheduled},
        {.name = "timestamp", .type = FIELD_TIME, .target = &out->timestamp_us, .required = true},
        {.name = "trace_id", .type = FIELD_HEX, .target = &out->trace_id, .required = true},
        {.name = "app_id", .type = FIELD_TEXT, .target = &out->caller},
        {.name = "idempotency_key", .type = FIELD_TEXT, .target = &out->key},
        {.name = "events", .type = FIELD_ARRAY, .target = &events, .required = true},
    };
    return unpack_fields(map, fields, LIST_FIELDS, problem) &&
           take_events(events, arena, out, problem);
}
