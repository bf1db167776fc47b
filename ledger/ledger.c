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

    reply->balances[reply->balances_count++] =
        (struct balance_view){.account = account->id,
                              .asset = account->asset->code,
                              .balance = side->balance,
                              .held = side->held,
                              .seq = side->seq,
                              .has_seq = account->kind == ACCOUNT_USER};
}

static const struct account_view *view_account(struct arena *arena, const struct account *account)
{
    struct account_view *view = arena_take(arena, sizeof *view);

    if (view == NULL) return NULL; /* the reply then lacks it; a batch never comes near that size */
    *view = (struct account_view){.account = account->id,
                                  .user_id = account->user_id,
                                  .asset = account->asset->code,
                                  .kind = account->kind,
                                  .scale = account->asset->scale,
                                  .created_us = account->created_us,
                                  .metadata = account->metadata,
                                  .frozen = (enum direction)(account->state & DIRECTION_BOTH),
                                  .closed = (account->state & STATE_CLOSED) != 0};
    return view;
}

static struct reply reply_begin(const struct batch *batch, const struct work *work,
                                enum result result)
{
    return (struct reply){
        .result = result, .timestamp_us = batch->now_us, .trace_id = work->request->trace.trace_id};
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
    if (outcome->result != RESULT_APPLIED) return;
    if (command_changes(type)) {
        reply->has_transaction = !reply->dry_run;
        if (reply->has_transaction) reply->transaction = work->id;
        reply->created = type == COMMAND_OPEN_ACCOUNT;
        if (is_told(&outcome->debit)) reply_add_balance(reply, &outcome->debit);
        if (is_told(&outcome->credit)) reply_add_balance(reply, &outcome->credit);
    }
    if (type == COMMAND_GET_BALANCE) reply_add_balance(reply, &outcome->credit);
    if (type == COMMAND_GET_ACCOUNT)
        reply->account = view_account(batch->arena, outcome->credit.account);
    reply->user = work->user;
    reply->details = work->transaction;
}

static void reply_to_fault(const struct batch *batch, struct work *work)
{
    const struct request *request = work->request;

    work->reply = reply_begin(batch, work, work->isolated ? RESULT_INTERNAL : request->fault);
    if (!work->isolated) work->reply.message = text_of(request->problem);
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
    return true;
}

static bool apply_one(struct batch *batch, const struct keys *keys, struct work *work)
{
    if (!ledger_is_kept(work)) return apply_unkept(batch, work);
    struct work **slot = keys_find(keys, &work->request->key_digest);
    if (*slot != NULL) {
        repeat(batch, work, &(*slot)->reply, &(*slot)->request->fingerprint);
        return true;
    }
    if (work->stored) {
        struct reply first = work->reply;
        repeat(batch, work, &first, &work->stored_fingerprint);
        return true;
    }
    if (!decide(batch, work, &work->outcome)) return false;
    work->origin = ORIGIN_DECIDED;
    reply_to_outcome(batch, work);
    *slot = work;
    return true;
}

bool ledger_apply(struct batch *batch, struct err *err)
{
    struct keys keys;
    bool ok = keys_open(&keys, batch);
    for (uint32_t i = 0; ok && i < batch->works_count; i++) {
        struct work *work = &batch->works[i];
        if (work->origin == ORIGIN_NONE) ok = apply_one(batch, &keys, work);
        if (work->origin == ORIGIN_FAULT) reply_to_fault(batch, work);
    }
    return ok || err_set(err, ERR_REJECT, "could not decide commands: batch too large");
}

void ledger_forget(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->works_count; i++) {
        struct work *work = &batch->works[i];
        if (work->origin == ORIGIN_FAULT || work->origin == ORIGIN_CACHED) continue;
        work->origin = ORIGIN_NONE;
        work->stored = false;
        work->user = NULL;
        work->transaction = NULL;
        memset(&work->outcome, 0, sizeof work->outcome);
        memset(&work->reply, 0, sizeof work->reply);
    }
    batch->accounts = NULL;
    batch->accounts_count = 0;
    batch->targets = NULL;
    batch->targets_count = 0;
    batch->undo = NULL;
}
