/*
 * ledger.c - decides the requests of a batch, in order, each key once, and writes their replies.
 */
#include "ledger/ledger.h"

#include "ledger/decide.h"

#include <assert.h>
#include <string.h>

/* --- replies ----------------------------------------------------------------------------- */

static void reply_add_balance(struct reply *reply, const struct side *side)
{
    const struct account *account = side->account;

    assert(account != NULL); /* a query that found nothing is refused */
    reply->balances[reply->balances_count++] =
        (struct balance_view){.account = account->id,
                              .asset = account->asset->code,
                              .balance = side->balance,
                              .held = side->held,
                              .seq = side->seq,
                              .has_seq = account->kind == ACCOUNT_USER};
}

static struct reply reply_begin(const struct batch *batch, const struct work *work,
                                enum result result)
{
    return (struct reply){.result = result,
                          .timestamp_us = batch->as_of_us,
                          .trace_id = work->request->trace.trace_id};
}

/* A system account's balance is not known without its deltas; queries ask for them. */
static bool is_told(const struct side *side)
{
    return side->account != NULL && side->account->kind == ACCOUNT_USER;
}

static void reply_to_outcome(const struct batch *batch, struct work *work)
{
    const struct outcome *outcome = &work->outcome;
    enum command_type type = work->request->command.type;
    struct reply *reply = &work->reply;

    *reply = reply_begin(batch, work, outcome->result);
    reply->dry_run = work->request->command.dry_run;
    if (outcome->at_us != 0) reply->timestamp_us = outcome->at_us;
    if (outcome->result == RESULT_SCHEDULED) {
        reply->has_transaction = true;
        reply->transaction = work->id;
        reply->scheduled_us = work->request->command.conditions.not_before_us;
    }
    if (outcome->result != RESULT_APPLIED) return;
    if (command_changes(type)) {
        reply->has_transaction = !reply->dry_run;
        reply->transaction = work->id;
        reply->created = type == COMMAND_OPEN_ACCOUNT;
        if (is_told(&outcome->debit)) reply_add_balance(reply, &outcome->debit);
        if (is_told(&outcome->credit)) reply_add_balance(reply, &outcome->credit);
    }
    if (type == COMMAND_GET_BALANCE) reply_add_balance(reply, &outcome->credit);
    if (type == COMMAND_GET_USER) reply->user = work->user;
    reply->details = work->transaction;
    reply->history = work->history;
}

static void reply_to_fault(const struct batch *batch, struct work *work)
{
    const struct request *request = work->request;

    work->reply = reply_begin(batch, work, work->isolated ? RESULT_INTERNAL : request->fault);
    work->reply.message = text_of(request->problem); /* empty of a command that is isolated */
}

/* --- one key, one outcome ---------------------------------------------------------------- */

/* Open addressing over the works already decided in this batch, by key digest. */
struct keys {
    struct work **slots;
    uint32_t mask;
};

static bool keys_open(struct keys *keys, const struct batch *batch)
{
    uint32_t size = 2;

    while (size < 2 * batch->works_count) size *= 2;
    keys->mask = size - 1;
    keys->slots = arena_take(batch->arena, sizeof(struct work *) * size);
    if (keys->slots != NULL) memset(keys->slots, 0, sizeof(struct work *) * size);
    return keys->slots != NULL;
}

/* The slot that holds this key, or the empty one where it belongs. Digests are spread evenly
 * already. */
static struct work **keys_find(const struct keys *keys, const struct uuid *digest)
{
    uint32_t hash;

    memcpy(&hash, digest->bytes, sizeof hash);
    for (uint32_t at = hash & keys->mask;; at = (at + 1) & keys->mask) {
        struct work **slot = &keys->slots[at];
        if (*slot == NULL || uuid_compare(&(*slot)->request->key_digest, digest) == 0) return slot;
    }
}

static void repeat(const struct batch *batch, struct work *work, const struct reply *first,
                   const struct uuid *first_fingerprint)
{
    bool same = uuid_compare(&work->request->fingerprint, first_fingerprint) == 0;

    work->origin = same ? ORIGIN_REPEATED : ORIGIN_CONFLICT;
    work->reply = same ? *first : reply_begin(batch, work, RESULT_KEY_REUSED);
    work->reply.replayed = same;
}

bool ledger_is_kept(const struct work *work)
{
    const struct command *command = &work->request->command;
    return command_changes(command->type) && !command->dry_run && work->request->has_key;
}

static bool show_account(const struct batch *batch, struct work *work)
{
    const struct account *account = work->outcome.credit.account;
    struct account_view *view = arena_take(batch->arena, sizeof *view);

    if (view == NULL) return false;
    *view = (struct account_view){.account = account->id,
                                  .user_id = account->user_id,
                                  .asset = account->asset->code,
                                  .kind = account->kind,
                                  .scale = account->asset->scale,
                                  .created_us = account->created_us,
                                  .metadata = account->metadata,
                                  .frozen = (enum direction)(account->state & DIRECTION_BOTH),
                                  .closed = (account->state & STATE_CLOSED) != 0,
                                  .floor = account->floor};
    work->reply.account = view;
    return true;
}

static bool show_as_of(const struct batch *batch, struct work *work)
{
    const struct past *past = work->past;
    struct as_of_view *view = arena_take(batch->arena, sizeof *view);

    if (view == NULL) return false;
    *view = (struct as_of_view){past->transaction, past->timestamp_us};
    if (past->seq == 0) view->timestamp_us = work->outcome.credit.account->created_us;
    work->reply.as_of = view;
    return true;
}

/* What a query found that its reply only points to. */
static bool show_found(const struct batch *batch, struct work *work)
{
    enum command_type type = work->request->command.type;

    if (work->outcome.result != RESULT_APPLIED) return true;
    if (type == COMMAND_GET_ACCOUNT) return show_account(batch, work);
    if (type == COMMAND_GET_BALANCE && work->past != NULL) return show_as_of(batch, work);
    return true;
}

const struct uuid *ledger_ends(const struct work *work)
{
    const struct request *request = work->request;

    if (!uuid_is_zero(&request->scheduled)) return &request->scheduled;
    bool cancels =
        request->command.type == COMMAND_CANCEL && work->outcome.result == RESULT_APPLIED;
    return cancels ? &request->command.transaction : NULL;
}

/* What is not kept sees what was decided before it, and leaves no trace. */
static bool apply_unkept(struct batch *batch, struct work *work)
{
    struct undo *mark = batch->undo;

    batch->undoable = true;
    bool ok = decide(batch, work, &work->outcome);
    batch->undoable = false;
    if (!ok) return false;
    work->origin = ORIGIN_DECIDED;
    reply_to_outcome(batch, work);
    decide_undo(batch, mark);
    return show_found(batch, work);
}

/* What was decided under this key before: in this batch, or stored. False: nothing was. */
static bool answer_again(const struct batch *batch, const struct keys *keys, struct work *work)
{
    struct work *first = *keys_find(keys, &work->request->key_digest);
    struct reply stored = work->reply;

    if (first != NULL) {
        repeat(batch, work, &first->reply, &first->request->fingerprint);
        return true;
    }
    if (!work->stored) return false;
    repeat(batch, work, &stored, &work->stored_fingerprint);
    return true;
}

static void keys_add(const struct keys *keys, struct work *work)
{
    *keys_find(keys, &work->request->key_digest) = work;
}

static bool apply_one(struct batch *batch, const struct keys *keys, struct work *work)
{
    if (!ledger_is_kept(work)) return apply_unkept(batch, work);
    if (answer_again(batch, keys, work)) return true;
    if (!decide(batch, work, &work->outcome)) return false;
    work->origin = ORIGIN_DECIDED;
    reply_to_outcome(batch, work);
    keys_add(keys, work);
    return true;
}

/* --- batches ----------------------------------------------------------------------------- */

static void skip_legs(struct work *parent)
{
    for (uint32_t i = 1; i <= parent->legs_count; i++) parent[i].origin = ORIGIN_SKIPPED;
}

/* The reply lists what became of each leg. */
static bool reply_with_legs(const struct batch *batch, struct work *parent)
{
    struct leg_view *legs = arena_take(batch->arena, parent->legs_count * sizeof *legs);

    if (legs == NULL) return false;
    for (uint32_t i = 0; i < parent->legs_count; i++)
        legs[i] = (struct leg_view){parent[1 + i].request->key, &parent[1 + i].reply};
    parent->reply.legs = legs;
    parent->reply.legs_count = parent->legs_count;
    return true;
}

/* Or puts it off, as a whole. */
static void refuse_batch(const struct batch *batch, struct work *parent, enum result result)
{
    parent->outcome = (struct outcome){.result = result};
    reply_to_outcome(batch, parent);
}

/* The same batch again: what became of its legs is known under their own keys. */
static bool repeat_batch(const struct batch *batch, const struct keys *keys, struct work *parent)
{
    skip_legs(parent);
    if (parent->origin != ORIGIN_REPEATED || parent->reply.result != RESULT_APPLIED) return true;
    for (uint32_t i = 1; i <= parent->legs_count; i++) {
        bool known = answer_again(batch, keys, &parent[i]);
        assert(known); /* stored in the same transaction as the batch */
    }
    return reply_with_legs(batch, parent);
}

/* One leg of an atomic batch. Its key must be new: what was done before cannot be undone with the
 * others. */
static bool try_leg(struct batch *batch, const struct keys *keys, struct work *leg)
{
    bool is_kept = ledger_is_kept(leg);

    leg->outcome = (struct outcome){.result = RESULT_KEY_REUSED};
    if (is_kept && (leg->stored || *keys_find(keys, &leg->request->key_digest) != NULL))
        return true;
    if (!decide(batch, leg, &leg->outcome)) return false;
    leg->origin = ORIGIN_DECIDED;
    reply_to_outcome(batch, leg);
    return true;
}

/* All legs, or none: then parent's outcome and failed_leg say why. */
static bool apply_atomic(struct batch *batch, const struct keys *keys, struct work *parent)
{
    struct undo *mark = batch->undo;
    uint32_t i = 1;

    batch->undoable = true;
    for (; i <= parent->legs_count; i++) {
        if (!try_leg(batch, keys, &parent[i])) return false;
        if (parent[i].outcome.result != RESULT_APPLIED) break;
    }
    batch->undoable = false;
    bool failed = i <= parent->legs_count;
    if (failed || !ledger_is_kept(parent)) decide_undo(batch, mark);
    if (failed) {
        refuse_batch(batch, parent, parent[i].outcome.result);
        parent->failed_leg = i - 1;
        parent->reply.has_failed_leg = true;
        parent->reply.failed_leg = i - 1;
        skip_legs(parent);
        return true;
    }
    for (i = 1; ledger_is_kept(parent) && i <= parent->legs_count; i++) keys_add(keys, &parent[i]);
    return reply_with_legs(batch, parent);
}

/* Each leg for itself; one that was done before is answered again. A dry run shows what each would
 * do after those before it. */
static bool apply_independent(struct batch *batch, const struct keys *keys, struct work *parent)
{
    bool is_kept = ledger_is_kept(parent);
    struct undo *mark = batch->undo;

    batch->undoable = !is_kept;
    for (uint32_t i = 1; i <= parent->legs_count; i++) {
        struct work *leg = &parent[i];
        if (is_kept && answer_again(batch, keys, leg)) continue;
        if (!decide(batch, leg, &leg->outcome)) return false;
        leg->origin = ORIGIN_DECIDED;
        reply_to_outcome(batch, leg);
        if (is_kept) keys_add(keys, leg);
    }
    batch->undoable = false;
    decide_undo(batch, mark); /* of a batch that is kept nothing was noted */
    return reply_with_legs(batch, parent);
}

static bool apply_batch(struct batch *batch, const struct keys *keys, struct work *parent)
{
    const struct command *command = &parent->request->command;
    enum result result;

    if (ledger_is_kept(parent) && answer_again(batch, keys, parent))
        return repeat_batch(batch, keys, parent);
    for (uint32_t i = 1; i <= parent->legs_count; i++) parent[i].parent = parent;
    parent->origin = ORIGIN_DECIDED;
    parent->outcome = (struct outcome){.result = RESULT_APPLIED};
    reply_to_outcome(batch, parent);
    result = decide_whether(batch, parent);
    if (result != RESULT_APPLIED) {
        refuse_batch(batch, parent, result);
        skip_legs(parent);
    } else if (!(command->independent ? apply_independent(batch, keys, parent)
                                      : apply_atomic(batch, keys, parent))) {
        return false;
    }
    /* A conflict is nobody's outcome: the key stays free. But what was scheduled ends. */
    if (result_status(parent->outcome.result) == STATUS_CONFLICT &&
        uuid_is_zero(&parent->request->scheduled))
        parent->origin = ORIGIN_CONFLICT;
    else if (ledger_is_kept(parent))
        keys_add(keys, parent);
    return true;
}

static bool apply_work(struct batch *batch, const struct keys *keys, struct work *work)
{
    return work->legs_count > 0 ? apply_batch(batch, keys, work) : apply_one(batch, keys, work);
}

/* --- what was scheduled, when it is due ---------------------------------------------------- */

/* It ends now, whatever becomes of it. It may have ended already: cancelled, or executed by another
 * worker. */
static bool execute(struct batch *batch, const struct keys *keys, struct work *work)
{
    const struct request *request = work->request;
    struct target *scheduled = ledger_target(batch, &request->scheduled);
    enum result fault = work->isolated ? RESULT_INTERNAL : request->fault;

    assert(scheduled != NULL); /* by ledger_collect_targets */
    if (!scheduled->scheduled || scheduled->settled) {
        work->origin = ORIGIN_SKIPPED;
        skip_legs(work);
        return true;
    }
    scheduled->settled = true;
    scheduled->settled_by = request->command.type;
    if (fault == RESULT_APPLIED) return apply_work(batch, keys, work);
    work->origin = ORIGIN_DECIDED;
    refuse_batch(batch, work, fault);
    skip_legs(work);
    return true;
}

/* --- all of it ----------------------------------------------------------------------------- */

bool ledger_apply(struct batch *batch, struct err *err)
{
    struct keys keys;
    bool ok = keys_open(&keys, batch);
    for (uint32_t i = 0; ok && i < batch->works_count; i++) {
        struct work *work = &batch->works[i];
        int64_t at_us = work->request->at_us;
        batch->as_of_us = at_us != 0 ? at_us : batch->now_us; /* a batch's legs have its time */
        if (work->origin == ORIGIN_NONE && !work->is_leg)
            ok = uuid_is_zero(&work->request->scheduled) ? apply_work(batch, &keys, work)
                                                         : execute(batch, &keys, work);
        if (work->origin == ORIGIN_FAULT) reply_to_fault(batch, work);
    }
    return ok || err_set(err, ERR_REJECT, "could not decide commands: batch too large");
}

/* The legs before the one that an atomic batch was refused by were decided, and are not stored. */
bool ledger_hangs_on_keys(const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->works_count; i++)
        if (ledger_is_kept(&batch->works[i]) && batch->works[i].reply.has_failed_leg) return true;
    return false;
}

void ledger_forget(struct batch *batch)
{
    bool is_faulty = false; /* the last batch, and so its legs are nothing */

    for (uint32_t i = 0; i < batch->works_count; i++) {
        struct work *work = &batch->works[i];
        if (!work->is_leg) is_faulty = work->origin == ORIGIN_FAULT || work->isolated;
        if (work->origin == ORIGIN_FAULT || work->origin == ORIGIN_CACHED) continue;
        work->origin = work->is_leg && is_faulty ? ORIGIN_SKIPPED : ORIGIN_NONE;
        work->stored = false;
        work->user = NULL;
        work->transaction = NULL;
        work->past = NULL;
        work->history = NULL;
        work->parent = NULL;
        memset(&work->outcome, 0, sizeof work->outcome);
        memset(&work->reply, 0, sizeof work->reply);
    }
    batch->accounts = NULL;
    batch->accounts_count = 0;
    batch->targets = NULL;
    batch->targets_count = 0;
    batch->usages = NULL;
    batch->usages_count = 0;
    batch->undo = NULL;
    batch->undoable = false;
}
