/*
 * history.c - see history.h.
 *
 * Invariant: what is packed is unpacked to the same views.
 */
#include "protocol/history.h"

#include "protocol/pack.h"
#include "protocol/unpack.h"
#include "protocol/value.h"

enum { ENTRY_FIELDS = 16, ENTRY_AT_ONCE = 15, AS_OF_FIELDS = 2 };

static const char *const directions[] = {[false] = "debit", [true] = "credit"};

/* --- entries ----------------------------------------------------------------------------- */

void entry_pack(struct writer *writer, const struct entry_view *view)
{
    /* No entry has all of its fields. */
    struct pack_map map = pack_map_open(writer, ENTRY_AT_ONCE);

    pack_uuid(&map, "transaction", &view->transaction);
    pack_text(&map, "type", text_of(command_word(view->type)));
    if (view->moves) pack_text(&map, "direction", text_of(directions[view->is_credit]));
    pack_text(&map, "counterparty", view->counterparty);
    if (view->amount != 0) pack_int(&map, "amount", view->amount);
    pack_int(&map, "balance", view->balance);
    pack_int(&map, "held", view->held);
    pack_int(&map, "seq", view->seq);
    if (!uuid_is_zero(&view->refers))
        pack_uuid(&map, view->type == COMMAND_REVERSE ? "reverses" : "hold", &view->refers);
    if (view->type == COMMAND_SET_FLOOR) pack_int(&map, "floor", view->floor);
    pack_time(&map, "timestamp", view->timestamp_us);
    pack_hex(&map, "trace_id", &view->trace_id);
    pack_text(&map, "app_id", view->caller);
    pack_text(&map, "idempotency_key", view->key);
    pack_raw(&map, "metadata", view->metadata);
    pack_map_close(&map);
}

void history_pack(struct writer *writer, const struct history_view *view)
{
    pack_array_value(writer, view->count);
    for (uint32_t i = 0; i < view->count; i++) entry_pack(writer, &view->entries[i]);
}

static bool take_words(struct text type, struct text direction, struct entry_view *out,
                       char problem[static PROBLEM_SIZE])
{
    if (!command_type_parse(type, &out->type))
        return problem_set(problem, PROBLEM_SIZE, "type: '%.*s' is no command",
                           TEXT_ARGS(problem_quote(type)));
    out->is_credit = text_equal(direction, text_of(directions[true]));
    out->moves = direction.length > 0;
    if (out->moves && !out->is_credit && !text_equal(direction, text_of(directions[false])))
        return problem_set(problem, PROBLEM_SIZE, "direction: must be credit or debit");
    return true;
}

static bool entry_unpack(struct bytes map, struct entry_view *out,
                         char problem[static PROBLEM_SIZE])
{
    struct text type = {0}, direction = {0};
    struct uuid hold = {0}, reverses = {0};

    *out = (struct entry_view){0};
    struct field fields[ENTRY_FIELDS] = {
        {.name = "transaction", .type = FIELD_UUID, .target = &out->transaction, .required = true},
        {.name = "type", .type = FIELD_TEXT, .target = &type, .required = true},
        {.name = "direction", .type = FIELD_TEXT, .target = &direction},
        {.name = "counterparty", .type = FIELD_TEXT, .target = &out->counterparty},
        {.name = "amount", .type = FIELD_INT, .target = &out->amount},
        {.name = "balance", .type = FIELD_INT, .target = &out->balance, .required = true},
        {.name = "held", .type = FIELD_INT, .target = &out->held, .required = true},
        {.name = "seq", .type = FIELD_INT, .target = &out->seq, .required = true},
        {.name = "hold", .type = FIELD_UUID, .target = &hold},
        {.name = "reverses", .type = FIELD_UUID, .target = &reverses},
        {.name = "floor", .type = FIELD_INT, .target = &out->floor},
        {.name = "timestamp", .type = FIELD_TIME, .target = &out->timestamp_us, .required = true},
        {.name = "trace_id", .type = FIELD_HEX, .target = &out->trace_id, .required = true},
        {.name = "app_id", .type = FIELD_TEXT, .target = &out->caller},
        {.name = "idempotency_key", .type = FIELD_TEXT, .target = &out->key},
        {.name = "metadata", .type = FIELD_MAP, .target = &out->metadata},
    };
    if (!unpack_fields(map, fields, ENTRY_FIELDS, problem)) return false;
    if (!take_words(type, direction, out, problem)) return false;
    out->refers = out->type == COMMAND_REVERSE ? reverses : hold;
    return true;
}

bool history_unpack(struct bytes array, struct arena *arena, struct history_view *out,
                    char problem[static PROBLEM_SIZE])
{
    struct value head;
    struct bytes element;

    if (!value_read(&array, &head) || head.count > PAGE_ENTRIES_MAX)
        return problem_set(problem, PROBLEM_SIZE, "must be at most %d", PAGE_ENTRIES_MAX);
    struct entry_view *entries = arena_take(arena, (head.count + 1U) * sizeof *entries);
    if (entries == NULL) return problem_set(problem, PROBLEM_SIZE, "no memory is left");
    for (uint32_t i = 0; i < head.count; i++)
        if (!value_take(&array, &element) || !entry_unpack(element, &entries[i], problem))
            return false;
    out->entries = entries;
    out->count = head.count;
    return true;
}

/* --- as of ------------------------------------------------------------------------------- */

void as_of_pack(struct writer *writer, const struct as_of_view *view)
{
    struct pack_map map = pack_map_open(writer, AS_OF_FIELDS);

    if (!uuid_is_zero(&view->transaction)) pack_uuid(&map, "transaction", &view->transaction);
    pack_time(&map, "timestamp", view->timestamp_us);
    pack_map_close(&map);
}

bool as_of_unpack(struct bytes map, struct as_of_view *out, char problem[static PROBLEM_SIZE])
{
    *out = (struct as_of_view){0};
    struct field fields[AS_OF_FIELDS] = {
        {.name = "transaction", .type = FIELD_UUID, .target = &out->transaction},
        {.name = "timestamp", .type = FIELD_TIME, .target = &out->timestamp_us, .required = true},
    };
    return unpack_fields(map, fields, AS_OF_FIELDS, problem);
}
