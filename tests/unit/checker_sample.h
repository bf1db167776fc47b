/*
 * checker_sample.h - a history as a correct ledger would leave it, from a seed: commands of every
 * kind, some lost or late on their way, some delivered twice; replies and windows of events told
 * again. For test_checker.c, which breaks it.
 */
#ifndef TESTS_UNIT_CHECKER_SAMPLE_H
#define TESTS_UNIT_CHECKER_SAMPLE_H

#include "tests/chaos/history.h"
#include "tests/test.h"

#include <string.h>

enum {
    MESSAGES = 2000,
    ACCOUNTS = 12,
    NEVER_OPENED = 2, /* the last of them */
    LATE_MAX = 64,    /* messages on their way */
    STEP_MS = 10,     /* from one message to the next */
    REPLIES_MAX = 8 * MESSAGES,
    EVENTS_MAX = 32 * MESSAGES,
};

static struct sample {
    struct history history;
    struct sent sent[MESSAGES];
    struct reply_seen replies[REPLIES_MAX];
    struct event_seen events[EVENTS_MAX];
    struct dead_letter_seen dead_letters[2 * MESSAGES];
    struct journal_row journal[MESSAGES + 1]; /* one more: for the test */
    struct account_row rows[ACCOUNTS + 2];
    /* The ledger itself. */
    struct event_seen outbox[2 * MESSAGES];
    uint32_t outbox_count;
    bool is_open[ACCOUNTS];
    int64_t balance[ACCOUNTS], seq[ACCOUNTS], world;
    int32_t row_of_key[MESSAGES], owner_of_key[MESSAGES];
    int64_t now_us; /* of the batch in hand */
    uint32_t late[LATE_MAX], late_count;
} sample;

static uint64_t dice_state;

static uint32_t dice(uint32_t sides) /* splitmix64 */
{
    uint64_t z = (dice_state += 0x9E3779B97F4A7C15u);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ (z >> 31)) % sides);
}

static struct uuid uuid_number(uint32_t number)
{
    struct uuid uuid = {{0x70}};
    memcpy(uuid.bytes + 8, &number, sizeof number);
    return uuid;
}

static bool is_other(const struct sent *sent)
{
    return sent->kind == SENT_OTHER_PAYLOAD;
}

static bool is_same(const struct sent *a, const struct sent *b)
{
    return is_other(a) == is_other(b) && a->amount == b->amount;
}

/* --- the ledger -------------------------------------------------------------------------- */

static void tell(enum event_kind kind, const struct journal_row *row, int32_t account, int64_t sign)
{
    bool is_change = kind == EVENT_SEEN_CHANGE, is_refusal = kind == EVENT_SEEN_REJECTED;
    uint32_t number = sample.outbox_count;

    sample.outbox[sample.outbox_count++] =
        (struct event_seen){.kind = kind,
                            .key = row->key,
                            .account = account,
                            .seq = is_change ? sample.seq[account] : 0,
                            .amount = is_change ? sign * row->amount : 0,
                            .balance = is_change ? sample.balance[account] : 0,
                            .message_id = 1 + number * UINT64_C(0x9E3779B97F4A7C15),
                            .result = is_refusal ? row->result : RESULT_APPLIED,
                            .transaction = is_refusal ? (struct uuid){{0}} : row->id};
}

static void change(struct journal_row *row, int32_t account, int64_t sign)
{
    if (account == NO_ACCOUNT) {
        sample.world += sign * row->amount;
        return;
    }
    sample.balance[account] += sign * row->amount;
    sample.seq[account]++;
    *(sign < 0 ? &row->debit_seq : &row->credit_seq) = sample.seq[account];
    *(sign < 0 ? &row->debit_balance : &row->credit_balance) = sample.balance[account];
    tell(EVENT_SEEN_CHANGE, row, account, sign);
}

static enum result judge(const struct sent *sent)
{
    bool opens = sent->type == COMMAND_OPEN_ACCOUNT;

    if (opens) return sample.is_open[sent->credit] ? RESULT_ACCOUNT_EXISTS : RESULT_APPLIED;
    if (sent->debit != NO_ACCOUNT && !sample.is_open[sent->debit]) return RESULT_ACCOUNT_NOT_FOUND;
    if (sent->credit != NO_ACCOUNT && !sample.is_open[sent->credit])
        return RESULT_ACCOUNT_NOT_FOUND;
    if (sent->debit != NO_ACCOUNT && sample.balance[sent->debit] < sent->amount)
        return RESULT_INSUFFICIENT_FUNDS;
    return RESULT_APPLIED;
}

static void decide(uint32_t message)
{
    const struct sent *sent = &sample.sent[message];
    uint32_t at = sample.history.journal_count++;
    struct journal_row *row = &sample.journal[at];

    *row = (struct journal_row){.key = sent->key,
                                .id = uuid_number(at + 1),
                                .created_us = sample.now_us,
                                .type = sent->type,
                                .result = judge(sent),
                                .debit = sent->debit,
                                .credit = sent->credit,
                                .amount = sent->amount};
    if (dice(4) == 0) sample.now_us++;
    sample.row_of_key[sent->key] = (int32_t)at;
    sample.owner_of_key[sent->key] = (int32_t)message;
    if (row->result != RESULT_APPLIED) {
        if (dice(2) == 0) { /* nothing is known of what was asked for */
            row->debit = row->credit = NO_ACCOUNT;
            row->amount = 0;
        }
        tell(EVENT_SEEN_REJECTED, row, 0, 0);
    } else if (row->type == COMMAND_OPEN_ACCOUNT) {
        sample.is_open[row->credit] = true;
        tell(EVENT_SEEN_OPENED, row, row->credit, 0);
    } else {
        change(row, row->debit, -1);
        change(row, row->credit, 1);
    }
}

/* What was not confirmed may go without an answer that anybody sees. */
static void answer(struct reply_seen reply)
{
    if (!sample.sent[reply.message].confirmed && dice(4) == 0) return;
    for (uint32_t times = dice(8) == 0 ? 2 : 1; times > 0; times--)
        sample.replies[sample.history.replies_count++] = reply;
}

static void arrive(uint32_t message)
{
    const struct sent *sent = &sample.sent[message];
    bool known = sample.row_of_key[sent->key] >= 0;

    if (sent->kind == SENT_MALFORMED) {
        sample.dead_letters[sample.history.dead_letters_count++] =
            (struct dead_letter_seen){message, "malformed"};
        answer((struct reply_seen){.message = message, .result = RESULT_MALFORMED});
        return;
    }
    if (!known) decide(message);
    const struct journal_row *row = &sample.journal[sample.row_of_key[sent->key]];
    if (!is_same(sent, &sample.sent[sample.owner_of_key[sent->key]])) {
        answer((struct reply_seen){.message = message, .result = RESULT_KEY_REUSED});
        return;
    }
    answer((struct reply_seen){.message = message,
                               .result = row->result,
                               .transaction =
                                   row->result == RESULT_APPLIED ? row->id : (struct uuid){{0}},
                               .replayed = known});
}

/* --- the publishers and the broker ------------------------------------------------------- */

static struct sent plan_command(void)
{
    int32_t account = (int32_t)dice(ACCOUNTS);
    struct sent sent = {.debit = NO_ACCOUNT, .credit = account, .amount = 1 + dice(400)};

    switch (dice(8)) {
    case 0:
        sent.type = COMMAND_OPEN_ACCOUNT;
        sent.credit = (int32_t)dice(ACCOUNTS - NEVER_OPENED);
        sent.amount = 0;
        return sent;
    case 1:
    case 2:
    case 3:
        sent.type = COMMAND_DEPOSIT;
        return sent;
    case 4:
        sent.type = COMMAND_WITHDRAW;
        sent.debit = account;
        sent.credit = NO_ACCOUNT;
        return sent;
    default:
        sent.type = COMMAND_TRANSFER;
        sent.debit = account;
        sent.credit = (account + 1 + (int32_t)dice(ACCOUNTS - 1)) % ACCOUNTS;
        return sent;
    }
}

static struct sent plan(uint32_t message)
{
    struct sent sent = plan_command();
    uint32_t kind = dice(20);

    sent.key = message;
    sent.confirmed = dice(6) != 0;
    if (kind == 0) sent.kind = SENT_MALFORMED;
    if (message < ACCOUNTS - NEVER_OPENED) {
        sent.type = COMMAND_OPEN_ACCOUNT;
        sent.kind = SENT_FIRST;
        sent.debit = NO_ACCOUNT;
        sent.credit = (int32_t)message;
        sent.amount = 0;
        sent.confirmed = true;
        return sent;
    }
    const struct sent *first = &sample.sent[sample.sent[dice(message)].key];
    if (kind == 0 || kind > 5 || first->kind != SENT_FIRST) return sent;
    bool confirmed = sent.confirmed;
    sent = *first;
    sent.confirmed = confirmed;
    sent.kind = kind < 4 ? SENT_REPEAT : SENT_OTHER_PAYLOAD;
    if (sent.kind == SENT_OTHER_PAYLOAD) sent.amount += 1000 * (1 + dice(2));
    if (sent.kind == SENT_OTHER_PAYLOAD && sent.type == COMMAND_OPEN_ACCOUNT)
        sent.type = COMMAND_DEPOSIT;
    return sent;
}

/* What is confirmed is there; else it may be there, come late, or never. */
static void publish(uint32_t message)
{
    const struct sent *sent = &sample.sent[message];

    if (sent->confirmed || dice(3) == 0)
        arrive(message);
    else if (dice(2) == 0 && sample.late_count < LATE_MAX)
        sample.late[sample.late_count++] = message;
    if (sent->confirmed && dice(20) == 0) arrive(message); /* delivered again */
    if (sample.late_count > 0 && dice(10) == 0) arrive(sample.late[--sample.late_count]);
}

/* The relay publishes the outbox in order and, now and then, a window of it again. */
static void relay(void)
{
    for (uint32_t i = 0; i < sample.outbox_count; i++) {
        sample.events[sample.history.events_count++] = sample.outbox[i];
        if (dice(60) != 0) continue;
        uint32_t back = dice(i < 40 ? i + 1 : 40);
        for (uint32_t again = i - back; again <= i; again++)
            sample.events[sample.history.events_count++] = sample.outbox[again];
    }
}

static void shuffle_replies(void)
{
    for (uint32_t i = sample.history.replies_count; i > 1; i--) {
        uint32_t other = dice(i);
        struct reply_seen reply = sample.replies[i - 1];
        sample.replies[i - 1] = sample.replies[other];
        sample.replies[other] = reply;
    }
}

/* Within a batch the rows come in any order. */
static void shuffle_journal(void)
{
    for (uint32_t i = sample.history.journal_count; i > 1; i--) {
        uint32_t other = dice(i), near = i > 8 ? i - 8 : 0;
        if (other < near) other = near;
        struct journal_row row = sample.journal[i - 1];
        if (sample.journal[other].created_us != row.created_us) continue;
        sample.journal[i - 1] = sample.journal[other];
        sample.journal[other] = row;
    }
    for (uint32_t i = 0; i < sample.history.journal_count; i++)
        sample.row_of_key[sample.journal[i].key] = (int32_t)i;
}

static void sample_make(uint32_t seed)
{
    struct history *history = &sample.history;

    memset(&sample, 0, sizeof sample);
    dice_state = seed * UINT64_C(1000003);
    *history = (struct history){.accounts = ACCOUNTS,
                                .keys = MESSAGES,
                                .sent = sample.sent,
                                .sent_count = MESSAGES,
                                .replies = sample.replies,
                                .events = sample.events,
                                .dead_letters = sample.dead_letters,
                                .journal = sample.journal,
                                .rows = sample.rows};
    memset(sample.row_of_key, 0xff, sizeof sample.row_of_key);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        sample.sent[i] = plan(i);
        sample.sent[i].sent_ms = 1 + i * STEP_MS;
        sample.sent[i].confirmed_ms = sample.sent[i].sent_ms + dice(5 * STEP_MS);
        publish(i);
    }
    relay();
    shuffle_replies();
    shuffle_journal();
    for (int32_t i = 0; i < ACCOUNTS; i++)
        if (sample.is_open[i])
            sample.rows[history->rows_count++] =
                (struct account_row){i, sample.balance[i], sample.seq[i]};
    sample.rows[history->rows_count++] = (struct account_row){NO_ACCOUNT, sample.world, 0};
}

#endif
