/*
 * notary.c - the loop of the notary, around checkpoint_pg.c. Invariants:
 *  1. the lead, an advisory lock, is on the connection that writes: who has lost it can write
 * nothing;
 *  2. the first checkpoint of a lead, and one a day, looks at every account: so what an odd clock
 * hid from the others is hidden no longer than that.
 */
#include "notary/notary.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/health.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/stop.h"
#include "ledger/migrate_pg.h"
#include "notary/checkpoint_pg.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_MS = 100, ARENA_SIZE = 4 << 20, FULL_EVERY_MS = 86400 * 1000 };

struct notary {
    const struct notary_settings *settings;
    struct ed25519 *key;
    struct arena arena;
    struct db *db;
    bool leads;
    uint64_t due_ms, full_due_ms; /* by the monotonic clock */
    uint64_t looked_ms;           /* when all that was committed had been notarised; 0: never */
    struct backoff backoff;
    struct metric *made, *failed, *leader, *age, *leaves, *took;
};

static void open_metrics(struct notary *notary)
{
    notary->made = metric_register(METRIC_COUNTER, "ledger_checkpoints_total",
                                   "Checkpoints made by this process", NULL);
    notary->failed = metric_register(METRIC_COUNTER, "ledger_checkpoint_failures_total",
                                     "Checkpoints that failed and are tried again", NULL);
    notary->leader = metric_register(METRIC_GAUGE, "ledger_notary_leader",
                                     "1: this process makes the checkpoints", NULL);
    notary->age =
        metric_register(METRIC_GAUGE, "ledger_checkpoint_age_seconds",
                        "Since all that was committed had been notarised; of the leader", NULL);
    notary->leaves = metric_register(METRIC_GAUGE, "ledger_checkpoint_leaves",
                                     "Leaves of the last checkpoint", NULL);
    notary->took = metric_register(METRIC_HISTOGRAM, "ledger_checkpoint_seconds",
                                   "How long a checkpoint took", NULL);
}

bool notary_open(struct notary **out, const struct notary_settings *settings, struct err *err)
{
    struct notary *notary = calloc(1, sizeof *notary);

    *out = notary;
    if (notary == NULL) return err_set(err, ERR_FATAL, "could not open notary: out of memory");
    notary->settings = settings;
    notary->backoff = (struct backoff){.first_ms = 100, .most_ms = 5000};
    notary->looked_ms = clock_monotonic_ms();
    open_metrics(notary);
    health_require(HEALTH_POSTGRES);
    return ed25519_open_private(&notary->key, text_of(settings->signing_key), err) &&
           arena_open(&notary->arena, ARENA_SIZE, err);
}

static void disconnect(struct notary *notary)
{
    db_close(notary->db);
    notary->db = NULL;
    notary->leads = false;
}

void notary_close(struct notary *notary)
{
    if (notary == NULL) return;
    disconnect(notary);
    ed25519_close(notary->key);
    arena_close(&notary->arena);
    free(notary);
}

static bool connect_database(struct notary *notary, struct err *err)
{
    const struct notary_settings *settings = notary->settings;
    struct db_options options = {.url = settings->database_url,
                                 .application_name = settings->name,
                                 .role = settings->database_role,
                                 .connect_timeout_ms = settings->timeout_ms,
                                 .answer_timeout_ms = settings->answer_timeout_ms,
                                 .lock_timeout_ms = settings->timeout_ms};

    if (notary->db != NULL) return true;
    if (!db_open(&notary->db, &options, err) || !migrate_check(notary->db, err) ||
        !checkpoint_tune(notary->db, err))
        return false;
    health_set(HEALTH_POSTGRES, HEALTH_UP);
    log_info("connected to PostgreSQL");
    return true;
}

static bool take_lead(struct notary *notary, struct err *err)
{
    if (notary->leads) return true;
    if (!checkpoint_lead(notary->db, &notary->leads, err)) return false;
    if (!notary->leads) return true;
    notary->due_ms = notary->full_due_ms = notary->looked_ms = clock_monotonic_ms();
    log_info("leading");
    return true;
}

static bool make_one(struct notary *notary, struct err *err)
{
    const struct notary_settings *settings = notary->settings;
    const struct checkpoint_options options = {.key = notary->key,
                                               .event_encoding =
                                                   (enum encoding)settings->event_encoding,
                                               .arena = &notary->arena};
    uint64_t begun_ms = clock_monotonic_ms();
    bool full = begun_ms >= notary->full_due_ms, made;
    struct checkpoint checkpoint;

    if (!checkpoint_make(notary->db, &options, full, &checkpoint, &made, err)) return false;
    uint64_t took_ms = clock_monotonic_ms() - begun_ms;
    backoff_reset(&notary->backoff);
    notary->looked_ms = begun_ms;
    notary->due_ms = begun_ms + (uint64_t)settings->checkpoint_s * 1000;
    if (full) notary->full_due_ms = begun_ms + FULL_EVERY_MS;
    metric_observe(notary->took, (double)took_ms / 1000);
    if (!made) return true;
    metric_add(notary->made, 1);
    metric_set(notary->leaves, (double)checkpoint.leaves);
    health_detail("checkpoint", checkpoint.number);
    log_info("checkpoint %jd: %jd leaves in %ju ms", (intmax_t)checkpoint.number,
             (intmax_t)checkpoint.leaves, (uintmax_t)took_ms);
    return true;
}

static void report(const struct notary *notary)
{
    uint64_t age_ms = clock_monotonic_ms() - notary->looked_ms;

    metric_set(notary->leader, notary->leads ? 1 : 0);
    metric_set(notary->age, notary->leads ? (double)age_ms / 1000 : 0);
}

static bool turn(struct notary *notary, struct err *err)
{
    if (!connect_database(notary, err) || !take_lead(notary, err)) return false;
    if (notary->leads && clock_monotonic_ms() >= notary->due_ms && !make_one(notary, err))
        return false;
    clock_sleep_ms(STEP_MS);
    return true;
}

bool notary_turn(struct notary *notary, struct err *err)
{
    health_beat();
    bool ok = turn(notary, err);
    if (!ok) {
        metric_add(notary->failed, 1);
        health_set(HEALTH_POSTGRES, HEALTH_DOWN);
        disconnect(notary);
    }
    report(notary);
    return ok;
}

void notary_pause(struct notary *notary)
{
    uint32_t random, left_ms;

    random_bytes(&random, sizeof random);
    for (left_ms = backoff_next_ms(&notary->backoff, random); left_ms > 0 && !stop_requested();) {
        uint32_t step_ms = left_ms < STEP_MS ? left_ms : STEP_MS;
        clock_sleep_ms(step_ms);
        left_ms -= step_ms;
        health_beat();
        report(notary);
    }
}
