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
        const struct model_transaction *found = model_transaction(model, number);
        if (found != NULL && suits(type, found)) return number;
    }
    return stream_dice(stream, stream->span);
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

static struct amount random_decimal(struct stream *stream)
{
    static const int64_t values[] = {5, 12, 120, 1000, 77700, INT64_MAX, INT64_MAX / 1000, -1, -50};

    return (struct amount){.value = ONE_OF(stream, values),
                           .digits = (uint8_t)stream_dice(stream, 5),
                           .is_decimal = true};
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
    if (command->type == COMMAND_OPEN_ACCOUNT || command->type == COMMAND_UPDATE_USER) return;
    conditions->has_if_seq = one_in(stream, 12);
    if (conditions->has_if_seq)
        conditions->if_seq = about(stream, subject == NULL ? 0 : subject->seq);
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
    if (command_has_target(command.type)) {
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

/* What the journal or a system account is asked for is known as of the start of a batch, so such
 * questions come first in a span. */
static struct command random_query(struct stream *stream, const struct model *model)
{
    static const enum command_type types[] = {COMMAND_GET_BALANCE, COMMAND_GET_ACCOUNT,
                                              COMMAND_GET_TRANSACTION, COMMAND_GET_USER};
    bool is_first = stream->count == stream->span;
    struct command command = {.type = types[stream_dice(stream, is_first ? COUNT(types) : 2)]};
    const struct model_account *account;

    command.account = random_account(stream);
    account = model_account(model, command.account);
    if (!is_first && (account == NULL || account->kind == ACCOUNT_SYSTEM))
        command.type = COMMAND_GET_ACCOUNT;
    if (command.type == COMMAND_GET_TRANSACTION || command.type == COMMAND_GET_USER)
        command.account = (struct text){0};
    if (command.type == COMMAND_GET_USER) command.user_id = text_of(ONE_OF(stream, USERS));
    if (command.type == COMMAND_GET_TRANSACTION)
        command.transaction = model_id(
            random_target(stream, model, one_in(stream, 2) ? COMMAND_CAPTURE : COMMAND_REVERSE));
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
    return message->command.type != COMMAND_BATCH && command_changes(message->command.type);
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
    add_message(stream, key, command)->legs_count = command.legs_count;
    for (uint32_t i = 0; i < command.legs_count; i++) add_leg(stream, model, batch);
}

static void add_single(struct stream *stream, const struct model *model, uint32_t key)
{
    struct command command = random_command(stream, model);

    command.dry_run = one_in(stream, 20);
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

static void finish(struct stream *stream, struct message *message)
{
    static struct uuid fingerprints[LEGS_MAX];
    static struct text keys[LEGS_MAX];
    uint32_t legs = message->legs_count;

    if (one_in(stream, 30)) message->deadline_us = about(stream, stream->now_us);
    for (uint32_t i = 0; i <= legs; i++) {
        message[i].deadline_us = message->deadline_us;
        message[i].trace_id = message->trace_id;
        message[i].fingerprint = command_fingerprint(&message[i].command);
        if (i == 0) continue;
        fingerprints[i - 1] = message[i].fingerprint;
        keys[i - 1] = text_of(message[i].key_text);
    }
    if (legs > 0)
        message->fingerprint = batch_fingerprint(&message->command, fingerprints, keys, legs);
}

const struct message *stream_next(struct stream *stream, const struct model *model, uint32_t room)
{
    uint32_t number = stream->count;
    const struct message *earlier = NULL;

    assert(room >= 2);
    if (number > 0 && one_in(stream, 8)) earlier = random_earlier(stream, number);
    if (earlier != NULL && command_changes(earlier->command.type))
        add_repeat(stream, model, earlier, room);
    else if (one_in(stream, number == stream->span ? 2 : 16))
        add_message(stream, number, random_query(stream, model));
    else if (one_in(stream, 12))
        add_batch(stream, model, number, room);
    else
        add_single(stream, model, number);
    finish(stream, &stream->messages[number]);
    return &stream->messages[number];
}

/* --- the clock --------------------------------------------------------------------------- */

/* Of a hold that is open still; 0: found none. */
static int64_t random_due_us(struct stream *stream, const struct model *model)
{
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
}

void stream_tick(struct stream *stream, const struct model *model)
{
    static const uint32_t steps[] = {1, 20, 1000, S / 10, S / 10, S / 3, S};
    int64_t due_us = 0;

    if (one_in(stream, 3)) due_us = random_due_us(stream, model);
    if (due_us != 0)
        stream_at(stream, about(stream, due_us));
    else
        stream_at(stream, stream->now_us + stream_dice(stream, ONE_OF(stream, steps)));
}

void stream_begin(struct stream *stream, uint64_t seed, uint32_t wanted, int64_t now_us)
{
    stream->random = seed * 0x9e3779b97f4a7c15u + 1;
    stream->wanted = wanted;
    stream->count = 0;
    stream->span = 0;
    stream->now_us = now_us;
}
