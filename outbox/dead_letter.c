/*
 * dead_letter.c - see dead_letter.h. Ensures that there is a dead letter whatever the original
 * held: one whose headers cannot be kept is kept without them, because a message that can neither
 * be decided nor be put aside would hold its queue up for ever.
 */
#include "outbox/dead_letter.h"

#include "base/clock.h"
#include "protocol/properties_wire.h"

#include <assert.h>
#include <string.h>

enum {
    HEADERS_MAX = 11,
    /* Properties must fit in one frame, 128 KiB by default, with our headers and the relay's. */
    ORIGINAL_SIZE_MAX = 120 * 1024,
    ATTEMPTS_MAX = 1000000, /* as a number that grows by one it gets nowhere near */
};

struct history {             /* of a message that was dead before */
    struct text first_death; /* empty: it was not */
    int64_t attempts;
};

static int64_t number_of(struct bytes value)
{
    uint64_t number = 0;

    for (uint32_t i = 0; i < value.size; i++) number = number << 8 | value.data[i];
    return (int64_t)number;
}

/* False when the properties cannot be kept. What looks wrong in the history is taken for absent:
 * anyone may send such headers. */
static bool history_read(struct bytes properties, struct history *out)
{
    struct parts parts;
    struct entry entry;

    *out = (struct history){0};
    if (properties.size > ORIGINAL_SIZE_MAX || !parts_take(properties, &parts)) return false;
    struct bytes table = parts.part[PROPERTY_HEADERS];
    while (table.size > 0) {
        if (!entry_take(&table, &entry)) return false;
        if (entry.type == FIELD_LONG_TEXT && entry.value.size < TIME_TEXT_SIZE &&
            header_name_equal(entry.name, TEXT_LITERAL("x-ledger-first-death")))
            out->first_death = (struct text){(const char *)entry.value.data, entry.value.size};
        if (entry.type == FIELD_INT64 &&
            header_name_equal(entry.name, TEXT_LITERAL("x-ledger-attempts")))
            out->attempts = number_of(entry.value);
    }
    if (out->attempts < 0 || out->attempts > ATTEMPTS_MAX) out->attempts = 0;
    return true;
}

static struct header header_text(const char *name, struct text text)
{
    return (struct header){.name = text_of(name), .text = text};
}

static uint32_t headers_make(const struct work *work, const struct history *history,
                             struct text now, bool lost, struct header headers[static HEADERS_MAX])
{
    const struct incoming *incoming = &work->request->incoming;
    const struct reply *reply = &work->reply;
    struct text user_id = work->request->properties.user_id;
    struct text expiration = work->request->properties.expiration;
    struct text sentence = reply->message;
    uint32_t count = 0;

    if (sentence.length == 0) sentence = text_of(result_sentence(reply->result));
    headers[count++] = header_text("x-ledger-reason", text_of(result_word(reply->result)));
    headers[count++] = header_text("x-ledger-error", sentence);
    headers[count++] = header_text("x-ledger-queue", incoming->queue);
    headers[count++] = header_text("x-ledger-exchange", incoming->exchange);
    headers[count++] = header_text("x-ledger-routing-key", incoming->routing_key);
    headers[count++] = header_text("x-ledger-first-death",
                                   history->first_death.length > 0 ? history->first_death : now);
    headers[count++] = header_text("x-ledger-last-death", now);
    headers[count++] = (struct header){.name = TEXT_LITERAL("x-ledger-attempts"),
                                       .is_number = true,
                                       .number = history->attempts + 1};
    if (expiration.length > 0) headers[count++] = header_text("x-ledger-expiration", expiration);
    if (user_id.length > 0) headers[count++] = header_text("x-ledger-user-id", user_id);
    if (lost) headers[count++] = header_text("x-ledger-headers-lost", TEXT_LITERAL("true"));
    assert(count <= HEADERS_MAX);
    return count;
}

bool dead_letter_properties(const struct work *work, int64_t now_us, struct arena *arena,
                            struct bytes *out)
{
    const struct properties *properties = &work->request->properties;
    struct bytes raw = work->request->incoming.properties;
    struct header headers[HEADERS_MAX];
    struct history history;
    char now[TIME_TEXT_SIZE];

    assert(work->reply.result != RESULT_APPLIED);
    time_format(now_us, now);
    bool kept = history_read(raw, &history);
    uint32_t count = headers_make(work, &history, text_of(now), !kept, headers);
    if (kept) return properties_extend(raw, headers, count, true, arena, out);
    struct properties_out bare = {.content_type = properties->content_type,
                                  .type = properties->type,
                                  .message_id = properties->message_id,
                                  .correlation_id = properties->correlation_id,
                                  .reply_to = properties->reply_to,
                                  .app_id = properties->app_id,
                                  .headers = headers,
                                  .headers_count = count};
    return properties_write(&bare, arena, out);
}
