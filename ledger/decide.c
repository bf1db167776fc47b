/*
 * decide.c - see decide.h. The order of the checks is the order of RESULTS in protocol/result.h,
 * with four exceptions: whether a decimal amount fits can be known only once the account, and so
 * its asset's scale, is, and so whether it is more than the caller may take; whether both sides are
 * the same account only once the target is; and whether what is imported comes too early only once
 * its accounts are.
 */
#include "ledger/decide.h"

#include "ledger/entry.h"
#include "ledger/permission.h"

#include <assert.h>
#include <string.h>

enum { AHEAD_SECONDS_MAX = 316224000 }; /* ten years, as of a hold */

/* What is to happen, if nothing speaks against it. */
struct plan {
    /* Both where money moves (NULL: the world of the asset); else one, see struct outcome. */
    struct account *debit, *credit;
    const struct asset *asset;
    int64_t amount; /* 0: none */
    bool moves;     /* the amount, from debit to credit */
    int64_t holds;  /* so much more is held on the one side, of a movement on the debit's */
    uint8_t state_set, state_cleared;
    bool sets_floor;
    int64_t floor;
    struct target *target;
    bool settles;
    struct usage *charged;         /* by what it takes; NULL: none */
    const struct account *subject; /* whose sequence number and balance may be conditions */
    int64_t at_us;
};

struct undo {
    struct undo *next;
    struct account *account; /* one of the three */
    struct target *target;
    struct usage *usage;
    union {
        struct account account;
        struct target target;
        struct usage usage;
    } before;
};

/* --- accounts ---------------------------------------------------------------------------- */

static struct account *open_one(const struct batch *batch, struct text id)
{
    struct account *account = ledger_account(batch, id);
    return account != NULL && account->exists ? account : NULL;
}

static bool has_floor(const struct account *account)
{
    return account != NULL && account->kind == ACCOUNT_USER;
}

/* States what must hold of an account before and after every command. */
static void account_assert_valid(const struct account *account)
{
    assert(account->asset != NULL);
    assert(account->number != 0);
    if (account->kind == ACCOUNT_SYSTEM) {
        assert(!account->changed);
        assert(account->state == 0);
        return;
    }
    int64_t available;
    bool overflows = __builtin_sub_overflow(account->balance, account->held, &available);
    assert(!overflows);
    assert(available >= account->floor);
    assert(account->floor <= 0);
    assert(account->held >= 0);
    assert(account->seq >= 0);
}

static struct side side_of(const struct account *account)
{
    return (struct side){.account = account,
                         .number = account->number,
                         .balance = account->balance,
                         .held = account->held,
                         .seq = account->seq,
                         .head = account->head,
                         .state = account->state};
}

/* What is not kept is no entry. */
static void link_entry(const struct batch *batch, const struct work *work, struct account *account,
                       struct side *side)
{
    if (has_floor(account) && ledger_is_kept(work)) entry_link(batch, work, account, side);
}

static bool is_reserved(struct text id)
{
    static const char prefix[] = "world:";
    return id.length >= sizeof prefix - 1 && memcmp(id.bytes, prefix, sizeof prefix - 1) == 0;
}

/* --- undoing ----------------------------------------------------------------------------- */

static bool note(struct batch *batch, struct account *account, struct target *target)
{
    if (!batch->undoable || (account == NULL && target == NULL)) return true;
    struct undo *undo = arena_take(batch->arena, sizeof *undo);

    if (undo == NULL) return false;
    *undo = (struct undo){.next = batch->undo, .account = account, .target = target};
    if (account != NULL)
        undo->before.account = *account;
    else
        undo->before.target = *target;
    batch->undo = undo;
    return true;
}

static bool note_usage(struct batch *batch, struct usage *usage)
{
    if (!batch->undoable || usage == NULL) return true;
    struct undo *undo = arena_take(batch->arena, sizeof *undo);

    if (undo == NULL) return false;
    *undo = (struct undo){.next = batch->undo, .usage = usage, .before.usage = *usage};
    batch->undo = undo;
    return true;
}

void decide_undo(struct batch *batch, struct undo *mark)
{
    for (; batch->undo != mark; batch->undo = batch->undo->next) {
        struct undo *undo = batch->undo;
        if (undo->account != NULL) *undo->account = undo->before.account;
        if (undo->target != NULL) *undo->target = undo->before.target;
        if (undo->usage != NULL) *undo->usage = undo->before.usage;
    }
}

/* --- opening an account ------------------------------------------------------------------ */

static bool open_account(struct batch *batch, const struct work *work, struct outcome *out)
{
    const struct command *command = &work->request->command;
    struct account *account = ledger_account(batch, command->account);
    const struct asset *asset = ledger_asset(batch, command->asset);

    assert(account != NULL);
    out->result = RESULT_APPLIED;
    if (account->exists) out->result = RESULT_ACCOUNT_EXISTS;
    if (asset == NULL) out->result = RESULT_ASSET_NOT_FOUND;
    if (is_reserved(command->account)) out->result = RESULT_ACCOUNT_RESERVED;
    if (out->result != RESULT_APPLIED) return true;
    if (!note(batch, account, NULL)) return false;

    /* Decided. From here on there are only assignments. */
    account->exists = true;
    account->opened = true;
    account->kind = command->kind;
    account->asset = asset;
    account->user_id = command->user_id;
    account->created_us = account->changed_us = batch->as_of_us;
    account->metadata = command->metadata;
    account_assert_valid(account);
    out->asset = asset;
    out->credit = side_of(account);
    link_entry(batch, work, account, &out->credit);
    return true;
}

/* --- cancelling what was scheduled -------------------------------------------------------- */

static bool cancel(struct batch *batch, const struct command *command, struct outcome *out)
{
    struct target *target = ledger_target(batch, &command->transaction);

    assert(target != NULL);
    out->result = RESULT_APPLIED;
    if (target->settled)
        out->result = target->settled_by == COMMAND_CANCEL ? RESULT_ALREADY_CANCELLED
                                                           : RESULT_ALREADY_EXECUTED;
    if (!target->scheduled) out->result = RESULT_NOT_SCHEDULED;
    if (!target->exists) out->result = RESULT_TRANSACTION_NOT_FOUND;
    if (out->result != RESULT_APPLIED) return true;
    if (!note(batch, NULL, target)) return false;
    target->settled = true;
    target->settled_by = COMMAND_CANCEL;
    return true;
}

/* --- changing a user ---------------------------------------------------------------------- */

/* As of the start of the batch, or made in it. Users are never removed. */
static bool user_exists(const struct batch *batch, const struct work *work)
{
    if (work->user != NULL) return true;
    for (uint32_t i = 0; i < batch->accounts_count; i++) {
        const struct account *account = &batch->accounts[i];
        if (account->opened && text_equal(account->user_id, work->request->command.user_id))
            return true;
    }
    return false;
}

/* What becomes of him is the store's: no account, and so no other command, depends on it. */
static enum result update_user(const struct batch *batch, const struct work *work)
{
    return user_exists(batch, work) ? RESULT_APPLIED : RESULT_USER_NOT_FOUND;
}

/* --- plans ------------------------------------------------------------------------------- */

/* Deposit, withdraw, transfer. */
static enum result plan_movement(const struct batch *batch, const struct command *command,
                                 struct plan *plan)
{
    bool debits = command->type != COMMAND_DEPOSIT, credits = command->type != COMMAND_WITHDRAW;
    bool transfers = command->type == COMMAND_TRANSFER;

    if (command->amount.value <= 0) return RESULT_INVALID_AMOUNT;
    if (transfers && text_equal(command->from, command->to)) return RESULT_SAME_ACCOUNT;
    if (debits) {
        plan->debit = open_one(batch, transfers ? command->from : command->account);
        if (plan->debit == NULL) return RESULT_ACCOUNT_NOT_FOUND;
    }
    if (credits) {
        plan->credit = open_one(batch, transfers ? command->to : command->account);
        if (plan->credit == NULL) return RESULT_ACCOUNT_NOT_FOUND;
    }
    plan->moves = true;
    plan->subject = debits ? plan->debit : plan->credit;
    plan->asset = plan->subject->asset;
    /* The world may be named; money from it to itself moves nothing. */
    if (!transfers && plan->subject->number == plan->asset->world) return RESULT_SAME_ACCOUNT;
    if (command->asset.length > 0 && !text_equal(command->asset, plan->asset->code))
        return RESULT_ASSET_MISMATCH;
    if (transfers && plan->credit->asset != plan->asset) return RESULT_ASSET_MISMATCH;
    if (!amount_to_minor(&command->amount, plan->asset->scale, &plan->amount))
        return RESULT_INVALID_AMOUNT;
    return RESULT_APPLIED;
}

static enum result plan_hold(const struct batch *batch, const struct command *command,
                             struct plan *plan)
{
    if (command->amount.value <= 0) return RESULT_INVALID_AMOUNT;
    plan->debit = open_one(batch, command->account);
    if (plan->debit == NULL) return RESULT_ACCOUNT_NOT_FOUND;
    plan->subject = plan->debit;
    plan->asset = plan->debit->asset;
    if (command->asset.length > 0 && !text_equal(command->asset, plan->asset->code))
        return RESULT_ASSET_MISMATCH;
    if (!amount_to_minor(&command->amount, plan->asset->scale, &plan->amount))
        return RESULT_INVALID_AMOUNT;
    plan->holds = plan->amount;
    return RESULT_APPLIED;
}

/* Who was first is said as precisely as it is known. */
static enum result hold_ended(const struct target *hold, enum result otherwise)
{
    if (!hold->settled) return otherwise;
    if (hold->settled_by == COMMAND_RELEASE) return RESULT_HOLD_RELEASED;
    if (hold->settled_by == COMMAND_EXPIRE_HOLD) return RESULT_HOLD_EXPIRED;
    return RESULT_HOLD_CAPTURED;
}

static bool is_due(const struct batch *batch, const struct target *hold)
{
    return hold->expires_us != 0 && hold->expires_us <= batch->as_of_us;
}

/* The hold that a command names, and its account. */
static enum result find_hold(const struct batch *batch, const struct command *command,
                             struct plan *plan, struct account **account)
{
    struct target *hold = ledger_target(batch, &command->transaction);

    assert(hold != NULL);
    if (!hold->exists || hold->scheduled || hold->type != COMMAND_HOLD)
        return RESULT_HOLD_NOT_FOUND;
    *account = open_one(batch, hold->debit);
    assert(*account != NULL); /* by ledger_collect; accounts are never removed */
    plan->target = hold;
    plan->subject = *account;
    plan->asset = (*account)->asset;
    return RESULT_APPLIED;
}

static enum result plan_capture(const struct batch *batch, const struct command *command,
                                struct plan *plan)
{
    enum result result;

    if (command->has_amount && command->amount.value <= 0) return RESULT_INVALID_AMOUNT;
    if (command->to.length > 0) {
        plan->credit = open_one(batch, command->to);
        if (plan->credit == NULL) return RESULT_ACCOUNT_NOT_FOUND;
    }
    result = find_hold(batch, command, plan, &plan->debit);
    if (result != RESULT_APPLIED) return result;
    const struct target *hold = plan->target;
    if (plan->credit == plan->debit) return RESULT_SAME_ACCOUNT;
    if (plan->credit != NULL && plan->credit->asset != plan->asset) return RESULT_ASSET_MISMATCH;
    plan->amount = hold->remaining;
    if (command->has_amount &&
        !amount_to_minor(&command->amount, plan->asset->scale, &plan->amount))
        return RESULT_INVALID_AMOUNT;
    result = hold_ended(hold, is_due(batch, hold) ? RESULT_HOLD_EXPIRED : RESULT_APPLIED);
    if (result != RESULT_APPLIED) return result;
    if (plan->amount > hold->remaining) return RESULT_AMOUNT_TOO_LARGE;
    plan->moves = true;
    plan->settles = !command->keeps_rest || plan->amount == hold->remaining;
    plan->holds = -(plan->settles ? hold->remaining : plan->amount);
    return RESULT_APPLIED;
}

/* Release and expiry. A hold that is due may still be released: it comes to the same. */
static enum result plan_release(const struct batch *batch, const struct command *command,
                                struct plan *plan)
{
    enum result result = find_hold(batch, command, plan, &plan->credit), otherwise;

    if (result != RESULT_APPLIED) return result;
    otherwise = command->type == COMMAND_EXPIRE_HOLD && !is_due(batch, plan->target)
                    ? RESULT_HOLD_NOT_DUE
                    : RESULT_APPLIED;
    result = hold_ended(plan->target, otherwise);
    if (result != RESULT_APPLIED) return result;
    plan->amount = plan->target->remaining;
    plan->holds = -plan->amount;
    plan->settles = true;
    return RESULT_APPLIED;
}

static bool is_movement(enum command_type type)
{
    return type == COMMAND_DEPOSIT || type == COMMAND_WITHDRAW || type == COMMAND_TRANSFER ||
           type == COMMAND_CAPTURE;
}

/* Who received gives it back. */
static enum result plan_reverse(const struct batch *batch, const struct command *command,
                                struct plan *plan)
{
    struct target *target = ledger_target(batch, &command->transaction);

    assert(target != NULL);
    if (command->has_amount && command->amount.value <= 0) return RESULT_INVALID_AMOUNT;
    if (!target->exists) return RESULT_TRANSACTION_NOT_FOUND;
    if (target->scheduled || !is_movement(target->type)) return RESULT_NOT_REVERSIBLE;
    plan->debit = open_one(batch, target->credit); /* NULL: a world, whose id is empty here */
    plan->credit = open_one(batch, target->debit);
    assert(plan->debit != NULL || plan->credit != NULL);
    plan->target = target;
    plan->subject = plan->debit; /* NULL: the world */
    plan->asset = (plan->debit != NULL ? plan->debit : plan->credit)->asset;
    plan->amount = target->amount;
    if (command->has_amount &&
        !amount_to_minor(&command->amount, plan->asset->scale, &plan->amount))
        return RESULT_INVALID_AMOUNT;
    if (target->settled) return RESULT_ALREADY_REVERSED;
    if (plan->amount > target->amount) return RESULT_AMOUNT_TOO_LARGE;
    plan->moves = true;
    plan->settles = true;
    return RESULT_APPLIED;
}

/* Freezing, unfreezing and closing an account. */
static enum result plan_state(const struct batch *batch, const struct command *command,
                              struct plan *plan)
{
    uint8_t directions =
        (uint8_t)(command->direction == 0 ? DIRECTION_BOTH : (int)command->direction);

    plan->credit = open_one(batch, command->account);
    if (plan->credit == NULL) return RESULT_ACCOUNT_NOT_FOUND;
    plan->subject = plan->credit;
    plan->asset = plan->credit->asset;
    if (command->type == COMMAND_CLOSE_ACCOUNT)
        plan->state_set = STATE_CLOSED;
    else if (command->type == COMMAND_FREEZE_ACCOUNT)
        plan->state_set = directions;
    else
        plan->state_cleared = directions;
    return RESULT_APPLIED;
}

/* How far below zero an account may go. */
static enum result plan_floor(const struct batch *batch, const struct command *command,
                              struct plan *plan)
{
    if (command->amount.value > 0) return RESULT_INVALID_AMOUNT;
    plan->credit = open_one(batch, command->account);
    if (plan->credit == NULL) return RESULT_ACCOUNT_NOT_FOUND;
    plan->subject = plan->credit;
    plan->asset = plan->credit->asset;
    if (!amount_to_minor(&command->amount, plan->asset->scale, &plan->floor))
        return RESULT_INVALID_AMOUNT;
    plan->sets_floor = true;
    return RESULT_APPLIED;
}

static enum result make_plan(const struct batch *batch, const struct command *command,
                             struct plan *plan)
{
    switch (command->type) {
    case COMMAND_DEPOSIT:
    case COMMAND_WITHDRAW:
    case COMMAND_TRANSFER:
        return plan_movement(batch, command, plan);
    case COMMAND_HOLD:
        return plan_hold(batch, command, plan);
    case COMMAND_CAPTURE:
        return plan_capture(batch, command, plan);
    case COMMAND_RELEASE:
    case COMMAND_EXPIRE_HOLD:
        return plan_release(batch, command, plan);
    case COMMAND_REVERSE:
        return plan_reverse(batch, command, plan);
    case COMMAND_FREEZE_ACCOUNT:
    case COMMAND_UNFREEZE_ACCOUNT:
    case COMMAND_CLOSE_ACCOUNT:
        return plan_state(batch, command, plan);
    case COMMAND_SET_FLOOR:
        return plan_floor(batch, command, plan);
    case COMMAND_OPEN_ACCOUNT:
    case COMMAND_BATCH:
    case COMMAND_CANCEL:
    case COMMAND_UPDATE_USER:
    case COMMAND_GET_USER:
    case COMMAND_GET_ACCOUNT:
    case COMMAND_GET_BALANCE:
    case COMMAND_GET_TRANSACTION:
    case COMMAND_LIST_TRANSACTIONS:
    case COMMANDS_COUNT:
        break;
    }
    assert(false && "a command that moves nothing");
    return RESULT_MALFORMED;
}

/* --- checks that all plans have in common ------------------------------------------------ */

/* What is moved or held, or how far below zero an account may go. */
static int64_t taken_by(const struct plan *plan)
{
    if (plan->sets_floor) return plan->floor == INT64_MIN ? INT64_MAX : -plan->floor;
    return plan->moves || plan->target == NULL ? plan->amount : 0;
}

/* A side that no money moves on. */
static struct account *only_side(const struct plan *plan)
{
    return plan->debit != NULL ? plan->debit : plan->credit;
}

/* What needs an account's lock, sequence or state, which a system account has not. */
static enum result check_kind(const struct command *command, const struct plan *plan)
{
    const struct conditions *conditions = &command->conditions;

    if (!plan->moves && only_side(plan)->kind == ACCOUNT_SYSTEM) return RESULT_SYSTEM_ACCOUNT;
    if (!conditions->has_if_seq && !conditions->has_if_balance) return RESULT_APPLIED;
    return has_floor(plan->subject) ? RESULT_APPLIED : RESULT_SYSTEM_ACCOUNT;
}

static uint8_t state_of(const struct account *account)
{
    return account == NULL ? 0 : account->state;
}

/* Money that is released or expires goes nowhere, so it may do so in a frozen account. A closed one
 * has none. */
static enum result check_state(const struct plan *plan)
{
    if (((state_of(plan->debit) | state_of(plan->credit)) & STATE_CLOSED) != 0)
        return RESULT_ACCOUNT_CLOSED;
    if ((state_of(plan->debit) & STATE_FROZEN_OUT) != 0) return RESULT_ACCOUNT_FROZEN;
    if (plan->moves && (state_of(plan->credit) & STATE_FROZEN_IN) != 0)
        return RESULT_ACCOUNT_FROZEN;
    return RESULT_APPLIED;
}

/* Of a system account the order of its changes is not known, nor asked for. */
static int64_t changed_of(const struct account *account)
{
    return account == NULL || account->kind == ACCOUNT_SYSTEM ? 0 : account->changed_us;
}

static int64_t later(int64_t a_us, int64_t b_us)
{
    return a_us > b_us ? a_us : b_us;
}

static int64_t last_change(const struct plan *plan)
{
    return later(changed_of(plan->debit), changed_of(plan->credit));
}

/* What is imported has its own time, which is not to be changed as that of the clock is: see
 * time_of. */
static enum result check_time(const struct batch *batch, const struct plan *plan)
{
    bool is_now = batch->as_of_us == batch->now_us;
    return is_now || batch->as_of_us >= last_change(plan) ? RESULT_APPLIED : RESULT_OUT_OF_ORDER;
}

static enum result check_conditions(const struct command *command, const struct plan *plan)
{
    const struct conditions *conditions = &command->conditions;
    int64_t least;

    if (conditions->has_if_seq && plan->subject->seq != conditions->if_seq)
        return RESULT_SEQ_MISMATCH;
    if (!conditions->has_if_balance) return RESULT_APPLIED;
    if (!amount_to_minor(&conditions->if_balance, plan->asset->scale, &least))
        return RESULT_INVALID_AMOUNT;
    return plan->subject->balance < least ? RESULT_BALANCE_TOO_LOW : RESULT_APPLIED;
}

/* What is available is never below the floor, so it never overflows; without so much it might. */
static bool falls_below_floor(const struct account *account, int64_t needed)
{
    int64_t after;
    bool overflows = __builtin_sub_overflow(account->balance - account->held, needed, &after);

    return overflows || after < account->floor;
}

static enum result check_money(const struct plan *plan)
{
    const struct account *debit = plan->debit, *credit = plan->credit;
    int64_t needed = plan->holds, after;

    if ((plan->state_set & STATE_CLOSED) != 0 && (credit->balance != 0 || credit->held != 0))
        return RESULT_ACCOUNT_NOT_EMPTY;
    if (plan->moves) needed += plan->amount; /* of opposite signs, or one of them 0 */
    if (has_floor(debit) && falls_below_floor(debit, needed)) return RESULT_INSUFFICIENT_FUNDS;
    if (plan->sets_floor && credit->balance - credit->held < plan->floor)
        return RESULT_INSUFFICIENT_FUNDS;
    if (plan->moves && has_floor(credit) &&
        __builtin_add_overflow(credit->balance, plan->amount, &after))
        return RESULT_OVERFLOW;
    /* Far below zero, more can be held than there ever was. */
    if (has_floor(debit) && __builtin_add_overflow(debit->held, plan->holds, &after))
        return RESULT_OVERFLOW;
    return RESULT_APPLIED;
}

static enum result check(const struct batch *batch, const struct command *command,
                         const struct plan *plan)
{
    enum result result = check_time(batch, plan);

    if (result == RESULT_APPLIED) result = check_kind(command, plan);
    if (result == RESULT_APPLIED) result = check_state(plan);
    if (result == RESULT_APPLIED) result = check_conditions(command, plan);
    if (result == RESULT_APPLIED) result = check_money(plan);
    return result;
}

/* --- carrying a plan out ----------------------------------------------------------------- */

/* Of a system account only the balance, and that for queries later in the batch: what is stored of
 * it is its deltas. */
static void change(struct account *account, const struct plan *plan, int64_t moved, int64_t held)
{
    if (account->kind == ACCOUNT_SYSTEM) {
        if (__builtin_add_overflow(account->balance, moved, &account->balance))
            account->balance = moved > 0 ? INT64_MAX : INT64_MIN;
        return;
    }
    account->balance += moved;
    account->held += held;
    account->state = (uint8_t)((account->state | plan->state_set) & ~plan->state_cleared);
    if (plan->sets_floor) account->floor = plan->floor;
    account->seq++;
    account->changed_us = plan->at_us;
    account->changed = true;
    account_assert_valid(account);
}

static void change_target(const struct plan *plan, enum command_type by)
{
    struct target *target = plan->target;

    if (target->type == COMMAND_HOLD) {
        target->remaining += plan->holds;
        target->changed = true;
        assert(target->remaining >= 0);
        assert(plan->settles == (target->remaining == 0));
    }
    if (!plan->settles) return;
    target->settled = true;
    target->settled_by = by;
}

static void charge(struct usage *usage, int64_t amount)
{
    assert(amount > 0);
    assert(usage->used <= INT64_MAX - amount); /* within a limit */
    usage->used += amount;
    usage->changed = true;
}

static void carry_out(const struct plan *plan, const struct command *command, int64_t now_us,
                      struct outcome *out)
{
    const struct side world = {.number = plan->asset->world}, none = {0};
    const struct side absent = plan->moves ? world : none;
    int64_t moved = plan->moves ? plan->amount : 0;
    bool debit_holds = plan->debit != NULL;

    assert(plan->debit != plan->credit);
    if (plan->debit != NULL) change(plan->debit, plan, -moved, plan->holds);
    if (plan->credit != NULL) change(plan->credit, plan, moved, debit_holds ? 0 : plan->holds);
    if (plan->target != NULL) change_target(plan, command->type);
    if (plan->charged != NULL) charge(plan->charged, taken_by(plan));
    out->asset = plan->asset;
    out->amount = plan->amount;
    out->debit = plan->debit != NULL ? side_of(plan->debit) : absent;
    out->credit = plan->credit != NULL ? side_of(plan->credit) : absent;
    out->target = plan->target;
    out->settles = plan->settles;
    out->at_us = plan->at_us;
    out->floor = plan->floor;
    if (command->type == COMMAND_HOLD && command->expires_in_s > 0)
        out->expires_us = now_us + (int64_t)command->expires_in_s * 1000000;
    assert(out->debit.number != out->credit.number);
}

/* A server's clock may be set back, or another one take over. What is due and what is late go by
 * the clock as it is; but an account's history never runs backwards, so that a time has one place
 * in it.
 */
static int64_t time_of(const struct plan *plan, int64_t now_us)
{
    return later(last_change(plan), now_us);
}

static bool apply(struct batch *batch, const struct work *work, struct outcome *out)
{
    const struct command *command = &work->request->command;
    struct plan plan = {0};

    out->result = make_plan(batch, command, &plan);
    if (out->result != RESULT_APPLIED) return true;
    out->over_limit = !permission_suffices(batch, work, taken_by(&plan), &plan.charged);
    out->result = out->over_limit ? RESULT_FORBIDDEN : check(batch, command, &plan);
    if (out->result != RESULT_APPLIED) return true;
    if (!note(batch, plan.debit, NULL) || !note(batch, plan.credit, NULL) ||
        !note(batch, NULL, plan.target) || !note_usage(batch, plan.charged))
        return false;
    plan.at_us = time_of(&plan, batch->as_of_us);
    carry_out(&plan, command, batch->as_of_us, out); /* decided: from here on only assignments */
    link_entry(batch, work, plan.debit, &out->debit);
    link_entry(batch, work, plan.credit, &out->credit);
    return true;
}

/* --- queries ----------------------------------------------------------------------------- */

/* The entries of a system account are not numbered, and their balances not known. */
static enum result look_back(const struct account *account, const struct work *work,
                             struct outcome *out)
{
    const struct past *past = work->past;

    if (past == NULL) return RESULT_TRANSACTION_NOT_FOUND;
    if (past->seq == 0 && past->at_us < account->created_us) return RESULT_ACCOUNT_NOT_FOUND;
    if (account->kind == ACCOUNT_SYSTEM) return RESULT_SYSTEM_ACCOUNT;
    out->credit.balance = past->balance;
    out->credit.held = past->held;
    out->credit.seq = past->seq;
    return RESULT_APPLIED;
}

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
    if (command_asks_past(&work->request->command)) return look_back(account, work, out);
    if (work->request->command.type == COMMAND_LIST_TRANSACTIONS && account->kind == ACCOUNT_SYSTEM)
        return RESULT_SYSTEM_ACCOUNT;
    return RESULT_APPLIED;
}

static bool is_late(const struct batch *batch, int64_t until_us)
{
    return until_us != 0 && until_us < batch->as_of_us;
}

enum result decide_whether(const struct batch *batch, const struct work *work)
{
    const struct request *request = work->request;
    const struct command *command = &request->command;
    int64_t from_us = command->conditions.not_before_us;

    if (is_late(batch, request->deadline_us) || is_late(batch, command->conditions.not_after_us))
        return RESULT_EXPIRED;
    if (request->at_us > batch->now_us) return RESULT_OUT_OF_ORDER;
    if (!permission_may(batch, work)) return RESULT_FORBIDDEN;
    if (from_us > batch->now_us + AHEAD_SECONDS_MAX * INT64_C(1000000)) return RESULT_TOO_FAR_AHEAD;
    /* What is only to be tried out is tried out now. */
    if (from_us > batch->now_us && !command->dry_run) return RESULT_SCHEDULED;
    return RESULT_APPLIED;
}

bool decide(struct batch *batch, const struct work *work, struct outcome *out)
{
    const struct request *request = work->request;
    const struct command *command = &request->command;

    *out = (struct outcome){.result = decide_whether(batch, work)};
    if (out->result != RESULT_APPLIED) return true;
    if (command->type == COMMAND_OPEN_ACCOUNT) return open_account(batch, work, out);
    if (command->type == COMMAND_CANCEL) return cancel(batch, command, out);
    if (command->type == COMMAND_UPDATE_USER) {
        out->result = update_user(batch, work);
        return true;
    }
    if (command_changes(command->type)) return apply(batch, work, out);
    out->result = look_up(batch, work, out);
    return true;
}
