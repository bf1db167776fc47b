/*
 * permission.c - see permission.h.
 */
#include "ledger/permission.h"

#include <assert.h>
#include <stdlib.h>

static bool is_checked(const struct batch *batch, const struct work *work)
{
    return batch->policy != NULL && !work->request->is_own;
}

/* Of what does not exist: none. */
static struct text payer_of(const struct batch *batch, const struct command *command)
{
    const struct target *target = ledger_target(batch, &command->transaction);

    assert(target != NULL); /* by ledger_collect_targets */
    bool gives_back = command->type == COMMAND_REVERSE && target->credit.length > 0;
    return gives_back ? target->credit : target->debit;
}

/* Nobody is known by having given no name. */
static bool is_same(struct text scheduler, struct text caller)
{
    return scheduler.length > 0 && text_equal(scheduler, caller);
}

/* Whether it cancels, or looks at, what its caller scheduled. */
static bool is_his(const struct batch *batch, const struct work *work)
{
    const struct request *request = work->request;

    if (request->command.type == COMMAND_GET_TRANSACTION)
        return work->transaction != NULL && is_same(work->transaction->user_id, request->user_id);
    if (request->command.type != COMMAND_CANCEL) return false;
    const struct target *target = ledger_target(batch, &request->command.transaction);
    assert(target != NULL); /* by ledger_collect_targets */
    return is_same(target->user_id, request->user_id);
}

struct wish permission_wish(const struct batch *batch, const struct work *work)
{
    const struct command *command = &work->request->command;
    struct wish wish = {
        .caller = work->request->user_id, .type = command->type, .is_his = is_his(batch, work)};
    const struct transaction_view *view = work->transaction;

    if (command->account.length > 0)
        wish.accounts[0] = command->account;
    else if (command->from.length > 0)
        wish.accounts[0] = command->from;
    else if (command_has_target(command->type))
        wish.accounts[0] = payer_of(batch, command);
    if (command->type == COMMAND_OPEN_ACCOUNT) wish.asset = command->asset;
    if (command->type == COMMAND_GET_TRANSACTION && view != NULL) {
        wish.accounts[0] = view->debit;
        wish.accounts[1] = view->credit;
        wish.asset = view->asset;
    }
    if (wish.asset.length > 0 || wish.accounts[0].length == 0) return wish;
    const struct account *account = ledger_account(batch, wish.accounts[0]);
    if (account != NULL && account->exists) wish.asset = account->asset->code;
    return wish;
}

static uint32_t collect(struct batch *batch, struct usage *out)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < batch->works_count; i++) {
        const struct work *work = &batch->works[i];
        const struct rule *rule;
        if (work->origin != ORIGIN_NONE || !is_checked(batch, work)) continue;
        if (!command_changes(work->request->command.type)) continue;
        struct wish wish = permission_wish(batch, work);
        for (uint32_t n = 0; (rule = policy_limited(batch->policy, &wish, n)) != NULL; n++) {
            if (out != NULL) out[count] = (struct usage){.rule = rule->id, .caller = wish.caller};
            count++;
        }
    }
    return count;
}

bool permission_collect(struct batch *batch, struct err *err)
{
    uint32_t unique = 0;

    batch->usages = NULL;
    batch->usages_count = 0;
    if (batch->policy == NULL || !batch->policy->has_daily_limits) return true;
    uint32_t count = collect(batch, NULL);
    struct usage *usages = arena_take(batch->arena, count * sizeof *usages);
    if (usages == NULL)
        return err_set(err, ERR_REJECT, "could not collect daily limits: batch too large");
    (void)collect(batch, usages);
    qsort(usages, count, sizeof *usages, usage_compare);
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || usage_compare(&usages[i], &usages[unique - 1]) != 0)
            usages[unique++] = usages[i];
    batch->usages = usages;
    batch->usages_count = unique;
    return true;
}

bool permission_may(const struct batch *batch, const struct work *work)
{
    if (!is_checked(batch, work)) return true;
    struct wish wish = permission_wish(batch, work);
    return policy_may(batch->policy, &wish);
}

bool permission_suffices(const struct batch *batch, const struct work *work, int64_t amount,
                         struct usage **charged)
{
    *charged = NULL;
    if (!is_checked(batch, work)) return true;
    struct wish wish = permission_wish(batch, work);
    wish.amount = amount;
    return policy_find(batch->policy, &wish, batch->usages, batch->usages_count, charged) != NULL;
}
