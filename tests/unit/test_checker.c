/*
 * test_checker.c - the checker finds nothing in a correct history; and when one thing in it is
 * broken, it finds the promise that this breaks, none that it does not touch, and shows it by
 * records of one key or one account.
 */
#include "tests/unit/checker_sample.h"

/* NOLINTBEGIN(bugprone-suspicious-include): the checker is no part of the archive. */
#include "tests/chaos/checker.c"
#include "tests/chaos/checker_answers.c"
#include "tests/chaos/checker_events.c"
#include "tests/chaos/checker_journal.c"
#include "tests/chaos/checker_order.c"
#include "tests/chaos/checker_report.c"
/* NOLINTEND(bugprone-suspicious-include) */

#include <stdio.h>

enum { SEEDS = 50, SEEDS_BROKEN = 10 };

static void a_correct_history_breaks_nothing(void **state)
{
    struct findings findings;
    uint32_t won_by_other = 0, refused = 0, unanswered = 0, repeated = 0;

    (void)state;
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        sample_make(seed);
        assert_true(history_check(&sample.history, stderr, &findings));
        if (findings.total != 0) fail_msg("seed %u: %u breaches", seed, findings.total);
        for (uint32_t key = 0; key < MESSAGES; key++) {
            if (sample.row_of_key[key] < 0) continue;
            won_by_other += is_other(&sample.sent[sample.owner_of_key[key]]);
            refused += sample.journal[sample.row_of_key[key]].result != RESULT_APPLIED;
        }
        for (uint32_t i = 0; i < MESSAGES; i++) unanswered += !sample.sent[i].confirmed;
        repeated += sample.history.events_count - sample.outbox_count;
    }
    /* The sample reaches what it is meant to. */
    assert_true(won_by_other > SEEDS && refused > 100 * SEEDS && unanswered > 100 * SEEDS &&
                repeated > 100 * SEEDS);
}

/* --- picking a record -------------------------------------------------------------------- */

/* A random one of those that fit; there must be one. */
static uint32_t pick(uint32_t count, bool (*fits)(uint32_t))
{
    uint32_t first = dice(count);

    for (uint32_t i = 0; i < count; i++)
        if (fits((first + i) % count)) return (first + i) % count;
    fail_msg("the sample has no such record");
    return 0;
}

static const struct journal_row *row_of(uint32_t key)
{
    return sample.row_of_key[key] < 0 ? NULL : &sample.journal[sample.row_of_key[key]];
}

static bool is_answered_command(uint32_t i)
{
    const struct sent *sent = &sample.sent[sample.replies[i].message];
    return sent->kind != SENT_MALFORMED && sample.replies[i].result != RESULT_KEY_REUSED;
}

static bool is_applied_reply(uint32_t i)
{
    return sample.replies[i].result == RESULT_APPLIED;
}

static bool is_denial_reply(uint32_t i)
{
    return sample.replies[i].result == RESULT_KEY_REUSED;
}

static bool is_denial_of_confirmed(uint32_t i)
{
    const struct sent *sent = &sample.sent[sample.replies[i].message];
    return is_denial_reply(i) && is_other(sent) && sample.sent[sent->key].confirmed;
}

static bool is_reply_to_repeat(uint32_t i)
{
    const struct reply_seen *reply = &sample.replies[i];
    int32_t owner = sample.owner_of_key[sample.sent[reply->message].key];

    if (!reply->replayed || (uint32_t)owner == reply->message) return false;
    for (uint32_t r = 0; r < sample.history.replies_count; r++)
        if (sample.replies[r].message == (uint32_t)owner && !sample.replies[r].replayed)
            return true;
    return false;
}

static bool is_reply_to_malformed(uint32_t i)
{
    return sample.sent[sample.replies[i].message].kind == SENT_MALFORMED;
}

static bool is_confirmed_command(uint32_t i)
{
    return sample.sent[i].confirmed && sample.sent[i].kind != SENT_MALFORMED;
}

static bool is_confirmed_malformed(uint32_t i)
{
    return sample.sent[i].confirmed && sample.sent[i].kind == SENT_MALFORMED;
}

static bool is_unconfirmed_answered(uint32_t i)
{
    const struct sent *sent = &sample.sent[i];
    uint32_t others = 0, replies = 0;

    if (sent->confirmed || sent->kind != SENT_FIRST) return false;
    for (uint32_t m = 0; m < MESSAGES; m++) others += sample.sent[m].key == sent->key;
    for (uint32_t r = 0; r < sample.history.replies_count; r++)
        replies += sample.replies[r].message == i;
    return others == 1 && replies > 0;
}

static bool is_never_arrived(uint32_t i)
{
    return sample.sent[i].kind == SENT_FIRST && sample.row_of_key[i] < 0;
}

static bool is_movement_row(uint32_t i)
{
    return is_movement(&sample.journal[i]);
}

static bool is_confirmed_movement_row(uint32_t i)
{
    return is_movement_row(i) && sample.sent[sample.journal[i].key].confirmed;
}

static bool is_transfer_row(uint32_t i)
{
    return is_movement_row(i) && sample.journal[i].type == COMMAND_TRANSFER;
}

static bool is_credit_row(uint32_t i)
{
    return is_movement_row(i) && sample.journal[i].credit != NO_ACCOUNT;
}

static bool is_deposit_row(uint32_t i)
{
    return is_movement_row(i) && sample.journal[i].type == COMMAND_DEPOSIT;
}

static bool is_refused_row(uint32_t i)
{
    return sample.journal[i].result != RESULT_APPLIED;
}

static bool is_second_opening_row(uint32_t i)
{
    const struct journal_row *row = &sample.journal[i];
    return row->result == RESULT_ACCOUNT_EXISTS && row->credit != NO_ACCOUNT;
}

static bool is_early_refusal_row(uint32_t i)
{
    const struct sent *sent = &sample.sent[sample.journal[i].key];
    return is_refused_row(i) && sent->confirmed && sample.journal[i].key < MESSAGES / 2;
}

static bool is_explicit_refusal_row(uint32_t i)
{
    return is_refused_row(i) && sample.journal[i].amount > 0;
}

static bool is_opening_row(uint32_t i)
{
    return sample.journal[i].type == COMMAND_OPEN_ACCOUNT && !is_refused_row(i);
}

static bool is_change_event(uint32_t i)
{
    return sample.events[i].kind == EVENT_SEEN_CHANGE;
}

static bool is_opened_event(uint32_t i)
{
    return sample.events[i].kind == EVENT_SEEN_OPENED;
}

static bool is_refusal_event(uint32_t i)
{
    return sample.events[i].kind == EVENT_SEEN_REJECTED;
}

/* The key of a refusal, of a confirmed first message, that another payload of its type used too. */
static bool is_contested(const struct journal_row *row)
{
    if (row->result == RESULT_APPLIED || !sample.sent[row->key].confirmed) return false;
    for (uint32_t m = 0; m < MESSAGES; m++)
        if (sample.sent[m].key == row->key && is_other(&sample.sent[m]) &&
            sample.sent[m].amount == sample.sent[row->key].amount + 1000)
            return sample.sent[m].type == row->type;
    return false;
}

static bool is_contested_explicit(uint32_t i)
{
    return is_explicit_refusal_row(i) && is_contested(&sample.journal[i]);
}

static bool is_contested_vague(uint32_t i)
{
    return is_refused_row(i) && sample.journal[i].amount == 0 && is_contested(&sample.journal[i]) &&
           sample.journal[i].type != COMMAND_OPEN_ACCOUNT;
}

/* --- changing one ------------------------------------------------------------------------ */

static struct history *const history = &sample.history;

#define REMOVE(array, count, at)                                                                   \
    memmove(&(array)[at], &(array)[(at) + 1], sizeof *(array) * (--(count) - (at)))

static uint32_t remove_replies_to(uint32_t message)
{
    uint32_t removed = 0;

    for (uint32_t i = history->replies_count; i-- > 0;) {
        if (sample.replies[i].message != message) continue;
        REMOVE(sample.replies, history->replies_count, i);
        removed++;
    }
    return removed;
}

static void remove_event(uint64_t message_id)
{
    for (uint32_t i = history->events_count; i-- > 0;)
        if (sample.events[i].message_id == message_id)
            REMOVE(sample.events, history->events_count, i);
}

static uint64_t event_picked(bool (*fits)(uint32_t))
{
    return sample.events[pick(history->events_count, fits)].message_id;
}

/* An outcome vanishes with all that told of it, but for the confirm. */
static void lose_outcome(void)
{
    uint32_t row = pick(history->journal_count, is_refused_row);
    while (!sample.sent[sample.journal[row].key].confirmed)
        row = pick(history->journal_count, is_refused_row);
    uint32_t key = sample.journal[row].key;

    REMOVE(sample.journal, history->journal_count, row);
    for (uint32_t i = 0; i < MESSAGES; i++)
        if (sample.sent[i].key == key) (void)remove_replies_to(i);
    for (uint32_t i = history->events_count; i-- > 0;)
        if (sample.events[i].key == key) REMOVE(sample.events, history->events_count, i);
}

static void lose_row(void)
{
    uint32_t row = pick(history->journal_count, is_confirmed_movement_row);
    REMOVE(sample.journal, history->journal_count, row);
}

static void lose_row_of_unconfirmed(void)
{
    uint32_t message = pick(MESSAGES, is_unconfirmed_answered);
    REMOVE(sample.journal, history->journal_count,
           (uint32_t)sample.row_of_key[sample.sent[message].key]);
}

static void lose_to_another(void)
{
    sample.journal[pick(history->journal_count, is_contested_explicit)].amount += 1000;
}

static void lose_account(void)
{
    uint32_t row = dice(ACCOUNTS - NEVER_OPENED);
    REMOVE(sample.rows, history->rows_count, row);
}

static void lose_opening(void)
{
    uint32_t row = pick(history->journal_count, is_opening_row);
    REMOVE(sample.journal, history->journal_count, row);
}

static void decide_twice(void)
{
    struct journal_row *row = &sample.journal[history->journal_count];

    *row = sample.journal[pick(history->journal_count, is_refused_row)];
    row->id = uuid_number(++history->journal_count);
}

/* A deposit more, which the journal, the events and the accounts agree on. */
static void deposit(uint32_t key, int32_t account, int64_t amount)
{
    struct account_row *to = sample.rows;
    struct journal_row *row = &sample.journal[history->journal_count];

    while (to->account != account) to++;
    to->balance += amount;
    to->seq++;
    sample.rows[history->rows_count - 1].balance -= amount;
    *row = (struct journal_row){.key = key,
                                .id = uuid_number(++history->journal_count),
                                .created_us = sample.now_us + 1,
                                .type = COMMAND_DEPOSIT,
                                .result = RESULT_APPLIED,
                                .debit = NO_ACCOUNT,
                                .credit = account,
                                .amount = amount,
                                .credit_seq = to->seq,
                                .credit_balance = to->balance};
    sample.events[history->events_count++] = (struct event_seen){.kind = EVENT_SEEN_CHANGE,
                                                                 .key = key,
                                                                 .account = account,
                                                                 .seq = to->seq,
                                                                 .amount = amount,
                                                                 .balance = to->balance,
                                                                 .message_id = UINT64_MAX,
                                                                 .transaction = row->id};
}

static void apply_twice(void)
{
    struct journal_row row = sample.journal[pick(history->journal_count, is_deposit_row)];
    deposit(row.key, row.credit, row.amount);
}

static void move_nothing(void)
{
    struct sent *sent = &sample.sent[pick(MESSAGES, is_never_arrived)];

    sent->type = COMMAND_DEPOSIT;
    sent->debit = NO_ACCOUNT;
    sent->credit = 0;
    sent->amount = 0;
    deposit(sent->key, 0, 0);
}

static void open_twice(void)
{
    struct journal_row *row = &sample.journal[pick(history->journal_count, is_second_opening_row)];

    row->result = RESULT_APPLIED;
    for (uint32_t i = 0; i < history->replies_count; i++) {
        struct reply_seen *reply = &sample.replies[i];
        if (sample.sent[reply->message].key != row->key || is_denial_reply(i)) continue;
        reply->result = RESULT_APPLIED;
        reply->transaction = row->id;
    }
    for (uint32_t i = 0; i < history->events_count; i++) {
        struct event_seen *event = &sample.events[i];
        if (event->key != row->key) continue;
        event->kind = EVENT_SEEN_OPENED;
        event->account = row->credit;
        event->transaction = row->id;
    }
}

static void answer_otherwise(void)
{
    sample.replies[pick(history->replies_count, is_answered_command)].result = RESULT_FORBIDDEN;
}

static void answer_other_transaction(void)
{
    sample.replies[pick(history->replies_count, is_applied_reply)].transaction =
        uuid_number(MESSAGES + 1);
}

static void answer_without_transaction(void)
{
    sample.replies[pick(history->replies_count, is_applied_reply)].transaction = (struct uuid){{0}};
}

static void answer_anew(void)
{
    sample.replies[pick(history->replies_count, is_reply_to_repeat)].replayed = false;
}

static void deny_owner(void)
{
    struct reply_seen *reply = &sample.replies[pick(history->replies_count, is_applied_reply)];
    *reply = (struct reply_seen){.message = reply->message, .result = RESULT_KEY_REUSED};
}

/* Another payload is answered with the outcome. */
static void answer_stranger(void)
{
    uint32_t i = pick(history->replies_count, is_denial_of_confirmed);
    struct reply_seen *reply = &sample.replies[i];
    const struct journal_row *row = row_of(sample.sent[reply->message].key);

    reply->result = row->result;
    reply->replayed = true;
    if (row->result == RESULT_APPLIED) reply->transaction = row->id;
}

/* The outcome of a confirmed first message is told to another payload, and denied to the first. */
static void answer_stranger_alone(void)
{
    struct journal_row *row = &sample.journal[pick(history->journal_count, is_contested_vague)];

    for (uint32_t i = 0; i < history->replies_count; i++) {
        struct reply_seen *reply = &sample.replies[i];
        const struct sent *sent = &sample.sent[reply->message];
        if (sent->key != row->key) continue;
        bool wins = is_other(sent) && sent->amount == sample.sent[row->key].amount + 1000;
        reply->result = wins ? row->result : RESULT_KEY_REUSED;
        reply->replayed = false;
    }
}

static void replay_denial(void)
{
    sample.replies[pick(history->replies_count, is_denial_reply)].replayed = true;
}

static void tell_again_otherwise(bool (*fits)(uint32_t))
{
    struct event_seen *event = &sample.events[history->events_count];

    *event = sample.events[pick(history->events_count, fits)];
    event->message_id += 2;
    history->events_count++;
}

static void tell_refusal_anew(void)
{
    tell_again_otherwise(is_refusal_event);
}

static void row_below_zero(void)
{
    sample.rows[dice(ACCOUNTS - NEVER_OPENED)].balance = -1;
}

static void posting_below_zero(void)
{
    sample.journal[pick(history->journal_count, is_credit_row)].credit_balance = -1;
}

static void event_below_zero(void)
{
    sample.events[pick(history->events_count, is_change_event)].balance = -1;
}

static void account_off_by_one(void)
{
    sample.rows[dice(ACCOUNTS - NEVER_OPENED)].balance++;
}

static void world_off_by_one(void)
{
    sample.rows[history->rows_count - 1].balance--;
}

static void two_accounts_off(void)
{
    sample.rows[0].balance += 5;
    sample.rows[1].balance -= 5;
}

static void change_amount(void)
{
    sample.journal[pick(history->journal_count, is_movement_row)].amount++;
}

static void break_chain(void)
{
    sample.journal[pick(history->journal_count, is_credit_row)].credit_balance++;
}

/* One number of an account is never used; events and account row agree. */
static void skip_number(void)
{
    struct journal_row *from = &sample.journal[pick(history->journal_count, is_credit_row)];
    int32_t account = from->credit;
    int64_t seq = from->credit_seq;

    for (uint32_t i = 0; i < history->journal_count; i++) {
        struct journal_row *row = &sample.journal[i];
        if (row->debit == account && row->debit_seq >= seq) row->debit_seq++;
        if (row->credit == account && row->credit_seq >= seq) row->credit_seq++;
    }
    for (uint32_t i = 0; i < history->events_count; i++)
        if (is_change_event(i) && sample.events[i].account == account &&
            sample.events[i].seq >= seq)
            sample.events[i].seq++;
    for (uint32_t i = 0; i < history->rows_count; i++)
        if (sample.rows[i].account == account) sample.rows[i].seq++;
}

static void use_number_twice(void)
{
    struct journal_row *row = &sample.journal[pick(history->journal_count, is_credit_row)];
    while (row->credit_seq < 2) row = &sample.journal[pick(history->journal_count, is_credit_row)];
    row->credit_seq--;
}

static void account_seq_off(void)
{
    sample.rows[dice(ACCOUNTS - NEVER_OPENED)].seq++;
}

/* Where a change was first told; events_count when it never was. */
static uint32_t first_sight(int32_t account, int64_t seq)
{
    uint32_t i = 0;

    while (
        i < history->events_count &&
        !(is_change_event(i) && sample.events[i].account == account && sample.events[i].seq == seq))
        i++;
    return i;
}

static void swap_events(void)
{
    uint32_t earlier, later;

    do {
        const struct event_seen *event =
            &sample.events[pick(history->events_count, is_change_event)];
        earlier = first_sight(event->account, event->seq);
        later = first_sight(event->account, event->seq + 1);
    } while (later == history->events_count);
    struct event_seen kept = sample.events[earlier];
    sample.events[earlier] = sample.events[later];
    sample.events[later] = kept;
}

/* A refusal, which moves nothing, as if it had been decided last of all. */
static void decide_late(void)
{
    uint32_t at = pick(history->journal_count, is_early_refusal_row);
    struct journal_row row = sample.journal[at];

    REMOVE(sample.journal, history->journal_count, at);
    row.created_us = sample.now_us + 1;
    sample.journal[history->journal_count++] = row;
}

static void tell_change_anew(void)
{
    tell_again_otherwise(is_change_event);
}

static void tell_opening_anew(void)
{
    tell_again_otherwise(is_opened_event);
}

static void tell_opening_late(void)
{
    struct event_seen event = sample.events[pick(history->events_count, is_opened_event)];

    remove_event(event.message_id);
    sample.events[history->events_count++] = event;
}

static void drop_reply(void)
{
    while (remove_replies_to(pick(MESSAGES, is_confirmed_command)) == 0) continue;
}

static void drop_malformed_reply(void)
{
    (void)remove_replies_to(pick(MESSAGES, is_confirmed_malformed));
}

static void drop_change(void)
{
    remove_event(event_picked(is_change_event));
}

static void drop_opened(void)
{
    remove_event(event_picked(is_opened_event));
}

static void drop_refusal(void)
{
    remove_event(event_picked(is_refusal_event));
}

static void share_message_id(void)
{
    uint32_t key = sample.journal[pick(history->journal_count, is_transfer_row)].key;

    for (uint32_t i = 0; i < history->events_count; i++)
        if (sample.events[i].key == key) sample.events[i].message_id = key;
}

static void remove_dead_letters_of(uint32_t message)
{
    for (uint32_t i = history->dead_letters_count; i-- > 0;)
        if (sample.dead_letters[i].message == message)
            REMOVE(sample.dead_letters, history->dead_letters_count, i);
}

static void drop_dead_letter(void)
{
    remove_dead_letters_of(pick(MESSAGES, is_confirmed_malformed));
}

static void drop_dead_letter_of_answered(void)
{
    uint32_t message = sample.replies[pick(history->replies_count, is_reply_to_malformed)].message;

    sample.sent[message].confirmed = false;
    remove_dead_letters_of(message);
}

static void lose_malformed(void)
{
    uint32_t message = pick(MESSAGES, is_confirmed_malformed);

    (void)remove_replies_to(message);
    remove_dead_letters_of(message);
}

static void bury(uint32_t message)
{
    sample.dead_letters[history->dead_letters_count++] =
        (struct dead_letter_seen){message, "malformed"};
}

static void bury_command(void)
{
    bury(pick(MESSAGES, is_confirmed_command));
}

static void bury_stranger(void)
{
    bury(UINT32_MAX);
}

static void bury_for_another_reason(void)
{
    memcpy(sample.dead_letters[dice(history->dead_letters_count)].reason, "internal", 9);
}

static void decide_otherwise(void)
{
    struct journal_row *row = &sample.journal[pick(history->journal_count, is_refused_row)];
    row->type = row->type == COMMAND_TRANSFER ? COMMAND_DEPOSIT : COMMAND_TRANSFER;
}

static void decide_malformed(void)
{
    struct journal_row *row = &sample.journal[history->journal_count];

    *row = sample.journal[pick(history->journal_count, is_refused_row)];
    row->key = sample.sent[pick(MESSAGES, is_confirmed_malformed)].key;
    row->id = uuid_number(++history->journal_count);
}

static void refuse_other_account(void)
{
    struct journal_row *row =
        &sample.journal[pick(history->journal_count, is_explicit_refusal_row)];
    int32_t *side = row->debit != NO_ACCOUNT ? &row->debit : &row->credit;

    *side = (*side + 1) % ACCOUNTS;
}

static void refuse_other_counterparty(void)
{
    struct journal_row *row;

    do row = &sample.journal[pick(history->journal_count, is_explicit_refusal_row)];
    while (row->type != COMMAND_TRANSFER);
    row->credit = (row->credit + 1) % ACCOUNTS;
}

static void count_refusal(void)
{
    sample.journal[pick(history->journal_count, is_refused_row)].credit_seq = 3;
}

static void count_world(void)
{
    sample.journal[pick(history->journal_count, is_deposit_row)].debit_seq = 3;
}

static void move_for_stranger(void)
{
    sample.journal[pick(history->journal_count, is_credit_row)].credit = INT32_MAX;
}

static void open_for_stranger(void)
{
    sample.journal[pick(history->journal_count, is_opening_row)].credit = INT32_MAX;
}

static void decide_for_stranger(void)
{
    sample.journal[pick(history->journal_count, is_refused_row)].key = UINT32_MAX;
}

static void hold_for_stranger(void)
{
    sample.rows[history->rows_count++] = (struct account_row){.account = INT32_MAX};
}

static void answer_malformed_with_transaction(void)
{
    sample.replies[pick(history->replies_count, is_reply_to_malformed)].transaction =
        uuid_number(1);
}

static void answer_malformed(void)
{
    sample.replies[pick(history->replies_count, is_reply_to_malformed)].result = RESULT_FORBIDDEN;
}

static void answer_nobody(void)
{
    sample.replies[history->replies_count++].message = UINT32_MAX;
}

static void tell_of_nothing(void)
{
    struct event_seen *event = &sample.events[history->events_count];

    *event = sample.events[pick(history->events_count, is_refusal_event)];
    event->key = pick(MESSAGES, is_never_arrived);
    history->events_count++;
}

static struct event_seen *tell_more(bool (*fits)(uint32_t))
{
    struct event_seen *event = &sample.events[history->events_count];

    *event = sample.events[pick(history->events_count, fits)];
    history->events_count++;
    return event;
}

static void tell_of_strange_key(void)
{
    tell_more(is_refusal_event)->key = UINT32_MAX;
}

static void tell_of_strange_account(void)
{
    tell_more(is_opened_event)->account = INT32_MAX;
}

static void tell_of_world(void)
{
    uint32_t row = pick(history->journal_count, is_deposit_row);
    struct event_seen *event = tell_more(is_change_event);

    event->key = sample.journal[row].key;
    event->transaction = sample.journal[row].id;
    event->account = NO_ACCOUNT;
}

static void tell_movement_as_opening(void)
{
    tell_more(is_change_event)->kind = EVENT_SEEN_OPENED;
}

static void tell_movement_as_refusal(void)
{
    tell_more(is_change_event)->kind = EVENT_SEEN_REJECTED;
}

static void tell_refusal_as_change(void)
{
    uint32_t row = pick(history->journal_count, is_explicit_refusal_row);
    struct event_seen *event = tell_more(is_change_event);

    event->key = sample.journal[row].key;
    event->transaction = sample.journal[row].id;
    event->account = sample.journal[row].debit != NO_ACCOUNT ? sample.journal[row].debit
                                                             : sample.journal[row].credit;
    event->seq = 0;
}

static void tell_other_amount(void)
{
    sample.events[pick(history->events_count, is_change_event)].amount++;
}

static void tell_other_balance(void)
{
    sample.events[pick(history->events_count, is_change_event)].balance++;
}

static void tell_other_transaction(void)
{
    sample.events[pick(history->events_count, is_change_event)].transaction =
        uuid_number(MESSAGES + 1);
}

static void tell_other_result(void)
{
    sample.events[pick(history->events_count, is_refusal_event)].result = RESULT_FORBIDDEN;
}

/* --- all of them ------------------------------------------------------------------------- */

/* clang-format off */
#define OR(word) | 1u << PROMISE_##word
#define AND_NO_MORE 0
static const struct breaking {
    const char *what;
    void (*how)(void);
    enum promise promise;
    uint32_t also; /* what else it may break */
} breakings[] = {
    {"an outcome without a trace", lose_outcome, PROMISE_LOST, AND_NO_MORE},
    {"a journal row", lose_row, PROMISE_LOST, 0 OR(GAP) OR(UNBALANCED) OR(UNTRUE)},
    {"the row of an unconfirmed command", lose_row_of_unconfirmed, PROMISE_LOST,
     0 OR(GAP) OR(UNBALANCED) OR(UNTRUE)},
    {"a key lost to another payload", lose_to_another, PROMISE_LOST, 0 OR(TWICE)},
    {"an account row", lose_account, PROMISE_LOST, 0 OR(UNBALANCED)},
    {"an account's opening", lose_opening, PROMISE_LOST, 0 OR(UNTRUE)},
    {"a refusal decided twice", decide_twice, PROMISE_TWICE, 0 OR(SILENT) OR(ORDER)},
    {"a movement applied twice", apply_twice, PROMISE_TWICE, 0 OR(ORDER)},
    {"an account opened twice", open_twice, PROMISE_TWICE, AND_NO_MORE},
    {"a reply with another result", answer_otherwise, PROMISE_TWICE, AND_NO_MORE},
    {"a reply with another transaction", answer_other_transaction, PROMISE_TWICE, AND_NO_MORE},
    {"a reply without its transaction", answer_without_transaction, PROMISE_TWICE, AND_NO_MORE},
    {"a repeat decided anew", answer_anew, PROMISE_TWICE, AND_NO_MORE},
    {"a conflict with itself", deny_owner, PROMISE_TWICE, AND_NO_MORE},
    {"another payload answered with the outcome", answer_stranger, PROMISE_TWICE, AND_NO_MORE},
    {"another payload answered in its place", answer_stranger_alone, PROMISE_TWICE, AND_NO_MORE},
    {"a conflict said to be a replay", replay_denial, PROMISE_TWICE, AND_NO_MORE},
    {"a refusal told anew", tell_refusal_anew, PROMISE_TWICE, AND_NO_MORE},
    {"a row below zero", row_below_zero, PROMISE_NEGATIVE, 0 OR(UNBALANCED)},
    {"a posting below zero", posting_below_zero, PROMISE_NEGATIVE, 0 OR(GAP) OR(UNTRUE)},
    {"an event below zero", event_below_zero, PROMISE_NEGATIVE, 0 OR(UNTRUE)},
    {"an account off by one", account_off_by_one, PROMISE_UNBALANCED, AND_NO_MORE},
    {"the world off by one", world_off_by_one, PROMISE_UNBALANCED, AND_NO_MORE},
    {"two accounts off, not their sum", two_accounts_off, PROMISE_UNBALANCED, AND_NO_MORE},
    {"an amount changed", change_amount, PROMISE_GAP, 0 OR(UNBALANCED) OR(UNTRUE)},
    {"a balance off its chain", break_chain, PROMISE_GAP, 0 OR(UNTRUE)},
    {"a number never used", skip_number, PROMISE_GAP, 0 OR(ORDER)},
    {"a number used twice", use_number_twice, PROMISE_GAP, 0 OR(UNTRUE)},
    {"an account row's number", account_seq_off, PROMISE_GAP, AND_NO_MORE},
    {"two events swapped", swap_events, PROMISE_ORDER, AND_NO_MORE},
    {"a command decided late", decide_late, PROMISE_ORDER, AND_NO_MORE},
    {"a change told anew", tell_change_anew, PROMISE_ORDER, AND_NO_MORE},
    {"an opening told anew", tell_opening_anew, PROMISE_ORDER, AND_NO_MORE},
    {"an opening told late", tell_opening_late, PROMISE_ORDER, AND_NO_MORE},
    {"no reply", drop_reply, PROMISE_SILENT, AND_NO_MORE},
    {"no reply to a malformed message", drop_malformed_reply, PROMISE_SILENT, AND_NO_MORE},
    {"no event of a change", drop_change, PROMISE_SILENT, 0 OR(ORDER)},
    {"no event of an opening", drop_opened, PROMISE_SILENT, 0 OR(ORDER)},
    {"no event of a refusal", drop_refusal, PROMISE_SILENT, AND_NO_MORE},
    {"two events under one message_id", share_message_id, PROMISE_SILENT, AND_NO_MORE},
    {"no dead letter", drop_dead_letter, PROMISE_DEAD_LETTER, AND_NO_MORE},
    {"no dead letter, not confirmed but answered", drop_dead_letter_of_answered,
     PROMISE_DEAD_LETTER, AND_NO_MORE},
    {"a malformed message vanished", lose_malformed, PROMISE_DEAD_LETTER, 0 OR(SILENT)},
    {"a command in the dead letters", bury_command, PROMISE_DEAD_LETTER, AND_NO_MORE},
    {"a stranger in the dead letters", bury_stranger, PROMISE_DEAD_LETTER, AND_NO_MORE},
    {"a dead letter's reason", bury_for_another_reason, PROMISE_DEAD_LETTER, AND_NO_MORE},
    {"an outcome of another command", decide_otherwise, PROMISE_UNTRUE, AND_NO_MORE},
    {"a refusal of another account", refuse_other_account, PROMISE_UNTRUE, AND_NO_MORE},
    {"a refusal of another counterparty", refuse_other_counterparty, PROMISE_UNTRUE, AND_NO_MORE},
    {"a refusal counted in a sequence", count_refusal, PROMISE_UNTRUE, AND_NO_MORE},
    {"a sequence of the world", count_world, PROMISE_UNTRUE, AND_NO_MORE},
    {"a movement of nothing", move_nothing, PROMISE_UNTRUE, AND_NO_MORE},
    {"a movement to a stranger", move_for_stranger, PROMISE_UNTRUE,
     0 OR(GAP) OR(UNBALANCED) OR(SILENT)},
    {"an opening for a stranger", open_for_stranger, PROMISE_UNTRUE, 0 OR(LOST) OR(SILENT)},
    {"an outcome under a strange key", decide_for_stranger, PROMISE_UNTRUE, 0 OR(LOST)},
    {"a stranger's account", hold_for_stranger, PROMISE_UNTRUE, AND_NO_MORE},
    {"an outcome of a malformed message", decide_malformed, PROMISE_UNTRUE, 0 OR(SILENT)},
    {"a malformed message answered otherwise", answer_malformed, PROMISE_UNTRUE, AND_NO_MORE},
    {"a malformed message answered with a transaction", answer_malformed_with_transaction,
     PROMISE_UNTRUE, AND_NO_MORE},
    {"a reply to nobody", answer_nobody, PROMISE_UNTRUE, AND_NO_MORE},
    {"an event of nothing", tell_of_nothing, PROMISE_UNTRUE, AND_NO_MORE},
    {"an event of a strange key", tell_of_strange_key, PROMISE_UNTRUE, AND_NO_MORE},
    {"an event of a strange account", tell_of_strange_account, PROMISE_UNTRUE, AND_NO_MORE},
    {"an event of the world", tell_of_world, PROMISE_UNTRUE, AND_NO_MORE},
    {"a movement told as an opening", tell_movement_as_opening, PROMISE_UNTRUE, AND_NO_MORE},
    {"a movement told as a refusal", tell_movement_as_refusal, PROMISE_UNTRUE, AND_NO_MORE},
    {"a refusal told as a change", tell_refusal_as_change, PROMISE_UNTRUE, AND_NO_MORE},
    {"an event with another amount", tell_other_amount, PROMISE_UNTRUE, AND_NO_MORE},
    {"an event with another balance", tell_other_balance, PROMISE_UNTRUE, AND_NO_MORE},
    {"an event with another transaction", tell_other_transaction, PROMISE_UNTRUE, AND_NO_MORE},
    {"an event with another result", tell_other_result, PROMISE_UNTRUE, AND_NO_MORE},
};
/* clang-format on */

/* A record line is indented and names one key; of an account's records the account is the same, and
 * what was overtaken is shown beside what overtook it. */
static void check_excerpts(const char *what, const char *text)
{
    char key[32] = "", of[32];
    bool by_account = false;

    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        assert_non_null(strchr(line, '\n'));
        if (line[0] != ' ') {
            key[0] = '\0';
            by_account = strncmp(line, "gap", 3) == 0 || strncmp(line, "order: account", 14) == 0 ||
                         strncmp(line, "order: a change", 15) == 0 ||
                         strstr(line, ", and decided after it") != NULL ||
                         strncmp(line, "unbalanced", 10) == 0 || strstr(line, "holds") != NULL ||
                         strstr(line, " has no ") != NULL;
            continue;
        }
        const char *found = strstr(line, "key-");
        if (by_account || found == NULL || found > strchr(line, '\n')) continue;
        (void)snprintf(of, sizeof of, "%.*s", (int)strcspn(found, ", \n"), found);
        if (key[0] == '\0') memcpy(key, of, sizeof key);
        if (strcmp(key, of) != 0) fail_msg("%s: %s is shown beside %s", what, of, key);
    }
}

static void break_once(const struct breaking *breaking, uint32_t seed)
{
    struct findings findings;
    char *text = NULL;
    size_t size = 0;

    sample_make(seed);
    breaking->how();
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_true(history_check(history, out, &findings));
    assert_int_equal(fclose(out), 0);
    if (findings.count[breaking->promise] == 0)
        fail_msg("%s, seed %u: nothing is %s; found:\n%s", breaking->what, seed,
                 promise_word(breaking->promise), text);
    for (enum promise promise = 0; promise < PROMISES_COUNT; promise++)
        if (findings.count[promise] > 0 && promise != breaking->promise &&
            (breaking->also & 1u << promise) == 0)
            fail_msg("%s, seed %u:\n%s", breaking->what, seed, text);
    check_excerpts(breaking->what, text);
    free(text);
}

static void each_breach_is_found(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < sizeof breakings / sizeof breakings[0]; i++)
        for (uint32_t seed = 1; seed <= SEEDS_BROKEN; seed++)
            break_once(&breakings[i], 100 * seed + i);
}

static void an_empty_history_breaks_nothing(void **state)
{
    struct history empty = {0};
    struct findings findings;

    (void)state;
    assert_true(history_check(&empty, stderr, &findings));
    assert_int_equal(findings.total, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_correct_history_breaks_nothing),
                                       cmocka_unit_test(each_breach_is_found),
                                       cmocka_unit_test(an_empty_history_breaks_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
