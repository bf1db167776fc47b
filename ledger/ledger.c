/*
 * ledger.c - decides commands, in order, over the accounts of one batch.
 *
 * Each command is first checked as a whole; after the line "Decided" there are only assignments, so
 * a refusal cannot leave a trace in an account. The order of the checks is the order of RESULTS in
 * protocol/result.h, with one exception: whether a decimal amount fits can be known only once the
 * account, and so its asset's scale, is.
 */
#include "ledger/ledger.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --- the accounts of a batch ------------------------------------------------------------- */

static int compare_texts(const void *a, const void *b)
{
    return text_compare(*(const struct text *)a, *(const struct text *)b);
}

/* The ids that a request names; at most two. */
static uint32_t ids_of(const struct command *command, struct text ids[static 2])
{
    uint32_t count = 0;

    if (command->account.length > 0) ids[count++] = command->account;
    if (command->from.length > 0) ids[count++] = command->from;
    if (command->to.length > 0) ids[count++] = command->to;
    assert(count <= 2);
    return count;
}

bool ledger_collect(struct batch *batch, struct err *err)
{
    assert(batch->works_count <= BATCH_COMMANDS_MAX);
    struct text *ids = arena_take(batch->arena, 2 * sizeof *ids * (batch->works_count + 1U));
    uint32_t count = 0, unique = 0;

    if (ids == NULL) return err_set(err, ERR_REJECT, "could not collect accounts: batch too large");
    for (uint32_t i = 0; i < batch->works_count; i++) {
        const struct work *work = &batch->works[i];
        if (work->origin == ORIGIN_NONE) count += ids_of(&work->request->command, ids + count);
    }
    if (count > 1) qsort(ids, count, sizeof *ids, compare_texts);
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || !text_equal(ids[i], ids[unique - 1])) ids[unique++] = ids[i];

    batch->accounts = arena_take(batch->arena, sizeof *batch->accounts * (unique + 1U));
    if (batch->accounts == NULL)
        return err_set(err, ERR_REJECT, "could not collect accounts: batch too large");
    memset(batch->accounts, 0, sizeof *batch->accounts * unique);
    for (uint32_t i = 0; i < unique; i++) batch->accounts[i].id = ids[i];
    batch->accounts_count = unique;
    return true;
}

static int compare_account(const void *id, const void *account)
{
    return text_compare(*(const struct text *)id, ((const struct account *)account)->id);
}

struct account *ledger_account(const struct batch *batch, struct text id)
{
    if (batch->accounts_count == 0) return NULL;
    return bsearch(&id, batch->accounts, batch->accounts_count, sizeof *batch->accounts,
                   compare_account);
}

static int compare_asset(const void *code, const void *asset)
{
    return text_compare(*(const struct text *)code, ((const struct asset *)asset)->code);
}

const struct asset *ledger_asset(const struct batch *batch, struct text code)
{
    if (batch->assets_count == 0) return NULL;
    return bsearch(&code, batch->assets, batch->assets_count, sizeof *batch->assets, compare_asset);
}

static struct account *open_one(const struct batch *batch, struct text id)
{
    struct account *account = ledger_account(batch, id);
    return account != NULL && account->exists ? account : NULL;
}

/* States what must hold of an account before and after every command. */
static void account_assert_valid(const struct account *account)
{
    assert(account->asset != NULL);
    assert(account->number != 0);
    if (account->kind == ACCOUNT_SYSTEM) {
        assert(!account->changed);
        return;
    }
    assert(account->held >= 0);
    assert(account->balance >= account->held);
    assert(account->seq >= 0);
}

static struct side side_of(const struct account *account)
{
    return (struct side){.account = account,
                         .number = account->number,
                         .balance = account->balance,
                         .held = account->held,
                         .seq = account->seq};
}

/* --- opening an account ------------------------------------------------------------------ */

static bool is_reserved(struct text id)
{
    static const char prefix[] = "world:";
    return id.length >= sizeof prefix - 1 && memcmp(id.bytes, prefix, sizeof prefix - 1) == 0;
}

static enum result open_account(const struct batch *batch, const struct command *command,
                                struct outcome *out)
{
    struct account *account = ledger_account(batch, command->account);
    const struct asset *asset = ledger_asset(batch, command->asset);

    assert(account != NULL);
    if (is_reserved(command->account)) return RESULT_ACCOUNT_RESERVED;
    if (asset == NULL) return RESULT_ASSET_NOT_FOUND;
    if (account->exists) return RESULT_ACCOUNT_EXISTS;

    /* Decided. From here on there are only assignments. */
    account->exists = true;
    account->opened = true;
    account->kind = command->kind;
    account->asset = asset;
    account->user_id = command->user_id;
    account->created_us = batch->now_us;
    account->metadata = command->metadata;
    account_assert_valid(account);
    out->asset = asset;
    out->credit = side_of(account);
    return RESULT_APPLIED;
}

/* --- moving money ------------------------------------------------------------------------ */

struct movement {
    struct account *debit, *credit; /* NULL: the world of the other one's asset */
    const struct asset *asset;
    int64_t amount;
    int64_t debit_after, credit_after;
};

/* Which accounts, of which asset, and how much: everything but whether the money is there. */
static enum result movement_resolve(const struct batch *batch, const struct command *command,
                                    struct movement *movement)
{
    bool debits = command->type != COMMAND_DEPOSIT, credits = command->type != COMMAND_WITHDRAW;
    bool transfers = command->type == COMMAND_TRANSFER;

    if (command->amount.value <= 0) return RESULT_INVALID_AMOUNT;
    if (transfers && text_equal(command->from, command->to)) return RESULT_SAME_ACCOUNT;
    if (debits) {
        movement->debit = open_one(batch, transfers ? command->from : command->account);
        if (movement->debit == NULL) return RESULT_ACCOUNT_NOT_FOUND;
    }
    if (credits) {
        movement->credit = open_one(batch, transfers ? command->to : command->account);
        if (movement->credit == NULL) return RESULT_ACCOUNT_NOT_FOUND;
    }
    movement->asset = debits ? movement->debit->asset : movement->credit->asset;
    if (command->asset.length > 0 && !text_equal(command->asset, movement->asset->code))
        return RESULT_ASSET_MISMATCH;
    if (transfers && movement->credit->asset != movement->asset) return RESULT_ASSET_MISMATCH;
    if (!amount_to_minor(&command->amount, movement->asset->scale, &movement->amount))
        return RESULT_INVALID_AMOUNT;
    /* The world may be named; money from it to itself moves nothing. */
    if (!transfers &&
        (debits ? movement->debit : movement->credit)->number == movement->asset->world)
        return RESULT_SAME_ACCOUNT;
    return RESULT_APPLIED;
}

static bool has_floor(const struct account *account)
{
    return account != NULL && account->kind == ACCOUNT_USER;
}

static void movement_assign(struct account *account, int64_t balance_after)
{
    account->balance = balance_after;
    account->seq++;
    account->changed = true;
    account_assert_valid(account);
}

/* Only for queries later in the batch: what is stored of a system account is its deltas. */
static void system_assign(struct account *account, int64_t delta)
{
    if (account == NULL || account->kind != ACCOUNT_SYSTEM) return;
    if (__builtin_add_overflow(account->balance, delta, &account->balance))
        account->balance = delta > 0 ? INT64_MAX : INT64_MIN;
}

static enum result move(const struct batch *batch, const struct command *command,
                        struct outcome *out)
{
    struct movement movement = {0};
    enum result result = movement_resolve(batch, command, &movement);

    if (result != RESULT_APPLIED) return result;
    assert(movement.amount > 0);
    if (has_floor(movement.debit)) {
        account_assert_valid(movement.debit);
        if (movement.amount > movement.debit->balance - movement.debit->held)
            return RESULT_INSUFFICIENT_FUNDS;
        movement.debit_after = movement.debit->balance - movement.amount;
    }
    if (has_floor(movement.credit)) {
        account_assert_valid(movement.credit);
        if (__builtin_add_overflow(movement.credit->balance, movement.amount,
                                   &movement.credit_after))
            return RESULT_OVERFLOW;
    }

    /* Decided. From here on there are only assignments. */
    if (has_floor(movement.debit)) movement_assign(movement.debit, movement.debit_after);
    if (has_floor(movement.credit)) movement_assign(movement.credit, movement.credit_after);
    system_assign(movement.debit, -movement.amount);
    system_assign(movement.credit, movement.amount);
    struct side world = {.number = movement.asset->world};
    out->asset = movement.asset;
    out->amount = movement.amount;
    out->debit = movement.debit != NULL ? side_of(movement.debit) : world;
    out->credit = movement.credit != NULL ? side_of(movement.credit) : world;
    assert(out->debit.number != out->credit.number);
    return RESULT_APPLIED;
}

/* --- queries ----------------------------------------------------------------------------- */

static enum result look_up(const struct batch *batch, const struct work *work, struct outcome *out)
{
    const struct account *account;

    if (work->request->command.type == COMMAND_GET_USER)
        return work->user != NULL ? RESULT_APPLIED : RESULT_USER_NOT_FOUND;
    if (work->request->command.type == COMMAND_GET_TRANSACTION)
        return work->transaction != NULL ? RESULT_APPLIED : RESULT_TRANSACTION_NOT_FOUND;
    account = open_one(batch, work->request->command.account);
    if (account == NULL) return RESULT_ACCOUNT_NOT_FOUND;
    out->asset = account->asset;
    out->credit = side_of(account);
    return RESULT_APPLIED;
}

static enum result decide(const struct batch *batch, const struct work *work, struct outcome *out)
{
    const struct request *request = work->request;

    if (request->deadline_us != 0 && request->deadline_us < batch->now_us) return RESULT_EXPIRED;
    switch (request->command.type) {
    case COMMAND_OPEN_ACCOUNT:
        return open_account(batch, &request->command, out);
    case COMMAND_DEPOSIT:
    case COMMAND_WITHDRAW:
    case COMMAND_TRANSFER:
        return move(batch, &request->command, out);
    case COMMAND_GET_USER:
    case COMMAND_GET_ACCOUNT:
    case COMMAND_GET_BALANCE:
    case COMMAND_GET_TRANSACTION:
        return look_up(batch, work, out);
    case COMMANDS_COUNT:
        break;
    }
    assert(false && "a command type that is none");
    return RESULT_MALFORMED;
}

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
                                  .metadata = account->metadata};
    return view;
}

static struct reply reply_begin(const struct batch *batch, const struct work *work,
                                enum result result)
{
    return (struct reply){
        .result = result, .timestamp_us = batch->now_us, .trace_id = work->request->trace.trace_id};
}

static void reply_to_outcome(const struct batch *batch, struct work *work)
{
    const struct outcome *outcome = &work->outcome;
    enum command_type type = work->request->command.type;
    struct reply *reply = &work->reply;

    *reply = reply_begin(batch, work, outcome->result);
    if (outcome->result != RESULT_APPLIED) return;
    if (command_changes(type)) {
        reply->has_transaction = true;
        reply->transaction = work->id;
        reply->created = type == COMMAND_OPEN_ACCOUNT;
        if (has_floor(outcome->debit.account)) reply_add_balance(reply, &outcome->debit);
        if (has_floor(outcome->credit.account)) reply_add_balance(reply, &outcome->credit);
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

static void apply_one(const struct batch *batch, const struct keys *keys, struct work *work)
{
    struct work **slot = NULL;

    if (command_changes(work->request->command.type)) {
        assert(work->request->has_key);
        slot = keys_find(keys, &work->request->key_digest);
        if (*slot != NULL) {
            repeat(batch, work, &(*slot)->reply, &(*slot)->request->fingerprint);
            return;
        }
        if (work->stored) {
            struct reply first = work->reply;
            repeat(batch, work, &first, &work->stored_fingerprint);
            return;
        }
    }
    work->outcome = (struct outcome){0};
    work->outcome.result = decide(batch, work, &work->outcome);
    work->origin = ORIGIN_DECIDED;
    reply_to_outcome(batch, work);
    if (slot != NULL) *slot = work;
}

bool ledger_apply(struct batch *batch, struct err *err)
{
    struct keys keys;

    if (!keys_open(&keys, batch))
        return err_set(err, ERR_REJECT, "could not decide commands: batch too large");
    for (uint32_t i = 0; i < batch->works_count; i++) {
        struct work *work = &batch->works[i];
        if (work->origin == ORIGIN_NONE) apply_one(batch, &keys, work);
        if (work->origin == ORIGIN_FAULT) reply_to_fault(batch, work);
    }
    return true;
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
}
