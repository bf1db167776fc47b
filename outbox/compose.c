/*
 * compose.c - see compose.h. Ensures:
 *  1. every outcome of this batch owes at least one event, and no repeat owes any;
 *  2. an event tells the outcome's own figures, so it needs no second read and cannot tell later
 * ones;
 *  3. what goes into a text column is text, so that no row can keep its batch from being stored.
 */
#include "outbox/compose.h"

#include "outbox/dead_letter.h"
#include "protocol/event_list.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_ID_SIZE = UUID_TEXT_SIZE + 12, TRACE_HEADERS_MAX = 3, US_PER_S = 1000000 };
enum { EVENTS_PER_WORK = 2 };
_Static_assert(EVENTS_PER_WORK + 1 <= OUTBOX_ROWS_PER_WORK,
               "two events and a reply, or a dead letter and a reply");
_Static_assert(EVENTS_PER_WORK *LEGS_MAX == EVENT_LIST_MAX, "a reader takes what is written");

struct composer {
    const struct batch *batch;
    const struct compose_options *options;
    struct codec *codec;
    struct outbox_row *rows;
    uint32_t count;
    char traceparent[TRACEPARENT_SIZE]; /* of the work in hand */
    struct event *events;               /* what it has to tell */
    uint32_t events_count, events_max;
};

/* --- properties -------------------------------------------------------------------------- */

static uint32_t trace_headers(const struct composer *composer, const struct trace *trace,
                              struct header headers[static TRACE_HEADERS_MAX])
{
    uint32_t count = 0;

    headers[count++] = (struct header){.name = TEXT_LITERAL("traceparent"),
                                       .text = text_of(composer->traceparent)};
    if (trace->tracestate.length > 0)
        headers[count++] =
            (struct header){.name = TEXT_LITERAL("tracestate"), .text = trace->tracestate};
    if (trace->verbatim.length > 0)
        headers[count++] =
            (struct header){.name = TEXT_LITERAL("x-trace-id"), .text = trace->verbatim};
    return count;
}

static bool write_properties(const struct composer *composer, const struct work *work,
                             const char *type, const char *message_id, enum encoding encoding,
                             int64_t time_us, struct bytes *out)
{
    const struct request *request = work->request;
    struct header headers[TRACE_HEADERS_MAX];

    struct properties_out properties = {.content_type = text_of(encoding_content_type(encoding)),
                                        .type = text_of(type),
                                        .message_id = text_of(message_id),
                                        .correlation_id = request->properties.correlation_id,
                                        .timestamp_s = time_us / US_PER_S,
                                        .headers = headers,
                                        .headers_count =
                                            trace_headers(composer, &request->trace, headers)};
    return properties_write(&properties, composer->batch->arena, out);
}

/* <outcome id>:<suffix> */
static void message_id_format(const struct work *work, const char *suffix,
                              char text[static MESSAGE_ID_SIZE])
{
    char id[UUID_TEXT_SIZE];

    uuid_format(&work->id, id);
    (void)snprintf(text, MESSAGE_ID_SIZE, "%s:%s", id, suffix);
}

/* --- events ------------------------------------------------------------------------------ */

static struct outbox_row *add_event_row(struct composer *composer, const char *word)
{
    struct outbox_row *row = &composer->rows[composer->count++];

    *row = (struct outbox_row){.kind = OUTBOX_EVENT, .destination = text_of(word)};
    return row;
}

/* Of the message's place among those of one outcome: 0, 1, ... */
static bool write_event_properties(const struct composer *composer, const struct work *work,
                                   const char *word, uint32_t number, struct bytes *out)
{
    char message_id[MESSAGE_ID_SIZE], suffix[12];

    (void)snprintf(suffix, sizeof suffix, "%u", number);
    message_id_format(work, suffix, message_id);
    return write_properties(composer, work, word, message_id, composer->options->event_encoding,
                            work->reply.timestamp_us, out);
}

/* Room for what one work may have to tell, or the largest batch. */
static bool take_events(struct composer *composer)
{
    const struct batch *batch = composer->batch;
    uint32_t works = 1;

    for (uint32_t i = 0; i < batch->works_count; i++)
        if (batch->works[i].legs_count > works) works = batch->works[i].legs_count;
    composer->events_max = EVENTS_PER_WORK * works;
    composer->events = arena_take(batch->arena, composer->events_max * sizeof *composer->events);
    return composer->events != NULL;
}

static void add_event(struct composer *composer, const struct event *event)
{
    assert(composer->events_count < composer->events_max);
    composer->events[composer->events_count++] = *event;
}

/* What every event of this outcome tells. */
static struct event event_begin(const struct work *work, enum event_type type)
{
    const struct request *request = work->request;
    struct event event = {.type = type,
                          .transaction = work->id,
                          .command = request->command.type,
                          .result = work->outcome.result,
                          .caller = request->caller,
                          .key = request->key,
                          .timestamp_us = work->reply.timestamp_us,
                          .trace_id = request->trace.trace_id,
                          .expires_us = work->outcome.expires_us,
                          .metadata = request->command.metadata};
    const struct uuid *ends = ledger_ends(work);

    if (work->outcome.target != NULL) event.refers = work->outcome.target->id;
    if (ends != NULL) event.scheduled = *ends;
    return event;
}

static void event_set_account(struct event *event, const struct side *side)
{
    const struct account *account = side->account;

    event->account = account->id;
    event->user_id = account->user_id;
    event->asset = account->asset->code;
    event->has_balance = account->kind == ACCOUNT_USER;
    if (!event->has_balance) return; /* a system account's balance is rolled up later */
    event->new_balance = side->balance;
    event->held = side->held;
    event->seq = side->seq;
}

static bool is_world(const struct side *side, const struct asset *asset)
{
    return side->account == NULL || side->number == asset->world;
}

/* A side that is the world may have been reached by its number, without its account. */
static bool side_name(const struct side *side, const struct asset *asset, struct arena *arena,
                      struct text *out)
{
    struct writer writer;
    struct bytes name;

    if (side->account != NULL) {
        *out = side->account->id;
        return true;
    }
    writer = writer_in(arena);
    write_bytes(&writer, "world:", 6);
    write_bytes(&writer, asset->code.bytes, asset->code.length);
    if (!writer_keep(&writer, arena, &name)) return false;
    *out = (struct text){(const char *)name.data, name.size};
    return true;
}

static bool add_movement(struct composer *composer, const struct work *work)
{
    const struct outcome *outcome = &work->outcome;
    const struct side *sides[] = {&outcome->debit, &outcome->credit};
    uint32_t before = composer->events_count;

    for (uint32_t i = 0; i < 2; i++) {
        struct event event = event_begin(work, EVENT_TRANSACTION_CREATED);
        if (is_world(sides[i], outcome->asset)) continue;
        event_set_account(&event, sides[i]);
        event.is_credit = i == 1;
        event.amount = outcome->amount;
        if (!side_name(sides[1 - i], outcome->asset, composer->batch->arena, &event.counterparty))
            return false;
        add_event(composer, &event);
    }
    assert(composer->events_count > before); /* no movement has the world on both sides */
    return true;
}

static void add_change(struct composer *composer, const struct work *work, enum event_type type)
{
    const struct outcome *outcome = &work->outcome;
    const struct side *side = outcome->debit.account != NULL ? &outcome->debit : &outcome->credit;
    struct event event = event_begin(work, type);

    event_set_account(&event, side);
    event.amount = outcome->amount;
    event.frozen = (enum direction)(side->state & DIRECTION_BOTH);
    event.has_floor = type == EVENT_FLOOR_CHANGED;
    event.floor = outcome->floor;
    add_event(composer, &event);
}

/* Of what was refused or scheduled: tells what was asked for, as nothing was found or moved. */
static void add_asked(struct composer *composer, const struct work *work, enum event_type type)
{
    const struct command *command = &work->request->command;
    struct event event = event_begin(work, type);
    bool transfers = command->type == COMMAND_TRANSFER;

    event.account = transfers ? command->from : command->account;
    event.counterparty = transfers ? command->to : (struct text){0};
    event.user_id = command->user_id;
    event.asset = command->asset;
    if (type == EVENT_COMMAND_SCHEDULED) event.scheduled_us = command->conditions.not_before_us;
    if (command->type == COMMAND_CANCEL)
        event.scheduled = command->transaction;
    else if (command_has_target(command->type))
        event.refers = command->transaction;
    event.has_floor = command->type == COMMAND_SET_FLOOR && !command->amount.is_decimal;
    if (event.has_floor)
        event.floor = command->amount.value;
    else if (!command->amount.is_decimal)
        event.amount = command->amount.value;
    add_event(composer, &event);
}

static bool owes_events(const struct work *work)
{
    return work->origin == ORIGIN_DECIDED && ledger_is_kept(work);
}

static bool collect_events(struct composer *composer, const struct work *work)
{
    enum event_type type = event_type_of(work->request->command.type);
    struct event event;

    if (work->outcome.result != RESULT_APPLIED) {
        bool scheduled = work->outcome.result == RESULT_SCHEDULED;
        add_asked(composer, work, scheduled ? EVENT_COMMAND_SCHEDULED : EVENT_COMMAND_REJECTED);
    } else if (type == EVENT_COMMAND_CANCELLED) {
        event = event_begin(work, type);
        add_event(composer, &event);
    } else if (type == EVENT_USER_UPDATED) {
        event = event_begin(work, type);
        event.user_id = work->request->command.user_id;
        event.name = work->request->command.name;
        add_event(composer, &event);
    } else if (type == EVENT_TRANSACTION_CREATED) {
        return add_movement(composer, work);
    } else {
        add_change(composer, work, type);
    }
    return true;
}

static bool add_events(struct composer *composer, const struct work *work)
{
    composer->events_count = 0;
    if (!collect_events(composer, work)) return false;
    for (uint32_t i = 0; i < composer->events_count; i++) {
        const struct event *event = &composer->events[i];
        struct outbox_row *row = add_event_row(composer, event_word(event->type));
        if (!write_event_properties(composer, work, event_word(event->type), i, &row->properties) ||
            !event_encode(composer->codec, event, composer->options->event_encoding,
                          composer->batch->arena, &row->body))
            return false;
    }
    return true;
}

/* A batch that was not refused: what its legs have to tell, even if it is nothing. */
static bool add_event_list(struct composer *composer, const struct work *parent)
{
    const struct request *request = parent->request;
    uint32_t number = 0, taken;

    composer->events_count = 0;
    for (uint32_t i = 1; i <= parent->legs_count; i++)
        if (owes_events(&parent[i]) && !collect_events(composer, &parent[i])) return false;
    struct event_list list = {.batch = parent->id,
                              .scheduled = request->scheduled,
                              .caller = request->caller,
                              .key = request->key,
                              .timestamp_us = parent->reply.timestamp_us,
                              .trace_id = request->trace.trace_id,
                              .events = composer->events,
                              .count = composer->events_count};
    do {
        struct outbox_row *row = add_event_row(composer, EVENT_LIST_WORD);
        if (!write_event_properties(composer, parent, EVENT_LIST_WORD, number++,
                                    &row->properties) ||
            !event_list_encode(&list, composer->options->event_encoding, composer->batch->arena,
                               &row->body, &taken))
            return false;
        list.events += taken;
        list.count -= taken;
    } while (list.count > 0);
    return true;
}

static bool add_all_events(struct composer *composer, const struct work *work)
{
    if (!owes_events(work) || work->is_leg) return true;
    if (work->legs_count > 0 && work->outcome.result == RESULT_APPLIED)
        return add_event_list(composer, work);
    return add_events(composer, work);
}

/* --- replies and dead letters ------------------------------------------------------------ */

static bool owes_reply(const struct composer *composer, const struct work *work)
{
    struct text reply_to = work->request->properties.reply_to;

    if (work->answered || work->is_leg || reply_to.length == 0) return false;
    return !names_is_own_queue(composer->options->names, reply_to);
}

static bool add_reply(struct composer *composer, const struct work *work)
{
    const struct request *request = work->request;
    struct arena *arena = composer->batch->arena;
    struct outbox_row *row = &composer->rows[composer->count];
    char message_id[MESSAGE_ID_SIZE];

    assert(work->origin != ORIGIN_NONE || work->is_leg);
    if (!owes_reply(composer, work)) return true;
    composer->count++;
    message_id_format(work, "r", message_id);
    *row = (struct outbox_row){.kind = OUTBOX_REPLY, .destination = request->properties.reply_to};
    return write_properties(composer, work, "reply", message_id, request->encoding,
                            work->reply.timestamp_us, &row->properties) &&
           reply_encode(composer->codec, &work->reply, request->encoding, arena, &row->body);
}

/* Anyone may publish with a routing key that no text column takes; the header has it as it was. */
static struct text destination_of(struct text routing_key)
{
    bool is_text = routing_key.length > 0 && utf8_is_valid(routing_key) &&
                   memchr(routing_key.bytes, '\0', routing_key.length) == NULL;
    return is_text ? routing_key : (struct text){0};
}

static bool add_dead_letter(struct composer *composer, const struct work *work)
{
    const struct incoming *incoming = &work->request->incoming;
    struct outbox_row *row = &composer->rows[composer->count];

    if (work->origin != ORIGIN_FAULT || incoming->oversized) return true;
    composer->count++;
    *row = (struct outbox_row){.kind = OUTBOX_DEAD_LETTER,
                               .destination = destination_of(incoming->routing_key),
                               .body = incoming->body};
    return dead_letter_properties(work, composer->batch->now_us, composer->batch->arena,
                                  &row->properties);
}

static bool too_large(struct err *err)
{
    return err_set(err, ERR_REJECT, "could not compose messages: batch too large");
}

/* Replies first: somebody waits for them. */
bool compose_rows(const struct batch *batch, const struct compose_options *options,
                  struct codec *codec, struct outbox_row *rows, uint32_t *count, struct err *err)
{
    struct composer composer = {.batch = batch, .options = options, .codec = codec, .rows = rows};

    if (!take_events(&composer)) return too_large(err);
    for (uint32_t i = 0; i < batch->works_count; i++) {
        const struct work *work = &batch->works[i];
        traceparent_format(&work->request->trace, composer.traceparent);
        if (!add_reply(&composer, work)) return too_large(err);
    }
    for (uint32_t i = 0; i < batch->works_count; i++) {
        const struct work *work = &batch->works[i];
        traceparent_format(&work->request->trace, composer.traceparent);
        if (!add_all_events(&composer, work) || !add_dead_letter(&composer, work))
            return too_large(err);
    }
    assert(composer.count <= OUTBOX_ROWS_PER_WORK * batch->works_count);
    *count = composer.count;
    return true;
}

bool compose_reply(const struct batch *batch, const struct work *work,
                   const struct compose_options *options, struct codec *codec,
                   struct outbox_row *row, bool *owed, struct err *err)
{
    struct composer composer = {.batch = batch, .options = options, .codec = codec, .rows = row};

    traceparent_format(&work->request->trace, composer.traceparent);
    if (!add_reply(&composer, work))
        return err_set(err, ERR_REJECT, "could not compose reply: batch too large");
    *owed = composer.count == 1;
    return true;
}
