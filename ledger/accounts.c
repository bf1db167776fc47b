/*
 * accounts.c - which accounts and targets a batch is about, and finding them again.
 */
#include "ledger/ledger.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool too_large(struct err *err)
{
    return err_set(err, ERR_REJECT, "could not collect accounts: batch too large");
}

enum { WORK_TARGETS_MAX = 2 };

/* --- targets ----------------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
    return uuid_compare(a, b); /* a target begins with its id */
}
_Static_assert(offsetof(struct target, id) == 0, "so that an id is compared with a target");

/* Of a work that is still to be decided. */
static uint32_t target_ids_of(const struct work *work,
                              const struct uuid *ids[static WORK_TARGETS_MAX])
{
    const struct request *request = work->request;
    uint32_t count = 0;

    if (work->origin != ORIGIN_NONE) return 0;
    if (command_has_target(request->command.type)) ids[count++] = &request->command.transaction;
    if (!uuid_is_zero(&request->scheduled)) ids[count++] = &request->scheduled;
    return count;
}

bool ledger_collect_targets(struct batch *batch, struct err *err)
{
    const struct uuid *ids[WORK_TARGETS_MAX];
    uint32_t count = 0, unique = 0;

    for (uint32_t i = 0; i < batch->works_count; i++) count += target_ids_of(&batch->works[i], ids);
    struct target *targets = arena_take(batch->arena, sizeof *targets * count);
    if (targets == NULL) return too_large(err);
    count = 0;
    for (uint32_t i = 0; i < batch->works_count; i++)
        for (uint32_t n = target_ids_of(&batch->works[i], ids); n > 0; n--)
            targets[count++] = (struct target){.id = *ids[n - 1]};
    qsort(targets, count, sizeof *targets, compare_ids);
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || uuid_compare(&targets[i].id, &targets[unique - 1].id) != 0)
            targets[unique++] = targets[i];
    batch->targets = targets;
    batch->targets_count = unique;
    return true;
}

struct target *ledger_target(const struct batch *batch, const struct uuid *id)
{
    return bsearch(id, batch->targets, batch->targets_count, sizeof *batch->targets, compare_ids);
}

/* --- accounts ---------------------------------------------------------------------------- */

uint32_t ledger_ids_of(const struct batch *batch, const struct work *work,
                       struct text ids[static WORK_ACCOUNTS_MAX])
{
    const struct command *command = &work->request->command;
    uint32_t count = 0;

    if (command->account.length > 0) ids[count++] = command->account;
    if (command->from.length > 0) ids[count++] = command->from;
    if (command->to.length > 0) ids[count++] = command->to;
    if (!command_has_target(command->type)) return count;
    const struct target *target = ledger_target(batch, &command->transaction);
    assert(target != NULL); /* by ledger_collect_targets */
    if (target->debit.length > 0) ids[count++] = target->debit;
    if (target->credit.length > 0) ids[count++] = target->credit;
    assert(count <= WORK_ACCOUNTS_MAX);
    return count;
}

static int compare_texts(const void *a, const void *b)
{
    return text_compare(*(const struct text *)a, *(const struct text *)b);
}

bool ledger_collect(struct batch *batch, struct err *err)
{
    struct text *ids =
        arena_take(batch->arena, WORK_ACCOUNTS_MAX * sizeof *ids * batch->works_count);
    uint32_t count = 0, unique = 0;

    if (ids == NULL) return too_large(err);
    for (uint32_t i = 0; i < batch->works_count; i++)
        if (batch->works[i].origin == ORIGIN_NONE)
            count += ledger_ids_of(batch, &batch->works[i], ids + count);
    qsort(ids, count, sizeof *ids, compare_texts);
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || !text_equal(ids[i], ids[unique - 1])) ids[unique++] = ids[i];

    batch->accounts = arena_take(batch->arena, sizeof *batch->accounts * unique);
    if (batch->accounts == NULL) return too_large(err);
    memset(batch->accounts, 0, sizeof *batch->accounts * unique);
    for (uint32_t i = unique; i > 0; i--) batch->accounts[i - 1].id = ids[i - 1];
    batch->accounts_count = unique;
    return true;
}

static int compare_account(const void *id, const void *account)
{
    return text_compare(*(const struct text *)id, ((const struct account *)account)->id);
}

struct account *ledger_account(const struct batch *batch, struct text id)
{
    return bsearch(&id, batch->accounts, batch->accounts_count, sizeof *batch->accounts,
                   compare_account);
}

static int compare_asset(const void *code, const void *asset)
{
    return text_compare(*(const struct text *)code, ((const struct asset *)asset)->code);
}

const struct asset *ledger_asset(const struct batch *batch, struct text code)
{
    return bsearch(&code, batch->assets, batch->assets_count, sizeof *batch->assets, compare_asset);
}
