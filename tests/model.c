/*
 * model.c - see model.h. Written from docs/protocol.md, section by section.
 */
#include "tests/model_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t TEN_YEARS_US = 316224000 * (int64_t)1000000;

/* --- lists ------------------------------------------------------------------------------- */

void *model_take(struct arena *arena, size_t size)
{
    void *memory = arena_take(arena, size);

    assert(memory != NULL);
    return memset(memory, 0, size);
}

static int find(const struct model *model, struct text id)
{
    for (int at = (int)model->book.accounts_count - 1; at >= 0; at--)
        if (text_equal(model->book.accounts[at].id, id)) return at;
    return -1;
}

static struct model_account *at(struct model *model, int place)
{
    return place < 0 ? NULL : &model->book.accounts[place];
}

static struct model_user *user_named(struct model *model, struct text id)
{
    struct book *book = &model->book;

    for (uint32_t i = 0; i < book->users_count; i++)
        if (text_equal(book->users[i].id, id)) return &book->users[i];
    return NULL;
}

static struct model_account *named(struct model *model, struct text id)
{
    return at(model, find(model, id));
}

const struct model_account *model_account(const struct model *model, struct text id)
{
    return model_account_at(model, find(model, id));
}

const struct model_account *model_account_at(const struct model *model, int at)
{
    bool is_one = at >= 0 && at < (int)model->book.accounts_count;
    return is_one ? &model->book.accounts[at] : NULL;
}

struct text model_id_at(const struct model *model, int place)
{
    return place < 0 ? (struct text){0} : model->book.accounts[place].id;
}

static const struct model_asset *asset_of(const struct model *model, struct text code)
{
    for (uint32_t i = 0; i < model->assets_count; i++)
        if (text_equal(model->assets[i].code, code)) return &model->assets[i];
    return NULL;
}

/* The first accounts are the worlds, in the order of the assets. */
static struct model_account *world_of(struct model *model, const struct model_asset *asset)
{
    return &model->book.accounts[asset - model->assets];
}

static const struct uuid ids = {{0x01, 0x9a, 0xaf, 0x11, 0, 0, 0x70, 0, 0x80}};

struct uuid model_id(uint32_t number)
{
    struct uuid id = ids;

    memcpy(id.bytes + 12, &number, sizeof number);
    return id;
}

int model_number_of(const struct model *model, const struct uuid *id)
{
    uint32_t number;

    memcpy(&number, id->bytes + 12, sizeof number);
    return memcmp(id, &ids, 12) == 0 && number < model->count ? (int)number : -1;
}

const struct model_transaction *model_transaction(const struct model *model, uint32_t number)
{
    bool is_one = number < model->count && model->transactions[number].applied;
    return is_one ? &model->transactions[number] : NULL;
}

const struct model_transaction *model_any_transaction(const struct model *model, uint32_t number)
{
    bool is_one = number < model->count && model->transactions[number].scheduled;
    return is_one ? &model->transactions[number] : model_transaction(model, number);
}

/* What was scheduled ends once: by its execution, whatever comes of it, or by being cancelled. */
static struct model_fate fate_of_scheduled(const struct model *model, uint32_t number)
{
    struct model_fate fate = {.ender = -1};

    for (uint32_t i = number + 1; i < model->count && !fate.ended; i++) {
        const struct model_transaction *later = &model->transactions[i];
        bool executes = later->is_execution && later->executed == number;
        bool cancels = later->applied && later->type == COMMAND_CANCEL;
        fate.ended = executes || (cancels && later->refers == (int)number);
        if (!fate.ended) continue;
        fate.by = executes ? model->transactions[number].type : COMMAND_CANCEL;
        fate.ender = (int)i;
    }
    return fate;
}

/* A hold ends once: by the capture that is final or takes the last of it, by release, or by expiry.
 * Anything else is reversed once. */
struct model_fate model_fate(const struct model *model, uint32_t number)
{
    struct model_fate fate = {.ender = -1, .remaining = model->transactions[number].amount};

    if (model->transactions[number].scheduled) return fate_of_scheduled(model, number);
    for (uint32_t i = number + 1; i < model->count && !fate.ended; i++) {
        const struct model_transaction *later = &model->transactions[i];
        if (!later->applied || later->refers != (int)number) continue;
        fate.remaining -= later->amount;
        fate.ended = later->type != COMMAND_CAPTURE || later->takes_all || fate.remaining == 0;
        fate.by = later->type;
        fate.ender = (int)i;
    }
    if (fate.ended) fate.remaining = 0;
    return fate;
}

/* --- the order of precedence ------------------------------------------------------------- */

struct judgement {
    uint32_t rank; /* of the first rule broken */
    enum result result;
};

static const struct judgement innocent = {UINT32_MAX, RESULT_APPLIED};

static void rule_at(struct judgement *judgement, uint32_t rank, enum result result, bool broken)
{
    if (broken && rank < judgement->rank) *judgement = (struct judgement){rank, result};
}

static void rule(struct judgement *judgement, enum result result, bool broken)
{
    rule_at(judgement, 2 * result, result, broken);
}

/* The checks that come later than their row. */
static void rule_after(struct judgement *judgement, enum result row, enum result result,
                       bool broken)
{
    rule_at(judgement, 2 * row + 1, result, broken);
}

/* --- amounts ----------------------------------------------------------------------------- */

static bool fits(wide value)
{
    return value >= INT64_MIN && value <= INT64_MAX;
}

/* An integer is minor units; a decimal must fit the scale exactly. */
static bool to_minor(const struct amount *amount, const struct model_asset *asset, int64_t *minor)
{
    wide value = amount->value;

    *minor = 0;
    if (amount->is_decimal && amount->digits > asset->scale) return false;
    if (amount->is_decimal)
        for (uint32_t i = amount->digits; i < asset->scale; i++) value *= 10;
    if (!fits(value)) return false;
    *minor = (int64_t)value;
    return true;
}

/* It must be positive, and fit; `all` is what is meant when it is left out. */
static int64_t judge_amount(const struct command *command, const struct model_asset *asset,
                            bool given, int64_t all, struct judgement *judgement)
{
    int64_t minor;

    if (!given) return all;
    rule(judgement, RESULT_INVALID_AMOUNT, command->amount.value <= 0);
    if (asset == NULL) return 0;
    rule_after(judgement, RESULT_ASSET_MISMATCH, RESULT_INVALID_AMOUNT,
               !to_minor(&command->amount, asset, &minor));
    return minor;
}

/* --- rules that commands have in common -------------------------------------------------- */

struct act {                              /* what a command would do */
    struct model_account *debit, *credit; /* NULL: not known, or not concerned */
    struct model_account *subject;        /* of its conditions */
    int target;                           /* the transaction it is about; below 0: none */
    int64_t amount;
    bool moves;   /* the amount, from debit to credit; else it is held or given back */
    int64_t held; /* so much more is held of the subject */
    int64_t floor;
    int64_t taken; /* that counts against limits */
};

static bool is_system(const struct model_account *account)
{
    return account->kind == ACCOUNT_SYSTEM;
}

static wide available(const struct model_account *account)
{
    return account->balance - account->held;
}

static void judge_conditions(const struct command *command, const struct model_account *subject,
                             struct judgement *judgement)
{
    const struct conditions *conditions = &command->conditions;
    int64_t least;

    if (subject == NULL || !(conditions->has_if_seq || conditions->has_if_balance)) return;
    rule(judgement, RESULT_SYSTEM_ACCOUNT, is_system(subject));
    rule(judgement, RESULT_SEQ_MISMATCH,
         conditions->has_if_seq && conditions->if_seq != subject->seq);
    if (!conditions->has_if_balance) return;
    bool is_exact = to_minor(&conditions->if_balance, subject->asset, &least);
    rule_after(judgement, RESULT_SEQ_MISMATCH, RESULT_INVALID_AMOUNT, !is_exact);
    rule(judgement, RESULT_BALANCE_TOO_LOW, is_exact && subject->balance < least);
}

static void judge_asset(const struct command *command, const struct model_account *account,
                        struct judgement *judgement)
{
    rule(judgement, RESULT_ASSET_MISMATCH,
         command->asset.length > 0 && !text_equal(command->asset, account->asset->code));
}

/* Of what is imported: not before the last entry of an account, or its opening. */
static void judge_order(const struct model *model, const struct model_account *account,
                        struct judgement *judgement)
{
    bool is_past = model->now_us != model->clock_us;

    if (account != NULL && !is_system(account))
        rule_after(judgement, RESULT_AMOUNT_TOO_LARGE, RESULT_OUT_OF_ORDER,
                   is_past && model->now_us < account->changed_us);
}

/* Neither side closed, nor frozen in the direction the money goes, and the receiver not too full.
 */
static void judge_sides(const struct act *act, struct judgement *judgement)
{
    const struct model_account *debit = act->debit, *credit = act->credit;

    if (debit != NULL) {
        rule(judgement, RESULT_ACCOUNT_CLOSED, debit->closed);
        rule(judgement, RESULT_ACCOUNT_FROZEN, debit->frozen_out);
    }
    if (credit != NULL) {
        rule(judgement, RESULT_ACCOUNT_CLOSED, credit->closed);
        rule(judgement, RESULT_ACCOUNT_FROZEN, credit->frozen_in);
        rule(judgement, RESULT_OVERFLOW,
             !is_system(credit) && !fits(credit->balance + act->amount));
    }
}

static void judge_funds(const struct act *act, struct judgement *judgement)
{
    if (act->debit != NULL && !is_system(act->debit))
        rule(judgement, RESULT_INSUFFICIENT_FUNDS,
             available(act->debit) - act->amount < act->debit->floor);
}

/* --- deposit, withdraw, transfer --------------------------------------------------------- */

static void judge_movement(struct model *model, const struct command *command, struct act *act,
                           struct judgement *judgement)
{
    bool transfers = command->type == COMMAND_TRANSFER;
    struct model_account *first = named(model, transfers ? command->from : command->account);
    struct model_account *other = NULL;

    if (transfers) other = named(model, command->to);
    if (!transfers && first != NULL) other = world_of(model, first->asset);
    act->moves = true;
    act->debit = command->type == COMMAND_DEPOSIT ? other : first;
    act->credit = command->type == COMMAND_DEPOSIT ? first : other;
    act->subject = first;
    rule(judgement, RESULT_SAME_ACCOUNT,
         (transfers && text_equal(command->from, command->to)) ||
             (first != NULL && first == other));
    rule(judgement, RESULT_ACCOUNT_NOT_FOUND, first == NULL || other == NULL);
    act->amount = judge_amount(command, first == NULL ? NULL : first->asset, true, 0, judgement);
    if (first == NULL || other == NULL) return;
    judge_asset(command, first, judgement);
    rule(judgement, RESULT_ASSET_MISMATCH, first->asset != other->asset);
    judge_sides(act, judgement);
    judge_conditions(command, act->subject, judgement);
    judge_funds(act, judgement);
}

/* --- hold, capture, release, expire_hold ------------------------------------------------- */

static void judge_hold(struct model *model, const struct command *command, struct act *act,
                       struct judgement *judgement)
{
    struct model_account *account = named(model, command->account);

    act->debit = account;
    act->subject = account;
    rule(judgement, RESULT_ACCOUNT_NOT_FOUND, account == NULL);
    act->amount =
        judge_amount(command, account == NULL ? NULL : account->asset, true, 0, judgement);
    if (account == NULL) return;
    judge_asset(command, account, judgement);
    act->held = act->amount;
    rule(judgement, RESULT_SYSTEM_ACCOUNT, is_system(account));
    judge_sides(act, judgement);
    judge_conditions(command, account, judgement);
    judge_funds(act, judgement);
    rule(judgement, RESULT_OVERFLOW, !fits((wide)account->held + act->amount));
}

/* The hold that is named, and its account. */
static struct model_account *find_hold(struct model *model, const struct command *command,
                                       struct act *act, struct judgement *judgement)
{
    int number = model_number_of(model, &command->transaction);
    const struct model_transaction *hold =
        number < 0 ? NULL : model_transaction(model, (uint32_t)number);

    if (hold != NULL && hold->type != COMMAND_HOLD) hold = NULL;
    rule(judgement, RESULT_HOLD_NOT_FOUND, hold == NULL);
    if (hold == NULL) return NULL;
    act->target = number;
    return at(model, hold->debit);
}

/* Whoever comes later is told who was first. */
static void judge_ended(const struct model_fate *fate, struct judgement *judgement)
{
    rule(judgement, RESULT_HOLD_CAPTURED, fate->ended && fate->by == COMMAND_CAPTURE);
    rule(judgement, RESULT_HOLD_RELEASED, fate->ended && fate->by == COMMAND_RELEASE);
    rule(judgement, RESULT_HOLD_EXPIRED, fate->ended && fate->by == COMMAND_EXPIRE_HOLD);
}

static bool is_due(const struct model *model, int hold)
{
    int64_t expires_us = model->transactions[hold].expires_us;
    return expires_us != 0 && model->now_us >= expires_us;
}

static void judge_capture(struct model *model, const struct command *command, struct act *act,
                          struct judgement *judgement)
{
    struct model_account *account = find_hold(model, command, act, judgement);
    struct model_account *to = named(model, command->to);
    struct model_fate fate = {0};

    rule(judgement, RESULT_ACCOUNT_NOT_FOUND, command->to.length > 0 && to == NULL);
    if (account != NULL) fate = model_fate(model, (uint32_t)act->target);
    act->amount = judge_amount(command, account == NULL ? NULL : account->asset,
                               command->has_amount, fate.remaining, judgement);
    if (account == NULL) return;
    if (command->to.length == 0) to = world_of(model, account->asset);
    act->moves = true;
    act->debit = account;
    act->credit = to;
    act->subject = account;
    bool keeps = command->keeps_rest && act->amount > 0; /* else the rest is released */
    act->held = -(keeps ? act->amount : fate.remaining);
    rule_after(judgement, RESULT_HOLD_NOT_FOUND, RESULT_SAME_ACCOUNT, to == account);
    rule(judgement, RESULT_ASSET_MISMATCH, to != NULL && to->asset != account->asset);
    judge_ended(&fate, judgement);
    rule(judgement, RESULT_HOLD_EXPIRED, !fate.ended && is_due(model, act->target));
    rule(judgement, RESULT_AMOUNT_TOO_LARGE, act->amount > fate.remaining);
    judge_sides(act, judgement);
    judge_conditions(command, account, judgement);
}

static void judge_release(struct model *model, const struct command *command, struct act *act,
                          struct judgement *judgement)
{
    struct model_account *account = find_hold(model, command, act, judgement);

    if (account == NULL) return;
    struct model_fate fate = model_fate(model, (uint32_t)act->target);
    act->amount = fate.remaining;
    act->held = -fate.remaining;
    act->subject = account;
    judge_ended(&fate, judgement);
    rule(judgement, RESULT_HOLD_NOT_DUE,
         command->type == COMMAND_EXPIRE_HOLD && !is_due(model, act->target));
    judge_conditions(command, account, judgement);
}

/* --- reverse ----------------------------------------------------------------------------- */

/* A deposit, withdrawal, transfer or capture: whoever received gives back. */
static bool is_reversible(enum command_type type)
{
    return type == COMMAND_DEPOSIT || type == COMMAND_WITHDRAW || type == COMMAND_TRANSFER ||
           type == COMMAND_CAPTURE;
}

static void judge_reverse(struct model *model, const struct command *command, struct act *act,
                          struct judgement *judgement)
{
    int number = model_number_of(model, &command->transaction);
    const struct model_transaction *first =
        number < 0 ? NULL : model_transaction(model, (uint32_t)number);

    bool is_scheduled = number >= 0 && model->transactions[number].scheduled;
    rule(judgement, RESULT_TRANSACTION_NOT_FOUND, first == NULL && !is_scheduled);
    rule(judgement, RESULT_NOT_REVERSIBLE, is_scheduled);
    rule(judgement, RESULT_INVALID_AMOUNT, command->has_amount && command->amount.value <= 0);
    if (first == NULL) return;
    rule(judgement, RESULT_NOT_REVERSIBLE, !is_reversible(first->type));
    if (!is_reversible(first->type)) return;
    act->moves = true;
    act->target = number;
    act->debit = at(model, first->credit);
    act->credit = at(model, first->debit);
    act->subject = act->debit;
    act->amount =
        judge_amount(command, act->debit->asset, command->has_amount, first->amount, judgement);
    rule(judgement, RESULT_ALREADY_REVERSED, model_fate(model, (uint32_t)number).ended);
    rule(judgement, RESULT_AMOUNT_TOO_LARGE, act->amount > first->amount);
    judge_sides(act, judgement);
    judge_conditions(command, act->subject, judgement);
    judge_funds(act, judgement);
}

/* --- open_account, freeze_account, unfreeze_account, close_account, set_floor -------------------
 */

static void judge_open(struct model *model, const struct command *command,
                       struct judgement *judgement)
{
    bool is_reserved =
        command->account.length >= 6 && memcmp(command->account.bytes, "world:", 6) == 0;

    rule(judgement, RESULT_ACCOUNT_RESERVED, is_reserved);
    rule(judgement, RESULT_ASSET_NOT_FOUND, asset_of(model, command->asset) == NULL);
    rule(judgement, RESULT_ACCOUNT_EXISTS, named(model, command->account) != NULL);
}

static bool is_of_state(enum command_type type)
{
    return type == COMMAND_FREEZE_ACCOUNT || type == COMMAND_UNFREEZE_ACCOUNT ||
           type == COMMAND_CLOSE_ACCOUNT;
}

static void judge_state(struct model *model, const struct command *command, struct act *act,
                        struct judgement *judgement)
{
    struct model_account *account = named(model, command->account);

    act->subject = account;
    rule(judgement, RESULT_ACCOUNT_NOT_FOUND, account == NULL);
    if (account == NULL) return;
    rule(judgement, RESULT_SYSTEM_ACCOUNT, is_system(account));
    rule(judgement, RESULT_ACCOUNT_CLOSED, account->closed);
    rule(judgement, RESULT_ACCOUNT_NOT_EMPTY,
         command->type == COMMAND_CLOSE_ACCOUNT && (account->balance != 0 || account->held != 0));
    judge_conditions(command, account, judgement);
}

static void judge_floor(struct model *model, const struct command *command, struct act *act,
                        struct judgement *judgement)
{
    struct model_account *account = named(model, command->account);

    act->subject = account;
    rule(judgement, RESULT_INVALID_AMOUNT, command->amount.value > 0);
    rule(judgement, RESULT_ACCOUNT_NOT_FOUND, account == NULL);
    if (account == NULL) return;
    bool is_exact = to_minor(&command->amount, account->asset, &act->floor);
    rule_after(judgement, RESULT_ASSET_MISMATCH, RESULT_INVALID_AMOUNT, !is_exact);
    rule(judgement, RESULT_SYSTEM_ACCOUNT, is_system(account));
    rule(judgement, RESULT_ACCOUNT_CLOSED, account->closed);
    rule(judgement, RESULT_INSUFFICIENT_FUNDS, available(account) < act->floor);
    judge_conditions(command, account, judgement);
}

static void judge_user(struct model *model, const struct command *command,
                       struct judgement *judgement)
{
    rule(judgement, RESULT_USER_NOT_FOUND, user_named(model, command->user_id) == NULL);
}

/* --- cancel ------------------------------------------------------------------------------ */

/* Of what is applied, or is known to be scheduled. */
static bool is_known(const struct model *model, int number)
{
    return number >= 0 &&
           (model->transactions[number].applied || model->transactions[number].scheduled);
}

static void judge_cancel(struct model *model, const struct command *command, struct act *act,
                         struct judgement *judgement)
{
    int number = model_number_of(model, &command->transaction);
    struct model_fate fate = {0};

    rule(judgement, RESULT_TRANSACTION_NOT_FOUND, !is_known(model, number));
    if (!is_known(model, number)) return;
    bool is_scheduled = model->transactions[number].scheduled;
    rule(judgement, RESULT_NOT_SCHEDULED, !is_scheduled);
    if (!is_scheduled) return;
    act->target = number;
    if (!model_is_pending(model, (uint32_t)number)) fate = model_fate(model, (uint32_t)number);
    rule(judgement, RESULT_ALREADY_CANCELLED, fate.ended && fate.by == COMMAND_CANCEL);
    rule(judgement, RESULT_ALREADY_EXECUTED, fate.ended && fate.by != COMMAND_CANCEL);
}

/* --- all of them ------------------------------------------------------------------------- */

static bool is_late(const struct model *model, int64_t until_us)
{
    return until_us != 0 && model->now_us > until_us;
}

/* What is asked of any message, whatever it is about. */
static void judge_message(const struct model *model, const struct message *message,
                          struct judgement *judgement)
{
    int64_t from_us = message->command.conditions.not_before_us;

    rule(judgement, RESULT_EXPIRED,
         is_late(model, message->deadline_us) ||
             is_late(model, message->command.conditions.not_after_us));
    rule(judgement, RESULT_OUT_OF_ORDER, message->at_us > model->clock_us);
    rule(judgement, RESULT_FORBIDDEN, !model_may(model, message));
    rule(judgement, RESULT_TOO_FAR_AHEAD, from_us > model->clock_us + TEN_YEARS_US);
}

/* Limits count what is moved or held, and how far below zero a floor is. */
static int64_t taken_by(const struct command *command, const struct act *act)
{
    if (command->type == COMMAND_SET_FLOOR)
        return act->floor == INT64_MIN ? INT64_MAX : -act->floor;
    return act->moves || command->type == COMMAND_HOLD ? act->amount : 0;
}

static bool is_about_money(const struct command *command)
{
    return command->type != COMMAND_OPEN_ACCOUNT && command->type != COMMAND_CANCEL &&
           command->type != COMMAND_UPDATE_USER;
}

static enum result judge(struct model *model, const struct message *message, struct act *act)
{
    const struct command *command = &message->command;
    struct judgement judgement = innocent;

    judge_message(model, message, &judgement);
    if (command->type == COMMAND_CANCEL)
        judge_cancel(model, command, act, &judgement);
    else if (command->type == COMMAND_OPEN_ACCOUNT)
        judge_open(model, command, &judgement);
    else if (command->type == COMMAND_UPDATE_USER)
        judge_user(model, command, &judgement);
    else if (command->type == COMMAND_HOLD)
        judge_hold(model, command, act, &judgement);
    else if (command->type == COMMAND_CAPTURE)
        judge_capture(model, command, act, &judgement);
    else if (command->type == COMMAND_RELEASE || command->type == COMMAND_EXPIRE_HOLD)
        judge_release(model, command, act, &judgement);
    else if (command->type == COMMAND_REVERSE)
        judge_reverse(model, command, act, &judgement);
    else if (is_of_state(command->type))
        judge_state(model, command, act, &judgement);
    else if (command->type == COMMAND_SET_FLOOR)
        judge_floor(model, command, act, &judgement);
    else
        judge_movement(model, command, act, &judgement);
    judge_order(model, act->debit, &judgement);
    judge_order(model, act->credit, &judgement);
    if (!act->moves) judge_order(model, act->subject, &judgement);
    act->taken = taken_by(command, act);
    rule_after(&judgement, RESULT_AMOUNT_TOO_LARGE, RESULT_FORBIDDEN,
               is_about_money(command) && !model_suffices(model, message, act->taken));
    return judgement.result;
}

/* --- doing it ---------------------------------------------------------------------------- */

static void tell(const struct model_account *account, struct reply *out)
{
    if (account == NULL || is_system(account)) return;
    out->balances[out->balances_count++] =
        (struct balance_view){.account = account->id,
                              .asset = account->asset->code,
                              .balance = (int64_t)account->balance,
                              .held = account->held,
                              .seq = account->seq,
                              .has_seq = true};
}

static void step(struct model_account *account, int64_t when_us)
{
    if (account == NULL || is_system(account)) return;
    account->seq++;
    account->changed_us = when_us;
}

static void move(const struct act *act, int64_t when_us)
{
    assert(act->debit != NULL);
    assert(act->credit != NULL);
    act->debit->balance -= act->amount;
    act->credit->balance += act->amount;
    step(act->debit, when_us);
    step(act->credit, when_us);
}

/* Even if the clock is set back, the times of an account's entries never decrease. */
static int64_t time_of(const struct model *model, const struct act *act)
{
    const struct model_account *sides[] = {act->debit, act->credit, act->subject};
    int64_t when_us = model->now_us;

    for (uint32_t i = 0; i < (act->moves ? 2u : 3u); i++)
        if (sides[i] != NULL && !is_system(sides[i]) && sides[i]->changed_us > when_us)
            when_us = sides[i]->changed_us;
    return when_us;
}

static void update_user(struct model *model, const struct command *command)
{
    struct model_user *user = user_named(model, command->user_id);

    if (command->name.length > 0) user->name = command->name;
    if (command->metadata.size > 0) user->metadata = command->metadata;
}

/* The user is made with his first account; his name is the first that was given. */
static void note_user(struct model *model, const struct command *command)
{
    struct model_user *user = user_named(model, command->user_id);

    if (user == NULL) {
        assert(model->book.users_count < MODEL_USERS);
        user = &model->book.users[model->book.users_count++];
        *user = (struct model_user){.id = command->user_id, .created_us = model->now_us};
    }
    if (user->name.length == 0) user->name = command->name;
}

static struct model_account *open(struct model *model, const struct command *command)
{
    assert(model->book.accounts_count < MODEL_ACCOUNTS);
    struct model_account *account = &model->book.accounts[model->book.accounts_count++];

    *account = (struct model_account){.id = command->account,
                                      .user_id = command->user_id,
                                      .kind = command->kind,
                                      .asset = asset_of(model, command->asset),
                                      .created_us = model->now_us,
                                      .changed_us = model->now_us,
                                      .metadata = command->metadata};
    note_user(model, command);
    return account;
}

static void set_state(struct model_account *account, const struct command *command)
{
    enum direction direction = command->direction == 0 ? DIRECTION_BOTH : command->direction;
    bool frozen = command->type == COMMAND_FREEZE_ACCOUNT;

    if (command->type == COMMAND_CLOSE_ACCOUNT) {
        account->closed = true;
        return;
    }
    if (direction != DIRECTION_OUT) account->frozen_in = frozen;
    if (direction != DIRECTION_IN) account->frozen_out = frozen;
}

bool model_is_pending(const struct model *model, uint32_t number)
{
    for (uint32_t i = 0; i < model->book.pending_count; i++)
        if (model->book.pending[i] == number) return true;
    return false;
}

static void forget_pending(struct book *book, uint32_t number)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < book->pending_count; i++)
        if (book->pending[i] != number) book->pending[kept++] = book->pending[i];
    book->pending_count = kept;
}

static int place_of(const struct model *model, const struct model_account *account)
{
    return account == NULL ? -1 : (int)(account - model->book.accounts);
}

static struct model_side side_after(const struct model *model, int place)
{
    const struct model_account *account = model_account_at(model, place);

    if (account == NULL || is_system(account)) return (struct model_side){0};
    return (struct model_side){(int64_t)account->balance, account->held, account->seq};
}

/* Two sides where money moves. A hold has the debit alone, everything else the credit. */
static void note_transaction(struct model *model, const struct message *message,
                             const struct act *act, struct model_account *alone, int64_t when_us)
{
    const struct command *command = &message->command;
    bool is_hold = command->type == COMMAND_HOLD;
    struct model_transaction *out = &model->transactions[message->number];

    *out = (struct model_transaction){.applied = true,
                                      .type = command->type,
                                      .debit = place_of(model, is_hold ? alone : NULL),
                                      .credit = place_of(model, is_hold ? NULL : alone),
                                      .amount = act->amount,
                                      .floor = act->floor,
                                      .created_us = when_us,
                                      .takes_all = !command->keeps_rest,
                                      .refers = act->target};
    if (is_hold && command->expires_in_s > 0)
        out->expires_us = model->now_us + (int64_t)command->expires_in_s * 1000000;
    if (act->moves) {
        out->debit = place_of(model, act->debit);
        out->credit = place_of(model, act->credit);
    }
    out->debited = side_after(model, out->debit);
    out->credited = side_after(model, out->credit);
}

static void carry_out(struct model *model, const struct message *message, const struct act *act,
                      struct reply *out)
{
    const struct command *command = &message->command;
    struct model_account *alone = act->subject;
    int64_t when_us = time_of(model, act);

    out->timestamp_us = when_us;
    if (command->type == COMMAND_UPDATE_USER) {
        update_user(model, command);
        note_transaction(model, message, act, NULL, when_us);
        return;
    }
    if (command->type == COMMAND_CANCEL) {
        forget_pending(&model->book, (uint32_t)act->target);
        note_transaction(model, message, act, NULL, when_us);
        return;
    }
    if (command->type == COMMAND_OPEN_ACCOUNT) alone = open(model, command);
    assert(alone != NULL);
    model_charge(model, message, act->taken);
    if (act->moves) move(act, when_us);
    alone->held += act->held;
    if (is_of_state(command->type)) set_state(alone, command);
    if (command->type == COMMAND_SET_FLOOR) alone->floor = act->floor;
    if (!act->moves && command->type != COMMAND_OPEN_ACCOUNT) step(alone, when_us);
    note_transaction(model, message, act, alone, when_us);
    tell(act->moves ? act->debit : alone, out);
    if (act->moves) tell(act->credit, out);
}

static struct reply begin_reply(const struct model *model, const struct message *message,
                                enum result result)
{
    return (struct reply){.result = result,
                          .timestamp_us = model->now_us,
                          .trace_id = message->trace_id,
                          .dry_run = message->command.dry_run};
}

/* When its time is to come it is kept, and nothing of it is looked at. */
static bool put_off(struct model *model, const struct message *message, struct reply *out)
{
    const struct command *command = &message->command;
    struct judgement judgement = innocent;

    judge_message(model, message, &judgement);
    if (judgement.result != RESULT_APPLIED || command->dry_run) return false;
    if (command->conditions.not_before_us <= model->clock_us) return false;
    *out = begin_reply(model, message, RESULT_SCHEDULED);
    out->has_transaction = true;
    out->transaction = model_id(message->number);
    out->scheduled_us = command->conditions.not_before_us;
    model->transactions[message->number] =
        (struct model_transaction){.scheduled = true,
                                   .type = command->type,
                                   .debit = -1,
                                   .credit = -1,
                                   .refers = -1,
                                   .created_us = model->now_us,
                                   .due_us = command->conditions.not_before_us};
    assert(model->book.pending_count < MODEL_PENDING);
    model->book.pending[model->book.pending_count++] = message->number;
    return true;
}

static void decide_one(struct model *model, const struct message *message, struct reply *out)
{
    struct act act = {.target = -1};

    model->count = message->number + 1;
    if (put_off(model, message, out)) return;
    *out = begin_reply(model, message, judge(model, message, &act));
    if (out->result != RESULT_APPLIED) return;
    out->created = message->command.type == COMMAND_OPEN_ACCOUNT;
    out->has_transaction = !message->command.dry_run;
    out->transaction = model_id(message->number);
    carry_out(model, message, &act, out);
}

/* --- what is due --------------------------------------------------------------------------- */

/* Those due at the same time in the order in which they were accepted. */
uint32_t model_due(const struct model *model, int64_t now_us, uint32_t *out, uint32_t most)
{
    const struct book *book = &model->book;
    uint32_t count = 0;

    for (uint32_t i = 0; i < book->pending_count; i++) {
        uint32_t number = book->pending[i], at = count;
        int64_t due_us = model->transactions[number].due_us;
        if (due_us > now_us) continue;
        while (at > 0 && model->transactions[out[at - 1]].due_us > due_us) at--;
        if (at == most) continue;
        if (count == most) count--;
        memmove(out + at + 1, out + at, sizeof *out * (count - at));
        out[at] = number;
        count++;
    }
    return count;
}

/* --- queries ----------------------------------------------------------------------------- */

static int64_t nearest(wide value)
{
    if (value > INT64_MAX) return INT64_MAX;
    return value < INT64_MIN ? INT64_MIN : (int64_t)value;
}

static enum result show_balance(const struct model_account *account, struct reply *out)
{
    tell(account, out);
    if (!is_system(account)) return RESULT_APPLIED;
    out->balances[out->balances_count++] =
        (struct balance_view){.account = account->id,
                              .asset = account->asset->code,
                              .balance = nearest(account->balance)};
    return RESULT_APPLIED;
}

static enum result show_account(struct model *model, const struct model_account *account,
                                struct reply *out)
{
    struct account_view *view = model_take(model->arena, sizeof *view);
    int frozen =
        (account->frozen_in ? DIRECTION_IN : 0) + (account->frozen_out ? DIRECTION_OUT : 0);

    *view = (struct account_view){.account = account->id,
                                  .user_id = account->user_id,
                                  .asset = account->asset->code,
                                  .kind = account->kind,
                                  .scale = account->asset->scale,
                                  .created_us = account->created_us,
                                  .metadata = account->metadata,
                                  .frozen = (enum direction)frozen,
                                  .closed = account->closed,
                                  .floor = account->floor};
    out->account = view;
    return RESULT_APPLIED;
}

static int compare_texts(const void *a, const void *b)
{
    return text_compare(*(const struct text *)a, *(const struct text *)b);
}

static enum result show_user(struct model *model, struct text id, struct reply *out)
{
    struct book *book = &model->book;
    struct user_view *view = model_take(model->arena, sizeof *view);
    struct text *accounts = model_take(model->arena, sizeof *accounts * MODEL_ACCOUNTS);
    const struct model_user *user = user_named(model, id);

    if (user == NULL) return RESULT_USER_NOT_FOUND;
    *view = (struct user_view){.user_id = id,
                               .name = user->name,
                               .created_us = user->created_us,
                               .metadata = user->metadata,
                               .accounts = accounts};
    for (uint32_t a = 0; a < book->accounts_count; a++)
        if (text_equal(book->accounts[a].user_id, id))
            accounts[view->accounts_count++] = book->accounts[a].id;
    qsort(accounts, view->accounts_count, sizeof *accounts, compare_texts);
    out->user = view;
    return RESULT_APPLIED;
}

static void show_links(const struct model *model, uint32_t number, struct transaction_view *view)
{
    const struct model_transaction *transaction = &model->transactions[number];

    if (transaction->type == COMMAND_CANCEL)
        view->scheduled = model_id((uint32_t)transaction->refers);
    else if (transaction->refers >= 0)
        view->refers = model_id((uint32_t)transaction->refers);
    if (transaction->is_execution) view->scheduled = model_id(transaction->executed);
    if (transaction->type != COMMAND_HOLD && !is_reversible(transaction->type)) return;
    struct model_fate fate = model_fate(model, number);
    if (fate.ended) view->settled = model_id((uint32_t)fate.ender);
    if (transaction->type != COMMAND_HOLD) return;
    view->remaining = fate.remaining;
    view->expires_us = transaction->expires_us;
}

static void show_schedule(const struct model *model, uint32_t number, struct transaction_view *view)
{
    struct model_fate fate = model_fate(model, number);

    view->scheduled_us = model->transactions[number].due_us;
    view->user_id = model->messages[number]->user_id;
    if (!fate.ended) return;
    view->ended = model_id((uint32_t)fate.ender);
    view->cancelled = fate.by == COMMAND_CANCEL;
    if (!view->cancelled) view->ended_result = model->transactions[fate.ender].result;
}

static enum result show_transaction(struct model *model, const struct uuid *id, struct reply *out)
{
    int number = model_number_of(model, id);

    if (!is_known(model, number)) return RESULT_TRANSACTION_NOT_FOUND;
    struct transaction_view *view = model_take(model->arena, sizeof *view);
    const struct model_transaction *found = &model->transactions[number];
    const struct message *message = model->messages[number];
    const struct model_account *any =
        model_account_at(model, found->debit >= 0 ? found->debit : found->credit);
    *view = (struct transaction_view){.transaction = *id,
                                      .type = found->type,
                                      .debit = model_id_at(model, found->debit),
                                      .credit = model_id_at(model, found->credit),
                                      .amount = found->amount,
                                      .floor = found->floor,
                                      .created_us = found->created_us,
                                      .trace_id = message->trace_id,
                                      .caller = message->caller,
                                      .key = text_of(message->key_text),
                                      .metadata = message->command.metadata,
                                      .ended_result = RESULT_APPLIED};
    if (any != NULL) view->asset = any->asset->code;
    if (found->scheduled)
        show_schedule(model, (uint32_t)number, view);
    else
        show_links(model, (uint32_t)number, view);
    out->details = view;
    return RESULT_APPLIED;
}

static enum result show(struct model *model, const struct command *command, struct reply *out)
{
    const struct model_account *account;

    if (command->type == COMMAND_GET_USER) return show_user(model, command->user_id, out);
    if (command->type == COMMAND_GET_TRANSACTION)
        return show_transaction(model, &command->transaction, out);
    account = named(model, command->account);
    if (account == NULL) return RESULT_ACCOUNT_NOT_FOUND;
    if (command->type == COMMAND_GET_ACCOUNT) return show_account(model, account, out);
    if (command->type == COMMAND_LIST_TRANSACTIONS)
        return model_show_page(model, account, command, out);
    return command_asks_past(command) ? model_show_past(model, account, command, out)
                                      : show_balance(account, out);
}

enum result model_find(struct model *model, const struct command *command, struct arena *arena,
                       struct reply *out)
{
    *out = (struct reply){0};
    model->arena = arena;
    return show(model, command, out);
}

static void answer_query(struct model *model, const struct message *message, struct reply *out)
{
    struct judgement judgement = innocent;

    model->count = message->number + 1;
    judge_message(model, message, &judgement);
    *out = begin_reply(model, message, judgement.result);
    if (out->result == RESULT_APPLIED) out->result = show(model, &message->command, out);
}

/* --- one key, one outcome ---------------------------------------------------------------- */

static void remember(struct model *model, const struct message *message, const struct reply *reply)
{
    struct model_decided *decided = &model->decided[message->key];

    *decided = (struct model_decided){true, message->fingerprint, *reply};
    decided->reply.legs = NULL; /* those are remembered under their own keys */
    decided->reply.legs_count = 0;
}

/* Whether the key was used before; then the reply is the first one again, or a conflict. */
static bool is_repeat(const struct model *model, const struct message *message, struct reply *out)
{
    const struct model_decided *first = &model->decided[message->key];

    if (!first->known) return false;
    *out = begin_reply(model, message, RESULT_KEY_REUSED);
    if (uuid_compare(&first->fingerprint, &message->fingerprint) != 0) return true;
    *out = first->reply;
    out->replayed = true;
    return true;
}

/* --- batches ----------------------------------------------------------------------------- */

static struct reply *take_legs(struct model *model, const struct message *batch, struct reply *out)
{
    struct leg_view *views = model_take(model->arena, sizeof *views * batch->legs_count);
    struct reply *replies = model_take(model->arena, sizeof *replies * batch->legs_count);

    for (uint32_t i = 0; i < batch->legs_count; i++)
        views[i] = (struct leg_view){text_of(batch[1 + i].key_text), &replies[i]};
    out->legs = views;
    out->legs_count = batch->legs_count;
    return replies;
}

/* As nothing after this number had been, and the accounts were then. */
static void go_back(struct model *model, const struct book *book, uint32_t number)
{
    model->book = *book;
    for (uint32_t i = number; i < model->count; i++) model->transactions[i].applied = false;
}

/* All are applied, or none, and then which failed. A key that was used before fails the batch. */
static void decide_atomic(struct model *model, const struct message *batch, struct reply *out)
{
    struct reply *legs = take_legs(model, batch, out);

    for (uint32_t i = 0; i < batch->legs_count; i++) {
        const struct message *leg = &batch[1 + i];
        bool is_used = !leg->command.dry_run && model->decided[leg->key].known;
        if (is_used)
            legs[i] = begin_reply(model, leg, RESULT_KEY_REUSED);
        else
            decide_one(model, leg, &legs[i]);
        if (legs[i].result == RESULT_APPLIED) continue;
        *out = begin_reply(model, batch, legs[i].result);
        out->has_failed_leg = true;
        out->failed_leg = i;
        return;
    }
    for (uint32_t i = 0; i < batch->legs_count && !batch->command.dry_run; i++)
        remember(model, &batch[1 + i], &legs[i]);
}

/* Each for itself; one whose key was used before is answered as a repeat is. */
static void decide_independent(struct model *model, const struct message *batch, struct reply *out)
{
    struct reply *legs = take_legs(model, batch, out);

    for (uint32_t i = 0; i < batch->legs_count; i++) {
        const struct message *leg = &batch[1 + i];
        if (!leg->command.dry_run && is_repeat(model, leg, &legs[i])) continue;
        decide_one(model, leg, &legs[i]);
        if (!leg->command.dry_run) remember(model, leg, &legs[i]);
    }
}

static void decide_batch(struct model *model, const struct message *batch, struct reply *out)
{
    struct judgement judgement = innocent;

    model->count = batch->number + 1;
    if (put_off(model, batch, out)) return;
    judge_message(model, batch, &judgement);
    *out = begin_reply(model, batch, judgement.result);
    if (out->result != RESULT_APPLIED) return;
    out->has_transaction = !batch->command.dry_run;
    out->transaction = model_id(batch->number);
    model->transactions[batch->number] = (struct model_transaction){.applied = true,
                                                                    .type = COMMAND_BATCH,
                                                                    .debit = -1,
                                                                    .credit = -1,
                                                                    .refers = -1,
                                                                    .created_us = model->now_us};
    if (batch->command.independent)
        decide_independent(model, batch, out);
    else
        decide_atomic(model, batch, out);
}

/* The same batch again: each of its keys is known. */
static void repeat_legs(struct model *model, const struct message *batch, struct reply *out)
{
    struct reply *legs = take_legs(model, batch, out);

    for (uint32_t i = 0; i < batch->legs_count; i++) {
        bool is_known = is_repeat(model, &batch[1 + i], &legs[i]);
        assert(is_known);
    }
}

/* --- all of it --------------------------------------------------------------------------- */

static void decide_anew(struct model *model, const struct message *message, struct reply *out)
{
    bool is_batch = message->command.type == COMMAND_BATCH, is_dry = message->command.dry_run;
    struct book before;

    if (is_batch || is_dry) before = model->book;
    if (is_batch)
        decide_batch(model, message, out);
    else
        decide_one(model, message, out);
    bool is_kept = out->result == RESULT_APPLIED || out->result == RESULT_SCHEDULED;
    if ((is_dry || !is_kept) && (is_batch || is_dry)) go_back(model, &before, message->number);
    if (message->at_us != 0 && !is_kept) return; /* a refused import leaves its key free */
    if (!is_dry && result_status(out->result) != STATUS_CONFLICT) remember(model, message, out);
}

/* Whatever comes of it, it has ended. */
static bool execute(struct model *model, const struct message *message, struct reply *out)
{
    struct model_transaction *own = &model->transactions[message->number];

    if (!model_is_pending(model, message->scheduled)) return false;
    forget_pending(&model->book, message->scheduled);
    decide_anew(model, message, out);
    own->is_execution = true;
    own->executed = message->scheduled;
    own->result = out->result;
    return true;
}

bool model_decide(struct model *model, const struct message *message, int64_t now_us,
                  struct arena *arena, struct reply *out)
{
    bool is_done = true;

    assert(message->number >= model->count);
    assert(message->number + message->legs_count < MODEL_COMMANDS);
    model->clock_us = now_us;
    model->now_us = message->at_us != 0 ? message->at_us : now_us;
    model->arena = arena;
    for (uint32_t i = 0; i <= message->legs_count; i++)
        model->messages[message->number + i] = &message[i];
    if (message->is_execution) {
        is_done = execute(model, message, out);
    } else if (!command_changes(message->command.type)) {
        answer_query(model, message, out);
    } else if (message->command.dry_run || !is_repeat(model, message, out)) {
        decide_anew(model, message, out);
    } else if (out->replayed && out->result == RESULT_APPLIED && message->legs_count > 0) {
        repeat_legs(model, message, out);
    }
    model->count = message->number + message->legs_count + 1;
    return is_done;
}

struct model *model_open(const struct model_asset *assets, uint32_t assets_count,
                         int64_t created_us)
{
    struct model *model = calloc(1, sizeof *model);

    assert(model != NULL);
    assert(assets_count <= MODEL_ASSETS);
    model->assets = assets;
    model->assets_count = assets_count;
    model->book.users_count = 1;
    model->book.users[0] =
        (struct model_user){.id = TEXT_LITERAL("system"), .created_us = created_us};
    for (uint32_t i = 0; i < assets_count; i++) {
        int length =
            snprintf(model->world_ids[i], WORLD_ID_SIZE, "world:%.*s", TEXT_ARGS(assets[i].code));
        model->book.accounts[model->book.accounts_count++] =
            (struct model_account){.id = {model->world_ids[i], (uint32_t)length},
                                   .user_id = TEXT_LITERAL("system"),
                                   .kind = ACCOUNT_SYSTEM,
                                   .asset = &assets[i],
                                   .created_us = created_us};
    }
    return model;
}

void model_close(struct model *model)
{
    free(model);
}
