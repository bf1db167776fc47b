/*
 * relay_process.c - connections, the lead and the policy, put together. Invariants:
 *  1. the lead, the cursor's saves and the rotation are on one connection: who has lost it can do
 * none of them. Rows are streamed over another one, as a stream lets nothing else pass;
 *  2. after any failure everything is closed, and begun again from the saved cursor;
 *  3. the broker is connected to only when the first page is in hand: sorting a large backlog takes
 * the database so long that the broker would have given up the silent connection;
 *  4. a row that AMQP cannot carry becomes a dead letter that tells so: it must not hold up all
 * others.
 */
#include "outbox/relay_process.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/health.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/topology_amqp.h"
#include "ledger/migrate_pg.h"
#include "outbox/behind.h"
#include "outbox/relay.h"
#include "outbox/relay_report.h"
#include "outbox/unpublished_pg.h"
#include "protocol/names.h"
#include "protocol/properties.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGE_SIZE = 2 * OUTBOX_ROW_SIZE_MAX,
    SCRATCH_SIZE = 512 * 1024, /* one message's properties, written anew */
    STAND_BY_MS = 500,
    PAUSE_STEP_MS = 100,
    ROTATE_EVERY_MS = 1000,
    EAGER_FOR_MS = 5,
    EAGER_SLEEP_US = 200,
    BUSY_FOR_MS = 50,
    SETTLE_MS = 1000,
};

static const char SINK[] = "amqp";

struct relay_process {
    const struct relay_settings *settings;
    struct names names;
    struct relay_io io;
    struct relay *relay;
    struct arena page, scratch;

    struct db *db;     /* the lead, saves, rotation */
    struct db *reader; /* the stream */
    struct publisher *publisher;
    bool topology_applied;
    bool leads, is_reading, is_blocked;
    struct leadership leadership;

    struct backoff backoff;
    enum relay_dependency failing; /* whose call was made last */
    uint32_t wait_ms;
    uint64_t rotate_at_ms, traffic_ms;
    struct behind behind;
};

/* --- messages ---------------------------------------------------------------------------- */

static bool has_message_id(struct bytes raw)
{
    struct properties properties;
    return properties_parse(raw, &properties) && properties.message_id.length > 0;
}

/* Replies and events may find nobody: a caller may have gone. Dead letters may not. (What comes
 * back is known by its message_id, so one without it cannot be asked for.) */
static struct message message_of(const struct relay_process *process, const struct outbox_row *row)
{
    struct message message = {.routing_key = row->destination, .body = row->body};

    switch (row->kind) {
    case OUTBOX_EVENT:
        message.exchange = text_of(process->names.events);
        break;
    case OUTBOX_REPLY:
        break;
    case OUTBOX_DEAD_LETTER:
        message.exchange = text_of(process->names.dlx);
        message.mandatory = has_message_id(row->properties);
        break;
    }
    return message;
}

static struct header header_number(const char *name, int64_t number)
{
    return (struct header){.name = text_of(name), .is_number = true, .number = number};
}

/* The body alone, with what is known about it. */
static bool publish_remains(struct relay_process *process, const struct outbox_row *row,
                            uint64_t *sequence, struct err *err)
{
    char message_id[32];
    struct header headers[] = {
        {.name = TEXT_LITERAL("x-ledger-reason"), .text = TEXT_LITERAL("unpublishable")},
        {.name = TEXT_LITERAL("x-ledger-error"), .text = text_of(err->text)},
        header_number("x-ledger-kind", row->kind),
        header_number("x-ledger-epoch", (int64_t)process->leadership.epoch),
        header_number("x-ledger-position", row->id)};
    struct properties_out properties = {.headers = headers,
                                        .headers_count = sizeof headers / sizeof headers[0]};
    struct message message = {
        .exchange = text_of(process->names.dlx), .body = row->body, .mandatory = true};

    log_error("outbox row %jd goes to the dead letters: %s", (intmax_t)row->id, err->text);
    relay_report_unpublishable();
    (void)snprintf(message_id, sizeof message_id, "outbox:%jd", (intmax_t)row->id);
    properties.message_id = text_of(message_id);
    arena_reset(&process->scratch);
    if (!properties_write(&properties, &process->scratch, &message.properties))
        return err_set(err, ERR_FATAL, "could not write properties: they are too large");
    return publisher_send(process->publisher, &message, sequence, err);
}

static bool publish(struct relay_process *process, const struct outbox_row *row, uint64_t *sequence,
                    struct err *err)
{
    struct header headers[] = {header_number("x-ledger-epoch", (int64_t)process->leadership.epoch),
                               header_number("x-ledger-position", row->id)};
    struct message message = message_of(process, row);

    arena_reset(&process->scratch);
    if (!properties_extend(row->properties, headers, 2, false, &process->scratch,
                           &message.properties))
        return err_set(err, ERR_REJECT, "could not extend its properties: they are none");
    return publisher_send(process->publisher, &message, sequence, err);
}

/* --- the relay's edges ------------------------------------------------------------------- */

static bool io_read_begin(void *context, struct cursor *cursor, struct err *err)
{
    struct relay_process *process = context;
    int64_t now_ms = (int64_t)clock_monotonic_ms();
    bool is_new = cursor->target[0] == '\0';

    process->failing = RELAY_POSTGRES;
    process->is_reading = true;
    if (!outbox_read_begin(process->reader, cursor, err)) return false;
    if (is_new) behind_follow(&process->behind, cursor->target, now_ms);
    return true;
}

static bool io_read(void *context, struct outbox_row *rows, uint32_t max, uint32_t *count,
                    bool *end, struct err *err)
{
    struct relay_process *process = context;

    process->failing = RELAY_POSTGRES;
    arena_reset(&process->page); /* the rows of the page before are sent */
    if (!outbox_read(process->reader, &process->page, rows, max, count, end, err)) return false;
    process->is_reading = !*end;
    return true;
}

static uint32_t io_room(void *context)
{
    const struct relay_process *process = context;
    return process->publisher == NULL ? 0 : publisher_room(process->publisher);
}

static bool io_publish(void *context, const struct outbox_row *row, uint64_t *sequence,
                       struct err *err)
{
    struct relay_process *process = context;

    process->failing = RELAY_RABBITMQ;
    if (publish(process, row, sequence, err)) return true;
    return err->kind == ERR_REJECT && publish_remains(process, row, sequence, err);
}

static bool io_poll(void *context, uint32_t wait_ms, struct confirm *out, uint32_t max,
                    uint32_t *count, struct err *err)
{
    struct relay_process *process = context;
    const struct relay_settings *settings = process->settings;
    struct publisher_options options = {.url = settings->amqp_url,
                                        .name = settings->name,
                                        .heartbeat_s = settings->heartbeat_s,
                                        .timeout_ms = settings->timeout_ms,
                                        .window = settings->window};

    process->failing = RELAY_RABBITMQ;
    *count = 0;
    if (process->publisher == NULL) return publisher_open(&process->publisher, &options, err);
    if (!publisher_poll(process->publisher, wait_ms, out, max, count, err)) return false;
    relay_report_confirms(out, *count);
    return true;
}

static bool io_save(void *context, const struct cursor *cursor, struct err *err)
{
    struct relay_process *process = context;

    process->failing = RELAY_POSTGRES;
    if (!outbox_save(process->db, SINK, cursor, err)) return false;
    backoff_reset(&process->backoff); /* there was progress */
    return true;
}

/* --- opening and closing ----------------------------------------------------------------- */

static void disconnect(struct relay_process *process)
{
    publisher_close(process->publisher);
    process->publisher = NULL;
    db_close(process->reader);
    process->reader = NULL;
    db_close(process->db);
    process->db = NULL;
    process->leads = process->is_reading = process->is_blocked = false;
}

bool relay_process_open(struct relay_process **out, const struct relay_settings *settings,
                        struct err *err)
{
    struct relay_process *process = calloc(1, sizeof *process);

    *out = process;
    if (process == NULL) return err_set(err, ERR_FATAL, "could not open relay: out of memory");
    process->settings = settings;
    process->backoff = (struct backoff){.first_ms = 100, .most_ms = 5000};
    behind_begin(&process->behind, (int64_t)clock_monotonic_ms());
    process->io = (struct relay_io){.context = process,
                                    .read_begin = io_read_begin,
                                    .read = io_read,
                                    .room = io_room,
                                    .publish = io_publish,
                                    .poll = io_poll,
                                    .save = io_save};
    relay_report_open();
    health_require(HEALTH_POSTGRES);
    health_require(HEALTH_RABBITMQ);
    return names_make(&process->names, settings->prefix, settings->shards, err) &&
           arena_open(&process->page, PAGE_SIZE, err) &&
           arena_open(&process->scratch, SCRATCH_SIZE, err) &&
           relay_open(&process->relay, &process->io, settings->save_every_ms, err);
}

void relay_process_close(struct relay_process *process)
{
    if (process == NULL) return;
    disconnect(process);
    relay_close(process->relay);
    arena_close(&process->page);
    arena_close(&process->scratch);
    free(process);
}

/* --- connections and the lead ------------------------------------------------------------ */

static bool connect_database(struct relay_process *process, struct err *err)
{
    const struct relay_settings *settings = process->settings;
    struct db_options options = {.url = settings->database_url,
                                 .application_name = settings->name,
                                 .role = settings->database_role,
                                 .connect_timeout_ms = settings->timeout_ms,
                                 .answer_timeout_ms = settings->answer_timeout_ms,
                                 .lock_timeout_ms = settings->answer_timeout_ms / 2};

    if (process->reader != NULL) return true;
    process->failing = RELAY_POSTGRES;
    if (!db_open(&process->db, &options, err) || !migrate_check(process->db, err) ||
        !outbox_tune(process->db, err))
        return false;
    options.answer_timeout_ms = settings->read_timeout_ms;
    if (!db_open(&process->reader, &options, err) || !outbox_tune(process->reader, err))
        return false;
    health_set(HEALTH_POSTGRES, HEALTH_UP);
    log_info("connected to PostgreSQL");
    return true;
}

/* Before anything that needs the broker: it may be away. */
static bool look_behind(struct relay_process *process, struct err *err)
{
    struct unpublished unpublished;

    if (process->leads) return true;
    process->failing = RELAY_POSTGRES;
    if (!unpublished_look(process->db, SINK, &unpublished, err)) return false;
    int64_t now_ms = (int64_t)clock_monotonic_ms();
    behind_look(&process->behind, unpublished.some, now_ms - (int64_t)unpublished.saved_ms, now_ms);
    return true;
}

static bool apply_topology(struct relay_process *process, struct err *err)
{
    static struct names_topology topology;
    enum topology_mode mode = (enum topology_mode)process->settings->topology_mode;

    if (process->topology_applied) return true;
    process->failing = RELAY_RABBITMQ;
    names_topology(&process->names, &topology);
    if (!topology_apply(process->settings->amqp_url, &topology.topology, mode, err)) return false;
    process->topology_applied = true;
    health_set(HEALTH_RABBITMQ, HEALTH_UP);
    return true;
}

static bool take_lead(struct relay_process *process, struct err *err)
{
    if (process->leads) return true;
    process->failing = RELAY_POSTGRES;
    if (!outbox_lead(process->db, SINK, &process->leads, &process->leadership, err)) return false;
    if (!process->leads) {
        clock_sleep_ms(STAND_BY_MS);
        return true;
    }
    relay_start(process->relay, &process->leadership.cursor);
    log_info("leading, epoch %ju", (uintmax_t)process->leadership.epoch);
    return true;
}

/* --- the turn ---------------------------------------------------------------------------- */

static void note_blocked(struct relay_process *process)
{
    bool is_blocked = process->publisher != NULL && publisher_blocked(process->publisher);

    if (is_blocked == process->is_blocked) return;
    process->is_blocked = is_blocked;
    if (is_blocked) log_warn("the broker is short of memory or disk: publishing waits");
    if (!is_blocked) log_info("the broker takes messages again");
}

/* How long to wait for the broker's frames in the next turn. A caller that waits for its reply
 * sends its next command a few milliseconds later: so right after traffic the outbox is looked at
 * again very soon, for a while soon, and then less and less often. */
static uint32_t wait_next_ms(struct relay_process *process, uint64_t now_ms, bool idle)
{
    uint32_t most_ms = process->settings->poll_idle_ms, least_ms = process->settings->poll_busy_ms;

    if (process->is_blocked) return most_ms;
    if (!idle) {
        process->traffic_ms = now_ms;
        return least_ms; /* confirms are awaited: they end the wait */
    }
    uint64_t quiet_ms = now_ms - process->traffic_ms;
    if (quiet_ms < EAGER_FOR_MS) {
        clock_sleep_us(EAGER_SLEEP_US);
        return 0;
    }
    if (quiet_ms < BUSY_FOR_MS) return least_ms;
    if (process->wait_ms < least_ms) return least_ms;
    return process->wait_ms * 2 < most_ms ? process->wait_ms * 2 : most_ms;
}

static bool rotate(struct relay_process *process, uint64_t now_ms, struct err *err)
{
    const struct relay_settings *settings = process->settings;
    bool rotated = false;

    if (process->is_reading || now_ms < process->rotate_at_ms) return true;
    process->rotate_at_ms = now_ms + ROTATE_EVERY_MS;
    process->failing = RELAY_POSTGRES;
    if (!outbox_rotate(process->db, settings->rows_max, settings->age_max_s, &rotated, err))
        return false;
    if (!rotated) return true;
    relay_report_rotation();
    log_info("began the next outbox partition");
    return true;
}

static void report(struct relay_process *process)
{
    uint32_t in_flight = process->leads ? relay_in_flight(process->relay) : 0;

    relay_report_state(process->leads, process->is_blocked, in_flight,
                       behind_ms(&process->behind, (int64_t)clock_monotonic_ms()));
}

static bool turn(struct relay_process *process, struct err *err)
{
    uint64_t now_ms;
    uint32_t sent = 0;
    bool idle = false;

    if (!connect_database(process, err)) return false;
    if (!look_behind(process, err)) return false;
    if (!apply_topology(process, err)) return false;
    if (!take_lead(process, err)) return false;
    if (!process->leads) return true;
    now_ms = clock_monotonic_ms();
    if (!relay_turn(process->relay, now_ms, process->wait_ms, &sent, &idle, err)) return false;
    behind_turn(&process->behind, relay_confirmed(process->relay)->snapshot, idle, (int64_t)now_ms);
    note_blocked(process);
    process->wait_ms = wait_next_ms(process, now_ms, idle);
    return rotate(process, now_ms, err);
}

bool relay_process_turn(struct relay_process *process, struct err *err)
{
    bool ok;

    health_beat();
    process->failing = RELAY_RABBITMQ;
    ok = turn(process, err);
    if (!ok) {
        relay_report_transient(process->failing);
        health_set(process->failing == RELAY_POSTGRES ? HEALTH_POSTGRES : HEALTH_RABBITMQ,
                   HEALTH_DOWN);
        if (process->leads || process->failing == RELAY_POSTGRES) behind_fail(&process->behind);
        process->topology_applied = false; /* a queue or a binding may be gone */
        disconnect(process);
    }
    report(process);
    return ok;
}

void relay_process_pause(struct relay_process *process)
{
    uint32_t random, left_ms;

    random_bytes(&random, sizeof random);
    left_ms = backoff_next_ms(&process->backoff, random);
    while (left_ms > 0 && !stop_requested()) {
        uint32_t step_ms = left_ms < PAUSE_STEP_MS ? left_ms : PAUSE_STEP_MS;
        clock_sleep_ms(step_ms);
        left_ms -= step_ms;
        health_beat();
        report(process);
    }
}

bool relay_process_settle(struct relay_process *process, struct err *err)
{
    if (!process->leads) return true;
    return relay_settle(process->relay, process->is_blocked ? 0 : SETTLE_MS, err);
}
