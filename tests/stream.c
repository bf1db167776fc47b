/*
 * stream.c - see stream.h.
 */
#include "tests/stream.h"

#include "protocol/fingerprint.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    IDS = 60,       /* accounts that are opened in the course of a stream ... */
    WINDOW = 12,    /* ... so many of them in use at a time */
    LEGS_MOST = 60, /* of a batch that is long */
    RECENT = 300,
    S = 1000000,
    DAY_S = 86400,
};

static const char NAMES[IDS][4] = {
    "a00", "a01", "a02", "a03", "a04", "a05", "a06", "a07", "a08", "a09", "a10", "a11",
    "a12", "a13", "a14", "a15", "a16", "a17", "a18", "a19", "a20", "a21", "a22", "a23",
    "a24", "a25", "a26", "a27", "a28", "a29", "a30", "a31", "a32", "a33", "a34", "a35",
    "a36", "a37", "a38", "a39", "a40", "a41", "a42", "a43", "a44", "a45", "a46", "a47",
    "a48", "a49", "a50", "a51", "a52", "a53", "a54", "a55", "a56", "a57", "a58", "a59"};
static const char *const USERS[] = {"ann", "ben", "cat", "dan", "eve", "nobody"};
static const char *const ASSETS[] = {"EUR", "EUR", "EUR", "JPY", "JPY", "BHD", "BHD", "NONE"};
static const char *const WORLDS[] = {"world:EUR", "world:JPY", "world:BHD", "world:none"};
static const uint8_t METADATA[][4] = {{0x81, 0xa1, 'n', 1}, {0x81, 0xa1, 'n', 2}};

/* A policy's rules are made of these. */
static const char *const CALLERS[] = {"*", "ann", "ben", "ben", "cat"};
static const char *const LOGINS[] = {"", "ann", "ann", "ben", "ben", "cat"};
static const char *const ABOUT[] = {
    "*",
    "*",
    "*",
    "deposit,withdraw,transfer,batch",
    "hold,capture,release,expire_hold,batch",
    "reverse,cancel,batch,deposit",
    "open_account,deposit,transfer,hold,batch",
    "get_user,get_account,get_balance,get_transaction,list_transactions",
    "batch,set_floor,freeze_account,unfreeze_account,close_account,cancel,get_transaction"};
static const char *const PLACES[] = {"*",   "*",   "*",   "a*",  "a0*", "a1*",    "a2*",
                                     "a3*", "a4*", "a5*", "a17", "a35", "world:*"};
static const char *const NAMED_ASSETS[] = {"EUR", "EUR", "JPY", "BHD"};
static const int64_t LIMITS[] = {INT64_MAX, INT64_MAX, 100, 500, 900, 20000, 100000};

#define COUNT(table) ((uint32_t)(sizeof(table) / sizeof(table)[0]))
#define ONE_OF(stream, table) ((table)[stream_dice(stream, COUNT(table))])

uint32_t stream_dice(struct stream *stream, uint32_t sides)
{
    stream->random ^= stream->random >> 12; /* xorshift64* */
    stream->random ^= stream->random << 25;
    stream->random ^= stream->random >> 27;
    return (uint32_t)((stream->random * 2685821657736338717u) >> 32) % sides;
}

static bool one_in(struct stream *stream, uint32_t sides)
{
    return stream_dice(stream, sides) == 0;
}

/* At an edge, or right beside it. */
static int64_t about(struct stream *stream, int64_t edge)
{
    static const int64_t beside[] = {0, 0, 0, 1, -1};
    int64_t value;

    return __builtin_add_overflow(edge, ONE_OF(stream, beside), &value) ? edge : value;
}

/* --- what commands name ------------------------------------------------------------------ */

static struct text random_account(struct stream *stream)
{
    uint32_t first = (uint32_t)((uint64_t)stream->count * (IDS - WINDOW) / stream->wanted);

    if (one_in(stream, 40)) return text_of(ONE_OF(stream, WORLDS));
    if (one_in(stream, 30)) return text_of(NAMES[stream_dice(stream, IDS)]);
    if (first > IDS - WINDOW) first = IDS - WINDOW;
    return text_of(NAMES[first + stream_dice(stream, WINDOW)]);
}

/* Mostly one of the same asset. */
static struct text random_partner(struct stream *stream, const struct model *model,
                                  const struct model_account *first)
{
    struct text id = random_account(stream);

    for (uint32_t tries = stream_dice(stream, 6); tries > 0 && first != NULL; tries--) {
        const struct model_account *found = model_account(model, id);
        if (found != NULL && found->asset == first->asset) break;
        id = random_account(stream);
    }
    return id;
}

static bool suits(enum command_type type, const struct model_transaction *found)
{
    bool is_hold = found->type == COMMAND_HOLD;

    if (found->scheduled || type == COMMAND_CANCEL)
        return found->scheduled && type == COMMAND_CANCEL;
    if (type != COMMAND_REVERSE) return is_hold;
    return !is_hold && found->debit >= 0 && found->credit >= 0;
}

/* Mostly one that the command can be about, ended or not. */
static uint32_t random_target(struct stream *stream, const struct model *model,
                              enum command_type type)
{
    uint32_t recent = stream->span < RECENT ? stream->span : RECENT;

    if (recent == 0 || one_in(stream, 40)) return stream->span + MODEL_COMMANDS;
    for (uint32_t tries = 8 + stream_dice(stream, 80); tries > 0; tries--) {
        uint32_t number = stream->span - 1 - stream_dice(stream, recent);
        const struct model_transaction *found = model_any_transaction(model, number);
        if (found != NULL && suits(type, found)) return number;
    }
    return stream_dice(stream, stream->span);
}

/* One of those that wait, of those that did, or something else that was done. */
static uint32_t random_pending(struct stream *stream, const struct model *model)
{
    uint32_t pending[STREAM_DUE];
    uint32_t count = model_due(model, INT64_MAX, pending, STREAM_DUE);

    if (count > 0) count = stream_dice(stream, 2) == 0 ? count : 1 + stream_dice(stream, count);
    uint32_t number = count == 0 ? stream->span : pending[stream_dice(stream, count)];
    if (number < stream->span && one_in(stream, 8)) return number;
    if (stream->span > 0 && one_in(stream, 2)) return stream_dice(stream, stream->span);
    return random_target(stream, model, COMMAND_CANCEL);
}

/* The account that a command's conditions are about. */
static const struct model_account *subject_of(const struct model *model,
                                              const struct command *command, uint32_t target)
{
    const struct model_transaction *found;

    if (!command_has_target(command->type))
        return model_account(model,
                             command->type == COMMAND_TRANSFER ? command->from : command->account);
    found = model_transaction(model, target);
    if (found == NULL) return NULL;
    return model_account_at(model, command->type == COMMAND_REVERSE ? found->credit : found->debit);
}

/* --- amounts ----------------------------------------------------------------------------- */

static int64_t clamp(wide value)
{
    if (value > INT64_MAX) return INT64_MAX;
    return value < INT64_MIN ? INT64_MIN : (int64_t)value;
}

/* As it is read: without zeros at its end. */
static struct amount random_decimal(struct stream *stream)
{
    static const int64_t values[] = {5, 12, 120, 1000, 77700, INT64_MAX, INT64_MAX / 1000, -1, -50};
    struct amount amount = {.value = ONE_OF(stream, values),
                            .digits = (uint8_t)stream_dice(stream, 5),
                            .is_decimal = true};

    for (; amount.digits > 0 && amount.value % 10 == 0; amount.digits--) amount.value /= 10;
    return amount;
}

/* `edge` is as much as can be. */
static struct amount random_amount(struct stream *stream, int64_t edge)
{
    static const int64_t odd[] = {0, -1, INT64_MIN, INT64_MAX, INT64_MAX - 1, INT64_MAX / 100};

    if (one_in(stream, 8)) return random_decimal(stream);
    if (one_in(stream, 40)) return (struct amount){.value = ONE_OF(stream, odd)};
    if (one_in(stream, 4)) return (struct amount){.value = about(stream, edge)};
    return (struct amount){.value = 1 + (int64_t)stream_dice(stream, 1000)};
}

/* About what is available now, when that is below zero. */
static struct amount random_floor(struct stream *stream, const struct model_account *subject)
{
    static const int64_t floors[] = {0, 0, -1, -500, -500, -100000, INT64_MIN, -INT64_MAX, 1};
    wide available = subject == NULL ? 0 : subject->balance - subject->held;

    if (one_in(stream, 8)) return random_decimal(stream);
    if (available < 0 && one_in(stream, 2))
        return (struct amount){.value = about(stream, clamp(available))};
    return (struct amount){.value = ONE_OF(stream, floors)};
}

static int64_t edge_of(struct stream *stream, const struct command *command,
                       const struct model_account *subject)
{
    if (subject == NULL) return 100;
    if (command->type == COMMAND_DEPOSIT)
        return one_in(stream, 10) ? clamp((wide)INT64_MAX - subject->balance) : 100000;
    return clamp(subject->balance - subject->held - subject->floor);
}

static int64_t edge_of_target(const struct model *model, enum command_type type, uint32_t target)
{
    const struct model_transaction *found = model_transaction(model, target);

    if (found == NULL) return 100;
    return type == COMMAND_CAPTURE ? model_fate(model, target).remaining : found->amount;
}

/* --- one command ------------------------------------------------------------------------- */

static void add_conditions(struct stream *stream, struct command *command,
                           const struct model_account *subject)
{
    struct conditions *conditions = &command->conditions;

    if (one_in(stream, 25)) conditions->not_after_us = about(stream, stream->now_us);
    if (command->type == COMMAND_OPEN_ACCOUNT || command->type == COMMAND_UPDATE_USER ||
        command->type == COMMAND_CANCEL)
        return;
    conditions->has_if_seq = one_in(stream, 12);
    if (conditions->has_if_seq)
        conditions->if_seq = about(stream, subject == NULL ? 0 : subject->seq);
    if (conditions->if_seq < 0) conditions->if_seq = 0;
    conditions->has_if_balance = one_in(stream, 12);
    if (!conditions->has_if_balance) return;
    conditions->if_balance.value = about(stream, subject == NULL ? 0 : clamp(subject->balance));
    if (one_in(stream, 4)) conditions->if_balance = random_decimal(stream);
}

static void add_target(struct stream *stream, const struct model *model, struct command *command,
                       uint32_t target)
{
    command->transaction = model_id(target);
    if (command->type != COMMAND_CAPTURE && command->type != COMMAND_REVERSE) return;
    command->has_amount = one_in(stream, 2);
    if (command->has_amount)
        command->amount = random_amount(stream, edge_of_target(model, command->type, target));
    if (command->type == COMMAND_REVERSE) return;
    if (!one_in(stream, 3))
        command->to = random_partner(stream, model, subject_of(model, command, target));
    command->keeps_rest = one_in(stream, 2);
}

static void add_opening(struct stream *stream, struct command *command)
{
    command->type = COMMAND_OPEN_ACCOUNT;
    command->user_id = text_of(USERS[stream_dice(stream, COUNT(USERS) - 1)]);
    if (one_in(stream, 3)) command->name = text_of(ONE_OF(stream, USERS));
    command->asset = text_of(ONE_OF(stream, ASSETS));
    command->kind = one_in(stream, 8) ? ACCOUNT_SYSTEM : ACCOUNT_USER;
}

static void add_account(struct stream *stream, const struct model *model, struct command *command)
{
    struct text first = random_account(stream);

    if (command->type == COMMAND_OPEN_ACCOUNT ||
        (model_account(model, first) == NULL && !one_in(stream, 4))) {
        command->account = first;
        add_opening(stream, command);
        return;
    }
    if (command->type == COMMAND_TRANSFER) {
        command->from = first;
        command->to = random_partner(stream, model, model_account(model, first));
    } else {
        command->account = first;
    }
    if (command->type == COMMAND_SET_FLOOR)
        command->amount = random_floor(stream, subject_of(model, command, 0));
    bool is_of_state = command->type >= COMMAND_FREEZE_ACCOUNT;
    if (is_of_state && command->type <= COMMAND_UNFREEZE_ACCOUNT)
        command->direction = (enum direction)stream_dice(stream, 4);
    if (is_of_state) return;
    if (one_in(stream, 6)) command->asset = text_of(ONE_OF(stream, ASSETS));
    command->amount =
        random_amount(stream, edge_of(stream, command, subject_of(model, command, 0)));
    command->has_amount = true;
    if (command->type == COMMAND_HOLD && !one_in(stream, 3))
        command->expires_in_s = 1 + stream_dice(stream, 5);
}

/* One that changes something, and is no batch. */
static struct command random_command(struct stream *stream, const struct model *model)
{
    static const enum command_type types[] = {COMMAND_OPEN_ACCOUNT,
                                              COMMAND_DEPOSIT,
                                              COMMAND_DEPOSIT,
                                              COMMAND_DEPOSIT,
                                              COMMAND_DEPOSIT,
                                              COMMAND_WITHDRAW,
                                              COMMAND_WITHDRAW,
                                              COMMAND_TRANSFER,
                                              COMMAND_TRANSFER,
                                              COMMAND_TRANSFER,
                                              COMMAND_HOLD,
                                              COMMAND_HOLD,
                                              COMMAND_HOLD,
                                              COMMAND_HOLD,
                                              COMMAND_CAPTURE,
                                              COMMAND_CAPTURE,
                                              COMMAND_CAPTURE,
                                              COMMAND_RELEASE,
                                              COMMAND_EXPIRE_HOLD,
                                              COMMAND_EXPIRE_HOLD,
                                              COMMAND_REVERSE,
                                              COMMAND_REVERSE,
                                              COMMAND_FREEZE_ACCOUNT,
                                              COMMAND_UNFREEZE_ACCOUNT,
                                              COMMAND_UNFREEZE_ACCOUNT,
                                              COMMAND_SET_FLOOR,
                                              COMMAND_UPDATE_USER};
    struct command command = {.type = ONE_OF(stream, types)};
    uint32_t target = 0;

    if (one_in(stream, 100)) command.type = COMMAND_CLOSE_ACCOUNT;
    if (one_in(stream, 20)) command.type = COMMAND_CANCEL;
    if (command.type == COMMAND_CANCEL) {
        command.transaction = model_id(random_pending(stream, model));
    } else if (command_has_target(command.type)) {
        target = random_target(stream, model, command.type);
        add_target(stream, model, &command, target);
    } else if (command.type == COMMAND_UPDATE_USER) {
        command.user_id = text_of(ONE_OF(stream, USERS));
        if (one_in(stream, 2)) command.name = text_of(ONE_OF(stream, USERS));
    } else {
        add_account(stream, model, &command);
    }
    if (one_in(stream, 8))
        command.metadata = (struct bytes){ONE_OF(stream, METADATA), sizeof METADATA[0]};
    add_conditions(stream, &command, subject_of(model, &command, target));
    return command;
}

/* At the edge of what is accepted for later, or soon. */
static void put_off(struct stream *stream, struct command *command)
{
    static const int64_t ahead_s[] = {0, 0, 1, 1, 1, 3, 10, 60, 3600, DAY_S, 316224000, 316224001};
    int64_t *from_us = &command->conditions.not_before_us;
    int64_t *until_us = &command->conditions.not_after_us;
    int64_t whole_us = ONE_OF(stream, ahead_s) * S;

    if (command->type == COMMAND_CANCEL || !one_in(stream, 16)) return;
    if (command->type == COMMAND_BATCH && !stream->schedules_batches) return;
    *from_us = about(stream, stream->now_us + whole_us);
    if (whole_us == S) *from_us = stream->now_us + 1 + stream_dice(stream, S);
    if (*until_us == 0 && one_in(stream, 6)) *until_us = *from_us + stream_dice(stream, S);
    if (*until_us != 0 && *until_us < *from_us) *until_us = *from_us;
}

static void ask_as_of(struct stream *stream, const struct model *model, struct command *command)
{
    uint32_t number = stream->span == 0 ? 0 : stream_dice(stream, stream->span);
    const struct model_transaction *found = model_any_transaction(model, number);
    const struct model_account *account = model_account(model, command->account);
    int64_t edge_us = stream->now_us;

    if (one_in(stream, 2)) {
        command->as_of.transaction = model_id(number);
        return;
    }
    if (found != NULL) edge_us = found->created_us;
    if (account != NULL && one_in(stream, 6)) edge_us = account->created_us;
    command->as_of.time_us = about(stream, edge_us);
}

static void ask_page(struct stream *stream, const struct model *model, struct command *command)
{
    static const uint32_t limits[] = {0, 1, 2, 3, 10, 200};
    const struct model_account *account = model_account(model, command->account);
    struct page *page = &command->page;
    uint32_t number = stream->span == 0 ? 0 : stream_dice(stream, stream->span);
    const struct model_transaction *found = model_any_transaction(model, number);

    page->limit = ONE_OF(stream, limits);
    page->ascending = one_in(stream, 2);
    if (found != NULL && one_in(stream, 3)) page->from_us = about(stream, found->created_us);
    if (found != NULL && one_in(stream, 3)) page->until_us = about(stream, found->created_us);
    if (found != NULL && one_in(stream, 3)) page->kind = command_number(found->type);
    if (found != NULL && one_in(stream, 8)) page->trace_id = stream->messages[number].trace_id;
    if (account == NULL || account->seq == 0 || !one_in(stream, 2)) return;
    int64_t seq = 1 + (int64_t)stream_dice(stream, (uint32_t)account->seq + 1);
    page->cursor = page_cursor(page, command->account, seq);
}

/* What the journal or a system account is asked for is known as of the start of a batch, so such
 * questions come first in a span. */
static struct command random_query(struct stream *stream, const struct model *model)
{
    static const enum command_type types[] = {
        COMMAND_GET_BALANCE,     COMMAND_GET_ACCOUNT, COMMAND_GET_TRANSACTION,  COMMAND_GET_USER,
        COMMAND_GET_TRANSACTION, COMMAND_GET_USER,    COMMAND_LIST_TRANSACTIONS};
    bool is_first = stream->count == stream->span;
    struct command command = {.type = types[stream_dice(stream, is_first ? COUNT(types) : 2)]};
    const struct model_account *account;

    if (command.type == COMMAND_GET_TRANSACTION) {
        command.transaction =
            model_id(one_in(stream, 3)
                         ? random_pending(stream, model)
                         : random_target(stream, model,
                                         one_in(stream, 2) ? COMMAND_CAPTURE : COMMAND_REVERSE));
        return command;
    }
    if (command.type == COMMAND_GET_USER) {
        command.user_id = text_of(one_in(stream, 3) ? "nobody" : ONE_OF(stream, USERS));
        return command;
    }
    command.account = random_account(stream);
    account = model_account(model, command.account);
    if (!is_first && (account == NULL || account->kind == ACCOUNT_SYSTEM))
        command.type = COMMAND_GET_ACCOUNT;
    if (command.type == COMMAND_LIST_TRANSACTIONS) ask_page(stream, model, &command);
    if (is_first && command.type == COMMAND_GET_BALANCE && one_in(stream, 2))
        ask_as_of(stream, model, &command);
    return command;
}

/* --- messages ---------------------------------------------------------------------------- */

static struct message *add_message(struct stream *stream, uint32_t key, struct command command)
{
    uint32_t number = stream->count++;
    struct message *message = &stream->messages[number];

    assert(number < MODEL_COMMANDS);
    *message = (struct message){.number = number,
                                .key = key,
                                .caller = TEXT_LITERAL("tests"),
                                .command = command,
                                .trace_id = model_id(number)};
    message->trace_id.bytes[0] = 0x77;
    (void)snprintf(message->key_text, sizeof message->key_text, "key-%u", key);
    return message;
}

static const struct message *random_earlier(struct stream *stream, uint32_t before)
{
    uint32_t recent = one_in(stream, 4) || before < 60 ? before : 60;
    return &stream->messages[before - 1 - stream_dice(stream, recent)];
}

static bool is_single(const struct message *message)
{
    return !message->is_execution && message->command.conditions.not_before_us == 0 &&
           message->command.type != COMMAND_BATCH && command_changes(message->command.type);
}

static bool is_used_in(const struct stream *stream, uint32_t first, uint32_t key)
{
    for (uint32_t i = first; i < stream->count; i++)
        if (stream->messages[i].key == key) return true;
    return false;
}

/* A leg of the batch at `batch`; one in eight has a key of before, with or without its payload. */
static void add_leg(struct stream *stream, const struct model *model, uint32_t batch)
{
    struct command command = random_command(stream, model);
    uint32_t key = stream->count;

    if (batch > 0 && one_in(stream, 8)) {
        const struct message *earlier = random_earlier(stream, batch);
        bool is_free = is_single(earlier) && !is_used_in(stream, batch, earlier->key);
        if (is_free) key = earlier->key;
        if (is_free && !one_in(stream, 4)) command = earlier->command;
    }
    command.dry_run = stream->messages[batch].command.dry_run;
    add_message(stream, key, command)->is_leg = true;
}

static uint32_t random_legs(struct stream *stream, uint32_t room)
{
    uint32_t count = 1 + stream_dice(stream, one_in(stream, 10)  ? LEGS_MOST
                                             : one_in(stream, 3) ? 12
                                                                 : 4);
    return count < room ? count : room;
}

static void add_batch(struct stream *stream, const struct model *model, uint32_t key, uint32_t room)
{
    struct command command = {.type = COMMAND_BATCH,
                              .independent = one_in(stream, 2),
                              .dry_run = one_in(stream, 12),
                              .legs_count = random_legs(stream, room - 1)};
    uint32_t batch = stream->count;

    if (one_in(stream, 25)) command.conditions.not_after_us = about(stream, stream->now_us);
    put_off(stream, &command);
    add_message(stream, key, command)->legs_count = command.legs_count;
    for (uint32_t i = 0; i < command.legs_count; i++) add_leg(stream, model, batch);
}

static void add_single(struct stream *stream, const struct model *model, uint32_t key)
{
    struct command command = random_command(stream, model);

    command.dry_run = one_in(stream, 20);
    put_off(stream, &command);
    add_message(stream, key, command);
}

/* The same once more; sometimes not quite. */
static void add_repeat(struct stream *stream, const struct model *model,
                       const struct message *earlier, uint32_t room)
{
    uint32_t legs = earlier->legs_count, number = stream->count;

    if (one_in(stream, 4) || legs + 1 > room) {
        if (one_in(stream, 4))
            add_batch(stream, model, earlier->key, room);
        else
            add_single(stream, model, earlier->key);
        return;
    }
    for (uint32_t i = 0; i <= legs; i++) {
        struct message *message = add_message(stream, earlier[i].key, earlier[i].command);
        message->legs_count = earlier[i].legs_count;
        message->is_leg = i > 0;
    }
    if (legs == 0 || !one_in(stream, 6)) return;
    struct command *changed = &stream->messages[number].command;
    if (one_in(stream, 2))
        changed->independent = !changed->independent;
    else
        stream->messages[number + legs].command.metadata = (struct bytes){METADATA[0], 4};
}

/* It comes from the past, or ought to. */
static void import_it(struct stream *stream, const struct model *model, struct message *message)
{
    const struct command *command = &message->command;
    const struct model_account *subject = subject_of(model, command, 0);
    int64_t at_us = stream->now_us - stream_dice(stream, 2 * S);

    if (!stream->imports || !one_in(stream, 40) || !command_changes(command->type)) return;
    if (command->dry_run || command->conditions.not_before_us != 0) return;
    if (one_in(stream, 8)) at_us = about(stream, stream->now_us);
    if (subject != NULL && subject->changed_us != 0 && one_in(stream, 2))
        at_us = about(stream, subject->changed_us);
    for (uint32_t i = 0; i <= message->legs_count; i++) {
        message[i].at_us = at_us;
        message[i].is_own = true;
    }
}

/* Who asks, and how long it may take. */
static void address(struct stream *stream, const struct model *model, struct message *message)
{
    message->user_id = text_of(ONE_OF(stream, LOGINS));
    message->is_own = message->command.type == COMMAND_EXPIRE_HOLD && one_in(stream, 2) &&
                      message->command.conditions.not_before_us == 0;
    import_it(stream, model, message);
    if (message->at_us == 0 && one_in(stream, 30))
        message->deadline_us = about(stream, stream->now_us);
}

static void finish(struct message *message)
{
    static struct uuid fingerprints[LEGS_MAX];
    static struct text keys[LEGS_MAX];
    uint32_t legs = message->legs_count;

    for (uint32_t i = 0; i <= legs; i++) {
        message[i].deadline_us = message->deadline_us;
        message[i].user_id = message->user_id;
        message[i].trace_id = message->trace_id;
        message[i].fingerprint = command_fingerprint(&message[i].command);
        if (i == 0) continue;
        fingerprints[i - 1] = message[i].fingerprint;
        keys[i - 1] = text_of(message[i].key_text);
    }
    if (legs > 0)
        message->fingerprint = batch_fingerprint(&message->command, fingerprints, keys, legs);
}

/* As it was kept: without its time. */
const struct message *stream_execute(struct stream *stream, uint32_t scheduled)
{
    const struct message *first = &stream->messages[scheduled];
    uint32_t number = stream->count;

    for (uint32_t i = 0; i <= first->legs_count; i++) {
        uint32_t key = i == 0 ? stream->count : first[i].key;
        struct message *message = add_message(stream, key, first[i].command);
        memcpy(message->key_text, first[i].key_text, sizeof message->key_text);
        message->legs_count = first[i].legs_count;
        message->is_leg = i > 0;
    }
    struct message *message = &stream->messages[number];
    message->is_execution = true;
    message->scheduled = scheduled;
    message->command.conditions.not_before_us = 0;
    message->user_id = first->user_id;
    message->trace_id = first->trace_id;
    finish(message);
    return message;
}

/* Of what is due now, or was executed before: another worker may have been faster. */
static bool next_due(struct stream *stream, const struct model *model, uint32_t room,
                     uint32_t *number)
{
    const struct model_transaction *found;

    if (!stream->executes) return false;
    if (stream->due_at < stream->due_count && one_in(stream, 2)) {
        *number = stream->due[stream->due_at++];
        return stream->messages[*number].legs_count < room;
    }
    if (stream->span == 0 || !one_in(stream, 20)) return false;
    *number = random_target(stream, model, COMMAND_CANCEL);
    found = model_any_transaction(model, *number);
    return found != NULL && found->scheduled && !model_is_pending(model, *number) &&
           stream->messages[*number].legs_count < room;
}

const struct message *stream_next(struct stream *stream, const struct model *model, uint32_t room)
{
    uint32_t number = stream->count, due;
    const struct message *earlier = NULL;

    assert(room >= 2);
    if (next_due(stream, model, room, &due)) return stream_execute(stream, due);
    if (number > 0 && one_in(stream, 8)) earlier = random_earlier(stream, number);
    if (earlier != NULL && command_changes(earlier->command.type) && !earlier->is_execution)
        add_repeat(stream, model, earlier, room);
    else if (one_in(stream, number == stream->span ? 2 : 16))
        add_message(stream, number, random_query(stream, model));
    else if (one_in(stream, 12))
        add_batch(stream, model, number, room);
    else
        add_single(stream, model, number);
    address(stream, model, &stream->messages[number]);
    finish(&stream->messages[number]);
    return &stream->messages[number];
}

/* --- the policy -------------------------------------------------------------------------- */

const struct stream_policy *stream_policy(const struct stream *stream)
{
    return &stream->policies[stream->policies_count - 1];
}

static void make_rules(struct stream *stream)
{
    for (uint32_t i = 0; i < MODEL_RULES; i++) {
        struct model_rule *rule = &stream->rules[i];
        *rule = (struct model_rule){.id = 1 + i,
                                    .caller = text_of(ONE_OF(stream, CALLERS)),
                                    .commands = text_of(ONE_OF(stream, ABOUT)),
                                    .account = text_of(ONE_OF(stream, PLACES)),
                                    .most = INT64_MAX,
                                    .daily = INT64_MAX};
        if (one_in(stream, 2)) continue;
        rule->asset = text_of(ONE_OF(stream, NAMED_ASSETS));
        rule->most = ONE_OF(stream, LIMITS);
        rule->daily = ONE_OF(stream, LIMITS);
    }
}

/* A few of the rules, in their order; or none, and everything is allowed. */
bool stream_change_policy(struct stream *stream)
{
    struct stream_policy *next = &stream->policies[stream->policies_count];
    uint32_t share = 3 + stream_dice(stream, 12);

    if (stream->policies_count == STREAM_POLICIES || !one_in(stream, 12)) return false;
    next->rules_count = 0;
    for (uint32_t i = 0; i < MODEL_RULES && !one_in(stream, 40); i++)
        if (one_in(stream, share)) next->rules[next->rules_count++] = stream->rules[i];
    if (one_in(stream, 2)) next->rules_count = 0;
    stream->policies_count++;
    return true;
}

/* --- the clock --------------------------------------------------------------------------- */

/* Of a hold that is open still, or of what waits; 0: found none. */
static int64_t random_due_us(struct stream *stream, const struct model *model)
{
    uint32_t pending[STREAM_DUE], count = model_due(model, INT64_MAX, pending, STREAM_DUE);

    if (count > 0 && one_in(stream, 2)) {
        int64_t due_us = stream->messages[pending[0]].command.conditions.not_before_us;
        if (due_us > stream->now_us && due_us < stream->now_us + 60 * S) return due_us;
    }
    for (uint32_t tries = 0; tries < 20 && stream->span > 0; tries++) {
        uint32_t recent = stream->span < RECENT ? stream->span : RECENT;
        uint32_t number = stream->span - 1 - stream_dice(stream, recent);
        const struct model_transaction *found = model_transaction(model, number);
        if (found != NULL && found->expires_us > stream->now_us && !model_fate(model, number).ended)
            return found->expires_us;
    }
    return 0;
}

void stream_at(struct stream *stream, int64_t now_us)
{
    stream->span = stream->count;
    stream->now_us = now_us;
    stream->due_at = stream->due_count = 0;
}

static bool is_of_day(const struct stream *stream, int64_t time_us)
{
    return time_us / (DAY_S * (int64_t)S) == stream->now_us / (DAY_S * (int64_t)S);
}

void stream_tick(struct stream *stream, const struct model *model)
{
    static const uint32_t steps[] = {1, 20, 1000, S / 10, S / 10, S / 3, S};
    int64_t due_us = 0;

    int64_t back_us = stream->now_us - stream_dice(stream, 1000);

    if (one_in(stream, 3)) due_us = random_due_us(stream, model);
    if (due_us != 0)
        stream_at(stream, about(stream, due_us));
    else if (one_in(stream, 25))
        stream_at(stream, stream->now_us + (int64_t)stream_dice(stream, 2 * DAY_S) * S);
    else if (one_in(stream, 25) && is_of_day(stream, back_us))
        stream_at(stream, back_us); /* the clock is set back */
    else
        stream_at(stream, stream->now_us + stream_dice(stream, ONE_OF(stream, steps)));
    if (one_in(stream, 2))
        stream->due_count = model_due(model, stream->now_us, stream->due, STREAM_DUE);
}

void stream_begin(struct stream *stream, uint64_t seed, uint32_t wanted, int64_t now_us)
{
    stream->random = seed * 0x9e3779b97f4a7c15u + 1;
    stream->wanted = wanted;
    stream->count = 0;
    stream->span = 0;
    stream->now_us = now_us;
    stream->imports = stream->executes = stream->schedules_batches = false;
    stream->due_at = stream->due_count = 0;
    stream->policies[0].rules_count = 0;
    stream->policies_count = 1;
    make_rules(stream);
}
