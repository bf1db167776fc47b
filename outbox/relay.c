/*
 * relay.c - see relay.h. Invariants:
 *  1. `confirmed` is what `read` was after some page all of whose messages are confirmed, as are
 * all that were sent before it; confirm_cursor alone assigns it;
 *  2. marks are in the order of their pages, each with the sequence of the last message sent before
 * it;
 *  3. one page is in hand: the next one is read when its last row is sent and there is room for its
 * mark.
 *
 *       saved <= confirmed <= marks <= read
 */
#include "outbox/relay.h"

#include "base/broken.h"
#include "base/clock.h"
#include "base/confirms.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIRMS_PER_POLL = 512, LONE_FAILURES_MAX = 3 };

struct mark { /* the cursor may go to `after` when everything up to this sequence is confirmed */
    uint64_t sequence;
    struct cursor after;
};

struct relay {
    const struct relay_io *io;
    uint32_t save_every_ms;

    struct cursor confirmed;
    bool is_saved;
    uint64_t saved_at_ms;

    struct cursor read; /* up to the page in hand; its target is "" between two reads */
    bool is_reading;    /* the stream is open: rows may follow the page in hand */
    bool read_moved;    /* since `target` was taken, rows have come */
    struct outbox_row page[RELAY_PAGE_ROWS];
    uint32_t page_count, page_sent;

    struct mark marks[RELAY_MARKS_MAX]; /* a ring */
    uint32_t marks_first, marks_count;

    uint64_t first, next; /* sequences in flight; both 0 before the first message */
    uint32_t in_flight;
    bool is_acked[CONFIRMS_MAX];
    bool is_reply[CONFIRMS_MAX];

    /* A caller may name a reply queue that makes the broker close the connection. After a failure
     * with messages in flight, replies up to the last row sent go out alone; one that fails alone
     * LONE_FAILURES_MAX times is dropped: its result can be asked for again. Those that were are
     * remembered, as a page that has several is begun anew for each: so many as it can have. */
    int64_t sent_id, careful_until_id;
    int64_t lone_id; /* the reply that is in flight alone; 0: none */
    int64_t failed_id;
    uint32_t lone_failures;
    int64_t dropped[RELAY_PAGE_ROWS]; /* a ring */
    uint64_t dropped_count;
};

static void cursor_copy(struct cursor *to, const struct cursor *from)
{
    memcpy(to->snapshot, from->snapshot, strlen(from->snapshot) + 1);
    memcpy(to->target, from->target, strlen(from->target) + 1);
    to->position = from->position;
}

static void relay_assert_valid(const struct relay *relay)
{
    assert(relay->page_sent <= relay->page_count);
    assert(relay->page_count <= RELAY_PAGE_ROWS);
    assert(relay->marks_count <= RELAY_MARKS_MAX);
    assert(relay->first <= relay->next);
    assert(relay->next - relay->first <= CONFIRMS_MAX);
    assert((relay->in_flight == 0) == (relay->first == relay->next));
    if (relay->in_flight == 0) assert(relay->marks_count == 0);
}

bool relay_open(struct relay **out, const struct relay_io *io, uint32_t save_every_ms,
                struct err *err)
{
    struct relay *relay = calloc(1, sizeof *relay);

    *out = relay;
    if (relay == NULL) return err_set(err, ERR_FATAL, "could not open relay: out of memory");
    relay->io = io;
    relay->save_every_ms = save_every_ms;
    return true;
}

void relay_close(struct relay *relay)
{
    free(relay);
}

static void note_failure(struct relay *relay)
{
    if (relay->in_flight > 0) relay->careful_until_id = relay->sent_id;
    if (relay->in_flight > 0 && relay->lone_id != 0) {
        relay->lone_failures = relay->lone_id == relay->failed_id ? relay->lone_failures + 1 : 1;
        relay->failed_id = relay->lone_id;
        if (relay->lone_failures == LONE_FAILURES_MAX)
            relay->dropped[relay->dropped_count++ % RELAY_PAGE_ROWS] = relay->failed_id;
    }
    relay->lone_id = 0;
}

void relay_start(struct relay *relay, const struct cursor *confirmed)
{
    assert(confirmed->snapshot[0] != '\0');
    note_failure(relay);
    cursor_copy(&relay->confirmed, confirmed);
    cursor_copy(&relay->read, confirmed);
    relay->is_saved = true;
    relay->saved_at_ms = 0;
    relay->is_reading = false;
    relay->page_count = relay->page_sent = 0;
    relay->marks_first = relay->marks_count = 0;
    relay->first = relay->next = 0;
    relay->in_flight = 0;
}

const struct cursor *relay_confirmed(const struct relay *relay)
{
    return &relay->confirmed;
}

uint32_t relay_in_flight(const struct relay *relay)
{
    return relay->in_flight;
}

/* --- confirms ---------------------------------------------------------------------------- */

/* A cursor that passed no rows need not be saved. It must not be: a save changes the snapshot,
 * which would be worth a save again, for ever. */
static void confirm_cursor(struct relay *relay, const struct cursor *cursor, bool passed_rows)
{
    cursor_copy(&relay->confirmed, cursor);
    if (passed_rows) relay->is_saved = false;
}

static void advance(struct relay *relay)
{
    while (relay->first < relay->next && relay->is_acked[relay->first % CONFIRMS_MAX])
        relay->first++;
    while (relay->marks_count > 0 && relay->marks[relay->marks_first].sequence < relay->first) {
        confirm_cursor(relay, &relay->marks[relay->marks_first].after, true);
        relay->marks_first = (relay->marks_first + 1) % RELAY_MARKS_MAX;
        relay->marks_count--;
    }
}

static bool take_confirm(struct relay *relay, const struct confirm *confirm, struct err *err)
{
    bool *is_acked = &relay->is_acked[confirm->sequence % CONFIRMS_MAX];

    if (BROKEN("mark_before_confirm")) return true;
    if (confirm->sequence < relay->first || confirm->sequence >= relay->next || *is_acked)
        return err_set(err, ERR_RETRY, "could not take the confirm of message %ju: not in flight",
                       (uintmax_t)confirm->sequence);
    switch (confirm->result) {
    case CONFIRM_ACK:
        *is_acked = true;
        relay->in_flight--;
        return true;
    case CONFIRM_NACK:
        if (relay->is_reply[confirm->sequence %
                            CONFIRMS_MAX]) { /* its queue is full: the caller's matter */
            *is_acked = true;
            relay->in_flight--;
            return true;
        }
        return err_set(err, ERR_RETRY, "could not publish: the broker refused a message (nack)");
    case CONFIRM_RETURNED:
        return err_set(err, ERR_RETRY, "could not publish a dead letter: no queue is bound for it");
    }
    assert(false && "a result that is none");
    return false;
}

static bool take_confirms(struct relay *relay, uint32_t wait_ms, uint32_t *taken, struct err *err)
{
    struct confirm confirms[CONFIRMS_PER_POLL];

    if (!relay->io->poll(relay->io->context, wait_ms, confirms, CONFIRMS_PER_POLL, taken, err))
        return false;
    assert(*taken <= CONFIRMS_PER_POLL);
    for (uint32_t i = 0; i < *taken; i++)
        if (!take_confirm(relay, &confirms[i], err)) return false;
    advance(relay);
    return true;
}

/* --- reading ----------------------------------------------------------------------------- */

/* The page in hand is sent, or was empty: the cursor may go to what `read` is now once all is
 * confirmed that was sent so far. */
static void mark_page(struct relay *relay)
{
    uint32_t last = (relay->marks_first + relay->marks_count - 1) % RELAY_MARKS_MAX;

    if (relay->in_flight == 0) {
        confirm_cursor(relay, &relay->read, relay->read_moved);
    } else if (relay->marks_count > 0 && relay->marks[last].sequence == relay->next - 1) {
        cursor_copy(&relay->marks[last].after, &relay->read);
    } else {
        assert(relay->marks_count < RELAY_MARKS_MAX);
        last = (relay->marks_first + relay->marks_count++) % RELAY_MARKS_MAX;
        relay->marks[last].sequence = relay->next - 1;
        cursor_copy(&relay->marks[last].after, &relay->read);
    }
}

static bool read_page(struct relay *relay, struct err *err)
{
    bool end = false;

    assert(relay->page_sent == relay->page_count);
    relay->page_count = relay->page_sent = 0;
    if (!relay->io->read(relay->io->context, relay->page, RELAY_PAGE_ROWS, &relay->page_count, &end,
                         err)) {
        relay->page_count = 0;
        return false;
    }
    assert(end || relay->page_count > 0);
    if (relay->page_count > 0) {
        assert(relay->page[0].id > relay->read.position);
        relay->read.position = relay->page[relay->page_count - 1].id;
    }
    relay->read_moved = relay->read.position > 0;
    relay->is_reading = !end;
    if (end) {
        memcpy(relay->read.snapshot, relay->read.target, strlen(relay->read.target) + 1);
        relay->read.target[0] = '\0';
        relay->read.position = 0;
    }
    if (relay->page_count == 0) mark_page(relay);
    return true;
}

/* What has become visible since the last read; a read that a predecessor began is finished first.
 */
static bool read_begin(struct relay *relay, struct err *err)
{
    assert(relay->read.target[0] != '\0' || relay->read.position == 0);
    if (!relay->io->read_begin(relay->io->context, &relay->read, err)) return false;
    assert(relay->read.target[0] != '\0');
    relay->is_reading = true;
    return true;
}

/* *found says whether there is something to publish. */
static bool read_next(struct relay *relay, bool *found, struct err *err)
{
    *found = relay->page_sent < relay->page_count;
    if (*found || relay->marks_count == RELAY_MARKS_MAX) return true;
    if (!relay->is_reading && !read_begin(relay, err)) return false;
    if (!read_page(relay, err)) return false;
    *found = relay->page_sent < relay->page_count;
    return true;
}

/* --- publishing -------------------------------------------------------------------------- */

static void sent_one(struct relay *relay, const struct outbox_row *row, uint64_t sequence)
{
    if (relay->next == 0) relay->first = relay->next = sequence;
    assert(sequence == relay->next);
    relay->is_acked[sequence % CONFIRMS_MAX] = false;
    relay->is_reply[sequence % CONFIRMS_MAX] = row->kind == OUTBOX_REPLY;
    relay->sent_id = row->id;
    relay->next++;
    if (BROKEN("mark_before_confirm"))
        relay->is_acked[sequence % CONFIRMS_MAX] = true;
    else
        relay->in_flight++;
}

static bool is_dropped(const struct relay *relay, int64_t id)
{
    for (uint32_t i = 0; i < RELAY_PAGE_ROWS && i < relay->dropped_count; i++)
        if (relay->dropped[i] == id) return true;
    return false;
}

enum send { SEND_NOW, SEND_LATER, SEND_NEVER };

static enum send when_to_send(struct relay *relay, const struct outbox_row *row)
{
    if (relay->io->events_only && row->kind != OUTBOX_EVENT) return SEND_NEVER;
    if (relay->lone_id != 0 && relay->in_flight > 0) return SEND_LATER;
    relay->lone_id = 0;
    if (row->kind != OUTBOX_REPLY || row->id > relay->careful_until_id) return SEND_NOW;
    if (is_dropped(relay, row->id)) return SEND_NEVER;
    if (relay->in_flight > 0) return SEND_LATER;
    relay->lone_id = row->id;
    return SEND_NOW;
}

static bool publish_page(struct relay *relay, uint32_t *sent, struct err *err)
{
    if (relay->page_sent == relay->page_count) return true;
    while (relay->page_sent < relay->page_count && relay->io->room(relay->io->context) > 0 &&
           relay->next - relay->first < CONFIRMS_MAX) {
        const struct outbox_row *row = &relay->page[relay->page_sent];
        enum send when = when_to_send(relay, row);
        uint64_t sequence = 0;
        if (when == SEND_LATER) break;
        if (when == SEND_NOW) {
            if (!relay->io->publish(relay->io->context, row, &sequence, err)) return false;
            sent_one(relay, row, sequence);
            (*sent)++;
        }
        relay->page_sent++;
    }
    if (relay->page_sent == relay->page_count) mark_page(relay);
    return true;
}

/* --- the turn ---------------------------------------------------------------------------- */

static bool save(struct relay *relay, uint64_t now_ms, struct err *err)
{
    if (!relay->io->save(relay->io->context, &relay->confirmed, err)) return false;
    relay->is_saved = true;
    relay->saved_at_ms = now_ms;
    return true;
}

/* Publish, confirm, then move the cursor. A crash between the last two sends messages twice, which
 * consumers must bear; the other order would lose them. */
bool relay_turn(struct relay *relay, uint64_t now_ms, uint32_t wait_ms, uint32_t *sent, bool *idle,
                struct err *err)
{
    uint32_t taken = 0;
    bool found = false;

    *sent = 0;
    *idle = false;
    relay_assert_valid(relay);
    if (!read_next(relay, &found, err)) return false;
    if (!publish_page(relay, sent, err)) return false;
    if (!take_confirms(relay, *sent > 0 ? 0 : wait_ms, &taken, err)) return false;
    if (!relay->is_saved && now_ms - relay->saved_at_ms >= relay->save_every_ms &&
        !save(relay, now_ms, err))
        return false;
    *idle = !found && relay->in_flight == 0;
    relay_assert_valid(relay);
    return true;
}

bool relay_settle(struct relay *relay, uint32_t wait_ms, struct err *err)
{
    uint64_t now_ms = clock_monotonic_ms(), deadline_ms = now_ms + wait_ms;

    while (relay->in_flight > 0 && now_ms < deadline_ms) {
        uint32_t taken = 0;
        if (!take_confirms(relay, (uint32_t)(deadline_ms - now_ms), &taken, err)) return false;
        now_ms = clock_monotonic_ms();
    }
    return relay->is_saved || save(relay, now_ms, err);
}
