/*
 * cycle.c - the worker's cycle. Progress is written last: commit, answer, acknowledge, remember.
 * What a crash does:
 *  1. before the commit: nothing happened, the deliveries come again;
 *  2. between commit and acknowledgement: they come again, their keys are found, they are answered
 *     again;
 *  3. after it: Redis does not know the keys; the database does.
 */
#include "worker/cycle.h"

#include "base/broken.h"
#include "base/clock.h"
#include "protocol/fingerprint.h"
#include "worker/queued.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Bodies are bounded by BODY_SIZE_MAX; a fetch ends when another one might not fit. */
    INTAKE_SIZE = 4 * BODY_SIZE_MAX,
    /* Decoded commands, accounts, parameters and messages of one batch; a batch that needs more is
       halved. */
    SCRATCH_SIZE = 32 << 20,
    TIMESTAMP_DAYS_MAX = 30, /* an older one is a mistake of its sender */
    S_PER_DAY = 86400,
    US_PER_S = 1000000,
    IDS_AGE_MAX_S = 2,      /* who looks for what is new looks two minutes back */
    SUSPECT_DELIVERIES = 2, /* x-delivery-count: what was in flight beside the culprit has it too */
    REPEATS_REACH = 10000,  /* commands behind a repeat among which another one is to be expected */
};

struct cycle {
    const struct cycle_io *io;
    struct codec *codec;
    struct compose_options compose;
    const struct names *names;
    uint32_t batch_max, crash_limit;
    struct arena intake;  /* the deliveries' bytes: kept until all are settled */
    struct arena scratch; /* what was decoded from them up to `decoded`, then each attempt's own */
    size_t decoded;
    uint32_t count;          /* deliveries in hand */
    uint32_t settled;        /* the first of them, already acknowledged */
    int64_t taken_us;        /* when all were taken, by the clock on the wall ... */
    uint64_t taken_since_us; /* ... and by the one that nobody sets */
    uint32_t prepared;       /* up to here they are decoded: the deliveries of one part */
    uint64_t prepared_us;    /* when, by the clock that nobody sets */
    bool suspected;          /* that part is one suspect */
    bool long_way;           /* its replies go through the outbox: it could not send them itself */
    uint32_t repeats_reach;  /* of so many commands to come keys are looked up */
    struct uuid suspect;
    struct queued queued; /* behind what was scheduled and left */
    uint32_t passed_over; /* messages of the batch at hand, for that */
    struct delivery deliveries[BATCH_COMMANDS_MAX];
    uint32_t works_at[BATCH_COMMANDS_MAX + 1]; /* of a prepared delivery: its first work; up to and
                                                  with the end of the part */
    struct request requests[BATCH_WORKS_MAX];
    struct work works[BATCH_WORKS_MAX];
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
    cycle->crash_limit = options->crash_limit;
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

/* The deliveries are forgotten. */
static void forget(struct cycle *cycle)
{
    cycle->count = 0;
    cycle->settled = 0;
    cycle->prepared = 0;
}

void cycle_drop(struct cycle *cycle)
{
    if (cycle->suspected && cycle->prepared > cycle->settled)
        cycle->io->give_back(cycle->io->context, &cycle->suspect);
    forget(cycle);
}

/* Deliveries of the part that is prepared. */
static struct batch batch_of(struct cycle *cycle, uint32_t from, uint32_t count)
{
    uint32_t at = cycle->works_at[from];

    assert(from + count <= cycle->prepared);
    return (struct batch){.arena = &cycle->scratch,
                          .works = &cycle->works[at],
                          .works_count = cycle->works_at[from + count] - at};
}

/* --- taking what has arrived ------------------------------------------------------------- */

static bool take(struct cycle *cycle, uint32_t wait_ms, struct err *err)
{
    forget(cycle);
    arena_reset(&cycle->intake);
    if (!cycle->io->fetch(cycle->io->context, wait_ms, cycle->deliveries, cycle->batch_max,
                          &cycle->intake, &cycle->count, err)) {
        cycle->count = 0;
        return false;
    }
    assert(cycle->count <= cycle->batch_max);
    cycle->taken_us = clock_wall_us();
    cycle->taken_since_us = clock_monotonic_us();
    return true;
}

bool cycle_take(struct cycle *cycle, struct err *err)
{
    return cycle_holds(cycle) || take(cycle, 0, err);
}

/* --- how long it has waited --------------------------------------------------------------- */

/* Before it was taken. Judged as of then: what is believed once is believed as long as it waits. */
static uint64_t waited_before_us(const struct cycle *cycle, const struct delivery *delivery)
{
    int64_t taken_s = cycle->taken_us / US_PER_S;
    struct properties properties;

    if (!properties_parse(delivery->properties, &properties)) return 0;
    if (properties.timestamp_s > taken_s) return 0;
    if (properties.timestamp_s < taken_s - TIMESTAMP_DAYS_MAX * S_PER_DAY) return 0;
    return (uint64_t)(cycle->taken_us - properties.timestamp_s * US_PER_S);
}

uint64_t cycle_oldest_us(const struct cycle *cycle)
{
    uint64_t before_us = 0;

    if (!cycle_holds(cycle)) return 0;
    for (uint32_t i = cycle->settled; i < cycle->count; i++) {
        uint64_t one_us = waited_before_us(cycle, &cycle->deliveries[i]);
        if (one_us > before_us) before_us = one_us;
    }
    return before_us + clock_monotonic_us() - cycle->taken_since_us;
}

/* --- preparing a part: a suspect, or all up to the next one ------------------------------- */

static bool is_suspect(const struct cycle *cycle, uint32_t i, struct properties *properties)
{
    const struct delivery *delivery = &cycle->deliveries[i];

    return delivery->redelivered && properties_parse(delivery->properties, properties) &&
           properties->delivery_count >= SUSPECT_DELIVERIES;
}

/* What was scheduled is no dead letter, whatever is wrong with it: that is its outcome. */
static void make_work(struct cycle *cycle, uint32_t at, const uint8_t random[UUID_RANDOM_SIZE])
{
    const struct request *request = &cycle->requests[at];
    bool dies = request->fault != RESULT_APPLIED && uuid_is_zero(&request->scheduled);

    cycle->works[at] = (struct work){.request = request,
                                     .id = uuid_v7((uint64_t)clock_wall_us() / 1000, random),
                                     .origin = dies ? ORIGIN_FAULT : ORIGIN_NONE};
}

/* The legs follow their batch. Of one that is wrong there are none. */
static uint32_t make_legs(struct cycle *cycle, uint32_t at)
{
    struct request *request = &cycle->requests[at];
    uint8_t random[UUID_RANDOM_SIZE];
    uint32_t count = request->command.legs_count;

    if (request->fault != RESULT_APPLIED || count == 0) return 0;
    if (!request_decode_legs(cycle->codec, &cycle->scratch, request, request + 1)) return 0;
    for (uint32_t i = 1; i <= count; i++) {
        random_bytes(random, sizeof random);
        make_work(cycle, at + i, random);
        cycle->works[at + i].is_leg = true;
    }
    return count;
}

/* The i-th message of a part. unread: its body has killed enough processes. False when it has more
 * legs than are left room for; the first of a part always fits. */
static bool prepare_message(struct cycle *cycle, uint32_t i, const struct incoming *incoming,
                            bool unread)
{
    uint32_t at = cycle->works_at[i], legs;
    uint8_t random[TRACE_RANDOM_SIZE + UUID_RANDOM_SIZE];

    if (at == BATCH_WORKS_MAX) return false;
    struct request *request = &cycle->requests[at];
    random_bytes(random, sizeof random);
    if (BROKEN("killed_by_a_message") && !unread) broken_die_of(incoming->body);
    if (unread)
        request_set_aside(incoming, RESULT_CRASHED_WORKER, random, request);
    else
        request_decode(cycle->codec, incoming, random, &cycle->scratch, request);
    if (request->command.legs_count > BATCH_WORKS_MAX - at - 1) return false;
    legs = make_legs(cycle, at);
    make_work(cycle, at, random + TRACE_RANDOM_SIZE);
    cycle->works[at].legs_count = legs;
    cycle->works_at[i + 1] = at + 1 + legs;
    return true;
}

static bool prepare_one(struct cycle *cycle, uint32_t i, bool unread)
{
    const struct delivery *delivery = &cycle->deliveries[i];
    struct incoming incoming = {.exchange = delivery->exchange,
                                .routing_key = delivery->routing_key,
                                .queue = text_of(cycle->names->shard[delivery->queue]),
                                .properties = delivery->properties,
                                .body = delivery->body,
                                .body_size = delivery->body_size,
                                .oversized = delivery->oversized,
                                .redelivered = delivery->redelivered};

    assert(delivery->queue < cycle->names->shards);
    return prepare_message(cycle, i, &incoming, unread);
}

/* Noted before it is touched, so that the note outlives what touching it may do. */
static bool prepare_suspect(struct cycle *cycle, const struct properties *properties,
                            struct err *err)
{
    uint32_t times = 0, i = cycle->settled;

    cycle->suspect = message_digest(properties->message_id, properties->correlation_id,
                                    cycle->deliveries[i].body);
    if (!cycle->io->suspect(cycle->io->context, &cycle->suspect, &times, err)) return false;
    bool fits = prepare_one(cycle, i, times > cycle->crash_limit);
    assert(fits);
    cycle->prepared = i + 1;
    return true;
}

static void prepare_until_suspect(struct cycle *cycle)
{
    struct properties ignored;
    uint32_t i = cycle->settled;

    bool fits = prepare_one(cycle, i++, false);
    assert(fits);
    while (i < cycle->count && !is_suspect(cycle, i, &ignored) && prepare_one(cycle, i, false)) i++;
    cycle->prepared = i;
}

/* A repeat whose result Redis holds needs no database, if its reply gets out. If it does not, or if
 * there are so many that waiting for their confirms would hold the others up, the replies go the
 * long way, through the outbox. */
static void answer_known(struct cycle *cycle)
{
    uint32_t from = cycle->settled, rows = 0;
    struct batch batch = batch_of(cycle, from, cycle->prepared - from);
    struct err ignored = {0};

    cycle->io->lookup(cycle->io->context, &batch);
    for (uint32_t i = 0; i < batch.works_count; i++) {
        struct work *work = &batch.works[i];
        bool owed = false;
        if (work->origin != ORIGIN_CACHED) continue;
        if (!compose_reply(&batch, work, &cycle->compose, cycle->codec, &cycle->rows[rows], &owed,
                           &ignored))
            continue; /* too large for the arena now: compose_rows will see it again, alone */
        if (owed) rows++;
        work->answered = true;
    }
    cycle->decoded = cycle->scratch.used;
    if (rows == 0) return;
    if (rows <= cycle->io->direct(cycle->io->context) &&
        cycle->io->answer(cycle->io->context, cycle->rows, rows))
        return;
    for (uint32_t i = 0; i < batch.works_count; i++) batch.works[i].answered = false;
}

static bool prepare(struct cycle *cycle, struct err *err)
{
    struct properties properties;

    arena_reset(&cycle->scratch);
    cycle->prepared_us = clock_monotonic_us();
    cycle->works_at[cycle->settled] = 0;
    cycle->suspected = is_suspect(cycle, cycle->settled, &properties);
    if (!cycle->suspected)
        prepare_until_suspect(cycle);
    else if (!prepare_suspect(cycle, &properties, err))
        return false;
    answer_known(cycle);
    return true;
}

/* --- one transaction --------------------------------------------------------------------- */

/* What has waited in hand gets ids of now: an id tells when its transaction was, and the notary
 * looks for new ones by that. What was committed meanwhile has its own, and is found with it. */
static void renew_ids(const struct cycle *cycle, struct batch *batch)
{
    uint8_t random[UUID_RANDOM_SIZE];

    if (clock_monotonic_us() - cycle->prepared_us < (uint64_t)IDS_AGE_MAX_S * US_PER_S) return;
    for (uint32_t i = 0; i < batch->works_count; i++) {
        if (batch->works[i].origin != ORIGIN_NONE) continue;
        random_bytes(random, sizeof random);
        batch->works[i].id = uuid_v7((uint64_t)clock_wall_us() / 1000, random);
    }
}

/* As if it had not been tried yet. */
static void begin_anew(struct cycle *cycle, struct batch *batch)
{
    cycle->scratch.used = cycle->decoded;
    ledger_forget(batch);
    renew_ids(cycle, batch);
}

static bool owes_nothing(const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->works_count; i++)
        if (!batch->works[i].answered) return false; /* a leg never is: nor is its batch */
    return true;
}

static bool resolve(struct cycle *cycle, struct batch *batch, struct err *err)
{
    return ledger_collect_targets(batch, err) &&
           (batch->targets_count == 0 || cycle->io->resolve(cycle->io->context, batch, err));
}

static bool is_scheduled(const struct work *work)
{
    return !uuid_is_zero(&work->request->scheduled);
}

/* One of its accounts, or its legs', has a command before it that was left. */
static bool is_queued(const struct cycle *cycle, const struct batch *batch, const struct work *work)
{
    struct text ids[WORK_ACCOUNTS_MAX];

    if (!is_scheduled(work)) return false;
    for (uint32_t i = 0; i <= work->legs_count; i++)
        for (uint32_t n = ledger_ids_of(batch, work + i, ids); n > 0; n--)
            if (queued_has(&cycle->queued, ids[n - 1])) return true;
    return false;
}

static void queue_behind(struct cycle *cycle, const struct batch *batch, const struct work *work)
{
    struct text ids[WORK_ACCOUNTS_MAX];

    for (uint32_t i = 0; i <= work->legs_count; i++)
        for (uint32_t n = ledger_ids_of(batch, work + i, ids); n > 0; n--)
            queued_add(&cycle->queued, ids[n - 1]);
}

/* What would overtake another command of one of its accounts is not decided now, and so nothing
 * overtakes it either. */
static void leave_queued(struct cycle *cycle, struct batch *batch)
{
    for (uint32_t i = 0; i < batch->works_count; i += 1 + batch->works[i].legs_count) {
        struct work *work = &batch->works[i];
        if (!is_queued(cycle, batch, work)) continue;
        queue_behind(cycle, batch, work);
        for (uint32_t leg = 0; leg <= work->legs_count; leg++) work[leg].origin = ORIGIN_SKIPPED;
        cycle->passed_over++;
    }
}

/* Of what is owed, so many replies are sent as soon as it is committed: few, as somebody waits for
 * each. Not beside a dead letter, which a part that is run again would owe again. */
static uint32_t count_direct(const struct cycle *cycle, uint32_t rows_count)
{
    uint32_t replies = 0;

    if (cycle->long_way) return 0;
    for (uint32_t i = 0; i < rows_count; i++) {
        if (cycle->rows[i].kind == OUTBOX_DEAD_LETTER) return 0;
        if (cycle->rows[i].kind != OUTBOX_REPLY) continue;
        assert(i == replies); /* replies are first */
        replies++;
    }
    return replies <= cycle->io->direct(cycle->io->context) ? replies : 0;
}

/* *direct: the first of the rows, which are not in the outbox. */
static bool commit(struct cycle *cycle, struct batch *batch, uint32_t *direct, struct err *err)
{
    uint32_t rows_count = 0;

    *direct = 0;
    cycle->passed_over = 0;
    if (owes_nothing(batch)) return true;
    if (!resolve(cycle, batch, err)) return false;
    if (cycle->queued.any) leave_queued(cycle, batch);
    if (!ledger_collect(batch, err) || !cycle->io->load(cycle->io->context, batch, err) ||
        !ledger_apply(batch, err))
        return false;
    if (batch->keys_are_new && ledger_hangs_on_keys(batch))
        return err_set(err, ERR_RETRY, "could not decide a batch without looking its keys up");
    if (!compose_rows(batch, &cycle->compose, cycle->codec, cycle->rows, &rows_count, err))
        return false;
    *direct = count_direct(cycle, rows_count);
    return cycle->io->commit(cycle->io->context, batch, cycle->rows + *direct, rows_count - *direct,
                             err);
}

/* Everything in this range has committed. An oversized message is given back to the broker, which
 * moves the original to the dead letters: its body never was in this process. */
static bool settle(struct cycle *cycle, struct batch *batch, uint32_t from, uint32_t count,
                   struct err *err)
{
    uint32_t end = from + count;

    for (uint32_t i = from; i < end; i++)
        if (cycle->deliveries[i].oversized &&
            !cycle->io->reject(cycle->io->context, cycle->deliveries[i].tag, err))
            return false;
    uint32_t last = end;
    while (last > from && cycle->deliveries[last - 1].oversized) last--;
    if (BROKEN("ack_before_commit")) last = from;
    if (last > from && !cycle->io->ack(cycle->io->context, cycle->deliveries[last - 1].tag, err))
        return false;
    cycle->settled = end;
    cycle->io->remember(cycle->io->context, batch);
    cycle->io->report(cycle->io->context, batch);
    return true;
}

/* Nothing says that one of them came before. */
static bool are_new(const struct cycle *cycle, uint32_t from, uint32_t count)
{
    for (uint32_t i = from; i < from + count; i++)
        if (cycle->deliveries[i].redelivered) return false;
    return cycle->repeats_reach == 0;
}

/* Repeats come in company: of callers that were not answered, of a service that runs again. */
static void note_repeats(struct cycle *cycle, const struct batch *batch)
{
    uint32_t count = batch->works_count;

    cycle->repeats_reach -= count < cycle->repeats_reach ? count : cycle->repeats_reach;
    for (uint32_t i = 0; i < count; i++)
        if (batch->works[i].stored) cycle->repeats_reach = REPEATS_REACH;
}

static bool run(struct cycle *cycle, uint32_t from, uint32_t count, struct err *err)
{
    struct batch batch = batch_of(cycle, from, count);
    uint32_t direct;

    assert(count > 0);
    begin_anew(cycle, &batch);
    batch.keys_are_new = are_new(cycle, from, count);
    if (commit(cycle, &batch, &direct, err)) {
        note_repeats(cycle, &batch);
        if (direct == 0 || cycle->io->answer(cycle->io->context, cycle->rows, direct))
            return settle(cycle, &batch, from, count, err);
        cycle->io->report(cycle->io->context, &batch);
        cycle->long_way = true; /* all is decided: run again it owes these replies, and no more */
        cycle->repeats_reach = REPEATS_REACH;
        return run(cycle, from, count, err);
    }
    cycle->io->abandon(cycle->io->context);
    if (err->kind == ERR_RETRY) { /* a key was known, or it may be known now */
        cycle->repeats_reach = REPEATS_REACH;
        return batch.keys_are_new && run(cycle, from, count, err);
    }
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

/* One part: a suspect alone, or all up to the next one. */
static bool run_part(struct cycle *cycle, struct err *err)
{
    cycle->long_way = false;
    if (cycle->prepared == cycle->settled) {
        if (!prepare(cycle, err)) return false;
        if (BROKEN("ack_before_commit") &&
            !cycle->io->ack(cycle->io->context, cycle->deliveries[cycle->prepared - 1].tag, err))
            return false;
    }
    if (!run(cycle, cycle->settled, cycle->prepared - cycle->settled, err)) return false;
    if (cycle->suspected) cycle->io->acquit(cycle->io->context, &cycle->suspect);
    return true;
}

bool cycle_turn(struct cycle *cycle, uint32_t wait_ms, uint32_t *taken, struct err *err)
{
    *taken = 0;
    if (!cycle_holds(cycle) && !take(cycle, wait_ms, err)) return false;
    while (cycle_holds(cycle))
        if (!run_part(cycle, err)) return false;
    *taken = cycle->count;
    forget(cycle);
    return true;
}

/* --- what no queue brought --------------------------------------------------------------- */

/* Not even that it failed can be stored. */
static bool leave(struct cycle *cycle, struct batch *batch, struct decided *out, struct err *err)
{
    struct work *work = &batch->works[0];

    out->left++;
    out->why = *err;
    if (!is_scheduled(work)) return true;
    work->isolated = false; /* so that its legs are looked at too */
    begin_anew(cycle, batch);
    if (!resolve(cycle, batch, err)) return false;
    queue_behind(cycle, batch, work);
    return true;
}

static bool decide(struct cycle *cycle, uint32_t from, uint32_t count, struct decided *out,
                   struct err *err)
{
    struct batch batch = batch_of(cycle, from, count);
    uint32_t half = count / 2, direct;

    begin_anew(cycle, &batch);
    if (commit(cycle, &batch, &direct, err)) {
        assert(direct == 0);
        cycle->io->report(cycle->io->context, &batch);
        if (cycle->passed_over > 0 && out->left == 0)
            (void)err_set(&out->why, ERR_REJECT, "what is before them could not be stored");
        out->settled += count - cycle->passed_over;
        out->left += cycle->passed_over;
        return true;
    }
    cycle->io->abandon(cycle->io->context);
    if (err->kind != ERR_REJECT) return false;
    if (count > 1)
        return decide(cycle, from, half, out, err) &&
               decide(cycle, from + half, count - half, out, err);
    if (is_scheduled(&batch.works[0]) && !batch.works[0].isolated) {
        batch.works[0].isolated = true;
        return decide(cycle, from, 1, out, err);
    }
    return leave(cycle, &batch, out, err);
}

/* From the first on, as many as fit. */
static bool decide_some(struct cycle *cycle, const struct incoming *incoming, uint32_t count,
                        bool unread, struct decided *out, struct err *err)
{
    bool ok = true;

    forget(cycle);
    cycle->long_way = true; /* it comes from no queue: nothing would bring it again */
    arena_reset(&cycle->scratch);
    cycle->prepared_us = clock_monotonic_us();
    cycle->works_at[0] = 0;
    while (cycle->prepared < count &&
           prepare_message(cycle, cycle->prepared, &incoming[cycle->prepared], unread))
        cycle->prepared++;
    cycle->decoded = cycle->scratch.used;
    if (cycle->prepared > 0) ok = decide(cycle, 0, cycle->prepared, out, err);
    forget(cycle);
    return ok;
}

/* Noted before it is touched. */
static bool decide_suspect(struct cycle *cycle, const struct incoming *incoming,
                           struct decided *out, struct err *err)
{
    const struct cycle_io *io = cycle->io;
    struct uuid digest = scheduled_digest(&incoming->scheduled);
    uint32_t times = 0;

    if (!io->suspect(io->context, &digest, &times, err)) return false;
    bool ok = decide_some(cycle, incoming, 1, times > cycle->crash_limit, out, err);
    if (ok)
        io->acquit(io->context, &digest);
    else if (err->kind != ERR_FATAL) /* that ends the process, and may be this one's doing */
        io->give_back(io->context, &digest);
    return ok;
}

bool cycle_decide(struct cycle *cycle, const struct incoming *incoming, uint32_t count, bool alone,
                  struct decided *out, struct err *err)
{
    assert(!cycle_holds(cycle));
    *out = (struct decided){0};
    if (!alone) return decide_some(cycle, incoming, count, false, out, err);
    for (uint32_t i = 0; i < count; i++)
        if (!decide_suspect(cycle, &incoming[i], out, err)) return false;
    return true;
}

void cycle_forget_left(struct cycle *cycle)
{
    queued_forget(&cycle->queued);
}
