/*
 * cycle.c - the worker's cycle. Progress is written last: commit, then acknowledge, then remember.
 * What a crash between two of them does: before the commit     nothing happened; the deliveries
 * come again commit .. ack         the deliveries come again, their keys are found, they are
 * answered again ack .. remember       Redis does not know the keys; the database does
 */
#include "worker/cycle.h"

#include "base/clock.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Bodies are bounded by BODY_SIZE_MAX; a fetch ends when another one might not fit. */
    INTAKE_SIZE = 4 * BODY_SIZE_MAX,
    /* Decoded commands, accounts, parameters and messages of one batch; a batch that needs more is
       halved. */
    SCRATCH_SIZE = 32 << 20,
};

struct cycle {
    const struct cycle_io *io;
    struct codec *codec;
    struct compose_options compose;
    const struct names *names;
    uint32_t batch_max;
    struct arena intake;  /* the deliveries' bytes: kept until all are settled */
    struct arena scratch; /* what was decoded from them up to `decoded`, then each attempt's own */
    size_t decoded;
    uint32_t count;   /* deliveries in hand */
    uint32_t settled; /* the first of them, already acknowledged */
    struct delivery deliveries[BATCH_COMMANDS_MAX];
    struct request requests[BATCH_COMMANDS_MAX];
    struct work works[BATCH_COMMANDS_MAX];
    struct outbox_row rows[OUTBOX_ROWS_MAX];
};

bool cycle_open(struct cycle **out, const struct cycle_options *options, struct err *err)
{
    assert(options->batch_max > 0);
    assert(options->batch_max <= BATCH_COMMANDS_MAX);
    struct cycle *cycle = calloc(1, sizeof *cycle);

    *out = cycle;
    if (cycle == NULL) return err_set(err, ERR_FATAL, "could not open worker: out of memory");
    cycle->io = options->io;
    cycle->names = options->names;
    cycle->batch_max = options->batch_max;
    cycle->compose = (struct compose_options){.names = options->names,
                                              .event_encoding = options->event_encoding};
    return codec_open(&cycle->codec, err) && arena_open(&cycle->intake, INTAKE_SIZE, err) &&
           arena_open(&cycle->scratch, SCRATCH_SIZE, err);
}

void cycle_close(struct cycle *cycle)
{
    if (cycle == NULL) return;
    arena_close(&cycle->intake);
    arena_close(&cycle->scratch);
    codec_close(cycle->codec);
    free(cycle);
}

bool cycle_holds(const struct cycle *cycle)
{
    return cycle->settled < cycle->count;
}

void cycle_drop(struct cycle *cycle)
{
    cycle->count = 0;
    cycle->settled = 0;
}

static struct batch batch_of(struct cycle *cycle, uint32_t from, uint32_t count)
{
    return (struct batch){
        .arena = &cycle->scratch, .works = &cycle->works[from], .works_count = count};
}

/* --- taking what has arrived ------------------------------------------------------------- */

static void decode_one(struct cycle *cycle, const struct delivery *delivery,
                       struct request *request, struct work *work)
{
    struct incoming incoming = {.exchange = delivery->exchange,
                                .routing_key = delivery->routing_key,
                                .queue = text_of(cycle->names->shard[delivery->queue]),
                                .properties = delivery->properties,
                                .body = delivery->body,
                                .body_size = delivery->body_size,
                                .oversized = delivery->oversized,
                                .redelivered = delivery->redelivered};
    uint8_t random[TRACE_RANDOM_SIZE + UUID_RANDOM_SIZE];

    assert(delivery->queue < cycle->names->shards);
    random_bytes(random, sizeof random);
    request_decode(cycle->codec, &incoming, random, &cycle->scratch, request);
    *work =
        (struct work){.request = request,
                      .id = uuid_v7((uint64_t)clock_wall_us() / 1000, random + TRACE_RANDOM_SIZE),
                      .origin = request->fault == RESULT_APPLIED ? ORIGIN_NONE : ORIGIN_FAULT};
}

static bool take(struct cycle *cycle, uint32_t wait_ms, struct err *err)
{
    cycle_drop(cycle);
    arena_reset(&cycle->intake);
    arena_reset(&cycle->scratch);
    if (!cycle->io->fetch(cycle->io->context, wait_ms, cycle->deliveries, cycle->batch_max,
                          &cycle->intake, &cycle->count, err)) {
        cycle->count = 0;
        return false;
    }
    assert(cycle->count <= cycle->batch_max);
    for (uint32_t i = 0; i < cycle->count; i++)
        decode_one(cycle, &cycle->deliveries[i], &cycle->requests[i], &cycle->works[i]);
    return true;
}

/* --- what Redis knows is answered at once ------------------------------------------------ */

/* A repeat whose result Redis holds needs no database, if its reply gets out. If it does not, the
 * reply goes the long way, through the outbox. */
static bool answer_known(struct cycle *cycle, struct err *err)
{
    struct batch batch = batch_of(cycle, 0, cycle->count);
    uint32_t count = 0;

    cycle->io->lookup(cycle->io->context, &batch);
    for (uint32_t i = 0; i < cycle->count; i++) {
        struct work *work = &cycle->works[i];
        bool owed = false;
        if (work->origin != ORIGIN_CACHED) continue;
        if (!compose_reply(&batch, work, &cycle->compose, cycle->codec, &cycle->rows[count], &owed,
                           err))
            return false;
        if (owed) count++;
        work->answered = true;
    }
    cycle->decoded = cycle->scratch.used;
    if (count == 0 || cycle->io->answer(cycle->io->context, cycle->rows, count)) return true;
    for (uint32_t i = 0; i < cycle->count; i++) cycle->works[i].answered = false;
    return true;
}

/* --- one transaction --------------------------------------------------------------------- */

static bool owes_nothing(const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->works_count; i++)
        if (!batch->works[i].answered) return false;
    return true;
}

static bool commit(struct cycle *cycle, struct batch *batch, struct err *err)
{
    uint32_t rows_count = 0;

    if (owes_nothing(batch)) return true;
    return ledger_collect(batch, err) && cycle->io->load(cycle->io->context, batch, err) &&
           ledger_apply(batch, err) &&
           compose_rows(batch, &cycle->compose, cycle->codec, cycle->rows, &rows_count, err) &&
           cycle->io->commit(cycle->io->context, batch, cycle->rows, rows_count, err);
}

/* Everything in this range has committed. An oversized message is given back to the broker, which
 * moves the original to the dead letters: its body never was in this process. */
static bool settle(struct cycle *cycle, struct batch *batch, uint32_t from, struct err *err)
{
    uint32_t end = from + batch->works_count;

    for (uint32_t i = from; i < end; i++)
        if (cycle->deliveries[i].oversized &&
            !cycle->io->reject(cycle->io->context, cycle->deliveries[i].tag, err))
            return false;
    uint32_t last = end;
    while (last > from && cycle->deliveries[last - 1].oversized) last--;
    if (last > from && !cycle->io->ack(cycle->io->context, cycle->deliveries[last - 1].tag, err))
        return false;
    cycle->settled = end;
    cycle->io->remember(cycle->io->context, batch);
    cycle->io->report(cycle->io->context, batch);
    return true;
}

static bool run(struct cycle *cycle, uint32_t from, uint32_t count, struct err *err)
{
    struct batch batch = batch_of(cycle, from, count);

    assert(count > 0);
    cycle->scratch.used = cycle->decoded;
    ledger_forget(&batch);
    if (commit(cycle, &batch, err)) return settle(cycle, &batch, from, err);
    cycle->io->abandon(cycle->io->context);
    if (err->kind != ERR_REJECT) return false;

    if (count > 1) {
        uint32_t half = count / 2;
        return run(cycle, from, half, err) && run(cycle, from + half, count - half, err);
    }
    if (batch.works[0].isolated) {
        err->kind =
            ERR_RETRY; /* not even its dead letter can be stored: it is not the message's fault */
        return err_wrap(err, "could not dead-letter a command");
    }
    batch.works[0].origin = ORIGIN_FAULT;
    batch.works[0].isolated = true;
    return run(cycle, from, 1, err);
}

bool cycle_turn(struct cycle *cycle, uint32_t wait_ms, uint32_t *taken, bool *empty,
                struct err *err)
{
    *taken = 0;
    *empty = false;
    if (!cycle_holds(cycle)) {
        if (!take(cycle, wait_ms, err)) return false;
        *empty = cycle->count == 0;
        if (*empty) return true;
        if (!answer_known(cycle, err)) return false;
    }
    if (!run(cycle, cycle->settled, cycle->count - cycle->settled, err)) return false;
    *taken = cycle->count;
    cycle_drop(cycle);
    return true;
}
