/*
 * relay_process.c - connections, the lead and the policy, put together. Invariants:
 *  1. the lead, the cursor's saves and the rotation are on one connection: who has lost it can do
 * none of them. Rows are streamed over another one, as a stream lets nothing else pass;
 *  2. after any failure everything is closed, and begun again from the saved cursor;
 *  3. nothing here knows which broker the messages go to: that is behind struct sink_io.
 */
#include "outbox/relay_process.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/health.h"
#include "base/log.h"
#include "base/stop.h"
#include "ledger/migrate_pg.h"
#include "outbox/behind.h"
#include "outbox/relay.h"
#include "outbox/relay_report.h"
#include "outbox/sink.h"
#include "outbox/unpublished_pg.h"

#include <stdlib.h>

enum {
    PAGE_SIZE = 2 * OUTBOX_ROW_SIZE_MAX,
    STAND_BY_MS = 500,
    PAUSE_STEP_MS = 100,
    ROTATE_EVERY_MS = 1000,
    HELD_TELL_MS = 10000,
    SETTLE_MS = 1000,
    FEW_ROWS = RELAY_PAGE_ROWS,
};

struct relay_process {
    const struct relay_settings *settings;
    struct sink sink;
    struct relay_io io;
    struct relay *relay;
    struct arena page;

    struct db *db;     /* the lead, saves, rotation, large rows */
    struct db *stream; /* of rows */
    struct outbox_reader *reader;
    bool is_prepared;
    bool leads, is_reading, is_blocked;
    struct leadership leadership;

    struct backoff backoff;
    enum relay_dependency failing; /* whose call was made last */
    uint32_t found;                /* by the last look at the outbox, ... */
    uint64_t look_us;              /* which began then */
    uint64_t rotate_at_ms, held_since_ms;
    bool is_held_told;
    struct behind behind;
};

/* --- the relay's edges ------------------------------------------------------------------- */

/* A few rows at a time cost PostgreSQL and the broker several times as much as a page of them: then
 * the next look is not at once. */
static void pace(struct relay_process *process)
{
    uint64_t now_us = clock_monotonic_us();
    uint64_t due_us = process->look_us + 1000 * (uint64_t)process->settings->poll_ms;

    if (process->found > 0 && process->found < FEW_ROWS && now_us < due_us)
        clock_sleep_us((uint32_t)(due_us - now_us));
    process->look_us = clock_monotonic_us();
    process->found = 0;
}

static bool io_read_begin(void *context, struct cursor *cursor, struct err *err)
{
    struct relay_process *process = context;
    bool is_new = cursor->target[0] == '\0';

    pace(process);
    int64_t now_ms = (int64_t)clock_monotonic_ms();
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
    process->found += *count;
    return true;
}

static uint32_t io_room(void *context)
{
    const struct relay_process *process = context;
    return process->sink.io->room(process->sink.context);
}

static bool io_publish(void *context, const struct outbox_row *row, uint64_t *sequence,
                       struct err *err)
{
    struct relay_process *process = context;
    const struct sink *sink = &process->sink;

    process->failing = RELAY_BROKER;
    return sink->io->publish(sink->context, row, process->leadership.epoch, sequence, err);
}

static bool io_poll(void *context, uint32_t wait_ms, struct confirm *out, uint32_t max,
                    uint32_t *count, struct err *err)
{
    struct relay_process *process = context;

    process->failing = RELAY_BROKER;
    if (!process->sink.io->poll(process->sink.context, wait_ms, out, max, count, err)) return false;
    relay_report_confirms(out, *count);
    return true;
}

static bool io_save(void *context, const struct cursor *cursor, struct err *err)
{
    struct relay_process *process = context;

    process->failing = RELAY_POSTGRES;
    if (!outbox_save(process->db, process->sink.io->name, cursor, err)) return false;
    backoff_reset(&process->backoff); /* there was progress */
    return true;
}

/* --- opening and closing ----------------------------------------------------------------- */

static void disconnect(struct relay_process *process)
{
    if (process->sink.context != NULL) process->sink.io->disconnect(process->sink.context);
    outbox_reader_close(process->reader);
    process->reader = NULL;
    db_close(process->stream);
    process->stream = NULL;
    db_close(process->db);
    process->db = NULL;
    process->leads = process->is_reading = process->is_blocked = false;
}

static bool open_sink(struct relay_process *process, struct err *err)
{
    bool ok = process->settings->sink == SINK_KAFKA
                  ? sink_kafka_open(&process->sink, process->settings, err)
                  : sink_amqp_open(&process->sink, process->settings, err);

    if (!ok) return false;
    process->io.events_only = process->sink.io->events_only;
    relay_report_open(process->sink.io);
    health_require(HEALTH_POSTGRES);
    health_require(process->sink.io->component);
    return true;
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
    return open_sink(process, err) && arena_open(&process->page, PAGE_SIZE, err) &&
           relay_open(&process->relay, &process->io, settings->save_every_ms, err);
}

void relay_process_close(struct relay_process *process)
{
    if (process == NULL) return;
    disconnect(process);
    relay_close(process->relay);
    if (process->sink.context != NULL) process->sink.io->close(process->sink.context);
    arena_close(&process->page);
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
    if (!db_open(&process->stream, &options, err) || !outbox_tune(process->stream, err) ||
        !outbox_reader_open(&process->reader, process->stream, process->db, err))
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
    if (!unpublished_look(process->db, process->sink.io->name, &unpublished, err)) return false;
    int64_t now_ms = (int64_t)clock_monotonic_ms();
    behind_look(&process->behind, unpublished.some, now_ms - (int64_t)unpublished.saved_ms, now_ms);
    return true;
}

static bool prepare(struct relay_process *process, struct err *err)
{
    if (process->is_prepared) return true;
    process->failing = RELAY_BROKER;
    if (!process->sink.io->prepare(process->sink.context, err)) return false;
    process->is_prepared = true;
    health_set(process->sink.io->component, HEALTH_UP);
    return true;
}

static bool take_lead(struct relay_process *process, struct err *err)
{
    if (process->leads) return true;
    process->failing = RELAY_POSTGRES;
    if (!outbox_lead(process->db, process->sink.io->name, &process->leads, &process->leadership,
                     err)) {
        if (err->kind == ERR_REJECT) process->failing = RELAY_BROKER; /* it is not registered */
        return false;
    }
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
    const char *why = process->sink.io->blocked(process->sink.context);
    bool is_blocked = why != NULL;

    if (is_blocked == process->is_blocked) return;
    process->is_blocked = is_blocked;
    if (is_blocked) log_warn("%s: publishing waits", why);
    if (!is_blocked) log_info("the broker takes messages again");
}

static void note_rotation(struct relay_process *process, const struct rotation *rotation,
                          uint64_t now_ms)
{
    if (!rotation->is_held) process->held_since_ms = 0;
    if (rotation->is_held && process->held_since_ms == 0) {
        process->held_since_ms = now_ms;
        process->is_held_told = false;
    }
    uint64_t held_ms = rotation->is_held ? now_ms - process->held_since_ms : 0;
    if (held_ms >= HELD_TELL_MS && !process->is_held_told) {
        process->is_held_told = true;
        log_warn("the outbox grows: its next partition cannot be emptied, because of %s%s",
                 rotation->holder[0] == '\0' ? "a lock" : "sink ", rotation->holder);
    }
    relay_report_outbox(rotation->size, held_ms);
    if (!rotation->is_done) return;
    relay_report_rotation();
    log_info("began the next outbox partition");
}

static bool rotate(struct relay_process *process, uint64_t now_ms, struct err *err)
{
    const struct relay_settings *settings = process->settings;
    struct rotation rotation;

    if (!process->sink.io->rotates || process->is_reading) return true;
    if (now_ms < process->rotate_at_ms) return true;
    process->rotate_at_ms = now_ms + ROTATE_EVERY_MS;
    process->failing = RELAY_POSTGRES;
    if (!outbox_rotate(process->db, settings->rows_max, settings->age_max_s, &rotation, err))
        return false;
    note_rotation(process, &rotation, now_ms);
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
    uint32_t poll_ms = process->settings->poll_ms;
    uint32_t sent;
    uint64_t now_ms;
    bool idle = false;

    if (!connect_database(process, err)) return false;
    if (!look_behind(process, err)) return false;
    if (!prepare(process, err)) return false;
    if (!take_lead(process, err)) return false;
    if (!process->leads) return true;
    now_ms = clock_monotonic_ms();
    if (!relay_turn(process->relay, now_ms, poll_ms, &sent, &idle, err)) return false;
    behind_turn(&process->behind, relay_confirmed(process->relay)->snapshot, idle, (int64_t)now_ms);
    note_blocked(process);
    return rotate(process, now_ms, err);
}

bool relay_process_turn(struct relay_process *process, struct err *err)
{
    bool ok;

    health_beat();
    process->failing = RELAY_BROKER;
    ok = turn(process, err);
    if (!ok) {
        relay_report_transient(process->failing);
        health_set(process->failing == RELAY_POSTGRES ? HEALTH_POSTGRES
                                                      : process->sink.io->component,
                   HEALTH_DOWN);
        if (process->leads || process->failing == RELAY_POSTGRES) behind_fail(&process->behind);
        process->is_prepared = false; /* a queue or a binding may be gone */
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
